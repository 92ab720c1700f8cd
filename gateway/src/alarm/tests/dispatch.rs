//! Who hears of what, and how often.

use super::*;
use crate::alarm::{Dispatch, Event, Notice, Recipient, Tidings};

fn recipient(name: &str, least: Severity, remind_every: u64) -> Recipient {
    Recipient { name: name.to_owned(), least, remind_every: Duration::from_secs(remind_every), cleared: true }
}

fn told(notices: &[(usize, Notice)]) -> Vec<(usize, Tidings)> {
    notices.iter().map(|(place, notice)| (*place, notice.tidings)).collect()
}

#[test]
fn each_hears_once_then_when_it_is_worse_then_as_often_as_it_wants_and_when_it_is_over() {
    let recipients = [
        recipient("all", Severity::Warning, 100),
        recipient("pager", Severity::Critical, 0),
        Recipient { cleared: false, ..recipient("quiet", Severity::Warning, 0) },
    ];
    let mut dispatch = Dispatch::default();
    let mut after = |at: i64, events: &[Event], alarms: &[Alarm]| {
        told(&dispatch.after(events, alarms, &recipients, second(at)))
    };
    let (low, high) = (alarm("a", Severity::Warning), alarm("a", Severity::Critical));
    let raised = [Event::Raised(low.clone())];
    assert_eq!(after(0, &raised, std::slice::from_ref(&low)), [(0, Tidings::Raised), (2, Tidings::Raised)]);
    assert_eq!(after(99, &[], std::slice::from_ref(&low)), []);
    assert_eq!(after(100, &[], std::slice::from_ref(&low)), [(0, Tidings::Lasting)]);
    let worse = [Event::Worse(high.clone())];
    assert_eq!(
        after(150, &worse, std::slice::from_ref(&high)),
        [(0, Tidings::Worse), (1, Tidings::Raised), (2, Tidings::Worse)]
    );
    assert_eq!(after(200, &[], std::slice::from_ref(&high)), [], "told at 150");
    assert_eq!(after(250, &[], std::slice::from_ref(&high)), [(0, Tidings::Lasting)]);
    let over = [Event::Cleared(high)];
    assert_eq!(after(300, &over, &[]), [(0, Tidings::Cleared), (1, Tidings::Cleared)]);
    assert_eq!(after(301, &over, &[]), [], "who has not heard of it does not hear that it is over");
}

#[test]
fn a_new_notifier_hears_of_what_lasts_and_an_old_one_does_not_hear_it_again() {
    let mut dispatch = Dispatch::default();
    let alarms = [alarm("a", Severity::Critical)];
    let one = recipient("one", Severity::Warning, 0);
    assert_eq!(dispatch.after(&[], &alarms, std::slice::from_ref(&one), second(0)).len(), 1);
    let both = [recipient("two", Severity::Warning, 0), one];
    assert_eq!(told(&dispatch.after(&[], &alarms, &both, second(1))), [(0, Tidings::Raised)]);
}
