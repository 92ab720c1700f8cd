//! READDIR and READDIRPLUS (RFC 1813 sections 3.3.16 and 3.3.17).
//!
//! A reply holds as many entries as fit the bytes that the client asked for, counted exactly with
//! all that surrounds them except the status. If the first entry does not fit, the answer is
//! TOOSMALL: an empty page that is not the end would make clients ask for ever.

use super::types::{POST_OP_ATTRIBUTES_BYTES, handle, post_op_handle_bytes, put_handle, put_post_op};
use super::{Context, Outcome, Results};
use crate::view::{DirectoryEntry, DirectoryPage, Failure, FsError, Handle, PageLimit, TRANSFER_BYTES_MAX};
use crate::xdr::{DecodeError, Decoder, Encoder, opaque_bytes};

/// Bytes around the entries: directory attributes, cookie verifier, end of list, end of directory.
const FRAME_BYTES: usize = POST_OP_ATTRIBUTES_BYTES + 8 + 4 + 4;
/// Bytes of an entry besides its name: that it follows, inode number, cookie.
const ENTRY_BYTES: usize = 4 + 8 + 8;
/// A name of usual length with its length word, in bytes: for guessing how many entries fit.
const USUAL_NAME_BYTES: usize = 20;
/// Attributes and a handle of usual length, in bytes: for the same.
const USUAL_OBJECT_BYTES: usize = POST_OP_ATTRIBUTES_BYTES + 40;

/// What a client asked for.
struct Query {
    directory: Handle,
    cookie: u64,
    verifier: [u8; 8],
}

/// How many bytes a READDIR may answer, from its arguments.
pub(super) fn readdir_bytes_max(mut arguments: Decoder) -> Result<u32, DecodeError> {
    query(&mut arguments)?;
    arguments.u32()
}

/// How many bytes a READDIRPLUS may answer, from its arguments.
pub(super) fn readdirplus_bytes_max(mut arguments: Decoder) -> Result<u32, DecodeError> {
    query(&mut arguments)?;
    arguments.u32()?;
    arguments.u32()
}

pub(super) async fn readdir(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let query = query(&mut arguments)?;
    let room = arguments.u32()?.min(TRANSFER_BYTES_MAX) as usize;
    let entries = (room / (ENTRY_BYTES + USUAL_NAME_BYTES)).max(1);
    let page = page(context, &query, PageLimit { entries, with_objects: false }).await;
    Ok(answer(page, Room { all: room, names: room }, |_| 0, |_, _| {}))
}

pub(super) async fn readdirplus(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let query = query(&mut arguments)?;
    let names = arguments.u32()? as usize;
    let all = arguments.u32()?.min(TRANSFER_BYTES_MAX) as usize;
    let entries = (all / (ENTRY_BYTES + USUAL_NAME_BYTES + USUAL_OBJECT_BYTES)).max(1);
    let page = page(context, &query, PageLimit { entries, with_objects: true }).await;
    Ok(answer(page, Room { all, names }, object_bytes, put_object))
}

fn query(arguments: &mut Decoder) -> Result<Query, DecodeError> {
    Ok(Query { directory: handle(arguments)?, cookie: arguments.u64()?, verifier: arguments.fixed()? })
}

async fn page(context: &Context<'_>, query: &Query, limit: PageLimit) -> Result<DirectoryPage, Failure> {
    let Query { directory, cookie, verifier } = query;
    context.view.read_directory(&context.call, directory, *cookie, *verifier, limit).await
}

/// Bytes that a reply may have: in all, and for names, inode numbers and cookies alone. The latter
/// is a hint: some clients give little, so one entry is answered in any case.
#[derive(Clone, Copy)]
struct Room {
    all: usize,
    names: usize,
}

impl Room {
    /// How many of the entries fit.
    fn fit(self, entries: &[DirectoryEntry], object_bytes: impl Fn(&DirectoryEntry) -> usize) -> usize {
        let (mut all, mut names) = (FRAME_BYTES, 0);
        let fits = |entry: &&DirectoryEntry| {
            let bytes = ENTRY_BYTES + opaque_bytes(entry.name.len());
            let first = names == 0;
            all += bytes + object_bytes(entry);
            names += bytes - 4;
            all <= self.all && (first || names <= self.names)
        };
        entries.iter().take_while(fits).count()
    }
}

fn answer(
    page: Result<DirectoryPage, Failure>,
    room: Room,
    object_bytes: impl Fn(&DirectoryEntry) -> usize,
    put_object: impl Fn(&mut Encoder, &DirectoryEntry),
) -> Outcome {
    let page = match page {
        Ok(page) => page,
        Err(failure) => return failed(failure),
    };
    let count = room.fit(&page.entries, object_bytes);
    if room.all < FRAME_BYTES || (count == 0 && !page.entries.is_empty()) {
        return failed(Failure { error: FsError::TooSmall, attributes: Some(page.directory) });
    }
    let whole = count == page.entries.len();
    Outcome::ok(|out| {
        put_post_op(out, Some(&page.directory));
        out.fixed(&page.verifier);
        for entry in &page.entries[..count] {
            out.boolean(true);
            out.u64(entry.file_id);
            out.opaque(&entry.name);
            out.u64(entry.cookie);
            put_object(out, entry);
        }
        out.boolean(false);
        out.boolean(page.end && whole);
    })
}

fn failed(failure: Failure) -> Outcome {
    Outcome::failed(failure.error, |out| put_post_op(out, failure.attributes.as_ref()))
}

fn object_bytes(entry: &DirectoryEntry) -> usize {
    match &entry.object {
        Some((handle, _)) => POST_OP_ATTRIBUTES_BYTES + post_op_handle_bytes(handle),
        None => 8,
    }
}

fn put_object(out: &mut Encoder, entry: &DirectoryEntry) {
    put_post_op(out, entry.object.as_ref().map(|(_, attributes)| attributes));
    out.boolean(entry.object.is_some());
    if let Some((handle, _)) = &entry.object {
        put_handle(out, handle);
    }
}
