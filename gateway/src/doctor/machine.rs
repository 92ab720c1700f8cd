//! The process and its machine.

use rustix::process::{Resource, getrlimit};

use super::Finding;

/// Connections, segments, packs and RocksDB's tables each take one.
const FILES_WANTED: u64 = 16_384;
/// Before this a clock was never set: 2026-01-01, in seconds since 1970.
const CLOCK_MIN_SECONDS: i64 = 1_767_225_600;

pub(super) fn examine() -> Vec<Finding> {
    vec![files(), clock()]
}

fn files() -> Finding {
    let limit = getrlimit(Resource::Nofile).current;
    match limit {
        Some(limit) if limit < FILES_WANTED => {
            Finding::warning("open files", format!("at most {limit}, where {FILES_WANTED} are wanted"))
                .todo("raise it for the gateway: LimitNOFILE= in its unit, or `ulimit -n`")
        }
        Some(limit) => Finding::good("open files", format!("at most {limit}")),
        None => Finding::good("open files", "without limit"),
    }
}

fn clock() -> Finding {
    let now = jiff::Timestamp::now();
    if now.as_second() < CLOCK_MIN_SECONDS {
        return Finding::wrong("clock", format!("it says {now}")).todo("set it, and keep it set by NTP");
    }
    Finding::good("clock", format!("it says {}", now.strftime("%Y-%m-%dT%H:%M:%SZ")))
}
