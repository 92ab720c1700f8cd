//! The tail of the log: what has a place in it and is not yet in its file.
//!
//! Owns the next sequence, the next offset, and the queue of records for the writer. Plain state under
//! the lock of [`super::shared::Shared`]; no I/O, no waiting.
//!
//! Invariants, where `room` is what is granted to permits plus what is unwritten:
//!
//! * `room <= buffer_bytes <= segment_bytes - 64`: the semaphore of `Shared` and the options see to it.
//! * Whatever is granted fits the segments that the disk has set aside: either a spare segment is
//!   ready, and then at most one rotation lies ahead because all granted bytes fit one segment; or none
//!   is, and then the granted bytes fit what is left of this segment. So append cannot meet a full disk.
//! * The queue is in the order of sequences, and positions grow along it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;

use super::format::{CHECKSUM_BYTES, HEAD_BYTES, Layout, PIECE_BYTES};
use super::{Appended, JournalError, Position, Sequence};

/// The parts of a record that do not depend on its place.
pub(super) struct Body {
    pub(super) layout: Layout,
    pub(super) batch_checksum: u32,
    pub(super) table_checksum: u32,
    /// Batch and table.
    pub(super) front: Bytes,
    pub(super) payload: Vec<Bytes>,
}

impl Body {
    /// Computes all checksums. The caller has checked that the lengths fit 32 bits.
    pub(super) fn new(layout: Layout, batch: &[u8], payload: &[Bytes]) -> Self {
        let mut front = BytesMut::with_capacity(batch.len() + layout.table_bytes() as usize);
        front.put_slice(batch);
        put_table(&mut front, payload);
        Self {
            layout,
            batch_checksum: crc32c::crc32c(batch),
            table_checksum: crc32c::crc32c(&front[batch.len()..]),
            front: front.freeze(),
            payload: payload.iter().filter(|piece| !piece.is_empty()).cloned().collect(),
        }
    }
}

/// Appends one checksum for each 4 KiB of `payload`, across the borders of its parts.
fn put_table(table: &mut BytesMut, payload: &[Bytes]) {
    let (mut checksum, mut covered) = (0, 0);
    for part in payload {
        let mut rest = &part[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PIECE_BYTES - covered));
            checksum = crc32c::crc32c_append(checksum, now);
            covered += now.len();
            rest = later;
            if covered == PIECE_BYTES {
                table.put_u32_le(checksum);
                (checksum, covered) = (0, 0);
            }
        }
    }
    if covered > 0 {
        table.put_u32_le(checksum);
    }
}

const _: () = assert!(size_of::<u32>() == CHECKSUM_BYTES);

/// A record with its place, on its way to the file.
pub(super) struct Pending {
    pub(super) sequence: Sequence,
    pub(super) segment: u64,
    /// Of its head, in the file.
    pub(super) offset: u64,
    pub(super) body: Body,
    /// Its part of the buffer, given back when it is dropped.
    _room: OwnedSemaphorePermit,
}

impl Pending {
    pub(super) fn end(&self) -> u64 {
        self.offset + self.body.layout.record_bytes()
    }

    fn payload_start(&self) -> Position {
        Position { segment: self.segment, offset: self.offset + self.body.layout.payload_offset() }
    }

    /// The payload bytes at `position`, which lies in this record.
    fn read(&self, position: Position, bytes: u64) -> Result<Bytes, JournalError> {
        let skipped = position.offset.checked_sub(self.payload_start().offset);
        let inside = |skipped: &u64| {
            skipped.checked_add(bytes).is_some_and(|end| end <= u64::from(self.body.layout.payload_bytes))
        };
        match skipped.filter(inside) {
            Some(skipped) => Ok(cut(&self.body.payload, skipped as usize, bytes as usize)),
            None => Err(JournalError::NoSuchPayload { position, bytes }),
        }
    }
}

/// `bytes` of the run that `parts` make, from `skip` on; not copied when they lie in one part.
fn cut(parts: &[Bytes], mut skip: usize, bytes: usize) -> Bytes {
    let mut gathered = BytesMut::new();
    for part in parts {
        if skip >= part.len() {
            skip -= part.len();
            continue;
        }
        let wanted = bytes - gathered.len();
        let taken = part.slice(skip..part.len().min(skip + wanted));
        skip = 0;
        if taken.len() == bytes {
            return taken;
        }
        gathered.extend_from_slice(&taken);
        if gathered.len() == bytes {
            break;
        }
    }
    gathered.freeze()
}

/// Whether the segment after this one has been set aside on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spare {
    Ready,
    /// Not yet: the writer is about to.
    Missing,
    /// The disk refused; the writer tries again.
    Refused(Arc<str>),
}

pub(super) struct Tail {
    segment_bytes: u64,
    next: Sequence,
    segment: u64,
    offset: u64,
    /// Bytes of permits that were handed out and not used yet.
    pub(super) granted: u64,
    pub(super) spare: Spare,
    unwritten: VecDeque<Arc<Pending>>,
    unwritten_bytes: u64,
    /// The time of the oldest append that is not durable.
    pub(super) unsynced_since: Option<Instant>,
    /// The highest sequence that somebody waits for.
    pub(super) wanted: Sequence,
    pub(super) closing: bool,
}

impl Tail {
    /// The tail at the start of segment `segment`, before record `next`.
    pub(super) fn new(segment: u64, next: Sequence, segment_bytes: u64) -> Self {
        Self {
            segment_bytes,
            next,
            segment,
            offset: HEAD_BYTES as u64,
            granted: 0,
            spare: Spare::Missing,
            unwritten: VecDeque::new(),
            unwritten_bytes: 0,
            unsynced_since: None,
            wanted: Sequence(0),
            closing: false,
        }
    }

    pub(super) fn appended(&self) -> Sequence {
        self.next.previous()
    }

    pub(super) fn unwritten_bytes(&self) -> u64 {
        self.unwritten_bytes
    }

    /// Grants `bytes` if the disk has set room aside for them. `Ok(false)` means: wait for the spare.
    pub(super) fn grant(&mut self, bytes: u64) -> Result<bool, JournalError> {
        let fits_segment = self.offset + self.granted + bytes <= self.segment_bytes;
        match &self.spare {
            _ if fits_segment => {}
            Spare::Ready => {}
            Spare::Missing => return Ok(false),
            Spare::Refused(cause) => return Err(JournalError::NoSpace { cause: cause.clone() }),
        }
        self.granted += bytes;
        Ok(true)
    }

    /// Gives the record its place. The caller has taken its permit off `granted`.
    pub(super) fn push(&mut self, body: Body, room: OwnedSemaphorePermit, now: Instant) -> Appended {
        let bytes = body.layout.record_bytes();
        if self.offset + bytes > self.segment_bytes {
            assert_eq!(self.spare, Spare::Ready, "what is granted fits the room set aside");
            self.spare = Spare::Missing;
            self.segment += 1;
            self.offset = HEAD_BYTES as u64;
        }
        let pending =
            Pending { sequence: self.next, segment: self.segment, offset: self.offset, body, _room: room };
        let appended = Appended { sequence: pending.sequence, position: pending.payload_start() };
        self.offset = pending.end();
        self.next = self.next.next();
        self.unwritten_bytes += bytes;
        self.unsynced_since.get_or_insert(now);
        self.unwritten.push_back(Arc::new(pending));
        appended
    }

    /// The oldest unwritten records, until they exceed `bytes_max` or `records_max`.
    pub(super) fn group(&self, bytes_max: u64, records_max: usize) -> Vec<Arc<Pending>> {
        let mut bytes = 0;
        let within = |pending: &&Arc<Pending>| {
            let taken = bytes < bytes_max;
            bytes += pending.body.layout.record_bytes();
            taken
        };
        self.unwritten.iter().take(records_max).take_while(within).cloned().collect()
    }

    /// Forgets the `count` oldest records: they are in their file.
    pub(super) fn written(&mut self, count: usize) {
        for pending in self.unwritten.drain(..count) {
            self.unwritten_bytes -= pending.body.layout.record_bytes();
        }
    }

    /// Reads from a record that is not in its file yet; `None` when the position lies elsewhere.
    pub(super) fn read(&self, position: Position, bytes: u64) -> Option<Result<Bytes, JournalError>> {
        let place = (position.segment, position.offset);
        let after = self.unwritten.partition_point(|pending| (pending.segment, pending.offset) <= place);
        let pending = self.unwritten.get(after.checked_sub(1)?)?;
        let inside = pending.segment == position.segment && position.offset < pending.end();
        inside.then(|| pending.read(position, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_does_not_depend_on_how_the_payload_is_split() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|n| (n * 7) as u8).collect();
        let mut whole = BytesMut::new();
        put_table(&mut whole, &[Bytes::from(bytes.clone())]);
        let by_hand: Vec<u8> =
            bytes.chunks(PIECE_BYTES).flat_map(|piece| crc32c::crc32c(piece).to_le_bytes()).collect();
        assert_eq!(whole, by_hand);
        for step in [1, 4095, 4096, 4097, 5000] {
            let parts: Vec<Bytes> = bytes.chunks(step).map(Bytes::copy_from_slice).collect();
            let mut table = BytesMut::new();
            put_table(&mut table, &parts);
            assert_eq!(table, whole, "parts of {step}");
        }
    }

    #[test]
    fn a_cut_through_parts_gives_the_bytes_of_the_whole() {
        let whole: Vec<u8> = (0..100).collect();
        let parts: Vec<Bytes> = whole.chunks(7).map(Bytes::copy_from_slice).collect();
        for start in 0..100 {
            for end in start..=100 {
                assert_eq!(cut(&parts, start, end - start), whole[start..end]);
            }
        }
    }
}
