//! Outcomes of calls, as they are kept in the journal beside the change.
//!
//! ```text
//! version u8 = 1, flags u8 (1: object), then wcc of the first and of the second file, then the object
//! wcc         flags u8 (1: before, 2: after), size u64 and two times, attributes
//! attributes  kind u8, eleven u32 and u64 fields and four times, in the order of the type
//! object      length of the handle u8, handle, attributes
//! ```
//!
//! Numbers are big-endian, times are seconds i64 and nanoseconds u32. A record that does not decode is
//! as good as none: the call is then carried out again.

use bytes::{Buf, BufMut, Bytes, TryGetError};
use tidegate_protocols::view::{Attributes, Before, Changed, Device, FileKind, Handle, Time, Wcc};

const VERSION: u8 = 1;

/// Encodes an outcome.
pub(super) fn encode(changed: &Changed) -> Bytes {
    let mut out = vec![VERSION, u8::from(changed.object.is_some())];
    for wcc in [&changed.first, &changed.second] {
        put_wcc(&mut out, wcc);
    }
    if let Some((handle, attributes)) = &changed.object {
        out.put_u8(handle.as_bytes().len() as u8);
        out.put_slice(handle.as_bytes());
        put_attributes(&mut out, attributes);
    }
    Bytes::from(out)
}

/// Decodes what [`encode`] made; none for anything else.
pub(super) fn decode(record: &Bytes) -> Option<Changed> {
    let mut record = record.clone();
    read(&mut record).ok().flatten()
}

fn read(record: &mut Bytes) -> Result<Option<Changed>, TryGetError> {
    if record.try_get_u8()? != VERSION {
        return Ok(None);
    }
    let with_object = record.try_get_u8()? == 1;
    let (Some(first), Some(second)) = (wcc(record)?, wcc(record)?) else { return Ok(None) };
    if !with_object {
        return Ok(Some(Changed { object: None, first, second }));
    }
    let length = usize::from(record.try_get_u8()?);
    if record.remaining() < length {
        return Ok(None);
    }
    let handle = Handle::new(record.split_to(length));
    let object = handle.zip(attributes(record)?);
    Ok(object.map(|object| Changed { object: Some(object), first, second }))
}

fn put_time(out: &mut Vec<u8>, time: Time) {
    out.put_i64(time.seconds);
    out.put_u32(time.nanos);
}

fn time(record: &mut Bytes) -> Result<Time, TryGetError> {
    Ok(Time { seconds: record.try_get_i64()?, nanos: record.try_get_u32()? })
}

fn put_wcc(out: &mut Vec<u8>, wcc: &Wcc) {
    out.put_u8(u8::from(wcc.before.is_some()) | u8::from(wcc.after.is_some()) << 1);
    if let Some(before) = &wcc.before {
        out.put_u64(before.size);
        put_time(out, before.modified);
        put_time(out, before.changed);
    }
    if let Some(after) = &wcc.after {
        put_attributes(out, after);
    }
}

fn wcc(record: &mut Bytes) -> Result<Option<Wcc>, TryGetError> {
    let flags = record.try_get_u8()?;
    let mut wcc = Wcc::default();
    if flags & 1 != 0 {
        let size = record.try_get_u64()?;
        wcc.before = Some(Before { size, modified: time(record)?, changed: time(record)? });
    }
    if flags & 2 != 0 {
        let Some(after) = attributes(record)? else { return Ok(None) };
        wcc.after = Some(after);
    }
    Ok(Some(wcc))
}

fn put_attributes(out: &mut Vec<u8>, attributes: &Attributes) {
    out.put_u8(match attributes.kind {
        FileKind::Regular => 1,
        FileKind::Directory => 2,
        FileKind::Block => 3,
        FileKind::Character => 4,
        FileKind::Symlink => 5,
        FileKind::Socket => 6,
        FileKind::Fifo => 7,
    });
    for number in [attributes.mode, attributes.links, attributes.uid, attributes.gid] {
        out.put_u32(number);
    }
    out.put_u64(attributes.size);
    out.put_u64(attributes.used);
    out.put_u32(attributes.device.major);
    out.put_u32(attributes.device.minor);
    for number in [attributes.fsid, attributes.file_id, attributes.generation, attributes.change] {
        out.put_u64(number);
    }
    for time in [attributes.accessed, attributes.modified, attributes.changed, attributes.born] {
        put_time(out, time);
    }
}

fn attributes(record: &mut Bytes) -> Result<Option<Attributes>, TryGetError> {
    let kind = match record.try_get_u8()? {
        1 => FileKind::Regular,
        2 => FileKind::Directory,
        3 => FileKind::Block,
        4 => FileKind::Character,
        5 => FileKind::Symlink,
        6 => FileKind::Socket,
        7 => FileKind::Fifo,
        _ => return Ok(None),
    };
    Ok(Some(Attributes {
        kind,
        mode: record.try_get_u32()?,
        links: record.try_get_u32()?,
        uid: record.try_get_u32()?,
        gid: record.try_get_u32()?,
        size: record.try_get_u64()?,
        used: record.try_get_u64()?,
        device: Device { major: record.try_get_u32()?, minor: record.try_get_u32()? },
        fsid: record.try_get_u64()?,
        file_id: record.try_get_u64()?,
        generation: record.try_get_u64()?,
        change: record.try_get_u64()?,
        accessed: time(record)?,
        modified: time(record)?,
        changed: time(record)?,
        born: time(record)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed() -> Changed {
        let time = Time { seconds: -5, nanos: 7 };
        let attributes = Attributes {
            kind: FileKind::Symlink,
            mode: 0o777,
            links: 2,
            uid: 3,
            gid: 4,
            size: 5,
            used: 6,
            device: Device { major: 7, minor: 8 },
            fsid: 9,
            file_id: 10,
            generation: 11,
            change: 12,
            accessed: time,
            modified: time,
            changed: time,
            born: time,
        };
        let before = Before { size: 1, modified: time, changed: time };
        Changed {
            object: Handle::new(vec![1, 2, 3]).map(|handle| (handle, attributes)),
            first: Wcc { before: Some(before), after: Some(attributes) },
            second: Wcc::default(),
        }
    }

    #[test]
    fn an_outcome_round_trips() {
        assert_eq!(decode(&encode(&changed())), Some(changed()));
        let without = Changed { object: None, ..changed() };
        assert_eq!(decode(&encode(&without)), Some(without));
    }

    #[test]
    fn a_cut_outcome_is_none() {
        let record = encode(&changed());
        for length in 0..record.len() {
            assert_eq!(decode(&record.slice(..length)), None);
        }
    }
}
