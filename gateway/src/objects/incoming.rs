//! The memory of bodies on their way in.
//!
//! What is gathered of a body before it goes to the journal takes room of a budget that all bodies share: as its bytes
//! come, in steps that double, up to a piece of [`PIECE_BYTES`]. A client that sends little holds little.
//!
//! When the budget is used up, whoever gets more bytes writes what it has so far, early, and gives its room back. Those
//! that wait for their clients meanwhile are asked to do the same, one after another, as long as somebody waits for
//! room: clients that send slowly keep nobody from room, however many they are. Nobody waits for room while it holds
//! some, so no circle of waiting can form. What is left to wait for is the journal and its own room, so the wait has the
//! same bound as theirs; then the client is told to come again.
//!
//! Invariant: what is set aside for all that is gathered <= the budget.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tidegate_protocols::objects::ObjectError;
use tidegate_protocols::waits::{Wait, waiting};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::{CALL_TIME_MAX, PIECE_BYTES};

/// The room that a body takes at first.
const STEP_BYTES: usize = 4 << 10;
/// The most room that is waited for at once: little, so that all get some soon, and enough for a record worth writing.
const WAIT_BYTES_MAX: usize = 64 << 10;

/// The budget.
pub(super) struct Incoming {
    room: Semaphore,
    /// How many wait for room.
    waiting: AtomicUsize,
    /// Asks one that holds room, and waits for its client, to give it back.
    wanted: Notify,
}

impl Incoming {
    /// Of so many bytes; it is made large enough for one piece.
    pub(super) fn new(bytes_max: usize) -> Self {
        let bytes = bytes_max.clamp(PIECE_BYTES, Semaphore::MAX_PERMITS);
        Self { room: Semaphore::new(bytes), waiting: AtomicUsize::new(0), wanted: Notify::new() }
    }

    /// Returns when somebody waits for room: the caller should write what it has gathered.
    pub(super) async fn is_wanted(&self) {
        loop {
            self.wanted.notified().await;
            if self.is_waited_for() {
                return;
            }
        }
    }

    fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    fn try_take(&self, bytes: usize) -> Option<Room<'_>> {
        let permit = self.room.try_acquire_many(permits(bytes)).ok()?;
        Some(Room { permit, _return: Return(self) })
    }

    async fn take(&self, bytes: usize) -> Result<Room<'_>, ObjectError> {
        let _waits = Waits::new(self);
        self.wanted.notify_one();
        let taken = tokio::time::timeout(CALL_TIME_MAX, self.room.acquire_many(permits(bytes)));
        match waiting(Wait::Room, taken).await {
            Ok(Ok(permit)) => Ok(Room { permit, _return: Return(self) }),
            Ok(Err(_)) | Err(_) => Err(ObjectError::SlowDown),
        }
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// One that waits, until this is dropped.
struct Waits<'m>(&'m Incoming);

impl<'m> Waits<'m> {
    fn new(of: &'m Incoming) -> Self {
        of.waiting.fetch_add(1, Ordering::SeqCst);
        Self(of)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Room that was taken. It goes back when this is dropped.
pub(super) struct Room<'m> {
    permit: SemaphorePermit<'m>,
    /// After the permit: fields are dropped in their order.
    _return: Return<'m>,
}

impl Room<'_> {
    fn bytes(&self) -> usize {
        self.permit.num_permits()
    }
}

/// When room was given back and others still wait, has the next one give its room back.
struct Return<'m>(&'m Incoming);

impl Drop for Return<'_> {
    fn drop(&mut self) {
        if self.0.is_waited_for() {
            self.0.wanted.notify_one();
        }
    }
}

/// What was gathered of a body, up to a piece.
pub(super) struct Gathered<'m> {
    of: &'m Incoming,
    bytes: Vec<u8>,
    room: Option<Room<'m>>,
}

impl<'m> Gathered<'m> {
    /// Nothing yet.
    pub(super) fn new(of: &'m Incoming) -> Self {
        Self { of, bytes: Vec::new(), room: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether it is a whole piece.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= PIECE_BYTES
    }

    /// Takes from the front of `bytes` what there is room for. What is left finds room after [`Gathered::take`]. Waits
    /// for room only while nothing is gathered; [`ObjectError::SlowDown`] when there was none for too long.
    pub(super) async fn add(&mut self, bytes: &mut Bytes) -> Result<(), ObjectError> {
        if self.room.is_none() {
            self.begin(bytes.len()).await?;
        }
        let spare = self.grow(self.bytes.len() + bytes.len()) - self.bytes.len();
        let taken = bytes.split_to(spare.min(bytes.len()));
        self.bytes.extend_from_slice(&taken);
        Ok(())
    }

    /// What was gathered, with its room, which is to be kept until the bytes are written. Nothing is gathered then.
    pub(super) fn take(&mut self) -> (Bytes, Option<Room<'m>>) {
        (std::mem::take(&mut self.bytes).into(), self.room.take())
    }

    async fn begin(&mut self, bytes: usize) -> Result<(), ObjectError> {
        let wanted = bytes.next_power_of_two().clamp(STEP_BYTES, PIECE_BYTES);
        let room = match self.of.try_take(wanted) {
            Some(room) => room,
            None => self.of.take(wanted.min(WAIT_BYTES_MAX)).await?,
        };
        self.bytes.reserve_exact(room.bytes());
        self.room = Some(room);
        Ok(())
    }

    /// Takes more room if so many bytes need it and it is there; gives how many have room then.
    fn grow(&mut self, bytes: usize) -> usize {
        let Some(room) = &mut self.room else { return 0 };
        let wanted = bytes.next_power_of_two().min(PIECE_BYTES);
        let more = wanted.saturating_sub(room.bytes());
        if more > 0
            && let Ok(permit) = self.of.room.try_acquire_many(permits(more))
        {
            room.permit.merge(permit);
            self.bytes.reserve_exact(room.bytes() - self.bytes.len());
        }
        room.bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::poll;

    use super::*;

    /// Fills a body with so many bytes, for which there is room.
    async fn filled(budget: &Incoming, bytes: usize) -> Gathered<'_> {
        let mut gathered = Gathered::new(budget);
        let mut given = Bytes::from(vec![1; bytes]);
        gathered.add(&mut given).await.expect("room");
        assert!(given.is_empty(), "there is room");
        gathered
    }

    #[tokio::test]
    async fn a_body_holds_about_what_it_has_and_never_more_than_a_piece() {
        let budget = Incoming::new(8 << 20);
        let left = || budget.room.available_permits();
        let mut gathered = filled(&budget, 10).await;
        assert_eq!(left(), (8 << 20) - STEP_BYTES);
        gathered.add(&mut Bytes::from(vec![2; 5000])).await.expect("room");
        assert_eq!(left(), (8 << 20) - 2 * STEP_BYTES);
        let mut more = Bytes::from(vec![3; 2 * PIECE_BYTES]);
        gathered.add(&mut more).await.expect("room");
        assert!(gathered.is_full());
        assert_eq!(more.len(), PIECE_BYTES + 5010);
        assert_eq!(left(), (8 << 20) - PIECE_BYTES);
        let (bytes, room) = gathered.take();
        assert_eq!((bytes.len(), bytes[9], bytes[10], bytes[5010]), (PIECE_BYTES, 1, 2, 3));
        assert!(gathered.is_empty());
        drop(room);
        assert_eq!(left(), 8 << 20);
    }

    #[tokio::test]
    async fn when_there_is_no_room_a_body_takes_what_fits_and_is_then_to_be_written() {
        let budget = Incoming::new(PIECE_BYTES);
        let mut small = filled(&budget, STEP_BYTES).await;
        let _large = filled(&budget, PIECE_BYTES / 2).await;
        let mut more = Bytes::from(vec![4; PIECE_BYTES / 2]);
        small.add(&mut more).await.expect("room");
        assert_eq!(more.len(), PIECE_BYTES / 2, "it holds what it had room for, and waits for nothing");
        drop(small.take());
        small.add(&mut more).await.expect("room");
        assert!(more.is_empty(), "what it gave back is there for it");
    }

    #[tokio::test]
    async fn those_that_wait_for_their_clients_are_asked_for_room_until_nobody_needs_any() {
        let budget = Incoming::new(PIECE_BYTES);
        let mut idle = Vec::new();
        for _ in 0..16 {
            idle.push(filled(&budget, PIECE_BYTES / 16).await);
        }
        let mut newcomer = Gathered::new(&budget);
        let mut bytes = Bytes::from(vec![5; WAIT_BYTES_MAX]);
        let mut first = pin!(budget.is_wanted());
        assert!(poll!(first.as_mut()).is_pending(), "nobody needs room");
        {
            let mut adding = pin!(newcomer.add(&mut bytes));
            assert!(poll!(adding.as_mut()).is_pending(), "there is none");
            assert!(poll!(first.as_mut()).is_ready(), "one is asked");
            let mut second = pin!(budget.is_wanted());
            assert!(poll!(second.as_mut()).is_pending(), "and only one");
            drop(idle.pop().map(|mut slow| slow.take()));
            assert!(poll!(adding.as_mut()).is_ready(), "the room of one is enough");
            assert!(poll!(second.as_mut()).is_pending(), "nobody else is asked any more");
        }
        assert!(bytes.is_empty());
        assert_eq!(idle.len(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_for_too_long_is_told_to_come_again() {
        let budget = Incoming::new(PIECE_BYTES);
        let _all = filled(&budget, PIECE_BYTES).await;
        let mut newcomer = Gathered::new(&budget);
        let refused = newcomer.add(&mut Bytes::from_static(b"x")).await;
        assert_eq!(refused, Err(ObjectError::SlowDown));
        assert_eq!(budget.waiting.load(Ordering::SeqCst), 0);
    }
}
