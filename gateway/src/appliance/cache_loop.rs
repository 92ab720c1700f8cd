//! The keeper's loop: looks every second, and when asked, whether something must leave the cache.

use std::sync::Arc;
use std::time::Duration;

use super::Appliance;
use crate::cache::Swept;

/// The longest time between two looks.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// The shortest time between two looks.
const SWEEP_PAUSE: Duration = Duration::from_millis(20);

impl Appliance {
    pub(super) fn start_keeper(self: &Arc<Self>) {
        let appliance = Arc::downgrade(self);
        let (keeper, stop) = (self.backend.keeper.clone(), self.stop.clone());
        self.loops.spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(SWEEP_EVERY) => {}
                    () = keeper.wake.notified() => {}
                }
                let Some(appliance) = appliance.upgrade() else { return };
                appliance.sweep_cache().await;
                drop(appliance);
                tokio::time::sleep(SWEEP_PAUSE).await;
            }
        });
    }

    /// Evicts what exceeds the bound of the cache, or stands where the journal will need room.
    pub(super) async fn sweep_cache(&self) {
        let (keeper, journal) = (self.backend.keeper.clone(), self.budget.journal_bytes());
        let swept = tokio::task::spawn_blocking(move || keeper.sweep(journal)).await.unwrap_or_default();
        if swept != Swept::default() {
            tracing::debug!(packs = swept.packs, files = swept.files, "evicted from the cache");
            self.budget.relief.notify_waiters();
        }
    }
}
