//! Serves a file system in memory over NFS, for trying clients by hand:
//!
//! ```text
//! cargo run --release --example memory -- 12049
//! nfs-ls 'nfs://127.0.0.1/?nfsport=12049&mountport=12049'
//! ```

#[path = "../tests/common/mod.rs"]
#[allow(unreachable_pub, missing_docs)]
mod common;

use std::net::SocketAddr;
use std::sync::Arc;

use tidegate_protocols::NfsServer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).map_or(Ok(12_049), |port| port.parse())?;
    let view = Arc::new(common::MemoryView::default());
    let server = NfsServer::builder(view).nfs_address(SocketAddr::from(([0, 0, 0, 0], port))).start().await?;
    println!("serving {:?}", server.addresses());
    std::future::pending::<()>().await;
    server.stop().await;
    Ok(())
}
