//! Claims about sealed objects: they open where they belong, and nowhere else.

use super::*;
use crate::ErrorKind;
use crate::testing::{keys, keys_of, other_keys};

const NAME: &str = "heads/ab/cd";

fn sealed() -> Vec<u8> {
    seal_object(&keys(), ObjectKind::Head, NAME, [9; 32], b"the root").expect("small")
}

fn refusal(keys: &DomainKeys, kind: ObjectKind, name: &str, bytes: &[u8]) -> ErrorKind {
    open_object(keys, kind, name, bytes).expect_err("refused").kind()
}

#[test]
fn a_sealed_object_opens_where_it_belongs() {
    assert_eq!(open_object(&keys(), ObjectKind::Head, NAME, &sealed()).expect("ours"), b"the root");
    let empty = seal_object(&keys(), ObjectKind::Head, NAME, [9; 32], b"").expect("small");
    assert_eq!(open_object(&keys(), ObjectKind::Head, NAME, &empty).expect("ours"), b"");
}

#[test]
fn every_flipped_bit_and_every_cut_is_detected() {
    let bytes = sealed();
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(open_object(&keys(), ObjectKind::Head, NAME, &flipped).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(open_object(&keys(), ObjectKind::Head, NAME, &bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn an_object_that_was_moved_or_shown_elsewhere_does_not_authenticate() {
    let bytes = sealed();
    assert_eq!(refusal(&keys(), ObjectKind::Head, "heads/ab/ce", &bytes), ErrorKind::NotAuthentic);
    assert_eq!(refusal(&keys_of(9, 2, 3), ObjectKind::Head, NAME, &bytes), ErrorKind::NotAuthentic);
}

#[test]
fn the_error_tells_what_the_bytes_are() {
    let bytes = sealed();
    assert_eq!(refusal(&keys(), ObjectKind::Plan, NAME, &bytes), ErrorKind::Damaged);
    assert_eq!(refusal(&keys(), ObjectKind::Head, NAME, b"<html>"), ErrorKind::Foreign);
    assert_eq!(refusal(&keys(), ObjectKind::Head, NAME, &[]), ErrorKind::Foreign);
    let mut newer = bytes.clone();
    newer[8] = 2;
    assert_eq!(refusal(&keys(), ObjectKind::Head, NAME, &newer), ErrorKind::Unsupported);
    let mut rotated = bytes;
    rotated[12] = 77;
    assert_eq!(refusal(&keys(), ObjectKind::Head, NAME, &rotated), ErrorKind::UnknownEpoch);
}

#[test]
fn an_object_under_a_secret_opens_with_that_secret_only() {
    let (secret, repository) = (SecretKey::new([1; 32]), keys().repository());
    let kind = ObjectKind::KeySlot;
    let bytes = seal_object_with(&secret, repository, kind, "keys/a", [9; 32], b"wrapped").expect("small");
    let open = |secret: &SecretKey, repository, name| {
        open_object_with(secret, repository, kind, name, &bytes).map_err(|error| error.kind())
    };
    assert_eq!(open(&secret, repository, "keys/a"), Ok(b"wrapped".to_vec()));
    assert_eq!(open(&SecretKey::new([2; 32]), repository, "keys/a"), Err(ErrorKind::NotAuthentic));
    assert_eq!(open(&secret, other_keys().repository(), "keys/a"), Err(ErrorKind::NotAuthentic));
    assert_eq!(open(&secret, repository, "keys/b"), Err(ErrorKind::NotAuthentic));
    assert_eq!(refusal(&keys(), kind, "keys/a", &bytes), ErrorKind::Damaged);
}

#[test]
fn an_object_over_the_limit_is_refused_before_it_is_sealed() {
    let large = vec![0; OBJECT_BYTES_MAX as usize];
    let error = seal_object(&keys(), ObjectKind::Head, NAME, [9; 32], &large).expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}
