//! What fuzz targets feed: the parsers of this server that meet bytes of somebody who has shown no key yet, and those
//! of texts that came from us and may come back changed. Each function ends for any input, and asserts what must
//! hold of what was read. For nobody else.

use super::copy::source_range;
use super::form::{Fields, Parser, check_policy};
use super::token::Token;
use super::values::check_key;
use crate::objects::KEY_BYTES_MAX;
use crate::view::Time;

/// A form that comes in pieces of some size.
pub fn form(content_type: &str, bytes: &[u8], piece: usize) {
    let Ok(mut parser) = Parser::new(content_type) else { return };
    let mut events = 0_usize;
    for piece in bytes.chunks(piece.max(1)) {
        if parser.push(piece).is_err() {
            return;
        }
        loop {
            match parser.next() {
                Ok(Some(_)) => events += 1,
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    assert!(events <= 2 * bytes.len() + 2, "each event has a byte of its own");
    let _ = parser.finish();
}

/// The policy of a form, in base64, with fields.
pub fn form_policy(policy: &str, fields: &[(String, String)]) {
    let fields: Fields = fields.iter().cloned().collect();
    if let Ok(range) = check_policy(policy, &fields, "bucket", Time { seconds: 1_700_000_000, nanos: 0 }) {
        assert!(*range.end() <= crate::objects::PUT_BYTES_MAX);
    }
}

/// A continuation token: what is read of a text is what the same text is written of.
pub fn token(text: &str) {
    let scope = ["bucket", "prefix", "/"];
    if let Ok(name) = Token::read(text, &scope) {
        assert_eq!(Token::write(&name, &scope), text);
    }
}

/// A key.
pub fn key(text: &str) {
    if check_key(text).is_ok() {
        assert!((1..=KEY_BYTES_MAX).contains(&text.len()) && !text.contains('\0'));
    }
}

/// The range of the source of a copy.
pub fn range(text: &str) {
    if let Ok(Some(range)) = source_range(Some(text)) {
        assert!(range.start < range.end, "{range:?}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn anything_is_read_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            text in any::<String>(),
            piece in 0..9_usize,
        ) {
            form("multipart/form-data; boundary=b", &bytes, piece);
            form(&text, &bytes, piece);
            let head = b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n";
            form("multipart/form-data; boundary=b", &[&head[..], &bytes].concat(), piece);
            form_policy(&text, &[("key".into(), text.clone())]);
            token(&text);
            key(&text);
            range(&text);
            range(&format!("bytes={}-{}", u64::from(piece as u32), u64::MAX - piece as u64));
        }
    }
}
