//! Claims about keys that do not open, and key files that are not what they should be.

use std::fs;

use super::{Place, assert_untouched, set_mode, write_private};

/// A key file that is not as it must be, and what is said of it.
struct Case {
    what: &'static str,
    spoil: fn(&Place),
    says: &'static [&'static str],
}

const CASES: [Case; 5] = [
    Case {
        what: "the key of another repository",
        spoil: |place| {
            let other = Place::new();
            fs::copy(other.gateway.key(), place.gateway.key()).expect("a writable folder");
        },
        says: &["file://", "does not open", "/repository.key", "the key that belongs to this repository"],
    },
    Case {
        what: "a mistyped key",
        spoil: |place| {
            let key = fs::read_to_string(place.gateway.key()).expect("the key");
            let last = if key.trim_end().ends_with('0') { "1" } else { "0" };
            write_private(
                &place.gateway.key(),
                &(key.trim_end()[..key.trim_end().len() - 1].to_owned() + last),
            );
        },
        says: &["/repository.key", "its text is not whole", "fetch a copy"],
    },
    Case {
        what: "no key at all",
        spoil: |place| write_private(&place.gateway.key(), ""),
        says: &["/repository.key", "it is empty"],
    },
    Case {
        what: "a key file that is not there",
        spoil: |place| fs::remove_file(place.gateway.key()).expect("it is there"),
        says: &["/repository.key", "No such file"],
    },
    Case {
        what: "a key file that everybody may read",
        spoil: |place| set_mode(&place.gateway.key(), 0o644),
        says: &["/repository.key", "its mode is 0644", "chmod it to 0600"],
    },
];

#[test]
fn a_repository_does_not_open_without_its_key() {
    for case in CASES {
        let place = Place::new();
        let secrets = place.secrets();
        (case.spoil)(&place);
        let before = place.picture();
        for command in [&["serve"] as &[_], &["attach", "files"], &["key", "list"]] {
            println!("{}: {command:?}", case.what);
            place.gateway.attempt(command).assert_refused(6, case.says, &secrets);
            assert_untouched(&before, &place.picture());
        }
    }
}
