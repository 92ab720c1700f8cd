//! For whom bytes travel: three classes, the first before the second before the third.
//!
//! The class of a call belongs to the task that makes it. What says nothing is [`Traffic::Client`]: somebody waits
//! for it. Work that nobody waits for says so once, where it begins ([`Traffic::scope`]); all calls below it are
//! then of that class. A task that is spawned on the way knows nothing of it, so whoever spawns one carries the class
//! over ([`Traffic::carry`]).

use std::future::Future;

/// A class of traffic. Ordered: the least goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Traffic {
    /// Somebody waits for it: reads of clients, restores, commands.
    #[default]
    Client,
    /// What was acknowledged leaves for the store.
    Replication,
    /// Collecting, checking, scrubbing, repacking, healing.
    Housekeeping,
}

tokio::task_local! {
    static CURRENT: Traffic;
}

impl Traffic {
    /// All of them, the first first.
    pub const ALL: [Self; 3] = [Self::Client, Self::Replication, Self::Housekeeping];

    /// As it is written in metrics and shown to people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Replication => "replication",
            Self::Housekeeping => "housekeeping",
        }
    }

    /// The class of this task.
    pub fn current() -> Self {
        CURRENT.try_with(|traffic| *traffic).unwrap_or_default()
    }

    /// Does `work` in this class.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, work)
    }

    /// The same for work on a thread that blocks.
    pub fn scope_blocking<R>(self, work: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self, work)
    }

    /// Does `work`, wherever it will run, in the class of this task.
    pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
        Self::current().scope(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_class_holds_for_all_that_is_done_below_and_is_carried_into_tasks() {
        assert_eq!(Traffic::current(), Traffic::Client);
        let work = async {
            let lost = tokio::spawn(async { Traffic::current() }).await.expect("ended");
            let carried = tokio::spawn(Traffic::carry(async { Traffic::current() })).await.expect("ended");
            (Traffic::current(), lost, carried)
        };
        let seen = Traffic::Housekeeping.scope(work).await;
        assert_eq!(seen, (Traffic::Housekeeping, Traffic::Client, Traffic::Housekeeping));
        assert_eq!(Traffic::current(), Traffic::Client);
    }
}
