//! The NFS server of the settings: where it listens, who tells clients of its ports, and what its clients may take.

use tidegate_protocols::portmap::PORTMAP_PORT;
use tidegate_protocols::{Limits, NfsServer};

use super::AssemblyError;
use crate::appliance::Appliance;
use crate::settings::Settings;

/// The part of the memory that calls of NFS clients take, requests and replies; half as much again when
/// they wait for the store.
const NFS_PART: u64 = 6;
/// The part of that which one connection takes.
const NFS_CONNECTION_PART: usize = 4;

/// Starts the NFS server of the settings. The clone of a drill is told to nobody who asks this machine for ports.
pub(super) async fn start_nfs(
    appliance: &Appliance,
    settings: &Settings,
) -> Result<NfsServer, AssemblyError> {
    let limits = nfs_limits(settings.gateway.memory.bytes());
    let mut builder = NfsServer::builder(appliance.files().clone()).limits(limits);
    for listen in &settings.nfs.listen {
        builder = builder.nfs_address(listen.0);
    }
    for listen in &settings.nfs.portmap {
        builder = builder.portmap_address(listen.0);
    }
    if settings.nfs.rpcbind && !settings.gateway.drill {
        builder = builder.system_portmap(PORTMAP_PORT);
    }
    let server = builder.start().await?;
    tracing::info!(addresses = ?server.addresses().nfs, "serving NFS");
    Ok(server)
}

/// What NFS clients may take of so much memory.
fn nfs_limits(memory_bytes: u64) -> Limits {
    let usual = Limits::default();
    let total_bytes_max = usual.total_bytes_max.min((memory_bytes / NFS_PART) as usize);
    let connection_bytes_max = usual.connection_bytes_max.min(total_bytes_max / NFS_CONNECTION_PART);
    Limits { connection_bytes_max, total_bytes_max, ..usual }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_clients_fit_every_memory_that_may_be_set() {
        for memory in [128 << 20, 512 << 20, 1 << 30, 1 << 40] {
            let limits = nfs_limits(memory);
            assert_eq!(limits.check(), Ok(()), "{memory} bytes of memory");
            assert!(limits.total_bytes_max as u64 <= memory / NFS_PART);
        }
    }
}
