//! The moments of a share: its retained heads and snapshots, as clients see them in `.snapshot`.
//!
//! Owns the list of them, by the name that stands in the folder and by the number that is the view of
//! their handles and the cookie of their name. Where the list comes from is the appliance's
//! ([`Moments`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::Timestamp;
use tidegate_replicator::repository::Usage;

use crate::share::FrozenMap;

/// A state of a share that is retained.
pub struct Moment {
    /// Its number; at least [`Moment::VIEW_FIRST`], below 2^63.
    pub view: u64,
    /// Its name among the moments of its share.
    pub name: Bytes,
    /// When it was frozen.
    pub frozen_at: Timestamp,
    /// What the share held.
    pub usage: Usage,
    /// The map.
    pub map: FrozenMap,
}

impl Moment {
    /// Smaller views are not moments; smaller cookies are "." and "..".
    pub const VIEW_FIRST: u64 = 16;
}

/// The moments of a share at a time.
#[derive(Default)]
pub struct MomentList {
    by_view: BTreeMap<u64, Arc<Moment>>,
    by_name: HashMap<Bytes, u64>,
    newest: Option<Timestamp>,
}

impl MomentList {
    /// A list; of moments with one number or name the first stands.
    pub fn new(moments: impl IntoIterator<Item = Arc<Moment>>) -> Self {
        let mut list = Self::default();
        for moment in moments {
            if list.by_view.contains_key(&moment.view) || list.by_name.contains_key(&moment.name) {
                continue;
            }
            list.newest = list.newest.max(Some(moment.frozen_at));
            list.by_name.insert(moment.name.clone(), moment.view);
            list.by_view.insert(moment.view, moment);
        }
        list
    }

    /// The moment of a number.
    pub fn of_view(&self, view: u64) -> Option<&Arc<Moment>> {
        self.by_view.get(&view)
    }

    /// The moment of a name.
    pub fn named(&self, name: &[u8]) -> Option<&Arc<Moment>> {
        self.by_name.get(name).and_then(|view| self.by_view.get(view))
    }

    /// The moments after a number, in order of numbers: a listing that goes on there neither repeats
    /// nor loses one that was there throughout.
    pub fn after(&self, view: u64) -> impl Iterator<Item = &Arc<Moment>> {
        self.by_view.range(view.saturating_add(1)..).map(|(_, moment)| moment)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_view.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_view.is_empty()
    }

    /// When the newest of them was frozen.
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest
    }
}

/// Knows the moments of a share.
#[async_trait]
pub trait Moments: Send + Sync + 'static {
    /// The moments now; [`FsError::TryLater`] when they were never seen and the store is away.
    async fn list(&self) -> Result<Arc<MomentList>, FsError>;

    /// The moments as they were seen last. Never waits.
    fn seen(&self) -> Arc<MomentList>;
}
