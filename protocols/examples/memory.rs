//! Serves a file system in memory over NFS, for trying clients by hand. Arguments: the port of NFS
//! and MOUNT, and that of the port mapper if one is wanted.
//!
//! ```text
//! cargo run --release --example memory -- 12049
//! nfs-ls 'nfs://127.0.0.1/share?nfsport=12049&mountport=12049'
//! ```

#[path = "../tests/common/mod.rs"]
#[allow(unreachable_pub, missing_docs)]
mod common;

use std::net::SocketAddr;
use std::sync::Arc;

use tidegate_protocols::NfsServer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut ports = std::env::args().skip(1).map(|port| port.parse::<u16>());
    let everywhere = |port| SocketAddr::from(([0, 0, 0, 0], port));
    let mut builder = NfsServer::builder(Arc::new(common::MemoryView::default()))
        .nfs_address(everywhere(ports.next().transpose()?.unwrap_or(12_049)));
    if let Some(port) = ports.next().transpose()? {
        builder = builder.portmap_address(everywhere(port));
    }
    let server = builder.start().await?;
    println!("serving at {:?}", server.addresses());
    std::future::pending::<()>().await;
    server.stop().await;
    Ok(())
}
