//! Lifecycle rules of buckets, carried out by the gateway itself: once for each day that begins (UTC), and when the
//! rules of a bucket have changed.
//!
//! One bucket after the other, so that housekeeping never takes more than a little of the machine. What cannot be
//! done now (the store is away, say) is tried again at the next look.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tidegate_protocols::objects::lifecycle::LifecycleRule;
use tokio_util::sync::CancellationToken;

use crate::control::JobHandle;
use crate::objects::Objects;

/// How often it is looked whether something is due.
const LOOK: Duration = Duration::from_mins(1);
const DAY_SECONDS: i64 = 86_400;

/// Runs until `stop`.
pub(super) async fn keep(objects: Arc<Objects>, stop: CancellationToken) {
    let mut done: HashMap<String, (i64, Vec<LifecycleRule>)> = HashMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let today = Timestamp::now().as_second().div_euclid(DAY_SECONDS);
        let rules = objects.lifecycle_rules().await;
        done.retain(|bucket, _| rules.iter().any(|(name, _)| name == bucket));
        for (bucket, rules) in rules {
            if done.get(&bucket).is_some_and(|(day, known)| *day == today && *known == rules) {
                continue;
            }
            let job = JobHandle::new();
            let run = objects.carry_out_lifecycle(&bucket, false, &job);
            let outcome = tokio::select! {
                () = stop.cancelled() => return,
                outcome = run => outcome,
            };
            match outcome {
                Ok(report) => {
                    let (expired, removed, aborted) = (report.expired, report.removed, report.aborted);
                    tracing::info!(bucket, expired, removed, aborted, "lifecycle rules carried out");
                    done.insert(bucket, (today, rules));
                }
                Err(error) => tracing::warn!(bucket, %error, "lifecycle rules wait for the next look"),
            }
        }
    }
}
