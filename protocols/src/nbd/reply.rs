//! Replies as bytes: heads are made here, data leaves from where it lies.

use bytes::{BufMut, Bytes, BytesMut};

use super::wire::{
    OPTION_REPLY_MAGIC, SIMPLE_REPLY_MAGIC, STATE_HOLE_AND_ZERO, STRUCTURED_REPLY_MAGIC, chunk, errno,
};
use crate::blocks::{BlockError, Piece, Stretch};

/// The one meta context, and the number that it has when a client has chosen it.
pub(super) const ALLOCATION: &str = "base:allocation";
pub(super) const ALLOCATION_ID: u32 = 1;
/// The most stretches of one reply about them.
pub(super) const STRETCHES_MAX: usize = 4096;

/// Zeros for holes, where replies have none.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A reply to an option.
pub(super) fn option_reply(option: u32, kind: u32, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(20 + data.len());
    bytes.put_u64(OPTION_REPLY_MAGIC);
    bytes.put_u32(option);
    bytes.put_u32(kind);
    bytes.put_u32(data.len() as u32);
    bytes.put_slice(data);
    bytes.freeze()
}

/// The number of an error.
pub(super) fn number(error: BlockError) -> u32 {
    match error {
        BlockError::Denied => errno::EPERM,
        BlockError::Invalid => errno::EINVAL,
        BlockError::NoSpace => errno::ENOSPC,
        BlockError::NotSupported => errno::ENOTSUP,
        BlockError::ShuttingDown | BlockError::NotFound => errno::ESHUTDOWN,
        BlockError::Io => errno::EIO,
    }
}

/// What numbers of errors are called in metrics.
pub(super) fn error_name(number: u32) -> &'static str {
    match number {
        errno::EPERM => "EPERM",
        errno::EINVAL => "EINVAL",
        errno::ENOSPC => "ENOSPC",
        errno::ENOTSUP => "ENOTSUP",
        errno::ESHUTDOWN => "ESHUTDOWN",
        errno::EOVERFLOW => "EOVERFLOW",
        _ => "EIO",
    }
}

/// A reply without data: success (0) or an error.
pub(super) fn simple(cookie: u64, error: u32) -> Bytes {
    let mut bytes = BytesMut::with_capacity(16);
    bytes.put_u32(SIMPLE_REPLY_MAGIC);
    bytes.put_u32(error);
    bytes.put_u64(cookie);
    bytes.freeze()
}

/// An error, as a reply of one chunk, with words for people.
pub(super) fn structured_error(cookie: u64, error: u32) -> Bytes {
    let words = error_name(error).as_bytes();
    let mut bytes = chunk_head(cookie, chunk::ERROR, true, 6 + words.len());
    bytes.put_u32(error);
    bytes.put_u16(words.len() as u16);
    bytes.put_slice(words);
    bytes.freeze()
}

/// Data, as a simple reply.
pub(super) fn simple_data(cookie: u64, pieces: Vec<Piece>) -> Vec<Bytes> {
    let mut parts = vec![simple(cookie, 0)];
    for piece in pieces {
        push_bytes(&mut parts, piece);
    }
    parts
}

/// Data, as a structured reply: runs of data and holes each have a chunk; with `whole` there is one for all.
pub(super) fn structured_data(cookie: u64, offset: u64, pieces: Vec<Piece>, whole: bool) -> Vec<Bytes> {
    let all: u64 = pieces.iter().map(Piece::length).sum();
    let only_holes = pieces.iter().all(|piece| matches!(piece, Piece::Hole(_)));
    if whole && !only_holes {
        let mut parts = vec![data_head(cookie, offset, all, true)];
        for piece in pieces {
            push_bytes(&mut parts, piece);
        }
        return parts;
    }
    let mut parts = Vec::with_capacity(2 * pieces.len());
    let mut at = offset;
    let mut pieces = pieces.into_iter().peekable();
    let end = offset + all;
    while let Some(first) = pieces.next() {
        let is_hole = matches!(first, Piece::Hole(_));
        let mut run = vec![first];
        while let Some(next) = pieces.next_if(|next| matches!(next, Piece::Hole(_)) == is_hole) {
            run.push(next);
        }
        let length: u64 = run.iter().map(Piece::length).sum();
        let done = at + length == end;
        if is_hole {
            let mut head = chunk_head(cookie, chunk::OFFSET_HOLE, done, 12);
            head.put_u64(at);
            head.put_u32(length as u32);
            parts.push(head.freeze());
        } else {
            parts.push(data_head(cookie, at, length, done));
            for piece in run {
                push_bytes(&mut parts, piece);
            }
        }
        at += length;
    }
    parts
}

/// What a range consists of.
pub(super) fn stretches(cookie: u64, stretches: &[Stretch]) -> Bytes {
    let mut bytes = chunk_head(cookie, chunk::BLOCK_STATUS, true, 4 + 8 * stretches.len());
    bytes.put_u32(ALLOCATION_ID);
    for stretch in stretches {
        bytes.put_u32(stretch.length as u32);
        bytes.put_u32(if stretch.hole { STATE_HOLE_AND_ZERO } else { 0 });
    }
    bytes.freeze()
}

fn data_head(cookie: u64, offset: u64, length: u64, done: bool) -> Bytes {
    let mut head = chunk_head(cookie, chunk::OFFSET_DATA, done, 8 + length as usize);
    head.put_u64(offset);
    head.freeze()
}

fn chunk_head(cookie: u64, kind: u16, done: bool, length: usize) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(32);
    bytes.put_u32(STRUCTURED_REPLY_MAGIC);
    bytes.put_u16(if done { chunk::FLAG_DONE } else { 0 });
    bytes.put_u16(kind);
    bytes.put_u64(cookie);
    bytes.put_u32(length as u32);
    bytes
}

fn push_bytes(parts: &mut Vec<Bytes>, piece: Piece) {
    match piece {
        Piece::Data(bytes) => parts.push(bytes),
        Piece::Hole(mut length) => {
            while length > 0 {
                let now = length.min(ZEROS.len() as u64);
                parts.push(Bytes::from_static(&ZEROS[..now as usize]));
                length -= now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(bytes: &'static [u8]) -> Piece {
        Piece::Data(Bytes::from_static(bytes))
    }

    fn joined(parts: Vec<Bytes>) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn runs_of_data_and_holes_have_a_chunk_each_and_the_last_says_so() {
        let pieces = vec![data(b"ab"), data(b"c"), Piece::Hole(70_000), Piece::Hole(1), data(b"d")];
        let bytes = joined(structured_data(7, 100, pieces.clone(), false));
        let head = |kind: u16, done: u16, length: u32, offset: u64| {
            let magic = STRUCTURED_REPLY_MAGIC.to_be_bytes();
            let (done, kind) = (done.to_be_bytes(), kind.to_be_bytes());
            [&magic[..], &done, &kind, &7u64.to_be_bytes(), &length.to_be_bytes(), &offset.to_be_bytes()]
                .concat()
        };
        let expected = [
            &head(1, 0, 11, 100)[..],
            b"abc",
            &head(2, 0, 12, 103),
            &70_001u32.to_be_bytes(),
            &head(1, 1, 9, 70_104),
            b"d",
        ]
        .concat();
        assert_eq!(bytes, expected);
        let whole = joined(structured_data(7, 100, pieces.clone(), true));
        assert_eq!(whole[..28], head(1, 1, 8 + 70_005, 100));
        assert_eq!(whole.len(), 28 + 70_005);
        let simple = joined(simple_data(7, pieces));
        assert_eq!(simple[16..], whole[28..]);
        let hole = joined(structured_data(7, 0, vec![Piece::Hole(9)], true));
        assert_eq!(hole, [&head(2, 1, 12, 0)[..], &9u32.to_be_bytes()].concat());
    }
}
