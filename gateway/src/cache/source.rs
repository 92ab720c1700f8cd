//! The cache as the reader of chunks sees it: two sources of frames.
//!
//! [`PackFrames`] reads packs that were made here; [`GatheredFrames`] stands before the store and keeps
//! what comes from there. Both tell the policy what is used, and count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_replicator::fetch::{Fetched, FrameAt, FrameResult, FrameSource, LocalFrames, Origin};

use super::{DiskCache, Policy, Unit};

/// How reads were answered since the start, in frames.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// From this disk.
    pub(crate) hits: AtomicU64,
    /// From the store.
    pub(crate) misses: AtomicU64,
}

/// Packs that were made here.
pub(crate) struct PackFrames {
    pub(crate) packs: Arc<LocalFrames>,
    pub(crate) policy: Arc<Mutex<Policy>>,
    pub(crate) tally: Arc<Tally>,
}

#[async_trait]
impl FrameSource for PackFrames {
    async fn frame(&self, at: FrameAt) -> FrameResult {
        let frame = self.packs.frame(at).await?;
        self.tally.hits.fetch_add(1, Ordering::Relaxed);
        self.policy.lock().touch(Unit::Pack(at.pack), at.offset.into());
        Ok(frame)
    }

    fn reject(&self, at: FrameAt) -> bool {
        self.packs.reject(at)
    }
}

/// The store, behind what was gathered from it before.
pub(crate) struct GatheredFrames {
    pub(crate) disk: Arc<DiskCache>,
    pub(crate) store: Arc<dyn FrameSource>,
    pub(crate) tally: Arc<Tally>,
}

impl GatheredFrames {
    /// Those of the frames that are here; one answer for each, in order.
    async fn gathered(&self, at: &[FrameAt]) -> Vec<Option<FrameResult>> {
        if !at.iter().any(|at| self.disk.contains(at)) {
            return at.iter().map(|_| None).collect();
        }
        let (disk, wanted) = (self.disk.clone(), at.to_vec());
        let here = |frame| Ok(Fetched { frame, origin: Origin::Here });
        let read = move || wanted.into_iter().map(|at| disk.get(at).map(here)).collect();
        // What cannot be read here is asked of the store.
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| at.iter().map(|_| None).collect())
    }
}

#[async_trait]
impl FrameSource for GatheredFrames {
    async fn frame(&self, at: FrameAt) -> FrameResult {
        let mut answers = self.frames(&[at]).await;
        answers.pop().expect("there is one answer for each frame")
    }

    async fn frames(&self, at: &[FrameAt]) -> Vec<FrameResult> {
        let gathered = self.gathered(at).await;
        let absent: Vec<FrameAt> =
            at.iter().zip(&gathered).filter(|(_, found)| found.is_none()).map(|(at, _)| *at).collect();
        self.tally.hits.fetch_add((at.len() - absent.len()) as u64, Ordering::Relaxed);
        self.tally.misses.fetch_add(absent.len() as u64, Ordering::Relaxed);
        let fetched = if absent.is_empty() { Vec::new() } else { self.store.frames(&absent).await };
        for (at, frame) in absent.iter().zip(&fetched) {
            if let Ok(fetched) = frame {
                self.disk.offer(*at, &fetched.frame);
            }
        }
        let mut fetched = fetched.into_iter();
        let rest = |found: Option<FrameResult>| {
            found.unwrap_or_else(|| fetched.next().expect("there is one answer for each frame"))
        };
        gathered.into_iter().map(rest).collect()
    }

    fn reject(&self, at: FrameAt) -> bool {
        let store = self.store.reject(at);
        self.disk.forget(at) || store
    }
}
