//! The time that a call may take.
//!
//! A client repeats a call that is not answered after a minute, and says to its programs that the server does
//! not respond. So a call has one bound, whatever it waits for and however often: the reads below have their
//! own, shorter ones, and this one holds for their sum. When it is over the client is told to try later.
//!
//! A change that has been handed to the journal cannot be taken back, so "try later" would not be true of it: a
//! second attempt would find the name taken, or gone. From there on only the disk of this machine is waited for,
//! however long it takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_protocols::view::FsError;
use tokio::time::{Instant, timeout_at};

/// How long a call may take before its client is told to try later.
const CALL_TIME_MAX: Duration = Duration::from_secs(28);
/// How long a call that has failed may take to find the attributes that go with the error.
pub(super) const AFTER_FAILURE_MAX: Duration = Duration::from_secs(1);

/// When a call is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// Of a call that begins now.
    pub(super) fn begin() -> Self {
        Self(Instant::now() + CALL_TIME_MAX)
    }

    /// A part of the call: [`FsError::TryLater`] when the call's time is over before it.
    pub(super) async fn bound<T>(self, part: impl Future<Output = Result<T, FsError>>) -> Result<T, FsError> {
        timeout_at(self.0, part).await.unwrap_or(Err(FsError::TryLater))
    }

    /// As [`Deadline::bound`], for a change that says when it is on its way into the journal; from then on it has
    /// all the time that it takes.
    pub(super) async fn bound_until<T>(
        self,
        submitted: &AtomicBool,
        change: impl Future<Output = Result<T, FsError>>,
    ) -> Result<T, FsError> {
        let mut change = std::pin::pin!(change);
        match timeout_at(self.0, &mut change).await {
            Ok(done) => done,
            Err(_) if submitted.load(Ordering::Relaxed) => change.await,
            Err(_) => Err(FsError::TryLater),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    async fn after(time: Duration) -> Result<(), FsError> {
        sleep(time).await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn the_parts_of_a_call_share_its_time() {
        let (started, deadline) = (Instant::now(), Deadline::begin());
        assert_eq!(deadline.bound(after(CALL_TIME_MAX.mul_f32(0.75))).await, Ok(()));
        assert_eq!(deadline.bound(after(CALL_TIME_MAX.mul_f32(0.75))).await, Err(FsError::TryLater));
        assert!(started.elapsed() < CALL_TIME_MAX.mul_f32(1.01), "the second part began with what was left");
    }

    #[tokio::test(start_paused = true)]
    async fn try_later_is_never_said_of_a_change_that_happens() {
        for on_its_way in [false, true] {
            let submitted = AtomicBool::new(false);
            let change = async {
                sleep(CALL_TIME_MAX / 2).await;
                submitted.store(on_its_way, Ordering::Relaxed);
                after(CALL_TIME_MAX).await
            };
            let answered = Deadline::begin().bound_until(&submitted, change).await;
            assert_eq!(answered, if on_its_way { Ok(()) } else { Err(FsError::TryLater) });
        }
    }
}
