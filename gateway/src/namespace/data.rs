//! Data of files: reading, writing, cutting.
//!
//! A write is one journal record: the data is its payload, and its batch says which extents of the
//! file now lie there. A read gathers extents and brings each piece from the journal, the cache or the
//! store; what no extent covers is zeros.
//!
//! `used` is exact but for one case: cutting a file at a place after which more than
//! [`CUT_EXTENTS_COUNTED`] extents lie does not count them; `used` is then at most the new size.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{Extent, Inode, InodeNumber, Key, Kind, Source, kind_range};
use tidegate_replicator::repository::HotKind;
use tidegate_replicator::tree::ChunkRef;

use super::permission::{EXECUTE, READ, WRITE, without_set_ids};
use super::{Around, Credentials, FILE_BYTES_MAX, Namespace, Node, Reader, touch_content};
use crate::journal::{JournalError, Position, Sequence};
use crate::share::{FrozenMap, MapRead, Share, ShareError, Transaction, cut_out, extents_meeting};

/// How many extents are counted when a file is cut.
const CUT_EXTENTS_COUNTED: usize = 4096;
/// How often a read looks extents up again because the journal moved on, or the file changed where it seems to have a hole.
const READ_ATTEMPTS: usize = 8;
/// A page of zeros for holes.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Data of a file, in pieces.
#[derive(Clone, Debug)]
pub struct Data {
    /// The bytes in order.
    pub pieces: Vec<Bytes>,
    /// Whether the end of the file was reached.
    pub end: bool,
    /// The file.
    pub node: Node,
}

impl Reader<'_> {
    /// Reads at most `count` bytes at `offset`. `share` says where data lies; the caller must be allowed
    /// to read, or to execute, or be the owner.
    pub async fn read(
        &self,
        share: &Share,
        number: InodeNumber,
        range: Range<u64>,
        credentials: &Credentials,
    ) -> Result<Data, FsError> {
        let node = self.node(number).await?;
        self.read_of(share, node, range, credentials).await
    }

    /// As [`Reader::read`], of a file whose inode the same call has looked up already.
    pub async fn read_of(
        &self,
        share: &Share,
        mut node: Node,
        range: Range<u64>,
        credentials: &Credentials,
    ) -> Result<Data, FsError> {
        let number = node.number;
        let mut attempts = 0;
        loop {
            may_read(&node.inode, credentials)?;
            let range = range.start..range.end.min(node.inode.size);
            if range.is_empty() {
                return Ok(Data { pieces: Vec::new(), end: range.start >= node.inode.size, node });
            }
            let end = range.end == node.inode.size;
            match read_parts_once(self.map, share, number, range.clone()).await {
                // The file may have been cut since its size was read, and written anew since: what is not there then is no
                // hole.
                Ok(parts)
                    if attempts < READ_ATTEMPTS
                        && parts.iter().any(|part| matches!(part, Part::Hole(_)))
                        && self.node(number).await?.inode.change != node.inode.change => {}
                Ok(parts) => return Ok(Data { pieces: with_zeros(parts), end, node }),
                Err(ShareError::Live(crate::live::LiveError::Journal(JournalError::Gone { .. })))
                    if attempts < READ_ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
            attempts += 1;
            node = self.node(number).await?;
        }
    }
}

fn may_read(inode: &Inode, credentials: &Credentials) -> Result<(), FsError> {
    match inode.kind {
        Kind::Regular => {}
        Kind::Directory => return Err(FsError::IsDirectory),
        Kind::Symlink | Kind::Block | Kind::Character | Kind::Fifo | Kind::Socket => {
            return Err(FsError::Invalid);
        }
    }
    let allowed = credentials.owns(inode) || credentials.may(inode, READ) || credentials.may(inode, EXECUTE);
    if allowed { Ok(()) } else { Err(FsError::Access) }
}

/// A part of a file.
#[derive(Clone, Debug)]
pub enum Part {
    /// Bytes.
    Data(Bytes),
    /// So many bytes that nothing covers; more than none.
    Hole(u64),
}

/// Parts as bytes, holes as zeros.
fn with_zeros(parts: Vec<Part>) -> Vec<Bytes> {
    let mut pieces = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Part::Data(bytes) => pieces.push(bytes),
            Part::Hole(length) => push_zeros(&mut pieces, length),
        }
    }
    pieces
}

/// What a range of a file consists of, of whatever length the file is.
pub async fn read_parts(
    map: &dyn MapRead,
    share: &Share,
    file: InodeNumber,
    range: Range<u64>,
) -> Result<Vec<Part>, ShareError> {
    let mut attempts = 0;
    loop {
        match read_parts_once(map, share, file, range.clone()).await {
            Err(ShareError::Live(crate::live::LiveError::Journal(JournalError::Gone { .. })))
                if attempts < READ_ATTEMPTS =>
            {
                attempts += 1;
            }
            read => return read,
        }
    }
}

async fn read_parts_once(
    map: &dyn MapRead,
    share: &Share,
    file: InodeNumber,
    range: Range<u64>,
) -> Result<Vec<Part>, ShareError> {
    let extents = extents_meeting(map, file, &range).await?;
    let chunks = chunks_of(&extents);
    if chunks.len() > 1 {
        share.chunks().prefetch(&chunks).await;
    }
    let mut parts = Vec::with_capacity(extents.len());
    let mut at = range.start;
    for extent in extents.iter().filter_map(|extent| extent.slice(&range)) {
        parts.extend((extent.start > at).then(|| Part::Hole(extent.start - at)));
        let bytes = match read_extent(share, &extent).await {
            Err(ShareError::Fetch(error)) => {
                share.sleepers().met(map, file, &error).await;
                return Err(error.into());
            }
            read => read?,
        };
        parts.push(Part::Data(bytes));
        at = extent.end;
    }
    parts.extend((range.end > at).then(|| Part::Hole(range.end - at)));
    Ok(parts)
}

fn chunks_of(extents: &[Extent]) -> Vec<ChunkRef> {
    let chunk = |extent: &Extent| match &extent.source {
        Source::Chunk { chunk, .. } => Some(*chunk),
        Source::Journal(_) => None,
    };
    extents.iter().filter_map(chunk).collect()
}

async fn read_extent(share: &Share, extent: &Extent) -> Result<Bytes, ShareError> {
    let length = extent.length() as usize;
    match &extent.source {
        Source::Journal(piece) => {
            let position = Position { segment: piece.segment, offset: piece.offset };
            Ok(share.live().journal().read(position, extent.length()).await?)
        }
        Source::Chunk { chunk, offset, .. } => {
            let (bytes, at) = share.chunks().read_placed(chunk).await?;
            share.heat().note(&at, HotKind::Data);
            let bytes = bytes.into_bytes();
            let start = *offset as usize;
            // The codec has checked the piece against the length that the map gives the chunk; the
            // chunk itself may be shorter only if the map is damaged.
            if start + length > bytes.len() {
                let what = "the map says it is longer than it is";
                return Err(tidegate_replicator::tree::TreeError::Damaged { id: chunk.id, what }.into());
            }
            Ok(bytes.slice(start..start + length))
        }
    }
}

fn push_zeros(pieces: &mut Vec<Bytes>, mut count: u64) {
    while count > 0 {
        let now = count.min(ZEROS.len() as u64);
        pieces.push(Bytes::from_static(&ZEROS[..now as usize]));
        count -= now;
    }
}

/// Takes note of a read of a live file, or of one of a frozen map with its number, and fetches in the
/// background what a sequential reader will want next.
pub fn read_ahead(
    share: &Arc<Share>,
    frozen: Option<(u64, FrozenMap)>,
    number: InodeNumber,
    read: &Range<u64>,
) {
    let map = frozen.as_ref().map_or(0, |(map, _)| *map);
    let Some((window, permit)) = share.read_ahead().note((map, number), read) else { return };
    let share = share.clone();
    tokio::spawn(async move {
        let _permit = permit;
        let extents = match &frozen {
            None => extents_meeting(share.map(), number, &window).await,
            Some((_, map)) => extents_meeting(map, number, &window).await,
        };
        // What goes wrong here is told to whoever reads.
        if let Ok(extents) = extents {
            share.chunks().prefetch(&chunks_of(&extents)).await;
        }
    });
}

impl Namespace {
    /// Writes all of `data` at `offset`; visible when this returns, durable when its sequence is.
    pub async fn write(
        &self,
        credentials: &Credentials,
        number: InodeNumber,
        offset: u64,
        data: Bytes,
    ) -> Result<(Around, Sequence), FsError> {
        let end = offset.checked_add(data.len() as u64).filter(|end| *end <= FILE_BYTES_MAX);
        let range = offset..end.ok_or(FsError::FileTooBig)?;
        let _locks = self.share.locks().lock(&[number]).await;
        let old = self.reader().node(number).await?;
        may_write(&old.inode, credentials)?;
        self.require_unlocked(&old).await?;
        let mut inode = old.inode.clone();
        let mut transaction = Transaction::default();
        if !range.is_empty() {
            self.put_data(&mut transaction, number, &mut inode, &range).await?;
            if !credentials.is_root() {
                inode.mode = without_set_ids(&inode, credentials);
            }
            touch_content(&mut inode, self.now());
        }
        transaction.put_inode(number, &inode);
        let sequence = transaction.submit(&self.share, data).await?;
        Ok((Around { before: old.inode, after: Node { number, inode } }, sequence))
    }

    async fn put_data(
        &self,
        transaction: &mut Transaction,
        number: InodeNumber,
        inode: &mut Inode,
        range: &Range<u64>,
    ) -> Result<(), FsError> {
        let mut replaced = 0;
        // No extent lies beyond the size.
        if range.start < inode.size {
            let extents = extents_meeting(self.share.map(), number, range).await?;
            replaced = cut_out(transaction, number, &extents, range);
        }
        transaction.put_payload(number, range.clone(), 0);
        let length = range.end - range.start;
        transaction.use_more(length as i64 - replaced as i64, 0);
        inode.used = (inode.used + length).saturating_sub(replaced);
        inode.size = inode.size.max(range.end);
        Ok(())
    }

    /// Takes the data from `size` on out of a file; gives what it uses then.
    pub(super) async fn cut_data(
        &self,
        transaction: &mut Transaction,
        number: InodeNumber,
        inode: &Inode,
        size: u64,
    ) -> Result<u64, FsError> {
        let keys = kind_range(number, b'e', &size.saturating_add(1).to_be_bytes());
        let found = self.share.map().scan(keys.clone(), CUT_EXTENTS_COUNTED).await?;
        let mut gone = 0;
        for (key, value) in found {
            let Key::Extent(_, end) = key else { continue };
            let extent = Extent::from_value(end, &value).map_err(ShareError::from)?;
            gone += end - extent.start.max(size);
            if let Some(kept) = extent.slice(&(0..size)) {
                transaction.put_extent(number, &kept);
            }
        }
        transaction.delete_range(keys);
        // What was not counted when the file was cut before may still be in `used`.
        Ok(inode.used.saturating_sub(gone).min(size))
    }

    /// Waits until a write is durable.
    pub async fn sync(&self, sequence: Sequence) -> Result<(), FsError> {
        self.durable(sequence).await
    }

    /// Makes everything durable that was written so far.
    pub async fn sync_all(&self) -> Result<(), FsError> {
        self.durable(self.share.live().journal().appended_sequence()).await
    }
}

pub(super) fn may_write(inode: &Inode, credentials: &Credentials) -> Result<(), FsError> {
    match inode.kind {
        Kind::Regular => {}
        Kind::Directory => return Err(FsError::IsDirectory),
        Kind::Symlink | Kind::Block | Kind::Character | Kind::Fifo | Kind::Socket => {
            return Err(FsError::Invalid);
        }
    }
    if credentials.owns(inode) { Ok(()) } else { credentials.require(inode, WRITE) }
}
