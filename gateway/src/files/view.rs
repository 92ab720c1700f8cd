//! [`FileView`] for the shares of a gateway.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_protocols::view::{
    Attributes, Call, ChangeFailure, Changed, CreateHow, Device, DirectoryEntry, DirectoryPage, ExportEntry,
    Failure, FileKind, FileView, Found, FsError, Handle, PageLimit, ReadData, RetryKey, SetAttributes, Space,
    Stability, Time, Wcc, WriteVerifier, Written,
};
use tidegate_protocols::waits::{Wait, waiting};
use tidegate_replicator::map::{InodeNumber, Kind};
use tidegate_replicator::repository::Usage;

use super::deadline::Deadline;
use super::views::View;
use super::{Admitted, Files, convert, outcome};
use crate::namespace::{Credentials, EXECUTE, ListedEntry, NewFile, Node, READ, WRITE};
use crate::share::QuotaReport;

/// ACCESS3 bits (RFC 1813 section 3.3.4).
mod access {
    pub(super) const READ: u32 = 0x01;
    pub(super) const LOOKUP: u32 = 0x02;
    pub(super) const MODIFY: u32 = 0x04;
    pub(super) const EXTEND: u32 = 0x08;
    pub(super) const DELETE: u32 = 0x10;
    pub(super) const EXECUTE: u32 = 0x20;
}

/// The room that FSSTAT announces, where no quota says otherwise, beyond what is in use: the repository has
/// no bound of its own.
const ROOM_BYTES: u64 = 1 << 50;
/// The inodes that FSSTAT announces beyond those in use.
const ROOM_INODES: u64 = 1 << 40;
/// Most entries of a directory page, whatever the caller asks.
const PAGE_ENTRIES_MAX: usize = 4096;
impl Files {
    /// A change of a file, or of a name in a directory.
    async fn change<F>(&self, call: &Call, handle: &Handle, run: F) -> Result<Changed, ChangeFailure>
    where
        F: AsyncFnOnce(&Admitted) -> Result<Changed, FsError>,
    {
        let submitted = Arc::new(AtomicBool::new(false));
        let result = async {
            let admitted = self.admit_change(call, handle).await?;
            run(&Admitted { submitted: Some(Arc::clone(&submitted)), ..admitted }).await
        };
        match Deadline::begin().bound_until(&submitted, result).await {
            Ok(changed) => Ok(changed),
            Err(error) => Err(self.failed(call, handle, error).await),
        }
    }

    /// A change of one file that failed.
    async fn failed(&self, call: &Call, handle: &Handle, error: FsError) -> ChangeFailure {
        let first = self.after_failure(call, handle).await;
        ChangeFailure { error, first, second: Wcc::default() }
    }

    /// A question about a file.
    async fn ask<T, F>(&self, call: &Call, handle: &Handle, run: F) -> Result<T, Failure>
    where
        F: AsyncFnOnce(&Admitted) -> Result<T, FsError>,
    {
        let deadline = Deadline::begin();
        let admitted = deadline.bound(self.admit(call, handle)).await?;
        let attributes = Some(admitted.attributes(&admitted.node));
        deadline.bound(run(&admitted)).await.map_err(|error| Failure { error, attributes })
    }

    /// The other file of a change that names two: of the same share.
    async fn second(&self, call: &Call, first: &Admitted, handle: &Handle) -> Result<InodeNumber, FsError> {
        let second = self.admit(call, handle).await?;
        let same = second.served.namespace.share().id() == first.served.namespace.share().id();
        if !second.view.is_live() {
            return Err(FsError::ReadOnly);
        }
        if same { Ok(second.number()) } else { Err(FsError::CrossDevice) }
    }

    async fn make(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        new: NewFile,
    ) -> Result<Changed, ChangeFailure> {
        self.change(call, directory, async |admitted: &Admitted| {
            admitted.refuse_new(name)?;
            let namespace = &admitted.served.namespace;
            let make = async |context: crate::namespace::Context<'_>| {
                namespace.make(context, admitted.number(), name, new, None).await
            };
            admitted.change(call.retry, make).await
        })
        .await
    }

    async fn write_data(
        &self,
        call: &Call,
        file: &Handle,
        offset: u64,
        data: Bytes,
        stability: Stability,
    ) -> Result<Written, FsError> {
        let count = data.len() as u32;
        let put = async {
            let admitted = self.admit_change(call, file).await?;
            waiting(Wait::Room, self.admission.admit(data.len() as u64)).await?;
            let Admitted { served, credentials, .. } = &admitted;
            let written = served.namespace.write(credentials, admitted.number(), offset, data).await?;
            Ok((admitted.served, written))
        };
        // The disk of this machine is waited for without a bound: see the head of `deadline`.
        let (served, (around, sequence)) = Deadline::begin().bound(put).await?;
        // One sync covers data and attributes, so whatever is more than nothing is everything.
        let committed = match stability {
            Stability::Unstable => Stability::Unstable,
            Stability::DataSync | Stability::FileSync => {
                served.namespace.sync(sequence).await?;
                Stability::FileSync
            }
        };
        Ok(Written { count, committed, verifier: self.verifier_of(&served), wcc: served.wcc(&around) })
    }

    async fn mount_path(&self, call: &Call, path: &[u8]) -> Result<Handle, FsError> {
        let path: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        let shares: Vec<_> = self.shares.read().values().cloned().collect();
        let admitted: Vec<_> =
            shares.into_iter().filter(|served| served.rules.admits(call.caller.address.ip())).collect();
        let export = |served: &super::Served| -> Vec<Vec<u8>> {
            let names = served.rules.path.split('/').filter(|name| !name.is_empty());
            names.map(|name| name.as_bytes().to_vec()).collect()
        };
        let longest = admitted
            .iter()
            .map(|served| (export(served), served))
            .filter(|(names, _)| names.len() <= path.len() && names.iter().zip(&path).all(|(a, b)| a == b))
            .max_by_key(|(names, _)| names.len());
        let (served, below) = match (longest, admitted.as_slice()) {
            (Some((names, served)), _) => (served, &path[names.len()..]),
            (None, [only]) if path.is_empty() => (only, &[][..]),
            (None, _) => return Err(FsError::NotFound),
        };
        served.rules.require_port(call.caller.address.port())?;
        let credentials = self.credentials(&served.rules, &call.caller).await;
        let (mut view, mut node) = (View::Live, served.namespace.reader().node(InodeNumber::ROOT).await?);
        for name in below {
            (view, node) = served.find(&view, &node, name, &credentials).await?;
        }
        if node.inode.kind != Kind::Directory {
            return Err(FsError::NotDirectory);
        }
        Ok(served.handle(&view, &node))
    }
}

/// What was frozen is as large as it is, and takes nothing more.
fn full(usage: Usage, attributes: Attributes) -> Space {
    Space {
        bytes_total: usage.bytes,
        bytes_free: 0,
        bytes_available: 0,
        files_total: usage.inodes,
        files_free: 0,
        files_available: 0,
        attributes,
    }
}

fn granted(node: &Node, credentials: &Credentials, read_only: bool) -> u32 {
    let inode = &node.inode;
    let directory = inode.kind == Kind::Directory;
    let may = |wanted| credentials.may(inode, wanted);
    let mut bits = 0;
    if may(READ) {
        bits |= access::READ;
    }
    if may(WRITE) && !read_only {
        bits |= access::MODIFY | access::EXTEND;
        if directory {
            bits |= access::DELETE;
        }
    }
    if may(EXECUTE) {
        bits |= if directory { access::LOOKUP } else { access::EXECUTE };
    }
    bits
}

#[async_trait]
impl FileView for Files {
    fn exports(&self) -> Vec<ExportEntry> {
        let entry = |served: &std::sync::Arc<super::Served>| {
            served.rules.exported.then(|| ExportEntry {
                path: Bytes::from(served.rules.path.clone()),
                clients: served.rules.clients.iter().map(ToString::to_string).collect(),
            })
        };
        let mut exports: Vec<_> = self.shares.read().values().filter_map(entry).collect();
        exports.sort_by(|one, other| one.path.cmp(&other.path));
        exports
    }

    async fn mount(&self, call: &Call, path: &[u8]) -> Result<Handle, FsError> {
        Deadline::begin().bound(self.mount_path(call, path)).await
    }

    async fn attributes(&self, call: &Call, file: &Handle) -> Result<Attributes, FsError> {
        let admitted = Deadline::begin().bound(self.admit(call, file)).await?;
        Ok(admitted.attributes(&admitted.node))
    }

    async fn set_attributes(
        &self,
        call: &Call,
        file: &Handle,
        set: SetAttributes,
        guard: Option<Time>,
    ) -> Result<Changed, ChangeFailure> {
        self.change(call, file, async |admitted: &Admitted| {
            let namespace = &admitted.served.namespace;
            let run = async |context: crate::namespace::Context<'_>| {
                namespace.set_attributes(context, admitted.number(), set, guard).await
            };
            admitted.change(call.retry, run).await
        })
        .await
    }

    async fn lookup(&self, call: &Call, directory: &Handle, name: &[u8]) -> Result<Found, Failure> {
        self.ask(call, directory, async |admitted: &Admitted| {
            let Admitted { served, view, node, credentials, .. } = admitted;
            let (view, node) = served.find(view, node, name, credentials).await?;
            Ok(Found {
                handle: served.handle(&view, &node),
                attributes: served.attributes(&view, &node),
                directory: admitted.attributes(&admitted.node),
            })
        })
        .await
    }

    async fn access(&self, call: &Call, file: &Handle, asked: u32) -> Result<(u32, Attributes), Failure> {
        self.ask(call, file, async |admitted: &Admitted| {
            let read_only = admitted.served.rules.read_only || !admitted.view.is_live();
            let bits = granted(&admitted.node, &admitted.credentials, read_only);
            Ok((bits & asked, admitted.attributes(&admitted.node)))
        })
        .await
    }

    async fn read_link(&self, call: &Call, link: &Handle) -> Result<(Bytes, Attributes), Failure> {
        self.ask(call, link, async |admitted: &Admitted| {
            if admitted.node.inode.kind != Kind::Symlink {
                return Err(FsError::Invalid);
            }
            Ok((admitted.node.inode.target.clone(), admitted.attributes(&admitted.node)))
        })
        .await
    }

    async fn read(&self, call: &Call, file: &Handle, offset: u64, count: u32) -> Result<ReadData, Failure> {
        self.ask(call, file, async |admitted: &Admitted| {
            let share = admitted.served.namespace.share();
            let range = offset..offset.saturating_add(u64::from(count));
            let reader = admitted.reader();
            let node = admitted.node.clone();
            let data = reader.read_of(share, node, range.clone(), &admitted.credentials).await?;
            if !data.end && count > 0 {
                admitted.read_ahead(&range);
            }
            let attributes = admitted.attributes(&data.node);
            Ok(ReadData { pieces: data.pieces, end: data.end, attributes })
        })
        .await
    }

    async fn write(
        &self,
        call: &Call,
        file: &Handle,
        offset: u64,
        data: Bytes,
        stability: Stability,
    ) -> Result<Written, ChangeFailure> {
        match self.write_data(call, file, offset, data, stability).await {
            Ok(written) => Ok(written),
            Err(error) => Err(self.failed(call, file, error).await),
        }
    }

    async fn create(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        how: CreateHow,
    ) -> Result<Changed, ChangeFailure> {
        self.change(call, directory, async |admitted: &Admitted| {
            admitted.refuse_new(name)?;
            let namespace = &admitted.served.namespace;
            let run = async |context: crate::namespace::Context<'_>| {
                namespace.create(context, admitted.number(), name, how).await
            };
            admitted.change(call.retry, run).await
        })
        .await
    }

    async fn make_directory(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        set: SetAttributes,
    ) -> Result<Changed, ChangeFailure> {
        self.make(call, directory, name, NewFile::new(Kind::Directory, set)).await
    }

    async fn make_symlink(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        set: SetAttributes,
        target: &[u8],
    ) -> Result<Changed, ChangeFailure> {
        let target = Bytes::copy_from_slice(target);
        self.make(call, directory, name, NewFile { target, ..NewFile::new(Kind::Symlink, set) }).await
    }

    async fn make_node(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        kind: FileKind,
        device: Device,
        set: SetAttributes,
    ) -> Result<Changed, ChangeFailure> {
        let kind = convert::node_kind(kind).ok_or(FsError::BadType)?;
        let new = NewFile { device: convert::device(device), ..NewFile::new(kind, set) };
        self.make(call, directory, name, new).await
    }

    async fn remove(&self, call: &Call, directory: &Handle, name: &[u8]) -> Result<Changed, ChangeFailure> {
        self.change(call, directory, async |admitted: &Admitted| {
            admitted.refuse_taken(name)?;
            let namespace = &admitted.served.namespace;
            let run = async |context: crate::namespace::Context<'_>| {
                namespace.remove(context, admitted.number(), name).await
            };
            admitted.change(call.retry, run).await
        })
        .await
    }

    async fn remove_directory(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
    ) -> Result<Changed, ChangeFailure> {
        self.change(call, directory, async |admitted: &Admitted| {
            admitted.refuse_taken(name)?;
            let namespace = &admitted.served.namespace;
            let run = async |context: crate::namespace::Context<'_>| {
                namespace.remove_directory(context, admitted.number(), name).await
            };
            admitted.change(call.retry, run).await
        })
        .await
    }

    async fn rename(
        &self,
        call: &Call,
        from: (&Handle, &[u8]),
        to: (&Handle, &[u8]),
    ) -> Result<Changed, ChangeFailure> {
        let renamed = self.change(call, from.0, async |admitted: &Admitted| {
            let target = self.second(call, admitted, to.0).await?;
            admitted.refuse_taken(from.1)?;
            admitted.refuse_new(to.1)?;
            let namespace = &admitted.served.namespace;
            let run = async |context: crate::namespace::Context<'_>| {
                namespace.rename(context, (admitted.number(), from.1), (target, to.1)).await
            };
            admitted.change(call.retry, run).await
        });
        match renamed.await {
            Ok(changed) => Ok(changed),
            Err(failure) => Err(ChangeFailure { second: self.after_failure(call, to.0).await, ..failure }),
        }
    }

    async fn link(
        &self,
        call: &Call,
        file: &Handle,
        directory: &Handle,
        name: &[u8],
    ) -> Result<Changed, ChangeFailure> {
        let linked = self.change(call, file, async |admitted: &Admitted| {
            let target = self.second(call, admitted, directory).await?;
            admitted.refuse_new(name)?;
            let namespace = &admitted.served.namespace;
            let run = async |context: crate::namespace::Context<'_>| {
                namespace.link(context, admitted.number(), target, name).await
            };
            admitted.change(call.retry, run).await
        });
        match linked.await {
            Ok(changed) => Ok(changed),
            Err(failure) => {
                Err(ChangeFailure { second: self.after_failure(call, directory).await, ..failure })
            }
        }
    }

    async fn read_directory(
        &self,
        call: &Call,
        directory: &Handle,
        cookie: u64,
        _verifier: [u8; 8],
        limit: PageLimit,
    ) -> Result<DirectoryPage, Failure> {
        self.ask(call, directory, async |admitted: &Admitted| {
            if admitted.node.inode.kind != Kind::Directory {
                return Err(FsError::NotDirectory);
            }
            admitted.credentials.require(&admitted.node.inode, READ)?;
            let wanted = limit.entries.clamp(1, PAGE_ENTRIES_MAX);
            if matches!(admitted.view, View::Moments) {
                return admitted.list_moments(cookie, wanted).await;
            }
            let listed = admitted.list(cookie, wanted).await?;
            // Who may read the directory knows its names; what they lead to is for those who may search it.
            let may_search = admitted.credentials.may(&admitted.node.inode, EXECUTE);
            let with_objects = limit.with_objects && may_search;
            let numbers = listed.entries.iter().map(|entry| entry.number).filter(|_| with_objects);
            let objects = admitted.reader().nodes(numbers).await.into_iter().chain(std::iter::repeat(None));
            let entry = |(entry, node): (ListedEntry, Option<Node>)| DirectoryEntry {
                file_id: entry.number.0,
                name: entry.name,
                cookie: entry.cookie,
                object: node.map(|node| (admitted.handle(&node), admitted.attributes(&node))),
            };
            let entries = listed.entries.into_iter().zip(objects).map(entry).collect();
            let directory = admitted.attributes(&admitted.node);
            Ok(DirectoryPage { entries, end: listed.end, verifier: [0; 8], directory })
        })
        .await
    }

    async fn space(&self, call: &Call, file: &Handle) -> Result<Space, Failure> {
        self.ask(call, file, async |admitted: &Admitted| {
            let attributes = admitted.attributes(&admitted.node);
            if let View::Moment(moment) = &admitted.view {
                return Ok(full(moment.usage, attributes));
            }
            let share = admitted.served.namespace.share();
            let QuotaReport { bytes, inodes, .. } = share.account().report(share.clock().utc());
            Ok(Space {
                bytes_total: bytes.total().unwrap_or(bytes.used + ROOM_BYTES),
                bytes_free: bytes.free().unwrap_or(ROOM_BYTES),
                bytes_available: bytes.available().unwrap_or(ROOM_BYTES),
                files_total: inodes.total().unwrap_or(inodes.used + ROOM_INODES),
                files_free: inodes.free().unwrap_or(ROOM_INODES),
                files_available: inodes.available().unwrap_or(ROOM_INODES),
                attributes,
            })
        })
        .await
    }

    async fn commit(&self, call: &Call, file: &Handle) -> Result<(WriteVerifier, Wcc), ChangeFailure> {
        let deadline = Deadline::begin();
        let admitted = deadline.bound(self.admit(call, file)).await?;
        let around = Wcc { before: None, after: Some(admitted.attributes(&admitted.node)) };
        match deadline.bound(admitted.served.namespace.sync_all()).await {
            Ok(()) => Ok((self.verifier_of(&admitted.served), around)),
            Err(error) => Err(ChangeFailure { first: around, ..ChangeFailure::from(error) }),
        }
    }

    async fn replayed(&self, key: RetryKey) -> Option<Changed> {
        self.replays.read().get(&key.0).and_then(outcome::decode)
    }

    fn forget_replays(&self) {
        *self.replays.write() = HashMap::new();
    }
}
