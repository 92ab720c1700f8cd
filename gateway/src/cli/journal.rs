//! `tidegate journal salvage`: makes a journal that opens out of one that is damaged.
//!
//! The work is [`crate::journal::salvage`]. Nothing is changed in place, and the new folder is not put in
//! the place of the old one: the person who reads what is lost decides.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use super::exit::Failure;
use super::terminal::failed;
use crate::appliance::ApplianceError;
use crate::assembly::AssemblyError;
use crate::control::{ControlError, ErrorKind};
use crate::journal::{LostStretch, SalvageReport, salvage};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Copy what is whole of a damaged journal to a second folder, and name what is lost.
    Salvage(Salvage),
}

#[derive(Debug, Args)]
pub(super) struct Salvage {
    /// An empty folder for the new journal; made if it is missing.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// The damaged journal [default: `journal` in the data folder of the settings].
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
}

/// What was kept and what was not.
#[derive(Debug, Serialize)]
struct Salvaged {
    from: PathBuf,
    to: PathBuf,
    segments: u64,
    records: u64,
    lost: Vec<Lost>,
}

/// A stretch that could not be read.
#[derive(Debug, Serialize)]
struct Lost {
    file: PathBuf,
    offset: u64,
    bytes: u64,
    first_record: Option<u64>,
    last_record: Option<u64>,
    what: String,
}

impl From<LostStretch> for Lost {
    fn from(lost: LostStretch) -> Self {
        let (first_record, last_record) = lost.records.map(|(first, last)| (first.0, last.0)).unzip();
        let LostStretch { file, offset, bytes, records: _, what } = lost;
        Self { file, offset, bytes, first_record, last_record, what }
    }
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let Command::Salvage(Salvage { to, from }) = command;
    let from = match from {
        Some(from) => from,
        None => context.settings()?.gateway.data.as_path().join("journal"),
    };
    let (damaged, new) = (from.clone(), to.clone());
    let salvaging = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&new)
            .map_err(|error| Failure::from(failed("make the new folder", &error)))?;
        let salvaged = salvage(&damaged, &new).map_err(ApplianceError::from);
        salvaged.map_err(|error| Failure::from(AssemblyError::from(error)))
    });
    let report: SalvageReport = salvaging.await.map_err(|error| failed("salvage", &error))??;
    let people = report.to_string();
    let SalvageReport { segments, records, lost } = report;
    let lost: Vec<Lost> = lost.into_iter().map(Lost::from).collect();
    let stretches = lost.len();
    let next = format!(
        "keep {} aside, put {} in its place, start the gateway, and run `tidegate check`",
        from.display(),
        to.display()
    );
    context.terminal.data(&Salvaged { from, to, segments, records, lost }, |_| people)?;
    if stretches == 0 {
        context.terminal.say(&format!("nothing is lost; to go on: {next}"));
        return Ok(());
    }
    let message = format!("{stretches} stretches of the journal are lost, listed above");
    Err(ControlError::new(ErrorKind::Incomplete, message).todo(next).into())
}
