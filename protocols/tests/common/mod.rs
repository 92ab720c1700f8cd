//! A file system in memory, to serve in tests and in the example: small, honest and slow.
//!
//! It keeps all promises of [`FileView`] except durability and permissions (ACCESS is computed from
//! the mode bits, nothing is enforced). Hooks let a test hold calls, fail them and count them.

// Each test crate uses its own part of this module, and the large errors are those of the trait.
#![allow(dead_code, clippy::result_large_err)]

mod changes;
mod tree;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_protocols::view::{
    Attributes, Call, ChangeFailure, Changed, CreateHow, Device, DirectoryPage, ExportEntry, Failure,
    FileKind, FileView, Found, FsError, Handle, PageLimit, ReadData, RetryKey, SetAttributes, Space,
    Stability, Time, Wcc, WriteVerifier, Written,
};
use tokio::sync::Semaphore;

pub use self::tree::Tree;

/// The only export: the whole tree.
const EXPORT: &[u8] = b"/share";

/// The view. Shared with the server; tests keep a reference to look inside.
pub struct MemoryView {
    pub tree: Mutex<Tree>,
    /// What each call is answered instead of being carried out.
    pub failure: Mutex<Option<FsError>>,
    /// Calls of these procedures wait for a permit.
    pub gates: Mutex<HashMap<&'static str, std::sync::Arc<Semaphore>>>,
    /// How often each procedure was entered.
    pub entered: Mutex<HashMap<&'static str, usize>>,
    /// Procedures whose calls came with a key for repetitions.
    pub keyed: Mutex<BTreeSet<&'static str>>,
    /// Whether calls panic.
    pub panics: AtomicBool,
    /// Calls inside, and the most there ever were.
    pub inside: AtomicUsize,
    pub inside_most: AtomicUsize,
    /// Outcomes from before an imagined restart.
    pub replays: Mutex<BTreeMap<[u8; 16], Changed>>,
    /// The verifier of writes.
    pub verifier: AtomicU64,
}

impl Default for MemoryView {
    fn default() -> Self {
        Self {
            tree: Mutex::new(Tree::new()),
            failure: Mutex::default(),
            gates: Mutex::default(),
            entered: Mutex::default(),
            keyed: Mutex::default(),
            panics: AtomicBool::new(false),
            inside: AtomicUsize::new(0),
            inside_most: AtomicUsize::new(0),
            replays: Mutex::default(),
            verifier: AtomicU64::new(0x7469_6465),
        }
    }
}

/// Counts a call out when it ends.
struct Inside<'a>(&'a AtomicUsize);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl MemoryView {
    /// Makes calls of a procedure wait; they go on as permits are added to what is returned.
    pub fn hold(&self, procedure: &'static str) -> std::sync::Arc<Semaphore> {
        let gate = std::sync::Arc::new(Semaphore::new(0));
        self.gates.lock().insert(procedure, gate.clone());
        gate
    }

    /// How often a procedure was entered.
    pub fn count(&self, procedure: &'static str) -> usize {
        self.entered.lock().get(procedure).copied().unwrap_or(0)
    }

    async fn enter(&self, procedure: &'static str, call: &Call) -> Result<Inside<'_>, FsError> {
        if call.retry.is_some() {
            self.keyed.lock().insert(procedure);
        }
        *self.entered.lock().entry(procedure).or_default() += 1;
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.inside_most.fetch_max(inside, Ordering::SeqCst);
        let inside = Inside(&self.inside);
        let gate = self.gates.lock().get(procedure).cloned();
        if let Some(gate) = gate {
            gate.acquire().await.expect("gates stay open").forget();
        }
        assert!(!self.panics.load(Ordering::SeqCst), "a panic that a test asked for");
        match *self.failure.lock() {
            Some(error) => Err(error),
            None => Ok(inside),
        }
    }

    fn verifier(&self) -> WriteVerifier {
        WriteVerifier(self.verifier.load(Ordering::SeqCst).to_be_bytes())
    }
}

#[async_trait]
impl FileView for MemoryView {
    fn exports(&self) -> Vec<ExportEntry> {
        let clients = vec!["192.0.2.0/24".to_owned(), "127.0.0.1".to_owned()];
        vec![ExportEntry { path: Bytes::from_static(EXPORT), clients }]
    }

    async fn mount(&self, call: &Call, path: &[u8]) -> Result<Handle, FsError> {
        let _inside = self.enter("MNT", call).await?;
        let path = if path == b"/" { path } else { path.strip_prefix(EXPORT).ok_or(FsError::NotFound)? };
        self.tree.lock().walk(path)
    }

    async fn attributes(&self, call: &Call, file: &Handle) -> Result<Attributes, FsError> {
        let _inside = self.enter("GETATTR", call).await?;
        self.tree.lock().attributes(file)
    }

    async fn set_attributes(
        &self,
        call: &Call,
        file: &Handle,
        set: SetAttributes,
        guard: Option<Time>,
    ) -> Result<Changed, ChangeFailure> {
        let _inside = self.enter("SETATTR", call).await?;
        self.tree.lock().set_attributes(file, set, guard)
    }

    async fn lookup(&self, call: &Call, directory: &Handle, name: &[u8]) -> Result<Found, Failure> {
        let _inside = self.enter("LOOKUP", call).await?;
        self.tree.lock().lookup(directory, name)
    }

    async fn access(&self, call: &Call, file: &Handle, asked: u32) -> Result<(u32, Attributes), Failure> {
        let _inside = self.enter("ACCESS", call).await?;
        let attributes = self.tree.lock().attributes(file)?;
        Ok((asked & tree::granted(&attributes, &call.caller), attributes))
    }

    async fn read_link(&self, call: &Call, link: &Handle) -> Result<(Bytes, Attributes), Failure> {
        let _inside = self.enter("READLINK", call).await?;
        self.tree.lock().read_link(link)
    }

    async fn read(&self, call: &Call, file: &Handle, offset: u64, count: u32) -> Result<ReadData, Failure> {
        let _inside = self.enter("READ", call).await?;
        self.tree.lock().read(file, offset, count)
    }

    async fn write(
        &self,
        call: &Call,
        file: &Handle,
        offset: u64,
        data: Bytes,
        stability: Stability,
    ) -> Result<Written, ChangeFailure> {
        let _inside = self.enter("WRITE", call).await?;
        let wcc = self.tree.lock().write(file, offset, &data)?;
        Ok(Written { count: data.len() as u32, committed: stability, verifier: self.verifier(), wcc })
    }

    async fn create(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        how: CreateHow,
    ) -> Result<Changed, ChangeFailure> {
        let _inside = self.enter("CREATE", call).await?;
        self.tree.lock().create(&call.caller, directory, name, how)
    }

    async fn make_directory(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        set: SetAttributes,
    ) -> Result<Changed, ChangeFailure> {
        let _inside = self.enter("MKDIR", call).await?;
        self.tree.lock().make(&call.caller, directory, name, set, tree::Content::Directory(BTreeMap::new()))
    }

    async fn make_symlink(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        set: SetAttributes,
        target: &[u8],
    ) -> Result<Changed, ChangeFailure> {
        let _inside = self.enter("SYMLINK", call).await?;
        let content = tree::Content::Symlink(Bytes::copy_from_slice(target));
        self.tree.lock().make(&call.caller, directory, name, set, content)
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
        let _inside = self.enter("MKNOD", call).await?;
        self.tree.lock().make(&call.caller, directory, name, set, tree::Content::Node(kind, device))
    }

    async fn remove(&self, call: &Call, directory: &Handle, name: &[u8]) -> Result<Changed, ChangeFailure> {
        let _inside = self.enter("REMOVE", call).await?;
        self.tree.lock().remove(directory, name, false)
    }

    async fn remove_directory(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
    ) -> Result<Changed, ChangeFailure> {
        let _inside = self.enter("RMDIR", call).await?;
        self.tree.lock().remove(directory, name, true)
    }

    async fn rename(
        &self,
        call: &Call,
        from: (&Handle, &[u8]),
        to: (&Handle, &[u8]),
    ) -> Result<Changed, ChangeFailure> {
        let _inside = self.enter("RENAME", call).await?;
        self.tree.lock().rename(from, to)
    }

    async fn link(
        &self,
        call: &Call,
        file: &Handle,
        directory: &Handle,
        name: &[u8],
    ) -> Result<Changed, ChangeFailure> {
        let _inside = self.enter("LINK", call).await?;
        self.tree.lock().link(file, directory, name)
    }

    async fn read_directory(
        &self,
        call: &Call,
        directory: &Handle,
        cookie: u64,
        verifier: [u8; 8],
        limit: PageLimit,
    ) -> Result<DirectoryPage, Failure> {
        let _inside = self.enter("READDIR", call).await?;
        self.tree.lock().page(directory, cookie, verifier, limit)
    }

    async fn space(&self, call: &Call, file: &Handle) -> Result<Space, Failure> {
        let _inside = self.enter("FSSTAT", call).await?;
        let attributes = self.tree.lock().attributes(file)?;
        Ok(Space {
            bytes_total: 1 << 40,
            bytes_free: 1 << 39,
            bytes_available: 1 << 38,
            files_total: 1 << 30,
            files_free: 1 << 29,
            files_available: 1 << 28,
            attributes,
        })
    }

    async fn commit(&self, call: &Call, file: &Handle) -> Result<(WriteVerifier, Wcc), ChangeFailure> {
        let _inside = self.enter("COMMIT", call).await?;
        let tree = self.tree.lock();
        let wcc = Wcc { before: Some(tree.before(file)?), after: Some(tree.attributes(file)?) };
        Ok((self.verifier(), wcc))
    }

    async fn replayed(&self, key: RetryKey) -> Option<Changed> {
        self.replays.lock().get(&key.0).cloned()
    }
}
