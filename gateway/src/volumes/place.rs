//! Where the file of a volume is: found by its path as the superuser, made if it is missing.
//!
//! A path leads through directories alone; symbolic links are not followed, since they are for clients.

use tidegate_protocols::view::{CreateHow, FsError, SetAttributes};
use tidegate_replicator::map::{InodeNumber, Kind};

use crate::control::FilePath;
use crate::namespace::{Context, Credentials, Namespace, NewFile, Node, Reader};

/// Of a file that is made for a volume: no client but the superuser may read a disk.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o755;
const AS_ROOT: Context<'static> = Context::ROOT;

/// The file at a path; [`FsError::Invalid`] if something else is there.
pub(super) async fn find(reader: Reader<'_>, path: &FilePath) -> Result<Node, FsError> {
    let mut node = reader.node(InodeNumber::ROOT).await?;
    for name in path.names() {
        node = reader.lookup(&node, name, &Credentials::ROOT).await?;
    }
    if node.inode.kind == Kind::Regular { Ok(node) } else { Err(FsError::Invalid) }
}

/// The file at a path, made with the directories above it if it is missing, and made longer if it is shorter.
pub(super) async fn find_or_make(namespace: &Namespace, path: &FilePath, size: u64) -> Result<Node, FsError> {
    let node = match find(namespace.reader(), path).await {
        Err(FsError::NotFound) => make(namespace, path, size).await?,
        found => found?,
    };
    if node.inode.size >= size {
        return Ok(node);
    }
    resize(namespace, node.number, size).await
}

/// Makes a file so long.
pub(super) async fn resize(namespace: &Namespace, file: InodeNumber, size: u64) -> Result<Node, FsError> {
    let set = SetAttributes { size: Some(size), ..SetAttributes::default() };
    Ok(namespace.set_attributes(AS_ROOT, file, set, None).await?.first.after)
}

async fn make(namespace: &Namespace, path: &FilePath, size: u64) -> Result<Node, FsError> {
    let mut directory = namespace.reader().node(InodeNumber::ROOT).await?;
    let names: Vec<&[u8]> = path.names().collect();
    let (file, folders) = names.split_last().ok_or(FsError::Invalid)?;
    for name in folders {
        directory = match namespace.reader().lookup(&directory, name, &Credentials::ROOT).await {
            Err(FsError::NotFound) => {
                let set = SetAttributes { mode: Some(DIRECTORY_MODE), ..SetAttributes::default() };
                let new = NewFile::new(Kind::Directory, set);
                let made = namespace.make(AS_ROOT, directory.number, name, new, None).await?;
                made.object.ok_or(FsError::ServerFault)?
            }
            found => found?,
        };
    }
    let set = SetAttributes { mode: Some(FILE_MODE), size: Some(size), ..SetAttributes::default() };
    let made = namespace.create(AS_ROOT, directory.number, file, CreateHow::Guarded(set)).await?;
    made.object.ok_or(FsError::ServerFault)
}
