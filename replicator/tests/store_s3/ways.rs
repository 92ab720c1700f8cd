//! Claims about the ways to a store: through a proxy, over TLS that an authority of one's own vouches for, and to a bucket
//! that is named by the host.
//!
//! The certificates are those of the tests of `protocols`: of `localhost` and 127.0.0.1, of use for nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

const AUTHORITY: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../protocols/tests/s3/certificates/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../protocols/tests/s3/certificates/localhost.pem");
const KEY: &[u8] = include_bytes!("../../../protocols/tests/s3/certificates/localhost.key");

/// A proxy in front of a server, whatever host is asked for; counts what passes.
struct Proxy {
    address: std::net::SocketAddr,
    connections: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    async fn start(server: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::<AtomicU64>::default();
        let counted = connections.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(pass(client, server));
            }
        });
        Self { address, connections, task }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes one connection on: a tunnel that is asked for with CONNECT, or requests as they are.
async fn pass(client: TcpStream, server: std::net::SocketAddr) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    let mut server = TcpStream::connect(server).await?;
    let mut head = String::new();
    client.read_line(&mut head).await?;
    if head.starts_with("CONNECT ") {
        let mut line = String::new();
        while client.read_line(&mut line).await? > 2 {
            line.clear();
        }
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    } else {
        server.write_all(head.as_bytes()).await?;
    }
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// TLS in front of a server.
async fn with_tls(server: std::net::SocketAddr) -> std::net::SocketAddr {
    let chain = CertificateDer::pem_slice_iter(CERTIFICATE).collect::<Result<Vec<_>, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("PEM");
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("they fit");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await?;
                let mut server = TcpStream::connect(server).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}

fn opened(connection: &Connection) -> S3Store {
    S3Store::open(BUCKET, "p", connection, &credentials(), TRUSTED).expect("opened")
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_the_contract_through_a_proxy() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address).await;
    let connection =
        Connection { proxy: Some(format!("http://{}", proxy.address)), ..connection(server.address) };
    contract::check(Arc::new(opened(&connection)), "contract").await;
    assert!(proxy.connections.load(Ordering::SeqCst) > 0, "nothing passed the proxy");
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_the_contract_over_tls_that_only_the_own_authority_vouches_for() {
    let server = Server::start().await;
    let address = with_tls(server.address).await;
    let endpoint = Some(format!("https://localhost:{}", address.port()));
    let trusting = Connection { endpoint, ca_file: Some(AUTHORITY.into()), ..connection(address) };
    contract::check(Arc::new(opened(&trusting)), "contract").await;
    // Through a proxy it is a tunnel.
    let proxy = Proxy::start(address).await;
    let through = Connection { proxy: Some(format!("http://{}", proxy.address)), ..trusting.clone() };
    opened(&through).list("", None, 10).await.expect("listed");
    assert!(proxy.connections.load(Ordering::SeqCst) > 0, "nothing passed the proxy");
    let strange = Connection { ca_file: None, ..trusting };
    let refused = opened(&strange).list("", None, 10).await.expect_err("nobody vouches for it");
    assert_ne!(refused.kind(), ErrorKind::Missing);
}

#[tokio::test]
async fn the_host_names_the_bucket_where_that_is_the_style() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy = format!("http://{}", listener.local_addr().expect("bound"));
    let heard = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut head = vec![0; 16 << 10];
        let count = client.read(&mut head).await.expect("a request");
        client
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await
            .expect("sent");
        String::from_utf8_lossy(&head[..count]).into_owned()
    });
    let connection = Connection {
        endpoint: Some("http://store.example.net".to_owned()),
        style: Style::VirtualHost,
        proxy: Some(proxy),
        ..connection(([127, 0, 0, 1], 9).into())
    };
    opened(&connection).get(&name("key"), None).await.expect_err("it is not there");
    let heard = heard.await.expect("it heard something");
    let host =
        heard.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned));
    assert_eq!(host.as_deref(), Some("bucket.store.example.net"), "{heard}");
    assert!(
        heard.starts_with("GET ") && heard.lines().next().is_some_and(|line| line.contains("/p/key")),
        "{heard}"
    );
}
