//! TLS: the official client trusts the authority of the tests, and nothing is served without TLS.
//!
//! `certificates/` holds an authority and a certificate of `localhost` and 127.0.0.1 that are of use for
//! nothing else; both are valid for a hundred years.

use std::sync::Arc;

use aws_sdk_s3::Client;
use tidegate_protocols::s3::{S3Server, S3StartError, TlsIdentity};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::harness::{BUCKET, config, http_client};
use crate::memory::Memory;
use crate::raw::read_answer;

const AUTHORITY: &str = include_str!("certificates/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("certificates/localhost.pem");
const KEY: &[u8] = include_bytes!("certificates/localhost.key");

fn start(certificates: &[u8], key: &[u8]) -> Result<S3Server, S3StartError> {
    start_over(Arc::new(Memory::with_bucket(BUCKET)), certificates, key)
}

fn start_over(view: Arc<Memory>, certificates: &[u8], key: &[u8]) -> Result<S3Server, S3StartError> {
    let identity = TlsIdentity { certificates: certificates.to_vec(), key: Zeroizing::new(key.to_vec()) };
    S3Server::builder(view).address(([127, 0, 0, 1], 0).into()).tls(identity).start()
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_served() {
    let server = start(CERTIFICATE, KEY).unwrap();
    let address = server.addresses()[0];
    let endpoint = format!("https://localhost:{}", address.port());
    let trusting = config(&endpoint).http_client(http_client(Some(AUTHORITY))).build();
    let client = Client::from_conf(trusting);
    let body = vec![7; 3_000_000];
    client.put_object().bucket(BUCKET).key("key").body(body.clone().into()).send().await.unwrap();
    let got = client.get_object().bucket(BUCKET).key("key").send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().to_vec(), body);
    let stranger = Client::from_conf(config(&endpoint).build());
    assert!(stranger.list_buckets().send().await.unwrap_err().raw_response().is_none());
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(read_answer(&mut plain).await.status, 0);
    server.stop().await;
}

#[tokio::test]
async fn policies_may_ask_for_the_version_of_tls() {
    let view = Arc::new(Memory::with_bucket(BUCKET));
    view.gate(|who, asked| {
        let version = asked.conditions.iter().find(|(key, _)| key == "s3:TlsVersion");
        who.secure && version.is_some_and(|(_, values)| values == &["1.3".to_owned()])
    });
    let server = start_over(view, CERTIFICATE, KEY).unwrap();
    let endpoint = format!("https://localhost:{}", server.addresses()[0].port());
    let trusting = config(&endpoint).http_client(http_client(Some(AUTHORITY))).build();
    Client::from_conf(trusting).put_object().bucket(BUCKET).key("key").send().await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn an_identity_that_cannot_be_is_said_at_the_start() {
    assert!(matches!(start(b"", KEY), Err(S3StartError::Tls(_))));
    assert!(matches!(start(CERTIFICATE, b""), Err(S3StartError::Tls(_))));
    let view = Arc::new(Memory::default());
    let wrong = S3Server::builder(view).base_domain("a..b").start();
    assert!(matches!(wrong, Err(S3StartError::Domain(_))));
}
