//! FSSTAT, FSINFO and PATHCONF (RFC 1813 sections 3.3.18 to 3.3.20): what there is, and its bounds.

use super::types::{handle, put_post_op};
use super::{Context, FILE_BYTES_MAX, Outcome, Results};
use crate::view::{LINKS_MAX, NAME_BYTES_MAX, TRANSFER_BYTES_MAX};
use crate::xdr::Decoder;

/// What sizes of transfers should be a multiple of, in bytes.
const TRANSFER_MULTIPLE_BYTES: u32 = 4096;
/// The size of a READDIR that clients should ask for, in bytes.
const DIRECTORY_BYTES_PREFERRED: u32 = 64 << 10;
/// Hard links, symbolic links, the same PATHCONF everywhere, times can be set.
const PROPERTIES: u32 = 0x01 | 0x02 | 0x08 | 0x10;

pub(super) async fn fsstat(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let file = handle(&mut arguments)?;
    Ok(match context.view.space(&context.call, &file).await {
        Ok(space) => Outcome::ok(|out| {
            put_post_op(out, Some(&space.attributes));
            out.u64(space.bytes_total);
            out.u64(space.bytes_free);
            out.u64(space.bytes_available);
            out.u64(space.files_total);
            out.u64(space.files_free);
            out.u64(space.files_available);
            // How long this will stay so is unknown: zero seconds.
            out.u32(0);
        }),
        Err(failure) => Outcome::failed(failure.error, |out| put_post_op(out, failure.attributes.as_ref())),
    })
}

pub(super) async fn fsinfo(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let file = handle(&mut arguments)?;
    Ok(match context.view.attributes(&context.call, &file).await {
        Ok(attributes) => Outcome::ok(|out| {
            put_post_op(out, Some(&attributes));
            for _read_then_write in 0..2 {
                out.u32(TRANSFER_BYTES_MAX);
                out.u32(TRANSFER_BYTES_MAX);
                out.u32(TRANSFER_MULTIPLE_BYTES);
            }
            out.u32(DIRECTORY_BYTES_PREFERRED);
            out.u64(FILE_BYTES_MAX);
            // Times are kept to the nanosecond.
            out.u32(0);
            out.u32(1);
            out.u32(PROPERTIES);
        }),
        Err(error) => Outcome::failed(error, |out| put_post_op(out, None)),
    })
}

pub(super) async fn pathconf(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let file = handle(&mut arguments)?;
    Ok(match context.view.attributes(&context.call, &file).await {
        Ok(attributes) => Outcome::ok(|out| {
            put_post_op(out, Some(&attributes));
            out.u32(LINKS_MAX);
            out.u32(NAME_BYTES_MAX as u32);
            let (no_truncation, only_root_gives_away) = (true, true);
            out.boolean(no_truncation);
            out.boolean(only_root_gives_away);
            let (case_insensitive, case_preserving) = (false, true);
            out.boolean(case_insensitive);
            out.boolean(case_preserving);
        }),
        Err(error) => Outcome::failed(error, |out| put_post_op(out, None)),
    })
}
