//! How many connections an address has: nobody takes those of everybody else.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::access::peer_key;
use super::listener::Peer;

/// The most connections of one address at once.
pub(super) const OF_ADDRESS_MAX: usize = 32;

/// The connections of a port, by address. Clones count together.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// That of one connection; free again when dropped.
pub(super) struct Place {
    places: Places,
    address: Option<IpAddr>,
}

impl Places {
    /// One more for whoever it is; none when they have as many as one address may. The socket of this machine counts nobody.
    pub(super) fn take(&self, peer: Peer) -> Option<Place> {
        let address = match peer {
            Peer::Socket => None,
            Peer::Network(address) => Some(peer_key(address)),
        };
        if let Some(address) = address {
            let mut places = self.0.lock();
            let taken = places.entry(address).or_default();
            if *taken >= OF_ADDRESS_MAX {
                return None;
            }
            *taken += 1;
        }
        Some(Place { places: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut places = self.places.0.lock();
        if let Some(taken) = places.get_mut(&address) {
            *taken -= 1;
            if *taken == 0 {
                places.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_takes_none_from_another() {
        let places = Places::default();
        let of = |text: &str| Peer::Network(text.parse().expect("an address"));
        let mut held: Vec<Place> =
            (0..OF_ADDRESS_MAX).map(|_| places.take(of("10.0.0.1")).expect("room")).collect();
        assert!(places.take(of("10.0.0.1")).is_none());
        assert!(places.take(of("10.0.0.2")).is_some() && places.take(Peer::Socket).is_some());
        held.pop();
        assert!(places.take(of("10.0.0.1")).is_some());
        held.clear();
        assert!(places.0.lock().is_empty(), "who has gone is forgotten");
    }
}
