//! The targets: whether they answer, hold the repository, tell the same time, and can be opened with the key.

use std::time::{Duration, Instant};

use tidegate_replicator::repository::Repository;

use super::{Finding, why};
use crate::assembly::{contact_store, slot_key};
use crate::settings::{Settings, Target};

/// Clocks that are further apart make ages, locks and signatures wrong.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(60);
/// How long a target may take to answer before that is worth a word.
const SLOW: Duration = Duration::from_secs(1);

pub(super) async fn examine(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    for target in &settings.targets {
        findings.extend(one(settings, target).await);
    }
    findings
}

async fn one(settings: &Settings, target: &Target) -> Vec<Finding> {
    let check = format!("target {}", target.name.as_str());
    let opened = match contact_store(target).await {
        Ok(opened) => opened,
        Err(error) => return vec![Finding::wrong(check, why(&error)).todo("correct this target's settings")],
    };
    let start = Instant::now();
    let listed = opened.store.list("keys/", None, 1).await;
    let took = start.elapsed();
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) => {
            let found = Finding::wrong(check, why(&error));
            return vec![
                found.todo(format!("{} has to answer: address, credentials, network", target.address)),
            ];
        }
    };
    let mut findings = vec![answers(&check, target, took)];
    findings.extend(opened.health.clock().ahead_ms().map(|ahead| clock(target, ahead)));
    if listed.objects.is_empty() {
        let found = Finding::wrong("repository", format!("{} holds none", target.address));
        findings.push(found.todo("`tidegate init` makes one; for a copy, `tidegate target add` does"));
    } else {
        findings.push(key(settings, target, opened.store).await);
    }
    findings
}

fn answers(check: &str, target: &Target, took: Duration) -> Finding {
    let found = format!("{} answers within {took:.1?}", target.address);
    if took > SLOW {
        return Finding::warning(check, found)
            .todo("a far or busy store: the first byte of cold data takes some such times");
    }
    Finding::good(check, found)
}

fn clock(target: &Target, ahead_ms: i64) -> Finding {
    let check = format!("clock of {}", target.name.as_str());
    let apart = Duration::from_millis(ahead_ms.unsigned_abs());
    let word = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let found = format!("it is {apart:.1?} {word} this machine's");
    if apart > CLOCKS_APART_MAX {
        return Finding::wrong(check, found).todo("keep this machine's clock set by NTP");
    }
    Finding::good(check, found)
}

async fn key(
    settings: &Settings,
    target: &Target,
    store: std::sync::Arc<dyn tidegate_replicator::store::Store>,
) -> Finding {
    let check = format!("key of {}", target.name.as_str());
    let key = match slot_key(&settings.repository).await {
        Ok(key) => key,
        Err(error) => {
            return Finding::wrong(check, why(&error)).todo("`repository.key` has to name what opens it");
        }
    };
    match Repository::open(store, &key).await {
        Ok(repository) => Finding::good(check, format!("it opens repository {}", repository.id())),
        Err(error) => {
            Finding::wrong(check, why(&error)).todo("fetch a copy of the key, or use the recovery key")
        }
    }
}
