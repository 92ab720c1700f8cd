//! LOOKUP and READLINK (RFC 1813 sections 3.3.3 and 3.3.5).

use super::types::{handle, name, put_handle, put_post_op};
use super::{Context, Outcome, Results};
use crate::view::Failure;
use crate::xdr::Decoder;

pub(super) async fn lookup(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let directory = handle(&mut arguments)?;
    let name = name(&mut arguments)?;
    let found = match name.checked() {
        Ok(name) => context.view.lookup(&context.call, &directory, name).await,
        Err(error) => {
            let attributes = context.view.attributes(&context.call, &directory).await.ok();
            Err(Failure { error, attributes })
        }
    };
    Ok(match found {
        Ok(found) => Outcome::ok(|out| {
            put_handle(out, &found.handle);
            put_post_op(out, Some(&found.attributes));
            put_post_op(out, Some(&found.directory));
        }),
        Err(failure) => Outcome::failed(failure.error, |out| put_post_op(out, failure.attributes.as_ref())),
    })
}

pub(super) async fn readlink(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let link = handle(&mut arguments)?;
    Ok(match context.view.read_link(&context.call, &link).await {
        Ok((target, attributes)) => Outcome::ok(|out| {
            put_post_op(out, Some(&attributes));
            out.opaque(&target);
        }),
        Err(failure) => Outcome::failed(failure.error, |out| put_post_op(out, failure.attributes.as_ref())),
    })
}
