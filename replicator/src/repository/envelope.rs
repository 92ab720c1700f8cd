//! Records: repository objects whose payload is JSON, and how they get to the store and back.
//!
//! Every record has a `version` beside its own fields. A reader ignores fields that it does not know, so
//! a newer program may add some; what an older one must not ignore raises the version, and is refused
//! here. Every kind of record has a greatest length, checked before a byte of it is parsed and before
//! one is written.
//!
//! Errors name the object and the place in it. They never quote it.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidegate_chunker::{ErrorKind as SealErrorKind, ObjectKind};
use zeroize::Zeroizing;

use super::error::{RepositoryError, Result};
use crate::store::{Body, ErrorKind, ObjectName, PutMode, Store};

/// Room that the envelope around a payload takes at most, in bytes.
const ENVELOPE_BYTES: u64 = 256;

/// A kind of record.
pub(crate) trait Record: Serialize + DeserializeOwned {
    /// What its objects are.
    const KIND: ObjectKind;
    /// The version that is written, and the newest that is read.
    const VERSION: u32 = 1;
    /// Greatest length of its JSON in bytes.
    const BYTES_MAX: u64;
}

#[derive(Serialize)]
struct Versioned<'a, R> {
    version: u32,
    #[serde(flatten)]
    record: &'a R,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

/// The payload of a record. Wiped when dropped, since some records are secrets.
pub(crate) fn to_payload<R: Record>(name: &ObjectName, record: &R) -> Result<Zeroizing<Vec<u8>>> {
    let versioned = Versioned { version: R::VERSION, record };
    let mut payload = Zeroizing::new(Vec::with_capacity(4096));
    serde_json::to_writer(&mut *payload, &versioned)
        .map_err(|error| RepositoryError::local(format!("encode {name}"), error))?;
    if payload.len() as u64 > R::BYTES_MAX {
        let (found, most) = (payload.len(), R::BYTES_MAX);
        return Err(RepositoryError::invalid(format!(
            "{name} would have {found} bytes; at most {most} are allowed"
        )));
    }
    Ok(payload)
}

/// Reads a payload that [`to_payload`] made, or that an older or newer program made.
pub(crate) fn from_payload<R: Record>(name: &ObjectName, payload: &[u8]) -> Result<R> {
    let VersionOnly { version } = parse(name, payload)?;
    match version {
        0 => Err(RepositoryError::damaged(name, "version 0 does not exist")),
        version if version > R::VERSION => Err(RepositoryError::NewerFormat {
            object: name.to_string(),
            why: format!("its version is {version}, known is {}", R::VERSION),
        }),
        _ => parse(name, payload),
    }
}

/// Fetches an object that has at most `payload_bytes_max` bytes of payload.
pub(crate) async fn fetch(store: &dyn Store, name: &ObjectName, payload_bytes_max: u64) -> Result<Bytes> {
    let limit = payload_bytes_max + ENVELOPE_BYTES;
    match store.get_tail(name, limit).await {
        Ok((_, length)) if length > limit => Err(RepositoryError::damaged(
            name,
            format!("it has {length} bytes; no more than {limit} are allowed"),
        )),
        Ok((bytes, _)) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::Missing => {
            Err(RepositoryError::Missing { object: name.to_string() })
        }
        Err(error) if error.kind() == ErrorKind::Damaged => {
            Err(RepositoryError::damaged(name, "the store says that what it has is not what was stored"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Stores an object.
pub(crate) async fn store_object(
    store: &dyn Store,
    name: &ObjectName,
    bytes: impl Into<Bytes>,
    mode: PutMode,
) -> Result<()> {
    Ok(store.put(name, Body::Bytes(bytes.into()), mode).await?)
}

/// All objects whose names begin with `prefix`, in order, page by page.
pub(crate) async fn list_all(store: &dyn Store, prefix: &str) -> Result<Vec<ObjectName>> {
    let mut names: Vec<ObjectName> = Vec::new();
    loop {
        let page = store.list(prefix, names.last(), LIST_PAGE).await?;
        names.extend(page.objects.into_iter().map(|object| object.name));
        if !page.more {
            return Ok(names);
        }
    }
}

/// How many names are asked for at once.
pub(crate) const LIST_PAGE: usize = 1000;

/// What a seal error says about the object `name` that was read.
pub(crate) fn unreadable(name: &ObjectName, error: tidegate_chunker::Error) -> RepositoryError {
    match error.kind() {
        SealErrorKind::Unsupported => {
            RepositoryError::NewerFormat { object: name.to_string(), why: error.to_string() }
        }
        SealErrorKind::UnknownEpoch => RepositoryError::damaged(
            name,
            format!("{error}: either it is, or the object of that epoch below domains/ is gone or damaged"),
        ),
        SealErrorKind::Damaged
        | SealErrorKind::NotAuthentic
        | SealErrorKind::Foreign
        | SealErrorKind::LimitExceeded
        | SealErrorKind::Misuse
        | SealErrorKind::Output => RepositoryError::damaged(name, error),
    }
}

/// What a seal error says about the object `name` that was to be written.
pub(crate) fn unsealable(name: &ObjectName, error: tidegate_chunker::Error) -> RepositoryError {
    RepositoryError::local(format!("seal {name}"), error)
}

fn parse<T: DeserializeOwned>(name: &ObjectName, payload: &[u8]) -> Result<T> {
    serde_json::from_slice(payload).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => "a field is missing or has a wrong value",
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is no JSON",
        };
        RepositoryError::damaged(name, format!("{what}, at byte {} of its payload", error.column()))
    })
}
