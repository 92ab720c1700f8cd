//! The bytes of a segment file: its head and the records behind it.
//!
//! Owns the layout and nothing else: no file is touched here. All numbers are little-endian; every
//! checksum is CRC-32C. Offsets count from the start of the file.
//!
//! ```text
//! segment   = segment head, record, record, ...            file name: <id as 16 hex digits>.log
//! record    = record head, batch, table, payload, zeros up to a multiple of 8
//! table     = one checksum (4 bytes) for each 4,096 bytes of payload, the last piece may be shorter
//!
//! segment head, 64 bytes                   record head, 64 bytes
//!  0  8  magic "TIDEJRNL"                   0  4  magic "TGJR"
//!  8  4  checksum of bytes 12 to 64         4  4  checksum of bytes 8 to 64
//! 12  4  version, 1                         8  8  segment id
//! 16  8  segment id                        16  4  offset of this head
//! 24  8  sequence of the first record      20  4  kind: 0 data, 1 lost
//! 32  8  salt                              24  8  sequence
//! 40 24  zero                              32  8  durable: highest sequence known to be durable
//!                                                 when this head was written
//!                                          40  4  length of the batch
//!                                          44  4  length of the payload
//!                                          48  4  checksum of the batch
//!                                          52  4  checksum of the table
//!                                          56  8  salt of the segment
//! ```
//!
//! Why so:
//!
//! * The head alone tells where everything lies, and binds batch and table; the table binds the
//!   payload. A small read verifies the pieces it touches and no more.
//! * The batch comes first because replay wants it; the table stands right before the payload, so that
//!   reading a small payload touches neighbouring bytes.
//! * A head names its segment, its own offset and the random salt of the segment. Bytes that a user
//!   stores (a copy of a journal, say) can thus never pass for a record, wherever they lie.
//! * `durable` tells damage from a torn tail: a bad record that a later head calls durable had been
//!   acknowledged; one that none calls durable had perhaps only been under way when the power went.
//! * Magic, checksum and version of a segment head stay where they are in all versions, so that a newer
//!   format is told from damage.
//! * A record of kind "lost" is written by salvage over a damaged stretch: it has no batch, stands for
//!   the sequences from `sequence` to `durable`, and covers `payload length` bytes that are never
//!   read.

use super::Sequence;

/// Length of a segment head and of a record head.
pub(super) const HEAD_BYTES: usize = 64;
/// How much payload one checksum covers.
pub(super) const PIECE_BYTES: usize = 4096;
/// Records begin at multiples of this.
pub(super) const ALIGNMENT: u64 = 8;
/// Bytes of one checksum in the table.
pub(super) const CHECKSUM_BYTES: usize = 4;

const SEGMENT_MAGIC: &[u8; 8] = b"TIDEJRNL";
const SEGMENT_VERSION: u32 = 1;
const RECORD_MAGIC: &[u8; 4] = b"TGJR";

const _: () = assert!((HEAD_BYTES as u64).is_multiple_of(ALIGNMENT), "the first record is aligned");

/// The head of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub(super) segment: u64,
    pub(super) first: Sequence,
    pub(super) salt: u64,
}

impl SegmentHead {
    pub(super) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(SEGMENT_MAGIC);
        bytes[12..16].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.salt.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a head.
    pub(super) fn decode(bytes: &[u8; HEAD_BYTES]) -> Result<Self, NotAHead> {
        if &bytes[..8] != SEGMENT_MAGIC || u32_at(bytes, 8) != crc32c::crc32c(&bytes[12..]) {
            return Err(NotAHead::Damaged);
        }
        match u32_at(bytes, 12) {
            SEGMENT_VERSION => {}
            version => return Err(NotAHead::Version(version)),
        }
        let first = Sequence(u64_at(bytes, 24));
        Ok(Self { segment: u64_at(bytes, 16), first, salt: u64_at(bytes, 32) })
    }
}

/// Why bytes are no segment head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAHead {
    /// Magic or checksum is wrong.
    Damaged,
    /// The head is whole, and of another version.
    Version(u32),
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A batch and its payload.
    Data,
    /// A stretch that salvage gave up.
    Lost,
}

/// Lengths of the parts of a record, and with them all offsets inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) batch_bytes: u32,
    pub(super) payload_bytes: u32,
}

impl Layout {
    pub(super) fn table_bytes(self) -> u64 {
        u64::from(self.payload_bytes).div_ceil(PIECE_BYTES as u64) * CHECKSUM_BYTES as u64
    }

    /// From the start of the record to its table.
    pub(super) fn table_offset(self) -> u64 {
        HEAD_BYTES as u64 + u64::from(self.batch_bytes)
    }

    /// From the start of the record to its payload.
    pub(super) fn payload_offset(self) -> u64 {
        self.table_offset() + self.table_bytes()
    }

    /// The whole record, padding included.
    pub(super) fn record_bytes(self) -> u64 {
        self.unpadded_bytes().next_multiple_of(ALIGNMENT)
    }

    /// Zeros behind the payload.
    pub(super) fn padding_bytes(self) -> usize {
        (self.record_bytes() - self.unpadded_bytes()) as usize
    }

    fn unpadded_bytes(self) -> u64 {
        self.payload_offset() + u64::from(self.payload_bytes)
    }
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHead {
    pub(super) segment: u64,
    pub(super) offset: u32,
    pub(super) kind: Kind,
    pub(super) sequence: Sequence,
    pub(super) durable: Sequence,
    pub(super) layout: Layout,
    pub(super) batch_checksum: u32,
    pub(super) table_checksum: u32,
    pub(super) salt: u64,
}

impl RecordHead {
    pub(super) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(RECORD_MAGIC);
        bytes[8..16].copy_from_slice(&self.segment.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.offset.to_le_bytes());
        bytes[20..24].copy_from_slice(&u32::from(self.kind == Kind::Lost).to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sequence.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.durable.0.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.layout.batch_bytes.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.layout.payload_bytes.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.batch_checksum.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.table_checksum.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.salt.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a head; `None` when these bytes are none.
    pub(super) fn decode(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        if &bytes[..4] != RECORD_MAGIC || u32_at(bytes, 4) != crc32c::crc32c(&bytes[8..]) {
            return None;
        }
        let kind = match u32_at(bytes, 20) {
            0 => Kind::Data,
            1 => Kind::Lost,
            _ => return None,
        };
        Some(Self {
            segment: u64_at(bytes, 8),
            offset: u32_at(bytes, 16),
            kind,
            sequence: Sequence(u64_at(bytes, 24)),
            durable: Sequence(u64_at(bytes, 32)),
            layout: Layout { batch_bytes: u32_at(bytes, 40), payload_bytes: u32_at(bytes, 44) },
            batch_checksum: u32_at(bytes, 48),
            table_checksum: u32_at(bytes, 52),
            salt: u64_at(bytes, 56),
        })
    }

    /// Reads the head of the record that begins at `offset` of the segment with head `segment`.
    pub(super) fn decode_at(bytes: &[u8; HEAD_BYTES], segment: &SegmentHead, offset: u64) -> Option<Self> {
        Self::decode(bytes).filter(|head| {
            head.segment == segment.segment && head.salt == segment.salt && u64::from(head.offset) == offset
        })
    }

    /// Where the payload begins in the file.
    pub(super) fn payload_start(&self) -> u64 {
        u64::from(self.offset) + self.layout.payload_offset()
    }

    /// Where the next record begins in the file.
    pub(super) fn end(&self) -> u64 {
        match self.kind {
            Kind::Data => u64::from(self.offset) + self.layout.record_bytes(),
            Kind::Lost => u64::from(self.offset) + HEAD_BYTES as u64 + u64::from(self.layout.payload_bytes),
        }
    }

    /// The sequence that the next record must have.
    pub(super) fn next_sequence(&self) -> Sequence {
        match self.kind {
            Kind::Data => self.sequence.next(),
            Kind::Lost => self.durable.next(),
        }
    }
}

/// The name of the file of segment `id`.
pub(super) fn file_name(id: u64) -> String {
    format!("{id:016x}.log")
}

/// The name under which segment `id` waits until it is needed.
pub(super) fn spare_name(id: u64) -> String {
    format!("{id:016x}.new")
}

/// Whether a file name is that of a spare.
pub(super) fn is_spare(name: &str) -> bool {
    name.strip_suffix(".new").is_some_and(|digits| u64::from_str_radix(digits, 16).is_ok())
}

/// The id that a file name stands for.
pub(super) fn segment_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    let id = u64::from_str_radix(digits, 16).ok()?;
    (file_name(id) == name).then_some(id)
}

fn u32_at(bytes: &[u8; HEAD_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were taken"))
}

fn u64_at(bytes: &[u8; HEAD_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were taken"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).expect("digits"));
        digits.map(|two| u8::from_str_radix(two, 16).expect("digits")).collect()
    }

    fn example() -> RecordHead {
        RecordHead {
            segment: 7,
            offset: 64,
            kind: Kind::Data,
            sequence: Sequence(41),
            durable: Sequence(40),
            layout: Layout { batch_bytes: 13, payload_bytes: 5000 },
            batch_checksum: 0x0102_0304,
            table_checksum: 0x0506_0708,
            salt: 0x1122_3344_5566_7788,
        }
    }

    #[test]
    fn the_bytes_of_a_segment_head_never_change() {
        let head = SegmentHead { segment: 7, first: Sequence(41), salt: 0x1122_3344_5566_7788 };
        assert_eq!(head.encode()[..], bytes(GOLDEN_SEGMENT));
        assert_eq!(SegmentHead::decode(&head.encode()), Ok(head));
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = SegmentHead { segment: 7, first: Sequence(41), salt: 1 }.encode();
        bytes[12] = 2;
        assert_eq!(SegmentHead::decode(&bytes), Err(NotAHead::Damaged));
        let checksum = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(SegmentHead::decode(&bytes), Err(NotAHead::Version(2)));
    }

    #[test]
    fn the_bytes_of_a_record_head_never_change() {
        assert_eq!(example().encode()[..], bytes(GOLDEN_RECORD));
        assert_eq!(RecordHead::decode(&example().encode()), Some(example()));
    }

    #[test]
    fn a_head_with_any_bit_flipped_is_no_head() {
        for bit in 0..HEAD_BYTES * 8 {
            let mut bytes = example().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHead::decode(&bytes), None, "bit {bit}");
        }
    }

    #[test]
    fn a_head_counts_only_where_it_was_written() {
        let segment = SegmentHead { segment: 7, first: Sequence(1), salt: 0x1122_3344_5566_7788 };
        let bytes = example().encode();
        assert!(RecordHead::decode_at(&bytes, &segment, 64).is_some());
        assert!(RecordHead::decode_at(&bytes, &segment, 72).is_none());
        assert!(RecordHead::decode_at(&bytes, &SegmentHead { salt: 1, ..segment }, 64).is_none());
        assert!(RecordHead::decode_at(&bytes, &SegmentHead { segment: 8, ..segment }, 64).is_none());
    }

    #[test]
    fn the_parts_of_a_record_follow_each_other() {
        let head = example();
        assert_eq!(head.payload_start(), 64 + 64 + 13 + 8);
        assert_eq!(head.end(), (64_u64 + 64 + 13 + 8 + 5000).next_multiple_of(8));
    }

    #[test]
    fn only_whole_lower_case_names_are_segments() {
        assert_eq!(segment_of(&file_name(0xab)), Some(0xab));
        for name in ["ab.log", "00000000000000AB.log", "00000000000000ab.new", "+0000000000000ab.log"] {
            assert_eq!(segment_of(name), None, "{name}");
        }
    }

    const GOLDEN_SEGMENT: &str = "544944454a524e4c50641d1d0100000007000000000000002900000000000000\
        8877665544332211000000000000000000000000000000000000000000000000";
    const GOLDEN_RECORD: &str = "54474a52ddbe4fd0070000000000000040000000000000002900000000000000\
        28000000000000000d0000008813000004030201080706058877665544332211";
}
