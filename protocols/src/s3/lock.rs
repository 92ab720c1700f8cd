//! Locks of objects: PutObjectRetention, GetObjectRetention, PutObjectLegalHold, GetObjectLegalHold, and the headers
//! `x-amz-object-lock-*` of requests and answers.
//!
//! Owns what can be said of a lock: a mode and a time in the future, both or neither, and `ON` or `OFF` for a hold.
//! Whether a lock may be changed is decided by the view in the same transaction as the change, by its own clock.

use http::HeaderMap;
use s3s::dto::{
    GetObjectLegalHoldInput, GetObjectLegalHoldOutput, GetObjectRetentionInput, GetObjectRetentionOutput,
    ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetention,
    ObjectLockRetentionMode, PutObjectLegalHoldInput, PutObjectLegalHoldOutput, PutObjectRetentionInput,
    PutObjectRetentionOutput, Timestamp, TimestampFormat,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::actions::{BYPASS, ask_for_object, wants_bypass};
use super::errors::{invalid_argument, s3_error};
use super::facts::{facts_of, of_hold, of_retention};
use super::operations::Operations;
use super::values::{header, now, object_name, timestamp, version_of, who_of, whole_seconds};
use super::write::durability;
use crate::objects::{Lock, LockMode, ObjectError, Retention, Who};
use crate::view::Time;

/// The header with the mode of a retention.
const MODE: &str = "x-amz-object-lock-mode";
/// The header with the end of a retention.
const UNTIL: &str = "x-amz-object-lock-retain-until-date";
/// The header with the legal hold.
const HOLD: &str = "x-amz-object-lock-legal-hold";
/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;

/// The lock that the headers of a request ask for: a retention, a hold.
pub(super) fn from_headers(headers: &HeaderMap) -> S3Result<(Option<Retention>, Option<bool>)> {
    let retention = match (header(headers, MODE), header(headers, UNTIL)) {
        (None, None) => None,
        (Some(mode), Some(until)) => Some(retention(mode, until)?),
        _ => {
            return Err(invalid_argument(
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            ));
        }
    };
    Ok((retention, header(headers, HOLD).map(hold_from_wire).transpose()?))
}

fn retention(mode: &str, until: &str) -> S3Result<Retention> {
    let Ok(until) = Timestamp::parse(TimestampFormat::DateTime, until) else {
        return Err(invalid_argument("The retain until date must be provided in ISO 8601 format"));
    };
    Ok(Retention { mode: mode_from_wire(mode)?, until: in_the_future(&until)? })
}

fn in_the_future(until: &Timestamp) -> S3Result<Time> {
    let until = whole_seconds(until)?;
    if until > now() {
        Ok(until)
    } else {
        Err(invalid_argument("The retain until date must be in the future!"))
    }
}

/// A mode from the wire.
pub(super) fn mode_from_wire(mode: &str) -> S3Result<LockMode> {
    match mode {
        ObjectLockMode::GOVERNANCE => Ok(LockMode::Governance),
        ObjectLockMode::COMPLIANCE => Ok(LockMode::Compliance),
        _ => Err(invalid_argument("Unknown wormMode directive.")),
    }
}

/// A mode on the wire.
pub(super) fn mode_to_wire(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Governance => ObjectLockMode::GOVERNANCE,
        LockMode::Compliance => ObjectLockMode::COMPLIANCE,
    }
}

fn hold_from_wire(status: &str) -> S3Result<bool> {
    match status {
        ObjectLockLegalHoldStatus::ON => Ok(true),
        ObjectLockLegalHoldStatus::OFF => Ok(false),
        _ => Err(invalid_argument("Legal Hold must be either of 'ON' or 'OFF'")),
    }
}

/// A legal hold on the wire.
pub(super) fn hold_to_wire(held: bool) -> &'static str {
    if held { ObjectLockLegalHoldStatus::ON } else { ObjectLockLegalHoldStatus::OFF }
}

/// A time as documents write it.
pub(super) fn date(time: Time) -> Option<String> {
    let mut text = Vec::new();
    timestamp(time).format(TimestampFormat::DateTime, &mut text).ok()?;
    String::from_utf8(text).ok()
}

/// How many days are left, a begun one counted as whole.
pub(super) fn days_left(until: Time, now: Time) -> i64 {
    let seconds = until.seconds.saturating_sub(now.seconds).max(0);
    seconds / DAY_SECONDS + i64::from(seconds % DAY_SECONDS > 0)
}

/// What answers with an object say of its lock: the mode, the end of the retention, the hold.
pub(super) fn to_wire(
    lock: &Lock,
) -> (Option<ObjectLockMode>, Option<Timestamp>, Option<ObjectLockLegalHoldStatus>) {
    let mode = lock.retention.map(|retention| ObjectLockMode::from_static(mode_to_wire(retention.mode)));
    let until = lock.retention.map(|retention| timestamp(retention.until));
    let hold = lock.legal_hold.then(|| ObjectLockLegalHoldStatus::from_static(ObjectLockLegalHoldStatus::ON));
    (mode, until, hold)
}

/// The retention of a document; an empty one takes it away.
fn from_document(retention: Option<ObjectLockRetention>) -> S3Result<Option<Retention>> {
    let Some(retention) = retention else { return Err(S3ErrorCode::MalformedXML.into()) };
    match (retention.mode, retention.retain_until_date) {
        (None, None) => Ok(None),
        (Some(mode), Some(until)) => {
            let Ok(mode) = mode_from_wire(mode.as_str()) else {
                return Err(S3ErrorCode::MalformedXML.into());
            };
            Ok(Some(Retention { mode, until: in_the_future(&until)? }))
        }
        _ => Err(S3ErrorCode::MalformedXML.into()),
    }
}

fn not_set() -> S3Error {
    S3Error::with_message(
        S3ErrorCode::NoSuchObjectLockConfiguration,
        "The specified object does not have a ObjectLock configuration",
    )
}

impl Operations {
    /// PutObjectRetention.
    pub(super) async fn set_retention(
        &self,
        request: S3Request<PutObjectRetentionInput>,
    ) -> S3Result<S3Response<PutObjectRetentionOutput>> {
        let who = who_of(&request)?;
        let (mut conditions, bypass) = (facts_of(&request).all(), wants_bypass(&facts_of(&request)));
        let input = request.input;
        let (version, name) =
            (version_of(input.version_id.as_deref())?, object_name(&input.bucket, &input.key));
        let retention = from_document(input.retention)?;
        conditions.extend(retention.iter().flat_map(of_retention));
        for action in ["s3:PutObjectRetention"].into_iter().chain(bypass.then_some(BYPASS)) {
            let asked = ask_for_object(self.view(), &who, action, &name, version.as_ref(), &conditions);
            asked.await.map_err(s3_error)?;
        }
        let set = self.view().set_retention(&who, &name, version.as_ref(), retention, bypass).await;
        let headers = durability(set.map_err(s3_error)?.in_repository);
        Ok(S3Response::with_headers(PutObjectRetentionOutput::default(), headers))
    }

    /// GetObjectRetention.
    pub(super) async fn retention(
        &self,
        request: S3Request<GetObjectRetentionInput>,
    ) -> S3Result<S3Response<GetObjectRetentionOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        let lock = self.lock_of(&who, &input.bucket, &input.key, input.version_id.as_deref()).await?;
        let retention = lock.retention.ok_or_else(not_set)?;
        let retention = ObjectLockRetention {
            mode: Some(ObjectLockRetentionMode::from_static(mode_to_wire(retention.mode))),
            retain_until_date: Some(timestamp(retention.until)),
        };
        Ok(S3Response::new(GetObjectRetentionOutput { retention: Some(retention) }))
    }

    /// PutObjectLegalHold.
    pub(super) async fn set_legal_hold(
        &self,
        request: S3Request<PutObjectLegalHoldInput>,
    ) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
        let who = who_of(&request)?;
        let mut conditions = facts_of(&request).all();
        let input = request.input;
        let (version, name) =
            (version_of(input.version_id.as_deref())?, object_name(&input.bucket, &input.key));
        let Some(status) = input.legal_hold.and_then(|hold| hold.status) else {
            return Err(S3ErrorCode::MalformedXML.into());
        };
        let Ok(held) = hold_from_wire(status.as_str()) else { return Err(S3ErrorCode::MalformedXML.into()) };
        conditions.push(of_hold(held));
        let action = "s3:PutObjectLegalHold";
        let asked = ask_for_object(self.view(), &who, action, &name, version.as_ref(), &conditions);
        asked.await.map_err(s3_error)?;
        let set = self.view().set_legal_hold(&who, &name, version.as_ref(), held).await;
        let headers = durability(set.map_err(s3_error)?.in_repository);
        Ok(S3Response::with_headers(PutObjectLegalHoldOutput::default(), headers))
    }

    /// GetObjectLegalHold.
    pub(super) async fn legal_hold(
        &self,
        request: S3Request<GetObjectLegalHoldInput>,
    ) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        let lock = self.lock_of(&who, &input.bucket, &input.key, input.version_id.as_deref()).await?;
        let status = Some(ObjectLockLegalHoldStatus::from_static(hold_to_wire(lock.legal_hold)));
        let legal_hold = Some(ObjectLockLegalHold { status });
        Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold }))
    }

    /// The lock of an object in a bucket that has one.
    async fn lock_of(&self, who: &Who, bucket: &str, key: &str, version: Option<&str>) -> S3Result<Lock> {
        let version = version_of(version)?;
        let opened = self.view().open(who, &object_name(bucket, key), version.as_ref()).await;
        let lock = opened.map_err(s3_error)?.info().lock;
        let settings = self.view().settings(who, bucket).await.map_err(s3_error)?;
        if settings.lock.is_none() {
            return Err(s3_error(ObjectError::NoLock));
        }
        Ok(lock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> S3Result<(Option<Retention>, Option<bool>)> {
        from_headers(
            &pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
        )
    }

    #[test]
    fn a_mode_and_a_time_in_the_future_belong_together() {
        let (retention, hold) =
            read(&[(MODE, "COMPLIANCE"), (UNTIL, "2999-01-01T00:00:00Z"), (HOLD, "OFF")]).unwrap();
        assert_eq!(retention.unwrap().mode, LockMode::Compliance);
        assert_eq!(date(retention.unwrap().until).unwrap(), "2999-01-01T00:00:00.000Z");
        assert_eq!(hold, Some(false));
        assert_eq!(read(&[]).unwrap(), (None, None));
        for wrong in [
            &[(MODE, "GOVERNANCE")][..],
            &[(UNTIL, "2999-01-01T00:00:00Z")],
            &[(MODE, "GOVERNANCE"), (UNTIL, "2001-01-01T00:00:00Z")],
            &[(MODE, "GOVERNANCE"), (UNTIL, "tomorrow")],
            &[(MODE, "governance"), (UNTIL, "2999-01-01T00:00:00Z")],
            &[(HOLD, "on")],
        ] {
            assert_eq!(read(wrong).unwrap_err().code(), &S3ErrorCode::InvalidArgument, "{wrong:?}");
        }
    }

    #[test]
    fn begun_days_count() {
        let at = |seconds| Time { seconds, nanos: 0 };
        assert_eq!(days_left(at(100), at(100)), 0);
        assert_eq!(days_left(at(101), at(100)), 1);
        assert_eq!(days_left(at(100 + 2 * DAY_SECONDS), at(100)), 2);
        assert_eq!(days_left(at(0), at(100)), 0);
    }
}
