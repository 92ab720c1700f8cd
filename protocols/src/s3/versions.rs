//! Versions: ListObjectVersions, PutBucketVersioning and GetBucketVersioning.
//!
//! A listing goes on after a version of a key, or after a prefix that was rolled up; both markers are seen by the
//! client. Deletions that need a second factor are not offered, and asking for them is refused.

use s3s::dto::{
    BucketVersioningStatus, CommonPrefix, DeleteMarkerEntry, GetBucketVersioningInput,
    GetBucketVersioningOutput, ListObjectVersionsInput, ListObjectVersionsOutput, MFADelete, ObjectVersion,
    ObjectVersionStorageClass, PutBucketVersioningInput, PutBucketVersioningOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::checksums::{algorithm_to_wire, kind_to_wire};
use super::errors::{invalid_argument, not_implemented, s3_error};
use super::listing::{Encoding, filled, page_limit};
use super::metadata::class_in_document;
use super::operations::Operations;
use super::values::{etag, owner, timestamp, version_of, version_to_wire, who_of};
use crate::objects::{
    BucketChange, ObjectInfo, VersionEntry, VersionId, VersionListing, VersionQuery, Versioning,
};

fn object(key: String, version: &VersionId, latest: bool, info: &ObjectInfo, own: &str) -> ObjectVersion {
    let checksum = info.checksum.as_ref();
    ObjectVersion {
        checksum_algorithm: checksum.map(|checksum| vec![algorithm_to_wire(checksum.algorithm)]),
        checksum_type: checksum.map(|checksum| kind_to_wire(checksum.kind)),
        e_tag: Some(etag(&info.etag)),
        is_latest: Some(latest),
        key: Some(key),
        last_modified: Some(timestamp(info.modified)),
        owner: Some(owner(own)),
        restore_status: None,
        size: Some(info.size as i64),
        storage_class: Some(ObjectVersionStorageClass::from(class_in_document(
            info.storage_class.as_deref(),
        ))),
        version_id: version_to_wire(Some(version)),
    }
}

/// Where the next page begins, if there is one: after a version of a key, or after a prefix.
fn next_markers(listing: &VersionListing) -> (Option<&str>, Option<&VersionId>) {
    match listing.entries.last().filter(|_| listing.more) {
        None => (None, None),
        Some(VersionEntry::Object { key, version, .. } | VersionEntry::Marker { key, version, .. }) => {
            (Some(key), Some(version))
        }
        Some(VersionEntry::Prefix(prefix)) => (Some(prefix), None),
    }
}

/// Puts the entries of a page where the document has them.
fn sort(listing: &VersionListing, encoding: Encoding, own: &str, output: &mut ListObjectVersionsOutput) {
    let (mut objects, mut markers, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &listing.entries {
        match entry {
            VersionEntry::Object { key, version, latest, info } => {
                objects.push(object(encoding.name(key), version, *latest, info, own));
            }
            VersionEntry::Marker { key, version, latest, modified } => markers.push(DeleteMarkerEntry {
                is_latest: Some(*latest),
                key: Some(encoding.name(key)),
                last_modified: Some(timestamp(*modified)),
                owner: Some(owner(own)),
                version_id: version_to_wire(Some(version)),
            }),
            VersionEntry::Prefix(prefix) => {
                prefixes.push(CommonPrefix { prefix: Some(encoding.name(prefix)) });
            }
        }
    }
    output.versions = Some(objects);
    output.delete_markers = Some(markers);
    output.common_prefixes = Some(prefixes);
}

fn query(input: &ListObjectVersionsInput) -> S3Result<VersionQuery> {
    let after_key = filled(input.key_marker.clone());
    let after_version = filled(input.version_id_marker.clone());
    if after_version.is_some() && after_key.is_none() {
        return Err(invalid_argument("A version-id marker cannot be specified without a key marker."));
    }
    Ok(VersionQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: filled(input.delimiter.clone()),
        after_key,
        after_version: version_of(after_version.as_deref())?,
        limit: page_limit(input.max_keys, "Argument max-keys must be an integer between 0 and 2147483647")?,
    })
}

/// The error of a document that says nothing of versions.
fn illegal() -> S3Error {
    let why = "The Versioning element must be specified";
    S3Error::with_message(S3ErrorCode::IllegalVersioningConfigurationException, why)
}

impl Operations {
    /// ListObjectVersions.
    pub(super) async fn list_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        let encoding = Encoding::of(input.encoding_type.as_ref())?;
        let query = query(&input)?;
        let listing = if query.limit == 0 {
            self.view().bucket(&who, &input.bucket).await.map_err(s3_error)?;
            VersionListing::default()
        } else {
            self.view().versions(&who, &input.bucket, &query).await.map_err(s3_error)?
        };
        let own = self.owner_of(&who, &input.bucket).await?;
        let (next_key, next_version) = next_markers(&listing);
        let mut output = ListObjectVersionsOutput {
            name: Some(input.bucket),
            prefix: Some(encoding.name(&query.prefix)),
            delimiter: query.delimiter.as_deref().map(|delimiter| encoding.name(delimiter)),
            encoding_type: encoding.to_wire(),
            key_marker: Some(encoding.name(query.after_key.as_deref().unwrap_or_default())),
            version_id_marker: Some(version_to_wire(query.after_version.as_ref()).unwrap_or_default()),
            max_keys: Some(query.limit as i32),
            is_truncated: Some(listing.more),
            next_key_marker: next_key.map(|key| encoding.name(key)),
            next_version_id_marker: version_to_wire(next_version),
            ..ListObjectVersionsOutput::default()
        };
        sort(&listing, encoding, &own, &mut output);
        Ok(S3Response::new(output))
    }

    /// PutBucketVersioning.
    pub(super) async fn set_versioning(
        &self,
        request: S3Request<PutBucketVersioningInput>,
    ) -> S3Result<S3Response<PutBucketVersioningOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        let asked = input.versioning_configuration;
        if asked.mfa_delete.is_some_and(|mfa| mfa.as_str() != MFADelete::DISABLED) {
            return Err(not_implemented("deletions with a second factor are not offered"));
        }
        let versioning = match asked.status.as_ref().map(BucketVersioningStatus::as_str) {
            Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
            Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
            Some(_) => return Err(S3ErrorCode::MalformedXML.into()),
            None => return Err(illegal()),
        };
        let change = BucketChange::Versioning(versioning);
        self.view().change_settings(&who, &input.bucket, change).await.map_err(s3_error)?;
        Ok(S3Response::new(PutBucketVersioningOutput::default()))
    }

    /// GetBucketVersioning: a bucket that never had versions says nothing.
    pub(super) async fn versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let who = who_of(&request)?;
        let settings = self.view().settings(&who, &request.input.bucket).await.map_err(s3_error)?;
        let status = settings.versioning.map(|versioning| match versioning {
            Versioning::Enabled => BucketVersioningStatus::ENABLED,
            Versioning::Suspended => BucketVersioningStatus::SUSPENDED,
        });
        let status = status.map(BucketVersioningStatus::from_static);
        Ok(S3Response::new(GetBucketVersioningOutput { mfa_delete: None, status }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Time;

    #[test]
    fn the_next_page_begins_after_the_last_entry() {
        let marker = VersionEntry::Marker {
            key: "k".into(),
            version: VersionId::new("v"),
            latest: true,
            modified: Time::default(),
        };
        let page = |entry, more| VersionListing { entries: vec![entry], more };
        let ended = page(marker.clone(), false);
        assert_eq!(next_markers(&ended), (None, None));
        let more = page(marker, true);
        assert_eq!(next_markers(&more), (Some("k"), Some(&VersionId::new("v"))));
        let prefix = page(VersionEntry::Prefix("p/".into()), true);
        assert_eq!(next_markers(&prefix), (Some("p/"), None));
    }
}
