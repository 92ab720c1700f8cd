//! REMOVE, RMDIR, RENAME and LINK (RFC 1813 sections 3.3.12 to 3.3.15).

use super::types::{handle, name, put_post_op, put_wcc};
use super::{Context, Outcome, Results};
use crate::view::{ChangeFailure, Changed};
use crate::xdr::Decoder;

pub(super) async fn remove(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let directory = handle(&mut arguments)?;
    let name = name(&mut arguments)?;
    Ok(removed(match name.checked() {
        Ok(name) => context.change(context.view.remove(&context.call, &directory, name)).await,
        Err(error) => Err(context.refused(&directory, error).await),
    }))
}

pub(super) async fn rmdir(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let directory = handle(&mut arguments)?;
    let name = name(&mut arguments)?;
    Ok(removed(match name.checked() {
        Ok(name) => context.change(context.view.remove_directory(&context.call, &directory, name)).await,
        Err(error) => Err(context.refused(&directory, error).await),
    }))
}

fn removed(changed: Result<Changed, ChangeFailure>) -> Outcome {
    match changed {
        Ok(changed) => Outcome::ok(|out| put_wcc(out, &changed.first)),
        Err(failure) => Outcome::failed(failure.error, |out| put_wcc(out, &failure.first)),
    }
}

pub(super) async fn rename(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let (from, from_name) = (handle(&mut arguments)?, name(&mut arguments)?);
    let (to, to_name) = (handle(&mut arguments)?, name(&mut arguments)?);
    let names = from_name.checked().and_then(|from_name| Ok((from_name, to_name.checked()?)));
    let changed = match names {
        Ok((from_name, to_name)) => {
            let renamed = context.view.rename(&context.call, (&from, from_name), (&to, to_name));
            context.change(renamed).await
        }
        Err(error) => Err(context.both_refused(&from, &to, error).await),
    };
    Ok(match changed {
        Ok(changed) => Outcome::ok(|out| {
            put_wcc(out, &changed.first);
            put_wcc(out, &changed.second);
        }),
        Err(failure) => Outcome::failed(failure.error, |out| {
            put_wcc(out, &failure.first);
            put_wcc(out, &failure.second);
        }),
    })
}

pub(super) async fn link(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let file = handle(&mut arguments)?;
    let (directory, name) = (handle(&mut arguments)?, name(&mut arguments)?);
    let changed = match name.checked() {
        Ok(name) => context.change(context.view.link(&context.call, &file, &directory, name)).await,
        Err(error) => Err(context.both_refused(&file, &directory, error).await),
    };
    Ok(match changed {
        Ok(changed) => Outcome::ok(|out| {
            put_post_op(out, changed.object.as_ref().map(|(_, attributes)| attributes));
            put_wcc(out, &changed.second);
        }),
        Err(failure) => Outcome::failed(failure.error, |out| {
            put_post_op(out, failure.first.after.as_ref());
            put_wcc(out, &failure.second);
        }),
    })
}
