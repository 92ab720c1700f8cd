//! The `Date` of every answer, noted as the time that it is at the endpoint.

use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use crate::store::StoreClock;

/// See the head of this module.
#[derive(Debug)]
pub(super) struct ReadDate(pub(super) Arc<StoreClock>);

impl Intercept for ReadDate {
    fn name(&self) -> &'static str {
        "ReadDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let told = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        // An answer without a date that can be read tells no time, and is no worse for it.
        if let Some(told) = told.and_then(|told| SystemTime::try_from(told).ok()) {
            self.0.note(told, SystemTime::now());
        }
        Ok(())
    }
}
