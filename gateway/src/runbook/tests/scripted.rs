//! A world that does what a script says, a journal in memory, and a kill at a point of choice.
//!
//! A kill is an await that never ends: whoever carries the run is then dropped, as a process is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::runbook::{
    Done, Engine, Entry, Evidence, Journal, JournalError, Known, Mode, Outcome, Probed, RunError, State,
    StepFailure, TakenUp, World,
};
use crate::settings::{Runbook, Step, runbooks_from_toml};

/// Kills at the nth point that is passed; 0: never.
#[derive(Clone, Debug, Default)]
pub(super) struct Kill {
    left: Arc<AtomicU64>,
    pub(super) killed: CancellationToken,
}

impl Kill {
    pub(super) fn at(point: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(point)), killed: CancellationToken::new() }
    }

    async fn pass(&self) {
        if self.killed.is_cancelled() {
            std::future::pending::<()>().await;
        }
        if self.left.load(Ordering::Relaxed) > 0 && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.killed.cancel();
            std::future::pending::<()>().await;
        }
    }
}

/// What a step does when it is carried out.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    /// How many attempts fail.
    pub(super) fails: u32,
    /// Whether an attempt that fails has its effect all the same.
    pub(super) fails_after: bool,
    /// Whether its probe does not know.
    pub(super) is_dim: bool,
    /// How long it takes.
    pub(super) takes: Duration,
}

/// What has become of the world.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// How often each step had its effect.
    pub(super) effects: BTreeMap<String, u32>,
    pub(super) attempts: BTreeMap<String, u32>,
    /// What is there now: effects that were not taken back.
    pub(super) there: BTreeSet<String>,
    /// In the order in which they were taken back.
    pub(super) undone: Vec<String>,
    /// What a drill made besides.
    pub(super) made: bool,
}

/// See the head of this module.
#[derive(Clone)]
pub(super) struct Scripted {
    pub(super) scripts: Arc<BTreeMap<String, Script>>,
    pub(super) facts: Arc<Mutex<Facts>>,
    pub(super) kill: Kill,
    epoch: Instant,
}

impl Scripted {
    pub(super) fn new(scripts: BTreeMap<String, Script>) -> Self {
        let (facts, kill) = (Arc::default(), Kill::default());
        Self { scripts: Arc::new(scripts), facts, kill, epoch: Instant::now() }
    }

    fn script(&self, step: &Step) -> Script {
        self.scripts.get(step.name.as_str()).cloned().unwrap_or_default()
    }

    fn has_effect(&self, step: &str) {
        let mut facts = self.facts.lock();
        *facts.effects.entry(step.to_owned()).or_default() += 1;
        facts.there.insert(step.to_owned());
    }
}

#[async_trait]
impl World for Scripted {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.epoch.elapsed()
    }

    async fn look(&self, _: Option<&Evidence>) -> Result<(Evidence, Vec<String>), StepFailure> {
        self.kill.pass().await;
        Ok((Evidence::default(), Vec::new()))
    }

    async fn prepare(&self) -> Result<(), StepFailure> {
        self.kill.pass().await;
        self.facts.lock().made = true;
        self.kill.pass().await;
        Ok(())
    }

    async fn perform(&self, step: &Step, _: &Known) -> Result<Done, StepFailure> {
        let (name, script) = (step.name.as_str(), self.script(step));
        self.kill.pass().await;
        tokio::time::sleep(script.takes).await;
        let attempt = {
            let mut facts = self.facts.lock();
            let attempts = facts.attempts.entry(name.to_owned()).or_default();
            *attempts += 1;
            *attempts
        };
        let fails = attempt <= script.fails;
        if !fails || script.fails_after {
            self.has_effect(name);
        }
        self.kill.pass().await;
        if fails {
            return Err(StepFailure::passing("the script says so"));
        }
        Ok(Done::saying("done"))
    }

    async fn probe(&self, step: &Step) -> Probed {
        self.kill.pass().await;
        if step.probe.is_empty() || self.script(step).is_dim {
            return Probed::Unknown("the script says so".to_owned());
        }
        if self.facts.lock().there.contains(step.name.as_str()) {
            Probed::Done("it is there".to_owned())
        } else {
            Probed::NotDone
        }
    }

    fn can_undo(&self, step: &Step) -> bool {
        !step.undo.is_empty()
    }

    async fn undo(&self, step: &Step) -> Result<String, StepFailure> {
        self.kill.pass().await;
        {
            let mut facts = self.facts.lock();
            facts.there.remove(step.name.as_str());
            facts.undone.push(step.name.to_string());
        }
        self.kill.pass().await;
        Ok("undone".to_owned())
    }

    async fn tear_down(&self) -> Result<String, StepFailure> {
        self.kill.pass().await;
        self.facts.lock().made = false;
        self.kill.pass().await;
        Ok("torn down".to_owned())
    }
}

/// A journal in memory.
#[derive(Clone, Default)]
pub(super) struct Kept {
    pub(super) entries: Arc<Mutex<Vec<Entry>>>,
    pub(super) kill: Kill,
}

#[async_trait]
impl Journal for Kept {
    async fn append(&self, entry: &Entry) -> Result<(), JournalError> {
        self.kill.pass().await;
        self.entries.lock().push(entry.clone());
        self.kill.pass().await;
        Ok(())
    }
}

impl Kept {
    pub(super) fn state(&self) -> State {
        State::of(self.entries.lock().iter())
    }
}

/// One life of a run: until its end, or until it is killed.
pub(super) async fn live(
    runbook: &Runbook,
    mode: Mode,
    (world, journal): (&Scripted, &Kept),
    kill: Kill,
    taken_up: Option<TakenUp>,
) -> Option<Result<Outcome, RunError>> {
    let world = Scripted { kill: kill.clone(), ..world.clone() };
    let journal = Kept { kill: kill.clone(), ..journal.clone() };
    let engine = Engine::new(runbook, mode, &world, &journal, journal.state(), CancellationToken::new());
    let living = async {
        if let Some(taken_up) = taken_up {
            engine.take_up(taken_up).await?;
        }
        engine.run().await
    };
    tokio::select! {
        biased;
        () = kill.killed.cancelled() => None,
        ended = living => Some(ended),
    }
}

/// A runbook of steps, each a few lines of TOML.
pub(super) fn runbook(steps: &[String]) -> Runbook {
    let steps: String = steps.iter().map(|step| format!("[[runbook.r.step]]\n{step}\n")).collect();
    let text = format!("[runbook.r]\nparallel = 3\n{steps}");
    runbooks_from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}")).remove(0)
}
