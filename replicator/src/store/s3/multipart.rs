//! Storing a large object in parts.
//!
//! Order: begin the upload; send parts, a bounded number at a time; complete it, whereupon the object
//! appears at once. A failure or a dropped call aborts the upload, so that the store does not charge
//! for parts that nobody sees. A killed process leaves an upload behind, which
//! [`S3Store::abort_unfinished`] finds and removes at its next start, or a day later whoever it was.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, MultipartUpload};
use futures::{StreamExt, TryStreamExt, stream};

use super::error::store_error;
use super::{ChecksumMode, S3Store};
use crate::store::{Body, ErrorKind, ObjectName, StoreError};

/// The largest body that is stored in one request.
pub(super) const SINGLE_PUT_BYTES_MAX: u64 = 32 << 20;

/// How many parts of one object travel at once. Each holds a read buffer, not the whole part.
pub(super) const PARTS_PARALLEL_MAX: usize = 4;

/// The length of all parts but the last, unless there would be too many.
const PART_BYTES: u64 = 16 << 20;

/// How many parts an object may have, by S3's rules.
const PARTS_MAX: u64 = 10_000;

/// How many pages of unfinished uploads one clean-up looks at.
const UPLOAD_PAGES_MAX: usize = 100;

/// A piece of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    /// From 1 up.
    number: i32,
    offset: u64,
    bytes: u64,
}

impl S3Store {
    /// Stores a body in parts.
    pub(in crate::store) async fn put_in_parts(
        &self,
        name: &ObjectName,
        body: &Body,
    ) -> Result<(), StoreError> {
        let mut upload = self.begin_upload(name).await?;
        let outcome = upload.send(body).await;
        upload.settled = true;
        if outcome.is_err() {
            upload.abort().await;
        }
        outcome?;
        self.lock_if_it_is_not(name).await
    }

    /// Aborts uploads below the prefix of which nothing comes any more, and counts them: those of `own` objects, which
    /// nobody but the caller stores, and he does not now; and those that were begun longer than `age` ago. After a
    /// bounded number of pages the rest waits for the next time.
    pub async fn abort_unfinished(
        &self,
        own: &HashSet<ObjectName>,
        age: Duration,
    ) -> Result<usize, StoreError> {
        let before = SystemTime::now() - age;
        let (mut key, mut id, mut aborted) = (None, None, 0);
        for _ in 0..UPLOAD_PAGES_MAX {
            let request = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(&self.prefix);
            let page = request
                .set_key_marker(key)
                .set_upload_id_marker(id)
                .send()
                .await
                .map_err(|error| store_error("list unfinished uploads".to_owned(), error))?;
            for upload in page.uploads() {
                let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else { continue };
                let is_own = || self.name_of(key).is_some_and(|name| own.contains(&name));
                if is_stale(upload, before) || is_own() {
                    abort(&self.client, &self.bucket, key, id).await;
                    aborted += 1;
                }
            }
            if page.is_truncated() != Some(true) {
                break;
            }
            (key, id) = (page.next_key_marker, page.next_upload_id_marker);
        }
        Ok(aborted)
    }

    async fn begin_upload(&self, name: &ObjectName) -> Result<Upload<'_>, StoreError> {
        let doing = || format!("begin storing {name} in parts");
        let algorithm = match self.conduct.checksum {
            ChecksumMode::Crc32c => Some(ChecksumAlgorithm::Crc32C),
            ChecksumMode::None => None,
        };
        let (key, lock) = (self.key(name), self.put_lock(name).await?);
        let begun = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(&key)
            .set_checksum_algorithm(algorithm)
            .set_object_lock_mode(lock.as_ref().map(|lock| lock.mode.clone()))
            .set_object_lock_retain_until_date(lock.map(|lock| lock.until))
            .send()
            .await
            .map_err(|error| store_error(doing(), error))?;
        let id = begun.upload_id.ok_or_else(|| {
            StoreError::new(ErrorKind::Misconfigured, doing()).caused_by("the store gave the upload no id")
        })?;
        Ok(Upload { store: self, name: name.clone(), key, id, settled: false })
    }
}

/// An upload that has begun. Dropped before it is settled, it aborts itself in the background.
struct Upload<'a> {
    store: &'a S3Store,
    name: ObjectName,
    key: String,
    id: String,
    settled: bool,
}

impl Upload<'_> {
    async fn send(&self, body: &Body) -> Result<(), StoreError> {
        let mut parts: Vec<CompletedPart> = stream::iter(parts_of(body.len()))
            .map(|part| self.send_part(body, part))
            .buffer_unordered(PARTS_PARALLEL_MAX)
            .try_collect()
            .await?;
        parts.sort_by_key(|part| part.part_number);
        self.store
            .client
            .complete_multipart_upload()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .send()
            .await
            .map(drop)
            .map_err(|error| store_error(format!("finish storing {}", self.name), error))
    }

    async fn send_part(&self, body: &Body, part: Part) -> Result<CompletedPart, StoreError> {
        let checksum = self.store.checksum(body, part.offset, part.bytes).await?;
        let sent = self
            .store
            .client
            .upload_part()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .part_number(part.number)
            .content_length(part.bytes as i64)
            .set_checksum_crc32_c(checksum.clone())
            .body(super::put::stream(body, part.offset, part.bytes).await?)
            .send()
            .await
            .map_err(|error| store_error(format!("store part {} of {}", part.number, self.name), error))?;
        Ok(CompletedPart::builder()
            .part_number(part.number)
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32_c(sent.checksum_crc32_c.and(checksum))
            .build())
    }

    async fn abort(&self) {
        abort(&self.store.client, &self.store.bucket, &self.key, &self.id).await;
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.settled {
            let (client, bucket) = (self.store.client.clone(), self.store.bucket.clone());
            let (key, id) = (self.key.clone(), self.id.clone());
            runtime.spawn(async move { abort(&client, &bucket, &key, &id).await });
        }
    }
}

fn is_stale(upload: &MultipartUpload, before: SystemTime) -> bool {
    let begun = upload.initiated().and_then(|time| SystemTime::try_from(*time).ok());
    begun.is_some_and(|begun| begun < before)
}

/// Aborts an upload. One that cannot be aborted now is stale later.
async fn abort(client: &aws_sdk_s3::Client, bucket: &str, key: &str, id: &str) {
    let outcome = client.abort_multipart_upload().bucket(bucket).key(key).upload_id(id).send().await;
    if let Err(error) = outcome {
        tracing::info!(key, %error, "an unfinished upload stays for a later clean-up");
    }
}

/// How a body of `bytes` bytes is cut. At least one part, since S3 wants one.
fn parts_of(bytes: u64) -> impl Iterator<Item = Part> {
    let part_bytes = PART_BYTES.max(bytes.div_ceil(PARTS_MAX));
    (0..bytes.div_ceil(part_bytes).max(1)).map(move |index| {
        let offset = index * part_bytes;
        Part { number: index as i32 + 1, offset, bytes: part_bytes.min(bytes - offset) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_join_to_the_body_within_the_limits_of_s3() {
        for bytes in [0, 1, PART_BYTES, PART_BYTES + 1, 40 << 20, 160 << 30, 5 << 40] {
            let parts: Vec<_> = parts_of(bytes).collect();
            assert!(parts.len() as u64 <= PARTS_MAX && !parts.is_empty(), "{bytes}");
            let mut end = 0;
            for (index, part) in parts.iter().enumerate() {
                assert_eq!((part.offset, part.number as usize), (end, index + 1), "{bytes}");
                end += part.bytes;
            }
            assert_eq!(end, bytes);
        }
    }
}
