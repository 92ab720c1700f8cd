//! What one client may take, however many connections it opens.
//!
//! A client is an address without its port. It has at most a quarter of the places for connections, and a quarter of the
//! bytes for records that are being received: one that leaves its records unfinished, for harm or because it is broken,
//! keeps no other waiting. Where a quarter is less than that, every client may open [`PLACES_LEAST`] connections, and send
//! one record at a time of the longest kind.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::Limits;

/// One in so many is what a client takes at most.
const CLIENT_PART: usize = 4;
/// So many connections a client may open in any case, if there are places for them.
const PLACES_LEAST: usize = 16;

/// The clients that have connections.
#[derive(Debug)]
pub(super) struct Clients {
    known: Mutex<HashMap<IpAddr, Weak<OneClient>>>,
    places_max: usize,
    receiving_bytes_max: usize,
}

impl Clients {
    /// As the limits say.
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let receiving_bytes = limits.receiving_bytes_max() / CLIENT_PART;
        Arc::new(Self {
            known: Mutex::default(),
            places_max: (limits.connections_max / CLIENT_PART).max(PLACES_LEAST),
            receiving_bytes_max: receiving_bytes.max(limits.call_bytes_max()),
        })
    }

    /// The client at an address: the same for all connections that it has at a time.
    pub(super) fn of(self: &Arc<Self>, address: IpAddr) -> Arc<OneClient> {
        let mut known = self.known.lock();
        if let Some(client) = known.get(&address).and_then(Weak::upgrade) {
            return client;
        }
        let client = Arc::new(OneClient {
            address,
            all: Arc::clone(self),
            places: Arc::new(Semaphore::new(self.places_max)),
            receiving: Arc::new(Semaphore::new(self.receiving_bytes_max)),
        });
        known.insert(address, Arc::downgrade(&client));
        client
    }
}

/// A client: known for as long as somebody holds this.
#[derive(Debug)]
pub(super) struct OneClient {
    address: IpAddr,
    all: Arc<Clients>,
    places: Arc<Semaphore>,
    receiving: Arc<Semaphore>,
}

impl OneClient {
    /// A place for one more connection, if it may have one.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Its bytes for records that are being received.
    pub(super) fn receiving(&self) -> Arc<Semaphore> {
        Arc::clone(&self.receiving)
    }
}

impl Drop for OneClient {
    fn drop(&mut self) {
        let mut known = self.all.known.lock();
        // It may have come back meanwhile, and is another one then.
        if known.get(&self.address).is_some_and(|client| client.strong_count() == 0) {
            known.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::super::budget::{ConnectionBudget, ServerBudget};
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_client_holds_a_quarter_of_the_bytes_for_records_that_are_being_received() {
        // Room for eight records on their way, so for two of one client.
        let record = Limits::default().record_bytes_max;
        let limits =
            Limits { connection_bytes_max: 2 * record, total_bytes_max: 32 * record, ..Limits::default() };
        let (clients, server) = (Clients::new(&limits), ServerBudget::new(&limits));
        let (one, other) = (clients.of(address(1)), clients.of(address(2)));
        let connection =
            |client: &OneClient| ConnectionBudget::new(&limits, server.clone()).of_client(client.receiving());
        let connections = [connection(&one), connection(&one), connection(&one)];
        let reserve = |connection: &ConnectionBudget| connection.reserve_for_record().now_or_never();
        let (first, second) = (reserve(&connections[0]), reserve(&connections[1]));
        assert!(first.is_some() && second.is_some());
        assert!(reserve(&connections[2]).is_none(), "more than its quarter");
        let of_other = connection(&other);
        assert!(reserve(&of_other).is_some(), "there is room for others");
        drop(first);
        assert!(reserve(&connections[2]).is_some());
    }

    #[test]
    fn a_client_has_a_quarter_of_the_places_and_some_in_any_case() {
        for (connections_max, places) in [(400, 100), (2, PLACES_LEAST)] {
            let clients = Clients::new(&Limits { connections_max, ..Limits::default() });
            let client = clients.of(address(1));
            let taken: Vec<_> = std::iter::from_fn(|| client.place()).collect();
            assert_eq!(taken.len(), places);
            assert!(clients.of(address(1)).place().is_none(), "it is the same client");
            assert!(clients.of(address(2)).place().is_some());
        }
    }

    #[test]
    fn a_client_is_forgotten_with_its_last_connection() {
        let clients = Clients::new(&Limits::default());
        let (first, second) = (clients.of(address(1)), clients.of(address(1)));
        assert!(Arc::ptr_eq(&first, &second));
        drop(first);
        assert_eq!(clients.known.lock().len(), 1);
        drop(second);
        assert!(clients.known.lock().is_empty());
    }
}
