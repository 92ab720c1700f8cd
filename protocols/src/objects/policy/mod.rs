//! Policies in the language of AWS (IAM user guide, "IAM JSON policy reference").

use std::fmt;

/// A policy.
#[derive(Clone, Debug)]
pub struct Policy {}

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError(pub String);

impl fmt::Display for PolicyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for PolicyError {}

/// What a policy says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A statement denies it.
    Deny,
    /// A statement allows it, and none denies it.
    Allow,
    /// No statement is about it.
    Silent,
}

/// What a request is, as far as policies see it.
pub struct Request<'a> {
    /// The access key of the caller; none for anybody.
    pub access_key: Option<&'a str>,
    /// Such as `s3:GetObject`.
    pub action: &'a str,
    /// The name of what it is about: `arn:aws:s3:::bucket`, `arn:aws:s3:::bucket/key`, or `*` for no bucket.
    pub resource: &'a str,
    /// The values of a condition key, whose name comes in lower case but for the part after a slash; none when the
    /// request says nothing of it.
    pub value: &'a dyn Fn(&str) -> Option<Vec<String>>,
}

impl Policy {
    /// Reads the policy of an access key: no statement names a principal.
    pub fn of_key(_text: &str) -> Result<Self, PolicyError> {
        Ok(Self {})
    }

    /// Reads the policy of a bucket: every statement names principals, and is about the bucket or what is in it.
    pub fn of_bucket(_text: &str, _bucket: &str) -> Result<Self, PolicyError> {
        Ok(Self {})
    }

    /// What it says of a request.
    pub fn verdict(&self, _request: &Request<'_>) -> Verdict {
        Verdict::Silent
    }

    /// Whether it lets anybody in.
    pub fn is_public(&self) -> bool {
        false
    }

    /// Whether a condition asks for the tags of the object that is there.
    pub fn asks_for_tags(&self) -> bool {
        false
    }
}
