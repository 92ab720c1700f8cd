//! Connections of the admin API: bounded in number, of one address and of all, in time to send a head, and in time to stop.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::listener::{Accept, Peer};
use super::places::Places;

/// How long a client may take to send the head of a request, or leave a connection idle.
const HEAD_TIME_MAX: Duration = Duration::from_secs(15);
/// The longest head, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long calls in flight may take once a stop was asked for.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// How long to wait after a failed accept (no file descriptors left) before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves until `stop`, then finishes the calls in flight within [`STOP_TIME_MAX`].
pub(super) async fn serve<L: Accept>(listener: L, router: Router, stop: CancellationToken) {
    let listener = Arc::new(listener);
    let permits = Arc::new(Semaphore::new(listener.connections_max()));
    let places = Places::default();
    let mut connections = JoinSet::new();
    let accept_all = async {
        loop {
            let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok(Some((raw, peer))) => {
                    let Some(place) = places.take(peer) else {
                        tracing::debug!(%peer, "an address has as many connections of the admin API as it may");
                        continue;
                    };
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
