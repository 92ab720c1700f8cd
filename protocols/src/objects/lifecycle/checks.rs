//! Which rules can be those of a bucket (Amazon S3 API reference, "PutBucketLifecycleConfiguration"), in the words of
//! S3 where they are known.

use std::collections::BTreeSet;

use super::{DAY_SECONDS, Expiration, LifecycleFilter, LifecycleRule, NoncurrentExpiration};
use crate::objects::{KEY_BYTES_MAX, TAGS_MAX};

/// The most rules of a bucket.
pub const RULES_MAX: usize = 1000;
/// The longest name of a rule, in characters.
pub const ID_CHARACTERS_MAX: usize = 255;
/// So many versions that are not the newest can be kept at most.
pub const KEPT_VERSIONS_MAX: u32 = 100;
/// Most days, as for S3: a positive number of 32 bits.
pub const DAYS_MAX: u32 = i32::MAX as u32;
/// The longest name of a tag, in characters.
const TAG_NAME_CHARACTERS_MAX: usize = 128;
/// The longest value of a tag, in characters.
const TAG_VALUE_CHARACTERS_MAX: usize = 256;
/// Why rules cannot be used. Each kind is named like its code in the API reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// Something is missing, or there is too much of it.
    #[error("{0}")]
    MalformedXml(String),
    /// A value is wrong.
    #[error("{0}")]
    InvalidArgument(String),
    /// Values are wrong together.
    #[error("{0}")]
    InvalidRequest(String),
}

/// Whether rules can be those of a bucket. A rule without a name has an empty one.
pub fn check(rules: &[LifecycleRule]) -> Result<(), LifecycleError> {
    if rules.is_empty() {
        return Err(LifecycleError::MalformedXml("a lifecycle configuration needs at least one Rule".into()));
    }
    if rules.len() > RULES_MAX {
        let why = format!("a lifecycle configuration has at most {RULES_MAX} rules, not {}", rules.len());
        return Err(LifecycleError::MalformedXml(why));
    }
    let mut ids = BTreeSet::new();
    for rule in rules {
        rule.check()?;
        if !rule.id.is_empty() && !ids.insert(&rule.id) {
            let why = format!("Rule ID must be unique. Found same ID for one or more rules: {:?}", rule.id);
            return Err(LifecycleError::InvalidArgument(why));
        }
    }
    Ok(())
}

impl LifecycleRule {
    /// Whether it can be a rule of a bucket.
    pub fn check(&self) -> Result<(), LifecycleError> {
        if self.id.chars().count() > ID_CHARACTERS_MAX {
            let why = format!("ID length should not exceed allowed limit of {ID_CHARACTERS_MAX}");
            return Err(LifecycleError::InvalidArgument(why));
        }
        self.filter.check()?;
        self.check_values().map_err(LifecycleError::InvalidArgument)?;
        self.check_together().map_err(|why| LifecycleError::InvalidRequest(why.into()))
    }

    fn check_values(&self) -> Result<(), String> {
        match self.expiration {
            Some(Expiration::Days(days)) => check_count("Days", "Expiration", days, DAYS_MAX)?,
            Some(Expiration::Date(date)) if date.seconds % DAY_SECONDS != 0 || date.nanos != 0 => {
                return Err("'Date' must be at midnight GMT".into());
            }
            Some(Expiration::Date(_) | Expiration::LoneMarker | Expiration::Never) | None => {}
        }
        if let Some(NoncurrentExpiration { days, keep }) = self.noncurrent {
            let action = "NoncurrentVersionExpiration";
            check_count("NoncurrentDays", action, days, DAYS_MAX)?;
            check_count("NewerNoncurrentVersions", action, keep.unwrap_or(1), KEPT_VERSIONS_MAX)?;
        }
        let days = self.abort_uploads_days.unwrap_or(1);
        check_count("DaysAfterInitiation", "AbortIncompleteMultipartUpload", days, DAYS_MAX)
    }

    fn check_together(&self) -> Result<(), &'static str> {
        let has_tags = !self.filter.tags.is_empty();
        if self.bare_prefix && (has_tags || self.filter.has_sizes()) {
            return Err("a Rule has a Prefix or a Filter, not both");
        }
        if self.expiration.is_none() && self.noncurrent.is_none() && self.abort_uploads_days.is_none() {
            return Err("At least one action needs to be specified in a rule");
        }
        if has_tags && self.expiration == Some(Expiration::LoneMarker) {
            return Err("ExpiredObjectDeleteMarker cannot be specified with Tags: a delete marker has none");
        }
        if has_tags && self.abort_uploads_days.is_some() {
            return Err("AbortIncompleteMultipartUpload cannot be specified with Tags");
        }
        if self.filter.has_sizes() && self.abort_uploads_days.is_some() {
            return Err("AbortIncompleteMultipartUpload cannot be specified with an object size");
        }
        Ok(())
    }
}

impl LifecycleFilter {
    fn check(&self) -> Result<(), LifecycleError> {
        if self.prefix.len() > KEY_BYTES_MAX {
            let why = format!("The maximum size of a prefix is {KEY_BYTES_MAX}.");
            return Err(LifecycleError::InvalidRequest(why));
        }
        if self.tags.len() > TAGS_MAX {
            let why = format!("a filter has at most {TAGS_MAX} tags, not {}", self.tags.len());
            return Err(LifecycleError::InvalidRequest(why));
        }
        for (name, value) in &self.tags {
            if name.is_empty() || name.chars().count() > TAG_NAME_CHARACTERS_MAX {
                let why = format!("the name of a tag has 1 to {TAG_NAME_CHARACTERS_MAX} characters");
                return Err(LifecycleError::InvalidArgument(why));
            }
            if value.chars().count() > TAG_VALUE_CHARACTERS_MAX {
                let why = format!("the value of a tag has at most {TAG_VALUE_CHARACTERS_MAX} characters");
                return Err(LifecycleError::InvalidArgument(why));
            }
        }
        match (self.larger_than, self.smaller_than) {
            (_, Some(0)) => {
                let why = "'ObjectSizeLessThan' must be 1 byte or more: nothing is smaller than 0 bytes";
                Err(LifecycleError::InvalidRequest(why.into()))
            }
            (Some(larger), Some(smaller)) if larger >= smaller => {
                let why = "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'";
                Err(LifecycleError::InvalidRequest(why.into()))
            }
            _ => Ok(()),
        }
    }
}

fn check_count(element: &str, action: &str, count: u32, max: u32) -> Result<(), String> {
    if (1..=max).contains(&count) {
        return Ok(());
    }
    Err(format!("'{element}' for {action} action must be a positive integer of at most {max}, not {count}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::lifecycle::tests::{days, filtered, noncurrent, rule, tags};
    use crate::view::Time;

    #[test]
    fn rules_are_checked() {
        let filter = LifecycleFilter::default;
        let abort = LifecycleRule { abort_uploads_days: Some(1), ..rule("a", None) };
        let sizes = LifecycleFilter { larger_than: Some(1), ..filter() };
        let tagged = LifecycleFilter { tags: tags(&["a"]), ..filter() };
        let many: Vec<String> = (0..11).map(|number| number.to_string()).collect();
        let many = tags(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let off_midnight = |seconds, nanos| rule("a", Some(Expiration::Date(Time { seconds, nanos })));
        for (wrong, word) in [
            (rule("a", None), "At least one action"),
            (LifecycleRule { id: "x".repeat(256), ..days(1) }, "allowed limit of 255"),
            (days(0), "'Days' for Expiration action must be a positive integer"),
            (days(DAYS_MAX + 1), "'Days' for Expiration"),
            (off_midnight(1, 0), "midnight"),
            (off_midnight(DAY_SECONDS, 1), "midnight"),
            (noncurrent(0, None), "'NoncurrentDays'"),
            (noncurrent(1, Some(0)), "'NewerNoncurrentVersions'"),
            (noncurrent(1, Some(101)), "at most 100"),
            (LifecycleRule { abort_uploads_days: Some(0), ..days(1) }, "'DaysAfterInitiation'"),
            (LifecycleRule { filter: tagged.clone(), ..abort.clone() }, "with Tags"),
            (LifecycleRule { filter: sizes.clone(), ..abort }, "with an object size"),
            (
                LifecycleRule { filter: tagged.clone(), ..rule("a", Some(Expiration::LoneMarker)) },
                "with Tags",
            ),
            (LifecycleRule { bare_prefix: true, ..filtered(tagged) }, "not both"),
            (filtered(LifecycleFilter { smaller_than: Some(1), ..sizes }), "greater than"),
            (filtered(LifecycleFilter { smaller_than: Some(0), ..filter() }), "1 byte or more"),
            (filtered(LifecycleFilter { prefix: "x".repeat(1025), ..filter() }), "maximum size of a prefix"),
            (filtered(LifecycleFilter { tags: many, ..filter() }), "at most 10 tags"),
            (filtered(LifecycleFilter { tags: tags(&[""]), ..filter() }), "name of a tag"),
        ] {
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.contains(word), "{wrong:?}: {error}");
        }
        let numbered = |count| (0..count).map(|id: usize| LifecycleRule { id: id.to_string(), ..days(1) });
        assert_eq!(check(&numbered(RULES_MAX).collect::<Vec<_>>()), Ok(()));
        let too_many = numbered(RULES_MAX + 1).collect::<Vec<_>>();
        assert!(matches!(check(&too_many), Err(LifecycleError::MalformedXml(_))));
        assert!(matches!(check(&[]), Err(LifecycleError::MalformedXml(_))));
        assert!(
            matches!(check(&[days(1), days(2)]), Err(LifecycleError::InvalidArgument(_))),
            "one id twice"
        );
        assert_eq!(check(&[rule("", days(1).expiration), rule("", days(2).expiration)]), Ok(()));
    }
}
