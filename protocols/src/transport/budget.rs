//! Slots and bytes in flight.
//!
//! A call takes a slot and bytes of its connection, and bytes of the whole server: for its record,
//! its largest reply and itself. It gives them back when the reply has been written to the socket.
//!
//! A call that takes long waits for something far away (an object store, room on the disk). It then
//! moves to a waiting place, of which a connection has as many again, and its bytes to those that the
//! server has for waiting, half as many again. So reads that miss the cache delay no GETATTR. When
//! there is no room for waiting, the call goes on as it is.
//!
//! Everything is taken by the one reader of a connection before the call starts, in the order slot,
//! connection, client, server; a call that runs needs nothing more. So no circle of waiting can form. For a large
//! record they are taken before the record is read, with the largest reply in mind; what turns out not to be needed
//! goes back. Small calls have an eighth of the server's bytes to themselves, so that none waits behind the data of
//! others. Records that are being received hold at most half of the server's bytes, so that clients that send slowly,
//! or for harm, cannot take the room of small calls; and those of one client at most a part of that (`clients.rs`), so
//! that it cannot take the room of others' large ones.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::Limits;

/// What a call costs beside record and reply: its task and the state of its handlers.
const CALL_BYTES: usize = 2 << 10;
/// A call of so many bytes or less is a small one: those that move no data and list no directory.
const SMALL_CALL_BYTES_MAX: usize = 16 << 10;
/// The part of the server's bytes that only small calls take.
const SMALL_CALLS_PART: usize = 8;

/// The bytes of a server.
#[derive(Clone, Debug)]
pub(crate) struct ServerBudget {
    bytes: Arc<Semaphore>,
    small: Arc<Semaphore>,
    receiving: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// The slots and bytes of a connection.
#[derive(Debug)]
pub(crate) struct ConnectionBudget {
    slots: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    /// What its client has for records that are being received; none where clients are not told apart.
    client: Option<Arc<Semaphore>>,
    server: ServerBudget,
    call_bytes_max: usize,
}

/// What a call in flight holds.
#[derive(Debug)]
pub(crate) struct InFlight {
    slot: OwnedSemaphorePermit,
    bytes: Reserved,
    waiting_places: Arc<Semaphore>,
    waiting_bytes: Arc<Semaphore>,
}

/// Bytes of a connection and of the server.
#[derive(Debug)]
pub(crate) struct Reserved {
    connection: OwnedSemaphorePermit,
    server: OwnedSemaphorePermit,
    /// Until the record is there: of the client, and of the server.
    receiving: [Option<OwnedSemaphorePermit>; 2],
}

impl ServerBudget {
    /// As the limits say.
    pub(crate) fn new(limits: &Limits) -> Self {
        let pool = |bytes| Arc::new(Semaphore::new(bytes));
        let small = limits.total_bytes_max / SMALL_CALLS_PART;
        Self {
            bytes: pool(limits.total_bytes_max - small),
            small: pool(small),
            receiving: pool(limits.receiving_bytes_max()),
            waiting: pool(limits.total_bytes_max / 2),
        }
    }
}

impl ConnectionBudget {
    /// Of a new connection.
    pub(crate) fn new(limits: &Limits, server: ServerBudget) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(limits.connection_calls_max)),
            waiting: Arc::new(Semaphore::new(limits.connection_waiting_max)),
            bytes: Arc::new(Semaphore::new(limits.connection_bytes_max)),
            client: None,
            server,
            call_bytes_max: limits.call_bytes_max(),
        }
    }

    /// The same with what the connection's client has for records that are being received.
    pub(crate) fn of_client(self, receiving: Arc<Semaphore>) -> Self {
        Self { client: Some(receiving), ..self }
    }

    /// Bytes for a record that is still to be read, and for whatever reply it may get.
    pub(super) async fn reserve_for_record(&self) -> Reserved {
        self.reserve_for(self.call_bytes_max).await
    }

    /// The same where it is known how many they are.
    pub(crate) async fn reserve_for(&self, bytes: usize) -> Reserved {
        let bytes = (bytes + CALL_BYTES).min(self.call_bytes_max);
        let connection = acquire(&self.bytes, bytes).await;
        // First of the client: what it waits for there it takes from nobody.
        let of_client = match &self.client {
            Some(client) => Some(acquire(client, bytes).await),
            None => None,
        };
        let receiving = [of_client, Some(acquire(&self.server.receiving, bytes).await)];
        Reserved { connection, server: acquire(&self.server.bytes, bytes).await, receiving }
    }

    /// Slot and bytes for a call, using what was reserved for its record.
    pub(crate) async fn admit(&self, bytes: usize, reserved: Option<Reserved>) -> InFlight {
        let slot = acquire(&self.slots, 1).await;
        let bytes = (bytes + CALL_BYTES).min(self.call_bytes_max);
        let reserved = match reserved {
            Some(reserved) => reserved.keep(bytes),
            None => self.reserve(bytes).await,
        };
        InFlight {
            slot,
            bytes: reserved,
            waiting_places: Arc::clone(&self.waiting),
            waiting_bytes: Arc::clone(&self.server.waiting),
        }
    }

    async fn reserve(&self, bytes: usize) -> Reserved {
        let connection = acquire(&self.bytes, bytes).await;
        let server = if bytes <= SMALL_CALL_BYTES_MAX { &self.server.small } else { &self.server.bytes };
        Reserved { connection, server: acquire(server, bytes).await, receiving: [None, None] }
    }
}

impl InFlight {
    /// Makes room for other calls, because this one takes long.
    pub(crate) fn make_room(&mut self) {
        let bytes = self.bytes.server.num_permits() as u32;
        let place = Arc::clone(&self.waiting_places).try_acquire_owned();
        let server = Arc::clone(&self.waiting_bytes).try_acquire_many_owned(bytes);
        if let (Ok(place), Ok(server)) = (place, server) {
            self.slot = place;
            self.bytes.server = server;
            let connection = self.bytes.connection.num_permits();
            drop(self.bytes.connection.split(connection));
        }
    }
}

impl Reserved {
    /// The record is there, and the call needs `bytes`.
    fn keep(mut self, bytes: usize) -> Self {
        self.receiving = [None, None];
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn limits() -> Limits {
        let record = Limits::default().record_bytes_max;
        Limits { connection_bytes_max: 2 * record, total_bytes_max: 4 * record, ..Limits::default() }
    }

    async fn is_admitted(budget: &ConnectionBudget, bytes: usize) -> bool {
        timeout(Duration::from_millis(50), budget.admit(bytes, None)).await.is_ok()
    }

    #[tokio::test]
    async fn records_that_are_being_received_leave_room_for_small_calls() {
        let server = ServerBudget::new(&limits());
        let connections: Vec<_> = (0..4).map(|_| ConnectionBudget::new(&limits(), server.clone())).collect();
        let receiving = connections[0].reserve_for_record().await;
        let second = timeout(Duration::from_millis(50), connections[1].reserve_for_record()).await;
        assert!(second.is_err(), "more than half of the bytes are given to records on their way");
        assert!(is_admitted(&connections[2], 1000).await);
        let _call = connections[0].admit(1000, Some(receiving)).await;
        assert!(timeout(Duration::from_secs(5), connections[1].reserve_for_record()).await.is_ok());
    }

    #[tokio::test]
    async fn large_calls_that_take_all_they_can_leave_small_ones_their_room() {
        let limits = limits();
        let server = ServerBudget::new(&limits);
        let connection = || ConnectionBudget::new(&limits, server.clone());
        let connections = [connection(), connection(), connection(), connection()];
        let mut large = Vec::new();
        for connection in &connections {
            let call = timeout(Duration::from_millis(50), connection.admit(limits.record_bytes_max, None));
            large.extend(call.await);
        }
        assert_eq!(large.len(), 3, "an eighth is not for them");
        assert!(is_admitted(&connections[3], 1000).await);
        assert!(!is_admitted(&connections[3], limits.record_bytes_max).await);
    }

    #[tokio::test]
    async fn a_waiting_call_makes_room_and_gives_everything_back() {
        let limits = Limits { connection_calls_max: 1, connection_waiting_max: 1, ..limits() };
        let server = ServerBudget::new(&limits);
        let connection = ConnectionBudget::new(&limits, server.clone());
        let bytes = limits.call_bytes_max();
        let mut waiting = connection.admit(bytes, None).await;
        assert!(!is_admitted(&connection, 0).await);
        waiting.make_room();
        let mut second = connection.admit(bytes, None).await;
        second.make_room();
        assert!(!is_admitted(&connection, 0).await, "there is only one waiting place");
        drop((waiting, second));
        let all = server.bytes.available_permits() + server.small.available_permits();
        assert_eq!(all, limits.total_bytes_max);
        assert_eq!(server.waiting.available_permits(), limits.total_bytes_max / 2);
        assert_eq!(connection.bytes.available_permits(), limits.connection_bytes_max);
    }
}
