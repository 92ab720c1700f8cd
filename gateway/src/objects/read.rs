//! Finding objects and reading them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use tidegate_protocols::objects::{
    Checksum, ChecksumKind, DataStream, ObjectError, ObjectInfo, ObjectName, OpenObject, VersionId, Who, sums,
};
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{InodeNumber, Kind, PartChecksums};

use super::outgoing::{Outgoing, Window};
use super::{Access, BucketConfig, Objects, bounded, describe, is_absent, path};
use crate::namespace::data::read_ahead;
use crate::namespace::objects::Held;
use crate::namespace::{Credentials, EXECUTE, Namespace, Node, OpenFile, READ};

/// How often an object that is being replaced is looked for.
const OPENS_MAX: usize = 16;
/// When a reader's share of memory is smaller, pieces are copied out of the frames that they were cut from, which have
/// this many bytes and more.
const COPIED_BELOW: usize = 256 << 10;

impl Objects {
    /// Finds an object that the caller may read, and keeps it until the answer is dropped.
    pub(super) async fn find(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
    ) -> Result<Opened, ObjectError> {
        let access = self.access(who, &name.bucket).await?;
        access.open(&name.key, version).await
    }
}

impl Access {
    pub(super) async fn open(self, key: &str, version: Option<&VersionId>) -> Result<Opened, ObjectError> {
        for _ in 0..OPENS_MAX {
            if let Some(opened) = bounded(self.try_open(key, version)).await? {
                return Ok(opened);
            }
        }
        Err(ObjectError::SlowDown)
    }

    /// None when the object was replaced between the look and the hold.
    async fn try_open(&self, key: &str, version: Option<&VersionId>) -> Result<Option<Opened>, ObjectError> {
        let held = self.version_of(key, version).await?;
        let runs = match &held.record {
            Some(record) if record.parts > 0 => self.reader().part_runs(held.node.number).await?,
            _ => Vec::new(),
        };
        let info = self.info(&held, &runs);
        let opened = |file, info, node| Opened {
            file,
            source: node,
            namespace: self.namespace().clone(),
            bucket: self.bucket.clone(),
            outgoing: self.outgoing.clone(),
            info,
        };
        if held.node.inode.kind == Kind::Directory {
            return Ok(Some(opened(None, ObjectInfo { size: 0, ..info }, held.node)));
        }
        self.credentials.require(&held.node.inode, READ)?;
        match self.namespace().hold(held.node.number).await {
            Ok(file) => Ok(Some(opened(Some(Arc::new(file)), info, held.node))),
            Err(FsError::Stale) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What is known of a file as an object, with its version where there are any.
    pub(super) fn info(&self, held: &Held, part_runs: &[(u32, u64)]) -> ObjectInfo {
        let info = describe::info(held, self.bucket.flat, part_runs);
        ObjectInfo { version: self.keeps_versions().then(|| describe::version_id(held.which())), ..info }
    }

    /// Whether the bucket keeps versions, or did.
    pub(super) fn keeps_versions(&self) -> bool {
        self.loaded.settings.versioning.is_some()
    }

    /// A version of an object, or what its key leads to.
    pub(super) async fn version_of(
        &self,
        key: &str,
        version: Option<&VersionId>,
    ) -> Result<Held, ObjectError> {
        let Some(version) = version else {
            let held = self.held(key).await;
            // What hides the key is named to the caller.
            if held == Err(ObjectError::NoSuchKey) && self.keeps_versions() {
                let newest = self.reader().versions_of(key.as_bytes(), None, 1).await?;
                if let Some(marker) = newest.first().filter(|newest| newest.record.inode.is_none()) {
                    let version = describe::version_id(marker.which());
                    let made = describe::time(marker.record.made);
                    return Err(ObjectError::DeleteMarker { version, named: false, made });
                }
            }
            return held;
        };
        let which = describe::which(version)?;
        // A version may get the name, or lose it, between the looks at both.
        for _ in 0..2 {
            match self.held(key).await {
                Ok(held) if held.which() == which => return Ok(held),
                Ok(_) | Err(ObjectError::NoSuchKey) => {}
                Err(error) => return Err(error),
            }
            if !self.keeps_versions() {
                break;
            }
            let Some(found) = self.reader().version(key.as_bytes(), which).await? else { continue };
            let Some(file) = found.record.inode else {
                let made = describe::time(found.record.made);
                return Err(ObjectError::DeleteMarker { version: version.clone(), named: true, made });
            };
            match self.reader().held(file).await {
                Ok(held) => return Ok(held),
                Err(FsError::Stale) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ObjectError::NoSuchVersion)
    }

    /// The file of a key with what S3 knows of it; [`ObjectError::NoSuchKey`] when there is none.
    pub(super) async fn held(&self, key: &str) -> Result<Held, ObjectError> {
        let reader = self.reader();
        if self.bucket.flat {
            let held = reader.named(InodeNumber::ROOT, key.as_bytes()).await?;
            return held.ok_or(ObjectError::NoSuchKey);
        }
        let Ok(path) = path::parse(key) else { return Err(ObjectError::NoSuchKey) };
        let folder = self.folder(&path.folders).await?;
        let held = reader.named(folder.number, path.name).await?.ok_or(ObjectError::NoSuchKey)?;
        match (held.node.inode.kind, path.is_folder) {
            (Kind::Regular, false) => Ok(held),
            (Kind::Directory, true) if held.is_object() => Ok(held),
            _ => Err(ObjectError::NoSuchKey),
        }
    }

    /// The directory of a path; [`ObjectError::NoSuchKey`] when there is none.
    pub(super) async fn folder(&self, names: &[&[u8]]) -> Result<Node, ObjectError> {
        let reader = self.reader();
        let mut folder = reader.node(InodeNumber::ROOT).await?;
        for name in names {
            path::check(name).map_err(|_| ObjectError::NoSuchKey)?;
            folder = match reader.lookup(&folder, name, &self.credentials).await {
                Ok(node) if node.inode.kind == Kind::Directory => node,
                Ok(_) => return Err(ObjectError::NoSuchKey),
                Err(error) if is_absent(error) => return Err(ObjectError::NoSuchKey),
                Err(error) => return Err(error.into()),
            };
        }
        self.credentials.require(&folder.inode, EXECUTE)?;
        Ok(folder)
    }
}

impl Access {
    /// The bytes of a file of the bucket, whose caller knows how many they are.
    pub(super) async fn data_of(&self, file: InodeNumber, bytes: u64) -> Result<DataStream, ObjectError> {
        let file = Arc::new(self.namespace().hold(file).await?);
        Ok(data(file, self.namespace().clone(), 0..bytes, &self.outgoing))
    }
}

fn data(
    file: Arc<OpenFile>,
    namespace: Namespace,
    range: Range<u64>,
    outgoing: &Arc<Outgoing>,
) -> DataStream {
    let reading = Reading { file, namespace, rest: range, window: outgoing.window() };
    futures::stream::try_unfold(reading, |mut reading| async move {
        let next = reading.next().await?;
        Ok(next.map(|piece| (piece, reading)))
    })
    .boxed()
}

/// An object that was found.
pub(super) struct Opened {
    /// None for a directory, which has no bytes.
    file: Option<Arc<OpenFile>>,
    pub(super) source: Node,
    namespace: Namespace,
    pub(super) bucket: Arc<BucketConfig>,
    outgoing: Arc<Outgoing>,
    pub(super) info: ObjectInfo,
}

impl Opened {
    /// The checksums of the parts that it was made of, if they are known and hold.
    pub(super) async fn part_checksums_record(&self) -> Result<Option<PartChecksums>, ObjectError> {
        if self.info.parts.count() == 0 || self.info.checksum.is_none() {
            return Ok(None);
        }
        bounded(async { Ok(self.namespace.reader().part_checksums(self.source.number).await?) }).await
    }

    /// Refuses an object that an NFS client has changed since it was found: what is known of it does not hold for
    /// what was read meanwhile.
    pub(super) async fn require_unchanged(&self) -> Result<(), ObjectError> {
        if self.bucket.flat {
            return Ok(());
        }
        let now = self.namespace.reader().node(self.source.number).await?;
        if now.inode.change == self.source.inode.change { Ok(()) } else { Err(ObjectError::Conflict) }
    }
}

#[async_trait]
impl OpenObject for Opened {
    fn info(&self) -> &ObjectInfo {
        &self.info
    }

    async fn part_checksums(&self, after: u32, limit: usize) -> Result<Vec<Checksum>, ObjectError> {
        let Some(sums) = self.part_checksums_record().await? else { return Ok(Vec::new()) };
        let Some(algorithm) = describe::algorithm(sums.algorithm()) else { return Ok(Vec::new()) };
        let values = sums.values().skip(after as usize).take(limit);
        let kind = ChecksumKind::Full;
        Ok(values.map(|value| Checksum { algorithm, kind, value: sums::written(value) }).collect())
    }

    fn read(&self, range: Range<u64>) -> DataStream {
        match self.file.clone() {
            Some(file) => data(file, self.namespace.clone(), range, &self.outgoing),
            None => futures::stream::empty().boxed(),
        }
    }
}

/// Bytes on their way out.
struct Reading {
    file: Arc<OpenFile>,
    /// And not how the share is served: a client that reads slowly keeps nobody from serving it otherwise.
    namespace: Namespace,
    /// What was not yet given.
    rest: Range<u64>,
    /// The beginning of that, as far as it was read and is still there.
    window: Window,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let piece = match self.window.pop() {
            Some(piece) => piece,
            None => self.read().await?,
        };
        self.rest.start += piece.len() as u64;
        Ok(Some(piece))
    }

    /// Reads what comes next: gives the first piece, and keeps the others for as long as there is room.
    async fn read(&mut self) -> Result<Bytes, ObjectError> {
        let window = self.rest.start..self.rest.end.min(self.rest.start + self.window.share_bytes() as u64);
        let (namespace, file) = (&self.namespace, self.file.number());
        let share = namespace.share();
        read_ahead(share, None, file, &window);
        // Whoever found the object was allowed to read it.
        let reader = namespace.reader();
        let data = bounded(async { Ok(reader.read(share, file, window.clone(), &Credentials::ROOT).await?) })
            .await?;
        let got: usize = data.pieces.iter().map(Bytes::len).sum();
        if got as u64 != window.end - window.start {
            // A client of the other door has cut the file.
            return Err(ObjectError::Conflict);
        }
        let mut pieces: VecDeque<Bytes> = data.pieces.into();
        if self.window.share_bytes() < COPIED_BELOW {
            // A piece keeps the frame that it was cut from.
            pieces = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
        }
        let first = pieces.pop_front().unwrap_or_default();
        self.window.put(pieces);
        Ok(first)
    }
}
