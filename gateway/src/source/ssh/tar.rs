//! Reads an archive that GNU tar writes with `--format=pax`, as it comes: headers, extended attributes, holes.
//!
//! Only what tar writes there is understood; anything else is refused. Memory: the extended headers of one member, up to
//! [`HEADER_BYTES_MAX`], and a map of its data, up to [`PIECES_MAX`].

use std::io::{self, Read};

use bytes::Bytes;
use tidegate_replicator::map::{Device, Kind};

use super::Extended;

const BLOCK: usize = 512;
/// The longest extended header, in bytes: all extended attributes of a file.
const HEADER_BYTES_MAX: u64 = 16 << 20;
/// Pieces of data of one file with holes.
const PIECES_MAX: u64 = 1 << 20;
/// How an extended attribute begins in an extended header.
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// A file in an archive.
#[derive(Debug)]
pub(super) struct Member {
    /// As tar wrote it.
    name: Vec<u8>,
    pub(super) kind: Kind,
    /// Its length, holes included.
    pub(super) size: u64,
    /// Where its data begins, and how much there is.
    pub(super) pieces: Vec<(u64, u64)>,
    pub(super) extended: Extended,
    pub(super) device: Device,
}

impl Member {
    /// Its path from the top, without a slash at either end.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = self.name.strip_prefix(b"./").or(self.name.strip_prefix(b"/")).unwrap_or(&self.name);
        let name = name.strip_suffix(b"/").unwrap_or(name);
        if name == b"." { Vec::new() } else { name.to_vec() }
    }
}

/// What an extended header says.
#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    real_size: Option<u64>,
    real_name: Option<Vec<u8>>,
    has_map: bool,
    extended: Extended,
}

/// See the head of this module.
pub(super) struct Archive<R> {
    input: R,
    /// Data of the member at hand that was not read.
    left: u64,
    /// What follows it up to the next block.
    padding: u64,
    ended: bool,
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("tar sends what cannot be read: {what}"))
}

impl<R: Read> Archive<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, left: 0, padding: 0, ended: false }
    }

    /// Whether it has come to its end.
    pub(super) fn is_whole(&self) -> bool {
        self.ended
    }

    /// The next member; what was left of the one before is passed over.
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        let mut pax = Pax::default();
        loop {
            self.skip_rest()?;
            let mut header = [0; BLOCK];
            if self.ended {
                return Ok(None);
            }
            self.input.read_exact(&mut header)?;
            if header.iter().all(|byte| *byte == 0) {
                self.ended = true;
                // Whoever writes waits for its last bytes to be read.
                io::copy(&mut self.input, &mut io::sink())?;
                return Ok(None);
            }
            check_sum(&header)?;
            let size = number(&header[124..136])?;
            self.begin(size);
            match header[156] {
                b'x' => pax = read_pax(&self.whole(size)?)?,
                b'g' => {}
                _ => return self.member(&header, pax, size).map(Some),
            }
        }
    }

    /// Data of the member at hand, where its holes were taken out.
    pub(super) fn read_data(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let wanted = (out.len() as u64).min(self.left) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut out[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }

    fn begin(&mut self, size: u64) {
        (self.left, self.padding) = (size, (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64);
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        let (left, padding) = (std::mem::take(&mut self.left), std::mem::take(&mut self.padding));
        let bytes = left.checked_add(padding).ok_or_else(|| bad("a member that is longer than any"))?;
        let skipped = io::copy(&mut (&mut self.input).take(bytes), &mut io::sink())?;
        if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn whole(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > HEADER_BYTES_MAX {
            return Err(bad("an extended header that is longer than any"));
        }
        let mut bytes = vec![0; size as usize];
        self.input.read_exact(&mut bytes)?;
        self.left = 0;
        Ok(bytes)
    }

    fn member(&mut self, header: &[u8; BLOCK], pax: Pax, size: u64) -> io::Result<Member> {
        let kind = match header[156] {
            b'0' | 0 | b'7' => Kind::Regular,
            b'2' => Kind::Symlink,
            b'3' => Kind::Character,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => return Err(bad("a member of an unknown kind")),
        };
        let size = pax.size.unwrap_or(size);
        if pax.size.is_some() {
            self.begin(size);
        }
        let device =
            Device { major: number(&header[329..337])? as u32, minor: number(&header[337..345])? as u32 };
        let name = pax.real_name.or(pax.path).unwrap_or_else(|| name_of(header));
        let (pieces, size) = if pax.has_map {
            (self.map()?, pax.real_size.ok_or_else(|| bad("holes of a file without its length"))?)
        } else {
            (if size > 0 { vec![(0, size)] } else { Vec::new() }, size)
        };
        Ok(Member { name, kind, size, pieces, extended: pax.extended, device })
    }

    /// The map at the beginning of the data of a file with holes: numbers, each on a line, in whole blocks.
    fn map(&mut self) -> io::Result<Vec<(u64, u64)>> {
        let mut text = Vec::new();
        let mut at = 0;
        let count = self.map_number(&mut text, &mut at)?;
        if count > PIECES_MAX {
            return Err(bad("a file with more holes than can be kept in mind"));
        }
        let (mut pieces, mut end) = (Vec::new(), 0_u64);
        for _ in 0..count {
            let (start, bytes) = (self.map_number(&mut text, &mut at)?, self.map_number(&mut text, &mut at)?);
            if start < end {
                return Err(bad("data that overlaps"));
            }
            end = start.checked_add(bytes).ok_or_else(|| bad("data beyond all files"))?;
            // The last one may say no more than where the file ends.
            pieces.extend((bytes > 0).then_some((start, bytes)));
        }
        Ok(pieces)
    }

    fn map_number(&mut self, text: &mut Vec<u8>, at: &mut usize) -> io::Result<u64> {
        loop {
            if let Some(length) = text[*at..].iter().position(|byte| *byte == b'\n') {
                let digits = std::str::from_utf8(&text[*at..*at + length]).ok();
                *at += length + 1;
                return digits
                    .and_then(|digits| digits.parse().ok())
                    .ok_or_else(|| bad("a map without numbers"));
            }
            text.drain(..*at);
            *at = 0;
            if self.left < BLOCK as u64 || text.len() > BLOCK {
                return Err(bad("a map without an end"));
            }
            let mut block = [0; BLOCK];
            self.input.read_exact(&mut block)?;
            self.left -= BLOCK as u64;
            text.extend_from_slice(&block);
        }
    }
}

fn name_of(header: &[u8; BLOCK]) -> Vec<u8> {
    let text = |field: &[u8]| field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
    if prefix.is_empty() || &header[257..262] != b"ustar" {
        name
    } else {
        [&prefix[..], b"/", &name].concat()
    }
}

/// A number of a header: octal digits, or bytes behind a set bit.
fn number(field: &[u8]) -> io::Result<u64> {
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        let (high, low) = rest.split_at(rest.len().saturating_sub(8));
        if first & 0x7f != 0 || high.iter().any(|byte| *byte != 0) {
            return Err(bad("a number that is greater than any"));
        }
        return Ok(low.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    }
    let mut digits = field.iter().filter(|byte| !matches!(byte, 0 | b' '));
    digits.try_fold(0_u64, |sum, digit| match digit {
        b'0'..=b'7' => Ok(sum << 3 | u64::from(digit - b'0')),
        _ => Err(bad("a number without digits")),
    })
}

fn check_sum(header: &[u8; BLOCK]) -> io::Result<()> {
    let value = |(at, byte): (usize, &u8)| u64::from(if (148..156).contains(&at) { b' ' } else { *byte });
    let sum: u64 = header.iter().enumerate().map(value).sum();
    if sum == number(&header[148..156])? { Ok(()) } else { Err(bad("a header with a wrong sum")) }
}

/// Records `length key=value\n`.
fn read_pax(mut rest: &[u8]) -> io::Result<Pax> {
    let mut pax = Pax::default();
    while !rest.is_empty() {
        let space =
            rest.iter().position(|byte| *byte == b' ').ok_or_else(|| bad("a record without a length"))?;
        let digits = std::str::from_utf8(&rest[..space]).ok();
        let length: usize =
            digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| bad("a record's length"))?;
        if length > rest.len() || length < space + 3 || rest[length - 1] != b'\n' {
            return Err(bad("a record that is not as long as it says"));
        }
        let record = &rest[space + 1..length - 1];
        rest = &rest[length..];
        let equals = key_end(record).ok_or_else(|| bad("a record without a value"))?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        let text = || std::str::from_utf8(value).ok();
        let number = || text().and_then(|text| text.parse().ok()).ok_or_else(|| bad("a record's number"));
        match key {
            b"path" => pax.path = Some(value.to_vec()),
            b"size" => pax.size = Some(number()?),
            b"GNU.sparse.realsize" => pax.real_size = Some(number()?),
            b"GNU.sparse.name" => pax.real_name = Some(value.to_vec()),
            b"GNU.sparse.major" => pax.has_map = number()? == 1,
            b"GNU.sparse.map" | b"GNU.sparse.numblocks" => return Err(bad("holes in an older form")),
            _ => {
                if let Some(name) = key.strip_prefix(ATTRIBUTE) {
                    let pair = (attribute_name(name), Bytes::copy_from_slice(value));
                    pax.extended.push(pair);
                }
            }
        }
    }
    Ok(pax)
}

fn key_end(record: &[u8]) -> Option<usize> {
    record.iter().position(|byte| *byte == b'=')
}

/// tar writes `=` and `%` in names of attributes as `%3D` and `%25`.
fn attribute_name(name: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, after @ ..] = rest {
        (out, rest) = match after {
            [b'3', b'D', after @ ..] if *first == b'%' => ([&out[..], b"="].concat(), after),
            [b'2', b'5', after @ ..] if *first == b'%' => ([&out[..], b"%"].concat(), after),
            _ => ([&out[..], &[*first]].concat(), after),
        };
    }
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &[u8], kind: u8, size: u64) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..name.len()].copy_from_slice(name);
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[156] = kind;
        header[257..262].copy_from_slice(b"ustar");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        header[154] = 0;
        header
    }

    fn padded(mut data: Vec<u8>) -> Vec<u8> {
        data.resize(data.len().next_multiple_of(BLOCK), 0);
        data
    }

    fn record(key: &str, value: &str) -> Vec<u8> {
        let rest = format!(" {key}={value}\n");
        let fits = |all: &usize| all - rest.len() == all.to_string().len();
        let length = (rest.len()..rest.len() + 10).find(fits).expect("there is one");
        format!("{length}{rest}").into_bytes()
    }

    fn archive() -> Vec<u8> {
        let pax = [
            record("path", "./a name that is longer"),
            record("SCHILY.xattr.user.a%3Db", "x=y"),
            record("mtime", "1.5"),
        ]
        .concat();
        let holes = [
            record("GNU.sparse.major", "1"),
            record("GNU.sparse.minor", "0"),
            record("GNU.sparse.name", "./holes"),
            record("GNU.sparse.realsize", "10000"),
        ]
        .concat();
        let map = padded(b"2\n4096\n5\n10000\n0\n".to_vec());
        let with_map = [&map[..], b"HELLO"].concat();
        [
            header(b"x", b'x', pax.len() as u64),
            padded(pax),
            header(b"short", b'0', 3),
            padded(b"abc".to_vec()),
            header(b"x", b'x', holes.len() as u64),
            padded(holes),
            header(b"GNUSparseFile.0/holes", b'0', with_map.len() as u64),
            padded(with_map),
            header(b"./folder/", b'5', 0),
            vec![0; 2 * BLOCK],
        ]
        .concat()
    }

    fn data<R: Read>(archive: &mut Archive<R>) -> Vec<u8> {
        let (mut out, mut piece) = (Vec::new(), [0; 2]);
        while let count @ 1.. = archive.read_data(&mut piece).expect("readable") {
            out.extend_from_slice(&piece[..count]);
        }
        out
    }

    #[test]
    fn names_attributes_data_and_holes_come_out_as_they_went_in() {
        let bytes = archive();
        let mut archive = Archive::new(&bytes[..]);
        let first = archive.next().expect("reads").expect("a member");
        assert_eq!((first.path(), first.size), (b"a name that is longer".to_vec(), 3));
        assert_eq!(first.extended, [(Bytes::from_static(b"user.a=b"), Bytes::from_static(b"x=y"))]);
        assert_eq!(data(&mut archive), b"abc");
        let holes = archive.next().expect("reads").expect("a member");
        assert_eq!(
            (holes.path(), holes.size, &holes.pieces[..]),
            (b"holes".to_vec(), 10_000, &[(4096, 5)][..])
        );
        assert_eq!(data(&mut archive), b"HELLO");
        let folder = archive.next().expect("reads").expect("a member");
        assert_eq!((folder.path(), folder.kind), (b"folder".to_vec(), Kind::Directory));
        assert!(archive.next().expect("reads").is_none() && archive.is_whole());
    }

    #[test]
    fn a_member_that_is_longer_than_any_is_refused_when_it_is_passed_over() {
        let mut bytes = header(b"long", b'0', 0);
        bytes[124] = 0x80;
        bytes[125..128].fill(0);
        bytes[128..136].fill(0xff);
        bytes[148..156].fill(b' ');
        let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
        bytes[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        let mut archive = Archive::new(&bytes[..]);
        assert_eq!(archive.next().expect("reads").expect("a member").size, u64::MAX);
        let error = archive.next().expect_err("nothing is so long");
        assert!(error.to_string().contains("longer than any"), "{error}");
    }

    #[test]
    fn an_archive_that_is_cut_or_changed_anywhere_is_refused_or_read_and_nothing_worse() {
        let bytes = archive();
        for end in 0..bytes.len() - BLOCK {
            let mut archive = Archive::new(&bytes[..end]);
            let cut = loop {
                match archive.next() {
                    Ok(Some(_)) => {}
                    other => break other.is_err(),
                }
            };
            assert!(cut && !archive.is_whole(), "{end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x11;
            let mut archive = Archive::new(&changed[..]);
            while let Ok(Some(_)) = archive.next() {}
        }
    }
}
