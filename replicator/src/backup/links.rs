//! Files with several names, joined by their inode at the source.
//!
//! Such a name is put aside when it is met. When all are known they come sorted by inode, so the names of one file come
//! together, and it is known how many of them are in the backup: that is the number of links that the map says.

use std::io;

use super::error::BackupError;
use super::found::Found;
use super::gone::Making;
use super::inodes::{instead, is_unchanged, of_file};
use super::record::{Parts, Record};
use super::sorter::Sorter;
use super::source::checkpoint;
use super::take::WantedList;
use crate::map::{Entry, Inode, InodeNumber, Kind};

/// A name that leads to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileName {
    pub(super) folder: InodeNumber,
    pub(super) cookie: u64,
    pub(super) name: Vec<u8>,
}

/// What stands in the map for something that is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) number: InodeNumber,
    /// Whether the base has no such inode.
    pub(super) is_new: bool,
    /// Its names; none for a folder, whose attributes are written down already.
    pub(super) names: Vec<FileName>,
}

impl Ticket {
    pub(super) fn encode(&self) -> Record {
        let mut out = Record::default().u64(self.number.0).u8(u8::from(self.is_new));
        out = out.u32(self.names.len() as u32);
        for name in &self.names {
            out = out.u64(name.folder.0).u64(name.cookie).bytes(&name.name);
        }
        out
    }

    pub(super) fn decode(parts: &mut Parts<'_>) -> io::Result<Self> {
        let (number, is_new) = (InodeNumber(parts.u64()?), parts.u8()? != 0);
        let mut names = Vec::new();
        for _ in 0..parts.u32()? {
            let (folder, cookie) = (InodeNumber(parts.u64()?), parts.u64()?);
            names.push(FileName { folder, cookie, name: parts.bytes()?.to_vec() });
        }
        Ok(Self { number, is_new, names })
    }
}

/// A name that was put aside.
struct Member {
    name: FileName,
    /// What the base has under it; no folder.
    before: Option<Entry>,
    found: Found,
}

/// Names that were put aside.
pub(super) struct Links {
    sorter: Sorter,
}

impl Links {
    pub(super) fn new(sorter: Sorter) -> Self {
        Self { sorter }
    }

    pub(super) fn put_aside(
        &mut self,
        name: &FileName,
        before: Option<&Entry>,
        found: &Found,
    ) -> Result<(), BackupError> {
        let mut key = found.number.to_be_bytes().to_vec();
        key.extend_from_slice(&found.file_system.to_be_bytes());
        key.extend_from_slice(&Found::sort_key(&found.path));
        let mut out = Record::default().u64(name.folder.0).u64(name.cookie).bytes(&name.name);
        out = out.bytes(&before.map(Entry::encode).unwrap_or_default());
        out.0.extend_from_slice(&found.encode());
        self.sorter.push(&key, &out.0).map_err(failed())
    }

    /// Writes all files down whose names were put aside.
    pub(super) fn join(
        self,
        making: &mut Making<'_>,
        wanted: &mut WantedList,
        rescan: bool,
    ) -> Result<(), BackupError> {
        let mut sorted = self.sorter.finish().map_err(failed())?;
        let mut members: Vec<Member> = Vec::new();
        // Numbers that went on with the same inode number, perhaps of another file system.
        let mut taken: (u64, Vec<InodeNumber>) = (0, Vec::new());
        loop {
            checkpoint(making.observer)?;
            let next = sorted.next().map_err(failed())?;
            let next = next.map(|(_, record)| member(&record)).transpose().map_err(failed())?;
            let same = |one: &Found, other: &Found| {
                (one.number, one.file_system) == (other.number, other.file_system)
            };
            if let Some(first) = members.first()
                && next.as_ref().is_none_or(|next| !same(&first.found, &next.found))
            {
                if taken.0 != first.found.number {
                    taken = (first.found.number, Vec::new());
                }
                join_one(making, wanted, std::mem::take(&mut members), &mut taken.1, rescan)?;
            }
            match next {
                Some(next) => members.push(next),
                None => return Ok(()),
            }
        }
    }
}

fn join_one(
    making: &mut Making<'_>,
    wanted: &mut WantedList,
    members: Vec<Member>,
    taken: &mut Vec<InodeNumber>,
    rescan: bool,
) -> Result<(), BackupError> {
    let Some(found) = members.last().map(|member| member.found.clone()) else { return Ok(()) };
    let going_on = number_before(making, &members, &found, taken)?;
    let (number, before) = match going_on {
        Some((number, before)) => {
            making.claim(number)?;
            taken.push(number);
            (number, Some(before))
        }
        None => (making.new_number(), None),
    };
    let mut links = 0;
    let mut all_as_before = true;
    for member in &members {
        links += 1;
        if let Some(entry) = member.before.as_ref().filter(|entry| entry.inode != number) {
            making.drop_name(entry.inode)?;
        }
        let entry = Entry { inode: number, kind: found.kind, cookie: member.name.cookie };
        all_as_before &= member.before == Some(entry);
        making.put_name(member.name.folder, &member.name.name, entry, member.before.as_ref())?;
    }
    let unchanged = before.as_ref().filter(|before| all_as_before && before.links == links);
    if unchanged.is_some_and(|before| !rescan && is_unchanged(&found, before)) {
        making.report.not_read += u64::from(found.kind == Kind::Regular);
        return Ok(());
    }
    let is_new = before.is_none();
    let parent = members.last().map_or(InodeNumber::ROOT, |member| member.name.folder);
    if found.kind == Kind::Regular {
        let names = members.into_iter().map(|member| member.name).collect();
        return wanted.push(&found, &Ticket { number, is_new, names });
    }
    if let Some(inode) = instead(of_file(&found, parent, links), before.as_ref()) {
        making.report.changed += u64::from(!is_new);
        making.put_inode(number, &inode)?;
    }
    Ok(())
}

/// The number in the base of the same file: one that a name of it had, and that nobody has gone on with.
fn number_before(
    making: &mut Making<'_>,
    members: &[Member],
    found: &Found,
    taken: &[InodeNumber],
) -> Result<Option<(InodeNumber, Inode)>, BackupError> {
    let mut numbers: Vec<InodeNumber> = members
        .iter()
        .filter_map(|member| member.before.filter(|entry| entry.kind == found.kind))
        .map(|entry| entry.inode)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        let Some(inode) = making.before.inode(number)? else { continue };
        if inode.generation == found.number && !taken.contains(&number) {
            return Ok(Some((number, inode)));
        }
    }
    Ok(None)
}

fn member(record: &[u8]) -> io::Result<Member> {
    let mut parts = Parts(record);
    let name =
        FileName { folder: InodeNumber(parts.u64()?), cookie: parts.u64()?, name: parts.bytes()?.to_vec() };
    let before = match parts.bytes()? {
        [] => None,
        entry => Some(Entry::decode(entry).map_err(io::Error::other)?),
    };
    Ok(Member { name, before, found: Found::decode(&mut parts)? })
}

fn failed() -> impl FnOnce(io::Error) -> BackupError {
    BackupError::local("sort the files that have several names")
}
