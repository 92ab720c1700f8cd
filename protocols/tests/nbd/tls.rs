//! TLS: where it is required nothing is said before it, and where clients must show who they are, others are let go.
//!
//! The server's certificates are those of the tests of S3. `certificates/` holds an authority of clients and a client that are of
//! use for nothing else; both are valid for a hundred years.

use std::net::SocketAddr;
use std::sync::Arc;

use tidegate_protocols::nbd::{NbdServer, NbdTls};
use tidegate_protocols::s3::TlsIdentity;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use zeroize::Zeroizing;

use super::client::Client;
use super::memory::{Memory, Shelf};

const AUTHORITY: &[u8] = include_bytes!("../s3/certificates/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("../s3/certificates/localhost.pem");
const KEY: &[u8] = include_bytes!("../s3/certificates/localhost.key");
const CLIENT_AUTHORITY: &[u8] = include_bytes!("certificates/client-authority.pem");
const CLIENT_CERTIFICATE: &[u8] = include_bytes!("certificates/client.pem");
const CLIENT_KEY: &[u8] = include_bytes!("certificates/client.key");
const ERR_TLS_REQD: u32 = (1 << 31) | 5;

fn serve(client_authority: bool, plain_too: bool) -> NbdServer {
    let view = Arc::new(Shelf { disk: Memory::new(1 << 20, false), admits: true });
    let identity = TlsIdentity { certificates: CERTIFICATE.to_vec(), key: Zeroizing::new(KEY.to_vec()) };
    let client_authority = client_authority.then(|| CLIENT_AUTHORITY.to_vec());
    let tls = NbdTls { identity, client_authority, plain_too };
    NbdServer::builder(view).address(([127, 0, 0, 1], 0).into()).tls(tls).start().unwrap()
}

/// Asks for TLS and speaks it, with a certificate or without.
async fn secure(address: SocketAddr, shows: bool) -> std::io::Result<Client<TlsStream<TcpStream>>> {
    let mut client = Client::greet(address).await?;
    assert_eq!(client.option(5, &[]).await?, [(1, Vec::new())]);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY).unwrap()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots);
    let config = if shows {
        let chain = CertificateDer::pem_slice_iter(CLIENT_CERTIFICATE).collect::<Result<_, _>>().unwrap();
        config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(CLIENT_KEY).unwrap()).unwrap()
    } else {
        config.with_no_client_auth()
    };
    let name = ServerName::try_from("localhost").unwrap();
    Ok(Client::over(TlsConnector::from(Arc::new(config)).connect(name, client.stream).await?))
}

async fn use_it(mut client: Client<TlsStream<TcpStream>>) -> std::io::Result<()> {
    client.go("disk", true).await?;
    let data: Vec<u8> = (0..300_000u32).map(|at| at as u8).collect();
    client.write(1, &data).await?;
    assert_eq!(client.read(0..300_002).await?[1..300_001], data);
    client.flush().await
}

#[tokio::test]
async fn nothing_is_said_of_volumes_before_tls() {
    let server = serve(false, false);
    let address = server.addresses()[0];
    let mut client = Client::greet(address).await.unwrap();
    for option in [3, 6, 7, 8, 9, 10] {
        let replies = client.option(option, &[0; 6]).await.unwrap();
        assert_eq!(replies.last().map(|(kind, _)| *kind), Some(ERR_TLS_REQD), "option {option}");
    }
    use_it(secure(address, false).await.unwrap()).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn where_it_is_offered_both_are_served_and_what_was_said_before_counts_no_more() {
    let server = serve(false, true);
    let address = server.addresses()[0];
    let mut plain = Client::open(address, "disk", true).await.unwrap();
    plain.write(0, b"plain").await.unwrap();
    let mut client = secure(address, false).await.unwrap();
    assert_eq!(client.option(5, &[]).await.unwrap().last().map(|(kind, _)| *kind), Some((1 << 31) | 3));
    let query = [&4u32.to_be_bytes()[..], b"disk", &[0; 4]].concat();
    let refused = client.option(9, &query).await.unwrap();
    assert_eq!(refused[0].0, (1 << 31) | 3, "structured replies come first, once more");
    use_it(client).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_shows_no_certificate_where_it_must_is_let_go() {
    let server = serve(true, false);
    let address = server.addresses()[0];
    // With TLS 1.3 the client hears of it when it goes on.
    let refused = match secure(address, false).await {
        Ok(client) => use_it(client).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    use_it(secure(address, true).await.unwrap()).await.unwrap();
    server.stop().await;
}
