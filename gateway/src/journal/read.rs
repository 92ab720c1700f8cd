//! Reading payload from a segment file.
//!
//! Promises: bytes are returned only after their 4 KiB pieces match the checksums of a record whose
//! head is whole and stands where it says. Reads touch the head, the needed part of the table, and the
//! needed pieces. A read that may not wait ends where the disk would have to be waited for.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::LogFile;
use super::format::{CHECKSUM_BYTES, HEAD_BYTES, Kind, PIECE_BYTES, RecordHead, SegmentHead};
use super::index::STRIDE;
use super::{JournalError, Position};

/// The file to read from, and a start of a record at or before the position, within reach of it.
pub(super) struct Place {
    pub(super) file: Arc<dyn LogFile>,
    pub(super) path: PathBuf,
    pub(super) head: SegmentHead,
    pub(super) start: u64,
    /// Whether the disk may be waited for.
    pub(super) may_wait: bool,
}

impl Place {
    /// Fills `buffer` from `offset` on; less only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, JournalError> {
        let read = if self.may_wait {
            self.file.read_at(buffer, offset)
        } else {
            self.file.read_cached_at(buffer, offset)
        };
        read.map_err(JournalError::io("read", self.path.clone()))
    }
}

/// `bytes` of payload at `position`, verified. At least one byte.
pub(super) fn payload(place: &Place, position: Position, bytes: u64) -> Result<Bytes, JournalError> {
    let record = find_record(place, position)?;
    let start = record.payload_start();
    let end = start + u64::from(record.layout.payload_bytes);
    let wanted_end = position.offset.checked_add(bytes).filter(|wanted_end| *wanted_end <= end);
    let (Some(wanted_end), true) = (wanted_end, position.offset >= start) else {
        return Err(JournalError::NoSuchPayload { position, bytes });
    };
    let piece = PIECE_BYTES as u64;
    let first = (position.offset - start) / piece;
    let last = (wanted_end - 1 - start) / piece;
    let table_at = u64::from(record.offset) + record.layout.table_offset() + first * CHECKSUM_BYTES as u64;
    let table = fill(place, table_at, (last - first + 1) * CHECKSUM_BYTES as u64)?;
    let data_at = start + first * piece;
    let data = fill(place, data_at, end.min(start + (last + 1) * piece) - data_at)?;
    verify(place, data_at, &data, &table)?;
    let skip = (position.offset - data_at) as usize;
    Ok(Bytes::from(data).slice(skip..skip + bytes as usize))
}

/// The record that covers `position`.
fn find_record(place: &Place, position: Position) -> Result<RecordHead, JournalError> {
    // A long record has a kept start of its own: then its head is all that needs to be read.
    let mut first = [0; HEAD_BYTES];
    if place.read_at(&mut first, place.start)? == HEAD_BYTES
        && let Some(head) = RecordHead::decode_at(&first, &place.head, place.start)
        && head.end() > position.offset
        && head.kind == Kind::Data
    {
        return Ok(head);
    }
    // All heads between the start and the record of the position begin within one stride.
    let reach = (position.offset - place.start).min(STRIDE) + HEAD_BYTES as u64;
    let mut window = vec![0; reach as usize];
    let read = place.read_at(&mut window, place.start)?;
    window.truncate(read);
    let mut offset = place.start;
    loop {
        let from = (offset - place.start) as usize;
        let head = window.get(from..from + HEAD_BYTES).and_then(|bytes| bytes.try_into().ok());
        let head = head.and_then(|bytes| RecordHead::decode_at(bytes, &place.head, offset));
        match head {
            None => return Err(damaged(place, offset, "no record begins here")),
            Some(head) if head.end() <= position.offset => offset = head.end(),
            Some(head) if head.kind == Kind::Lost => {
                return Err(damaged(place, position.offset, "salvage has given this stretch up"));
            }
            Some(head) => return Ok(head),
        }
    }
}

fn verify(place: &Place, data_at: u64, data: &[u8], table: &[u8]) -> Result<(), JournalError> {
    let pieces = data.chunks(PIECE_BYTES).zip(table.chunks_exact(CHECKSUM_BYTES));
    for (number, (piece, checksum)) in pieces.enumerate() {
        if crc32c::crc32c(piece).to_le_bytes() != checksum {
            let offset = data_at + (number * PIECE_BYTES) as u64;
            return Err(damaged(place, offset, "the checksum of the payload is wrong"));
        }
    }
    Ok(())
}

/// Exactly `bytes` from the file.
fn fill(place: &Place, offset: u64, bytes: u64) -> Result<Vec<u8>, JournalError> {
    let mut buffer = vec![0; bytes as usize];
    let read = place.read_at(&mut buffer, offset)?;
    if read < buffer.len() {
        return Err(damaged(place, offset + read as u64, "the file ends here"));
    }
    Ok(buffer)
}

fn damaged(place: &Place, offset: u64, what: &str) -> JournalError {
    JournalError::Damaged { file: place.path.clone(), offset, what: what.to_owned() }
}
