//! Claims about runbooks in the settings: whatever is written reads the same, alone and in a file; what is wrong is named.

use super::*;
use crate::settings::Settings;

const LEAST: &str =
    "[repository]\nkey = { env = \"K\" }\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n";

const WHOLE: &str = "[runbook.loss]\nabout = \"x\"\nrto = \"10m\"\nparallel = 2\n\
    [[runbook.loss.step]]\nname = \"attach\"\naction = \"attach\"\nshare = \"docs\"\nat = \"snapshot:x\"\n\
    [[runbook.loss.step]]\nname = \"serve\"\naction = \"serve\"\nafter = [\"attach\"]\n\
    [[runbook.loss.step]]\nname = \"app\"\naction = \"run\"\nafter = [\"serve\"]\ncommand = [\"/bin/true\"]\n\
    undo = [\"/bin/true\"]\nprobe = [\"/bin/false\"]\nretries = 2\non_failure = \"roll-back\"\ndrill = \"run\"\n\
    [[runbook.loss.step]]\nname = \"name\"\naction = \"dns\"\nserver = \"192.0.2.53\"\nzone = \"example.net\"\n\
    record = \"files.example.net\"\nvalues = [\"192.0.2.7\"]\ntsig_name = \"k\"\ntsig_secret = { file = \"/k\" }\n";

fn settings(runbooks: &str) -> Result<Settings, Vec<String>> {
    Settings::parse(&format!("{LEAST}{runbooks}"))
        .map_err(|error| error.problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_runbook_is_written_as_it_is_read_alone_and_in_a_file() {
    let settings = settings(WHOLE).expect("correct");
    let runbook = settings.runbook("loss").expect("it is there");
    assert_eq!((runbook.steps.len(), runbook.shares()), (4, vec!["docs"]));
    assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings.clone()));
    let text = runbooks_to_toml(&settings.runbooks);
    assert_eq!(runbooks_from_toml(&text), Ok(settings.runbooks.clone()), "{text}");
    let mut document: DocumentMut = LEAST.parse().expect("TOML");
    add_runbook(&mut document, runbook).expect("it is new");
    assert_eq!(Settings::parse(&document.to_string()), Ok(settings.clone()));
    add_runbook(&mut document, runbook).expect_err("it is there");
}

#[test]
fn what_is_left_out_depends_on_the_action() {
    let settings = settings(WHOLE).expect("correct");
    let step = |name: &str| settings.runbooks[0].step(name).expect("it is there").clone();
    assert!(step("attach").is_idempotent() && !step("app").is_idempotent());
    assert_eq!((step("attach").retries_max(), step("app").retries_max()), (3, 2));
    assert!(step("serve").runs_in_drill() && step("app").runs_in_drill() && !step("name").runs_in_drill());
}

#[test]
fn what_is_wrong_is_named_with_runbook_step_and_key() {
    let step = |keys: &str| format!("[[runbook.r.step]]\nname = \"s\"\n{keys}\n");
    for (keys, problem) in [
        ("", "runbook.r.s.action: is missing"),
        ("action = \"attach\"", "runbook.r.s.share: is missing; attach needs it"),
        (
            "action = \"serve\"\nurl = \"http://x\"",
            "runbook.r.s.url: is only for check-http; this step is serve",
        ),
        ("action = \"start-machine\"", "runbook.r.s.machine: is missing; start-machine needs it"),
        (
            "action = \"warm\"\nshare = \"docs\"\npath = \"/x\"\nall = true",
            "runbook.r.s.all: and path do not go together: a path is read as a whole",
        ),
        (
            "action = \"serve\"\nafter = [\"t\"]",
            "runbook.r.s.after: names \"t\": the runbook has no such step",
        ),
        (
            "action = \"serve\"\nafter = [\"s\"]",
            "runbook.r.step: has steps that wait for each other: s after s",
        ),
        ("action = \"serve\"\ncolour = 1", "runbook.r.s.colour, line 9: is no key here"),
        ("action = \"run\"\ncommand = [\"true\"]", "runbook.r.s.command: begins with \"true\""),
        ("action = \"run\"\ncommand = [\"/x\"]\nretries = 1", "runbook.r.s.retries: needs probe"),
        ("action = \"attach\"\nshare = \"d\"\nat = \"live\"", "is no moment that can be attached"),
        (
            "action = \"move-address\"\naddress = \"192.0.2.1/24\"\ninterface = \"eth0\"\ndrill = \"run\"",
            "runbook.r.s.drill_address: is missing; a drill does not take the address of production",
        ),
        (
            "action = \"dns\"\nserver = \"n\"\nzone = \"z\"\nrecord = \"r.z\"\nvalues = [\"1\\nupdate\"]",
            "runbook.r.s.values: has an element that is empty",
        ),
        (
            "action = \"dns\"\nserver = \"n\"\nzone = \"z\"\nrecord = \"r.z\"\nvalues = [\"1\"]\ntsig_secret = \"hunter2\"",
            "runbook.r.s.tsig_secret, line 13: the value (not shown)",
        ),
    ] {
        let problems = settings(&step(keys)).expect_err(keys);
        assert!(problems.iter().any(|found| found.contains(problem)), "{keys}\n{problem}\n{problems:#?}");
    }
    for (text, problem) in [
        ("runbook = 1\n", "runbook, line 1: is no table"),
        ("[runbook.r]\n", "runbook.r.step: stands 0 times"),
        (
            "[runbook.R]\n[[runbook.R.step]]\nname = \"s\"\naction = \"serve\"\n",
            "runbook.R, line 6: is no name",
        ),
        ("[runbook.r]\nstep = 1\n", "runbook.r.step, line 7: is no list"),
    ] {
        let problems = if text.starts_with("runbook") {
            let error = Settings::parse(&format!("{text}{LEAST}")).expect_err(text);
            error.problems.iter().map(ToString::to_string).collect()
        } else {
            settings(text).expect_err(text)
        };
        assert!(problems.iter().any(|found| found.contains(problem)), "{text}\n{problem}\n{problems:#?}");
    }
}

#[test]
fn steps_that_wait_for_each_other_are_named_as_a_chain() {
    let step = |name: &str, after: &str| {
        format!("[[runbook.r.step]]\nname = \"{name}\"\naction = \"serve\"\nafter = [{after}]\n")
    };
    let text = [step("a", ""), step("b", "\"a\", \"d\""), step("c", "\"b\""), step("d", "\"c\"")].concat();
    let problems = settings(&text).expect_err("a circle");
    assert_eq!(problems, ["runbook.r.step: has steps that wait for each other: b after d after c after b"]);
}
