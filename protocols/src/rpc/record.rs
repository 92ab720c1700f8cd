//! Record marking on a stream (RFC 5531 section 11): four bytes of length before each fragment, the
//! top bit set on the last fragment of a record.
//!
//! A state machine without I/O: bytes go in, records come out. A record in one fragment that lies
//! whole in the inbox is sliced out of it without a copy. A larger one gets a buffer of its own,
//! into which the transport may then read directly.
//!
//! Promises about memory: an announced length above the limit is refused before anything is
//! allocated; a buffer for a large record is asked for ([`Step::Grant`]) only after
//! [`GRANT_BYTES`] of the record have really arrived; a record has at most [`FRAGMENTS_MAX`]
//! fragments, so that empty fragments do not go on for ever.

use bytes::{Buf, Bytes, BytesMut};

/// How much of a record must have arrived before a buffer for the rest of it is allocated. Also the
/// size of a connection's inbox.
pub const GRANT_BYTES: usize = 16 << 10;
/// The most fragments of one record. Clients of today send one; old ones cut at 8 KiB or less.
pub const FRAGMENTS_MAX: u32 = 1024;

const MARK_BYTES: usize = 4;
const LAST_FRAGMENT: u32 = 1 << 31;

/// Why a stream of records cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The record is longer than the limit.
    #[error("record of more than {limit} bytes")]
    TooLong {
        /// In bytes.
        limit: usize,
    },
    /// The record has too many fragments.
    #[error("record of more than {FRAGMENTS_MAX} fragments")]
    TooManyFragments,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// More bytes are needed.
    More,
    /// A buffer for so many bytes is needed: get permission, then call [`Records::grant`].
    Grant(usize),
    /// A whole record.
    Record(Bytes),
}

/// Cuts a stream into records.
#[derive(Debug)]
pub struct Records {
    limit: usize,
    gathered: BytesMut,
    fragments: u32,
    fragment: Option<Fragment>,
    granted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Fragment {
    missing: usize,
    last: bool,
}

impl Records {
    /// Takes records of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, gathered: BytesMut::new(), fragments: 0, fragment: None, granted: false }
    }

    /// Whether no byte of an unfinished record has been taken.
    pub fn at_start(&self) -> bool {
        self.fragments == 0
    }

    /// Takes from `inbox` what it can.
    pub fn step(&mut self, inbox: &mut BytesMut) -> Result<Step, RecordError> {
        loop {
            let fragment = match self.fragment {
                Some(fragment) => fragment,
                None if inbox.len() < MARK_BYTES => return Ok(Step::More),
                None => self.begin_fragment(inbox.get_u32())?,
            };
            if fragment.last && self.gathered.is_empty() && inbox.len() >= fragment.missing && !self.granted {
                self.restart();
                return Ok(Step::Record(inbox.split_to(fragment.missing).freeze()));
            }
            if let Some(step) = self.wait_for_grant(fragment, inbox.len()) {
                return Ok(step);
            }
            let taken = fragment.missing.min(inbox.len());
            self.gathered.extend_from_slice(&inbox[..taken]);
            inbox.advance(taken);
            if let Some(step) = self.took(taken) {
                return Ok(step);
            }
        }
    }

    /// How the record begins that [`Step::Grant`] asks for: so many bytes of it at most. `inbox` has those that were not
    /// taken yet.
    pub fn beginning(&self, inbox: &[u8], bytes_max: usize) -> Bytes {
        let taken = &self.gathered[..self.gathered.len().min(bytes_max)];
        let missing = self.fragment.map_or(0, |fragment| fragment.missing);
        let left = inbox.len().min(missing).min(bytes_max - taken.len());
        Bytes::from([taken, &inbox[..left]].concat())
    }

    /// Permission for what [`Step::Grant`] asked.
    pub fn grant(&mut self) {
        self.granted = true;
        if let Some(Fragment { missing, last: true }) = self.fragment {
            self.gathered.reserve(missing);
        }
    }

    /// Where the transport may read to directly instead of the inbox, and how much at most.
    pub fn direct(&mut self) -> Option<(&mut BytesMut, usize)> {
        let fragment = self.fragment?;
        (self.granted && fragment.missing > 0).then_some((&mut self.gathered, fragment.missing))
    }

    /// So many bytes were read directly. Answers [`Step::More`] or the record.
    pub fn read_directly(&mut self, bytes: usize) -> Step {
        self.took(bytes).unwrap_or(Step::More)
    }

    fn begin_fragment(&mut self, mark: u32) -> Result<Fragment, RecordError> {
        let fragment =
            Fragment { missing: (mark & !LAST_FRAGMENT) as usize, last: mark & LAST_FRAGMENT != 0 };
        self.fragments += 1;
        if self.fragments > FRAGMENTS_MAX {
            return Err(RecordError::TooManyFragments);
        }
        if fragment.missing > self.limit - self.gathered.len() {
            return Err(RecordError::TooLong { limit: self.limit });
        }
        self.fragment = Some(fragment);
        Ok(fragment)
    }

    /// Nothing leaves the inbox before the fragment fills it, nor beyond it without a grant.
    fn wait_for_grant(&self, fragment: Fragment, available: usize) -> Option<Step> {
        if self.granted {
            return None;
        }
        if available < fragment.missing && available < GRANT_BYTES {
            return Some(Step::More);
        }
        let whole = self.gathered.len() + fragment.missing;
        match (whole > GRANT_BYTES, fragment.last) {
            (false, _) => None,
            (true, true) => Some(Step::Grant(whole)),
            (true, false) => Some(Step::Grant(self.limit)),
        }
    }

    fn took(&mut self, bytes: usize) -> Option<Step> {
        let fragment = self.fragment.as_mut()?;
        fragment.missing -= bytes;
        if fragment.missing > 0 {
            return Some(Step::More);
        }
        if !fragment.last {
            self.fragment = None;
            return None;
        }
        let record = std::mem::take(&mut self.gathered).freeze();
        self.restart();
        Some(Step::Record(record))
    }

    fn restart(&mut self) {
        self.fragment = None;
        self.fragments = 0;
        self.granted = false;
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1 << 20;

    /// Feeds `stream` in pieces as a transport would, through the inbox or directly.
    fn feed(stream: &[u8], pieces: &[usize]) -> Result<Vec<Bytes>, RecordError> {
        let (mut records, mut inbox, mut out) = (Records::new(LIMIT), BytesMut::new(), Vec::new());
        let mut rest = stream;
        let mut sizes = pieces.iter().copied().cycle();
        loop {
            match records.step(&mut inbox)? {
                Step::Record(record) => out.push(record),
                Step::Grant(bytes) => {
                    assert!(bytes <= LIMIT);
                    records.grant();
                }
                Step::More if rest.is_empty() => return Ok(out),
                Step::More => {
                    let size = sizes.next().unwrap_or(1).clamp(1, rest.len());
                    let step = if let Some((buffer, most)) = records.direct() {
                        let size = size.min(most);
                        buffer.put_slice(&rest[..size]);
                        rest = &rest[size..];
                        records.read_directly(size)
                    } else {
                        let size = size.min(GRANT_BYTES);
                        inbox.put_slice(&rest[..size]);
                        rest = &rest[size..];
                        Step::More
                    };
                    if let Step::Record(record) = step {
                        out.push(record);
                    }
                }
            }
        }
    }

    fn mark(stream: &mut Vec<u8>, data: &[u8], last: bool) {
        stream.put_u32(data.len() as u32 | if last { LAST_FRAGMENT } else { 0 });
        stream.put_slice(data);
    }

    #[test]
    fn four_bytes_that_announce_gigabytes_allocate_nothing() {
        let mut records = Records::new(LIMIT);
        let mut inbox = BytesMut::from(&b"\xff\xff\xff\xff"[..]);
        assert_eq!(records.step(&mut inbox), Err(RecordError::TooLong { limit: LIMIT }));
    }

    #[test]
    fn four_bytes_that_announce_the_largest_record_allocate_nothing() {
        let mut records = Records::new(LIMIT);
        let mut inbox = BytesMut::from(&(LAST_FRAGMENT | LIMIT as u32).to_be_bytes()[..]);
        assert_eq!(records.step(&mut inbox), Ok(Step::More));
        assert_eq!(records.gathered.capacity(), 0);
        assert!(records.direct().is_none());
    }

    #[test]
    fn it_is_known_how_a_long_record_begins_before_there_is_room_for_it() {
        let data: Vec<u8> = (0..40_000_u32).map(|at| at as u8).collect();
        for cut in [0, 1, 700, 15_000] {
            let mut stream = Vec::new();
            mark(&mut stream, &data[..cut], false);
            mark(&mut stream, &data[cut..], true);
            let (mut records, mut inbox) = (Records::new(LIMIT), BytesMut::from(&stream[..36_000]));
            assert!(matches!(records.step(&mut inbox), Ok(Step::Grant(_))), "cut at {cut}");
            assert_eq!(records.beginning(&inbox, 840), data[..840], "cut at {cut}");
        }
    }

    #[test]
    fn endless_empty_fragments_end_the_stream() {
        let stream = vec![0; 4 * (FRAGMENTS_MAX as usize + 1)];
        assert_eq!(feed(&stream, &[4096]), Err(RecordError::TooManyFragments));
    }

    #[test]
    fn fragments_are_bounded_by_their_sum() {
        let mut stream = Vec::new();
        mark(&mut stream, &vec![1; LIMIT], false);
        mark(&mut stream, &[1], true);
        assert_eq!(feed(&stream, &[1 << 16]), Err(RecordError::TooLong { limit: LIMIT }));
    }

    #[test]
    fn a_small_record_is_sliced_out_of_the_inbox() {
        let mut inbox = BytesMut::from(&b"\x80\0\0\x04abcd"[..]);
        let place = inbox[4..].as_ptr();
        let Ok(Step::Record(record)) = Records::new(LIMIT).step(&mut inbox) else { panic!("no record") };
        assert_eq!(record.as_ptr(), place);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn records_come_out_as_they_went_in(
            lengths in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![0usize..300, 16_000usize..70_000], 1..4), 1..5),
            pieces in proptest::collection::vec(1usize..40_000, 1..6),
        ) {
            let (mut stream, mut expected) = (Vec::new(), Vec::new());
            for (number, fragments) in lengths.iter().enumerate() {
                let mut whole = Vec::new();
                for (index, &length) in fragments.iter().enumerate() {
                    let data: Vec<u8> = (0..length).map(|at| (at + number + index) as u8).collect();
                    mark(&mut stream, &data, index + 1 == fragments.len());
                    whole.extend(data);
                }
                expected.push(Bytes::from(whole));
            }
            prop_assert_eq!(feed(&stream, &pieces), Ok(expected));
        }
    }
}
