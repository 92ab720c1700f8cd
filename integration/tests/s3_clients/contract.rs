//! Our own store adapter, which is the Rust SDK: the whole contract that a store must keep, and what the probe finds.

use std::sync::Arc;

use tidegate_replicator::store::{Credentials, StoreSettings, contract, open, probe};

use crate::{ACCESS_KEY, FLAT, Front, SECRET, TREE};

#[test]
fn a_bucket_keeps_the_contract_of_a_store_conditions_included() {
    let front = Front::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for bucket in [FLAT, TREE] {
            let address = format!("s3://{bucket}/store").parse().expect("an address");
            let settings = StoreSettings { endpoint: Some(front.endpoint()), ..StoreSettings::new(address) };
            let credentials = Credentials::Static {
                access_key: ACCESS_KEY.into(),
                secret_key: SECRET.to_owned().into(),
                session_token: None,
            };
            let report = probe(&settings, &credentials).await.expect("probed");
            assert!(report.obstacles().is_empty() && report.create_new, "{bucket}: {report}");
            let opened = open("store", &settings, &credentials, Some(&report)).expect("opened");
            contract::check(Arc::clone(&opened.store), "contract").await;
        }
    });
    front.stop();
}
