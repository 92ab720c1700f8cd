//! What it would take to go back: how the newest head differs from what this site has, and how much of that must come
//! from the store.
//!
//! The trees are compared, so the cost follows the change. Frames that local packs or gathered frames hold are not
//! counted as to be fetched: after a failover the old site has most of what it served. Memory: 16 bytes a frame, for at
//! most [`FRAMES_MAX`]; beyond that frames may be counted more than once, and the plan says that it counts too much.

use std::collections::{HashMap, HashSet};

use futures::TryStreamExt;
use tidegate_chunker::{Location, PackId};
use tidegate_replicator::fetch::FrameAt;
use tidegate_replicator::map::{Extent, Key, Source};
use tidegate_replicator::repository::{Head, HeadName};
use tidegate_replicator::tree::{self, ChunkRef, Root};

use super::{Appliance, ApplianceError};
use crate::share::{Base, ShareError};

/// Frames that are remembered.
const FRAMES_MAX: usize = 1 << 20;

/// See the head of this module.
#[derive(Clone, Debug)]
pub struct FailbackFacts {
    /// The head that what is here stands over; none if nothing of the share is here.
    pub here: Option<HeadName>,
    /// The root of that.
    pub base: Root,
    /// The newest head.
    pub newest: (HeadName, Head),
    /// The host that leads, as far as that is known.
    pub leader: Option<String>,
    /// Whether it has handed the share over, so that nothing is lost and handles stay valid.
    pub handed_over: bool,
    /// Whether this gateway leads.
    pub leads: bool,
    /// Inodes that differ.
    pub inodes: u64,
    /// Map entries that differ.
    pub entries: u64,
    /// Bytes of file data that are new or changed, as clients see them.
    pub bytes: u64,
    /// Frames of those that must come from the store, their bytes, and the packs that they lie in.
    pub fetch_frames: u64,
    /// Bytes of those frames.
    pub fetch_bytes: u64,
    /// Packs that they lie in.
    pub fetch_packs: u64,
    /// Bytes of frames that are here already.
    pub here_bytes: u64,
    /// Whether more may be counted than there is.
    pub at_most: bool,
}

impl Appliance {
    /// What it would take to serve the newest head of a share from here. Changes nothing.
    pub async fn failback_facts(&self, share: &str) -> Result<FailbackFacts, ApplianceError> {
        let id = self.share_in_repository(share).await?;
        let repository = &self.backend.repository;
        let lease = repository.lease(id).await?;
        let nothing = || ApplianceError::NothingToAttach { share: share.into(), what: "head".into() };
        let newest = repository.newest_head(id).await?.ok_or_else(nothing)?;
        let open = self.open_or_retiring(share);
        let base = match &open {
            Some(open) => Base::load(&self.live, open.share.map().map)?,
            None => Base::EMPTY,
        };
        let leads = open.as_ref().is_some_and(|open| {
            let record = open.record.lock();
            record.leadership.is_some() && !record.superseded && !record.handed_over
        });
        let handed_over = newest.head.handover.is_some() && newest.name.epoch == lease.highest_epoch();
        let mut facts = FailbackFacts {
            here: base.head,
            base: base.root,
            newest: (newest.name, newest.head),
            leader: lease.holder().map(|claim| claim.host.clone()),
            handed_over,
            leads,
            inodes: 0,
            entries: 0,
            bytes: 0,
            fetch_frames: 0,
            fetch_bytes: 0,
            fetch_packs: 0,
            here_bytes: 0,
            at_most: false,
        };
        self.count_difference(&mut facts).await?;
        Ok(facts)
    }

    async fn count_difference(&self, facts: &mut FailbackFacts) -> Result<(), ApplianceError> {
        let head = &facts.newest.1;
        let nodes = self.backend.reader(head.share.domain)?.nodes;
        let changes = tree::diff(&facts.base, &head.root, nodes);
        let mut changes = std::pin::pin!(changes);
        let mut count = Count::default();
        let mut last = None;
        while let Some(change) = changes.try_next().await.map_err(ShareError::from)? {
            let key = Key::decode(&change.key).map_err(ShareError::from)?;
            facts.entries += 1;
            facts.inodes += u64::from(last.replace(key.inode()) != Some(key.inode()));
            let (Key::Extent(_, end), Some(value)) = (&key, &change.after) else { continue };
            let extent = Extent::from_value(*end, value).map_err(ShareError::from)?;
            facts.bytes += extent.length();
            if let Source::Chunk { chunk, chunk_bytes, .. } = &extent.source {
                self.count_chunk(&mut count, chunk, *chunk_bytes)?;
            }
        }
        facts.fetch_frames = count.fetch_frames;
        facts.fetch_bytes = count.fetch_bytes;
        facts.fetch_packs = count.packs.values().filter(|pack| pack.is_fetched).count() as u64;
        facts.here_bytes = count.here_bytes;
        facts.at_most = count.is_full;
        Ok(())
    }

    fn count_chunk(&self, count: &mut Count, chunk: &ChunkRef, bytes: u32) -> Result<(), ApplianceError> {
        let ledger = &self.backend.ledger;
        let at = match chunk.at {
            Some(at) => Some(at),
            None => ledger.find(&chunk.id)?,
        };
        let Some(at) = at else {
            count.fetch_frames += 1;
            count.fetch_bytes += u64::from(bytes);
            return Ok(());
        };
        if !count.is_new(&at) {
            return Ok(());
        }
        let frame = FrameAt { pack: at.pack, offset: at.frame_offset, bytes: at.frame_bytes };
        let pack = count
            .packs
            .entry(at.pack)
            .or_insert_with(|| PackHere { is_here: ledger.path(&at.pack).exists(), is_fetched: false });
        if pack.is_here || self.backend.gathered().contains(&frame) {
            count.here_bytes += u64::from(at.frame_bytes);
        } else {
            pack.is_fetched = true;
            count.fetch_frames += 1;
            count.fetch_bytes += u64::from(at.frame_bytes);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Count {
    /// The first bytes of the pack's id, and where the frame begins in it.
    frames: HashSet<(u64, u32)>,
    packs: HashMap<PackId, PackHere>,
    fetch_frames: u64,
    fetch_bytes: u64,
    here_bytes: u64,
    is_full: bool,
}

struct PackHere {
    is_here: bool,
    is_fetched: bool,
}

impl Count {
    /// Whether the frame was not counted before.
    fn is_new(&mut self, at: &Location) -> bool {
        let first = at.pack.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let frame = (first, at.frame_offset);
        if self.frames.len() < FRAMES_MAX {
            return self.frames.insert(frame);
        }
        self.is_full = true;
        !self.frames.contains(&frame)
    }
}
