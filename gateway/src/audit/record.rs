//! One record of the audit log, its line and its digest.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the form; it rises when a field goes or changes its meaning.
pub(super) const VERSION: u32 = 1;
/// No record has a higher number: a million a second would take 146,000 years to come so far.
pub(super) const SEQUENCE_MAX: u64 = 1 << 62;
/// The longest line, in bytes, without its end.
pub(super) const LINE_BYTES_MAX: usize = 64 << 10;
/// The longest name in a record, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// The longest account of what was found, in bytes.
const OUTCOME_BYTES_MAX: usize = 2 << 10;
/// The most names that a path has.
const SUBJECTS_MAX: usize = 8;
/// What stands for the digest of the line before the first.
pub(super) const NO_DIGEST: [u8; 32] = [0; 32];
/// How many records are kept in memory, for those who look at the newest.
pub(super) const RECENT_MAX: usize = 512;

/// What a record tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The log was opened by a gateway that starts.
    Opened,
    /// A call was let through and is about to be carried out.
    Call,
    /// A call was answered: `of` is the number of its record.
    Answered,
    /// A call was refused.
    Denied,
    /// Lines are missing before this one, or do not fit each other.
    Broken,
    /// The oldest file was removed, to make room.
    Forgotten,
}

impl Event {
    /// As it is written and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Call => "call",
            Self::Answered => "answered",
            Self::Denied => "denied",
            Self::Broken => "broken",
            Self::Forgotten => "forgotten",
        }
    }
}

/// Who did what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Entry {
    /// Who called: `token:NAME`, `session:NAME`, `oidc:PROVIDER:SUBJECT`, `socket` or `signal`; empty where nobody knows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub who: String,
    /// The role that they have.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// The address that they called from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// The call: method and path, with the names of its parameters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub call: String,
    /// What those parameters were.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject: Vec<String>,
    /// What the call said besides, without secrets; its length and digest where it said much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<serde_json::Value>,
    /// Why it was refused, or what was found.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub outcome: String,
    /// The number of the record that this one goes on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// The status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl Entry {
    /// The same within bounds: what a caller made long is cut, and its length and digest stand for the rest.
    pub(super) fn bounded(mut self) -> Self {
        for (text, most) in [
            (&mut self.who, NAME_BYTES_MAX),
            (&mut self.role, NAME_BYTES_MAX),
            (&mut self.from, NAME_BYTES_MAX),
            (&mut self.call, NAME_BYTES_MAX),
            (&mut self.outcome, OUTCOME_BYTES_MAX),
        ] {
            *text = short(text, most);
        }
        self.subject.truncate(SUBJECTS_MAX);
        for subject in &mut self.subject {
            *subject = short(subject, NAME_BYTES_MAX);
        }
        self
    }
}

/// A text, or as much of its beginning as fits, with the length and digest of the whole.
pub(crate) fn short(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let mut end = bytes_max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let (bytes, digest) = (text.len(), blake3::hash(text.as_bytes()).to_hex());
    format!("{}... ({bytes} bytes, blake3 {digest})", &text[..end])
}

/// What a record says of a file that made room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Forgotten {
    /// Its first record.
    pub(super) first: u64,
    /// Its last.
    pub(super) last: u64,
}

impl Forgotten {
    /// As a record has it.
    pub(super) fn told(self) -> serde_json::Value {
        serde_json::json!(self)
    }

    /// What a record says, if it is one of these.
    pub(super) fn of(record: &Record) -> Option<Self> {
        let parameters = record.entry.parameters.clone().filter(|_| record.event == Event::Forgotten)?;
        serde_json::from_value(parameters).ok()
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// The version of this form.
    pub version: u32,
    /// Its number; each is one more than the one before.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// What it tells of.
    pub event: Event,
    /// The BLAKE3 digest of the line before, in hex.
    pub previous: String,
    /// Who and what.
    pub entry: Entry,
}

/// A record as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    /// The record.
    #[serde(flatten)]
    pub record: Record,
    /// The digest of its line, in hex.
    pub digest: String,
}

/// A page of the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page {
    /// The newest first.
    pub records: Vec<Seen>,
    /// Where the next page begins: its records lie before this number. Absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// A line that was read.
pub(super) struct Line {
    pub(super) record: Record,
    pub(super) digest: blake3::Hash,
}

impl Line {
    /// Reads a line, without its end.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let record: Record =
            serde_json::from_slice(bytes).map_err(|error| format!("is no record: {error}"))?;
        if record.version != VERSION {
            return Err(format!("has version {}, which this program does not read", record.version));
        }
        Ok(Self { record, digest: blake3::hash(bytes) })
    }

    /// Whether it goes on from a line with that digest.
    pub(super) fn follows(&self, digest: &blake3::Hash) -> bool {
        blake3::Hash::from_hex(&self.record.previous).is_ok_and(|previous| previous == *digest)
    }

    pub(super) fn seen(self) -> Seen {
        Seen { digest: self.digest.to_hex().to_string(), record: self.record }
    }
}
