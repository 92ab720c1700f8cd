//! Runbooks: what is done when a site is lost, carried out, practised, and shown to have worked.
//!
//! A runbook of the settings is a graph of steps. A *run* of it is a folder with a journal: every change of a step is
//! recorded there before and after its effect, so that a run which dies goes on where it was (`state`, `journal`).
//! The engine decides what is next from the journal alone, and reaches everything outside through [`World`], so that
//! it is tested in virtual time against a scripted one. `site` is the real one: it drives a gateway as a child process
//! through command line and admin socket, so that a run outlives the gateway and the gateway a run.
//!
//! A *drill* starts from bucket and key alone, as a disaster would, works on clones and scratch addresses, and
//! ends with its teardown, also after a failure or a kill. That it left the repository as it was is not promised but looked
//! at: `evidence` compares what lay there before and after, and the report says what it found.

mod carried;
mod engine;
mod evidence;
mod journal;
mod page;
mod plot;
mod preview;
mod report;
mod runs;
mod site;
mod state;
mod steps;
#[cfg(test)]
mod tests;
mod world;

pub use carried::{carried, find_carried};
pub use engine::{Engine, Outcome, RunError, TakenUp};
pub use evidence::{Evidence, ShareEvidence};
pub use journal::{FileJournal, Journal, JournalError, JournalLock};
pub use page::page as report_page;
pub use plot::shown as shown_duration;
pub use preview::{Check, Planned, checks, preview};
pub use report::{Objective, Report, StepReport};
pub use runs::{Approval, Run, Runs, RunsError};
pub use site::{Site, Tell};
pub use state::{Entry, Mode, Record, Standing, State, StepState};
pub use world::{Done, Known, Probed, StepFailure, World};
