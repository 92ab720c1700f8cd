//! What a run reaches outside of itself. Tests have one that is scripted.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use super::evidence::Evidence;
use crate::settings::Step;

/// A step that is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// What it says, for people; of a `choose` step the moment that was chosen.
    pub note: String,
    /// Whether a client was served a byte.
    pub first_byte: bool,
}

impl Done {
    /// A step that says something.
    pub fn saying(note: impl Into<String>) -> Self {
        Self { note: note.into(), first_byte: false }
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct StepFailure {
    /// For people, with what to do.
    pub why: String,
    /// Whether trying again cannot help.
    pub is_final: bool,
}

impl StepFailure {
    /// What may be otherwise next time.
    pub fn passing(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_final: false }
    }

    /// What a person must change.
    pub fn lasting(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_final: true }
    }
}

/// What was found out about a step that may or may not have been carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It was.
    Done(String),
    /// It was not.
    NotDone,
    /// Nobody knows, and why.
    Unknown(String),
}

/// What steps know of those before them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What each step that is done said, by its name.
    pub notes: BTreeMap<String, String>,
}

/// See the head of this module. Every future may be dropped at any await; then its effect may or may not have
/// happened.
#[async_trait]
pub trait World: Send + Sync {
    /// What time it is.
    fn now(&self) -> Timestamp;

    /// Looks at the repository, before anything is done and after everything was.
    async fn look(&self, after: Option<&Evidence>) -> Result<(Evidence, Vec<String>), StepFailure>;

    /// Makes what steps need and no step makes. Called at every start of a process; does what is missing.
    async fn prepare(&self) -> Result<(), StepFailure>;

    /// Carries a step out.
    async fn perform(&self, step: &Step, known: &Known) -> Result<Done, StepFailure>;

    /// Finds out whether it was carried out. Asked of steps that may not be carried out twice.
    async fn probe(&self, step: &Step) -> Probed;

    /// Whether there is a way to take it back.
    fn can_undo(&self, step: &Step) -> bool;

    /// Takes it back, as far as it was carried out. May be called again after it was.
    async fn undo(&self, step: &Step) -> Result<String, StepFailure>;

    /// Takes away everything that a drill made, as far as it is there. May be called again after it was.
    async fn tear_down(&self) -> Result<String, StepFailure>;
}
