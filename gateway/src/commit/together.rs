//! Shares frozen at one sequence: a consistency group.
//!
//! Each member commits by itself, in a thread of its own, up to where its map is frozen. There it waits for the others;
//! when the last one has come the applier pauses, every member takes its view, and the applier goes on. So all views
//! hold exactly the records up to the same sequence, and what an application wrote to one share before it wrote to
//! another is in both or was never in the second alone. Clients are not held up: the journal goes on.
//!
//! A member that does not come, because its commit failed or waits too long for another, breaks the group: the
//! others freeze each for itself, and all are told that they were not together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::live::Live;

/// How long a member waits for the others: a commit that is under way may be uploading.
const WAIT_MAX: Duration = Duration::from_mins(10);

/// See the head of this module.
pub(crate) struct FreezeGroup {
    live: Live,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Members that have not left.
    members: usize,
    /// Those that wait to freeze.
    arrived: usize,
    /// Those that have frozen while the applier paused.
    frozen: usize,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Members come.
    Gathering,
    /// All are here, and the applier pauses.
    Freezing,
    /// All have frozen together.
    Together,
    /// Somebody did not come.
    Broken,
}

/// One share of a group. Dropping it without freezing breaks the group.
pub(crate) struct Member {
    group: Arc<FreezeGroup>,
    has_left: bool,
}

impl FreezeGroup {
    /// A group of so many members.
    pub(crate) fn new(live: Live, members: usize) -> (Arc<Self>, Vec<Member>) {
        let state = State { members, arrived: 0, frozen: 0, phase: Phase::Gathering };
        let group = Arc::new(Self { live, state: Mutex::new(state), changed: Condvar::new() });
        let member = || Member { group: group.clone(), has_left: false };
        let all = std::iter::repeat_with(member).take(members).collect();
        (group, all)
    }

    /// Whether all members were frozen at one sequence.
    pub(crate) fn were_together(&self) -> bool {
        self.state.lock().phase == Phase::Together
    }

    fn set(&self, state: &mut State, phase: Phase) {
        state.phase = phase;
        self.changed.notify_all();
    }
}

impl Member {
    /// Waits for the others, then takes a view. Blocks.
    pub(crate) fn freeze<T>(mut self, take: impl FnOnce() -> T) -> T {
        let group = self.group.clone();
        let until = Instant::now() + WAIT_MAX;
        let mut state = group.state.lock();
        self.has_left = true;
        state.arrived += 1;
        if state.phase == Phase::Gathering && state.arrived == state.members {
            group.live.pause_applier();
            group.set(&mut state, Phase::Freezing);
        }
        while state.phase == Phase::Gathering {
            if group.changed.wait_until(&mut state, until).timed_out() && state.phase == Phase::Gathering {
                group.set(&mut state, Phase::Broken);
            }
        }
        if state.phase == Phase::Broken {
            drop(state);
            return take();
        }
        drop(state);
        let taken = take();
        let mut state = group.state.lock();
        state.frozen += 1;
        if state.frozen == state.members {
            group.live.let_applier_go_on();
            group.set(&mut state, Phase::Together);
        }
        taken
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if !self.has_left {
            let mut state = self.group.state.lock();
            if state.phase == Phase::Gathering {
                self.group.set(&mut state, Phase::Broken);
            }
        }
    }
}
