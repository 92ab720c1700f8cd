//! A second reader of packs, written from `docs/format.md` alone.
//!
//! It shares nothing with the crate but the crates for BLAKE3 and Zstandard, and decrypts with another
//! implementation of AES-256-GCM. If it reads what the crate writes, the document says what the crate does.

mod common;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key};
use common::{DOMAIN, EPOCH, EPOCH_SECRET, PACK, REPOSITORY, ROOT, keys, noise, pack};
use tidegate_chunker::{
    ChunkKind, FrameTarget, ObjectKind, PackOptions, PackWriter, Padding, seal_object, write_plain_object,
};

#[test]
fn a_reader_written_from_the_document_reads_a_pack() {
    for padding in [Padding::None, Padding::Padme] {
        let frame_target = FrameTarget::new(4096).expect("in range");
        let options = PackOptions { frame_target, padding, ..PackOptions::default() };
        let mut writer = PackWriter::create(Vec::new(), &keys(), pack(), options).expect("memory");
        let mut given = Vec::new();
        for at in 0..20usize {
            let data = if at % 2 == 0 { noise("data", 100 * at + 1) } else { vec![at as u8; 1000] };
            let kind = ChunkKind::ALL[at % 3];
            let id = if kind == ChunkKind::Node { keys().node_id(&data) } else { keys().chunk_id(&data) };
            writer.push(kind, id, &data).expect("fits");
            given.push((kind as u8, data));
        }
        let (object, _) = writer.finish().expect("memory");
        let mut read = read_pack(&object);
        read.sort();
        given.sort();
        assert_eq!(read, given);
    }
}

#[test]
fn a_reader_written_from_the_document_reads_objects() {
    let name = "heads/a/b";
    let sealed = seal_object(&keys(), ObjectKind::Head, name, [9; 32], b"payload").expect("small");
    let secret = blake3::derive_key("tidegate format 1: seal epoch -> objects", &EPOCH_SECRET);
    let key = *blake3::keyed_hash(&secret, &sealed[16..48]).as_bytes();
    let aad = [&sealed[..48], &REPOSITORY, name.as_bytes()].concat();
    assert_eq!(decrypt(&key, 0, &aad, &sealed[48..]), b"payload");

    let plain = write_plain_object(ObjectKind::Config, "config", b"payload");
    let blank = [&plain[..16], &[0; 32], &6u32.to_le_bytes(), b"config", b"payload"].concat();
    assert_eq!(blake3::hash(&blank).as_bytes(), &plain[16..48]);
    assert_eq!(&plain[48..], b"payload");
}

/// Kind and plaintext of each chunk of a pack.
fn read_pack(object: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let secret = blake3::derive_key("tidegate format 1: seal epoch -> packs", &EPOCH_SECRET);
    let key = *blake3::keyed_hash(&secret, &PACK).as_bytes();
    assert_eq!(&object[..8], b"TGPACK\0\x01");
    assert_eq!(number(object, 8), EPOCH);
    assert_eq!(&object[16..48], &PACK);

    let footer = &object[object.len() - 56..];
    assert_eq!(&footer[48..], b"TGPKEND\x01");
    assert_eq!(number(footer, 44), crc32c::crc32c(&footer[..44]));
    let (start, bytes) = (number(footer, 36) as usize, number(footer, 40) as usize);
    let aad = [&footer[..44], &REPOSITORY, &DOMAIN].concat();
    let index = decrypt(&key, u32::MAX, &aad, &object[start..start + bytes]);
    read_frames(object, &index, &key)
}

fn read_frames(object: &[u8], index: &[u8], key: &[u8; 32]) -> Vec<(u8, Vec<u8>)> {
    let (frames, chunks) = (number(index, 0) as usize, number(index, 4) as usize);
    let mut chunk_rows = index[8 + 9 * frames..].chunks_exact(36);
    assert_eq!(chunk_rows.len(), chunks);
    let (mut offset, mut read) = (48, Vec::new());
    for row in index[8..8 + 9 * frames].chunks_exact(9) {
        let (length, kind) = (number(row, 0) as usize, row[8]);
        let mut plaintext = &read_frame(&object[offset..offset + length], key, kind)[..];
        for row in chunk_rows.by_ref().take(number(row, 4) as usize) {
            let (chunk, rest) = plaintext.split_at(number(row, 32) as usize);
            plaintext = rest;
            check_id(kind, chunk, &row[..32]);
            read.push((kind, chunk.to_vec()));
        }
        assert!(plaintext.is_empty());
        offset += length;
    }
    read
}

/// The plaintext of a frame, whose kind is that of the index.
fn read_frame(frame: &[u8], key: &[u8; 32], kind: u8) -> Vec<u8> {
    let (header, sealed) = frame.split_at(52);
    assert_eq!((header[0], header[2], header[3]), (1, kind, 0));
    assert_eq!(number(header, 4), EPOCH);
    assert_eq!(number(header, 16) as usize, sealed.len());
    assert_eq!(&header[20..], &PACK);
    let aad = [header, &REPOSITORY, &DOMAIN].concat();
    let encoded = decrypt(key, number(header, 8), &aad, sealed);
    let plaintext_bytes = number(header, 12) as usize;
    match header[1] {
        0 => encoded[..plaintext_bytes].to_vec(),
        1 => {
            let mut plaintext = Vec::new();
            let mut decoder = zstd::stream::read::Decoder::new(&encoded[..]).expect("memory").single_frame();
            std::io::Read::read_to_end(&mut decoder, &mut plaintext).expect("a frame");
            assert_eq!(plaintext.len(), plaintext_bytes);
            plaintext
        }
        other => panic!("encoding {other}"),
    }
}

fn check_id(kind: u8, chunk: &[u8], id: &[u8]) {
    let context = match kind {
        2 => "tidegate format 1: domain root -> tree node ids",
        _ => "tidegate format 1: domain root -> chunk ids",
    };
    assert_eq!(blake3::keyed_hash(&blake3::derive_key(context, &ROOT), chunk).as_bytes(), id);
}

fn decrypt(key: &[u8; 32], number: u32, aad: &[u8], msg: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&number.to_le_bytes());
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key));
    cipher.decrypt(&nonce.into(), Payload { msg, aad }).expect("authentic")
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
