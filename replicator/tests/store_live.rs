//! Goal: a real store of somebody else's making keeps the contract too.
//! Method: the contract suite and the probe against the bucket that the environment names; without
//! `TIDEGATE_TEST_S3` there is nothing to test, and the test says so. `integration/stores/rgw.sh` starts
//! Ceph RGW and runs this.
//!
//! | variable | meaning |
//! |---|---|
//! | `TIDEGATE_TEST_S3` | the endpoint, `http://host:port` |
//! | `TIDEGATE_TEST_S3_BUCKET` | a bucket that exists |
//! | `TIDEGATE_TEST_S3_ACCESS_KEY`, `TIDEGATE_TEST_S3_SECRET_KEY` | keys that may do everything in it |
//! | `TIDEGATE_TEST_S3_CREATE_NEW` | `yes` or `no`: what the probe must find |

use std::sync::Arc;

use tidegate_replicator::store::{Credentials, StoreSettings, contract, open, probe};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} must be set beside TIDEGATE_TEST_S3"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_that_the_environment_names_keeps_the_contract() {
    let Ok(endpoint) = std::env::var("TIDEGATE_TEST_S3") else {
        println!("not run: TIDEGATE_TEST_S3 is not set");
        return;
    };
    let number = getrandom::u64().expect("the system has random numbers");
    let address = format!("s3://{}/test-{number:016x}", variable("TIDEGATE_TEST_S3_BUCKET"));
    let settings = StoreSettings {
        endpoint: Some(endpoint),
        ..StoreSettings::new(address.parse().expect("an address"))
    };
    let credentials = Credentials::Static {
        access_key: variable("TIDEGATE_TEST_S3_ACCESS_KEY"),
        secret_key: variable("TIDEGATE_TEST_S3_SECRET_KEY").into(),
        session_token: None,
    };
    let report = probe(&settings, &credentials).await.expect("probed");
    println!("{report}");
    assert!(report.obstacles().is_empty());
    if let Ok(expected) = std::env::var("TIDEGATE_TEST_S3_CREATE_NEW") {
        assert_eq!(report.create_new, expected == "yes");
    }
    let opened = open("live", &settings, &credentials, Some(&report)).expect("opened");
    contract::check(Arc::clone(&opened.store), "contract").await;
    let left = opened.store.list("", None, 10).await.expect("listed");
    assert!(left.objects.is_empty(), "{left:?}");
    println!("{} requests", opened.counts.requests_total());
}
