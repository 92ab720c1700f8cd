//! What is noted of one request on its way: its id, which operation it is, how its body ended.
//!
//! Made by the front for each request and put into the extensions of the request; access writes the
//! operation, the body from the network writes how it ended, and the front reads both when the answer is there.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::objects::Who;

/// How a body from the network ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    /// The client was silent for too long.
    Silent,
    /// The connection broke, or the client sent less than it had announced.
    Broken,
    /// It does not hash to its `Content-MD5`.
    BadMd5,
    /// It is a document, and has another checksum than its header says.
    BadChecksum,
    /// It is a document, and longer than one may be.
    TooLong,
    /// It comes in chunks, of which one is larger than it may be.
    LargeChunk,
}

/// The note of one request.
#[derive(Debug)]
pub(super) struct Note {
    id: String,
    peer: IpAddr,
    secure: bool,
    tls_version: Option<&'static str>,
    operation: OnceLock<&'static str>,
    fault: OnceLock<BodyFault>,
    unsigned_headers: OnceLock<String>,
    body_read: AtomicBool,
    client_micros: AtomicU64,
    held_bytes: AtomicU64,
}

impl Note {
    /// Of a new request of `peer`, over TLS if `secure`; with a random id.
    pub(super) fn new(peer: IpAddr, secure: bool) -> Self {
        let mut bytes = [0; 8];
        // An id of zeroes is no harm: it only names the request in what a client reports.
        let _ = getrandom::fill(&mut bytes);
        Self {
            id: format!("{:016X}", u64::from_be_bytes(bytes)),
            peer,
            secure,
            tls_version: None,
            operation: OnceLock::new(),
            fault: OnceLock::new(),
            unsigned_headers: OnceLock::new(),
            body_read: AtomicBool::new(false),
            client_micros: AtomicU64::new(0),
            held_bytes: AtomicU64::new(0),
        }
    }

    /// Of a request over this version of TLS.
    pub(super) fn over(self, tls_version: Option<&'static str>) -> Self {
        Self { tls_version, ..self }
    }

    /// The id that the client is told.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Where the request comes from.
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Whether it came over TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Over which version of TLS it came.
    pub(super) fn tls_version(&self) -> Option<&'static str> {
        self.tls_version
    }

    /// Who sent it, given the access key whose signature was checked.
    pub(super) fn who(&self, access_key: Option<String>) -> Who {
        Who { access_key, address: self.peer, secure: self.secure }
    }

    /// Says which operation it is. Only those that this server has are told apart.
    pub(super) fn set_operation(&self, name: &str) {
        if let Some(known) = OPERATIONS.iter().find(|known| **known == name) {
            let _ = self.operation.set(known);
        }
    }

    /// Which operation it is.
    pub(super) fn operation(&self) -> &'static str {
        self.operation.get().copied().unwrap_or(OTHER)
    }

    /// Says how the body ended; the first word counts.
    pub(super) fn set_fault(&self, fault: BodyFault) {
        let _ = self.fault.set(fault);
    }

    /// How the body ended, if not well.
    pub(super) fn fault(&self) -> Option<BodyFault> {
        self.fault.get().copied()
    }

    /// Says which headers should have been signed; see [`super::signed`].
    pub(super) fn set_unsigned_headers(&self, names: String) {
        let _ = self.unsigned_headers.set(names);
    }

    /// Which headers should have been signed, if that is why the request was refused.
    pub(super) fn unsigned_headers(&self) -> Option<&str> {
        self.unsigned_headers.get().map(String::as_str)
    }

    /// The body was read to its end, or there is none.
    pub(super) fn body_was_read(&self) {
        self.body_read.store(true, Ordering::Release);
    }

    /// Whether the body was read to its end.
    pub(super) fn is_body_read(&self) -> bool {
        self.body_read.load(Ordering::Acquire)
    }

    /// Bytes of the body came; gives how many came since some were passed on. So many are held, at most: where a body
    /// comes in chunks, none of a chunk is passed on before it is whole.
    pub(super) fn came(&self, bytes: u64) -> u64 {
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    /// Bytes of the body were passed on.
    pub(super) fn passed_on(&self) {
        self.held_bytes.store(0, Ordering::Relaxed);
    }

    /// The request waited for its client.
    pub(super) fn waited_for_client(&self, time: Duration) {
        self.client_micros.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }

    /// How long the request waited for its client.
    pub(super) fn client_time(&self) -> Duration {
        Duration::from_micros(self.client_micros.load(Ordering::Relaxed))
    }
}

/// The operation of a request that is none of [`OPERATIONS`], or was refused before that was known.
pub(super) const OTHER: &str = "other";

/// The operations that this server carries out.
pub(super) const OPERATIONS: &[&str] = &[
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateBucket",
    "CreateMultipartUpload",
    "DeleteBucket",
    "DeleteBucketCors",
    "DeleteBucketEncryption",
    "DeleteBucketLifecycle",
    "DeleteBucketOwnershipControls",
    "DeleteBucketPolicy",
    "DeleteBucketTagging",
    "DeleteObject",
    "DeleteObjectTagging",
    "DeleteObjects",
    "DeletePublicAccessBlock",
    "GetBucketAccelerateConfiguration",
    "GetBucketAcl",
    "GetBucketCors",
    "GetBucketEncryption",
    "GetBucketLifecycleConfiguration",
    "GetBucketLocation",
    "GetBucketLogging",
    "GetBucketNotificationConfiguration",
    "GetBucketOwnershipControls",
    "GetBucketPolicy",
    "GetBucketPolicyStatus",
    "GetBucketReplication",
    "GetBucketRequestPayment",
    "GetBucketTagging",
    "GetBucketVersioning",
    "GetBucketWebsite",
    "GetObject",
    "GetObjectAcl",
    "GetObjectAttributes",
    "GetObjectLegalHold",
    "GetObjectLockConfiguration",
    "GetObjectRetention",
    "GetObjectTagging",
    "GetPublicAccessBlock",
    "HeadBucket",
    "HeadObject",
    "ListBuckets",
    "ListMultipartUploads",
    "ListObjectVersions",
    "ListObjects",
    "ListObjectsV2",
    "ListParts",
    "PostObject",
    "Preflight",
    "PutBucketAccelerateConfiguration",
    "PutBucketAcl",
    "PutBucketCors",
    "PutBucketEncryption",
    "PutBucketLifecycleConfiguration",
    "PutBucketLogging",
    "PutBucketNotificationConfiguration",
    "PutBucketOwnershipControls",
    "PutBucketPolicy",
    "PutBucketRequestPayment",
    "PutBucketTagging",
    "PutBucketVersioning",
    "PutObject",
    "PutObjectAcl",
    "PutObjectLegalHold",
    "PutObjectLockConfiguration",
    "PutObjectRetention",
    "PutObjectTagging",
    "PutPublicAccessBlock",
    "UploadPart",
    "UploadPartCopy",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> Note {
        Note::new(std::net::Ipv4Addr::LOCALHOST.into(), false)
    }

    #[test]
    fn operations_that_are_not_known_share_one_name() {
        let note = note();
        assert_eq!(note.operation(), OTHER);
        note.set_operation("PutBucketReplication");
        assert_eq!(note.operation(), OTHER);
        note.set_operation("PutObject");
        assert_eq!(note.operation(), "PutObject");
    }

    #[test]
    fn ids_differ() {
        assert_ne!(note().id(), note().id());
        assert_eq!(note().id().len(), 16);
    }
}
