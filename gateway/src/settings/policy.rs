//! `[[policy]]`: which shares get snapshots by themselves, when, and which of those are kept.
//!
//! What the values do is in [`crate::policy`]; here they are only checked.

use std::fmt;
use std::str::FromStr;

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions, parse_crontab_with};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::names::{BucketName, Name};
use super::problems::Problems;
use super::schema::table;
use super::values::{Span, choice, text_setting};
use super::{Settings, check};

/// The most policies of one gateway.
const POLICIES_MAX: usize = 1_000;
/// The fields of a calendar expression.
const CALENDAR_FIELDS: usize = 5;
/// The longest argument of a hook, in bytes.
const ARGUMENT_BYTES_MAX: usize = 4_096;
/// The longest pattern of a tag, in bytes.
const TAG_BYTES_MAX: usize = 1_024;

choice! {
    /// What a hook that fails does to the run.
    pub enum OnHookFailure {
        /// The run fails, and is tried again later.
        Skip = "skip",
        /// The run goes on; the log says what happened.
        Continue = "continue",
    }
}

table! {
    /// A policy: it takes snapshots of shares and sources by itself, and forgets those that its rules no longer keep. It
    /// never forgets what a person or another policy took, and of each share at least one snapshot always stays. Write
    /// either `schedule` or `every`, and at least one of the keys that begin with `keep_`. While a rule has not found
    /// as many hours, days or other periods as it may, the oldest snapshot stays too.
    pub struct Policy("policy", repeated) {
        /// What it is called. Its snapshots carry the name: under another name it is another policy, which
        /// does not know them.
        name: Name, required;
        /// The shares and buckets that it takes snapshots of.
        shares: Vec<ShareName>, default(Vec::new());
        /// The sources that it saves.
        sources: Vec<Name>, default(Vec::new());
        /// Whether all of its shares are frozen at one moment: then their snapshots show what was written to one share before
        /// another was written to in both, or not in the second alone. Such a policy has no sources.
        consistent: bool, default(false);
        /// When it runs, as a calendar expression: minute, hour, day of month, month, day of week.
        schedule: Calendar, optional;
        /// The time zone of `schedule`, and of the hours, days, weeks, months and years of the rules.
        time_zone: Zone, default(Zone::utc());
        /// How often it runs, counted from 1970-01-01T00:00:00Z.
        every: Span, optional in Span::seconds(60), Span::days(366);
        /// Each run begins later by a part of this, which depends on the name of the policy and on the time
        /// alone. With `every` it is shorter than that.
        jitter: Span, default(Span::seconds(0)) in Span::seconds(0), Span::days(1);
        /// Keep so many of the newest.
        keep_last: u32, optional in 1, 100_000;
        /// Keep the newest of each hour, of so many hours that have one.
        keep_hourly: u32, optional in 1, 100_000;
        /// Keep the newest of each day, of so many days that have one.
        keep_daily: u32, optional in 1, 100_000;
        /// Keep the newest of each week (Monday to Sunday), of so many weeks that have one.
        keep_weekly: u32, optional in 1, 100_000;
        /// Keep the newest of each month, of so many months that have one.
        keep_monthly: u32, optional in 1, 100_000;
        /// Keep the newest of each year, of so many years that have one.
        keep_yearly: u32, optional in 1, 100_000;
        /// Keep what is older than the newest by no more than this.
        keep_within: Span, optional in Span::seconds(60), Span::days(36_500);
        /// Keep what has one of these tags: `KEY`, or `KEY=VALUE`.
        keep_tags: Vec<TagPattern>, default(Vec::new());
        /// A command that runs before the snapshots: a program and its arguments, without a shell. It is killed when the
        /// run is cancelled.
        before: Vec<Argument>, default(Vec::new());
        /// A command that runs after the snapshots, when all are there. It is not cut when the run is cancelled.
        after: Vec<Argument>, default(Vec::new());
        /// A command that runs when a run has failed, and when one was cancelled, or the gateway stopped, after `before` had
        /// begun: it ends what `before` began. It may come after `after`, if that failed.
        on_failure: Vec<Argument>, default(Vec::new());
        /// How long a hook may take. After that it is killed, with what it started. Once the gateway stops, `after` and
        /// `on_failure` have 20 seconds each.
        hook_timeout: Span, default(Span::seconds(300)) in Span::seconds(1), Span::days(1);
        /// What happens when `before` or `after` fails.
        on_hook_failure: OnHookFailure, default(OnHookFailure::Skip);
    }
}

/// The name of a share or bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareName(String);

impl ShareName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ShareName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.parse::<Name>().is_ok() || text.parse::<BucketName>().is_ok() {
            Ok(Self(text.to_owned()))
        } else {
            Err("is no name of a share or bucket".to_owned())
        }
    }
}

impl fmt::Display for ShareName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(ShareName, "the name of a [[share]] or [[bucket]]");

/// A time zone: of the machine's database, or else of the one that is part of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

impl Zone {
    /// UTC.
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    /// Its rules.
    pub fn rules(&self) -> &TimeZone {
        &self.zone
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match TimeZone::get(text) {
            Ok(zone) => Ok(Self { name: zone.iana_name().unwrap_or(text).to_owned(), zone }),
            Err(_) => Err("is no time zone".to_owned()),
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

text_setting!(Zone, "a time zone such as \"UTC\" or \"Europe/Berlin\"");

/// Times of a calendar.
#[derive(Clone, Debug)]
pub struct Calendar {
    text: String,
    utc: Crontab,
}

impl Calendar {
    /// As if the time zone were UTC.
    pub fn in_utc(&self) -> &Crontab {
        &self.utc
    }

    /// Whether the hours are all hours, or all of a step: then the time that passes counts, not the clock on
    /// the wall.
    pub fn counts_hours(&self) -> bool {
        self.text.split_ascii_whitespace().nth(1).is_some_and(|hours| hours.starts_with('*'))
    }
}

impl PartialEq for Calendar {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl FromStr for Calendar {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        if fields.len() != CALENDAR_FIELDS {
            return Err(format!("has {} fields, not {CALENDAR_FIELDS}", fields.len()));
        }
        let text = fields.join(" ");
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let utc = parse_crontab_with(&text, options).map_err(|_| "is no calendar expression".to_owned())?;
        if utc.find_next(Timestamp::UNIX_EPOCH).is_err() {
            return Err("never comes".to_owned());
        }
        Ok(Self { text, utc })
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

text_setting!(
    Calendar,
    "five fields for minute, hour, day of month, month and day of week, such as \"30 2 * * *\", \
     \"*/15 8-18 * * MON-FRI\" or \"0 3 L * *\" (the last day of each month)"
);

/// Which tags of a snapshot are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagPattern {
    key: String,
    value: Option<String>,
}

impl TagPattern {
    /// Whether a tag is meant.
    pub fn matches(&self, key: &str, value: &str) -> bool {
        self.key == key && self.value.as_ref().is_none_or(|wanted| wanted == value)
    }
}

impl FromStr for TagPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
        if key.is_empty() || text.len() > TAG_BYTES_MAX {
            return Err("is no tag".to_owned());
        }
        Ok(Self { key: key.to_owned(), value: value.map(str::to_owned) })
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, "={value}"))
    }
}

text_setting!(TagPattern, "a tag: \"KEY\" or \"KEY=VALUE\"");

/// A part of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument(String);

impl Argument {
    /// As the program gets it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Argument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('\0') || text.len() > ARGUMENT_BYTES_MAX {
            return Err(format!("has a zero byte, or more than {ARGUMENT_BYTES_MAX} bytes"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(Argument, "a string");

impl Settings {
    /// The policy of that name.
    pub fn policy(&self, name: &str) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.name.as_str() == name)
    }

    /// The share that a name in a policy means: a share, what a bucket shows, or a bucket of objects.
    pub fn share_of_policy<'s>(&'s self, name: &'s ShareName) -> &'s str {
        let name = name.as_str();
        let bucket = if self.share(name).is_some() { None } else { self.bucket(name) };
        bucket.and_then(|bucket| bucket.share.as_ref()).map_or(name, Name::as_str)
    }
}

/// Notes what does not fit together within policies, and between them and other tables.
pub(super) fn policies_fit(settings: &Settings, problems: &mut Problems<'_>) {
    if settings.policies.len() > POLICIES_MAX {
        let message = format!("stands {} times; write at most {POLICIES_MAX}", settings.policies.len());
        problems.add("policy", None, message);
    }
    check::distinct("policy", "name", settings.policies.iter().map(|policy| &policy.name), problems);
    for policy in &settings.policies {
        let mut note =
            |key: &str, what: String| problems.add(&format!("policy.{}.{key}", policy.name), None, what);
        shares_fit(settings, policy, &mut note);
        times_fit(policy, &mut note);
        if !policy.has_a_rule() {
            note("keep_last", "is missing, and so is every other rule; write at least one keep_ key".into());
        }
        for (key, command) in policy.hooks() {
            if command.first().is_some_and(|program| !program.as_str().starts_with('/')) {
                let first = &command[0];
                note(key, format!("begins with \"{first}\"; write the absolute path of a program"));
            }
        }
    }
}

fn shares_fit(settings: &Settings, policy: &Policy, note: &mut impl FnMut(&str, String)) {
    if policy.shares.is_empty() && policy.sources.is_empty() {
        let what = "is empty, and so is sources; name at least one [[share]], [[bucket]] or [[source]]";
        note("shares", what.into());
    }
    if policy.consistent && !policy.sources.is_empty() {
        note(
            "consistent",
            "is set, and sources cannot be frozen with shares; give them a policy of their own".into(),
        );
    }
    let mut seen = std::collections::BTreeSet::new();
    for name in &policy.sources {
        if settings.source(name.as_str()).is_none() {
            note("sources", format!("names \"{name}\": there is no [[source]] of that name"));
        }
        if !seen.insert(name.as_str()) {
            note("sources", format!("names \"{name}\" twice; each source once"));
        }
    }
    for name in &policy.shares {
        let share = settings.share_of_policy(name);
        let follows = match (settings.share(share), settings.bucket(share)) {
            (Some(share), _) => share.follow,
            (None, Some(bucket)) => bucket.follow,
            (None, None) => {
                note("shares", format!("names \"{name}\": there is no [[share]] or [[bucket]] of that name"));
                continue;
            }
        };
        if follows {
            let why = "its own gateway takes its snapshots";
            note("shares", format!("names \"{name}\", which only follows another gateway: {why}"));
        }
        if !seen.insert(share) {
            note("shares", format!("names \"{share}\" twice; each share once"));
        }
    }
}

fn times_fit(policy: &Policy, note: &mut impl FnMut(&str, String)) {
    match (&policy.schedule, policy.every) {
        (None, None) => note("schedule", "is missing; write schedule or every".into()),
        (Some(_), Some(_)) => note("every", "and schedule exclude each other; write one of them".into()),
        (None, Some(every)) if policy.jitter >= every => {
            note("jitter", format!("is {}, not shorter than every, which is {every}", policy.jitter));
        }
        _ => {}
    }
}

impl Policy {
    /// Whether it says anything about what is kept.
    fn has_a_rule(&self) -> bool {
        let counts = [
            self.keep_last,
            self.keep_hourly,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_yearly,
        ];
        counts.iter().any(Option::is_some) || self.keep_within.is_some() || !self.keep_tags.is_empty()
    }

    /// Its commands, with their keys.
    fn hooks(&self) -> [(&'static str, &[Argument]); 3] {
        [("before", &self.before), ("after", &self.after), ("on_failure", &self.on_failure)]
    }

    /// The same without the commands that it runs; and whether it had any.
    #[must_use]
    pub fn without_hooks(mut self) -> (Self, bool) {
        let hooks = [&mut self.before, &mut self.after, &mut self.on_failure];
        let had_hooks = hooks.iter().any(|hook| !hook.is_empty());
        hooks.into_iter().for_each(Vec::clear);
        (self, had_hooks)
    }

    /// When it runs, for people.
    pub fn when(&self) -> String {
        match (&self.schedule, self.every) {
            (Some(schedule), _) => format!("{schedule} {}", self.time_zone),
            (None, Some(every)) => format!("every {every}"),
            (None, None) => "never".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "every = \"1h\"\nkeep_last = 3";

    fn settings(policies: &str) -> Result<Settings, Vec<String>> {
        let text = format!(
            "[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n\
             [[share]]\nname = \"docs\"\n[[share]]\nname = \"far\"\nfollow = true\n\
             [[bucket]]\nname = \"docs.s3\"\nshare = \"docs\"\n[[bucket]]\nname = \"flat\"\n{policies}"
        );
        Settings::parse(&text).map_err(|error| error.problems.iter().map(ToString::to_string).collect())
    }

    fn policy(keys: &str) -> Result<Settings, Vec<String>> {
        let shares = if keys.contains("shares") { "" } else { "shares = [\"docs\"]\n" };
        settings(&format!("[[policy]]\nname = \"p\"\n{shares}{keys}\n"))
    }

    #[test]
    fn the_least_policy_has_a_name_shares_a_time_and_a_rule() {
        let settings = policy(LEAST).expect("enough");
        let policy = settings.policy("p").expect("it is there");
        assert_eq!((policy.when().as_str(), policy.time_zone.to_string().as_str()), ("every 1h", "UTC"));
        assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings), "whatever is written reads the same");
    }

    #[test]
    fn every_key_is_written_as_it_is_read() {
        let all = "schedule = \"30  2 * * MON-FRI\"\ntime_zone = \"europe/berlin\"\njitter = \"5m\"\n\
            keep_hourly = 1\nkeep_daily = 2\nkeep_weekly = 3\nkeep_monthly = 4\nkeep_yearly = 5\n\
            keep_within = \"30d\"\nkeep_tags = [\"a\", \"b=c=d\"]\nbefore = [\"/bin/true\", \"\", \"$x\"]\n\
            after = [\"/bin/true\"]\non_failure = [\"/bin/true\"]\nhook_timeout = \"1s\"\non_hook_failure = \"continue\"";
        let settings = policy(all).expect("correct");
        assert_eq!(settings.policies[0].when(), "30 2 * * MON-FRI Europe/Berlin");
        assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings));
    }

    #[test]
    fn buckets_are_named_as_shares_are() {
        let settings = policy(&format!("shares = [\"docs.s3\", \"flat\"]\n{LEAST}")).expect("both are there");
        let shares = &settings.policies[0].shares;
        assert_eq!(
            shares.iter().map(|name| settings.share_of_policy(name)).collect::<Vec<_>>(),
            ["docs", "flat"]
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key_and_what_is_allowed() {
        for (keys, problem) in [
            ("keep_last = 1", "policy.p.schedule: is missing; write schedule or every"),
            ("every = \"1h\"", "policy.p.keep_last: is missing, and so is every other rule"),
            (
                "every = \"1h\"\nschedule = \"* * * * *\"\nkeep_last = 1",
                "policy.p.every: and schedule exclude each other",
            ),
            ("every = \"59s\"\nkeep_last = 1", "out of range; write from \"1m\" to \"366d\""),
            (
                "every = \"5m\"\njitter = \"5m\"\nkeep_last = 1",
                "policy.p.jitter: is 5m, not shorter than every",
            ),
            (
                "schedule = \"2 * * *\"\nkeep_last = 1",
                "\"2 * * *\" has 4 fields, not 5; write five fields for minute",
            ),
            ("schedule = \"* * * * * UTC\"\nkeep_last = 1", "has 6 fields, not 5"),
            ("schedule = \"61 * * * *\"\nkeep_last = 1", "is no calendar expression; write five fields"),
            ("schedule = \"0 0 30 2 *\"\nkeep_last = 1", "\"0 0 30 2 *\" never comes"),
            (
                "time_zone = \"Europe/Atlantis\"\nevery = \"1h\"\nkeep_last = 1",
                "is no time zone; write a time zone such as",
            ),
            ("every = \"1h\"\nkeep_daily = 0", "0 is out of range; write from 1 to 100000"),
            ("every = \"1h\"\nkeep_tags = [\"=x\"]", "has an element 0 that is no tag"),
            ("every = \"1h\"\nkeep_dayly = 7", "policy.p.keep_dayly, line 20: is no key here"),
            (
                "every = \"1h\"\nkeep_last = 1\nbefore = [\"true\"]",
                "policy.p.before: begins with \"true\"; write the absolute path",
            ),
            (
                "every = \"1h\"\nkeep_last = 1\nafter = [\"/bin/x\", \"\\u0000\"]",
                "has an element 1 that has a zero byte",
            ),
            ("every = \"1h\"\nkeep_last = 1\non_hook_failure = \"ignore\"", "write \"skip\" or \"continue\""),
            (
                "every = \"1h\"\nkeep_last = 1\nhook_timeout = \"2d\"",
                "is out of range; write from \"1s\" to \"1d\"",
            ),
            ("shares = []\nevery = \"1h\"\nkeep_last = 1", "policy.p.shares: is empty"),
            (
                "shares = [\"none\"]\nevery = \"1h\"\nkeep_last = 1",
                "names \"none\": there is no [[share]] or [[bucket]]",
            ),
            ("shares = [\"docs\", \"docs.s3\"]\nevery = \"1h\"\nkeep_last = 1", "names \"docs\" twice"),
            (
                "sources = [\"base\"]\nconsistent = true\nevery = \"1h\"\nkeep_last = 1",
                "policy.p.consistent: is set, and sources cannot be frozen with shares",
            ),
            (
                "shares = [\"far\"]\nevery = \"1h\"\nkeep_last = 1",
                "names \"far\", which only follows another gateway",
            ),
        ] {
            let problems = policy(keys).expect_err(keys);
            assert!(problems.iter().any(|found| found.contains(problem)), "{keys}\n{problem}\n{problems:#?}");
        }
        let twice = format!("[[policy]]\nname = \"p\"\nshares = [\"docs\"]\n{LEAST}\n");
        let problems = settings(&format!("{twice}{twice}")).expect_err("twice");
        assert_eq!(problems, ["policy.name: \"p\" stands twice; each must differ"]);
    }
}
