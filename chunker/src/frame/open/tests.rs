//! Claims about frames: what is sealed opens, and nothing that was changed or moved does.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::testing::{keys, keys_of, noise};
use crate::{ChunkGroup, CompressionLevel, Compressor, ErrorKind, FrameSlot, Padding};

const PACK: PackId = PackId::new([0xa1; 32]);

fn group(keys: &DomainKeys, chunks: &[Vec<u8>]) -> ChunkGroup {
    let mut group = ChunkGroup::new(ChunkKind::Data);
    for chunk in chunks {
        group.push(keys.chunk_id(chunk), chunk).expect("small");
    }
    group
}

fn seal(keys: &DomainKeys, padding: Padding, chunks: &[Vec<u8>]) -> Vec<u8> {
    let seal = Arc::new(PackSeal::new(keys, keys.current_epoch(), PACK).expect("current"));
    let slot = FrameSlot::next(&seal, &mut 5, padding).expect("first");
    let mut compressor = Compressor::new(CompressionLevel::default());
    slot.seal(&group(keys, chunks), &mut compressor).expect("not empty").bytes
}

fn open(keys: &DomainKeys, origin: Option<PackId>, bytes: &[u8]) -> Result<OpenFrame> {
    UnverifiedFrame::new(Bytes::copy_from_slice(bytes))?.open(keys, origin, &mut Decompressor::new())
}

fn piece(chunk_offset: u32, chunk_bytes: u32) -> Location {
    Location { pack: PACK, frame_offset: 0, frame_bytes: 0, chunk_offset, chunk_bytes }
}

fn small_frames() -> [Vec<u8>; 2] {
    [seal(&keys(), Padding::None, &[noise(1, 90)]), seal(&keys(), Padding::Padme, &[vec![7; 500]])]
}

proptest! {
    #[test]
    fn every_chunk_comes_back_from_a_frame(
        chunks in prop::collection::vec((1..3000usize, any::<bool>()), 1..8), padme: bool, seed: u64,
    ) {
        let keys = keys();
        let chunks: Vec<_> = chunks
            .into_iter()
            .map(|(length, plain)| if plain { vec![seed as u8; length] } else { noise(seed, length) })
            .collect();
        let padding = if padme { Padding::Padme } else { Padding::None };
        let frame = open(&keys, Some(PACK), &seal(&keys, padding, &chunks)).expect("ours");
        let mut offset = 0;
        for chunk in &chunks {
            let location = piece(offset, chunk.len() as u32);
            let read = frame.chunk(&keys, &location, keys.chunk_id(chunk)).expect("verified");
            prop_assert_eq!(&read[..], &chunk[..]);
            prop_assert_eq!(&frame.piece(&location).expect("inside")[..], &chunk[..]);
            offset += chunk.len() as u32;
        }
        prop_assert_eq!(frame.plaintext_bytes(), offset as usize);
    }
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_frame_is_detected() {
    for bytes in small_frames() {
        assert!(open(&keys(), Some(PACK), &bytes).is_ok());
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&keys(), None, &flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(open(&keys(), None, &bytes[..length]).is_err(), "{length} bytes");
        }
        assert!(open(&keys(), None, &[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn a_frame_shown_under_another_repository_domain_or_key_does_not_authenticate() {
    for bytes in small_frames() {
        // The first three have the same sealing secrets: only what is authenticated tells them apart.
        for stranger in [keys_of(9, 2, 3), keys_of(1, 9, 3), keys_of(9, 9, 9)] {
            let error = open(&stranger, None, &bytes).expect_err("foreign");
            assert_eq!(error.kind(), ErrorKind::NotAuthentic);
        }
    }
}

#[test]
fn a_frame_of_another_pack_is_refused_where_its_own_is_expected() {
    for mut bytes in small_frames() {
        let other = PackId::new([0xb2; 32]);
        assert_eq!(open(&keys(), Some(other), &bytes).expect_err("spliced").kind(), ErrorKind::Damaged);
        bytes[20..52].copy_from_slice(other.as_bytes());
        assert_eq!(open(&keys(), Some(other), &bytes).expect_err("forged").kind(), ErrorKind::NotAuthentic);
    }
}

#[test]
fn a_frame_opens_without_an_expected_origin_wherever_it_lies() {
    let bytes = seal(&keys(), Padding::None, &[noise(1, 90)]);
    assert_eq!(open(&keys(), None, &bytes).expect("ours").header().pack, PACK);
}

#[test]
fn a_chunk_with_another_digest_and_a_piece_outside_are_damage() {
    let keys = keys();
    let data = noise(1, 90);
    let frame = open(&keys, None, &seal(&keys, Padding::None, std::slice::from_ref(&data))).expect("ours");
    let id = keys.chunk_id(&data);
    for location in [piece(0, 89), piece(1, 89), piece(0, 0), piece(0, 91), piece(u32::MAX, u32::MAX)] {
        assert_eq!(frame.chunk(&keys, &location, id).expect_err("wrong").kind(), ErrorKind::Damaged);
    }
    assert!(frame.chunk(&keys, &piece(0, 90), keys.node_id(&data)).is_err());
}

#[test]
fn an_epoch_that_is_not_at_hand_is_named() {
    let mut bytes = seal(&keys(), Padding::None, &[noise(1, 90)]);
    bytes[4] = 77;
    let error = open(&keys(), None, &bytes).expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::UnknownEpoch);
    assert!(error.to_string().contains("77"), "{error}");
}

#[test]
fn padded_frames_of_similar_plaintexts_have_one_length() {
    let lengths: std::collections::HashSet<_> =
        (90_000..90_100).map(|length| seal(&keys(), Padding::Padme, &[noise(1, length)]).len()).collect();
    assert_eq!(lengths.len(), 1);
}
