//! Connections of the admin API: bounded in number, in time to send a head, and in time to stop.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::access::peer_key;
use super::listener::{Accept, Peer};

/// How long a client may take to send the head of a request, or leave a connection idle.
const HEAD_TIME_MAX: Duration = Duration::from_secs(15);
/// The longest head, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long calls in flight may take once a stop was asked for.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// How long to wait after a failed accept (no file descriptors left) before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How many connections one address has at once: so that nobody keeps others out, a part of all.
const PART_OF_ADDRESS: usize = 4;

/// The connections of each address.
#[derive(Clone, Default)]
struct Places(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection that counts until it is dropped.
struct Place(Places, Option<IpAddr>);

impl Places {
    /// A place for one more; none when that address has too many.
    fn take(&self, peer: Peer, most: usize) -> Option<Place> {
        let Peer::Network(address) = peer else { return Some(Place(self.clone(), None)) };
        let address = peer_key(address);
        let mut all = self.0.lock();
        let taken = all.entry(address).or_default();
        if *taken >= most {
            return None;
        }
        *taken += 1;
        Some(Place(self.clone(), Some(address)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.1 else { return };
        let mut all = self.0.0.lock();
        if let Some(taken) = all.get_mut(&address) {
            *taken -= 1;
            if *taken == 0 {
                all.remove(&address);
            }
        }
    }
}

/// Serves until `stop`, then finishes the calls in flight within [`STOP_TIME_MAX`].
pub(super) async fn serve<L: Accept>(listener: L, router: Router, stop: CancellationToken) {
    let listener = Arc::new(listener);
    let permits = Arc::new(Semaphore::new(listener.connections_max()));
    let (places, most) = (Places::default(), listener.connections_max().div_ceil(PART_OF_ADDRESS));
    let mut connections = JoinSet::new();
    let accept_all = async {
        loop {
            let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok(Some((raw, peer))) => {
                    let Some(place) = places.take(peer, most) else { continue };
                    let (listener, router, stop) = (listener.clone(), router.clone(), stop.clone());
                    connections.spawn(async move {
                        let opened = tokio::select! {
                            opened = listener.open(raw) => opened,
                            () = stop.cancelled() => None,
                        };
                        drop(listener);
                        if let Some(stream) = opened {
                            connection::<L>(stream, peer, router, stop).await;
                        }
                        drop((permit, place));
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection of the admin API");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept_all => {}
        () = stop.cancelled() => {}
    }
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIME_MAX, all_ended).await.is_err() {
        tracing::warn!("calls of the admin API did not end in time and are cut off");
    }
}

async fn connection<L: Accept>(stream: L::Stream, peer: Peer, router: Router, stop: CancellationToken) {
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        routes.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the admin API broke off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_part_of_the_connections_and_gives_them_back() {
        let places = Places::default();
        let peer = |text: &str| Peer::Network(text.parse().expect("an address"));
        let taken: Vec<_> = (0..2).filter_map(|_| places.take(peer("2001:db8::1"), 2)).collect();
        assert_eq!(taken.len(), 2);
        assert!(places.take(peer("2001:db8::2"), 2).is_none(), "the same network of 64 bits");
        assert!(places.take(peer("10.0.0.1"), 2).is_some());
        assert!((0..9).all(|_| places.take(Peer::Socket, 2).is_some()));
        drop(taken);
        assert!(places.0.lock().is_empty());
    }
}
