//! A disk as it was published, for whoever copies it: which blocks hold something, which have changed since, and their bytes.
//!
//! What has changed is found in the trees of two heads, which share what is equal: the cost follows the change. An extent that
//! was cut, or that continues in another one, differs in the tree and not in what it says, so each block that may have changed
//! is looked at once more, by which pieces of which chunks it is made of. The same bytes cut in another way count
//! as changed, which costs a block and no more.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use tidegate_chunker::ChunkId;
use tidegate_protocols::blocks::Piece;
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{Extent, InodeNumber, Key, Source as Lies, kind_range};
use tidegate_replicator::tree;

use super::patience::patiently;
use super::runs::Runs;
use super::source::Source;
use super::{Context, Volumes, place};
use crate::control::{FilePath, Moment};
use crate::machine::{ContentError, DiskContent, Origin};
use crate::namespace::{Node, Reader};
use crate::share::{FrozenMap, MapRead, ShareError, extents_meeting};

/// Extents that one look at the map brings.
const PAGE: usize = 256;

/// See the head of this module.
pub struct PublishedDisk {
    context: Arc<Context>,
    share: String,
    path: FilePath,
    origin: Origin,
    map: FrozenMap,
    node: Node,
    source: Source,
    /// The file as it is served now, of one that is live.
    live: Option<Node>,
}

/// A piece of a block: where in the block it is, how long, of which chunk, from where in that.
type PieceOf = (u64, u64, ChunkId, u64);

impl Volumes {
    /// A volume as it is published: at a moment, or at the one that it shows; of what is live, all that was written so far.
    pub async fn published(&self, name: &str, moment: Option<&Moment>) -> Result<PublishedDisk, FsError> {
        let (volume, context) = (self.find(name)?, &self.context);
        let moment = match moment.or(volume.config.moment.as_ref()) {
            Some(moment) => moment.clone(),
            None if volume.config.scratch => Moment::NewestHead,
            None => Moment::Live,
        };
        let live = if moment == Moment::Live { Some(volume.node(context).await?) } else { None };
        let (share, path) = (volume.config.share.clone(), volume.config.path.clone());
        let id = context.host.share_id(&share).ok_or(FsError::Stale)?;
        let (head, map) = context.host.published(&share, &moment).await?;
        let node = place::find(Reader { map: &map }, &path).await?;
        let origin = Origin { share: id.to_string(), path: path.to_string(), head };
        let source = Source::frozen(share.clone(), map.clone(), node.number);
        Ok(PublishedDisk { context: context.clone(), share, path, origin, map, node, source, live })
    }
}

impl PublishedDisk {
    /// Whether clients are served another content than that of the head: in the clone of a drill, which publishes nothing.
    pub fn is_behind(&self) -> bool {
        let content = |node: &Node| (node.inode.size, node.inode.used, node.inode.times.modified);
        self.live.as_ref().is_some_and(|live| content(live) != content(&self.node))
    }

    /// The same file at another head; none if either is not there.
    async fn at(&self, head: &str) -> Result<Option<(FrozenMap, InodeNumber)>, FsError> {
        let found = async {
            let moment = Moment::Head(head.to_owned());
            let map = self.context.host.frozen(&self.share, &moment, false).await?;
            let node = place::find(Reader { map: &map }, &self.path).await?;
            Ok((map, node.number))
        };
        match found.await {
            Ok(found) => Ok(Some(found)),
            Err(FsError::NotFound | FsError::NotDirectory | FsError::Invalid) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn changed_since(&self, head: &str, block_bytes: u64) -> Result<Option<Runs>, FsError> {
        if head == self.origin.head {
            return Ok(Some(Runs::default()));
        }
        let Some((before, file)) = self.at(head).await? else { return Ok(None) };
        let candidates = if file == self.node.number {
            self.differing(&before, block_bytes).await?
        } else {
            covered(&before, file, block_bytes).await?.joined(self.covered(block_bytes).await?)
        };
        let mut changed = Runs::default();
        for block in candidates.blocks() {
            let range = block * block_bytes..(block + 1) * block_bytes;
            let (one, other) = futures::try_join!(
                pieces(&before, file, &range),
                pieces(&self.map, self.node.number, &range)
            )?;
            if one != other {
                changed.add(block..block + 1);
            }
        }
        Ok(Some(changed))
    }

    /// Blocks that have an extent which is not the same in both trees.
    async fn differing(&self, before: &FrozenMap, block_bytes: u64) -> Result<Runs, ShareError> {
        let mut runs = Runs::default();
        let changes = tree::diff(&before.root, &self.map.root, self.map.nodes.clone());
        let mut changes = std::pin::pin!(changes);
        while let Some(change) = changes.try_next().await? {
            let Key::Extent(file, end) = Key::decode(&change.key)? else { continue };
            if file != self.node.number {
                continue;
            }
            for value in [&change.before, &change.after].into_iter().flatten() {
                let extent = Extent::from_value(end, value)?;
                runs.add_bytes(&(extent.start..extent.end), block_bytes);
            }
        }
        Ok(runs)
    }

    async fn covered(&self, block_bytes: u64) -> Result<Runs, ShareError> {
        covered(&self.map, self.node.number, block_bytes).await
    }

    fn failed(&self, what: &str, error: &dyn std::error::Error) -> ContentError {
        ContentError(format!("{what} {}: {error}", self.origin))
    }
}

/// Blocks of a file that are no holes.
async fn covered(map: &FrozenMap, file: InodeNumber, block_bytes: u64) -> Result<Runs, ShareError> {
    let (mut runs, mut keys) = (Runs::default(), kind_range(file, b'e', &[]));
    loop {
        let page = map.scan(keys.clone(), PAGE).await?;
        let is_last = page.len() < PAGE;
        for (key, value) in page {
            let Key::Extent(_, end) = key else { continue };
            keys.start = [&key.encode()[..], &[0]].concat();
            let extent = Extent::from_value(end, &value)?;
            runs.add_bytes(&(extent.start..extent.end), block_bytes);
        }
        if is_last {
            return Ok(runs);
        }
    }
}

/// What a range of a file is made of; neighbours that go on in the same chunk are one.
async fn pieces(map: &FrozenMap, file: InodeNumber, range: &Range<u64>) -> Result<Vec<PieceOf>, ShareError> {
    let mut found: Vec<PieceOf> = Vec::new();
    for extent in extents_meeting(map, file, range).await? {
        let Some(part) = extent.slice(range) else { continue };
        let Lies::Chunk { chunk, offset, .. } = &part.source else { continue };
        let (start, length, offset) = (part.start - range.start, part.length(), u64::from(*offset));
        match found.last_mut() {
            Some((at, bytes, id, from))
                if *id == chunk.id && *at + *bytes == start && *from + *bytes == offset =>
            {
                *bytes += length;
            }
            _ => found.push((start, length, chunk.id, offset)),
        }
    }
    Ok(found)
}

#[async_trait]
impl DiskContent for PublishedDisk {
    fn origin(&self) -> &Origin {
        &self.origin
    }

    fn bytes(&self) -> u64 {
        self.node.inode.size
    }

    async fn blocks(
        &self,
        block_bytes: u64,
        since: Option<&str>,
    ) -> Result<Option<Vec<Range<u64>>>, ContentError> {
        let found = match since {
            Some(head) => self.changed_since(head, block_bytes).await,
            None => self.covered(block_bytes).await.map(Some).map_err(FsError::from),
        };
        let found = found.map_err(|error| self.failed("it cannot be seen what has changed of", &error))?;
        Ok(found.map(Runs::into_ranges))
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, ContentError> {
        let inside = range.start..range.end.min(self.bytes()).max(range.start);
        let pieces = if inside.is_empty() {
            Vec::new()
        } else {
            let read = patiently(self.context.patience, || self.source.read(&self.context, &inside));
            read.await.map_err(|error| self.failed("cannot read", &error))?
        };
        let mut bytes = BytesMut::with_capacity((range.end - range.start) as usize);
        for piece in pieces {
            match piece {
                Piece::Data(data) => bytes.extend_from_slice(&data),
                Piece::Hole(length) => bytes.resize(bytes.len() + length as usize, 0),
            }
        }
        bytes.resize((range.end - range.start) as usize, 0);
        Ok(bytes.freeze())
    }
}
