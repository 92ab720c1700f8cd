//! What must hold within a runbook: steps that can be ordered, and keys that belong to their action.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, InDrill, Runbook, Step};
use crate::settings::policy::Argument;
use crate::settings::problems::Problems;
use crate::settings::{Settings, check};

/// The most runbooks of one gateway.
const RUNBOOKS_MAX: usize = 100;
/// The most steps of one runbook.
const STEPS_MAX: usize = 500;

/// Notes what does not fit together within runbooks.
pub(in crate::settings) fn runbooks_fit(settings: &Settings, problems: &mut Problems<'_>) {
    each_fits(&settings.runbooks, problems);
}

/// The same of runbooks that stand alone.
pub(super) fn each_fits(runbooks: &[Runbook], problems: &mut Problems<'_>) {
    if runbooks.len() > RUNBOOKS_MAX {
        problems.add("runbook", None, format!("there are {}; write at most {RUNBOOKS_MAX}", runbooks.len()));
    }
    runbooks.iter().for_each(|runbook| runbook_fits(runbook, problems));
}

fn runbook_fits(runbook: &Runbook, problems: &mut Problems<'_>) {
    let path = format!("runbook.{}", runbook.name);
    if !(1..=STEPS_MAX).contains(&runbook.steps.len()) {
        let message = format!("stands {} times; write 1 to {STEPS_MAX} steps", runbook.steps.len());
        problems.add(&format!("{path}.step"), None, message);
    }
    check::distinct(&format!("{path}.step"), "name", runbook.steps.iter().map(|step| &step.name), problems);
    for step in &runbook.steps {
        let mut note = |key: &str, what: String| {
            problems.add(&format!("{path}.{}.{key}", step.name), None, what);
        };
        order_fits(runbook, step, &mut note);
        keys_fit(step, &mut note);
        commands_fit(step, &mut note);
        step_fits(step, &mut note);
    }
    if let Some(circle) = circle(runbook) {
        problems.add(&format!("{path}.step"), None, format!("has steps that wait for each other: {circle}"));
    }
}

fn order_fits(runbook: &Runbook, step: &Step, note: &mut impl FnMut(&str, String)) {
    for name in &step.after {
        if runbook.step(name.as_str()).is_none() {
            note("after", format!("names \"{name}\": the runbook has no such step"));
        }
    }
}

/// Steps that wait for each other, if there are any, as a chain.
fn circle(runbook: &Runbook) -> Option<String> {
    let mut waits: BTreeMap<&str, BTreeSet<&str>> = runbook
        .steps
        .iter()
        .map(|step| (step.name.as_str(), step.after.iter().map(super::Name::as_str).collect()))
        .collect();
    // Names of steps that there are not are told of elsewhere.
    let there: BTreeSet<&str> = waits.keys().copied().collect();
    waits.values_mut().for_each(|after| after.retain(|name| there.contains(name)));
    loop {
        let free: Vec<&str> =
            waits.iter().filter(|(_, after)| after.is_empty()).map(|(name, _)| *name).collect();
        if free.is_empty() {
            break;
        }
        for name in free {
            waits.remove(name);
            waits.values_mut().for_each(|after| {
                after.remove(name);
            });
        }
    }
    let first = *waits.keys().next()?;
    let (mut chain, mut at) = (vec![first], first);
    loop {
        at = waits.get(at)?.iter().next()?;
        let met = chain.iter().position(|name| *name == at);
        chain.push(at);
        if let Some(from) = met {
            return Some(chain[from..].join(" after "));
        }
    }
}

/// The keys that say what a step does, whether they are set, and the actions that have them.
fn keys(step: &Step) -> Vec<(&'static str, bool, &'static [Action])> {
    use Action::{
        Approve, Attach, CheckCommand, CheckFile, CheckHttp, CheckTcp, Choose, Dns, MoveAddress, Notify, Run,
        Serve, StartMachine, Warm,
    };
    vec![
        ("share", step.share.is_some(), &[Attach, Choose, Warm, CheckFile]),
        ("path", step.path.is_some(), &[CheckFile, Warm]),
        ("all", step.all, &[Warm]),
        ("machine", step.machine.is_some(), &[StartMachine]),
        ("unit", step.unit.is_some(), &[Serve]),
        ("command", !step.command.is_empty(), &[Run, CheckCommand]),
        ("undo", !step.undo.is_empty(), &[Run]),
        ("probe", !step.probe.is_empty(), &[Run]),
        ("idempotent", step.idempotent, &[Run]),
        ("url", step.url.is_some(), &[CheckHttp]),
        ("contains", step.contains.is_some(), &[CheckHttp, CheckFile, CheckCommand, StartMachine]),
        ("max_age", step.max_age.is_some(), &[CheckFile]),
        ("address", step.address.is_some(), &[CheckTcp, MoveAddress]),
        ("interface", step.interface.is_some(), &[MoveAddress]),
        ("drill_address", step.drill_address.is_some(), &[MoveAddress]),
        ("server", step.server.is_some(), &[Dns]),
        ("zone", step.zone.is_some(), &[Dns]),
        ("record", step.record.is_some(), &[Dns]),
        ("drill_record", step.drill_record.is_some(), &[Dns]),
        ("values", !step.values.is_empty(), &[Dns]),
        ("undo_values", !step.undo_values.is_empty(), &[Dns]),
        ("tsig_name", step.tsig_name.is_some(), &[Dns]),
        ("tsig_secret", step.tsig_secret.is_some(), &[Dns]),
        ("notifier", step.notifier.is_some(), &[Notify]),
        ("message", step.message.is_some(), &[Approve, Choose, Notify]),
    ]
}

/// The keys that an action cannot do without.
const fn needed(action: Action) -> &'static [&'static str] {
    match action {
        Action::Attach | Action::Choose | Action::Warm => &["share"],
        Action::Serve => &[],
        Action::StartMachine => &["machine"],
        Action::Run | Action::CheckCommand => &["command"],
        Action::CheckHttp => &["url"],
        Action::CheckTcp => &["address"],
        Action::CheckFile => &["share", "path"],
        Action::MoveAddress => &["address", "interface"],
        Action::Dns => &["server", "zone", "record", "values"],
        Action::Approve => &["message"],
        Action::Notify => &["notifier", "message"],
    }
}

fn keys_fit(step: &Step, note: &mut impl FnMut(&str, String)) {
    let action = step.action;
    for (key, is_set, actions) in keys(step) {
        if is_set && !actions.contains(&action) {
            let names: Vec<&str> = actions.iter().map(|action| action.as_str()).collect();
            note(key, format!("is only for {}; this step is {action}", names.join(", ")));
        }
        if !is_set && needed(action).contains(&key) {
            note(key, format!("is missing; {action} needs it"));
        }
    }
}

fn commands_fit(step: &Step, note: &mut impl FnMut(&str, String)) {
    let commands: [(&str, &[Argument]); 3] =
        [("command", &step.command), ("undo", &step.undo), ("probe", &step.probe)];
    for (key, command) in commands {
        if command.first().is_some_and(|program| !program.as_str().starts_with('/')) {
            note(key, format!("begins with \"{}\"; write the absolute path of a program", command[0]));
        }
    }
}

fn step_fits(step: &Step, note: &mut impl FnMut(&str, String)) {
    if !step.is_idempotent() && step.probe.is_empty() && step.retries_max() > 0 {
        let what = "needs probe, or idempotent = true: else nobody knows whether trying again does it twice";
        note("retries", what.into());
    }
    if step.all && step.path.is_some() {
        note("all", "and path do not go together: a path is read as a whole".into());
    }
    if step.tsig_name.is_some() != step.tsig_secret.is_some() {
        note("tsig_name", "and tsig_secret belong together; set both or none".into());
    }
    let wants_drill = step.drill == Some(InDrill::Run);
    if wants_drill && step.action == Action::MoveAddress && step.drill_address.is_none() {
        note("drill_address", "is missing; a drill does not take the address of production".into());
    }
    if wants_drill && step.action == Action::Dns && step.drill_record.is_none() {
        note("drill_record", "is missing; a drill does not change the name of production".into());
    }
    if step.drill_address.is_some() && step.drill_address == step.address {
        note("drill_address", "is the address of production".into());
    }
    if step.drill_record.is_some() && step.drill_record == step.record {
        note("drill_record", "is the name of production".into());
    }
    let odd = |text: &Argument| {
        let text = text.as_str();
        text.is_empty()
            || text.starts_with('-')
            || text.chars().any(|letter| letter.is_whitespace() || letter.is_control())
    };
    // These become words of commands that others read.
    let words =
        [("interface", &step.interface), ("address", &step.address), ("drill_address", &step.drill_address)];
    let more = [("server", &step.server), ("unit", &step.unit)];
    for (key, text) in words.into_iter().chain(more) {
        if text.as_ref().is_some_and(odd) {
            note(key, "is empty, begins with -, or has a blank in it".into());
        }
    }
    for (key, texts) in [("values", &step.values), ("undo_values", &step.undo_values)] {
        if texts.iter().any(odd) {
            note(key, "has an element that is empty, begins with -, or has a blank in it".into());
        }
    }
}
