//! `[[bandwidth]]`: at which hours a target may be sent, or asked for, how much.
//!
//! What the rows mean at a moment is in [`crate::bandwidth`]; here they are only checked.

use std::fmt;
use std::str::FromStr;

use super::Settings;
use super::names::Name;
use super::policy::Zone;
use super::problems::Problems;
use super::schema::table;
use super::values::{Rate, Size, text_setting};

/// The most rows of one gateway.
const ROWS_MAX: usize = 1_000;
/// Minutes of a day.
pub(crate) const DAY_MINUTES: u16 = 24 * 60;
/// The days of a week, Monday first, as they are written.
const DAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

table! {
    /// Hours at which other rates hold than a target's own. At every moment the first row that holds decides; where none
    /// does, `upload_rate` and `download_rate` of the target do. Rates change while bodies are under way.
    pub struct Bandwidth("bandwidth", repeated) {
        /// The target that it is about. Without it: every target.
        target: Name, optional;
        /// The days on which its hours begin. Without any: every day.
        days: Vec<Days>, default(Vec::new());
        /// When it begins, by the clock on the wall.
        from: TimeOfDay, default(TimeOfDay(0));
        /// When it ends. What is not later than `from` is meant on the next day.
        to: TimeOfDay, default(TimeOfDay(DAY_MINUTES));
        /// The time zone of that clock.
        time_zone: Zone, default(Zone::utc());
        /// The most that is sent. Without it: what the target's own says.
        upload_rate: Rate, optional in Rate(Size(1 << 10)), Rate(Size::tib(1));
        /// The most that is fetched. Without it: what the target's own says.
        download_rate: Rate, optional in Rate(Size(1 << 10)), Rate(Size::tib(1));
    }
}

/// A day of the week, or several in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    first: u8,
    last: u8,
}

impl Days {
    /// Whether a day is among them; Monday is 0.
    pub fn has(self, day: u8) -> bool {
        if self.first <= self.last {
            (self.first..=self.last).contains(&day)
        } else {
            day >= self.first || day <= self.last
        }
    }
}

impl FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let day = |text: &str| {
            let found = DAYS.iter().position(|day| day.eq_ignore_ascii_case(text));
            found.map(|day| day as u8).ok_or_else(|| "is no day".to_owned())
        };
        match text.split_once('-') {
            Some((first, last)) => Ok(Self { first: day(first)?, last: day(last)? }),
            None => day(text).map(|day| Self { first: day, last: day }),
        }
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DAYS[usize::from(self.first)])?;
        if self.last == self.first { Ok(()) } else { write!(f, "-{}", DAYS[usize::from(self.last)]) }
    }
}

text_setting!(Days, "a day such as \"SAT\", or several such as \"MON-FRI\"");

/// A time of the day, in minutes from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(pub(crate) u16);

impl TimeOfDay {
    /// Minutes from the beginning of the day, up to its end.
    pub fn minutes(self) -> u16 {
        self.0
    }
}

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "is no time of the day".to_owned();
        let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
        let number = |text: &str, digits: usize| {
            let plain =
                text.len() <= digits && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse::<u16>().ok()).flatten().ok_or_else(wrong)
        };
        let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
        let time = hours * 60 + minutes;
        if minutes < 60 && time <= DAY_MINUTES { Ok(Self(time)) } else { Err(wrong()) }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

text_setting!(TimeOfDay, "a time such as \"08:30\"; the end of a day is \"24:00\"");

/// Notes what does not fit together within rows, and between them and targets.
pub(super) fn bandwidth_fits(settings: &Settings, problems: &mut Problems<'_>) {
    if settings.bandwidth.len() > ROWS_MAX {
        let message = format!("stands {} times; write at most {ROWS_MAX}", settings.bandwidth.len());
        problems.add("bandwidth", None, message);
    }
    for (at, row) in settings.bandwidth.iter().enumerate() {
        let mut note = |key: &str, what: String| problems.add(&format!("bandwidth[{at}].{key}"), None, what);
        if let Some(name) = &row.target
            && !settings.targets.iter().any(|target| target.name == *name)
        {
            note("target", format!("names \"{name}\": there is no [[target]] of that name"));
        }
        if row.upload_rate.is_none() && row.download_rate.is_none() {
            note("upload_rate", "is missing, and so is download_rate; write at least one of them".into());
        }
        if row.from.0 == DAY_MINUTES {
            note("from", "is the end of a day; write \"00:00\"".into());
        }
    }
}

impl Bandwidth {
    /// When it holds, for people.
    pub fn when(&self) -> String {
        let days: Vec<String> = self.days.iter().map(ToString::to_string).collect();
        let days = if days.is_empty() { "every day".to_owned() } else { days.join(",") };
        format!("{days} {}-{} {}", self.from, self.to, self.time_zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(rows: &str) -> Result<Settings, Vec<String>> {
        let text = format!(
            "[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n{rows}"
        );
        Settings::parse(&text).map_err(|error| error.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_row_is_written_as_it_is_read() {
        let rows = "[[bandwidth]]\ntarget = \"t\"\ndays = [\"mon-fri\", \"SUN\"]\nfrom = \"8:00\"\nto = \"18:30\"\n\
            time_zone = \"Europe/Berlin\"\nupload_rate = \"2MiB/s\"\n\
            [[bandwidth]]\nfrom = \"22:00\"\nto = \"06:00\"\ndownload_rate = \"1GiB/s\"\n";
        let settings = settings(rows).expect("correct");
        let when: Vec<String> = settings.bandwidth.iter().map(Bandwidth::when).collect();
        assert_eq!(when, ["MON-FRI,SUN 08:00-18:30 Europe/Berlin", "every day 22:00-06:00 UTC"]);
        assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings));
    }

    #[test]
    fn days_in_a_row_may_go_over_the_end_of_the_week() {
        let days: Days = "SAT-MON".parse().expect("days");
        let has: Vec<u8> = (0..7).filter(|day| days.has(*day)).collect();
        assert_eq!(has, [0, 5, 6]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key_and_what_is_allowed() {
        for (keys, problem) in [
            ("", "bandwidth[0].upload_rate: is missing, and so is download_rate"),
            (
                "target = \"x\"\nupload_rate = \"1MiB/s\"",
                "bandwidth[0].target: names \"x\": there is no [[target]]",
            ),
            ("from = \"24:00\"\nupload_rate = \"1MiB/s\"", "bandwidth[0].from: is the end of a day"),
            (
                "to = \"24:01\"\nupload_rate = \"1MiB/s\"",
                "\"24:01\" is no time of the day; write a time such as",
            ),
            ("from = \"7\"\nupload_rate = \"1MiB/s\"", "is no time of the day"),
            ("from = \"+7:00\"\nupload_rate = \"1MiB/s\"", "is no time of the day"),
            ("days = [\"MON-\"]\nupload_rate = \"1MiB/s\"", "has an element 0 that is no day"),
            ("upload_rate = \"1B/s\"", "is out of range; write from \"1KiB/s\" to \"1TiB/s\""),
        ] {
            let problems = settings(&format!("[[bandwidth]]\n{keys}\n")).expect_err(keys);
            assert!(problems.iter().any(|found| found.contains(problem)), "{keys}\n{problem}\n{problems:#?}");
        }
    }
}
