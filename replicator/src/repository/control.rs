//! Control objects: index, heads, snapshots and leases, all sealed under the repository's first domain.
//!
//! One domain seals them whatever domain a share is in, so that who opens the repository can list it
//! without trying keys. They hold no file data and no file names.
//!
//! An object under a sealing epoch that is not at hand was written after another gateway had rotated the
//! keys: the domains are read again, once.

use bytes::Bytes;
use tidegate_chunker::{ErrorKind as SealErrorKind, ObjectKind, open_object, seal_object};

use super::chance::random;
use super::envelope::{Record, fetch, from_payload, to_payload, unreadable, unsealable};
use super::error::Result;
use super::open::{Opened, Repository};
use crate::store::ObjectName;

impl Repository<Opened> {
    /// The bytes of a record's object.
    pub(super) fn seal_record<R: Record>(&self, name: &ObjectName, record: &R) -> Result<Vec<u8>> {
        self.seal_control(R::KIND, name, &to_payload(name, record)?)
    }

    /// Fetches and opens a record.
    pub(super) async fn read_record<R: Record>(&self, name: &ObjectName) -> Result<R> {
        from_payload(name, &self.read_control(R::KIND, name, R::BYTES_MAX).await?)
    }

    /// The bytes of an object with this payload.
    pub(super) fn seal_control(
        &self,
        kind: ObjectKind,
        name: &ObjectName,
        payload: &[u8],
    ) -> Result<Vec<u8>> {
        let keys = self.domain_keys(self.default_domain())?;
        seal_object(&keys, kind, name.as_str(), random()?, payload).map_err(|error| unsealable(name, error))
    }

    /// Fetches and opens an object of at most this many bytes of payload.
    pub(super) async fn read_control(
        &self,
        kind: ObjectKind,
        name: &ObjectName,
        payload_bytes_max: u64,
    ) -> Result<Vec<u8>> {
        let bytes = fetch(&*self.store, name, payload_bytes_max).await?;
        self.open_control(kind, name, &bytes).await
    }

    /// Opens the bytes of an object.
    async fn open_control(&self, kind: ObjectKind, name: &ObjectName, bytes: &[u8]) -> Result<Vec<u8>> {
        let keys = self.domain_keys(self.default_domain())?;
        match open_object(&keys, kind, name.as_str(), bytes) {
            Err(error) if error.kind() == SealErrorKind::UnknownEpoch => {}
            opened => return opened.map_err(|error| unreadable(name, error)),
        }
        self.reload_domains().await?;
        let keys = self.domain_keys(self.default_domain())?;
        open_object(&keys, kind, name.as_str(), bytes).map_err(|error| unreadable(name, error))
    }

    /// The bytes of a control object as they are stored, once they have been found to open.
    pub(crate) async fn sound_control(
        &self,
        kind: ObjectKind,
        name: &ObjectName,
        payload_bytes_max: u64,
    ) -> Result<Bytes> {
        let bytes = fetch(&*self.store, name, payload_bytes_max).await?;
        self.open_control(kind, name, &bytes).await?;
        Ok(bytes)
    }

    /// Whether these bytes, wherever they are from, are those of a control object.
    pub(crate) async fn check_control(
        &self,
        kind: ObjectKind,
        name: &ObjectName,
        bytes: &[u8],
    ) -> Result<()> {
        self.open_control(kind, name, bytes).await.map(drop)
    }
}
