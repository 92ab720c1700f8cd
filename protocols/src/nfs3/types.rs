//! Types that several procedures share (RFC 1813 sections 2.5 and 2.6), read and written.
//!
//! Sizes of encoded types are constants beside their encoders, because READDIRPLUS counts bytes.

use bytes::Bytes;

use crate::view::{
    Attributes, Before, FileKind, FsError, HANDLE_BYTES_MAX, Handle, NAME_BYTES_MAX, SetAttributes, SetTime,
    Time, Wcc,
};
use crate::xdr::{DecodeError, Decoder, Encoder, opaque_bytes};

/// Encoded length of attributes (fattr3), in bytes.
pub(super) const ATTRIBUTES_BYTES: usize = 84;
/// Encoded length of attributes that are there, after the boolean that says so.
pub(super) const POST_OP_ATTRIBUTES_BYTES: usize = 4 + ATTRIBUTES_BYTES;

const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// A handle. One that is too long breaks the encoding.
pub(super) fn handle(arguments: &mut Decoder) -> Result<Handle, DecodeError> {
    let bytes = arguments.opaque(HANDLE_BYTES_MAX)?;
    Ok(Handle::new(bytes).expect("the decoder kept the limit"))
}

/// A name from a client, which may be none.
pub(super) struct Name(Bytes);

impl Name {
    /// The name, if it can be one: not empty, not too long, without slash and zero byte.
    pub(super) fn checked(&self) -> Result<&[u8], FsError> {
        if self.0.is_empty() {
            Err(FsError::Access)
        } else if self.0.len() > NAME_BYTES_MAX {
            Err(FsError::NameTooLong)
        } else if self.0.iter().any(|&byte| byte == b'/' || byte == 0) {
            Err(FsError::Invalid)
        } else {
            Ok(&self.0)
        }
    }
}

/// A name of any length: one that is too long gets an answer that says so.
pub(super) fn name(arguments: &mut Decoder) -> Result<Name, DecodeError> {
    arguments.opaque(arguments.remaining()).map(Name)
}

/// Attributes to set (sattr3). The inner error is for values that are encoded well and wrong.
pub(super) fn set_attributes(arguments: &mut Decoder) -> Result<Result<SetAttributes, FsError>, DecodeError> {
    let set = SetAttributes {
        mode: optional(arguments, Decoder::u32)?,
        uid: optional(arguments, Decoder::u32)?,
        gid: optional(arguments, Decoder::u32)?,
        size: optional(arguments, Decoder::u64)?,
        accessed: set_time(arguments)?,
        modified: set_time(arguments)?,
    };
    Ok(check_set(set))
}

fn check_set(set: SetAttributes) -> Result<SetAttributes, FsError> {
    if set.size.is_some_and(|size| size > super::FILE_BYTES_MAX) {
        return Err(FsError::FileTooBig);
    }
    let wrong = |time| matches!(time, SetTime::Client(Time { nanos, .. }) if nanos >= NANOS_PER_SECOND);
    if wrong(set.accessed) || wrong(set.modified) { Err(FsError::Invalid) } else { Ok(set) }
}

fn optional<T>(
    arguments: &mut Decoder,
    item: impl FnOnce(&mut Decoder) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if arguments.boolean()? { item(arguments).map(Some) } else { Ok(None) }
}

fn set_time(arguments: &mut Decoder) -> Result<SetTime, DecodeError> {
    match arguments.u32()? {
        0 => Ok(SetTime::Keep),
        1 => Ok(SetTime::Server),
        2 => time(arguments).map(SetTime::Client),
        other => Err(DecodeError::Undefined(other)),
    }
}

/// A time (nfstime3).
pub(super) fn time(arguments: &mut Decoder) -> Result<Time, DecodeError> {
    Ok(Time { seconds: i64::from(arguments.u32()?), nanos: arguments.u32()? })
}

/// The guard of SETATTR (sattrguard3).
pub(super) fn guard(arguments: &mut Decoder) -> Result<Option<Time>, DecodeError> {
    optional(arguments, time)
}

/// A time; those that version 3 cannot say become its first or last.
fn put_time(out: &mut Encoder, time: Time) {
    out.u32(time.seconds.clamp(0, i64::from(u32::MAX)) as u32);
    out.u32(time.nanos);
}

/// The number of a type of file (ftype3).
pub(super) fn kind_number(kind: FileKind) -> u32 {
    match kind {
        FileKind::Regular => 1,
        FileKind::Directory => 2,
        FileKind::Block => 3,
        FileKind::Character => 4,
        FileKind::Symlink => 5,
        FileKind::Socket => 6,
        FileKind::Fifo => 7,
    }
}

/// Attributes (fattr3).
pub(super) fn put_attributes(out: &mut Encoder, attributes: &Attributes) {
    out.u32(kind_number(attributes.kind));
    out.u32(attributes.mode);
    out.u32(attributes.links);
    out.u32(attributes.uid);
    out.u32(attributes.gid);
    out.u64(attributes.size);
    out.u64(attributes.used);
    out.u32(attributes.device.major);
    out.u32(attributes.device.minor);
    out.u64(attributes.fsid);
    out.u64(attributes.file_id);
    put_time(out, attributes.accessed);
    put_time(out, attributes.modified);
    put_time(out, attributes.changed);
}

/// Attributes, or that there are none (post_op_attr).
pub(super) fn put_post_op(out: &mut Encoder, attributes: Option<&Attributes>) {
    out.boolean(attributes.is_some());
    if let Some(attributes) = attributes {
        put_attributes(out, attributes);
    }
}

/// A handle (nfs_fh3).
pub(super) fn put_handle(out: &mut Encoder, handle: &Handle) {
    out.opaque(handle.as_bytes());
}

/// Encoded length of a handle that is there, after the boolean that says so.
pub(super) fn post_op_handle_bytes(handle: &Handle) -> usize {
    4 + opaque_bytes(handle.as_bytes().len())
}

/// Weak cache consistency data (wcc_data).
pub(super) fn put_wcc(out: &mut Encoder, wcc: &Wcc) {
    out.boolean(wcc.before.is_some());
    if let Some(Before { size, modified, changed }) = wcc.before {
        out.u64(size);
        put_time(out, modified);
        put_time(out, changed);
    }
    put_post_op(out, wcc.after.as_ref());
}
