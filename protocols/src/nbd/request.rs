//! What a request says, and whether it may be carried out at all.

use std::ops::Range;

use super::limits::NbdLimits;
use super::wire::{REQUEST_MAGIC, command, errno, flag};

/// How long the head of a request is, in bytes.
pub(super) const HEAD_BYTES: usize = 28;

/// The head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) flags: u16,
    pub(super) command: u16,
    /// What the client calls it.
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Head {
    /// Takes it apart; none if it is not the beginning of a request.
    pub(super) fn decode(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let [m0, m1, m2, m3, f0, f1, c0, c1, rest @ ..] = *bytes;
        let (cookie, rest) = rest.split_first_chunk::<8>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let length = rest.first_chunk::<4>()?;
        (u32::from_be_bytes([m0, m1, m2, m3]) == REQUEST_MAGIC).then(|| Self {
            flags: u16::from_be_bytes([f0, f1]),
            command: u16::from_be_bytes([c0, c1]),
            cookie: u64::from_be_bytes(*cookie),
            offset: u64::from_be_bytes(*offset),
            length: u32::from_be_bytes(*length),
        })
    }

    /// How many bytes of data follow it.
    pub(super) fn payload_bytes(&self) -> u32 {
        if self.command == command::WRITE { self.length } else { 0 }
    }

    /// The name of its command, for metrics.
    pub(super) fn name(&self) -> &'static str {
        match self.command {
            command::READ => "read",
            command::WRITE => "write",
            command::DISC => "disconnect",
            command::FLUSH => "flush",
            command::TRIM => "trim",
            command::CACHE => "cache",
            command::WRITE_ZEROES => "write_zeroes",
            command::BLOCK_STATUS => "block_status",
            _ => "unknown",
        }
    }
}

/// What is known of the volume and of the negotiation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) size: u64,
    pub(super) read_only: bool,
    /// Structured replies were negotiated.
    pub(super) structured: bool,
    /// The meta context `base:allocation` was.
    pub(super) allocation: bool,
}

/// A request that may be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// In one chunk, where replies have chunks.
    Read {
        range: Range<u64>,
        whole: bool,
    },
    Write {
        offset: u64,
        durable: bool,
    },
    Flush,
    Trim {
        range: Range<u64>,
        durable: bool,
    },
    Cache {
        range: Range<u64>,
    },
    Zero {
        range: Range<u64>,
        keep_room: bool,
        durable: bool,
    },
    /// `one`: a single stretch.
    Status {
        range: Range<u64>,
        one: bool,
    },
}

impl Request {
    /// Checks a request against all that can be known before it is carried out; or the number of the error.
    pub(super) fn check(head: &Head, rules: Rules, limits: &NbdLimits) -> Result<Self, u32> {
        let known = match head.command {
            command::READ if rules.structured => flag::FUA | flag::DF,
            command::WRITE_ZEROES => flag::FUA | flag::NO_HOLE | flag::FAST_ZERO,
            command::BLOCK_STATUS => flag::FUA | flag::REQ_ONE,
            _ => flag::FUA,
        };
        if head.flags & !known != 0 {
            return Err(errno::EINVAL);
        }
        let has = |wanted: u16| head.flags & wanted != 0;
        let durable = has(flag::FUA);
        if head.command == command::FLUSH {
            return if (head.offset, head.length) == (0, 0) { Ok(Self::Flush) } else { Err(errno::EINVAL) };
        }
        let changes = matches!(head.command, command::WRITE | command::TRIM | command::WRITE_ZEROES);
        if changes && rules.read_only {
            return Err(errno::EPERM);
        }
        let end = head.offset.checked_add(u64::from(head.length)).filter(|end| *end <= rules.size);
        let beyond = if head.command == command::WRITE { errno::ENOSPC } else { errno::EINVAL };
        let range = head.offset..end.ok_or(beyond)?;
        if range.is_empty() {
            return Err(errno::EINVAL);
        }
        match head.command {
            command::READ if head.length > limits.request_bytes_max => Err(errno::EOVERFLOW),
            command::READ => Ok(Self::Read { range, whole: has(flag::DF) }),
            command::WRITE => Ok(Self::Write { offset: range.start, durable }),
            command::TRIM => Ok(Self::Trim { range, durable }),
            command::CACHE => Ok(Self::Cache { range }),
            command::WRITE_ZEROES => {
                let keep_room = has(flag::NO_HOLE);
                // Only holes are made fast.
                if keep_room && has(flag::FAST_ZERO) {
                    return Err(errno::ENOTSUP);
                }
                Ok(Self::Zero { range, keep_room, durable })
            }
            command::BLOCK_STATUS if rules.allocation => Ok(Self::Status { range, one: has(flag::REQ_ONE) }),
            _ => Err(errno::EINVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules { size: 1 << 30, read_only: false, structured: true, allocation: true };

    fn head(command: u16, flags: u16, offset: u64, length: u32) -> Head {
        Head { flags, command, cookie: 1, offset, length }
    }

    fn check(head: Head, rules: Rules) -> Result<Request, u32> {
        Request::check(&head, rules, &NbdLimits::default())
    }

    #[test]
    fn what_lies_beyond_the_end_is_refused_without_overflow() {
        let size = RULES.size;
        for (offset, length) in [(size, 1), (size - 1, 2), (u64::MAX, 1), (u64::MAX - 1, u32::MAX)] {
            assert_eq!(check(head(command::READ, 0, offset, length), RULES), Err(errno::EINVAL));
            assert_eq!(check(head(command::WRITE, 0, offset, length), RULES), Err(errno::ENOSPC));
            assert_eq!(check(head(command::TRIM, 0, offset, length), RULES), Err(errno::EINVAL));
        }
        assert!(check(head(command::READ, 0, size - 1, 1), RULES).is_ok());
        assert_eq!(check(head(command::READ, 0, 0, 0), RULES), Err(errno::EINVAL));
        assert_eq!(check(head(command::READ, 0, 0, (32 << 20) + 1), RULES), Err(errno::EOVERFLOW));
    }

    #[test]
    fn flags_that_were_not_offered_are_refused() {
        let simple = Rules { structured: false, allocation: false, ..RULES };
        assert_eq!(check(head(command::READ, flag::DF, 0, 1), simple), Err(errno::EINVAL));
        assert!(check(head(command::READ, flag::DF, 0, 1), RULES).is_ok());
        assert_eq!(check(head(command::BLOCK_STATUS, 0, 0, 1), simple), Err(errno::EINVAL));
        assert_eq!(check(head(command::WRITE, flag::REQ_ONE, 0, 1), RULES), Err(errno::EINVAL));
        assert_eq!(check(head(99, 0, 0, 1), RULES), Err(errno::EINVAL));
        let both = flag::NO_HOLE | flag::FAST_ZERO;
        assert_eq!(check(head(command::WRITE_ZEROES, both, 0, 1), RULES), Err(errno::ENOTSUP));
    }

    #[test]
    fn a_read_only_volume_takes_reads_and_flushes_alone() {
        let rules = Rules { read_only: true, ..RULES };
        for command in [command::WRITE, command::TRIM, command::WRITE_ZEROES] {
            assert_eq!(check(head(command, 0, 0, 1), rules), Err(errno::EPERM));
        }
        assert!(check(head(command::READ, 0, 0, 1), rules).is_ok());
        assert_eq!(check(head(command::FLUSH, 0, 0, 0), rules), Ok(Request::Flush));
    }

    proptest! {
        #[test]
        fn no_head_does_harm_and_ranges_lie_within(bytes in any::<[u8; HEAD_BYTES]>(), size in any::<u64>()) {
            let mut bytes = bytes;
            prop_assert_eq!(Head::decode(&[0; HEAD_BYTES]), None);
            bytes[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
            let likely = [0, bytes[5] & 31, 0, bytes[7] & 7];
            bytes[4..8].copy_from_slice(&likely);
            let head = Head::decode(&bytes).expect("a request");
            let rules = Rules { size, ..RULES };
            if let Ok(Request::Read { range, .. } | Request::Trim { range, .. }) = check(head, rules) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
