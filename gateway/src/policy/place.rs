//! The place of a run among the sources that are saved at once.
//!
//! Only a few sources are saved at once, whoever asks for it, and each may take hours. What the hook `before` of a run froze
//! must not wait for that. So such a run has a place of its own before its hooks begin. Its sources are read in it one after
//! the other, and meanwhile in any other place that is free, for which they wait as all others do. A place is
//! given back as soon as no source of the run waits for it.
//!
//! Nobody waits for a second place while he holds one, but where the first will do as well; so there is no circle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, MutexGuard, OwnedSemaphorePermit, Semaphore};

/// See the head of this module. Dropping it gives the run's own place back.
#[derive(Debug)]
pub struct Place {
    /// Those of all.
    all: Arc<Semaphore>,
    /// The run's own; locked while a source is read in it.
    own: Mutex<Option<OwnedSemaphorePermit>>,
    /// Sources that the run has not begun to read; one that fails before its turn stays among them.
    unread: AtomicUsize,
}

/// Says that a source is being read, until this is dropped.
#[derive(Debug)]
pub struct Turn<'p> {
    place: &'p Place,
    own: Option<MutexGuard<'p, Option<OwnedSemaphorePermit>>>,
    _other: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// No place of its own: each source waits with all others.
    pub fn none(all: &Arc<Semaphore>) -> Self {
        Self { all: all.clone(), own: Mutex::default(), unread: AtomicUsize::new(0) }
    }

    /// Waits for a place among `all`, for a run that reads so many sources.
    pub async fn wait(all: &Arc<Semaphore>, sources: usize) -> Self {
        // It is never closed.
        let own = all.clone().acquire_owned().await.ok();
        Self { all: all.clone(), own: Mutex::new(own), unread: AtomicUsize::new(sources) }
    }

    /// Waits until the next source can be read: in the run's own place, or in another one.
    pub async fn turn(&self) -> Turn<'_> {
        let has_own = self.unread.load(Ordering::Relaxed) > 0;
        let (own, other) = tokio::select! {
            biased;
            own = self.own.lock(), if has_own => (Some(own), None),
            other = self.all.clone().acquire_owned() => (None, other.ok()),
        };
        let one_less = |unread: usize| unread.checked_sub(1);
        // Without sources that are left there is nothing to count.
        let _ = self.unread.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        Turn { place: self, own, _other: other }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(own) = &mut self.own
            && self.place.unread.load(Ordering::Relaxed) == 0
        {
            drop(own.take());
        }
    }
}
