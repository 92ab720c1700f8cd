//! What clients have set of a bucket, kept in the map beside its objects: so it goes with them to another site, and
//! back with them in time.
//!
//! Each part is a JSON document under its name ([`Key::BucketPart`]). What depends on what is there (versions,
//! locks) is set under the lock of the root directory, which every change of a name in a bucket of objects holds.

use bytes::Bytes;
use tidegate_protocols::objects::{ObjectError, Versioning};
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{InodeNumber, Key, kind_range};

use super::{Namespace, Reader};
use crate::share::{MapRead, Share, Transaction};

/// The name of the part that says whether there are versions.
pub const VERSIONING_PART: &str = "versioning";
/// The most parts that a bucket may have.
const PARTS_MAX: usize = 64;

/// Parts of what clients have set, by name.
pub type BucketParts = Vec<(Bytes, Bytes)>;

impl Reader<'_> {
    /// All parts, by name in byte order.
    pub async fn bucket_parts(&self) -> Result<BucketParts, FsError> {
        let found = self.map.scan(kind_range(InodeNumber::SHARE, b'b', &[]), PARTS_MAX).await?;
        let part = |(key, value): (Key, tidegate_replicator::tree::Value)| match key {
            Key::BucketPart(name) => Some((name, value.payload)),
            _ => None,
        };
        Ok(found.into_iter().filter_map(part).collect())
    }

    /// Whether the bucket keeps versions; none when it never did.
    pub async fn versioning(&self) -> Result<Option<Versioning>, FsError> {
        let key = Key::BucketPart(Bytes::from_static(VERSIONING_PART.as_bytes()));
        let Some(value) = self.map.get(&key).await? else { return Ok(None) };
        let parsed = serde_json::from_slice(&value.payload);
        parsed.map(Some).map_err(|error| {
            tracing::error!(%error, "what is set of a bucket cannot be read");
            FsError::Io
        })
    }
}

/// Has settings of a bucket read anew when it goes.
struct NotesChange<'s>(&'s Share);

impl Drop for NotesChange<'_> {
    fn drop(&mut self) {
        self.0.note_settings_changed();
    }
}

impl Namespace {
    /// Sets parts of what clients have set of the bucket, or takes them away. `decide` sees all parts and says which
    /// change, or refuses. Durable when this returns.
    pub async fn change_bucket<F>(&self, decide: F) -> Result<(), ObjectError>
    where
        F: FnOnce(BucketParts) -> Result<Vec<(&'static str, Option<Vec<u8>>)>, ObjectError> + Send,
    {
        let locks = self.share.locks().lock(&[InodeNumber::ROOT]).await;
        if self.share.is_closed() {
            return Err(ObjectError::NoSuchBucket);
        }
        let mut transaction = Transaction::default();
        for (name, value) in decide(self.reader().bucket_parts().await?)? {
            let key = Key::BucketPart(Bytes::from_static(name.as_bytes()));
            match value {
                Some(value) => transaction.put(&key, value),
                None => transaction.delete(&key),
            }
        }
        // Also when nobody waits for the disk any more: the change is seen by then.
        let _noting = NotesChange(&self.share);
        self.finish_object(locks, transaction).await
    }

    /// Lets nothing in any more, if nothing is there: neither an object nor a version nor an upload. Else
    /// [`ObjectError::BucketNotEmpty`]; and [`ObjectError::NoSuchBucket`] when somebody has done so before. Whoever
    /// closes a bucket reopens it if it then stays ([`crate::share::Share::reopen`]).
    pub async fn close_bucket(&self) -> Result<(), ObjectError> {
        let _locks = self.share.locks().lock(&[InodeNumber::ROOT]).await;
        if self.share.is_closed() {
            return Err(ObjectError::NoSuchBucket);
        }
        if !self.is_empty().await? {
            return Err(ObjectError::BucketNotEmpty);
        }
        self.share.close();
        Ok(())
    }

    /// Whether there is neither a file nor a version nor an upload.
    pub async fn is_empty(&self) -> Result<bool, FsError> {
        let reader = self.reader();
        if reader.directory(InodeNumber::ROOT).await?.inode.entries > 0 {
            return Ok(false);
        }
        let has = async |tag| -> Result<bool, FsError> {
            Ok(!self.share.map().scan(kind_range(InodeNumber::SHARE, tag, &[]), 1).await?.is_empty())
        };
        Ok(!has(b'u').await? && !has(b'v').await?)
    }

    /// Begins a bucket: as of now, with these parts and no others, in one step.
    pub async fn begin_bucket(&self, parts: Vec<(&'static str, Vec<u8>)>) -> Result<(), ObjectError> {
        let locks = self.share.locks().lock(&[InodeNumber::ROOT]).await;
        let reader = self.reader();
        let mut transaction = Transaction::default();
        for (name, _) in reader.bucket_parts().await? {
            transaction.delete(&Key::BucketPart(name));
        }
        for (name, value) in parts {
            transaction.put(&Key::BucketPart(Bytes::from_static(name.as_bytes())), value);
        }
        let mut inode = reader.directory(InodeNumber::ROOT).await?.inode;
        inode.times.born = self.now();
        super::touch(&mut inode, self.now());
        transaction.put_inode(InodeNumber::ROOT, &inode);
        let done = self.finish_object(locks, transaction).await;
        self.share.note_settings_changed();
        done
    }
}
