//! A disk with a history: the states that were published of it, by the names of their heads.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_gateway::machine::{ContentError, Contents, DiskContent, Origin};
use tidegate_replicator::repository::HeadName;

pub const BLOCK: u64 = 512 << 10;

/// Blocks; one that is none is a hole.
pub type State = Vec<Option<u8>>;

/// A disk of small numbers: each block is full of one byte.
#[derive(Clone)]
pub struct Disk {
    path: &'static str,
    states: Arc<parking_lot::Mutex<Vec<State>>>,
    /// Reads that are answered; whoever wants another one waits in vain.
    reads: Arc<AtomicU64>,
}

impl Disk {
    pub fn new(path: &'static str, first: State) -> Self {
        let states = Arc::new(parking_lot::Mutex::new(vec![first]));
        Self { path, states, reads: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// Publishes another state: the newest with changes.
    pub fn publish(&self, changes: &[(usize, Option<u8>)]) {
        let mut states = self.states.lock();
        let mut state = states.last().cloned().unwrap_or_default();
        for (block, byte) in changes {
            state[*block] = *byte;
        }
        states.push(state);
    }

    /// Answers so many more reads.
    pub fn answer(&self, reads: u64) {
        self.reads.store(reads, Ordering::SeqCst);
    }

    /// Whether it has answered all the reads that it may.
    pub fn is_waited_for(&self) -> bool {
        self.reads.load(Ordering::SeqCst) == 0
    }

    pub fn newest(&self) -> State {
        self.states.lock().last().cloned().unwrap_or_default()
    }

    pub fn head(&self) -> String {
        head(self.states.lock().len() - 1)
    }
}

fn head(at: usize) -> String {
    HeadName { epoch: 1, sequence: at as u64, suffix: 7 }.to_string()
}

/// The newest state, as it was when it was opened.
struct Opened {
    disk: Disk,
    origin: Origin,
    state: State,
}

#[async_trait]
impl Contents for Disk {
    async fn open(&self, _export: &str) -> Result<Arc<dyn DiskContent>, ContentError> {
        let origin = Origin { share: "5a".into(), path: self.path.into(), head: self.head() };
        Ok(Arc::new(Opened { disk: self.clone(), origin, state: self.newest() }))
    }
}

#[async_trait]
impl DiskContent for Opened {
    fn origin(&self) -> &Origin {
        &self.origin
    }

    fn bytes(&self) -> u64 {
        self.state.len() as u64 * BLOCK
    }

    async fn blocks(
        &self,
        block_bytes: u64,
        since: Option<&str>,
    ) -> Result<Option<Vec<Range<u64>>>, ContentError> {
        assert_eq!(block_bytes, BLOCK);
        let states = self.disk.states.lock();
        let before = match since {
            Some(since) => match (0..states.len()).find(|at| head(*at) == since) {
                Some(at) => states[at].clone(),
                None => return Ok(None),
            },
            None => vec![None; self.state.len()],
        };
        let differ = |at: &usize| before[*at] != self.state[*at];
        let blocks = (0..self.state.len()).filter(differ).map(|at| at as u64..at as u64 + 1);
        Ok(Some(blocks.collect()))
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, ContentError> {
        let left = |reads: u64| reads.checked_sub(1);
        if self.disk.reads.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_err() {
            std::future::pending::<()>().await;
        }
        let byte = self.state.get((range.start / BLOCK) as usize).copied().flatten().unwrap_or(0);
        Ok(Bytes::from(vec![byte; (range.end - range.start) as usize]))
    }
}
