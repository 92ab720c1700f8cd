//! Frames that wait to be sealed.
//!
//! Bound: the gate, which every job has passed. Nobody holds the lock while waiting, so an answer that
//! nothing waits is exact: what is in the pipeline then is in somebody's hands.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

use super::pipeline::Job;

/// See the head of this module.
#[derive(Default)]
pub(super) struct JobQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl JobQueue {
    pub(super) fn put(&self, job: Job) {
        self.state.lock().jobs.push_back(job);
        self.changed.notify_one();
    }

    /// The oldest job, if one waits.
    pub(super) fn try_take(&self) -> Option<Job> {
        self.state.lock().jobs.pop_front()
    }

    /// Waits for a job; `None` when none will come.
    pub(super) fn take(&self) -> Option<Job> {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.jobs.is_empty() && !state.closed);
        state.jobs.pop_front()
    }

    /// No more jobs will come.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}
