//! Policies whose hooks hang and fail, and somebody who is to be told and is not there.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_integration::attempt::Ended;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::stage::{Client, Stage, can_be_made, folder};

/// A webhook that takes notices while it is `willing`, and refuses them else.
async fn webhook(willing: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            let status = if willing.load(Ordering::Relaxed) { "200 OK" } else { "404 Not Found" };
            let mut said = vec![0; 64 << 10];
            let _ = caller.read(&mut said).await;
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = caller.write_all(answer.as_bytes()).await;
        }
    });
    address
}

/// A policy whose hook hangs while there is a file `hang`, and fails while there is one `fail`; and a notifier.
fn settings(folder: &Path, webhook: SocketAddr) -> String {
    let (hang, fail) = (folder.join("hang"), folder.join("fail"));
    format!(
        "\n[[policy]]\nname = \"often\"\nshares = [\"files\"]\nevery = \"1m\"\nkeep_last = 3\n\
         before = [\"/bin/sh\", \"-c\", \"while test -e {}; do sleep 0.1; done; test ! -e {}\"]\n\
         \n[[notify]]\nname = \"duty\"\nwebhook = \"http://{webhook}/\"\nremind_every = \"0s\"\n",
        hang.display(),
        fail.display()
    )
}

/// Runs the policy now, when the clock does not just do so.
fn run(stage: &Stage) -> Ended {
    loop {
        let ended = stage.gateway.attempt(&["policy", "run", "often"]);
        if !ended.err.contains("is running now") {
            return ended;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_policy_that_hangs_or_fails_and_a_notifier_that_does_not_deliver_are_alerts() {
    if !can_be_made("policies and notifiers") {
        return;
    }
    let willing = Arc::new(AtomicBool::new(true));
    let webhook = webhook(willing.clone()).await;
    let folder = folder();
    let settings = settings(folder.path(), webhook);
    let stage = Stage::set(folder, &settings);
    let client = Client::at_work(stage.gateway.address());
    let (prometheus, fail, hang) = (&stage.prometheus, stage.path("fail"), stage.path("hang"));
    assert_eq!(run(&stage).code, Some(0));
    stage.is_well();

    fs::write(&hang, "").expect("a file");
    prometheus.until_fired(&["TidegatePolicyOverdue"], || {});
    fs::remove_file(&hang).expect("it is there");
    prometheus.until_over(&["TidegatePolicyOverdue"]);

    // The very first failure of a policy is seen, and so is the very first notice that nobody took.
    willing.store(false, Ordering::Relaxed);
    fs::write(&fail, "").expect("a file");
    let failed = run(&stage);
    assert_ne!(failed.code, Some(0), "{failed:?}");
    prometheus.until_fired(&["TidegatePolicyFails", "TidegateNoticesFail"], || {});
    willing.store(true, Ordering::Relaxed);
    fs::remove_file(&fail).expect("it is there");
    assert_eq!(run(&stage).code, Some(0));
    prometheus.until_over(&["TidegatePolicyFails", "TidegateNoticesFail"]);
    client.stop().await;
    stage.is_well();
}
