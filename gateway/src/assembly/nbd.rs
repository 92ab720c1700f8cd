//! Volumes of the settings, and the NBD server that serves them.

use std::sync::Arc;

use tidegate_protocols::nbd::{NbdLimits, NbdServer, NbdTls};
use tidegate_protocols::s3::TlsIdentity;
use zeroize::Zeroizing;

use super::AssemblyError;
use super::disks::GatewayDisks;
use super::moments::VolumeHost;
use crate::appliance::Appliance;
use crate::settings::{self, LocalPath, Settings, Size};
use crate::volumes::{VolumeConfig, Volumes};

/// The part of the memory that requests of NBD clients take.
const NBD_PART: u64 = 6;
/// The folder of scratch volumes, in that of the local state.
const SCRATCH_FOLDER: &str = "scratch";

/// How a volume of the settings is served.
pub(super) fn volume_config(volume: &settings::Volume) -> VolumeConfig {
    VolumeConfig {
        name: volume.name.as_str().to_owned(),
        share: volume.share.as_str().to_owned(),
        path: volume.path.as_path().clone(),
        size: volume.size.map(Size::bytes),
        read_only: volume.read_only,
        moment: volume.moment.as_ref().map(|moment| moment.0.clone()),
        scratch: volume.scratch,
        clients: volume.clients.clone(),
        warm: volume.warm,
    }
}

/// Serves the volumes of the settings, whose shares are served already; gives the server, if it listens anywhere, and what the
/// operator may ask.
pub(super) async fn start_disks(
    appliance: &Arc<Appliance>,
    settings: &Arc<Settings>,
) -> Result<(Option<NbdServer>, Arc<GatewayDisks>), AssemblyError> {
    let volumes = volumes_of(appliance, settings);
    let server = start_nbd(settings, volumes.clone()).await?;
    let address = server.as_ref().and_then(|server| server.addresses().first().copied());
    Ok((server, GatewayDisks::new(volumes, settings.clone(), address)))
}

fn volumes_of(appliance: &Arc<Appliance>, settings: &Settings) -> Arc<Volumes> {
    let host = Arc::new(VolumeHost(appliance.clone()));
    let scratch = settings.gateway.data.as_path().join(SCRATCH_FOLDER);
    let volumes = Volumes::new(
        appliance.files().clone(),
        host,
        settings.nbd.patience.duration(),
        (scratch, settings.nbd.scratch.bytes()),
    );
    volumes.set(settings.served_volumes().map(volume_config).collect());
    Arc::new(volumes)
}

/// Starts the server; none when it listens nowhere.
async fn start_nbd(settings: &Settings, volumes: Arc<Volumes>) -> Result<Option<NbdServer>, AssemblyError> {
    let nbd = &settings.nbd;
    if nbd.listen.is_empty() {
        return Ok(None);
    }
    let total = settings.gateway.memory.bytes() / NBD_PART;
    let limits = NbdLimits {
        connections_max: nbd.connections as usize,
        ..NbdLimits::within(usize::try_from(total).unwrap_or(usize::MAX))
    };
    let mut builder = NbdServer::builder(volumes).limits(limits);
    for listen in &nbd.listen {
        builder = builder.address(listen.0);
    }
    if let (Some(certificate), Some(key)) = (&nbd.certificate, &nbd.private_key) {
        let certificates = read(certificate)?;
        let key = Zeroizing::new(key.resolve().await?.expose().to_vec());
        let client_authority = nbd.client_authority.as_ref().map(read).transpose()?;
        let identity = TlsIdentity { certificates, key };
        builder = builder.tls(NbdTls { identity, client_authority, plain_too: nbd.plain_too });
    }
    let server = builder.start()?;
    tracing::info!(addresses = ?server.addresses(), tls = nbd.certificate.is_some(), "serving NBD");
    Ok(Some(server))
}

fn read(path: &LocalPath) -> Result<Vec<u8>, AssemblyError> {
    std::fs::read(path.as_path()).map_err(|error| AssemblyError::Unusable {
        what: format!("the certificate {path}"),
        why: error.to_string(),
    })
}
