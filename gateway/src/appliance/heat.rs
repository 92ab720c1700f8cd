//! What is used of shares, over the life of the appliance: taken in when a share is opened, kept when a head has said it
//! and when the appliance is closed. All of it is a hint: what fails here is said, and stops nothing.

use std::sync::Arc;

use super::Appliance;
use super::shares::OpenShare;
use crate::heat;
use crate::share::Share;

impl Appliance {
    /// Goes on from what was known at the last stop.
    pub(super) async fn load_heat(&self, share: &Arc<Share>) {
        let (folder, share) = (self.heat_folder.clone(), share.clone());
        let loading =
            tokio::task::spawn_blocking(move || heat::load(&folder, share.id(), share.heat())).await;
        tracing::trace!(known = loading.unwrap_or(false), "what is used of a share");
    }

    /// Keeps what is known of all open shares.
    pub(super) async fn keep_heat(&self) {
        let open: Vec<Arc<OpenShare>> = self.shares.lock().values().cloned().collect();
        for open in open {
            self.keep_heat_of(&open.share).await;
        }
    }

    /// Keeps what is known of a share.
    pub(super) async fn keep_heat_of(&self, share: &Arc<Share>) {
        let (folder, share) = (self.heat_folder.clone(), share.clone());
        let id = share.id();
        let keeping = tokio::task::spawn_blocking(move || heat::save(&folder, id, share.heat())).await;
        if let Ok(Err(error)) = keeping {
            tracing::warn!(share = %id, %error, "what is used of a share could not be kept; the next head that says it tries again");
        }
    }
}
