//! Policies in the language of AWS (IAM user guide, "IAM JSON policy reference"), as far as S3 uses it.
//!
//! Owns the reading of a policy and what it says of a request. A policy that was read is right in every part, so that
//! asking it cannot fail. What is not understood is refused when it is read, never passed over: a condition that is
//! ignored would let in whom it was to keep out.
//!
//! | File         | Holds                                                        |
//! |--------------|--------------------------------------------------------------|
//! | `json`       | JSON in which nothing stands twice                            |
//! | `document`   | elements of policies and statements                          |
//! | `statement`  | whether a statement is about a request                       |
//! | `principal`  | who is meant                                                 |
//! | `pattern`    | wildcards and variables                                      |
//! | `conditions` | operators                                                    |
//! | `keys`       | which condition keys there are                               |
//! | `values`     | numbers, moments and ranges of addresses                     |
//!
//! Work and memory are bounded by the length of a policy ([`POLICY_BYTES_MAX`]) times that of the values of a
//! request, whatever they say.
//!
//! Not here: which policies are asked, and what follows when all are silent; what values the condition keys of a
//! request have.

mod conditions;
mod document;
mod json;
mod keys;
mod pattern;
mod principal;
mod statement;
mod values;

#[cfg(test)]
mod tests;

use std::fmt;

pub use self::keys::{REQUEST_KEYS, VIEW_KEYS, is_key, is_known};

use self::document::Owner;
use self::statement::{Effect, Statement};

/// The longest policy in bytes, as for the buckets of S3.
pub const POLICY_BYTES_MAX: usize = 20 << 10;
/// So many characters of what a client sent are repeated in a message.
const SHOWN_CHARACTERS_MAX: usize = 128;
/// The condition key that is the access key of the caller.
const USERNAME_KEY: &str = "aws:username";

/// A policy.
#[derive(Clone, Debug)]
pub struct Policy {
    statements: Vec<Statement>,
}

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
    /// The access key of the caller; none for anybody. It is the value of `aws:username` as well.
    pub access_key: Option<&'a str>,
    /// Such as `s3:GetObject`.
    pub action: &'a str,
    /// The name of what it is about: `arn:aws:s3:::bucket`, `arn:aws:s3:::bucket/key`, or `*` for no bucket.
    pub resource: &'a str,
    /// The values of a condition key, whose name comes in lower case but for the part after a slash; none when the
    /// request says nothing of it.
    pub value: &'a dyn Fn(&str) -> Option<Vec<String>>,
}

impl Request<'_> {
    fn values(&self, key: &str) -> Option<Vec<String>> {
        match key {
            USERNAME_KEY => self.access_key.map(|access_key| vec![access_key.to_owned()]),
            other => (self.value)(other),
        }
    }

    /// The value of a key that has one; variables stand for no other.
    fn single(&self, key: &str) -> Option<String> {
        self.values(key).filter(|values| values.len() == 1).and_then(|mut values| values.pop())
    }
}

impl Policy {
    /// Reads the policy of an access key: no statement names a principal.
    pub fn of_key(text: &str) -> Result<Self, PolicyError> {
        document::read(text, Owner::Key).map(|statements| Self { statements })
    }

    /// Reads the policy of a bucket: every statement names principals, and is about the bucket or what is in it. A
    /// resource with wildcards may be about other buckets besides, to which the policy does not belong.
    pub fn of_bucket(text: &str, bucket: &str) -> Result<Self, PolicyError> {
        document::read(text, Owner::Bucket(bucket)).map(|statements| Self { statements })
    }

    /// What it says of a request.
    pub fn verdict(&self, request: &Request<'_>) -> Verdict {
        let mut verdict = Verdict::Silent;
        for statement in &self.statements {
            // Whether to allow what is allowed already need not be asked.
            if (statement.effect == Effect::Allow && verdict == Verdict::Allow) || !statement.covers(request)
            {
                continue;
            }
            match statement.effect {
                Effect::Deny => return Verdict::Deny,
                Effect::Allow => verdict = Verdict::Allow,
            }
        }
        verdict
    }

    /// Whether it lets anybody in: it is of a bucket, and a statement allows something to `*` without a condition
    /// by which that is fixed access keys, or addresses that are not most of the world (Amazon S3 user guide, "The
    /// meaning of 'public'"). In doubt it does.
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(Statement::is_public)
    }

    /// Whether a condition or a variable asks for the tags of the object that is there.
    pub fn asks_for_tags(&self) -> bool {
        self.statements.iter().any(Statement::asks_for_tags)
    }
}

/// What a client sent, as a message repeats it.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{:?} …", &text[..end]),
        None => format!("{text:?}"),
    }
}
