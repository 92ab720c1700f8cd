//! Waiting: the seam through which claimants let time pass, so that tests can own the clock.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

/// Lets time pass.
#[async_trait]
pub trait Wait: Send + Sync + fmt::Debug {
    /// Returns no earlier than after this long.
    async fn wait(&self, time: Duration);
}

/// Real time, by the clock of the runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioWait;

#[async_trait]
impl Wait for TokioWait {
    async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
