//! Rows of hours and the rates that they set: what holds at a moment, and when that changes. Pure.
//!
//! A row holds while the clock on its wall shows its hours. So an hour that comes twice belongs to it both times, and one
//! that is left out does not come: the clock decides, however long the hours turn out to be. Hours that go over
//! midnight belong to the day on which they begin.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{Timestamp, ToSpan};

use crate::settings::{Bandwidth, Days, Rate, Settings, Target};

/// Days ahead in which every change of a week lies, whatever the zone does.
const DAYS_AHEAD: i32 = 9;

/// How fast bodies go up and down, in bytes per second; `None` for as fast as they can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// To the target.
    pub up: Option<u64>,
    /// From the target.
    pub down: Option<u64>,
}

/// What holds at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The rates.
    pub rates: Rates,
    /// The row that says so, by its place among those of the settings; `None` for the target's own.
    pub row: Option<usize>,
}

/// The rows of one target.
#[derive(Clone, Debug)]
pub struct Calendar {
    own: Rates,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    place: usize,
    days: Vec<Days>,
    from: u16,
    to: u16,
    zone: TimeZone,
    rates: Rates,
    when: String,
}

impl Calendar {
    /// That of a target.
    pub fn of(settings: &Settings, target: &Target) -> Self {
        let bytes = |rate: Option<Rate>| rate.map(Rate::bytes_per_second);
        let own = Rates { up: bytes(target.upload_rate), down: bytes(target.download_rate) };
        let rows = settings.bandwidth.iter().enumerate();
        let of_target = |row: &Bandwidth| row.target.as_ref().is_none_or(|name| *name == target.name);
        let rows = rows.filter(|(_, row)| of_target(row)).map(|(place, row)| Row {
            place,
            days: row.days.clone(),
            from: row.from.minutes(),
            to: row.to.minutes(),
            zone: row.time_zone.rules().clone(),
            rates: Rates {
                up: bytes(row.upload_rate).or(own.up),
                down: bytes(row.download_rate).or(own.down),
            },
            when: row.when(),
        });
        Self { own, rows: rows.collect() }
    }

    /// What holds at a moment.
    pub fn at(&self, time: Timestamp) -> InForce {
        let row = self.rows.iter().find(|row| row.holds(time));
        row.map_or(InForce { rates: self.own, row: None }, |row| InForce {
            rates: row.rates,
            row: Some(row.place),
        })
    }

    /// When something else begins to hold; `None` if that is not in sight.
    pub fn change_after(&self, time: Timestamp) -> Option<Timestamp> {
        let now = self.at(time);
        let mut edges: Vec<Timestamp> = self.rows.iter().flat_map(|row| row.edges_after(time)).collect();
        edges.sort_unstable();
        edges.into_iter().find(|edge| self.at(*edge) != now)
    }

    /// When a row holds, for people.
    pub fn when(&self, place: usize) -> Option<&str> {
        self.rows.iter().find(|row| row.place == place).map(|row| row.when.as_str())
    }
}

impl Row {
    fn holds(&self, time: Timestamp) -> bool {
        let wall = self.zone.to_datetime(time);
        let minute = wall.hour() as u16 * 60 + wall.minute() as u16;
        let today = wall.weekday().to_monday_zero_offset() as u8;
        let begins_on = |day: u8| self.days.is_empty() || self.days.iter().any(|days| days.has(day));
        if self.from < self.to {
            begins_on(today) && (self.from..self.to).contains(&minute)
        } else {
            let yesterday = (today + 6) % 7;
            (begins_on(today) && minute >= self.from) || (begins_on(yesterday) && minute < self.to)
        }
    }

    /// All moments after `time` at which it may begin or cease to hold, about a week ahead.
    fn edges_after(&self, time: Timestamp) -> Vec<Timestamp> {
        let today = self.zone.to_datetime(time).date();
        let mut edges: Vec<Timestamp> =
            self.zone.following(time).take(2).map(|change| change.timestamp()).collect();
        for day in -1..=DAYS_AHEAD {
            let Ok(date) = today.checked_add(day.days()) else { continue };
            for minutes in [self.from, self.to] {
                let shown =
                    date.to_datetime(jiff::civil::Time::midnight()).checked_add(i64::from(minutes).minutes());
                edges.extend(shown.into_iter().flat_map(|shown| moments_of(shown, &self.zone)));
            }
        }
        edges.retain(|edge| *edge > time);
        edges
    }
}

/// When the wall shows this: once, twice, or, where it leaves it out, by either offset.
fn moments_of(shown: DateTime, zone: &TimeZone) -> Vec<Timestamp> {
    let offsets: Vec<Offset> = match zone.to_ambiguous_timestamp(shown).offset() {
        AmbiguousOffset::Unambiguous { offset } => vec![offset],
        AmbiguousOffset::Fold { before, after } | AmbiguousOffset::Gap { before, after } => {
            vec![before, after]
        }
    };
    offsets.into_iter().filter_map(|offset| offset.to_timestamp(shown).ok()).collect()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    fn calendar(own: &str, rows: &str) -> Calendar {
        let text = format!(
            "[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n{own}\n{rows}"
        );
        let settings = Settings::parse(&text).expect("correct");
        Calendar::of(&settings, &settings.targets[0])
    }

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    const OFFICE: &str = "[[bandwidth]]\ndays = [\"MON-FRI\"]\nfrom = \"08:00\"\nto = \"18:00\"\n\
        time_zone = \"Europe/Berlin\"\nupload_rate = \"1MiB/s\"\n";

    #[test]
    fn the_first_row_that_holds_decides_and_the_targets_own_where_none_does() {
        let rows = format!(
            "{OFFICE}[[bandwidth]]\ntime_zone = \"Europe/Berlin\"\nfrom = \"17:00\"\nto = \"20:00\"\n\
            upload_rate = \"3MiB/s\"\ndownload_rate = \"4MiB/s\""
        );
        let calendar = calendar("upload_rate = \"9MiB/s\"\ndownload_rate = \"8MiB/s\"", &rows);
        let mib = |up: u64, down: u64| Rates { up: Some(up << 20), down: Some(down << 20) };
        for (at, rates, row) in [
            ("2026-11-26T06:59:59Z", mib(9, 8), None),
            ("2026-11-26T07:00:00Z", mib(1, 8), Some(0)),
            ("2026-11-26T16:30:00Z", mib(1, 8), Some(0)),
            ("2026-11-26T17:00:00Z", mib(3, 4), Some(1)),
            ("2026-11-26T19:00:00Z", mib(9, 8), None),
            ("2026-11-28T10:00:00Z", mib(9, 8), None),
            ("2026-11-28T16:30:00Z", mib(3, 4), Some(1)),
        ] {
            assert_eq!(calendar.at(time(at)), InForce { rates, row }, "{at}");
        }
        assert_eq!(calendar.change_after(time("2026-11-27T18:59:00Z")), Some(time("2026-11-27T19:00:00Z")));
        assert_eq!(calendar.change_after(time("2026-11-28T19:00:00Z")), Some(time("2026-11-29T16:00:00Z")));
        assert_eq!(calendar.when(0), Some("MON-FRI 08:00-18:00 Europe/Berlin"));
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
        let night =
            "[[bandwidth]]\ndays = [\"FRI\"]\nfrom = \"22:00\"\nto = \"06:00\"\nupload_rate = \"1MiB/s\"";
        let calendar = calendar("", night);
        let holds = |at: &str| calendar.at(time(at)).row.is_some();
        assert!(!holds("2026-11-27T05:00:00Z"), "Friday morning belongs to Thursday");
        assert!(holds("2026-11-27T22:00:00Z") && holds("2026-11-28T05:59:59Z"));
        assert!(!holds("2026-11-28T06:00:00Z") && !holds("2026-11-28T23:00:00Z"));
    }

    #[test]
    fn a_target_without_rows_never_changes() {
        let calendar = calendar("", "");
        assert_eq!(calendar.at(Timestamp::UNIX_EPOCH), InForce { rates: Rates::default(), row: None });
        assert_eq!(calendar.change_after(Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn when_clocks_change_the_wall_decides() {
        let row = "[[bandwidth]]\nfrom = \"02:15\"\nto = \"02:45\"\ntime_zone = \"Europe/Berlin\"\nupload_rate = \"1MiB/s\"";
        let calendar = calendar("", row);
        let changes = |from: &str, count: usize| {
            let mut changes = vec![time(from)];
            for _ in 0..count {
                changes.extend(calendar.change_after(*changes.last().expect("one")));
            }
            changes[1..].iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        // In autumn the hour comes twice.
        let autumn =
            ["2026-10-25T00:15:00Z", "2026-10-25T00:45:00Z", "2026-10-25T01:15:00Z", "2026-10-25T01:45:00Z"];
        assert_eq!(changes("2026-10-24T12:00:00Z", 4), autumn);
        // In spring it does not come; the next is a day later.
        assert_eq!(changes("2027-03-27T12:00:00Z", 1), ["2027-03-29T00:15:00Z"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn changes_are_where_a_look_at_every_minute_finds_them(
            rows in prop::collection::vec(
                (0_usize..7, 0_usize..7, 0_u16..1440, 0_u16..=1440, 0_usize..5), 1..4),
            start in prop::sample::select(vec![
                "2026-10-20T11:00:00Z", "2027-03-24T03:30:00Z", "2026-04-01T00:00:00Z", "2026-12-28T09:59:00Z",
            ]),
        ) {
            const DAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
            const ZONES: [&str; 5] =
                ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"];
            let row = |(first, last, from, to, zone): &(usize, usize, u16, u16, usize)| {
                let (first, last, zone) = (DAYS[*first], DAYS[*last], ZONES[*zone]);
                let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
                let (from, to) = (time(*from), time(*to));
                format!(
                    "[[bandwidth]]\ndays = [\"{first}-{last}\"]\nfrom = \"{from}\"\nto = \"{to}\"\n\
                     time_zone = \"{zone}\"\nupload_rate = \"1MiB/s\"\n"
                )
            };
            let text = rows.iter().map(row).collect::<Vec<_>>().concat();
            let calendar = calendar("", &text);
            let (mut at, minute) = (time(start), SignedDuration::from_mins(1));
            let mut next = calendar.change_after(at);
            for _ in 0..9 * 24 * 60 {
                let before = calendar.at(at);
                at += minute;
                let changed = calendar.at(at) != before;
                prop_assert_eq!(changed, next == Some(at), "at {}: {:?}", at, next);
                if changed {
                    next = calendar.change_after(at);
                }
            }
        }
    }
}
