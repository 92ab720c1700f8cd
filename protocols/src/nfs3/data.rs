//! READ, WRITE and COMMIT (RFC 1813 sections 3.3.6, 3.3.7 and 3.3.21).
//!
//! Data is never copied here: what a WRITE carries is a slice of the record it came in, what a READ
//! answers leaves in the pieces that the view has it in.

use bytes::Bytes;

use super::types::{handle, put_post_op, put_wcc};
use super::{Context, FILE_BYTES_MAX, Outcome, Results};
use crate::view::{FsError, Stability, TRANSFER_BYTES_MAX};
use crate::xdr::{DecodeError, Decoder};

/// How many bytes a READ may answer, from its arguments.
pub(super) fn read_bytes_max(mut arguments: Decoder) -> Result<u32, DecodeError> {
    handle(&mut arguments)?;
    arguments.u64()?;
    arguments.u32()
}

pub(super) async fn read(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let file = handle(&mut arguments)?;
    let offset = arguments.u64()?.min(FILE_BYTES_MAX);
    let count = arguments.u32()?.min(TRANSFER_BYTES_MAX);
    Ok(match context.view.read(&context.call, &file, offset, count).await {
        Ok(data) => Outcome::ok(|out| {
            let (pieces, length) = at_most(data.pieces, count);
            put_post_op(out, Some(&data.attributes));
            out.u32(length);
            out.boolean(data.end);
            out.opaque_pieces(pieces);
        }),
        Err(failure) => Outcome::failed(failure.error, |out| put_post_op(out, failure.attributes.as_ref())),
    })
}

/// The first `count` bytes of the pieces, and how many there are: a view that answers more than it
/// was asked may not break the reply.
fn at_most(mut pieces: Vec<Bytes>, count: u32) -> (Vec<Bytes>, u32) {
    let mut left = count as usize;
    for piece in &mut pieces {
        piece.truncate(left);
        left -= piece.len();
    }
    (pieces, count - left as u32)
}

pub(super) async fn write(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let file = handle(&mut arguments)?;
    let offset = arguments.u64()?;
    let count = arguments.u32()?;
    let stability = stability(arguments.u32()?)?;
    let data = arguments.opaque(arguments.remaining())?;
    let written = match check_write(offset, count, &data) {
        Ok(()) => context.view.write(&context.call, &file, offset, data, stability).await,
        Err(error) => Err(context.refused(&file, error).await),
    };
    Ok(match written {
        Ok(written) => Outcome::ok(|out| {
            put_wcc(out, &written.wcc);
            out.u32(written.count);
            out.u32(stability_number(written.committed));
            out.fixed(&written.verifier.0);
        }),
        Err(failure) => Outcome::failed(failure.error, |out| put_wcc(out, &failure.first)),
    })
}

fn check_write(offset: u64, count: u32, data: &Bytes) -> Result<(), FsError> {
    if data.len() != count as usize || count > TRANSFER_BYTES_MAX {
        return Err(FsError::Invalid);
    }
    let end = offset.checked_add(u64::from(count)).ok_or(FsError::FileTooBig)?;
    if end > FILE_BYTES_MAX { Err(FsError::FileTooBig) } else { Ok(()) }
}

pub(super) async fn commit(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let file = handle(&mut arguments)?;
    // The view commits whole files, so the range of the RFC is read and not needed.
    let (_offset, _count) = (arguments.u64()?, arguments.u32()?);
    Ok(match context.view.commit(&context.call, &file).await {
        Ok((verifier, wcc)) => Outcome::ok(|out| {
            put_wcc(out, &wcc);
            out.fixed(&verifier.0);
        }),
        Err(failure) => Outcome::failed(failure.error, |out| put_wcc(out, &failure.first)),
    })
}

fn stability(number: u32) -> Result<Stability, DecodeError> {
    match number {
        0 => Ok(Stability::Unstable),
        1 => Ok(Stability::DataSync),
        2 => Ok(Stability::FileSync),
        other => Err(DecodeError::Undefined(other)),
    }
}

fn stability_number(stability: Stability) -> u32 {
    match stability {
        Stability::Unstable => 0,
        Stability::DataSync => 1,
        Stability::FileSync => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_answers_too_much_is_cut() {
        let pieces = vec![Bytes::from_static(b"abc"), Bytes::from_static(b"def"), Bytes::from_static(b"g")];
        let (pieces, length) = at_most(pieces, 5);
        assert_eq!((pieces.concat().as_slice(), length), (&b"abcde"[..], 5));
    }

    #[test]
    fn a_write_must_say_what_it_carries_and_end_below_two_to_the_63() {
        let data = Bytes::from_static(b"abcd");
        assert_eq!(check_write(0, 4, &data), Ok(()));
        assert_eq!(check_write(0, 3, &data), Err(FsError::Invalid));
        assert_eq!(check_write(FILE_BYTES_MAX - 3, 4, &data), Err(FsError::FileTooBig));
        assert_eq!(check_write(u64::MAX - 1, 4, &data), Err(FsError::FileTooBig));
    }
}
