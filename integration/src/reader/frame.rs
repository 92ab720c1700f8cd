//! Frames: chunks of one kind, compressed and sealed together.

use std::io::{Cursor, Read as _};

use super::bytes::Bytes;
use super::keys::Domain;
use super::objects::{decrypt, keyed};
use super::{Read, Refused, expect, refuse};

/// Most bytes of a frame's plaintext, and of what is sealed.
const PLAINTEXT_BYTES_MAX: usize = 16_777_216;
/// Bytes of a frame's header.
const HEADER_BYTES: usize = 52;
/// Bytes of a tag.
const TAG_BYTES: usize = 16;

/// An opened frame.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) plaintext: Vec<u8>,
}

/// Opens a frame, wherever it lay.
pub(super) fn open(frame: &[u8], domain: &Domain) -> Read<Frame> {
    let mut bytes = Bytes(frame);
    expect(bytes.u8()? == 1, "a frame of another version")?;
    let (encoding, kind) = (bytes.u8()?, bytes.u8()?);
    expect((1..=3).contains(&kind), "a frame of an unknown kind")?;
    expect(bytes.u8()? == 0, "a reserved byte is not 0")?;
    let (epoch, sequence) = (bytes.u32()?, bytes.u32()?);
    expect(sequence < u32::MAX, "a frame with the nonce of an index")?;
    let (plaintext_bytes, sealed_bytes) = (bytes.u32()? as usize, bytes.u32()? as usize);
    let pack = bytes.array::<32>()?;
    expect((1..=PLAINTEXT_BYTES_MAX).contains(&plaintext_bytes), "a plaintext of no allowed length")?;
    expect(sealed_bytes <= PLAINTEXT_BYTES_MAX + TAG_BYTES, "a frame is too long")?;
    let sealed = bytes.take(sealed_bytes)?;
    bytes.end()?;
    let key = keyed(domain.packs_key(epoch)?, &pack);
    let aad = [&frame[..HEADER_BYTES], &domain.repository, &domain.id].concat();
    let encoded = decrypt(&key, sequence, &aad, sealed)?;
    let plaintext = match encoding {
        0 => stored(&encoded, plaintext_bytes)?,
        1 => decompressed(&encoded, plaintext_bytes)?,
        _ => return refuse("a frame of an unknown encoding"),
    };
    Ok(Frame { kind, plaintext })
}

fn stored(encoded: &[u8], plaintext_bytes: usize) -> Read<Vec<u8>> {
    let mut bytes = Bytes(encoded);
    let plaintext = bytes.take(plaintext_bytes)?.to_vec();
    padding(bytes.0)?;
    Ok(plaintext)
}

fn decompressed(encoded: &[u8], plaintext_bytes: usize) -> Read<Vec<u8>> {
    let refused = |error: std::io::Error| Refused(format!("Zstandard: {error}"));
    let decoder = zstd::stream::read::Decoder::with_buffer(Cursor::new(encoded)).map_err(refused)?;
    let mut decoder = decoder.single_frame();
    let mut plaintext = Vec::new();
    let bytes_max = plaintext_bytes as u64 + 1;
    decoder.by_ref().take(bytes_max).read_to_end(&mut plaintext).map_err(refused)?;
    expect(plaintext.len() == plaintext_bytes, "a Zstandard frame yields another length")?;
    let end = decoder.finish().position() as usize;
    padding(&encoded[end..])?;
    Ok(plaintext)
}

fn padding(bytes: &[u8]) -> Read<()> {
    expect(bytes.iter().all(|byte| *byte == 0), "padding is not zero")
}
