//! GETATTR, SETATTR and ACCESS (RFC 1813 sections 3.3.1, 3.3.2 and 3.3.4).

use super::types::{guard, handle, put_attributes, put_post_op, put_wcc, set_attributes};
use super::{Context, Outcome, Results};
use crate::xdr::Decoder;

/// The ACCESS3 bits that the RFC defines.
const ACCESS_BITS: u32 = 0x3f;

pub(super) async fn getattr(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let file = handle(&mut arguments)?;
    Ok(match context.view.attributes(&context.call, &file).await {
        Ok(attributes) => Outcome::ok(|out| put_attributes(out, &attributes)),
        Err(error) => Outcome::failed(error, |_| {}),
    })
}

pub(super) async fn setattr(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let file = handle(&mut arguments)?;
    let set = set_attributes(&mut arguments)?;
    let guard = guard(&mut arguments)?;
    let changed = match set {
        Ok(set) => context.change(context.view.set_attributes(&context.call, &file, set, guard)).await,
        Err(error) => Err(context.refused(&file, error).await),
    };
    Ok(match changed {
        Ok(changed) => Outcome::ok(|out| put_wcc(out, &changed.first)),
        Err(failure) => Outcome::failed(failure.error, |out| put_wcc(out, &failure.first)),
    })
}

pub(super) async fn access(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let file = handle(&mut arguments)?;
    let asked = arguments.u32()? & ACCESS_BITS;
    Ok(match context.view.access(&context.call, &file, asked).await {
        Ok((granted, attributes)) => Outcome::ok(|out| {
            put_post_op(out, Some(&attributes));
            out.u32(granted & asked);
        }),
        Err(failure) => Outcome::failed(failure.error, |out| put_post_op(out, failure.attributes.as_ref())),
    })
}
