//! TLS of the S3 door as the settings say it: who trusts the authority is served and who speaks plainly is not; an identity
//! that cannot be had ends the start, and is named.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_gateway::assembly::Running;
use tidegate_gateway::control::Control;
use tidegate_gateway::settings::Settings;
use tidegate_replicator::store::DirectoryStore;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::{init, noise, slot_key};
use crate::wire::{Answer, exchange, head};

/// The folder with the certificates of the tests.
fn certificates() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    workspace.join("protocols/tests/s3/certificates")
}

/// A file that only its owner reads.
fn write_secret(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Settings of a new repository in a folder, with a bucket that is served at `address` under a certificate.
async fn settings(folder: &Path, address: SocketAddr, certificate: &Path) -> Settings {
    let store = DirectoryStore::create(&folder.join("repository")).unwrap();
    drop(init(Arc::new(store), &slot_key(folder)).await);
    write_secret(&folder.join("secret"), b"secret\n");
    write_secret(&folder.join("localhost.key"), &fs::read(certificates().join("localhost.key")).unwrap());
    let (place, certificate) = (folder.display(), certificate.display());
    let text = format!(
        "[gateway]\ndata = \"{place}/data\"\nsocket = \"{place}/admin.sock\"\n\n\
         [repository]\nkey = {{ file = \"{place}/repository.key\" }}\n\n\
         [[target]]\nname = \"local\"\naddress = \"file://{place}/repository\"\n\n\
         [nfs]\nlisten = [\"127.0.0.1:0\"]\n\n\
         [s3]\nlisten = [\"{address}\"]\ncertificate = \"{certificate}\"\n\
         private_key = {{ file = \"{place}/localhost.key\" }}\n\n\
         [[bucket]]\nname = \"backups\"\n\n\
         [[access_key]]\nid = \"admin\"\nsecret = {{ file = \"{place}/secret\" }}\n"
    );
    Settings::parse(&text).unwrap()
}

/// A port of this machine that nobody listens at.
fn free_address() -> SocketAddr {
    let probe = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    probe.local_addr().unwrap()
}

/// A request over TLS by a client that trusts these authorities; none when there is no connection.
async fn call(
    address: SocketAddr,
    trusted: &[CertificateDer<'static>],
    method: &str,
    body: &[u8],
) -> Option<Answer> {
    let mut roots = RootCertStore::empty();
    for authority in trusted {
        roots.add(authority.clone()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let head = head(method, "/backups/key", "", &[], body.len());
    Some(exchange(stream, &head, body).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_say_who_the_door_is_and_nothing_is_served_without_tls() {
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let settings = settings(folder.path(), address, &certificates().join("localhost.pem")).await;
    let running = Running::start(Arc::new(settings)).await.unwrap();
    let authority = fs::read(certificates().join("authority.pem")).unwrap();
    let trusted = [CertificateDer::from_pem_slice(&authority).unwrap()];
    let data = noise(1, 3_000_000);
    let put = call(address, &trusted, "PUT", &data).await.expect("TLS");
    assert_eq!(put.status, 200, "{put:?}");
    let got = call(address, &trusted, "GET", b"").await.expect("TLS");
    assert!(got.status == 200 && got.body == data, "{} bytes came back", got.body.len());
    assert!(call(address, &[], "GET", b"").await.is_none(), "nobody trusts it unseen");
    let plain = TcpStream::connect(address).await.unwrap();
    let answer = exchange(plain, &head("GET", "/backups/key", "", &[], 0), b"").await;
    assert_eq!(answer.status, 0, "{answer:?}");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_there_ends_the_start_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.pem");
    let settings = settings(folder.path(), free_address(), &missing).await;
    let Err(error) = Running::start(Arc::new(settings)).await else { panic!("it serves") };
    assert!(error.to_string().contains("missing.pem"), "{error}");
}
