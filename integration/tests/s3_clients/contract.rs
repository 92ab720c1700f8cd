//! Our own store adapter, which is the Rust SDK: the whole contract that a store must keep, and what the probe finds.

use std::fs;
use std::sync::Arc;

use tidegate_integration::gateway::{Gateway, free_address};
use tidegate_replicator::store::{Body, ObjectName, PutMode, contract, open, probe};

use crate::{ACCESS_KEY, FLAT, Front, TREE, store_at, store_settings};

#[test]
fn a_bucket_keeps_the_contract_of_a_store_conditions_included() {
    let front = Front::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for bucket in [FLAT, TREE] {
            let (settings, credentials) = store_settings(&front.endpoint(), bucket);
            let report = probe(&settings, &credentials).await.expect("probed");
            assert!(report.obstacles().is_empty() && report.create_new, "{bucket}: {report}");
            let opened = open("store", &settings, &credentials, Some(&report)).expect("opened");
            contract::check(Arc::clone(&opened.store), "contract").await;
        }
    });
    front.stop();
}

#[test]
fn buckets_come_and_go_with_a_reload_and_what_is_in_them_stays() {
    let front = Front::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let before = fs::read_to_string(front.gateway.settings()).expect("it was written");
    let apply = |text: &str| {
        fs::write(front.gateway.settings(), text).expect("a writable folder");
        front.gateway.reload();
    };
    let with_later = format!("{before}\n[[bucket]]\nname = \"later\"\n");
    let (store, name) = (store_at(&front.endpoint(), "later"), ObjectName::new("key").expect("a name"));
    let list = || runtime.block_on(store.list("", None, 10)).map(|page| page.objects.len());
    assert!(list().is_err(), "there is no such bucket yet");
    apply(&with_later);
    let put = store.put(&name, Body::Bytes("data".into()), PutMode::Overwrite);
    runtime.block_on(put).expect("there is one now");
    apply(&before);
    assert!(list().is_err(), "it is gone again");
    apply(&with_later);
    assert_eq!(runtime.block_on(store.get(&name, None)).expect("it was kept"), "data");
    front.stop();
}

#[test]
fn another_machine_serves_a_bucket_from_repository_and_key_alone() {
    let front = Front::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let name = ObjectName::new("a/key/with/slashes").expect("a name");
    let home = store_at(&front.endpoint(), FLAT);
    runtime.block_on(home.put(&name, Body::Bytes("data".into()), PutMode::Overwrite)).expect("put");
    front.gateway.run(&["commit", FLAT]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut away = Gateway::configure(folder.path(), &front.gateway.repository(), &front.gateway.key());
    let (address, secret) = (free_address(), front.path("secret"));
    let more = format!(
        "\n[s3]\nlisten = [\"{address}\"]\n\n\
         [[access_key]]\nid = \"{ACCESS_KEY}\"\nsecret = {{ file = \"{}\" }}\n",
        secret.display()
    );
    // Its own machine knows the share already; this one gets the bucket alone.
    let settings = fs::read_to_string(away.settings()).expect("it was written");
    let shares = settings.find("[[share]]").expect("it has one");
    fs::write(away.settings(), format!("{}{more}", &settings[..shares])).expect("a writable folder");
    away.run(&["attach", FLAT]);
    away.start();
    let there = store_at(&format!("http://{address}"), FLAT);
    assert_eq!(runtime.block_on(there.get(&name, None)).expect("it came along"), "data");
    assert!(away.stop().success());
    front.stop();
}
