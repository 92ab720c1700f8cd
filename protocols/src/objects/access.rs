//! Who asks for what: the questions that permissions answer.

use std::net::IpAddr;

use super::VersionId;

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// The access key whose signature was checked; none for a caller who shows none.
    pub access_key: Option<String>,
    /// Where the call comes from.
    pub address: IpAddr,
    /// Whether it came over TLS.
    pub secure: bool,
}

impl Who {
    /// How the caller is called where S3 wants an owner.
    pub fn name(&self) -> &str {
        self.access_key.as_deref().unwrap_or("anonymous")
    }
}

/// What a caller is about to do (Service Authorization Reference, "Actions, resources, and condition keys for
/// Amazon S3").
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The action, such as `s3:GetObject`.
    pub action: &'a str,
    /// The bucket; none for what is about all of them.
    pub bucket: Option<&'a str>,
    /// The key of an object.
    pub key: Option<&'a str>,
    /// The version of it that was named.
    pub version: Option<&'a VersionId>,
    /// What the request says that a policy may ask for: `s3:prefix`, `s3:x-amz-acl`, `s3:RequestObjectTag/…` and
    /// so on, by name with their values.
    pub conditions: &'a [(String, Vec<String>)],
}
