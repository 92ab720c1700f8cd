//! Files, as a client of the share saw them.

use std::collections::{BTreeMap, BTreeSet};

use super::bytes::hex;
use super::chunks::{Chunks, DATA};
use super::heads::Head;
use super::map::{Attributes, DIRECTORY, Inode, Map, REGULAR};
use super::{In, Read, Refused, expect, refuse, tree};

const ROOT: u64 = 1;

/// A file below one of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its inode; names of one file have the same.
    pub inode: u64,
    /// What there is to know of it.
    pub attributes: Attributes,
    /// Its data without holes: where each piece begins, in order.
    pub pieces: Vec<(u64, Vec<u8>)>,
    /// Extended attributes.
    pub extended: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// All files by path; the root directory has the empty one.
pub type Files = BTreeMap<Vec<u8>, File>;

impl File {
    /// All its bytes, holes as zeros.
    pub fn content(&self) -> Vec<u8> {
        let mut content = vec![0; self.attributes.size as usize];
        for (start, bytes) in &self.pieces {
            let start = *start as usize;
            content[start..start + bytes.len()].copy_from_slice(bytes);
        }
        content
    }
}

/// Reads all files of a head.
pub(super) fn read(chunks: &mut Chunks<'_>, head: &Head) -> Read<Files> {
    let mut map = Map::default();
    for entry in tree::read(chunks, &head.root)? {
        map.add(entry)?;
    }
    check(&map, head)?;
    let mut files = Files::new();
    let mut rest = vec![(Vec::new(), ROOT)];
    while let Some((path, number)) = rest.pop() {
        let place = format!("/{}", String::from_utf8_lossy(&path));
        let inode = inode(&map, number).within(&place)?;
        for (name, entry) in &inode.names {
            let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
            rest.push(([&path, slash, name].concat(), entry.inode));
        }
        files.insert(path, file(chunks, number, inode).within(&place)?);
    }
    Ok(files)
}

fn inode(map: &Map, number: u64) -> Read<&Inode> {
    map.inodes.get(&number).ok_or_else(|| Refused(format!("inode {number} is missing")))
}

fn attributes(inode: &Inode) -> Read<&Attributes> {
    inode.attributes.as_ref().ok_or_else(|| Refused("no attributes".into()))
}

fn file(chunks: &mut Chunks<'_>, number: u64, inode: &Inode) -> Read<File> {
    let mut pieces = Vec::new();
    for extent in &inode.extents {
        let chunk = chunks.get(DATA, &extent.chunk)?;
        expect(chunk.len() == extent.chunk_bytes as usize, "a chunk of another length")?;
        let offset = extent.chunk_offset as usize;
        let length = (extent.end - extent.start) as usize;
        pieces.push((extent.start, chunk[offset..offset + length].to_vec()));
    }
    let (attributes, extended) = (attributes(inode)?.clone(), inode.extended.clone());
    Ok(File { inode: number, attributes, pieces, extended })
}

/// Checks what the entries of a map say about each other.
fn check(map: &Map, head: &Head) -> Read<()> {
    let mut links: BTreeMap<u64, u32> = BTreeMap::new();
    for (number, inode) in &map.inodes {
        check_inode(inode, *number, map, head).within(&format!("inode {number}"))?;
        for name in inode.names.values() {
            *links.entry(name.inode).or_default() += 1;
        }
    }
    let orphans: BTreeSet<_> = map.orphans.iter().copied().collect();
    for (number, inode) in &map.inodes {
        let found = links.get(number).copied().unwrap_or_default();
        let attributes = attributes(inode)?;
        let subdirectories = inode.names.values().filter(|name| name.kind == DIRECTORY).count() as u32;
        let (names, links) = if attributes.kind == DIRECTORY {
            (u32::from(*number != ROOT), 2 + subdirectories)
        } else {
            (attributes.links, found)
        };
        let place = format!("inode {number}");
        expect(found == names && attributes.links == links, "another number of names").within(&place)?;
        expect(orphans.contains(number) == (found == 0 && *number != ROOT), "lost, or found twice")
            .within(&place)?;
    }
    let used = map.inodes.values().filter_map(|inode| inode.attributes.as_ref()).map(|found| found.used);
    expect((used.sum(), map.inodes.len() as u64) == head.usage, "the head tells another usage")
}

fn check_inode(inode: &Inode, number: u64, map: &Map, head: &Head) -> Read<()> {
    let attributes = attributes(inode)?;
    expect(number < head.next_inode, "the head says that there is no such inode")?;
    let kind = attributes.kind;
    expect(kind == DIRECTORY || inode.names.is_empty(), "names in what is no directory")?;
    expect(kind == REGULAR || inode.extents.is_empty(), "data of what is no file")?;
    expect(kind != DIRECTORY || attributes.entries == inode.names.len() as u64, "other entries")?;
    expect(inode.cookies.len() == inode.names.len(), "as many cookies as names")?;
    for (name, entry) in &inode.names {
        let place = format!("name {}", hex(name));
        let by_cookie = (entry.kind, entry.inode, name.clone());
        expect(inode.cookies.get(&entry.cookie) == Some(&by_cookie), "another name by cookie")
            .within(&place)?;
        expect(entry.cookie < attributes.next_cookie, "a cookie that comes yet").within(&place)?;
        let Some(Inode { attributes: Some(named), .. }) = map.inodes.get(&entry.inode) else {
            return refuse(format!("{place} leads nowhere"));
        };
        expect(named.kind == entry.kind, "a name of another kind").within(&place)?;
        expect(named.kind != DIRECTORY || named.parent == number, "another parent").within(&place)?;
    }
    let mut end = 0;
    for extent in &inode.extents {
        expect(extent.start >= end, "extents overlap")?;
        end = extent.end;
    }
    expect(end <= attributes.size, "data beyond the end")?;
    let used = inode.extents.iter().map(|extent| extent.end - extent.start).sum::<u64>();
    expect(used <= attributes.used, "fewer used bytes than the extents have")
}
