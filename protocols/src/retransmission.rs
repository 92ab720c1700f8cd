//! Repeated calls: what a client sends again because it saw no reply.
//!
//! A call whose second execution would do harm (CREATE, REMOVE, RENAME ...) is remembered with its
//! encoded results. Its repetition, also over a new connection from another port, gets those results
//! and is not executed. A repetition that arrives while the first is under way waits for the same
//! results; of several such, only the newest is answered, the others are dropped.
//!
//! An answer that is worth nothing later ("try later", or a failure of the server itself) is not
//! kept, but whoever waits for it gets it: over a connection that works nothing is answered only to a
//! repetition that was itself repeated, or when the server stops.
//!
//! A client is an address without port. Bounds: [`ENTRIES_PER_CLIENT_MAX`] answers, [`WRITES_PER_CLIENT_MAX`]
//! of writes, [`ENTRIES_TOTAL_MAX`] altogether, each at most [`ANSWER_BYTES_MAX`], forgotten after [`KEPT_FOR`].
//! Every operation takes constant time. Writes are many, and a repeated one writes the same bytes; so they have
//! a bound of their own, and never push out the answer to a CREATE. When the total is reached, clients give up
//! their oldest answers in turn, those of writes first, so that one busy client does not push out all others.
//!
//! This memory does not survive the process. For the last changes before a crash the program asks
//! [`FileView::replayed`](crate::view::FileView::replayed) with the same key.

mod digest;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::rpc::{Request, Verdict};
use crate::view::RetryKey;
use crate::xdr::Body;

/// The most answers kept for one client, beside those of writes. A client repeats only calls that it still
/// waits for.
pub const ENTRIES_PER_CLIENT_MAX: usize = 2048;
/// The most answers of writes kept for one client: what it can have under way over several connections.
pub const WRITES_PER_CLIENT_MAX: usize = 1024;
/// The most answers kept altogether.
pub const ENTRIES_TOTAL_MAX: usize = 1 << 16;
/// The largest answer that is kept, in bytes. Those of all remembered NFS calls are below 500.
pub const ANSWER_BYTES_MAX: usize = 4096;
/// How long an answer is kept: longer than a client waits before it repeats a call, shorter than it
/// takes to come round to the same xid.
pub const KEPT_FOR: Duration = Duration::from_mins(2);
/// How many bytes of the arguments go into a key.
const DIGESTED_BYTES: usize = 256;

/// A client, told apart from others by its address alone: a reconnect changes the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client(IpAddr);

impl Client {
    /// The client behind a peer address.
    pub fn new(peer: SocketAddr) -> Self {
        Self(peer.ip().to_canonical())
    }
}

/// The key of a call: equal for its repetitions, and hardly ever for anything else.
pub fn retry_key(client: Client, xid: u32, program: u32, request: &Request) -> RetryKey {
    let arguments = &request.arguments;
    let mut digest = digest::Digest::new();
    match client.0 {
        IpAddr::V4(address) => digest.write(&address.octets()),
        IpAddr::V6(address) => digest.write(&address.octets()),
    }
    for number in [xid, program, request.version, request.procedure, arguments.len() as u32] {
        digest.write(&number.to_be_bytes());
    }
    digest.write(&arguments[..arguments.len().min(DIGESTED_BYTES)]);
    RetryKey(digest.finish())
}

/// The answers that are kept.
#[derive(Default)]
pub struct Retransmissions {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    clients: HashMap<Client, Entries>,
    /// Clients in the order in which they give up answers when there are too many.
    turns: VecDeque<Client>,
    /// Answers kept for all clients.
    kept: usize,
}

#[derive(Default)]
struct Entries {
    /// Whether the client is in the order of turns; it joins with its first answer.
    has_turn: bool,
    calls: HashMap<RetryKey, Progress>,
    /// Keys of answers, oldest first: of each kind of call by itself.
    order: [VecDeque<RetryKey>; KINDS],
}

enum Progress {
    UnderWay { newest_repetition: Option<oneshot::Sender<Verdict>> },
    Done { kind: Kind, body: Body, since: Instant },
}

/// What is kept apart, in the order in which it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A write of data: a second execution in its own time does no harm, one much later does.
    Write,
    /// Any other change: a second execution does harm.
    Change,
}

const KINDS: usize = 2;

impl Kind {
    const ALL: [Self; KINDS] = [Self::Write, Self::Change];

    fn most(self) -> usize {
        match self {
            Self::Write => WRITES_PER_CLIENT_MAX,
            Self::Change => ENTRIES_PER_CLIENT_MAX,
        }
    }
}

/// How a call ended.
enum Ending {
    /// Nobody knows: its task was given up.
    Lost,
    /// With an answer for whoever waits for it now, and nobody later.
    Passing(Verdict),
    /// With results for every repetition.
    Kept(Kind, Body),
}

/// What a call is.
pub enum Attempt {
    /// Not seen before: carry it out.
    First(Execution),
    /// A repetition of a call under way: its answer comes later, or never.
    UnderWay(oneshot::Receiver<Verdict>),
    /// A repetition: these are the results.
    Done(Body),
}

/// A call being carried out. Dropped without an end it is forgotten, and its repetition is carried out.
pub struct Execution {
    owner: Arc<Retransmissions>,
    client: Client,
    key: RetryKey,
    ending: Ending,
}

impl Execution {
    /// Keeps the results for repetitions.
    pub fn finish(mut self, kind: Kind, body: Body) {
        self.ending = Ending::Kept(kind, body);
    }

    /// Gives the answer to the repetition that waits for it, and keeps nothing: the next repetition is carried
    /// out.
    pub fn pass_on(mut self, verdict: Verdict) {
        self.ending = Ending::Passing(verdict);
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        let ending = std::mem::replace(&mut self.ending, Ending::Lost);
        self.owner.state.lock().ended(self.client, self.key, ending, Instant::now());
    }
}

impl Retransmissions {
    /// Says what a call is, and remembers that it has begun.
    pub fn begin(self: &Arc<Self>, client: Client, key: RetryKey) -> Attempt {
        let first =
            || Attempt::First(Execution { owner: Arc::clone(self), client, key, ending: Ending::Lost });
        self.state.lock().begin(client, key, Instant::now()).unwrap_or_else(first)
    }

    /// How many answers are kept.
    pub fn kept(&self) -> usize {
        self.state.lock().kept
    }
}

impl State {
    /// `None` for a call not seen before.
    fn begin(&mut self, client: Client, key: RetryKey, now: Instant) -> Option<Attempt> {
        let entries = self.clients.entry(client).or_default();
        match entries.calls.get_mut(&key) {
            Some(Progress::UnderWay { newest_repetition }) => {
                let (sender, receiver) = oneshot::channel();
                *newest_repetition = Some(sender);
                return Some(Attempt::UnderWay(receiver));
            }
            Some(Progress::Done { body, since, .. }) if now.duration_since(*since) < KEPT_FOR => {
                return Some(Attempt::Done(body.clone()));
            }
            Some(Progress::Done { kind, .. }) => {
                let kind = *kind;
                self.kept -= entries.forget_up_to(kind, key);
            }
            None => {}
        }
        entries.calls.insert(key, Progress::UnderWay { newest_repetition: None });
        None
    }

    fn ended(&mut self, client: Client, key: RetryKey, ending: Ending, now: Instant) {
        let Some(entries) = self.clients.get_mut(&client) else { return };
        let repetition = match entries.calls.remove(&key) {
            Some(Progress::UnderWay { newest_repetition }) => newest_repetition,
            Some(Progress::Done { .. }) | None => None,
        };
        let (kept, verdict) = match ending {
            Ending::Lost => (None, None),
            Ending::Passing(verdict) => (None, Some(verdict)),
            Ending::Kept(kind, body) => {
                let keep = (body.len() <= ANSWER_BYTES_MAX).then(|| (kind, body.clone()));
                (keep, Some(Verdict::Success(body)))
            }
        };
        if let Some((repetition, verdict)) = repetition.zip(verdict) {
            // The repetition's connection may have ended meanwhile; then nobody waits.
            let _ = repetition.send(verdict);
        }
        let Some((kind, body)) = kept else {
            if entries.calls.is_empty() && !entries.has_turn {
                self.clients.remove(&client);
            }
            return;
        };
        if !std::mem::replace(&mut entries.has_turn, true) {
            self.turns.push_back(client);
        }
        entries.calls.insert(key, Progress::Done { kind, body, since: now });
        entries.order[kind as usize].push_back(key);
        self.kept += 1;
        self.kept -= Kind::ALL.into_iter().map(|kind| entries.forget_old(kind, now)).sum::<usize>();
        if self.kept > ENTRIES_TOTAL_MAX || self.turns.len() > ENTRIES_TOTAL_MAX {
            self.take_turn();
        }
    }

    /// The client whose turn it is gives up its oldest answer, and itself when it has nothing left.
    fn take_turn(&mut self) {
        for _ in 0..self.turns.len() {
            let Some(client) = self.turns.pop_front() else { return };
            let Some(entries) = self.clients.get_mut(&client) else { continue };
            let forgotten = Kind::ALL.into_iter().any(|kind| entries.forget_oldest(kind));
            entries.has_turn = entries.order.iter().any(|order| !order.is_empty());
            if entries.has_turn {
                self.turns.push_back(client);
            } else if entries.calls.is_empty() {
                self.clients.remove(&client);
            }
            self.kept -= usize::from(forgotten);
            if forgotten {
                return;
            }
        }
    }
}

impl Entries {
    fn forget_oldest(&mut self, kind: Kind) -> bool {
        let key = self.order[kind as usize].pop_front();
        key.is_some_and(|key| self.calls.remove(&key).is_some())
    }

    /// Forgets the oldest answers up to that of `key`; answers how many.
    fn forget_up_to(&mut self, kind: Kind, key: RetryKey) -> usize {
        let mut forgotten = 0;
        while self.calls.contains_key(&key) && self.forget_oldest(kind) {
            forgotten += 1;
        }
        forgotten
    }

    /// Forgets what is too old or too much; answers how many. Constant time: at most two answers, one
    /// more than are added.
    fn forget_old(&mut self, kind: Kind, now: Instant) -> usize {
        let mut forgotten = 0;
        while forgotten < 2
            && (self.order[kind as usize].len() > kind.most() || self.oldest_expired(kind, now))
        {
            forgotten += usize::from(self.forget_oldest(kind));
        }
        forgotten
    }

    fn oldest_expired(&self, kind: Kind, now: Instant) -> bool {
        let oldest = self.order[kind as usize].front().and_then(|key| self.calls.get(key));
        matches!(oldest, Some(Progress::Done { since, .. }) if now.duration_since(*since) >= KEPT_FOR)
    }
}

#[cfg(test)]
mod tests;
