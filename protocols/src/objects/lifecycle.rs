//! What is taken away by itself (Amazon S3 user guide, "Managing the lifecycle of objects"; API reference,
//! "PutBucketLifecycleConfiguration").
//!
//! Owns the rules of a bucket: whether they can be used ([`check`]), and what they say of an object at a time
//! ([`evaluate`], [`newer_needed`], [`expiry`]) and of an upload ([`aborts`]). Nothing is taken away here, and no clock is read.
//!
//! * Days are counted as S3 does: from the moment so many days on, and then to the next midnight UTC.
//! * What is due stays due: of two times, all that the rules ask for at the earlier they ask for at the later.
//! * An object is due at the time that [`expiry`] gives, not before.
//! * When several rules fit, the one that is due first counts. A lock is not asked; who removes has to.
//! * A delete marker has no tags, and is 0 bytes long. When nothing but it is left, it goes at once with
//!   [`Expiration::LoneMarker`], and with a date or days when it is as old as that.
//!
//! There are no transitions to other storage classes.

mod checks;

use serde::{Deserialize, Serialize};

pub use self::checks::{DAYS_MAX, ID_CHARACTERS_MAX, KEPT_VERSIONS_MAX, LifecycleError, RULES_MAX, check};
use super::Tags;
use crate::view::Time;

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;
/// The midnight at which the last day of the year 9999 begins. What would be due later is due then, so that
/// each time can be written down.
const DUE_SECONDS_MAX: i64 = 253_402_214_400;
const _: () = assert!(DUE_SECONDS_MAX % DAY_SECONDS == 0);

/// Which objects a rule is about; all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleFilter {
    /// Keys begin with it.
    pub prefix: String,
    /// They have these tags.
    pub tags: Tags,
    /// They are larger than so many bytes.
    pub larger_than: Option<u64>,
    /// They are smaller than so many bytes.
    pub smaller_than: Option<u64>,
}

/// When an object expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expiration {
    /// So many days after it was written.
    Days(u32),
    /// At midnight UTC of a day.
    Date(Time),
    /// A delete marker, when nothing but it is left.
    LoneMarker,
    /// It does not, and neither does a delete marker.
    Never,
}

/// When a version that is no longer the newest expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoncurrentExpiration {
    /// So many days after it was replaced.
    pub days: u32,
    /// If there are so many newer ones that are not the newest either.
    pub keep: Option<u32>,
}

/// A rule of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRule {
    /// Its name.
    pub id: String,
    /// Whether it is in force.
    pub enabled: bool,
    /// What it is about.
    pub filter: LifecycleFilter,
    /// Whether the filter was written as the bare prefix of older clients.
    pub bare_prefix: bool,
    /// When objects expire.
    pub expiration: Option<Expiration>,
    /// When versions that are no longer the newest expire.
    pub noncurrent: Option<NoncurrentExpiration>,
    /// Uploads that were begun so many days ago are dropped.
    pub abort_uploads_days: Option<u32>,
}

/// What rules ask of an object, a version or a delete marker.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its length in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Time,
    /// Its tags.
    pub tags: &'a Tags,
    /// Whether the key leads to it.
    pub is_newest: bool,
    /// Whether it is a delete marker.
    pub is_marker: bool,
    /// Whether the key has no other version, nor marker.
    pub is_alone: bool,
    /// When it was replaced, if it is not the newest.
    pub noncurrent_since: Option<Time>,
    /// How many versions and markers are newer than it, without the newest.
    pub newer_noncurrent: u32,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecycleAction {
    /// Nothing.
    Keep,
    /// Delete it as a client would that names no version: where the bucket has versions, a delete marker hides it.
    Expire,
    /// Remove this version or marker for ever.
    Remove,
}

/// What is to be done with what lies under a key. `has_versions`: whether the bucket keeps versions, or did so once.
pub fn evaluate(
    rules: &[LifecycleRule],
    key: &str,
    facts: &Facts<'_>,
    has_versions: bool,
    now: Time,
) -> LifecycleAction {
    let is_due = |due: &dyn Fn(&LifecycleRule) -> Option<Time>| {
        fitting(rules, key, facts).any(|rule| due(rule).is_some_and(|due| due <= now))
    };
    match (facts.is_newest, facts.is_marker) {
        (true, false) if is_due(&|rule| rule.expires(facts)) => LifecycleAction::Expire,
        (true, true) if has_versions && facts.is_alone && is_due(&|rule| rule.marker_goes(facts)) => {
            LifecycleAction::Remove
        }
        (false, _) if has_versions && is_due(&|rule| rule.version_goes(facts)) => LifecycleAction::Remove,
        _ => LifecycleAction::Keep,
    }
}

/// How many versions and markers must be newer than one that goes for being old, without the newest: as few as one of the rules asks
/// for by which it is due. 0 for what is due for something else.
pub fn newer_needed(rules: &[LifecycleRule], key: &str, facts: &Facts<'_>, now: Time) -> u32 {
    let due =
        fitting(rules, key, facts).filter(|rule| rule.version_goes(facts).is_some_and(|due| due <= now));
    due.filter_map(|rule| rule.noncurrent).map(|old| old.keep.unwrap_or(0)).min().unwrap_or(0)
}

/// When an object expires, and by which rule: what `x-amz-expiration` says. None for what is not the newest, and
/// for markers.
pub fn expiry<'a>(rules: &'a [LifecycleRule], key: &str, facts: &Facts<'_>) -> Option<(Time, &'a str)> {
    if !facts.is_newest || facts.is_marker {
        return None;
    }
    let due = |rule: &'a LifecycleRule| Some((rule.expires(facts)?, rule.id.as_str()));
    fitting(rules, key, facts).filter_map(due).min_by_key(|(due, _)| *due)
}

/// Whether an upload under a key that was begun at a time is to be dropped.
pub fn aborts(rules: &[LifecycleRule], key: &str, begun: Time, now: Time) -> bool {
    abort_due(rules, key, begun).is_some_and(|(due, _)| due <= now)
}

/// When an upload under a key that was begun at a time is to be dropped, and by which rule.
pub fn abort_due<'a>(rules: &'a [LifecycleRule], key: &str, begun: Time) -> Option<(Time, &'a str)> {
    let due = |rule: &'a LifecycleRule| {
        let is_bare = rule.filter.tags.is_empty() && !rule.filter.has_sizes();
        let fits = rule.enabled && is_bare && key.starts_with(&rule.filter.prefix);
        let days = rule.abort_uploads_days.filter(|_| fits)?;
        Some((midnight_after(begun, days), rule.id.as_str()))
    };
    rules.iter().filter_map(due).min_by_key(|(due, _)| *due)
}

fn fitting<'a>(
    rules: &'a [LifecycleRule],
    key: &str,
    facts: &Facts<'_>,
) -> impl Iterator<Item = &'a LifecycleRule> {
    rules.iter().filter(move |rule| rule.enabled && rule.filter.fits(key, facts))
}

/// So many days after a moment, and then at the next midnight UTC.
fn midnight_after(from: Time, days: u32) -> Time {
    let whole = from.seconds.saturating_add(i64::from(from.nanos > 0));
    let later = whole.saturating_add(i64::from(days) * DAY_SECONDS).min(DUE_SECONDS_MAX);
    let over = later.rem_euclid(DAY_SECONDS);
    let seconds = if over == 0 { later } else { later.saturating_add(DAY_SECONDS - over) };
    Time { seconds, nanos: 0 }
}

impl LifecycleFilter {
    fn has_sizes(&self) -> bool {
        self.larger_than.is_some() || self.smaller_than.is_some()
    }

    fn fits(&self, key: &str, facts: &Facts<'_>) -> bool {
        let size = if facts.is_marker { 0 } else { facts.size };
        let has = |(name, value): (&String, &String)| !facts.is_marker && facts.tags.get(name) == Some(value);
        key.starts_with(&self.prefix)
            && self.tags.iter().all(has)
            && self.larger_than.is_none_or(|bound| size > bound)
            && self.smaller_than.is_none_or(|bound| size < bound)
    }
}

impl LifecycleRule {
    /// When an object that is the newest expires.
    fn expires(&self, facts: &Facts<'_>) -> Option<Time> {
        match self.expiration? {
            Expiration::Days(days) => Some(midnight_after(facts.modified, days)),
            Expiration::Date(date) => {
                Some(Time { seconds: date.seconds.min(DUE_SECONDS_MAX), nanos: date.nanos })
            }
            Expiration::LoneMarker | Expiration::Never => None,
        }
    }

    /// When a marker beside which nothing is left goes.
    fn marker_goes(&self, facts: &Facts<'_>) -> Option<Time> {
        match self.expiration? {
            Expiration::LoneMarker => Some(facts.modified),
            Expiration::Days(_) | Expiration::Date(_) | Expiration::Never => self.expires(facts),
        }
    }

    /// When what is not the newest goes.
    fn version_goes(&self, facts: &Facts<'_>) -> Option<Time> {
        let NoncurrentExpiration { days, keep } = self.noncurrent?;
        let since = facts.noncurrent_since.filter(|_| facts.newer_noncurrent >= keep.unwrap_or(0))?;
        Some(midnight_after(since, days))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = DAY_SECONDS;
    static NO_TAGS: Tags = Tags::new();

    fn at(seconds: i64) -> Time {
        Time { seconds, nanos: 0 }
    }

    pub(super) fn rule(id: &str, expiration: Option<Expiration>) -> LifecycleRule {
        LifecycleRule { id: id.into(), enabled: true, expiration, ..LifecycleRule::default() }
    }

    pub(super) fn days(count: u32) -> LifecycleRule {
        rule("days", Some(Expiration::Days(count)))
    }

    pub(super) fn noncurrent(days: u32, keep: Option<u32>) -> LifecycleRule {
        LifecycleRule { noncurrent: Some(NoncurrentExpiration { days, keep }), ..rule("old", None) }
    }

    pub(super) fn filtered(filter: LifecycleFilter) -> LifecycleRule {
        LifecycleRule { filter, ..days(1) }
    }

    pub(super) fn tags(names: &[&str]) -> Tags {
        names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect()
    }

    fn object(modified: i64) -> Facts<'static> {
        Facts {
            size: 100,
            modified: at(modified),
            tags: &NO_TAGS,
            is_newest: true,
            is_marker: false,
            is_alone: true,
            noncurrent_since: None,
            newer_noncurrent: 0,
        }
    }

    fn old_version(since: i64, newer_noncurrent: u32) -> Facts<'static> {
        let noncurrent_since = Some(at(since));
        Facts { is_newest: false, is_alone: false, noncurrent_since, newer_noncurrent, ..object(0) }
    }

    fn of(rule: LifecycleRule, facts: &Facts<'_>, now: i64) -> LifecycleAction {
        evaluate(&[rule], "logs/a", facts, true, at(now))
    }

    #[test]
    fn days_end_at_the_next_midnight() {
        for (seconds, nanos, days, expected) in [
            (0, 0, 1, DAY),
            (0, 1, 1, 2 * DAY),
            (1, 0, 1, 2 * DAY),
            (DAY - 1, 0, 3, 4 * DAY),
            (DAY - 1, 999, 3, 4 * DAY),
            (-1, 0, 1, DAY),
            (i64::MAX, 7, u32::MAX, DUE_SECONDS_MAX),
            (0, 0, DAYS_MAX, DUE_SECONDS_MAX),
        ] {
            assert_eq!(
                midnight_after(Time { seconds, nanos }, days),
                at(expected),
                "{seconds}.{nanos} {days}"
            );
        }
        // The example of the user guide: from 2014-01-15 10:30, three days, until 2014-01-19.
        assert_eq!(midnight_after(at(1_389_781_800), 3), at(1_390_089_600));
    }

    #[test]
    fn objects_expire_by_days_or_date() {
        use LifecycleAction::{Expire, Keep};
        let facts = object(10);
        assert_eq!(of(days(2), &facts, 3 * DAY - 1), Keep);
        assert_eq!(of(days(2), &facts, 3 * DAY), Expire);
        let date = rule("date", Some(Expiration::Date(at(DAY))));
        assert_eq!(of(date.clone(), &facts, DAY - 1), Keep);
        assert_eq!(of(date.clone(), &facts, DAY), Expire);
        assert_eq!(of(LifecycleRule { enabled: false, ..days(1) }, &facts, 100 * DAY), Keep);
        assert_eq!(of(rule("marker", Some(Expiration::LoneMarker)), &facts, 100 * DAY), Keep);
        assert_eq!(evaluate(&[days(1)], "a", &facts, false, at(2 * DAY)), Expire, "without versions too");
        let rules = [days(5), date, rule("also", Some(Expiration::Date(at(DAY))))];
        assert_eq!(expiry(&rules, "a", &facts), Some((at(DAY), "date")), "the earliest, then the first");
        assert_eq!(expiry(&rules[..1], "a", &facts), Some((at(6 * DAY), "days")));
        assert_eq!(expiry(&[], "a", &facts), None);
        assert_eq!(expiry(&rules, "a", &old_version(0, 0)), None);
    }

    #[test]
    fn a_filter_fits_when_all_of_it_does() {
        let named = tags(&["a", "b"]);
        let facts = Facts { tags: &named, ..object(0) };
        let filter = LifecycleFilter::default;
        for (filter, expected) in [
            (filter(), true),
            (LifecycleFilter { prefix: "logs/".into(), ..filter() }, true),
            (LifecycleFilter { prefix: "log/".into(), ..filter() }, false),
            (LifecycleFilter { tags: tags(&["a"]), ..filter() }, true),
            (LifecycleFilter { tags: tags(&["a", "c"]), ..filter() }, false),
            (LifecycleFilter { tags: Tags::from([("a".into(), "y".into())]), ..filter() }, false),
            (LifecycleFilter { larger_than: Some(99), smaller_than: Some(101), ..filter() }, true),
            (LifecycleFilter { larger_than: Some(100), ..filter() }, false),
            (LifecycleFilter { smaller_than: Some(100), ..filter() }, false),
            (LifecycleFilter { prefix: "logs/".into(), larger_than: Some(100), ..filter() }, false),
        ] {
            let action = of(filtered(filter.clone()), &facts, 9 * DAY);
            assert_eq!(action == LifecycleAction::Expire, expected, "{filter:?}");
        }
    }

    #[test]
    fn markers_go_when_nothing_else_is_left() {
        use LifecycleAction::{Keep, Remove};
        let marker = Facts { is_marker: true, ..object(10) };
        let lone = rule("marker", Some(Expiration::LoneMarker));
        assert_eq!(of(lone.clone(), &marker, 11), Remove);
        assert_eq!(of(lone.clone(), &Facts { is_alone: false, ..marker }, 11), Keep);
        assert_eq!(of(days(1), &marker, 2 * DAY - 1), Keep);
        assert_eq!(of(days(1), &marker, 2 * DAY), Remove);
        assert_eq!(of(days(1), &Facts { is_alone: false, ..marker }, 9 * DAY), Keep);
        assert_eq!(of(noncurrent(1, None), &marker, 9 * DAY), Keep);
        let tagged = filtered(LifecycleFilter { tags: tags(&["a"]), ..LifecycleFilter::default() });
        let tags = tags(&["a"]);
        assert_eq!(of(tagged, &Facts { tags: &tags, ..marker }, 9 * DAY), Keep, "a marker has no tags");
        let large = filtered(LifecycleFilter { larger_than: Some(0), ..LifecycleFilter::default() });
        assert_eq!(of(large, &marker, 9 * DAY), Keep, "a marker has no bytes");
        assert_eq!(evaluate(&[lone], "a", &marker, false, at(11)), Keep, "without versions there are none");
        assert_eq!(expiry(&[days(1)], "a", &marker), None);
    }

    #[test]
    fn old_versions_go_when_they_are_old_and_enough_are_kept() {
        use LifecycleAction::{Keep, Remove};
        assert_eq!(of(noncurrent(2, None), &old_version(10, 0), 3 * DAY - 1), Keep);
        assert_eq!(of(noncurrent(2, None), &old_version(10, 0), 3 * DAY), Remove);
        assert_eq!(of(noncurrent(2, Some(3)), &old_version(10, 2), 3 * DAY), Keep);
        assert_eq!(of(noncurrent(2, Some(3)), &old_version(10, 3), 3 * DAY), Remove);
        let old_marker = Facts { is_marker: true, ..old_version(10, 0) };
        assert_eq!(of(noncurrent(2, None), &old_marker, 3 * DAY), Remove);
        assert_eq!(of(days(1), &old_version(10, 0), 9 * DAY), Keep);
        assert_eq!(of(noncurrent(1, None), &object(0), 9 * DAY), Keep);
        let unknown = Facts { noncurrent_since: None, ..old_version(0, 9) };
        assert_eq!(of(noncurrent(1, None), &unknown, 9 * DAY), Keep);
    }

    #[test]
    fn what_goes_needs_as_many_newer_ones_as_a_rule_says_by_which_it_is_due() {
        let needed = |rules: &[LifecycleRule], facts| newer_needed(rules, "logs/a", facts, at(9 * DAY));
        let (three, two, all) = (noncurrent(1, Some(3)), noncurrent(1, Some(2)), noncurrent(1, None));
        let version = old_version(10, 3);
        assert_eq!(needed(std::slice::from_ref(&three), &version), 3);
        assert_eq!(needed(&[three.clone(), two.clone()], &version), 2);
        assert_eq!(needed(&[three.clone(), noncurrent(99, Some(1))], &version), 3, "the other is not due");
        assert_eq!(needed(&[three, two, all], &version), 0);
        let marker = Facts { is_marker: true, ..object(10) };
        assert_eq!(needed(&[rule("marker", Some(Expiration::LoneMarker))], &marker), 0);
    }

    #[test]
    fn uploads_are_dropped_after_days() {
        let rule = LifecycleRule { abort_uploads_days: Some(2), ..rule("uploads", None) };
        let aborts = |rule: LifecycleRule, key, now| aborts(&[rule], key, at(10), at(now));
        assert!(!aborts(rule.clone(), "a", 3 * DAY - 1));
        assert!(aborts(rule.clone(), "a", 3 * DAY));
        assert!(!aborts(LifecycleRule { enabled: false, ..rule.clone() }, "a", 3 * DAY));
        let filter = LifecycleFilter { prefix: "b".into(), ..LifecycleFilter::default() };
        assert!(!aborts(LifecycleRule { filter, ..rule.clone() }, "a", 3 * DAY));
        let filter = LifecycleFilter { tags: tags(&["a"]), ..LifecycleFilter::default() };
        assert!(!aborts(LifecycleRule { filter, ..rule }, "a", 3 * DAY), "an upload has no tags");
        assert!(!aborts(days(1), "a", 9 * DAY));
        let rules = [days(1)];
        assert_eq!(abort_due(&rules, "a", at(10)), None);
    }

    fn any_rule() -> impl Strategy<Value = LifecycleRule> {
        let expiration = prop_oneof![
            Just(None),
            (1..9_u32).prop_map(|days| Some(Expiration::Days(days))),
            (0..9_i64).prop_map(|day| Some(Expiration::Date(at(day * DAY)))),
            Just(Some(Expiration::LoneMarker)),
            Just(Some(Expiration::Never)),
        ];
        let noncurrent = (1..9_u32, prop::option::of(1..4_u32))
            .prop_map(|(days, keep)| NoncurrentExpiration { days, keep });
        let filter = (prop::sample::select(vec!["", "a", "b"]), prop::option::of(0..3_u64));
        (expiration, prop::option::of(noncurrent), prop::option::of(1..9_u32), filter, any::<bool>())
            .prop_map(|(expiration, noncurrent, abort_uploads_days, (prefix, larger_than), enabled)| {
                LifecycleRule {
                    id: format!("{expiration:?}"),
                    enabled,
                    filter: LifecycleFilter {
                        prefix: prefix.into(),
                        larger_than,
                        ..LifecycleFilter::default()
                    },
                    expiration,
                    noncurrent,
                    abort_uploads_days,
                    ..LifecycleRule::default()
                }
            })
    }

    fn any_facts() -> impl Strategy<Value = Facts<'static>> {
        let time = || (0..9 * DAY, 0..2_u32).prop_map(|(seconds, nanos)| Time { seconds, nanos });
        (0..4_u64, time(), any::<[bool; 3]>(), prop::option::of(time()), 0..5_u32).prop_map(
            |(size, modified, [is_newest, is_marker, is_alone], noncurrent_since, newer_noncurrent)| Facts {
                size,
                modified,
                tags: &NO_TAGS,
                is_newest,
                is_marker,
                is_alone,
                noncurrent_since,
                newer_noncurrent,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_due_stays_due_and_expiry_says_when(
            rules in prop::collection::vec(any_rule(), 0..5),
            facts in any_facts(),
            has_versions: bool,
            now in 0..20 * DAY,
            later in 0..20 * DAY,
        ) {
            let action = |now| evaluate(&rules, "a", &facts, has_versions, at(now));
            if action(now) != LifecycleAction::Keep {
                prop_assert_eq!(action(now + later), action(now));
            }
            let aborts = |now| aborts(&rules, "a", facts.modified, at(now));
            prop_assert!(!aborts(now) || aborts(now + later));
            let expiry = expiry(&rules, "a", &facts).map(|(due, _)| due.seconds);
            prop_assert_eq!(action(now) == LifecycleAction::Expire, expiry.is_some_and(|due| due <= now));
            if let Some(due) = expiry {
                prop_assert_eq!(action(due - 1), LifecycleAction::Keep);
                prop_assert_eq!(action(due), LifecycleAction::Expire);
            }
        }

        #[test]
        fn a_due_time_is_less_than_a_day_late(seconds in -99 * DAY..99 * DAY, nanos in 0..3_u32, days in 1..99_u32) {
            let exact = Time { seconds: seconds + i64::from(days) * DAY, nanos };
            let due = midnight_after(Time { seconds, nanos }, days);
            prop_assert_eq!((due.seconds % DAY, due.nanos), (0, 0));
            prop_assert!(due >= exact && at(due.seconds - DAY) < exact);
        }
    }
}
