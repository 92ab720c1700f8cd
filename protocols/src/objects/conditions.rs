//! Conditional requests (RFC 9110 section 13; Amazon S3 API reference, "Conditional requests").

use super::{ObjectError, ObjectInfo};
use crate::view::Time;

/// Which ETags a condition names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtagCondition {
    /// Any: the object is there.
    Any,
    /// This one, without quotes.
    Is(String),
    /// One of these.
    OneOf(Vec<String>),
}

impl EtagCondition {
    fn holds(&self, object: Option<&ObjectInfo>) -> bool {
        match (self, object) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::Is(etag), Some(object)) => *etag == object.etag,
            (Self::OneOf(etags), Some(object)) => etags.contains(&object.etag),
        }
    }
}

/// What must be so for a request to be carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-Match`.
    pub matches: Option<EtagCondition>,
    /// `If-None-Match`.
    pub differs: Option<EtagCondition>,
    /// `If-Modified-Since`, to the second.
    pub modified_since: Option<Time>,
    /// `If-Unmodified-Since`, to the second.
    pub unmodified_since: Option<Time>,
    /// Of a deletion: how long the object is in bytes.
    pub size: Option<u64>,
    /// Of a deletion: when the object was written, to the second.
    pub written: Option<Time>,
}

/// What a deletion finds.
#[derive(Clone, Copy, Debug)]
pub enum Doomed<'a> {
    /// An object, or a version that is one.
    Object(&'a ObjectInfo),
    /// A delete marker, made at this time. It has neither an ETag nor a length.
    Marker(Time),
    /// Nothing.
    Nothing,
}

impl Conditions {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// For a change, given what is there now. A condition on what is absent is [`ObjectError::NoSuchKey`].
    pub fn check_change(&self, object: Option<&ObjectInfo>) -> Result<(), ObjectError> {
        if self.matches.is_some() && object.is_none() {
            return Err(ObjectError::NoSuchKey);
        }
        let matches = self.matches.as_ref().is_none_or(|condition| condition.holds(object));
        let differs = self.differs.as_ref().is_none_or(|condition| !condition.holds(object));
        if matches && differs { Ok(()) } else { Err(ObjectError::PreconditionFailed) }
    }

    /// For a deletion. A condition on what is absent is [`ObjectError::NoSuchKey`], which is no error to who wanted it
    /// gone.
    pub fn check_delete(&self, doomed: Doomed<'_>) -> Result<(), ObjectError> {
        let (object, written) = match doomed {
            Doomed::Nothing if self.is_empty() => return Ok(()),
            Doomed::Nothing => return Err(ObjectError::NoSuchKey),
            Doomed::Object(object) => (Some(object), object.modified),
            Doomed::Marker(made) => (None, made),
        };
        let matches = match &self.matches {
            None | Some(EtagCondition::Any) => true,
            Some(condition @ (EtagCondition::Is(_) | EtagCondition::OneOf(_))) => condition.holds(object),
        };
        let is_as_long = self.size.is_none_or(|size| object.is_some_and(|object| object.size == size));
        let is_as_old = self.written.is_none_or(|time| time.seconds == written.seconds);
        if matches && is_as_long && is_as_old { Ok(()) } else { Err(ObjectError::PreconditionFailed) }
    }

    /// For a read or the source of a copy. `If-Match` that holds makes `If-Unmodified-Since` moot, and
    /// `If-None-Match` makes `If-Modified-Since` moot (RFC 9110 section 13.2.2).
    pub fn check_read(&self, object: &ObjectInfo) -> Result<(), ObjectError> {
        let modified = object.modified.seconds;
        match (&self.matches, self.unmodified_since) {
            (Some(condition), _) if !condition.holds(Some(object)) => {
                return Err(ObjectError::PreconditionFailed);
            }
            (None, Some(since)) if modified > since.seconds => return Err(ObjectError::PreconditionFailed),
            _ => {}
        }
        match (&self.differs, self.modified_since) {
            (Some(condition), _) if condition.holds(Some(object)) => Err(ObjectError::NotModified),
            (None, Some(since)) if modified <= since.seconds => Err(ObjectError::NotModified),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> ObjectInfo {
        ObjectInfo { etag: "e".into(), modified: Time { seconds: 100, nanos: 5 }, ..ObjectInfo::default() }
    }

    fn is(etag: &str) -> EtagCondition {
        EtagCondition::Is(etag.into())
    }

    #[test]
    fn a_change_asks_for_presence_absence_or_an_etag() {
        let check = |matches, differs, object: Option<&ObjectInfo>| {
            Conditions { matches, differs, ..Conditions::default() }.check_change(object)
        };
        let (there, any) = (object(), Some(EtagCondition::Any));
        assert_eq!(check(None, None, None), Ok(()));
        assert_eq!(check(any.clone(), None, None), Err(ObjectError::NoSuchKey));
        assert_eq!(check(any.clone(), None, Some(&there)), Ok(()));
        assert_eq!(check(Some(is("e")), None, Some(&there)), Ok(()));
        assert_eq!(check(Some(is("f")), None, Some(&there)), Err(ObjectError::PreconditionFailed));
        let of = |etags: [&str; 2]| Some(EtagCondition::OneOf(etags.map(str::to_owned).to_vec()));
        assert_eq!(check(of(["f", "e"]), None, Some(&there)), Ok(()));
        assert_eq!(check(of(["f", "g"]), None, Some(&there)), Err(ObjectError::PreconditionFailed));
        assert_eq!(check(None, of(["f", "e"]), Some(&there)), Err(ObjectError::PreconditionFailed));
        assert_eq!(check(None, any.clone(), None), Ok(()));
        assert_eq!(check(None, any, Some(&there)), Err(ObjectError::PreconditionFailed));
        assert_eq!(check(None, Some(is("f")), Some(&there)), Ok(()));
    }

    #[test]
    fn a_deletion_asks_for_an_etag_a_length_or_a_time() {
        let any = || Conditions { matches: Some(EtagCondition::Any), ..Conditions::default() };
        let etag = |etag| Conditions { matches: Some(is(etag)), ..Conditions::default() };
        let size = |size| Conditions { size: Some(size), ..Conditions::default() };
        let written =
            |seconds| Conditions { written: Some(Time { seconds, nanos: 0 }), ..Conditions::default() };
        let there = ObjectInfo { size: 7, ..object() };
        let marker = Doomed::Marker(Time { seconds: 50, nanos: 9 });
        let failed = Err(ObjectError::PreconditionFailed);
        for (conditions, of_object, of_marker) in [
            (Conditions::default(), Ok(()), Ok(())),
            (any(), Ok(()), Ok(())),
            (etag("e"), Ok(()), failed.clone()),
            (etag("f"), failed.clone(), failed.clone()),
            (size(7), Ok(()), failed.clone()),
            (size(0), failed.clone(), failed.clone()),
            (written(100), Ok(()), failed.clone()),
            (written(50), failed.clone(), Ok(())),
            (Conditions { size: Some(8), ..etag("e") }, failed.clone(), failed.clone()),
        ] {
            assert_eq!(conditions.check_delete(Doomed::Object(&there)), of_object, "{conditions:?}");
            assert_eq!(conditions.check_delete(marker), of_marker, "{conditions:?}");
            let absent = if conditions.is_empty() { Ok(()) } else { Err(ObjectError::NoSuchKey) };
            assert_eq!(conditions.check_delete(Doomed::Nothing), absent, "{conditions:?}");
        }
    }

    #[test]
    fn a_read_follows_the_precedence_of_the_rfc() {
        let at = |seconds| Some(Time { seconds, nanos: 0 });
        let check = |matches, differs, modified_since, unmodified_since| {
            let conditions =
                Conditions { matches, differs, modified_since, unmodified_since, ..Conditions::default() };
            conditions.check_read(&object())
        };
        assert_eq!(check(None, None, at(100), None), Err(ObjectError::NotModified));
        assert_eq!(check(None, None, at(99), None), Ok(()));
        assert_eq!(check(None, None, None, at(99)), Err(ObjectError::PreconditionFailed));
        assert_eq!(check(None, None, None, at(100)), Ok(()));
        assert_eq!(check(Some(is("e")), None, None, at(99)), Ok(()));
        assert_eq!(check(Some(is("f")), None, None, at(100)), Err(ObjectError::PreconditionFailed));
        assert_eq!(check(None, Some(is("e")), at(1), None), Err(ObjectError::NotModified));
        assert_eq!(check(None, Some(is("f")), at(100), None), Ok(()));
    }
}
