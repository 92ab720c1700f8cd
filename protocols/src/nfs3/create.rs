//! CREATE, MKDIR, SYMLINK and MKNOD (RFC 1813 sections 3.3.8 to 3.3.11): all answer alike.

use super::types::{Name, handle, name, put_handle, put_post_op, put_wcc, set_attributes};
use super::{Context, Outcome, Results};
use crate::view::{
    ChangeFailure, Changed, CreateHow, Device, FileKind, FsError, PATH_BYTES_MAX, SetAttributes,
};
use crate::xdr::{DecodeError, Decoder};

pub(super) async fn create(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let directory = handle(&mut arguments)?;
    let name = name(&mut arguments)?;
    let how = create_how(&mut arguments)?;
    Ok(answer(match both(&name, how) {
        Ok((name, how)) => context.change(context.view.create(&context.call, &directory, name, how)).await,
        Err(error) => Err(context.refused(&directory, error).await),
    }))
}

pub(super) async fn mkdir(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let directory = handle(&mut arguments)?;
    let name = name(&mut arguments)?;
    let set = set_attributes(&mut arguments)?;
    Ok(answer(match both(&name, set) {
        Ok((name, set)) => {
            context.change(context.view.make_directory(&context.call, &directory, name, set)).await
        }
        Err(error) => Err(context.refused(&directory, error).await),
    }))
}

pub(super) async fn symlink(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let directory = handle(&mut arguments)?;
    let name = name(&mut arguments)?;
    let set = set_attributes(&mut arguments)?;
    let target = arguments.opaque(arguments.remaining())?;
    let set = if target.len() > PATH_BYTES_MAX { Err(FsError::NameTooLong) } else { set };
    Ok(answer(match both(&name, set) {
        Ok((name, set)) => {
            context.change(context.view.make_symlink(&context.call, &directory, name, set, &target)).await
        }
        Err(error) => Err(context.refused(&directory, error).await),
    }))
}

pub(super) async fn mknod(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let directory = handle(&mut arguments)?;
    let name = name(&mut arguments)?;
    let node = node(&mut arguments)?;
    Ok(answer(match both(&name, node) {
        Ok((name, Node { kind, device, set })) => {
            let made = context.view.make_node(&context.call, &directory, name, kind, device, set);
            context.change(made).await
        }
        Err(error) => Err(context.refused(&directory, error).await),
    }))
}

/// What is made by MKNOD (mknoddata3).
struct Node {
    kind: FileKind,
    device: Device,
    set: SetAttributes,
}

fn node(arguments: &mut Decoder) -> Result<Result<Node, FsError>, DecodeError> {
    let kind = match arguments.u32()? {
        3 => FileKind::Block,
        4 => FileKind::Character,
        6 => FileKind::Socket,
        7 => FileKind::Fifo,
        _ => return Ok(Err(FsError::BadType)),
    };
    let set = set_attributes(arguments)?;
    let device = match kind {
        FileKind::Block | FileKind::Character => Device { major: arguments.u32()?, minor: arguments.u32()? },
        FileKind::Socket | FileKind::Fifo | FileKind::Regular | FileKind::Directory | FileKind::Symlink => {
            Device::default()
        }
    };
    Ok(set.map(|set| Node { kind, device, set }))
}

fn create_how(arguments: &mut Decoder) -> Result<Result<CreateHow, FsError>, DecodeError> {
    Ok(match arguments.u32()? {
        0 => set_attributes(arguments)?.map(CreateHow::Unchecked),
        1 => set_attributes(arguments)?.map(CreateHow::Guarded),
        2 => Ok(CreateHow::Exclusive(arguments.fixed()?)),
        other => return Err(DecodeError::Undefined(other)),
    })
}

fn both<T>(name: &Name, what: Result<T, FsError>) -> Result<(&[u8], T), FsError> {
    Ok((name.checked()?, what?))
}

fn answer(changed: Result<Changed, ChangeFailure>) -> Outcome {
    match changed {
        Ok(changed) => Outcome::ok(|out| {
            out.boolean(changed.object.is_some());
            if let Some((handle, _)) = &changed.object {
                put_handle(out, handle);
            }
            put_post_op(out, changed.object.as_ref().map(|(_, attributes)| attributes));
            put_wcc(out, &changed.first);
        }),
        Err(failure) => Outcome::failed(failure.error, |out| put_wcc(out, &failure.first)),
    }
}
