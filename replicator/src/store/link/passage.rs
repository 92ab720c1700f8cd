//! One call on its way over a link: its class, what it has moved, and how long it was held up.
//!
//! The limit over an adapter opens a passage around each call; the adapter asks for its [`Pace`] and tells it what
//! it moves, piece by piece. A deadline in between does not count the time in which the pace held the call up.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Direction, Link, Traffic};

/// See the head of this module.
#[derive(Debug)]
pub(in crate::store) struct Passage {
    link: Arc<Link>,
    traffic: Traffic,
    moved: [AtomicU64; 2],
    held: Mutex<Held>,
}

/// When at least one piece of the call was held up.
#[derive(Debug)]
struct Held {
    pieces: usize,
    since: Instant,
    before: Duration,
}

tokio::task_local! {
    static CURRENT: Arc<Passage>;
}

impl Passage {
    /// Makes a call in a passage of its own; bytes that the adapter said nothing of have passed in the end too.
    pub(in crate::store) async fn around<T, E>(
        link: &Arc<Link>,
        call: impl Future<Output = Result<T, E>>,
        moved: impl FnOnce(&T) -> (Direction, u64),
    ) -> Result<T, E> {
        let passage = Arc::new(Self {
            link: Arc::clone(link),
            traffic: Traffic::current(),
            moved: [const { AtomicU64::new(0) }; 2],
            held: Mutex::new(Held { pieces: 0, since: Instant::now(), before: Duration::ZERO }),
        });
        let done = CURRENT.scope(Arc::clone(&passage), call).await?;
        let (direction, bytes) = moved(&done);
        let told = passage.moved[direction as usize].load(Ordering::Relaxed);
        passage.moves(direction, bytes.saturating_sub(told)).await;
        Ok(done)
    }

    /// How long the call of this task has been held up so far.
    pub(in crate::store) fn held() -> Duration {
        CURRENT.try_with(|passage| passage.held.lock().total()).unwrap_or_default()
    }

    async fn moves(&self, direction: Direction, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.moved[direction as usize].fetch_add(bytes, Ordering::Relaxed);
        let lane = self.link.lane(direction);
        let _piece = Piece::begin(self);
        lane.pacer.pass(self.traffic, bytes).await;
        lane.count(self.traffic, bytes);
    }
}

impl Held {
    fn total(&self) -> Duration {
        self.before + if self.pieces > 0 { self.since.elapsed() } else { Duration::ZERO }
    }
}

/// A piece that may be held up, until it is dropped.
struct Piece<'a>(&'a Passage);

impl<'a> Piece<'a> {
    fn begin(passage: &'a Passage) -> Self {
        let mut held = passage.held.lock();
        if held.pieces == 0 {
            held.since = Instant::now();
        }
        held.pieces += 1;
        Self(passage)
    }
}

impl Drop for Piece<'_> {
    fn drop(&mut self) {
        let mut held = self.0.held.lock();
        held.pieces -= 1;
        if held.pieces == 0 {
            let more = held.since.elapsed();
            held.before += more;
        }
    }
}

/// What an adapter tells of the bytes that it moves. Does nothing in a call that no link bounds.
#[derive(Clone, Debug)]
pub(in crate::store) struct Pace(Option<Arc<Passage>>);

impl Pace {
    /// That of the call of this task, also for tasks and threads that move its bytes.
    pub(in crate::store) fn current() -> Self {
        Self(CURRENT.try_with(Arc::clone).ok())
    }

    /// Returns when so many bytes more may move.
    pub(in crate::store) async fn moves(&self, direction: Direction, bytes: u64) {
        if let Some(passage) = &self.0 {
            passage.moves(direction, bytes).await;
        }
    }

    /// The same on a thread that may block.
    pub(in crate::store) fn moves_blocking(&self, direction: Direction, bytes: u64) {
        if self.0.is_some() {
            tokio::runtime::Handle::current().block_on(self.moves(direction, bytes));
        }
    }
}
