//! A gate between a gateway and a store, which can be shut: connections are cut, and new ones end at once.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What stands between gateway and store.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Gate {
    /// Opens one; call it within a runtime, on which it carries bytes.
    pub async fn before(store: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (open, seen) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((outside, _)) = listener.accept().await {
                if *seen.borrow() {
                    tokio::spawn(carry(outside, store, seen.clone()));
                }
            }
        });
        Self { address, open }
    }

    /// Where the store is reached through it.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on the store does not answer.
    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    /// It answers again.
    pub fn reopen(&self) {
        self.open.send_replace(true);
    }
}

/// Carries bytes both ways until an end hangs up or the gate is shut.
async fn carry(mut outside: TcpStream, store: SocketAddr, mut open: watch::Receiver<bool>) {
    let Ok(mut inside) = TcpStream::connect(store).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut outside, &mut inside) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}
