//! READDIR and READDIRPLUS (RFC 1813 sections 3.3.16 and 3.3.17).
//!
//! A reply holds as many entries as fit the bytes that the client asked for, counted exactly with
//! all that surrounds them except the status. If the first entry does not fit, the answer is
//! TOOSMALL: an empty page that is not the end would make clients ask for ever.
//!
//! What a call takes of memory is told before it runs: the reply, and the page that it is made of, which
//! is larger, since an entry of 30 bytes on the wire is a few hundred in memory.

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

/// The most entries that the view is asked for at once.
const ENTRIES_MAX: usize = 4096;

/// What a client asked for.
struct Query {
    directory: Handle,
    cookie: u64,
    verifier: [u8; 8],
}

impl Query {
    /// Attributes and a handle as long as the directory's own, in bytes: so long are those of one server.
    fn object_bytes(&self) -> usize {
        POST_OP_ATTRIBUTES_BYTES + post_op_handle_bytes(&self.directory)
    }
}

/// What a READDIR may take for page and reply, in bytes, from its arguments.
pub(super) fn readdir_bytes_max(mut arguments: Decoder) -> Result<usize, DecodeError> {
    query(&mut arguments)?;
    let room = room(&mut arguments)?;
    Ok(room + entries_in(room, 0) * size_of::<DirectoryEntry>())
}

/// What a READDIRPLUS may take for page and reply, in bytes, from its arguments.
pub(super) fn readdirplus_bytes_max(mut arguments: Decoder) -> Result<usize, DecodeError> {
    let query = query(&mut arguments)?;
    arguments.u32()?;
    let room = room(&mut arguments)?;
    Ok(room + entries_in(room, query.object_bytes()) * size_of::<DirectoryEntry>())
}

pub(super) async fn readdir(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let query = query(&mut arguments)?;
    let room = room(&mut arguments)?;
    let entries = entries_in(room, 0);
    let page = page(context, &query, PageLimit { entries, with_objects: false }).await;
    Ok(answer(page, Room { all: room, names: room }, |_| 0, |_, _| {}))
}

pub(super) async fn readdirplus(context: &Context<'_>, mut arguments: Decoder) -> Results {
    let query = query(&mut arguments)?;
    let names = arguments.u32()? as usize;
    let all = room(&mut arguments)?;
    let entries = entries_in(all, query.object_bytes());
    let page = page(context, &query, PageLimit { entries, with_objects: true }).await;
    Ok(answer(page, Room { all, names }, object_bytes, put_object))
}

fn query(arguments: &mut Decoder) -> Result<Query, DecodeError> {
    Ok(Query { directory: handle(arguments)?, cookie: arguments.u64()?, verifier: arguments.fixed()? })
}

/// How many bytes a reply may have.
fn room(arguments: &mut Decoder) -> Result<usize, DecodeError> {
    Ok(arguments.u32()?.min(TRANSFER_BYTES_MAX) as usize)
}

/// How many entries of usual length fit a reply, with so many bytes for the object of each.
fn entries_in(room: usize, object_bytes: usize) -> usize {
    (room / (ENTRY_BYTES + USUAL_NAME_BYTES + object_bytes)).clamp(1, ENTRIES_MAX)
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
    /// How many of the entries fit, and how many bytes the reply has with them.
    fn fit(
        self,
        entries: &[DirectoryEntry],
        object_bytes: impl Fn(&DirectoryEntry) -> usize,
    ) -> (usize, usize) {
        let (mut all, mut names) = (FRAME_BYTES, 0);
        for (count, entry) in entries.iter().enumerate() {
            let bytes = ENTRY_BYTES + opaque_bytes(entry.name.len());
            let with_entry = all + bytes + object_bytes(entry);
            names += bytes - 4;
            if with_entry > self.all || (count > 0 && names > self.names) {
                return (count, all);
            }
            all = with_entry;
        }
        (entries.len(), all)
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
    let (count, bytes) = room.fit(&page.entries, object_bytes);
    if room.all < FRAME_BYTES || (count == 0 && !page.entries.is_empty()) {
        return failed(Failure { error: FsError::TooSmall, attributes: Some(page.directory) });
    }
    let whole = count == page.entries.len();
    Outcome::ok_of(bytes, |out| {
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
