//! Packs: frames in a file, and what the end of the file says about them.

use std::fs::File;
use std::io::{Read as _, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::bytes::{Bytes, hex};
use super::index::{Id, Location};
use super::keys::Domain;
use super::objects::{decrypt, keyed};
use super::{In, Read, Refused, expect};

const PACK_BYTES_MAX: u32 = 1_073_741_824;
const CHUNKS_MAX: u32 = 1_048_576;
const HEADER_BYTES: u64 = 48;
const FOOTER_BYTES: u64 = 56;

/// The name of a pack's object.
pub(super) fn name(pack: &Id) -> String {
    let digits = hex(pack);
    format!("packs/{}/{digits}", &digits[..2])
}

/// A piece of a pack.
pub(super) fn piece(folder: &Path, pack: &Id, offset: u64, length: usize) -> Read<Vec<u8>> {
    let name = name(pack);
    let path: PathBuf = folder.join(&name);
    let read = || {
        let mut file = File::open(&path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error: std::io::Error| Refused(format!("{name}: {error}")))
}

/// Where the chunks of a pack lie, by its own end.
pub(super) fn places(folder: &Path, pack: &Id, domain: &Domain) -> Read<Vec<(Id, u8, Location)>> {
    places_within(folder, pack, domain).within(&name(pack))
}

fn places_within(folder: &Path, pack: &Id, domain: &Domain) -> Read<Vec<(Id, u8, Location)>> {
    let path = folder.join(name(pack));
    let pack_bytes = path.metadata().map_err(|error| Refused(error.to_string()))?.len();
    expect(pack_bytes >= HEADER_BYTES + FOOTER_BYTES, "too short for a pack")?;
    let header = piece(folder, pack, 0, HEADER_BYTES as usize)?;
    let footer = piece(folder, pack, pack_bytes - FOOTER_BYTES, FOOTER_BYTES as usize)?;
    let epoch = check_header(&header, pack)?;

    let mut bytes = Bytes(&footer);
    expect(&bytes.array::<32>()? == pack, "a footer with another id")?;
    expect(bytes.u32()? == epoch, "header and footer name other epochs")?;
    let (index_offset, index_bytes) = (bytes.u32()?, bytes.u32()?);
    expect(bytes.u32()? == crc32c::crc32c(&footer[..44]), "a damaged footer")?;
    expect(&bytes.array::<8>()? == b"TGPKEND\x01", "no footer")?;
    expect(index_offset <= PACK_BYTES_MAX, "a pack is too long")?;
    let end = u64::from(index_offset) + u64::from(index_bytes) + FOOTER_BYTES;
    expect(end == pack_bytes, "the index does not lie before the footer")?;

    let sealed = piece(folder, pack, u64::from(index_offset), index_bytes as usize)?;
    let key = keyed(domain.packs_key(epoch)?, pack);
    let aad = [&footer[..44], &domain.repository, &domain.id].concat();
    let rows = decrypt(&key, u32::MAX, &aad, &sealed)?;
    read_rows(&rows, pack, index_offset)
}

/// The seal epoch that the header names.
fn check_header(header: &[u8], pack: &Id) -> Read<u32> {
    let mut bytes = Bytes(header);
    expect(&bytes.array::<8>()? == b"TGPACK\0\x01", "no pack")?;
    let epoch = bytes.u32()?;
    let checked = [&header[..12], &header[16..]].concat();
    expect(bytes.u32()? == crc32c::crc32c(&checked), "a damaged header")?;
    expect(&bytes.array::<32>()? == pack, "a pack with another id")?;
    Ok(epoch)
}

fn read_rows(rows: &[u8], pack: &Id, index_offset: u32) -> Read<Vec<(Id, u8, Location)>> {
    let mut bytes = Bytes(rows);
    let (frames, chunks) = (bytes.u32()?, bytes.u32()?);
    expect(chunks <= CHUNKS_MAX, "too many chunks")?;
    let mut frame_rows = Bytes(bytes.take(9 * frames as usize)?);
    let mut chunk_rows = Bytes(bytes.take(36 * chunks as usize)?);
    bytes.end()?;
    let (mut places, mut frame_offset) = (Vec::new(), HEADER_BYTES as u32);
    for _ in 0..frames {
        let (frame_bytes, frame_chunks, kind) = (frame_rows.u32()?, frame_rows.u32()?, frame_rows.u8()?);
        expect(frame_chunks > 0, "a frame without chunks")?;
        let mut chunk_offset = 0;
        for _ in 0..frame_chunks {
            let (id, chunk_bytes) = (chunk_rows.array()?, chunk_rows.u32()?);
            let location = Location { pack: *pack, frame_offset, frame_bytes, chunk_offset, chunk_bytes };
            places.push((id, kind, location));
            chunk_offset += chunk_bytes;
        }
        frame_offset += frame_bytes;
    }
    chunk_rows.end()?;
    expect(frame_offset == index_offset, "frames do not reach the index")?;
    Ok(places)
}
