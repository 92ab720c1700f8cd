//! An S3 server in this process: s3s over s3s-fs in a temporary folder, with what the tests need to see
//! and to spoil.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::dto;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tidegate_replicator::store::{Conduct, Connection, Credentials, S3Store, StoreSettings, Style};
use tokio::net::TcpListener;

pub(crate) const BUCKET: &str = "bucket";
const ACCESS_KEY: &str = "access";
const SECRET_KEY: &str = "secret";

/// What happened, and what shall.
#[derive(Debug, Default)]
pub(crate) struct Switches {
    pub(crate) uploads_begun: AtomicU64,
    pub(crate) uploads_aborted: AtomicU64,
    /// This many parts fail from now on.
    pub(crate) parts_to_fail: AtomicU64,
    /// Parts take this long, in milliseconds.
    pub(crate) part_delay_ms: AtomicU64,
    /// `If-None-Match` does nothing, as in versioned buckets of some stores.
    pub(crate) ignore_conditions: AtomicBool,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) switches: Arc<Switches>,
    folder: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("the bucket");
        let switches = Arc::<Switches>::default();
        let files = FileSystem::new(folder.path()).expect("a file system");
        let mut builder = S3ServiceBuilder::new(Patched {
            root: folder.path().to_owned(),
            files,
            switches: Arc::clone(&switches),
            conditional_puts: tokio::sync::Mutex::default(),
        });
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { address, switches, folder, task }
    }

    pub(crate) fn settings(&self, prefix: &str) -> StoreSettings {
        let address = format!("s3://{BUCKET}/{prefix}").parse().expect("an address");
        StoreSettings { endpoint: Some(format!("http://{}", self.address)), ..StoreSettings::new(address) }
    }

    pub(crate) fn store(&self, prefix: &str, conduct: Conduct) -> S3Store {
        S3Store::open(BUCKET, prefix, &connection(self.address), &credentials(), conduct).expect("opened")
    }

    /// The folder that holds the bucket.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.folder.path().join(BUCKET)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn connection(address: SocketAddr) -> Connection {
    Connection {
        endpoint: Some(format!("http://{address}")),
        region: "us-east-1".to_owned(),
        style: Style::Path,
        proxy: None,
        ca_file: None,
        connect_timeout: Duration::from_secs(5),
        answer_timeout: Duration::from_secs(20),
    }
}

pub(crate) fn credentials() -> Credentials {
    keys(ACCESS_KEY, SECRET_KEY)
}

pub(crate) fn keys(access_key: &str, secret_key: &str) -> Credentials {
    Credentials::Static {
        access_key: access_key.to_owned(),
        secret_key: zeroize::Zeroizing::new(secret_key.to_owned()),
        session_token: None,
    }
}

/// s3s-fs, where suffix ranges may be longer than the object, folders are no objects, and conditional
/// puts do not race.
struct Patched {
    root: PathBuf,
    files: FileSystem,
    switches: Arc<Switches>,
    conditional_puts: tokio::sync::Mutex<()>,
}

#[async_trait::async_trait]
impl S3 for Patched {
    async fn get_object(
        &self,
        mut request: S3Request<dto::GetObjectInput>,
    ) -> S3Result<S3Response<dto::GetObjectOutput>> {
        let bytes = self.bytes(&request.input.bucket, &request.input.key)?;
        if let Some(dto::Range::Suffix { length }) = request.input.range {
            request.input.range = Some(dto::Range::Suffix { length: length.min(bytes) });
        }
        self.files.get_object(request).await
    }

    async fn head_object(
        &self,
        request: S3Request<dto::HeadObjectInput>,
    ) -> S3Result<S3Response<dto::HeadObjectOutput>> {
        self.bytes(&request.input.bucket, &request.input.key)?;
        self.files.head_object(request).await
    }

    async fn head_bucket(
        &self,
        request: S3Request<dto::HeadBucketInput>,
    ) -> S3Result<S3Response<dto::HeadBucketOutput>> {
        self.files.head_bucket(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<dto::ListObjectsV2Input>,
    ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        self.files.list_objects_v2(request).await
    }

    async fn put_object(
        &self,
        mut request: S3Request<dto::PutObjectInput>,
    ) -> S3Result<S3Response<dto::PutObjectOutput>> {
        if self.switches.ignore_conditions.load(Ordering::SeqCst) {
            request.input.if_none_match = None;
        }
        let conditional = request.input.if_none_match.is_some();
        let _one_at_a_time = if conditional { Some(self.conditional_puts.lock().await) } else { None };
        self.files.put_object(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<dto::DeleteObjectInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        self.files.delete_object(request).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<dto::CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
        self.switches.uploads_begun.fetch_add(1, Ordering::SeqCst);
        self.files.create_multipart_upload(request).await
    }

    async fn upload_part(
        &self,
        request: S3Request<dto::UploadPartInput>,
    ) -> S3Result<S3Response<dto::UploadPartOutput>> {
        let delay = Duration::from_millis(self.switches.part_delay_ms.load(Ordering::SeqCst));
        tokio::time::sleep(delay).await;
        let take = |left: u64| left.checked_sub(1);
        if self.switches.parts_to_fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            return Err(s3_error!(SlowDown));
        }
        self.files.upload_part(request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<dto::CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
        self.files.complete_multipart_upload(request).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<dto::AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::AbortMultipartUploadOutput>> {
        self.switches.uploads_aborted.fetch_add(1, Ordering::SeqCst);
        self.files.abort_multipart_upload(request).await
    }
}

impl Patched {
    /// The length of an object.
    fn bytes(&self, bucket: &str, key: &str) -> S3Result<u64> {
        let metadata = std::fs::metadata(self.root.join(bucket).join(key));
        let file = metadata.ok().filter(std::fs::Metadata::is_file);
        file.map(|file| file.len()).ok_or_else(|| s3_error!(NoSuchKey))
    }
}
