//! What `find` says of the files of a host.

use std::io::{self, BufRead};

use bytes::Bytes;
use tidegate_replicator::backup::{Found, Trust};
use tidegate_replicator::map::{Device, Kind, Times, Timestamp};

/// How find is asked to write a file: facts, the path, and where a link points, each with a zero byte after it.
pub(super) const FORMAT: &str = "%y %m %U %G %s %i %D %n %T@ %C@ %A@\\0%p\\0%l\\0";

/// The longest field: a path, which the system bounds, and more.
const FIELD_BYTES_MAX: u64 = 1 << 20;

/// The next file; none at the end. Kinds that nobody knows are passed over.
pub(super) fn next(input: &mut impl BufRead) -> io::Result<Option<Found>> {
    loop {
        let Some(facts) = field(input)? else { return Ok(None) };
        let (path, target) = (field(input)?.ok_or_else(cut)?, field(input)?.ok_or_else(cut)?);
        let facts = String::from_utf8(facts).map_err(io::Error::other)?;
        if let Some(found) = parse(&facts, &path, target)? {
            return Ok(Some(found));
        }
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the list ends within a file")
}

fn field(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut field = Vec::new();
    let read = io::Read::take(&mut *input, FIELD_BYTES_MAX).read_until(0, &mut field)?;
    match field.pop() {
        None => Ok(None),
        Some(0) => Ok(Some(field)),
        Some(_) if (read as u64) < FIELD_BYTES_MAX => Err(cut()),
        Some(_) => Err(io::Error::other("the list has a path that is longer than any")),
    }
}

fn parse(facts: &str, path: &[u8], target: Vec<u8>) -> io::Result<Option<Found>> {
    let bad = || io::Error::other(format!("find says {facts:?}, which cannot be read: is it GNU find?"));
    let words: Vec<&str> = facts.split(' ').collect();
    let [kind, mode, uid, gid, size, number, file_system, links, modified, changed, accessed] = words[..]
    else {
        return Err(bad());
    };
    let kind = match kind {
        "f" => Kind::Regular,
        "d" => Kind::Directory,
        "l" => Kind::Symlink,
        "b" => Kind::Block,
        "c" => Kind::Character,
        "p" => Kind::Fifo,
        "s" => Kind::Socket,
        _ => return Ok(None),
    };
    let large = |text: &str| text.parse::<u64>().map_err(|_| bad());
    let small = |text: &str| text.parse::<u32>().map_err(|_| bad());
    let time = |text: &str| time(text).ok_or_else(bad);
    let path: Vec<u8> = path.strip_prefix(b"/").unwrap_or(path).to_vec();
    Ok(Some(Found {
        path: path.strip_suffix(b"/").unwrap_or(&path).to_vec(),
        kind,
        mode: u16::from_str_radix(mode, 8).map_err(|_| bad())?,
        uid: small(uid)?,
        gid: small(gid)?,
        size: large(size)?,
        device: Device::default(),
        times: Times {
            accessed: time(accessed)?,
            modified: time(modified)?,
            changed: time(changed)?,
            born: Timestamp::default(),
        },
        number: large(number)?,
        file_system: large(file_system)?,
        links: small(links)?,
        target: Bytes::from(target),
        trust: Trust::Attributes,
        only_with_content: false,
    }))
}

/// `1700000000.1234567890`, also before 1970.
fn time(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut digits = fraction.chars().chain(std::iter::repeat('0')).take(9);
    let nanos = digits.try_fold(0, |sum, digit| Some(sum * 10 + digit.to_digit(10)?))?;
    let whole: i64 = seconds.parse().ok()?;
    Some(match (seconds.starts_with('-'), nanos) {
        (true, 1..) => Timestamp { seconds: whole.checked_sub(1)?, nanos: 1_000_000_000 - nanos },
        _ => Timestamp { seconds: whole, nanos },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_beyond_all_times_is_no_time() {
        assert_eq!(time("-9223372036854775808.5"), None);
        assert_eq!(time("-9223372036854775807.5").map(|time| time.seconds), Some(i64::MIN));
    }

    #[test]
    fn a_list_reads_as_it_was_written() {
        let list =
            b"d 755 0 0 4096 2 2049 20 1700000000.1234567890 1700000001.0000000000 -1.5000000000\0/\0\0\
                     f 4755 1 2 30 77 2049 2 0.0000000000 1.0000000001 2.9999999999\0/a \n\xff\0\0\
                     l 777 0 0 3 78 2049 1 0 0 0\0/l\0/x\xfe\0D 0 0 0 0 1 1 1 0 0 0\0/door\0\0";
        let mut input = &list[..];
        let top = next(&mut input).expect("reads").expect("the top");
        assert_eq!((&top.path[..], top.kind, top.mode), (&b""[..], Kind::Directory, 0o755));
        assert_eq!(top.times.modified, Timestamp { seconds: 1_700_000_000, nanos: 123_456_789 });
        assert_eq!(top.times.accessed, Timestamp { seconds: -2, nanos: 500_000_000 });
        let file = next(&mut input).expect("reads").expect("a file");
        assert_eq!((&file.path[..], file.mode, file.links, file.number), (&b"a \n\xff"[..], 0o4755, 2, 77));
        let link = next(&mut input).expect("reads").expect("a link");
        assert_eq!(&link.target[..], b"/x\xfe");
        assert_eq!(next(&mut input).expect("reads"), None, "what nobody knows is passed over");
        for end in 1..list.len() {
            let mut input = &list[..end];
            while let Ok(Some(_)) = next(&mut input) {}
        }
    }
}
