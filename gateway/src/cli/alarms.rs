//! `tidegate alarms`: what is wrong now; and trying a notifier.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::Context;
use super::exit::Failure;
use crate::alarm::{Notice, way};
use crate::assembly::sender;
use crate::control::{Alarm, ControlError, ErrorKind, Severity};
use crate::settings::{Notify, Settings};

#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Tell a notifier of the settings something that is no alarm. Needs no gateway.
    Test {
        /// The notifier [default: all of them].
        notify: Option<String>,
    },
}

/// A notifier that was tried.
#[derive(Debug, Serialize)]
struct Tried {
    notify: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command.action {
        Some(Action::Test { notify }) => test(context, notify.as_deref()).await,
        None => {
            let alarms: Vec<Alarm> = context.client()?.get("/alarms").await?;
            context.terminal.data(&alarms, |alarms| list(alarms))
        }
    }
}

fn list(alarms: &[Alarm]) -> String {
    if alarms.is_empty() {
        return "no alarms".to_owned();
    }
    alarms.iter().map(shown).collect::<Vec<_>>().join("\n\n")
}

/// An alarm for people, also for `tidegate status`.
pub(super) fn shown(alarm: &Alarm) -> String {
    let severity = match alarm.severity {
        Severity::Warning => "warning",
        Severity::Critical => "CRITICAL",
    };
    let Alarm { code, subject, since, message, todo, .. } = alarm;
    let about = if subject.is_empty() { String::new() } else { format!(" {subject}") };
    let since = since.strftime("%Y-%m-%dT%H:%M:%SZ");
    format!("{severity}: {code}{about}, since {since}\n  {message}\n  what to do: {todo}")
}

async fn test(context: &Context, wanted: Option<&str>) -> Result<(), Failure> {
    let settings = context.settings()?;
    let mut tried = Vec::new();
    for notify in chosen(&settings, wanted)? {
        let notice = Notice::test(Timestamp::now());
        let error = way(notify).deliver(&notice, &sender(&settings)).await.err();
        tried.push(Tried { notify: notify.name.to_string(), error: error.map(|error| error.to_string()) });
    }
    context.terminal.data(&tried, |tried| {
        let line = |tried: &Tried| match &tried.error {
            None => format!("{}: told", tried.notify),
            Some(error) => format!("{}: NOT told: {error}", tried.notify),
        };
        tried.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    match tried.iter().filter(|tried| tried.error.is_some()).count() {
        0 => Ok(()),
        failed => {
            Err(ControlError::new(ErrorKind::Failed, format!("{failed} notifiers could not be told")).into())
        }
    }
}

fn chosen<'s>(settings: &'s Settings, wanted: Option<&str>) -> Result<Vec<&'s Notify>, Failure> {
    let missing = |what: String| {
        let error = ControlError::new(ErrorKind::NotFound, what);
        Failure::from(error.todo("write it in the settings, under [[notify]]"))
    };
    match wanted {
        Some(name) => {
            let found = settings.notifier(name);
            Ok(vec![found.ok_or_else(|| missing(format!("there is no notifier {name:?}")))?])
        }
        None if settings.notify.is_empty() => Err(missing("there are no notifiers".to_owned())),
        None => Ok(settings.notify.iter().collect()),
    }
}
