//! The newest head of a share from before this start: read once, so that a gateway that has just begun can say what is published
//! and how old it is.
//!
//! Which head that is stands in the local state; what it says only the store has. Nobody waits for it: until the store has answered
//! nothing is known, and a commit that ends before knows better.

use std::sync::Arc;
use std::time::Duration;

use tidegate_replicator::store::Traffic;

use super::shares::OpenShare;
use super::{Appliance, ApplianceError};
use crate::share::Base;

/// Pauses between two attempts while the store is away.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);

impl Appliance {
    /// Reads the newest head of a share in the background, unless it is known.
    pub(super) fn start_reading_newest(self: &Arc<Self>, open: Arc<OpenShare>) {
        if open.newest.lock().is_some() {
            return;
        }
        let appliance = self.clone();
        self.loops.spawn(async move {
            let reading = async {
                let mut pause = PAUSE_MIN;
                while let Err(error) = appliance.read_newest(&open).await {
                    tracing::debug!(share = open.config.name, %error, "cannot read the newest head yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            };
            tokio::select! {
                () = appliance.stop.cancelled() => {}
                () = open.withdrawn.cancelled() => {}
                () = reading => {}
            }
        });
    }

    /// An error says that the store could not be asked.
    async fn read_newest(&self, open: &OpenShare) -> Result<(), ApplianceError> {
        let base = Base::load(&self.live, open.share.map().map)?;
        let Some(name) = base.head.filter(|_| open.newest.lock().is_none()) else { return Ok(()) };
        let reading = self.backend.repository.read_head(open.share.id(), &name);
        match Traffic::Replication.scope(reading).await {
            Ok(head) => {
                let mut newest = open.newest.lock();
                if newest.is_none() {
                    *newest = Some((name, head));
                }
                Ok(())
            }
            Err(error) if error.is_away() => Err(error.into()),
            Err(error) => {
                // Whoever leads the share now has removed it perhaps.
                tracing::info!(share = open.config.name, %error, "the newest head from before the start cannot be read");
                Ok(())
            }
        }
    }
}
