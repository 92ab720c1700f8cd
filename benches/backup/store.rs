//! Where repositories lie: in a directory, or in a bucket over one, which counts what it is asked.
//!
//! The bucket is s3s-fs in this process; it syncs nothing, and takes its time from the programs that are measured. Each request
//! that reaches it counts, whatever becomes of it: so every program is counted in the same way. A directory only shows which files
//! have come, changed or gone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tidegate_benches::{Outcome, files_below};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The name of the bucket, and of the folder that is shown as one.
pub(crate) const BUCKET: &str = "repository";
/// What requests are signed with.
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const ACCESS_KEY: &str = "only-for-this-bench";
pub(crate) const SECRET_KEY: &str = "known-to-everybody";

/// How many requests there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    /// All of them.
    pub(crate) all: u64,
    /// Those that change nothing: reads, looks and listings.
    pub(crate) reading: u64,
}

impl Requests {
    /// Those after others.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { all: self.all - before.all, reading: self.reading - before.reading }
    }
}

#[derive(Debug, Default)]
struct Counts {
    all: AtomicU64,
    reading: AtomicU64,
}

/// A folder that is served as a bucket, until this is dropped.
pub(crate) struct Bucket {
    endpoint: String,
    counts: Arc<Counts>,
    _runtime: Runtime,
}

impl Bucket {
    /// Serves the folder [`BUCKET`] below `root`, which is made.
    pub(crate) fn serve(root: &Path) -> Outcome<Self> {
        fs::create_dir_all(root.join(BUCKET))?;
        let files = FileSystem::new(root);
        let files = files.map_err(|error| format!("{} cannot be served: {error:?}", root.display()))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let counts = Arc::<Counts>::default();
        let counted = Counted { service: builder.build(), counts: Arc::clone(&counts) };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // Without it answers wait for each other; nothing else is lost.
                let _ = socket.set_nodelay(true);
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(socket), counted.clone()));
            }
        });
        Ok(Self { endpoint, counts, _runtime: runtime })
    }

    /// Where it is: `http://address:port`.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Requests {
        let Counts { all, reading } = &*self.counts;
        Requests { all: all.load(Ordering::Relaxed), reading: reading.load(Ordering::Relaxed) }
    }
}

/// The service, with its requests counted.
#[derive(Clone)]
struct Counted {
    service: S3Service,
    counts: Arc<Counts>,
}

impl Service<Request<Incoming>> for Counted {
    type Response = <S3Service as Service<Request<Incoming>>>::Response;
    type Error = <S3Service as Service<Request<Incoming>>>::Error;
    type Future = <S3Service as Service<Request<Incoming>>>::Future;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.counts.all.fetch_add(1, Ordering::Relaxed);
        if [Method::GET, Method::HEAD].contains(request.method()) {
            self.counts.reading.fetch_add(1, Ordering::Relaxed);
        }
        Service::call(&self.service, request)
    }
}

/// The files of a repository, each with what tells one from another: inode, time of change and length.
pub(crate) struct Files(BTreeMap<PathBuf, (u64, i64, i64, u64)>);

impl Files {
    /// Those below a folder.
    pub(crate) fn below(folder: &Path) -> Outcome<Self> {
        let mut files = BTreeMap::new();
        for path in files_below(&[folder])? {
            let found = fs::metadata(&path)?;
            files.insert(path, (found.ino(), found.mtime(), found.mtime_nsec(), found.len()));
        }
        Ok(Self(files))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Their lengths together.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.values().map(|(.., bytes)| bytes).sum()
    }

    /// How many have come, changed or gone since.
    pub(crate) fn changed_since(&self, before: &Self) -> u64 {
        let here = self.0.iter().filter(|(path, state)| before.0.get(*path) != Some(*state));
        let gone = before.0.keys().filter(|path| !self.0.contains_key(*path));
        (here.count() + gone.count()) as u64
    }
}
