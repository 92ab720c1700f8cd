//! What is taken away by itself, as clients set it: PutBucketLifecycleConfiguration,
//! GetBucketLifecycleConfiguration, DeleteBucketLifecycle.
//!
//! Owns the way of rules from the wire and back; what can be a rule is said in [`crate::objects::lifecycle`]. Objects
//! are not moved to other storage classes, as there are none to move them to: a rule with a transition is refused
//! rather than kept and not followed. The bare prefix of older clients is given back as such.

use s3s::dto::{
    AbortIncompleteMultipartUpload, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput,
    ExpirationStatus, GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput,
    LifecycleExpiration, LifecycleRule as WireRule, LifecycleRuleAndOperator, LifecycleRuleFilter,
    NoncurrentVersionExpiration, PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput,
    Tag, Transition, TransitionDefaultMinimumObjectSize,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::errors::{invalid_argument, not_implemented, s3_error};
use super::operations::Operations;
use super::tagging::{from_document, to_document};
use super::unset::Unset;
use super::values::{timestamp, who_of, whole_seconds};
use crate::objects::lifecycle::{
    Expiration, LifecycleError, LifecycleFilter, LifecycleRule, NoncurrentExpiration, check,
};
use crate::objects::{BucketChange, TAGS_MAX};

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;
/// How small an object may be that is moved unless it is said: as S3 says it. Nothing is moved here.
const SMALLEST: &str = TransitionDefaultMinimumObjectSize::ALL_STORAGE_CLASSES_128K;

fn smallest_to_wire() -> TransitionDefaultMinimumObjectSize {
    TransitionDefaultMinimumObjectSize::from_static(SMALLEST)
}

fn malformed() -> S3Error {
    S3ErrorCode::MalformedXML.into()
}

/// A number that a rule names.
fn number(number: i32) -> S3Result<u32> {
    u32::try_from(number).map_err(|_| invalid_argument("a number in a rule must not be negative"))
}

fn bytes(bytes: Option<i64>) -> S3Result<Option<u64>> {
    let negative = |_| invalid_argument("a size in a rule must not be negative");
    bytes.map(u64::try_from).transpose().map_err(negative)
}

/// A filter names one thing, or several within `And`.
fn filter(filter: LifecycleRuleFilter) -> S3Result<LifecycleFilter> {
    let (larger, smaller) = (filter.object_size_greater_than, filter.object_size_less_than);
    let named = usize::from(filter.and.is_some())
        + usize::from(filter.prefix.is_some())
        + usize::from(filter.tag.is_some())
        + usize::from(larger.is_some())
        + usize::from(smaller.is_some());
    if named > 1 {
        return Err(malformed());
    }
    let all = filter.and.unwrap_or(LifecycleRuleAndOperator {
        object_size_greater_than: larger,
        object_size_less_than: smaller,
        prefix: filter.prefix,
        tags: filter.tag.map(|tag| vec![tag]),
    });
    let (larger_than, smaller_than) =
        (bytes(all.object_size_greater_than)?, bytes(all.object_size_less_than)?);
    let tags = from_document(all.tags.unwrap_or_default(), TAGS_MAX)?;
    Ok(LifecycleFilter { prefix: all.prefix.unwrap_or_default(), tags, larger_than, smaller_than })
}

fn expiration(expiration: LifecycleExpiration) -> S3Result<Expiration> {
    let lone = expiration.expired_object_delete_marker;
    match (expiration.days, expiration.date, lone) {
        (Some(count), None, None) => Ok(Expiration::Days(number(count)?)),
        (None, Some(date), None) => Ok(Expiration::Date(whole_seconds(&date)?)),
        (None, None, Some(true)) => Ok(Expiration::LoneMarker),
        (None, None, Some(false)) => Ok(Expiration::Never),
        _ => Err(malformed()),
    }
}

/// Refuses transitions: as none, if they could be one, else as what is wrong with them.
fn refuse_transitions(transitions: &[Transition]) -> S3Result<()> {
    for transition in transitions {
        match (transition.days, &transition.date) {
            (Some(days), None) => _ = number(days)?,
            (None, Some(date)) if whole_seconds(date)?.seconds.rem_euclid(DAY_SECONDS) != 0 => {
                return Err(invalid_argument("'Date' must be at midnight GMT"));
            }
            (None, Some(_)) => {}
            (Some(_), Some(_)) | (None, None) => return Err(malformed()),
        }
    }
    if transitions.is_empty() { Ok(()) } else { Err(no_transitions()) }
}

fn no_transitions() -> S3Error {
    not_implemented("there is no storage class to move objects to; rules can only expire them")
}

fn noncurrent(expiration: &NoncurrentVersionExpiration) -> S3Result<NoncurrentExpiration> {
    let count = expiration.noncurrent_days.ok_or_else(malformed)?;
    let keep = expiration.newer_noncurrent_versions.map(number).transpose()?;
    Ok(NoncurrentExpiration { days: number(count)?, keep })
}

/// A name for a rule that has none.
fn new_id() -> String {
    let mut bytes = [0; 12];
    // A name that is not random is still one; that it is taken is found out below.
    let _ = getrandom::fill(&mut bytes);
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}

fn from_wire(rule: WireRule) -> S3Result<LifecycleRule> {
    refuse_transitions(&rule.transitions.unwrap_or_default())?;
    if rule.noncurrent_version_transitions.is_some_and(|list| !list.is_empty()) {
        return Err(no_transitions());
    }
    let enabled = match rule.status.as_str() {
        ExpirationStatus::ENABLED => true,
        ExpirationStatus::DISABLED => false,
        _ => return Err(malformed()),
    };
    let bare_prefix = rule.prefix.is_some();
    let filter = match (rule.filter, rule.prefix) {
        (Some(named), None) => filter(named)?,
        (None, Some(prefix)) => LifecycleFilter { prefix, ..LifecycleFilter::default() },
        _ => return Err(malformed()),
    };
    let uploads = rule.abort_incomplete_multipart_upload;
    Ok(LifecycleRule {
        id: rule.id.filter(|id| !id.is_empty()).unwrap_or_else(new_id),
        enabled,
        filter,
        bare_prefix,
        expiration: rule.expiration.map(expiration).transpose()?,
        noncurrent: rule.noncurrent_version_expiration.as_ref().map(noncurrent).transpose()?,
        abort_uploads_days: match uploads {
            None => None,
            Some(uploads) => Some(number(uploads.days_after_initiation.ok_or_else(malformed)?)?),
        },
    })
}

fn all_from_wire(rules: Vec<WireRule>) -> S3Result<Vec<LifecycleRule>> {
    let rules: Vec<LifecycleRule> = rules.into_iter().map(from_wire).collect::<S3Result<_>>()?;
    check(&rules).map_err(|error| match error {
        LifecycleError::MalformedXml(why) => S3Error::with_message(S3ErrorCode::MalformedXML, why),
        LifecycleError::InvalidArgument(why) => S3Error::with_message(S3ErrorCode::InvalidArgument, why),
        LifecycleError::InvalidRequest(why) => S3Error::with_message(S3ErrorCode::InvalidRequest, why),
    })?;
    Ok(rules)
}

fn filter_to_wire(filter: &LifecycleFilter) -> LifecycleRuleFilter {
    let prefix = (!filter.prefix.is_empty()).then(|| filter.prefix.clone());
    let mut tags: Vec<Tag> = to_document(filter.tags.clone());
    let larger = filter.larger_than.map(|bytes| bytes as i64);
    let smaller = filter.smaller_than.map(|bytes| bytes as i64);
    let named = usize::from(prefix.is_some())
        + tags.len()
        + usize::from(larger.is_some())
        + usize::from(smaller.is_some());
    if named > 1 {
        let all = LifecycleRuleAndOperator {
            object_size_greater_than: larger,
            object_size_less_than: smaller,
            prefix,
            tags: (!tags.is_empty()).then_some(tags),
        };
        return LifecycleRuleFilter { and: Some(all), ..LifecycleRuleFilter::default() };
    }
    LifecycleRuleFilter {
        and: None,
        object_size_greater_than: larger,
        object_size_less_than: smaller,
        // A filter of everything is an empty prefix.
        prefix: if named == 0 { Some(String::new()) } else { prefix },
        tag: tags.pop(),
    }
}

fn expiration_to_wire(expiration: Expiration) -> LifecycleExpiration {
    let none = LifecycleExpiration::default();
    match expiration {
        Expiration::Days(days) => LifecycleExpiration { days: Some(days as i32), ..none },
        Expiration::Date(date) => LifecycleExpiration { date: Some(timestamp(date)), ..none },
        Expiration::LoneMarker => LifecycleExpiration { expired_object_delete_marker: Some(true), ..none },
        Expiration::Never => LifecycleExpiration { expired_object_delete_marker: Some(false), ..none },
    }
}

fn to_wire(rule: &LifecycleRule) -> WireRule {
    let status = if rule.enabled { ExpirationStatus::ENABLED } else { ExpirationStatus::DISABLED };
    WireRule {
        abort_incomplete_multipart_upload: rule
            .abort_uploads_days
            .map(|days| AbortIncompleteMultipartUpload { days_after_initiation: Some(days as i32) }),
        expiration: rule.expiration.map(expiration_to_wire),
        filter: (!rule.bare_prefix).then(|| filter_to_wire(&rule.filter)),
        id: Some(rule.id.clone()),
        noncurrent_version_expiration: rule.noncurrent.map(|noncurrent| NoncurrentVersionExpiration {
            newer_noncurrent_versions: noncurrent.keep.map(|keep| keep as i32),
            noncurrent_days: Some(noncurrent.days as i32),
        }),
        noncurrent_version_transitions: None,
        prefix: rule.bare_prefix.then(|| rule.filter.prefix.clone()),
        status: ExpirationStatus::from_static(status),
        transitions: None,
    }
}

impl Operations {
    /// PutBucketLifecycleConfiguration.
    pub(super) async fn set_lifecycle(
        &self,
        request: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        let said = input.transition_default_minimum_object_size;
        let smallest = said.as_ref().map_or(SMALLEST, TransitionDefaultMinimumObjectSize::as_str);
        if smallest != SMALLEST {
            return Err(no_transitions());
        }
        let rules = input.lifecycle_configuration.ok_or_else(malformed)?.rules;
        let change = BucketChange::Lifecycle(Some(all_from_wire(rules)?));
        self.view().change_settings(&who, &input.bucket, change).await.map_err(s3_error)?;
        let transition_default_minimum_object_size = Some(smallest_to_wire());
        Ok(S3Response::new(PutBucketLifecycleConfigurationOutput { transition_default_minimum_object_size }))
    }

    /// GetBucketLifecycleConfiguration.
    pub(super) async fn lifecycle(
        &self,
        request: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        let who = who_of(&request)?;
        let settings = self.view().settings(&who, &request.input.bucket).await.map_err(s3_error)?;
        let rules = settings.lifecycle.as_ref().ok_or_else(|| Unset::Lifecycle.error())?;
        let rules = Some(rules.iter().map(to_wire).collect());
        let transition_default_minimum_object_size = Some(smallest_to_wire());
        let output = GetBucketLifecycleConfigurationOutput { rules, transition_default_minimum_object_size };
        Ok(S3Response::new(output))
    }

    /// DeleteBucketLifecycle.
    pub(super) async fn delete_lifecycle(
        &self,
        request: S3Request<DeleteBucketLifecycleInput>,
    ) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
        let who = who_of(&request)?;
        let change = BucketChange::Lifecycle(None);
        self.view().change_settings(&who, &request.input.bucket, change).await.map_err(s3_error)?;
        Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> WireRule {
        to_wire(&LifecycleRule {
            id: "rule".into(),
            enabled: true,
            expiration: Some(Expiration::Days(3)),
            ..LifecycleRule::default()
        })
    }

    fn code(change: impl FnOnce(&mut WireRule)) -> Result<LifecycleRule, S3ErrorCode> {
        let mut rule = rule();
        change(&mut rule);
        all_from_wire(vec![rule]).map(|mut rules| rules.remove(0)).map_err(|error| error.code().clone())
    }

    #[test]
    fn rules_come_back_as_they_were_set() {
        let tags = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
        let none = LifecycleFilter::default;
        for filter in [
            none(),
            LifecycleFilter { prefix: "logs/".into(), ..none() },
            LifecycleFilter { tags: tags(&["a"]), ..none() },
            LifecycleFilter { tags: tags(&["a", "b"]), larger_than: Some(5), ..none() },
            LifecycleFilter { smaller_than: Some(9), ..none() },
        ] {
            let rule = LifecycleRule {
                id: "rule".into(),
                filter,
                expiration: Some(Expiration::Days(1)),
                noncurrent: Some(NoncurrentExpiration { days: 2, keep: Some(3) }),
                ..LifecycleRule::default()
            };
            assert_eq!(from_wire(to_wire(&rule)).unwrap(), rule);
        }
        let bare = LifecycleRule {
            id: "bare".into(),
            enabled: true,
            bare_prefix: true,
            abort_uploads_days: Some(7),
            expiration: Some(Expiration::LoneMarker),
            ..LifecycleRule::default()
        };
        assert_eq!(from_wire(to_wire(&bare)).unwrap(), bare);
    }

    #[test]
    fn what_cannot_be_a_rule_is_refused() {
        use S3ErrorCode as Code;
        let expires = |expiration| move |rule: &mut WireRule| rule.expiration = Some(expiration);
        let none = LifecycleExpiration::default;
        assert_eq!(code(expires(none())), Err(Code::MalformedXML));
        assert_eq!(
            code(expires(LifecycleExpiration { days: Some(0), ..none() })),
            Err(Code::InvalidArgument)
        );
        let noon = timestamp(crate::view::Time { seconds: 43_200, nanos: 0 });
        assert_eq!(
            code(expires(LifecycleExpiration { date: Some(noon), ..none() })),
            Err(Code::InvalidArgument)
        );
        assert_eq!(code(|rule| rule.expiration = None), Err(Code::InvalidRequest));
        assert_eq!(code(|rule| rule.filter = None), Err(Code::MalformedXML));
        assert_eq!(code(|rule| rule.prefix = Some("p".into())), Err(Code::MalformedXML));
        let moves = |days: Option<i32>, seconds: Option<i64>| {
            let date = seconds.map(|seconds| timestamp(crate::view::Time { seconds, nanos: 0 }));
            let transition = Transition { days, date, ..Transition::default() };
            code(move |rule| rule.transitions = Some(vec![transition]))
        };
        assert_eq!(moves(Some(1), None), Err(Code::NotImplemented));
        assert_eq!(moves(None, Some(86_400)), Err(Code::NotImplemented));
        assert_eq!(moves(None, Some(86_401)), Err(Code::InvalidArgument));
        assert_eq!(moves(Some(-1), None), Err(Code::InvalidArgument));
        assert_eq!(moves(Some(1), Some(86_400)), Err(Code::MalformedXML));
        assert_eq!(moves(None, None), Err(Code::MalformedXML));
        let marker = |days| LifecycleExpiration { days, expired_object_delete_marker: Some(false), ..none() };
        assert_eq!(code(expires(marker(Some(1)))), Err(Code::MalformedXML));
        assert_eq!(code(expires(marker(None))).unwrap().expiration, Some(Expiration::Never));
        assert_eq!(code(|rule| rule.id = Some("i".repeat(256))), Err(Code::InvalidArgument));
        let uploads = AbortIncompleteMultipartUpload { days_after_initiation: Some(1) };
        let with_size = |rule: &mut WireRule| {
            rule.abort_incomplete_multipart_upload = Some(uploads);
            rule.filter = Some(LifecycleRuleFilter { object_size_less_than: Some(9), ..Default::default() });
        };
        assert_eq!(code(with_size), Err(Code::InvalidRequest));
    }

    #[test]
    fn names_are_given_and_are_unique() {
        let unnamed = || WireRule { id: None, ..rule() };
        let rules = all_from_wire(vec![unnamed(), unnamed()]).unwrap();
        assert!(!rules[0].id.is_empty());
        assert_ne!(rules[0].id, rules[1].id);
        assert!(all_from_wire(vec![rule(), rule()]).is_err());
        assert!(all_from_wire(Vec::new()).is_err());
    }
}
