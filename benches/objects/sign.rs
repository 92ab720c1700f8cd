//! Signature version 4 of requests whose bodies are not signed, as cheap as it goes: a day's key is made once.

use std::net::SocketAddr;

use aws_lc_rs::{digest, hmac};
use hyper::{Request, header};
use tidegate_benches::Outcome;

/// Who the load is, at every store. Its form is the one that Garage insists on.
pub(crate) const ACCESS_KEY: &str = "GK00112233445566778899aabb";
/// See [`ACCESS_KEY`].
pub(crate) const SECRET_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// The region that everything is signed for.
pub(crate) const REGION: &str = "us-east-1";

const BODY: &str = "UNSIGNED-PAYLOAD";
const SIGNED: &str = "host;x-amz-content-sha256;x-amz-date";

/// Signs for one address at one moment; stores refuse what was signed a quarter of an hour ago.
pub(crate) struct Signer {
    key: hmac::Key,
    host: String,
    moment: String,
    scope: String,
}

impl Signer {
    /// One for now.
    pub(crate) fn new(address: SocketAddr) -> Self {
        let moment = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = &moment[..8];
        let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
        for part in [day, REGION, "s3", "aws4_request"] {
            key = code(&hmac::Key::new(hmac::HMAC_SHA256, &key), part).as_ref().to_vec();
        }
        let scope = format!("{day}/{REGION}/s3/aws4_request");
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &key), host: address.to_string(), moment, scope }
    }

    /// A request without its body. Path and query are encoded already, the query's names in order.
    pub(crate) fn request(&self, method: &str, path: &str, query: &str) -> Outcome<Request<()>> {
        let Self { key, host, moment, scope } = self;
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{BODY}\nx-amz-date:{moment}\n\n{SIGNED}\n{BODY}"
        );
        let digest = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let signature = hex(code(key, &format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}")).as_ref());
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope},SignedHeaders={SIGNED},Signature={signature}"
        );
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, host)
            .header("x-amz-content-sha256", BODY)
            .header("x-amz-date", moment)
            .header(header::AUTHORIZATION, authorization);
        Ok(request.body(())?)
    }
}

/// A value for a query: all but the unreserved characters is encoded.
pub(crate) fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push_str(&hex(&[byte]).to_ascii_uppercase());
        }
    }
    text
}

fn code(key: &hmac::Key, text: &str) -> hmac::Tag {
    hmac::sign(key, text.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
