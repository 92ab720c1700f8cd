//! The board against a model that knows the whole past and looks through all of it each time.

use super::*;
use crate::alarm::{Board, Event};

/// How a thing was at a time; none: there was no reading.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    Wrong(Severity),
    Between,
    Right,
    Gone,
}

const HOLD: u64 = 30;
const CLEAR: u64 = 60;

/// Whether, since when and how urgently the alarm is raised after these looks, by the words of the promise alone.
fn model(past: &[(i64, Seen)]) -> Option<(i64, Severity)> {
    // For how long it has been so, without a break, what lies between is as what came before.
    let mut as_before = Seen::Right;
    let was_wrong: Vec<bool> = past
        .iter()
        .map(|(_, seen)| {
            as_before = if *seen == Seen::Between { as_before } else { *seen };
            matches!(as_before, Seen::Wrong(_))
        })
        .collect();
    let run_start = |place: usize| {
        let same = |earlier: &usize| was_wrong[*earlier] == was_wrong[place];
        past[(0..=place).rev().take_while(same).last().expect("itself")].0
    };
    let mut raised: Option<(i64, Severity)> = None;
    for (place, (at, seen)) in past.iter().enumerate() {
        let lasts = (at - run_start(place)) as u64;
        raised = match (seen, raised) {
            (Seen::Gone, _) => None,
            (Seen::Right, Some(_)) if lasts >= CLEAR => None,
            (Seen::Wrong(severity), None) if lasts >= HOLD => Some((run_start(place), *severity)),
            (Seen::Wrong(severity), Some((since, before))) => Some((since, before.max(*severity))),
            (_, as_it_was) => as_it_was,
        };
    }
    raised
}

fn random_past(chance: &mut Chance) -> Vec<(i64, Seen)> {
    let mut at = 0;
    // Some pasts waver, some stay as they are for long.
    let (steadiness, step) = (1 + chance.below(12), 1 + chance.below(40));
    let mut seen = Seen::Right;
    (0..=chance.below(80))
        .map(|_| {
            at += chance.below(step) as i64;
            if chance.below(steadiness) == 0 {
                seen = match chance.below(9) {
                    0..=2 => Seen::Wrong(Severity::Warning),
                    3 => Seen::Wrong(Severity::Critical),
                    4 | 5 => Seen::Between,
                    6 | 7 => Seen::Right,
                    _ => Seen::Gone,
                };
            }
            (at, seen)
        })
        .collect()
}

fn look(board: &mut Board, at: i64, seen: Seen) -> Vec<Event> {
    let verdict = match seen {
        Seen::Wrong(severity) => wrong(severity, HOLD),
        Seen::Between => Verdict::Between,
        Seen::Right => Verdict::Right,
        Seen::Gone => return board.look(Vec::new(), second(at), Duration::from_secs(CLEAR)),
    };
    board.look(vec![reading("a", verdict)], second(at), Duration::from_secs(CLEAR))
}

#[test]
fn an_alarm_is_raised_and_cleared_exactly_when_the_whole_past_says_so() {
    for seed in seeds() {
        let mut chance = Chance::new(seed);
        let past = random_past(&mut chance);
        let mut board = Board::default();
        let mut raised = false;
        for place in 0..past.len() {
            let events = look(&mut board, past[place].0, past[place].1);
            let found = board.alarms().first().map(|alarm| (alarm.since.as_second(), alarm.severity));
            assert_eq!(found, model(&past[..=place]), "after {:?}", &past[..=place]);
            for event in events {
                match event {
                    Event::Raised(_) => assert!(!std::mem::replace(&mut raised, true), "raised once"),
                    Event::Cleared(_) => assert!(std::mem::replace(&mut raised, false), "cleared once"),
                    Event::Worse(alarm) => assert!(raised && alarm.severity == Severity::Critical),
                }
            }
            assert_eq!(raised, found.is_some(), "every change is an event");
        }
    }
}

#[test]
fn what_flaps_faster_than_it_must_last_is_never_an_alarm_and_never_the_end_of_one() {
    let mut board = Board::default();
    let flap = |board: &mut Board, from: i64| -> Vec<Event> {
        let looks = (0..200).flat_map(|number| {
            let seen = if number % 3 == 0 { Seen::Right } else { Seen::Wrong(Severity::Warning) };
            look(board, from + number * 10, seen)
        });
        looks.collect()
    };
    assert_eq!(flap(&mut board, 0), []);
    for at in [3000, 3030] {
        look(&mut board, at, Seen::Wrong(Severity::Warning));
    }
    assert_eq!(board.alarms().len(), 1);
    assert_eq!(flap(&mut board, 4000), [], "right for twenty seconds is not right for sixty");
    assert_eq!(board.alarms().len(), 1);
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_an_alarm_from_being_raised() {
    let mut board = Board::default();
    look(&mut board, 1_000_000, Seen::Wrong(Severity::Warning));
    look(&mut board, 0, Seen::Wrong(Severity::Warning));
    let events = look(&mut board, 30, Seen::Wrong(Severity::Warning));
    assert!(matches!(&events[..], [Event::Raised(alarm)] if alarm.since == second(0)), "{events:?}");
}

#[test]
fn the_most_urgent_comes_first() {
    let mut board = Board::default();
    let readings = vec![
        reading("b", wrong(Severity::Warning, 0)),
        reading("c", wrong(Severity::Critical, 0)),
        reading("a", wrong(Severity::Warning, 0)),
    ];
    assert_eq!(board.look(readings, second(0), Duration::ZERO).len(), 3);
    let subjects: Vec<String> = board.alarms().into_iter().map(|alarm| alarm.subject).collect();
    assert_eq!(subjects, ["c", "a", "b"]);
}

#[test]
fn an_alarm_quotes_no_more_than_a_heartbeat_and_a_variable_hold() {
    let quoted = format!("it failed: \0{}", "x".repeat(300 << 10));
    let (severity, after, todo) = (Severity::Warning, Duration::ZERO, "see the log".to_owned());
    let verdict = Verdict::Wrong { severity, after, message: quoted, todo };
    let mut board = Board::default();
    let events = board.look(vec![reading("a", verdict)], second(1), Duration::from_secs(CLEAR));
    let [Event::Raised(alarm)] = &events[..] else { panic!("{} events", events.len()) };
    assert_eq!(board.alarms(), std::slice::from_ref(alarm));
    assert!(alarm.message.starts_with("it failed: \u{fffd}xxx"), "{}", &alarm.message[..30]);
    assert!(alarm.message.len() <= Alarm::MESSAGE_BYTES_MAX, "{} bytes", alarm.message.len());
}
