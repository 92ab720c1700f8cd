//! A view that has no files: it answers everything at once, as much as it was asked for, and checks
//! that what reaches it is what a view may count on.
//!
//! A handle whose first byte is 0x80 or more is stale; others are good for everything.

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_protocols::rpc::GROUPS_MAX;
use tidegate_protocols::view::{
    Attributes, Call, ChangeFailure, Changed, CreateHow, Device, DirectoryEntry, DirectoryPage, ExportEntry,
    Failure, FileKind, FileView, Found, FsError, HANDLE_BYTES_MAX, Handle, NAME_BYTES_MAX, PATH_BYTES_MAX,
    PageLimit, ReadData, RetryKey, SetAttributes, SetTime, Space, Stability, TRANSFER_BYTES_MAX, Time, Wcc,
    WriteVerifier, Written,
};

/// What every file holds.
static CONTENT: [u8; TRANSFER_BYTES_MAX as usize] = [7; TRANSFER_BYTES_MAX as usize];
/// The most entries of a directory page.
const ENTRIES_MAX: usize = 64;

/// See the head of this module.
pub struct DumbView;

fn attributes() -> Attributes {
    let time = Time { seconds: 1 << 40, nanos: 999_999_999 };
    Attributes {
        kind: FileKind::Regular,
        mode: 0o7777,
        links: 1,
        uid: 1,
        gid: 1,
        size: u64::MAX,
        used: u64::MAX,
        device: Device::default(),
        fsid: 1,
        file_id: 1,
        generation: 1,
        change: 1,
        accessed: time,
        modified: time,
        changed: time,
        born: time,
    }
}

fn any_handle() -> Handle {
    Handle::new(Bytes::from_static(&CONTENT[..HANDLE_BYTES_MAX])).expect("it is short enough")
}

fn wcc() -> Wcc {
    Wcc { before: None, after: Some(attributes()) }
}

fn admit(call: &Call, file: &Handle) -> Result<(), FsError> {
    assert!(call.caller.gids.len() <= GROUPS_MAX);
    assert!(file.as_bytes().len() <= HANDLE_BYTES_MAX);
    if file.as_bytes().first().is_some_and(|first| *first >= 0x80) { Err(FsError::Stale) } else { Ok(()) }
}

fn expect_name(name: &[u8]) {
    assert!((1..=NAME_BYTES_MAX).contains(&name.len()), "a name of {} bytes", name.len());
    assert!(!name.iter().any(|byte| matches!(byte, b'/' | 0)), "{name:?} is no name");
}

fn expect_set(set: &SetAttributes) {
    assert!(set.size.is_none_or(|size| i64::try_from(size).is_ok()));
    for time in [set.accessed, set.modified] {
        if let SetTime::Client(time) = time {
            assert!(time.nanos < 1_000_000_000);
        }
    }
}

#[allow(clippy::result_large_err)] // the view's own type
fn changed(call: &Call, file: &Handle) -> Result<Changed, ChangeFailure> {
    admit(call, file)?;
    Ok(Changed { object: Some((any_handle(), attributes())), first: wcc(), second: wcc() })
}

#[allow(clippy::result_large_err)] // the view's own type
fn made(call: &Call, directory: &Handle, name: &[u8], set: &SetAttributes) -> Result<Changed, ChangeFailure> {
    expect_name(name);
    expect_set(set);
    changed(call, directory)
}

#[async_trait]
impl FileView for DumbView {
    fn exports(&self) -> Vec<ExportEntry> {
        let clients = vec!["192.0.2.0/24".to_owned(); 3];
        vec![ExportEntry { path: Bytes::from_static(b"/share"), clients }; 3]
    }

    async fn mount(&self, call: &Call, path: &[u8]) -> Result<Handle, FsError> {
        assert!(path.len() <= PATH_BYTES_MAX && path.starts_with(b"/"));
        admit(call, &any_handle())?;
        if path.contains(&0xff) { Err(FsError::NotFound) } else { Ok(any_handle()) }
    }

    async fn attributes(&self, call: &Call, file: &Handle) -> Result<Attributes, FsError> {
        admit(call, file).map(|()| attributes())
    }

    async fn set_attributes(
        &self,
        call: &Call,
        file: &Handle,
        set: SetAttributes,
        _guard: Option<Time>,
    ) -> Result<Changed, ChangeFailure> {
        expect_set(&set);
        changed(call, file)
    }

    async fn lookup(&self, call: &Call, directory: &Handle, name: &[u8]) -> Result<Found, Failure> {
        expect_name(name);
        admit(call, directory)?;
        Ok(Found { handle: any_handle(), attributes: attributes(), directory: attributes() })
    }

    async fn access(&self, call: &Call, file: &Handle, asked: u32) -> Result<(u32, Attributes), Failure> {
        assert!(asked <= 0x3f);
        admit(call, file)?;
        Ok((u32::MAX, attributes()))
    }

    async fn read_link(&self, call: &Call, link: &Handle) -> Result<(Bytes, Attributes), Failure> {
        admit(call, link)?;
        Ok((Bytes::from_static(&CONTENT[..PATH_BYTES_MAX]), attributes()))
    }

    async fn read(&self, call: &Call, file: &Handle, offset: u64, count: u32) -> Result<ReadData, Failure> {
        assert!(i64::try_from(offset).is_ok() && count <= TRANSFER_BYTES_MAX);
        admit(call, file)?;
        let (first, second) = CONTENT[..count as usize].split_at(count as usize / 3);
        let pieces = vec![Bytes::from_static(first), Bytes::from_static(second)];
        Ok(ReadData { pieces, end: false, attributes: attributes() })
    }

    async fn write(
        &self,
        call: &Call,
        file: &Handle,
        offset: u64,
        data: Bytes,
        stability: Stability,
    ) -> Result<Written, ChangeFailure> {
        assert!(data.len() <= TRANSFER_BYTES_MAX as usize);
        assert!(offset.checked_add(data.len() as u64).is_some_and(|end| i64::try_from(end).is_ok()));
        admit(call, file)?;
        let count = data.len() as u32;
        Ok(Written { count, committed: stability, verifier: WriteVerifier([1; 8]), wcc: wcc() })
    }

    async fn create(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        how: CreateHow,
    ) -> Result<Changed, ChangeFailure> {
        match how {
            CreateHow::Unchecked(set) | CreateHow::Guarded(set) => made(call, directory, name, &set),
            CreateHow::Exclusive(_) => made(call, directory, name, &SetAttributes::default()),
        }
    }

    async fn make_directory(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        set: SetAttributes,
    ) -> Result<Changed, ChangeFailure> {
        made(call, directory, name, &set)
    }

    async fn make_symlink(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        set: SetAttributes,
        target: &[u8],
    ) -> Result<Changed, ChangeFailure> {
        assert!(target.len() <= PATH_BYTES_MAX);
        made(call, directory, name, &set)
    }

    async fn make_node(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        kind: FileKind,
        _device: Device,
        set: SetAttributes,
    ) -> Result<Changed, ChangeFailure> {
        assert!(!matches!(kind, FileKind::Regular | FileKind::Directory | FileKind::Symlink));
        made(call, directory, name, &set)
    }

    async fn remove(&self, call: &Call, directory: &Handle, name: &[u8]) -> Result<Changed, ChangeFailure> {
        expect_name(name);
        changed(call, directory)
    }

    async fn remove_directory(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
    ) -> Result<Changed, ChangeFailure> {
        expect_name(name);
        changed(call, directory)
    }

    async fn rename(
        &self,
        call: &Call,
        from: (&Handle, &[u8]),
        to: (&Handle, &[u8]),
    ) -> Result<Changed, ChangeFailure> {
        expect_name(from.1);
        expect_name(to.1);
        admit(call, to.0)?;
        changed(call, from.0)
    }

    async fn link(
        &self,
        call: &Call,
        file: &Handle,
        directory: &Handle,
        name: &[u8],
    ) -> Result<Changed, ChangeFailure> {
        expect_name(name);
        admit(call, directory)?;
        changed(call, file)
    }

    async fn read_directory(
        &self,
        call: &Call,
        directory: &Handle,
        cookie: u64,
        _verifier: [u8; 8],
        limit: PageLimit,
    ) -> Result<DirectoryPage, Failure> {
        assert!((1..=TRANSFER_BYTES_MAX as usize).contains(&limit.entries));
        admit(call, directory)?;
        let entry = |number: usize| DirectoryEntry {
            file_id: number as u64,
            name: Bytes::from_static(&CONTENT[..=number * 37 % NAME_BYTES_MAX]),
            cookie: cookie.wrapping_add(number as u64),
            object: limit.with_objects.then(|| (any_handle(), attributes())),
        };
        let entries = (0..limit.entries.min(ENTRIES_MAX)).map(entry).collect();
        Ok(DirectoryPage { entries, end: false, verifier: [0; 8], directory: attributes() })
    }

    async fn space(&self, call: &Call, file: &Handle) -> Result<Space, Failure> {
        admit(call, file)?;
        Ok(Space {
            bytes_total: 3,
            bytes_free: 2,
            bytes_available: 1,
            files_total: 3,
            files_free: 2,
            files_available: 1,
            attributes: attributes(),
        })
    }

    async fn commit(&self, call: &Call, file: &Handle) -> Result<(WriteVerifier, Wcc), ChangeFailure> {
        admit(call, file)?;
        Ok((WriteVerifier([1; 8]), wcc()))
    }

    async fn replayed(&self, _key: RetryKey) -> Option<Changed> {
        None
    }
}
