//! Continuation tokens: after which name the next page begins, opaque and checked.
//!
//! ```text
//! base64url of: version u8 = 1 | CRC-32 u32, big-endian, of scope and name | name, UTF-8
//! ```
//!
//! The scope is what the listing is about (bucket, prefix, delimiter), so that a token of one listing is not taken for
//! one of another. A token is no secret and gives no right: it is checked so that a damaged one is an error
//! and not a listing with a hole.

use s3s::S3Result;
use s3s::crypto::{Checksum as _, Crc32};

use super::errors::invalid_argument;

/// The version of the form.
const VERSION: u8 = 1;
/// Bytes before the name.
const HEAD_BYTES: usize = 5;

/// Writes and reads tokens.
pub(super) struct Token;

impl Token {
    /// A token to go on after `name` in a listing of `scope`.
    pub(super) fn write(name: &str, scope: &[&str]) -> String {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + name.len());
        bytes.push(VERSION);
        bytes.extend(check(name, scope));
        bytes.extend(name.as_bytes());
        base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
    }

    /// The name in a token of a listing of `scope`.
    pub(super) fn read(text: &str, scope: &[&str]) -> S3Result<String> {
        let parse = || {
            let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).ok()?;
            let (head, name) = bytes.split_at_checked(HEAD_BYTES)?;
            let name = std::str::from_utf8(name).ok()?;
            (head[0] == VERSION && head[1..] == check(name, scope)).then(|| name.to_owned())
        };
        parse().ok_or_else(|| invalid_argument("The continuation token provided is incorrect"))
    }
}

fn check(name: &str, scope: &[&str]) -> [u8; 4] {
    let mut crc = Crc32::new();
    for part in scope.iter().chain(&[name]) {
        crc.update(&(part.len() as u64).to_be_bytes());
        crc.update(part.as_bytes());
    }
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_its_name_back_to_its_own_listing_only() {
        let scope = ["bucket", "pre/", "/"];
        for name in ["", "a", "pre/ü/𝄞", &"k".repeat(1024)] {
            let token = Token::write(name, &scope);
            assert_eq!(Token::read(&token, &scope).unwrap(), name);
            for other in [["other", "pre/", "/"], ["bucket", "pre", "//"], ["bucket", "pre/", ""]] {
                assert!(Token::read(&token, &other).is_err());
            }
        }
    }

    #[test]
    fn a_damaged_token_is_an_error() {
        let token = Token::write("name", &["bucket"]);
        for place in 0..token.len() {
            let mut damaged = token.clone().into_bytes();
            damaged[place] = if damaged[place] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(damaged).unwrap();
            assert!(Token::read(&damaged, &["bucket"]).is_err(), "{place}");
        }
        for text in ["", "AA", "*", "AQAAAAA"] {
            assert!(Token::read(text, &["bucket"]).is_err());
        }
    }
}
