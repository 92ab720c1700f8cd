//! A store in a bucket of any endpoint that talks S3.
//!
//! * Every body carries its CRC32C (see [`ChecksumMode`]), computed here before it is sent, so that no
//!   trailers are needed, which several stores do not take. The SDK's own checksums are off.
//! * A body over [`SINGLE_PUT_BYTES_MAX`](multipart::SINGLE_PUT_BYTES_MAX) goes up in parts, unless it must be created new: only a
//!   single put is atomic under a condition everywhere. A failed or dropped multipart upload is aborted;
//!   one whose process was killed is found and aborted by [`S3Store::abort_unfinished`].
//! * Files are streamed, never read into memory; a put in parts holds
//!   [`PARTS_PARALLEL_MAX`](multipart::PARTS_PARALLEL_MAX) read buffers of the SDK.
//! * [`PutMode::CreateNew`] asks with `If-None-Match: *` where a probe has shown that this bucket honours
//!   it; elsewhere it looks first, which is not atomic. It also looks first when the body is long: a server
//!   may refuse and close while the body is on its way, and then the refusal is lost.
//! * Nothing is retried here: that is the work of [`RetryStore`](super::RetryStore).
//! * A missing bucket is never a missing object.

mod class;
mod client;
mod clock;
mod credentials;
mod error;
mod list;
mod lock;
mod multipart;
mod paced;
mod put;
mod read;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::client::{AwsAccess, Connection, Style, aws_access};
pub use self::credentials::Credentials;
use self::error::store_error;
use super::body::check_length;
use super::checks::{check_folder, check_prefix, missing};
use super::deadline::within;
use super::lock::HeadPace;
use super::{
    Answer, Body, Capabilities, ErrorKind, LIST_LIMIT_MAX, ListPage, LockRule, ObjectInfo, ObjectName,
    PutMode, Special, Store, StoreClock, StoreError,
};

/// The longest body that is created new without looking first. It fits into the buffers of a connection.
const UNSEEN_BYTES_MAX: u64 = 64 << 10;

/// Which checksum goes with every body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChecksumMode {
    /// CRC32C in a header: a store that knows it refuses what was damaged on the way.
    #[default]
    Crc32c,
    /// None, for stores that refuse requests with the header.
    None,
}

/// What a probe has shown of a bucket, and what follows for how to talk to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conduct {
    /// `If-None-Match: *` holds, also in a race.
    pub create_new: bool,
    /// Which checksum to send.
    pub checksum: ChecksumMode,
    /// How objects are locked.
    pub lock: Option<LockRule>,
    /// Whether nothing is to be deleted for good.
    pub append_only: bool,
}

/// See the head of this module.
#[derive(Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
    /// Empty, or segments that each end with `/`.
    prefix: String,
    conduct: Conduct,
    /// How long to wait for the head of an answer to a request without a body.
    answer_timeout: Duration,
    clock: Arc<StoreClock>,
    heads: Arc<HeadPace>,
}

impl S3Store {
    /// A store below `prefix` (without slashes at its ends) of a bucket that must exist. Sends nothing.
    pub fn open(
        bucket: &str,
        prefix: &str,
        connection: &Connection,
        credentials: &Credentials,
        conduct: Conduct,
    ) -> Result<Self, StoreError> {
        Self::open_by(Arc::default(), (bucket, prefix), connection, credentials, conduct)
    }

    /// The same; the clock of the endpoint is noted there, as its answers tell it.
    pub(super) fn open_by(
        clock: Arc<StoreClock>,
        (bucket, prefix): (&str, &str),
        connection: &Connection,
        credentials: &Credentials,
        conduct: Conduct,
    ) -> Result<Self, StoreError> {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self {
            client: client::build(connection, credentials, &clock)?,
            bucket: bucket.to_owned(),
            prefix,
            conduct,
            answer_timeout: connection.answer_timeout,
            clock,
            heads: Arc::default(),
        })
    }

    /// The same bucket under another conduct.
    #[must_use]
    pub fn with_conduct(&self, conduct: Conduct) -> Self {
        Self { conduct, ..self.clone() }
    }

    fn key(&self, name: &ObjectName) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The name of a key that the store listed, unless it is none of ours.
    fn name_of(&self, key: &str) -> Option<ObjectName> {
        ObjectName::new(key.strip_prefix(&self.prefix)?).ok()
    }

    /// [`ErrorKind::Exists`] if there is such an object.
    async fn check_absent(&self, name: &ObjectName) -> Result<(), StoreError> {
        match self.look_at(name, None).await {
            Ok(_) => Err(StoreError::new(ErrorKind::Exists, format!("create {name}, which exists"))),
            Err(error) if error.kind() == ErrorKind::Missing => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Which version to read instead, after an answer that the name shows none; else that answer.
    async fn oldest_instead(&self, name: &ObjectName, error: StoreError) -> Result<String, StoreError> {
        if error.kind() != ErrorKind::Missing {
            return Err(error);
        }
        self.outliving(name).await?.ok_or(error)
    }

    async fn read(
        &self,
        name: &ObjectName,
        range: Option<Range<u64>>,
        version: Option<&str>,
    ) -> Result<Bytes, StoreError> {
        match range {
            Some(range) => self.get_range(name, range, version).await,
            None => self.get_whole(name, version).await,
        }
    }

    /// Tells a missing object from a missing bucket, after an answer that could mean either.
    async fn missing_or_misconfigured(&self, name: &ObjectName) -> StoreError {
        let doing = || format!("find the bucket {}", self.bucket);
        let asked = async {
            let request = self.client.head_bucket().bucket(&self.bucket);
            Box::pin(request.send()).await.map_err(|error| match error::status(&error) {
                Some(404) => StoreError::new(ErrorKind::Misconfigured, doing()).caused_by("there is none"),
                _ => store_error(doing(), error),
            })
        };
        match within(self.answer_timeout, doing, asked).await {
            Ok(_) => missing(name),
            Err(error) => error,
        }
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store")
            .field("address", &self.address())
            .field("conduct", &self.conduct)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for S3Store {
    fn address(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix.trim_end_matches('/'))
    }

    fn capabilities(&self) -> Capabilities {
        let Conduct { create_new, lock, append_only, checksum: _ } = self.conduct;
        Capabilities { create_new, lock, append_only }
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        check_length(&body).await?;
        match mode {
            PutMode::Overwrite if body.len() > multipart::SINGLE_PUT_BYTES_MAX => {
                self.put_in_parts(name, &body).await
            }
            PutMode::Overwrite => self.put_at_once(name, &body, false).await,
            PutMode::CreateNew => {
                if !self.conduct.create_new || body.len() > UNSEEN_BYTES_MAX {
                    self.check_absent(name).await?;
                }
                self.put_at_once(name, &body, self.conduct.create_new).await
            }
        }
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        match self.read(name, range.clone(), None).await {
            Ok(bytes) => Ok(bytes),
            Err(error) => {
                let version = self.oldest_instead(name, error).await?;
                self.read(name, range, Some(&version)).await
            }
        }
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        match Box::pin(self.get_end(name, bytes, None)).await {
            Ok(end) => Ok(end),
            Err(error) => {
                let version = self.oldest_instead(name, error).await?;
                Box::pin(self.get_end(name, bytes, Some(&version))).await
            }
        }
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        match self.look_at(name, None).await {
            Ok(info) => Ok(info),
            Err(error) => {
                let version = self.oldest_instead(name, error).await?;
                self.look_at(name, Some(&version)).await
            }
        }
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        check_prefix(prefix)?;
        self.list_page(prefix, after, limit.clamp(1, LIST_LIMIT_MAX)).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        check_folder(prefix)?;
        self.list_prefixes(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let doing = || format!("delete {name}");
        let request = self.client.delete_object().bucket(&self.bucket).key(self.key(name));
        let asked = async { request.send().await.map_err(|error| store_error(doing(), error)) };
        match within(self.answer_timeout, doing, asked).await {
            Err(error) if error.kind() != ErrorKind::Missing => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn special(&self, call: Special) -> Result<Answer, StoreError> {
        Box::pin(self.do_special(call)).await
    }
}
