//! Slots and bytes in flight.
//!
//! A call takes a slot and bytes of its connection, and bytes of the whole server: for its record,
//! its largest reply and itself. It gives them back when the reply has been written to the socket.
//!
//! A call that takes long waits for something far away (an object store, room on the disk). It then
//! gives slot and connection bytes back and takes a waiting place, of which there are as many again:
//! so a connection whose reads miss the cache still gets its GETATTR answered. Its bytes of the
//! server it keeps. When no waiting place is free it goes on as it is.
//!
//! Everything is taken by the one reader of a connection before the call starts, in the order slot,
//! connection, server; a call that runs needs nothing more. So no circle of waiting can form. For a large record they are taken before the record is read, with the largest reply in
//! mind; what turns out not to be needed goes back.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::Limits;

/// What a call costs beside record and reply: its task and the state of its handlers.
const CALL_BYTES: usize = 2 << 10;

/// The bytes of a server.
#[derive(Clone, Debug)]
pub(super) struct ServerBudget {
    bytes: Arc<Semaphore>,
}

/// The slots and bytes of a connection.
#[derive(Debug)]
pub(super) struct ConnectionBudget {
    slots: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    server: ServerBudget,
    call_bytes_max: usize,
}

/// What a call in flight holds.
#[derive(Debug)]
pub(super) struct InFlight {
    slot: OwnedSemaphorePermit,
    bytes: Reserved,
    waiting: Arc<Semaphore>,
}

/// Bytes of a connection and of the server.
#[derive(Debug)]
pub(super) struct Reserved {
    connection: OwnedSemaphorePermit,
    server: OwnedSemaphorePermit,
}

impl ServerBudget {
    /// As the limits say.
    pub(super) fn new(limits: &Limits) -> Self {
        Self { bytes: Arc::new(Semaphore::new(limits.total_bytes_max)) }
    }
}

impl ConnectionBudget {
    /// Of a new connection.
    pub(super) fn new(limits: &Limits, server: ServerBudget) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(limits.connection_calls_max)),
            waiting: Arc::new(Semaphore::new(limits.connection_waiting_max)),
            bytes: Arc::new(Semaphore::new(limits.connection_bytes_max)),
            server,
            call_bytes_max: limits.call_bytes_max(),
        }
    }

    /// Bytes for a record that is still to be read, and for whatever reply it may get.
    pub(super) async fn reserve_for_record(&self) -> Reserved {
        self.reserve(self.call_bytes_max).await
    }

    /// Slot and bytes for a call, using what was reserved for its record.
    pub(super) async fn admit(&self, bytes: usize, reserved: Option<Reserved>) -> InFlight {
        let slot = acquire(&self.slots, 1).await;
        let bytes = (bytes + CALL_BYTES).min(self.call_bytes_max);
        let reserved = match reserved {
            Some(reserved) => reserved.keep(bytes),
            None => self.reserve(bytes).await,
        };
        InFlight { slot, bytes: reserved, waiting: Arc::clone(&self.waiting) }
    }

    async fn reserve(&self, bytes: usize) -> Reserved {
        let connection = acquire(&self.bytes, bytes).await;
        Reserved { connection, server: acquire(&self.server.bytes, bytes).await }
    }
}

impl InFlight {
    /// Makes room for other calls, because this one takes long.
    pub(super) fn make_room(&mut self) {
        if let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() {
            self.slot = place;
            let bytes = self.bytes.connection.num_permits();
            drop(self.bytes.connection.split(bytes));
        }
    }
}

impl Reserved {
    fn keep(mut self, bytes: usize) -> Self {
        let surplus = self.connection.num_permits().saturating_sub(bytes);
        drop(self.connection.split(surplus));
        drop(self.server.split(surplus));
        self
    }
}

async fn acquire(semaphore: &Arc<Semaphore>, permits: usize) -> OwnedSemaphorePermit {
    let permits = u32::try_from(permits).unwrap_or(u32::MAX);
    Arc::clone(semaphore).acquire_many_owned(permits).await.expect("a budget is never closed")
}
