//! What the first read of a file asks of the store.
//!
//! Goes down from the root of the share as a client does, always by the first name, to the first file with data, and notes
//! the frames on the way. So the numbers are those of this tree, not of trees in general.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_chunker::Location;
use tidegate_replicator::fetch::FrameAt;
use tidegate_replicator::map::{Entry, Extent, InodeNumber, Key, Kind, Source, kind_range};
use tidegate_replicator::tree::{ChunkRef, Node, NodeSource, Root, TreeError};

use super::model::Amount;
use crate::share::{FrozenMap, MapRead, ShareError};

/// Folders that are gone down into at most.
const DEPTH_MAX: usize = 16;
/// Names of a folder that are looked at.
const NAMES_MAX: usize = 64;

/// The frames of the first read, in order of pack and place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirstByte {
    /// Of the tree, and of the file.
    pub frames: Vec<FrameAt>,
    /// The data of the file; none where no file has any.
    pub data: Option<ChunkRef>,
}

impl FirstByte {
    /// One request a frame.
    pub fn amount(&self) -> Amount {
        Amount {
            requests: self.frames.len() as u64,
            bytes: self.frames.iter().map(|frame| u64::from(frame.bytes)).sum(),
        }
    }
}

/// Finds out what the first read of the map of `root` takes; reads its nodes through `nodes`, and no data.
pub async fn first_byte(root: &Root, nodes: Arc<dyn NodeSource>) -> Result<FirstByte, ShareError> {
    let noting = Arc::new(Noting { nodes, frames: Mutex::default() });
    let map = FrozenMap { root: *root, nodes: noting.clone() };
    let data = if root.is_empty() { None } else { first_data(&map).await? };
    if let Some(at) = data.and_then(|data| data.at) {
        noting.note(&at);
    }
    let frames = noting.frames.lock().iter().copied().collect();
    Ok(FirstByte { frames, data })
}

/// The first data of the first file that has any.
async fn first_data(map: &FrozenMap) -> Result<Option<ChunkRef>, ShareError> {
    let mut folder = InodeNumber::ROOT;
    for _ in 0..DEPTH_MAX {
        map.get(&Key::Attributes(folder)).await?;
        let mut below = None;
        for (key, value) in map.scan(kind_range(folder, b'd', &[]), NAMES_MAX).await? {
            let Key::Entry(..) = key else { continue };
            let entry = Entry::decode(&value.payload)?;
            match entry.kind {
                Kind::Regular => {
                    if let Some(data) = data_of(map, entry.inode).await? {
                        return Ok(Some(data));
                    }
                }
                Kind::Directory => below = below.or(Some(entry.inode)),
                Kind::Symlink | Kind::Block | Kind::Character | Kind::Fifo | Kind::Socket => {}
            }
            if below.is_some() {
                break;
            }
        }
        match below {
            Some(below) => folder = below,
            None => return Ok(None),
        }
    }
    Ok(None)
}

async fn data_of(map: &FrozenMap, file: InodeNumber) -> Result<Option<ChunkRef>, ShareError> {
    map.get(&Key::Attributes(file)).await?;
    let page = map.scan(kind_range(file, b'e', &[]), 1).await?;
    let Some((Key::Extent(_, end), value)) = page.into_iter().next() else { return Ok(None) };
    Ok(match Extent::from_value(end, &value)?.source {
        Source::Chunk { chunk, .. } => Some(chunk),
        Source::Journal(_) => None,
    })
}

/// Nodes, and the frames of those that were read.
struct Noting {
    nodes: Arc<dyn NodeSource>,
    frames: Mutex<BTreeSet<FrameAt>>,
}

impl Noting {
    fn note(&self, at: &Location) {
        self.frames.lock().insert(FrameAt::from(at));
    }
}

#[async_trait]
impl NodeSource for Noting {
    async fn node(&self, reference: &ChunkRef) -> Result<Arc<Node>, TreeError> {
        reference.at.iter().for_each(|at| self.note(at));
        self.nodes.node(reference).await
    }

    async fn value(&self, reference: &ChunkRef) -> Result<Bytes, TreeError> {
        reference.at.iter().for_each(|at| self.note(at));
        self.nodes.value(reference).await
    }
}
