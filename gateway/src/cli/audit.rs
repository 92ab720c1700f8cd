//! `tidegate audit`: show the audit log, and see whether it is whole.
//!
//! Reads the files themselves, so it works without a gateway too.

use clap::Subcommand;

use super::Context;
use super::exit::Failure;
use super::format::table;
use super::terminal::failed;
use crate::audit::{AUDIT_FOLDER, Seen, Verified, newest, verify};
use crate::control::{ControlError, ErrorKind};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the newest records, the newest last.
    Show {
        /// How many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Look whether every record fits the one before: nothing was removed, changed or put in. Its last line is worth keeping
    /// elsewhere: given back with `--known`, it shows that nobody has written another chain.
    Verify {
        /// The number and digest of a record that was kept elsewhere.
        #[arg(long, value_name = "NUMBER:DIGEST")]
        known: Option<String>,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let folder = context.settings()?.gateway.data.as_path().join(AUDIT_FOLDER);
    match command {
        Command::Show { limit } => {
            let read = tokio::task::spawn_blocking(move || newest(&folder, limit as usize)).await;
            let records = read.map_err(|error| failed("read the audit log", &error))?;
            let records = records.map_err(|error| failed("read the audit log", &error))?;
            context.terminal.data(&records, |records| shown(records))
        }
        Command::Verify { known } => {
            let known = known.map(|known| known_of(&known)).transpose()?;
            let read = tokio::task::spawn_blocking(move || verify(&folder, known)).await;
            let found = read.map_err(|error| failed("read the audit log", &error))?;
            let found = found.map_err(|error| failed("read the audit log", &error))?;
            context.terminal.data(&found, people)?;
            outcome(&found)
        }
    }
}

fn known_of(text: &str) -> Result<(u64, blake3::Hash), Failure> {
    let parts = text.split_once(':');
    let known =
        parts.and_then(|(number, digest)| Some((number.parse().ok()?, blake3::Hash::from_hex(digest).ok()?)));
    known.ok_or_else(|| {
        Failure::usage(format!(
            "{text:?} is no number and digest; `tidegate audit verify` shows such a line."
        ))
    })
}

fn shown(records: &[Seen]) -> String {
    let row = |seen: &Seen| {
        let (record, entry) = (&seen.record, &seen.record.entry);
        let mut call = entry.call.clone();
        if !entry.subject.is_empty() {
            call.push_str(&format!(" ({})", entry.subject.join(", ")));
        }
        let status = entry.status.map(|status| status.to_string()).unwrap_or_default();
        let outcome = if entry.outcome.is_empty() { status } else { entry.outcome.clone() };
        [
            record.sequence.to_string(),
            format!("{:.0}", record.time),
            record.event.as_str().to_owned(),
            entry.who.clone(),
            entry.from.clone(),
            call,
            outcome,
        ]
    };
    let rows: Vec<_> = records.iter().map(row).collect();
    table(["NO.", "TIME", "EVENT", "WHO", "FROM", "CALL", "OUTCOME"], &rows)
}

fn people(found: &Verified) -> String {
    let mut lines: Vec<String> = found.problems.clone();
    lines.push(format!("{} records, {} to {}", found.records, found.first, found.last));
    if found.cut_off {
        lines.push("the last line is being written, or was cut off by a crash".to_owned());
    }
    if found.records > 0 {
        lines.push(format!("{}:{}", found.last, found.digest));
    }
    lines.join("\n")
}

fn outcome(found: &Verified) -> Result<(), Failure> {
    if found.problems.is_empty() {
        return Ok(());
    }
    let message = format!("the audit log is not whole: {} things do not fit", found.problems.len());
    let error = ControlError::new(ErrorKind::Damaged, message);
    Err(error.todo("compare with the copy in syslog; find out who can write gateway.data/audit").into())
}
