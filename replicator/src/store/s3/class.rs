//! Storage classes in a bucket.
//!
//! * An object comes to another class by `CopyObject` onto itself, server-side: no byte travels. One request suffices:
//!   places in a pack are numbers of 32 bits, so no pack reaches the 5 GiB from which on S3 wants parts. Where objects are
//!   locked the copy is locked by the request that makes it, as what is put. The copy is of the bytes that were there when it
//!   was asked for (`x-amz-copy-source-if-match`): what is written over meanwhile is not copied half old, half new.
//! * Whether an object can be read says its `HEAD`: class, and `x-amz-restore`.
//! * `RestoreObject` thaws. Asked for again while it is under way, S3 answers 409, which is success here.

use std::time::SystemTime;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{GlacierJobParameters, RestoreRequest, Tier};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use super::S3Store;
use super::error::{status, store_error};
use crate::store::deadline::within;
use crate::store::{
    ClassState, Classes, ErrorKind, ObjectName, Special, StorageClass, StoreError, ThawRequest, ThawTier,
    Wakefulness,
};

/// What S3 answers to whom asks for what is under way.
const UNDER_WAY: &str = "RestoreAlreadyInProgress";

impl S3Store {
    /// The class of what the name shows now, and whether it can be read.
    pub(super) async fn class_state(&self, name: &ObjectName) -> Result<ClassState, StoreError> {
        Ok(state_of(&self.look(name).await?))
    }

    /// Copies an object onto itself, in another class.
    pub(super) async fn copy_to_class(
        &self,
        name: &ObjectName,
        class: &StorageClass,
    ) -> Result<(), StoreError> {
        let doing = || Special::ChangeClass(name.clone(), class.clone()).doing();
        let lock = self.put_lock(name).await?;
        let key = self.key(name);
        let tag = self.tag_of(name).await?;
        let request = self
            .client
            .copy_object()
            .bucket(&self.bucket)
            .key(&key)
            .copy_source(format!("{}/{key}", self.bucket))
            .set_copy_source_if_match(tag)
            .storage_class(class.as_str().into())
            .set_object_lock_mode(lock.as_ref().map(|lock| lock.mode.clone()))
            .set_object_lock_retain_until_date(lock.map(|lock| lock.until));
        // The store copies the whole object before it answers; the deadline around this call is the bound.
        Box::pin(request.send()).await.map(drop).map_err(|error| store_error(doing(), error))
    }

    /// What the store says of the bytes that the name shows now, where it says anything.
    async fn tag_of(&self, name: &ObjectName) -> Result<Option<String>, StoreError> {
        Ok(self.look(name).await?.e_tag().map(str::to_owned))
    }

    async fn look(&self, name: &ObjectName) -> Result<HeadObjectOutput, StoreError> {
        let doing = || Special::Class(name.clone()).doing();
        let asked = async {
            let request = self.client.head_object().bucket(&self.bucket).key(self.key(name));
            match Box::pin(request.send()).await {
                Err(error) if status(&error) == Some(404) => Err(self.missing_or_misconfigured(name).await),
                answer => answer.map_err(|error| store_error(doing(), error)),
            }
        };
        within(self.answer_timeout * 2, doing, asked).await
    }

    /// Asks the store to make an object readable.
    pub(super) async fn restore_object(
        &self,
        name: &ObjectName,
        thaw: ThawRequest,
    ) -> Result<(), StoreError> {
        // What does not sleep is refused in various words.
        if self.class_state(name).await?.wakefulness == Wakefulness::Awake {
            return Ok(());
        }
        let doing = || Special::Thaw(name.clone(), thaw).doing();
        let wrong = |error| StoreError::new(ErrorKind::Invalid, doing()).caused_by(error);
        let job = GlacierJobParameters::builder().tier(tier(thaw.tier)).build().map_err(wrong)?;
        let restore = RestoreRequest::builder()
            .days(i32::try_from(thaw.days.max(1)).unwrap_or(i32::MAX))
            .glacier_job_parameters(job)
            .build();
        let request = self.client.restore_object().bucket(&self.bucket).key(self.key(name));
        let asked = async {
            match Box::pin(request.restore_request(restore).send()).await {
                Err(error) if error.code() == Some(UNDER_WAY) => Ok(()),
                Err(error) => Err(store_error(doing(), error)),
                Ok(_) => Ok(()),
            }
        };
        within(self.answer_timeout, doing, asked).await
    }
}

fn tier(tier: ThawTier) -> Tier {
    tier.as_str().into()
}

/// What a `HEAD` says. A class that is not known to sleep does, if there is something to be said of its thawing.
fn state_of(answer: &HeadObjectOutput) -> ClassState {
    let class = answer.storage_class().and_then(|class| StorageClass::said(class.as_str()));
    // The tiers of S3 Intelligent-Tiering that sleep are said here and nowhere else.
    let sleeps = Classes::default().sleeps(class.as_ref()) || answer.archive_status().is_some();
    let wakefulness = match answer.restore().and_then(thawed) {
        Some(state) => state,
        None if sleeps => Wakefulness::Asleep,
        None => Wakefulness::Awake,
    };
    ClassState { class, wakefulness }
}

/// `ongoing-request="true"`, or `ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`.
fn thawed(header: &str) -> Option<Wakefulness> {
    let value =
        |key: &str| header.split_once(&format!("{key}=\""))?.1.split_once('"').map(|(value, _)| value);
    match value("ongoing-request")? {
        "true" => Some(Wakefulness::Thawing),
        "false" => {
            let until = value("expiry-date").and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
            Some(Wakefulness::Thawed(until.and_then(|until| SystemTime::try_from(until).ok())))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_header_says_how_far_a_thaw_is() {
        assert_eq!(thawed("ongoing-request=\"true\""), Some(Wakefulness::Thawing));
        let day = SystemTime::UNIX_EPOCH + Duration::from_secs(1_356_048_000);
        let done = "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\"";
        assert_eq!(thawed(done), Some(Wakefulness::Thawed(Some(day))));
        let odd = "ongoing-request=\"false\", expiry-date=\"soon\"";
        assert_eq!(thawed(odd), Some(Wakefulness::Thawed(None)));
        for wrong in ["", "ongoing-request", "ongoing-request=\"perhaps\"", "expiry-date=\"x\""] {
            assert_eq!(thawed(wrong), None, "{wrong}");
        }
    }
}
