//! Hundreds of clients that send slowly, each a body that fits into one piece: what is gathered of all of them together
//! is bounded by a part of `gateway.memory`, another client is served meanwhile, and so are they.

use std::io::{Read, Write};
use std::net::TcpStream;

use s3s::crypto::{Checksum as _, Sha256};
use s3s::dto::{Timestamp, TimestampFormat};
use tidegate_integration::gateway::PATIENCE;

use crate::idle::{put_and_get, resident_bytes};
use crate::{ACCESS_KEY, FLAT, Front, SECRET};

/// Clients.
const SENDERS: usize = 600;
/// What each sends in a round, in bytes.
const STEP_BYTES: usize = 8 << 10;
/// Rounds. All together are one piece of the gateway, which it would gather before it writes.
const ROUNDS: usize = 128;
/// After so many rounds another client comes.
const PAUSE: usize = 96;
/// How often the memory is looked at, in rounds.
const LOOK: usize = 16;
/// What the gateway may take more than before, with these settings: all that it may have at all, and what connections
/// cost. It is half of what the senders send.
const BYTES_MAX: u64 = 300 << 20;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// HMAC with SHA-256 (RFC 2104) under a key of at most 64 bytes.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::checksum(&[&padded(0x36)[..], text].concat());
    Sha256::checksum(&[&padded(0x5c)[..], &inner[..]].concat())
}

/// The head of a PUT with a body that is not signed (Amazon S3 API reference, "Authenticating requests: using the
/// Authorization header").
fn head(path: &str, length: usize) -> String {
    let mut now = Vec::new();
    Timestamp::from(std::time::SystemTime::now())
        .format(TimestampFormat::DateTime, &mut now)
        .expect("a date");
    let now = String::from_utf8(now).expect("text").replace(['-', ':'], "");
    let date = format!("{}Z", now.split('.').next().unwrap_or(&now).trim_end_matches('Z'));
    let (signed, payload) = ("host;x-amz-content-sha256;x-amz-date", "UNSIGNED-PAYLOAD");
    let headers = format!("host:localhost\nx-amz-content-sha256:{payload}\nx-amz-date:{date}\n");
    let canonical = format!("PUT\n{path}\n\n{headers}\n{signed}\n{payload}");
    let scope = format!("{}/us-east-1/s3/aws4_request", &date[..8]);
    let digest = hex(&Sha256::checksum(canonical.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
    let mut key = hmac(format!("AWS4{SECRET}").as_bytes(), &date.as_bytes()[..8]);
    for part in ["us-east-1", "s3", "aws4_request"] {
        key = hmac(&key, part.as_bytes());
    }
    let signature = hex(&hmac(&key, text.as_bytes()));
    format!(
        "PUT {path} HTTP/1.1\r\nhost: localhost\r\nx-amz-content-sha256: {payload}\r\nx-amz-date: {date}\r\n\
         authorization: AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={signed}, \
         Signature={signature}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )
}

#[test]
fn many_slow_senders_take_bounded_memory_and_keep_nobody_out() {
    let front = Front::start_with(&[
        ("[gateway]\n", "[gateway]\nmemory = \"256MiB\"\n"),
        ("\"128MiB\"\n\n[nfs]", "\"2GiB\"\n\n[nfs]"),
    ]);
    put_and_get(&front, "before");
    let before = resident_bytes(&front);
    let head = head(&format!("/{FLAT}/slow"), ROUNDS * STEP_BYTES);
    let mut senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let mut stream = TcpStream::connect(front.address).expect("connected");
            stream.set_write_timeout(Some(PATIENCE)).expect("a time");
            stream.set_read_timeout(Some(PATIENCE)).expect("a time");
            stream.write_all(head.as_bytes()).expect("sent");
            stream
        })
        .collect();
    let (step, mut most) = (vec![7; STEP_BYTES], before);
    for round in 0..ROUNDS {
        for sender in &mut senders {
            sender.write_all(&step).expect("sent");
        }
        if round % LOOK == LOOK - 1 {
            most = most.max(resident_bytes(&front));
        }
        if round == PAUSE {
            put_and_get(&front, "meanwhile");
        }
    }
    for mut sender in senders {
        let mut answer = String::new();
        sender.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    most = most.max(resident_bytes(&front));
    let cost = most - before;
    assert!(cost < BYTES_MAX, "{cost} bytes for {SENDERS} senders");
    put_and_get(&front, "after");
    front.stop();
}
