//! Bounds what is in the pipeline.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Lets at most so many frames be between the cutter and the pack file.
pub(super) struct Gate {
    inside: Mutex<usize>,
    changed: Condvar,
    inside_max: usize,
}

/// A frame's stay in the pipeline: leaves when it is dropped, whatever became of the frame.
pub(super) struct Pass(Arc<Gate>);

impl Gate {
    pub(super) fn new(inside_max: usize) -> Arc<Self> {
        Arc::new(Self { inside: Mutex::new(0), changed: Condvar::new(), inside_max })
    }

    /// Lets a frame in, if there is room.
    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Pass> {
        let mut inside = self.inside.lock();
        if *inside >= self.inside_max {
            return None;
        }
        *inside += 1;
        Some(Pass(Arc::clone(self)))
    }

    /// Waits for room.
    pub(super) fn wait_for_room(&self) {
        let mut inside = self.inside.lock();
        self.changed.wait_while(&mut inside, |inside| *inside >= self.inside_max);
    }

    /// Waits until nobody is inside.
    pub(super) fn wait_empty(&self) {
        let mut inside = self.inside.lock();
        self.changed.wait_while(&mut inside, |inside| *inside > 0);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        *self.0.inside.lock() -= 1;
        self.0.changed.notify_all();
    }
}
