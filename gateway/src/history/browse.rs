//! Looking at the files of a share as they are, or were at a moment: directories page by page, files as streams.
//!
//! Promises: a page costs what is in it, wherever it lies in its directory; of a file [`STEP_BYTES`] are in memory
//! at once. A directory that changes meanwhile shows every name once that was there throughout. A file that grows
//! while it is read ends where it ended at the beginning; one that shrinks breaks off with an error.
//!
//! Who asks is an operator: permissions of files are not looked at.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tidegate_replicator::map::{Entry, Inode, Key, Kind, kind_range};

use super::{control_error, resolve, share_error};
use crate::control::{
    ControlError, ErrorKind, FileData, FileInfo, FileKind, FilePath, FilesPage, FilesRequest, text_of,
};
use crate::namespace::{Credentials, Node, Reader};
use crate::share::{FrozenMap, Share};

/// What is read of a file at once, in bytes.
const STEP_BYTES: u64 = 2 << 20;

/// A share at a moment.
#[derive(Clone)]
pub enum Seen {
    /// As clients see it now.
    Live(Arc<Share>),
    /// As it was when this map was frozen; the share says where chunks are read.
    Frozen(Arc<Share>, FrozenMap),
}

impl Seen {
    fn reader(&self) -> Reader<'_> {
        match self {
            Self::Live(share) => Reader { map: share.map() },
            Self::Frozen(_, map) => Reader { map },
        }
    }

    fn share(&self) -> &Share {
        match self {
            Self::Live(share) | Self::Frozen(share, _) => share,
        }
    }
}

/// A page of a directory, in byte order of names.
pub async fn list(seen: &Seen, request: &FilesRequest) -> Result<FilesPage, ControlError> {
    let reader = seen.reader();
    let directory = resolve(reader, &request.path).await?;
    if directory.inode.kind != Kind::Directory {
        let message = format!("{} is no directory at that moment", request.path);
        return Err(ControlError::new(ErrorKind::Invalid, message));
    }
    let mut keys = kind_range(directory.number, b'd', &[]);
    if let Some(name) = request.after.as_ref().and_then(|after| after.names().last()) {
        let after = Key::Entry(directory.number, Bytes::copy_from_slice(name));
        keys.start = [&after.encode()[..], &[0]].concat();
    }
    let found = reader.map.scan(keys, request.limit + 1).await.map_err(share_error)?;
    let is_more = found.len() > request.limit;
    let mut entries = Vec::with_capacity(found.len());
    for (key, value) in found.into_iter().take(request.limit) {
        let Key::Entry(_, name) = key else { continue };
        let entry = Entry::decode(&value.payload).map_err(|error| share_error(error.into()))?;
        entries.push((path_in(&request.path, &name)?, entry.inode));
    }
    let next = entries.last().filter(|_| is_more).map(|(path, _)| path.clone());
    let keys: Vec<_> = entries.iter().map(|(_, number)| Key::Attributes(*number)).collect();
    let values = reader.map.get_many(&keys).await.map_err(share_error)?;
    let mut files = Vec::with_capacity(entries.len());
    for ((path, _), value) in entries.into_iter().zip(values) {
        // What went between the two reads is not shown.
        let Some(value) = value else { continue };
        let inode = Inode::decode(&value.payload).map_err(|error| share_error(error.into()))?;
        files.push(info(path, &inode));
    }
    Ok(FilesPage { frozen: None, files, next })
}

/// Opens a regular file.
pub async fn open(seen: Seen, path: &FilePath) -> Result<FileData, ControlError> {
    let node = resolve(seen.reader(), path).await?;
    if node.inode.kind != Kind::Regular {
        let error =
            ControlError::new(ErrorKind::Invalid, format!("{path} is no regular file at that moment"));
        return Err(error.todo("read the files in a directory one by one, or restore it"));
    }
    let info = info(path.clone(), &node.inode);
    let pieces = stream::try_unfold((seen, node, 0), |(seen, node, at)| read_step(seen, node, at));
    let data = pieces.map_ok(|pieces| stream::iter(pieces).map(Ok)).try_flatten();
    Ok(FileData { info, data: data.boxed() })
}

type Step = Option<(Vec<Bytes>, (Seen, Node, u64))>;

/// The bytes from `at` on, up to a step; none at the end.
async fn read_step(seen: Seen, node: Node, at: u64) -> Result<Step, ControlError> {
    let end = node.inode.size.min(at + STEP_BYTES);
    if at == end {
        return Ok(None);
    }
    let read = seen.reader().read(seen.share(), node.number, at..end, &Credentials::ROOT).await;
    let pieces = read.map_err(control_error)?.pieces;
    if pieces.iter().map(|piece| piece.len() as u64).sum::<u64>() < end - at {
        return Err(ControlError::new(ErrorKind::Busy, "the file was cut short while it was read"));
    }
    Ok(Some((pieces, (seen, node, end))))
}

fn path_in(directory: &FilePath, name: &[u8]) -> Result<FilePath, ControlError> {
    directory.join(name).map_err(|error| ControlError::new(ErrorKind::Invalid, error.to_string()))
}

fn info(path: FilePath, inode: &Inode) -> FileInfo {
    let text = path.to_string();
    let modified = inode.times.modified;
    FileInfo {
        name: text.rsplit_once('/').map_or_else(String::new, |(_, name)| name.to_owned()),
        path,
        kind: match inode.kind {
            Kind::Regular => FileKind::File,
            Kind::Directory => FileKind::Directory,
            Kind::Symlink => FileKind::Symlink,
            Kind::Block | Kind::Character | Kind::Fifo | Kind::Socket => FileKind::Special,
        },
        bytes: inode.size,
        mode: inode.mode,
        uid: inode.uid,
        gid: inode.gid,
        // A client may set any time; what no calendar has is shown as its beginning.
        modified: jiff::Timestamp::new(modified.seconds, modified.nanos as i32).unwrap_or_default(),
        target: (inode.kind == Kind::Symlink).then(|| text_of(&inode.target)),
    }
}
