//! Waiting for what cannot be had now.
//!
//! NBD has no word for "try later", and whoever has a file system on a disk takes an error for damage. So a request that
//! meets one of those waits and tries again until its time is over.

use std::time::Duration;

use tidegate_protocols::blocks::BlockError;
use tidegate_protocols::view::FsError;
use tokio::time::Instant;

/// The first pause, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Tries until it is no longer "try later", or the time is over.
pub(super) async fn patiently<T, F>(
    patience: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T, BlockError>
where
    F: Future<Output = Result<T, FsError>>,
{
    let until = Instant::now() + patience;
    let mut pause = PAUSE_FIRST;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(FsError::TryLater) if Instant::now() + pause < until => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(error) => {
                if error == FsError::TryLater {
                    tracing::warn!(
                        ?patience,
                        "a request of a volume waited in vain; its client is told of an error"
                    );
                }
                return Err(block_error(error));
            }
        }
    }
}

/// The same for clients of disks.
pub(super) fn block_error(error: FsError) -> BlockError {
    match error {
        FsError::NoSpace | FsError::Quota => BlockError::NoSpace,
        FsError::ReadOnly | FsError::Access | FsError::NotOwner | FsError::Locked => BlockError::Denied,
        FsError::Stale | FsError::BadHandle => BlockError::ShuttingDown,
        FsError::NotFound | FsError::NotDirectory => BlockError::NotFound,
        FsError::Invalid | FsError::FileTooBig | FsError::IsDirectory => BlockError::Invalid,
        FsError::NotSupported => BlockError::NotSupported,
        FsError::Io
        | FsError::Exists
        | FsError::CrossDevice
        | FsError::TooManyLinks
        | FsError::NameTooLong
        | FsError::NotEmpty
        | FsError::NotSync
        | FsError::BadCookie
        | FsError::TooSmall
        | FsError::ServerFault
        | FsError::BadType
        | FsError::TryLater => BlockError::Io,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_passes_is_waited_for_and_what_does_not_is_told() {
        let tries = AtomicU32::new(0);
        let attempt = || async {
            if tries.fetch_add(1, Ordering::Relaxed) < 2 { Err(FsError::TryLater) } else { Ok(7) }
        };
        assert_eq!(patiently(Duration::from_mins(1), attempt).await, Ok(7));
        let never = || async { Err::<(), _>(FsError::TryLater) };
        assert_eq!(patiently(Duration::ZERO, never).await, Err(BlockError::Io));
        let full = || async { Err::<(), _>(FsError::Quota) };
        assert_eq!(patiently(Duration::from_mins(1), full).await, Err(BlockError::NoSpace));
    }
}
