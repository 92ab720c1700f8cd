//! Claims about settings that are wrong.

use std::fs;

use tidegate_integration::attempt::attempt;

use super::{Place, assert_untouched, set_mode, write_private};

const SECRET: &str = "the-secret-access-key-of-nobody";

/// A change of the settings, and what must be said of it.
struct Case {
    from: &'static str,
    to: &'static str,
    says: &'static [&'static str],
}

const CASES: [Case; 9] = [
    Case { from: "[cache]", to: "[cache]\ndisc = \"1GiB\"", says: &["cache.disc", "disk"] },
    Case { from: "[cache]", to: "[cash]", says: &["cash"] },
    Case { from: "rpo = \"1s\"", to: "rpo = \"1ms\"", says: &["rpo", "1ms", "\"1s\"", "\"1d\""] },
    Case { from: "rpo = \"1s\"", to: "rpo = 1", says: &["rpo", "duration"] },
    Case { from: "squash = \"none\"", to: "squash = \"some\"", says: &["squash", "some", "root"] },
    Case { from: "name = \"files\"", to: "name = \"Files!\"", says: &["name", "Files!"] },
    Case { from: "file://", to: "ftp://", says: &["address", "s3://"] },
    Case { from: "dirty = \"128MiB\"", to: "dirty = \"128MiB", says: &["tidegate.toml"] },
    Case { from: "listen = [\"", to: "listen = [\"nowhere:", says: &["listen", "nowhere"] },
];

#[test]
fn settings_that_are_wrong_are_refused_by_key_value_and_range() {
    for case in CASES {
        let place = Place::new();
        place.edit(|text| {
            assert!(text.contains(case.from), "{:?} is there", case.from);
            text.replacen(case.from, case.to, 1)
        });
        let before = place.picture();
        for command in [&["serve"] as &[_], &["attach", "files"], &["status"]] {
            place.gateway.attempt(command).assert_refused(3, case.says, &place.secrets());
            assert_untouched(&before, &place.picture());
        }
    }
}

#[test]
fn settings_that_are_not_there_are_named() {
    let place = Place::new();
    let missing = place.path("missing.toml");
    let before = place.picture();
    attempt(&missing, &["serve"]).assert_refused(3, &["missing.toml"], &place.secrets());
    attempt(&missing, &["attach", "files"]).assert_refused(
        2,
        &["missing.toml", "--address"],
        &place.secrets(),
    );
    assert_untouched(&before, &place.picture());
}

#[test]
fn secrets_that_everybody_may_read_are_not_used() {
    let place = Place::new();
    let credentials = place.path("credentials");
    write_private(&credentials, &format!("AKIDOFNOBODY\n{SECRET}\n"));
    set_mode(&credentials, 0o640);
    let own = format!("address = \"file://{}\"", place.gateway.repository().display());
    let s3 = format!(
        "address = \"s3://bucket/prefix\"\nendpoint = \"http://127.0.0.1:9\"\ncredentials = {{ file = \"{}\" }}",
        credentials.display()
    );
    place.edit(|text| text.replace(&own, &s3));
    let secrets = [place.secrets(), vec![SECRET.to_owned()]].concat();
    let before = place.picture();
    for command in [&["serve"] as &[_], &["attach", "files"], &["key", "list"]] {
        let says = ["credentials", "its mode is 0640", "chmod it to 0600"];
        place.gateway.attempt(command).assert_refused(6, &says, &secrets);
        assert_untouched(&before, &place.picture());
    }
}

#[test]
fn credentials_without_a_secret_are_not_shown() {
    let place = Place::new();
    let credentials = place.path("credentials");
    write_private(&credentials, &format!("AKIDOFNOBODY {SECRET}\n"));
    let own = format!("address = \"file://{}\"", place.gateway.repository().display());
    let s3 = format!(
        "address = \"s3://bucket/prefix\"\nendpoint = \"http://127.0.0.1:9\"\ncredentials = {{ file = \"{}\" }}",
        credentials.display()
    );
    place.edit(|text| text.replace(&own, &s3));
    let secrets = [place.secrets(), vec![SECRET.to_owned()]].concat();
    place.gateway.attempt(&["serve"]).assert_refused(6, &["credentials", "line"], &secrets);
    assert!(!fs::exists(place.gateway.data()).expect("a readable folder"), "nothing was begun");
}
