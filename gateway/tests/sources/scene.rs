//! A gateway whose sources lie in a temporary folder, and what is seen of a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_gateway::appliance::Appliance;
use tidegate_gateway::assembly::ApplianceSources;
use tidegate_gateway::control::{ControlError, JobHandle, SourceRun, SourceRunRequest};
use tidegate_gateway::settings::Settings;
use tidegate_replicator::check::{CheckOptions, Sample, Silent, check};
use tidegate_replicator::frozen::DomainReader;
use tidegate_replicator::repository::{Opened, Repository, Snapshot};
use tidegate_replicator::restore::{self, RestoreOptions, RestoreSource};
use tidegate_replicator::store::{MemoryStore, Store};

use super::support::{init, open, slot_key};

/// A source that is a folder.
pub(crate) const FOLDER: &str = "[[source]]\nname = \"home\"\nfolder = \"PLACE\"\n";

pub(crate) struct Scene {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) appliance: Arc<Appliance>,
    pub(crate) sources: Arc<ApplianceSources>,
}

pub(crate) fn settings(folder: &Path, tables: &str) -> Arc<Settings> {
    let data = folder.join("data");
    let text = format!(
        "[gateway]\ndata = \"{}\"\n[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"t\"\n\
         address = \"file:///nowhere/repository\"\n{tables}",
        data.display()
    );
    Arc::new(Settings::parse(&text).unwrap_or_else(|error| panic!("{error}")))
}

impl Scene {
    pub(crate) async fn new(tables: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        drop(init(store.clone(), &slot_key(folder.path())).await);
        Self::over(folder, store, tables).await
    }

    pub(crate) async fn over(folder: tempfile::TempDir, store: Arc<dyn Store>, tables: &str) -> Self {
        let appliance = open(&folder.path().join("data"), store.clone(), &slot_key(folder.path())).await;
        let place = folder.path().join("source");
        fs::create_dir_all(&place).unwrap();
        let tables = tables.replace("PLACE", place.to_str().unwrap());
        let sources = ApplianceSources::new(appliance.clone(), settings(folder.path(), &tables));
        Self { folder, store, appliance, sources }
    }

    pub(crate) fn place(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    pub(crate) async fn run(&self, name: &str) -> Result<SourceRun, ControlError> {
        self.run_as(name, SourceRunRequest::default()).await
    }

    pub(crate) async fn run_as(
        &self,
        name: &str,
        request: SourceRunRequest,
    ) -> Result<SourceRun, ControlError> {
        Ok(self.sources.run(name, &request, None, &JobHandle::new()).await?.1)
    }

    pub(crate) async fn repository(&self) -> Arc<Repository<Opened>> {
        let repository = Repository::open(self.store.clone(), &slot_key(self.folder.path())).await;
        Arc::new(repository.unwrap())
    }

    pub(crate) async fn snapshots(&self, name: &str) -> Vec<Snapshot> {
        let repository = self.repository().await;
        let Some(id) = repository.find_share(name).await.unwrap() else { return Vec::new() };
        let listed = repository.list_snapshots(id).await.unwrap();
        listed.into_iter().map(|(_, snapshot)| snapshot.unwrap()).collect()
    }

    /// Restores the newest snapshot to a new folder, without a gateway.
    pub(crate) async fn restore(&self, name: &str) -> tempfile::TempDir {
        let repository = self.repository().await;
        let head = self.snapshots(name).await.pop().unwrap().head;
        let reader = DomainReader::open(&repository, head.share.domain, 64 << 20).unwrap();
        let source = RestoreSource {
            frozen: reader.frozen(&head.root),
            repository: repository.id().to_string(),
            share: head.share.id.to_string(),
            path: Vec::new(),
        };
        let to = tempfile::tempdir().unwrap();
        let plan = restore::Plan::make(&source, &to.path().join("restored"), RestoreOptions::default()).await;
        let report = plan.unwrap().execute(&restore::Silent).await.unwrap();
        assert_eq!(report.failures, []);
        to
    }

    /// The repository is whole, to the last byte of data.
    pub(crate) async fn check(&self) {
        let sample = Sample { per_million: Sample::ALL, seed: 1 };
        let options = CheckOptions { read_data: Some(sample), ..CheckOptions::default() };
        let report = check(&self.repository().await, &options, &Silent).await.unwrap();
        assert_eq!(report.findings, []);
    }

    /// What the source is, and what is restored of it, are one.
    pub(crate) async fn comes_back(&self, name: &str) {
        let restored = self.restore(name).await;
        let (meant, is) = (seen(&self.place()), seen(&restored.path().join("restored")));
        assert_eq!(is.keys().collect::<Vec<_>>(), meant.keys().collect::<Vec<_>>());
        for (path, meant) in &meant {
            assert_eq!(is[path], *meant, "{}", String::from_utf8_lossy(path));
        }
    }
}

/// Everything of a file that a backup brings back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    content: Vec<u8>,
    /// Whether less is on the disk than its length.
    sparse: bool,
    device: u64,
    /// The first path with the same inode.
    same_as: Vec<u8>,
    extended: BTreeMap<Vec<u8>, Vec<u8>>,
}

pub(crate) fn seen(top: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let (mut found, mut firsts) = (BTreeMap::new(), BTreeMap::new());
    let mut folders = BTreeSet::from([top.to_path_buf()]);
    while let Some(path) = folders.pop_first() {
        let name = path.strip_prefix(top).unwrap().as_os_str().as_bytes().to_vec();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        if kind.is_dir() {
            folders.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let content = if kind.is_file() {
            fs::read(&path).unwrap()
        } else if kind.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_vec()
        } else {
            Vec::new()
        };
        let same_as = firsts.entry(metadata.ino()).or_insert_with(|| name.clone()).clone();
        let seen = Seen {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            sparse: kind.is_file() && metadata.blocks() * 512 + (1 << 20) < metadata.len(),
            content,
            device: if kind.is_char_device() { metadata.rdev() } else { 0 },
            same_as,
            extended: if kind.is_file() || kind.is_dir() { extended(&path) } else { BTreeMap::new() },
        };
        found.insert(name, seen);
    }
    found
}

pub(crate) fn extended(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = [0; 4096];
    let length = rustix::fs::listxattr(path, &mut names).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = [0; 4096];
        let length = rustix::fs::getxattr(path, name, &mut value).unwrap();
        value[..length].to_vec()
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}
