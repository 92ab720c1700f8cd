//! The object lock of a bucket: PutObjectLockConfiguration, GetObjectLockConfiguration.
//!
//! A bucket that has a lock has it for ever; what can be changed is the retention that new objects get. A default
//! has a mode and is said in days or in years, never in both.

use s3s::dto::{
    DefaultRetention as WireDefault, GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput,
    ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule,
    PutObjectLockConfigurationInput, PutObjectLockConfigurationOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::errors::{invalid_argument, s3_error};
use super::lock::{mode_from_wire, mode_to_wire};
use super::operations::Operations;
use super::unset::Unset;
use super::values::who_of;
use crate::objects::{BucketChange, DefaultRetention, LockConfiguration};

fn malformed() -> S3Error {
    S3ErrorCode::MalformedXML.into()
}

fn default_from_wire(asked: &WireDefault) -> S3Result<DefaultRetention> {
    let mode = asked.mode.as_ref().ok_or_else(malformed)?;
    let mode = mode_from_wire(mode.as_str()).map_err(|_| malformed())?;
    let (count, years) = match (asked.days, asked.years) {
        (Some(days), None) => (days, false),
        (None, Some(years)) => (years, true),
        _ => return Err(malformed()),
    };
    let Ok(count) = u32::try_from(count) else {
        return Err(invalid_argument("Default retention period must be a positive integer value."));
    };
    DefaultRetention::new(mode, count, years).map_err(s3_error)
}

fn from_wire(asked: Option<ObjectLockConfiguration>) -> S3Result<LockConfiguration> {
    let asked = asked.ok_or_else(malformed)?;
    if asked.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str) != Some(ObjectLockEnabled::ENABLED) {
        return Err(malformed());
    }
    let default = match asked.rule {
        None => None,
        Some(rule) => Some(default_from_wire(&rule.default_retention.ok_or_else(malformed)?)?),
    };
    Ok(LockConfiguration { default })
}

fn to_wire(lock: LockConfiguration) -> ObjectLockConfiguration {
    let rule = lock.default.map(|default| {
        let count = Some(default.count() as i32);
        let default_retention = Some(WireDefault {
            days: count.filter(|_| !default.years),
            mode: Some(ObjectLockRetentionMode::from_static(mode_to_wire(default.mode))),
            years: count.filter(|_| default.years),
        });
        ObjectLockRule { default_retention }
    });
    let enabled = ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED);
    ObjectLockConfiguration { object_lock_enabled: Some(enabled), rule }
}

impl Operations {
    /// PutObjectLockConfiguration.
    pub(super) async fn set_bucket_lock(
        &self,
        request: S3Request<PutObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        let change = BucketChange::Lock(from_wire(input.object_lock_configuration)?);
        self.view().change_settings(&who, &input.bucket, change).await.map_err(s3_error)?;
        Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
    }

    /// GetObjectLockConfiguration.
    pub(super) async fn bucket_lock(
        &self,
        request: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        let who = who_of(&request)?;
        let settings = self.view().settings(&who, &request.input.bucket).await.map_err(s3_error)?;
        let lock = settings.lock.ok_or_else(|| Unset::ObjectLock.error())?;
        let object_lock_configuration = Some(to_wire(lock));
        Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::LockMode;

    #[test]
    fn a_configuration_comes_back_as_it_was_set() {
        for default in [None, Some((3, false)), Some((2, true))] {
            let default = default
                .map(|(count, years)| DefaultRetention::new(LockMode::Compliance, count, years).unwrap());
            let lock = LockConfiguration { default };
            assert_eq!(from_wire(Some(to_wire(lock))).unwrap(), lock);
        }
    }

    #[test]
    fn a_default_has_a_mode_and_one_unit() {
        let mode = Some(ObjectLockRetentionMode::from_static(ObjectLockRetentionMode::GOVERNANCE));
        let code = |mode, days, years| {
            default_from_wire(&WireDefault { days, mode, years }).unwrap_err().code().clone()
        };
        assert_eq!(code(None, Some(1), None), S3ErrorCode::MalformedXML);
        assert_eq!(code(mode.clone(), Some(1), Some(1)), S3ErrorCode::MalformedXML);
        assert_eq!(code(mode.clone(), None, None), S3ErrorCode::MalformedXML);
        assert_eq!(code(mode.clone(), Some(0), None), S3ErrorCode::InvalidArgument);
        assert_eq!(code(mode, Some(-1), None), S3ErrorCode::InvalidArgument);
        assert!(from_wire(Some(ObjectLockConfiguration::default())).is_err());
    }
}
