//! What steps do to the world: one file each.
//!
//! Each gets a step and the run that it belongs to, does one attempt, and says what came of it. Patience, retries and the
//! journal are the engine's.

mod address;
mod attach;
mod check;
mod child;
mod dns;
mod http;
mod machine;
mod nfs;
mod people;
mod serve;
mod words;

use std::path::PathBuf;

pub(super) use address::{move_address, take_address_back};
pub(super) use attach::attach;
pub(super) use check::{check_command, check_file, check_tcp, warm};
pub(super) use child::{Child, Ended, SEARCH_PATH};
pub(super) use dns::{change_name, take_name_back};
pub(super) use http::check_http;
pub(super) use machine::{end_machines, start_machine, stop_machine};
pub(super) use people::{approve, choose, notify};
pub(super) use serve::{end_gateways, serve, stop};
pub(super) use words::Words;

use super::world::StepFailure;
use crate::settings::Argument;

/// Where a program of the system lies.
pub(super) fn find_program(name: &str) -> Result<PathBuf, StepFailure> {
    let places = SEARCH_PATH.split(':').map(|folder| PathBuf::from(folder).join(name));
    let found = places.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| {
        StepFailure::lasting(format!("there is no program {name} in {SEARCH_PATH}; install it"))
    })
}

/// A key that the settings were checked to have.
fn key<'s, T>(value: Option<&'s T>, name: &str) -> Result<&'s T, StepFailure> {
    value.ok_or_else(|| StepFailure::lasting(format!("the step has no key {name}")))
}

/// Looks for a text in what was read.
fn contains(read: &[u8], wanted: Option<&Argument>, what: &str) -> Result<(), StepFailure> {
    let Some(wanted) = wanted else { return Ok(()) };
    let wanted = wanted.as_str().as_bytes();
    let found = wanted.is_empty() || read.windows(wanted.len()).any(|window| window == wanted);
    if found {
        return Ok(());
    }
    Err(StepFailure::passing(format!(
        "{what} does not contain what it should ({} bytes were read)",
        read.len()
    )))
}
