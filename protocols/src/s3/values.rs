//! Small values between the wire's types and ours: times, ETags, conditions, who calls, versions.
//!
//! Nothing here asks a view. Sizes are bytes; times of conditions are whole seconds, as HTTP writes them.

use std::time::{Duration, SystemTime};

use s3s::dto::{ETag, ETagCondition, Owner, Timestamp, TimestampFormat};
use s3s::{S3Request, S3Result};

use super::errors::invalid_argument;
use super::operations::note_of;
use crate::objects::{Conditions, EtagCondition, ObjectName, VersionId, Who};
use crate::view::Time;

/// The longest name of a version that a view is asked for, in bytes.
const VERSION_BYTES_MAX: usize = 1024;

/// Who calls, with or without a key. What they may do was asked before; see [`super::access`].
pub(super) fn who_of<T>(request: &S3Request<T>) -> S3Result<Who> {
    let access_key = request.credentials.as_ref().map(|credentials| credentials.access_key.clone());
    match note_of(request) {
        Some(note) => Ok(note.who(access_key)),
        None => Err(s3s::s3_error!(InternalError)),
    }
}

/// The object of a request.
pub(super) fn object_name(bucket: &str, key: &str) -> ObjectName {
    ObjectName { bucket: bucket.to_owned(), key: key.to_owned() }
}

/// Who owns something, as far as S3 must be told.
pub(super) fn owner(id: &str) -> Owner {
    Owner { display_name: Some(id.to_owned()), id: Some(id.to_owned()) }
}

/// A time on the wire.
pub(super) fn timestamp(time: Time) -> Timestamp {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole = if time.seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    let nanos = Duration::from_nanos(u64::from(time.nanos));
    whole.and_then(|whole| whole.checked_add(nanos)).unwrap_or(SystemTime::UNIX_EPOCH).into()
}

/// A time as HTTP writes it.
pub(super) fn http_date(time: Time) -> Option<String> {
    let mut text = Vec::new();
    timestamp(time).format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

/// A time from the wire, to the second.
pub(super) fn whole_seconds(timestamp: &Timestamp) -> S3Result<Time> {
    let mut text = Vec::new();
    let written = timestamp.format(TimestampFormat::EpochSeconds, &mut text);
    let seconds = written.ok().and_then(|()| std::str::from_utf8(&text).ok()?.parse::<f64>().ok());
    match seconds {
        Some(seconds) => Ok(Time { seconds: seconds.floor() as i64, nanos: 0 }),
        None => Err(invalid_argument("a time of the request cannot be read")),
    }
}

/// An ETag on the wire.
pub(super) fn etag(value: &str) -> ETag {
    ETag::Strong(value.to_owned())
}

fn etag_condition(condition: &ETagCondition) -> EtagCondition {
    match condition {
        ETagCondition::Any => EtagCondition::Any,
        ETagCondition::ETag(etag) => match listed(etag.value()) {
            Some(etags) => EtagCondition::OneOf(etags),
            None => EtagCondition::Is(etag.value().to_owned()),
        },
    }
}

/// The ETags of a list (RFC 9110 section 13.1.1): `s3s` takes its first and its last quote for those of one ETag, which
/// holds none. None when it is no list.
fn listed(value: &str) -> Option<Vec<String>> {
    let pieces: Vec<&str> = value.split('"').collect();
    // Every second one stands between two ETags.
    let is_between = |piece: &str| {
        let piece = piece.strip_suffix("W/").unwrap_or(piece);
        piece.contains(',') && piece.chars().all(|letter| matches!(letter, ',' | ' ' | '\t'))
    };
    let is_list = pieces.len() % 2 == 1 && pieces.iter().skip(1).step_by(2).all(|piece| is_between(piece));
    (is_list && pieces.len() > 1).then(|| pieces.into_iter().step_by(2).map(str::to_owned).collect())
}

/// What a read, or the source of a copy, must fulfil.
pub(super) fn read_conditions(
    matches: Option<&ETagCondition>,
    differs: Option<&ETagCondition>,
    modified_since: Option<&Timestamp>,
    unmodified_since: Option<&Timestamp>,
) -> S3Result<Conditions> {
    Ok(Conditions {
        matches: matches.map(etag_condition),
        differs: differs.map(etag_condition),
        modified_since: modified_since.map(whole_seconds).transpose()?,
        unmodified_since: unmodified_since.map(whole_seconds).transpose()?,
        ..Conditions::default()
    })
}

/// What a change must fulfil.
pub(super) fn change_conditions(
    matches: Option<&ETagCondition>,
    differs: Option<&ETagCondition>,
) -> Conditions {
    Conditions {
        matches: matches.map(etag_condition),
        differs: differs.map(etag_condition),
        ..Conditions::default()
    }
}

/// What a deletion must find.
pub(super) fn delete_conditions(
    matches: Option<&ETagCondition>,
    size: Option<i64>,
    written: Option<&Timestamp>,
) -> S3Result<Conditions> {
    let size = size.map(u64::try_from).transpose();
    Ok(Conditions {
        matches: matches.map(etag_condition),
        size: size.map_err(|_| invalid_argument("the size of an object is not negative"))?,
        written: written.map(whole_seconds).transpose()?,
        ..Conditions::default()
    })
}

/// The text of a header of a request that was said at most once.
pub(super) fn header<'a>(headers: &'a http::HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The version that a request names.
pub(super) fn version_of(named: Option<&str>) -> S3Result<Option<VersionId>> {
    match named {
        None => Ok(None),
        Some("") => Err(invalid_argument("Version id cannot be the empty string")),
        Some(name) if name.len() > VERSION_BYTES_MAX => Err(invalid_argument("Invalid version id specified")),
        Some(name) => Ok(Some(VersionId::new(name))),
    }
}

/// A version on the wire.
pub(super) fn version_to_wire(version: Option<&VersionId>) -> Option<String> {
    version.map(|version| version.as_str().to_owned())
}

/// What time it is.
pub(super) fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() }
}

/// Keys have at least one byte.
pub(super) fn check_key(key: &str) -> S3Result<()> {
    if key.is_empty() {
        return Err(s3s::s3_error!(UserKeyMustBeSpecified));
    }
    if key.len() > crate::objects::KEY_BYTES_MAX {
        return Err(s3s::s3_error!(KeyTooLongError, "the key is longer than 1,024 bytes"));
    }
    if key.contains('\0') {
        return Err(invalid_argument("the key holds a zero byte"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_wire() {
        for seconds in [-5, 0, 784_111_777, 4_102_444_800] {
            let time = Time { seconds, nanos: 0 };
            assert_eq!(whole_seconds(&timestamp(time)).unwrap(), time);
        }
        let time = Time { seconds: 784_111_777, nanos: 999_999_999 };
        assert_eq!(http_date(time).unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn a_change_takes_etags_of_both_kinds() {
        for (list, etags) in [("\"a\", \"b\"", ["a", "b"]), ("W/\"a\",W/\"b-2\"", ["a", "b-2"])] {
            let list = ETagCondition::parse_http_header(list.as_bytes()).unwrap();
            let one_of = Some(EtagCondition::OneOf(etags.map(str::to_owned).to_vec()));
            assert_eq!(change_conditions(Some(&list), None).matches, one_of);
        }
        assert_eq!(listed("a\" \"b"), None);
        let condition = ETagCondition::ETag(etag("e"));
        let is = Some(EtagCondition::Is("e".into()));
        assert_eq!(change_conditions(None, Some(&condition)).differs, is);
        let both = change_conditions(Some(&condition), Some(&ETagCondition::Any));
        assert_eq!((both.matches, both.differs), (is, Some(EtagCondition::Any)));
    }

    #[test]
    fn a_version_has_a_name() {
        assert_eq!(version_of(None).unwrap(), None);
        assert_eq!(version_of(Some("null")).unwrap(), Some(VersionId::null()));
        for wrong in [String::new(), "v".repeat(1025)] {
            assert!(version_of(Some(&wrong)).is_err());
        }
    }

    #[test]
    fn keys_have_bounds() {
        assert!(check_key(&"k".repeat(1024)).is_ok());
        for key in [String::new(), "k".repeat(1025), "a\0b".to_owned()] {
            assert!(check_key(&key).is_err());
        }
    }
}
