//! What a share holds, in a form that can be compared, whoever read it.
//!
//! A manifest is made by a walk over NFS, by the independent reader, or by whoever wrote the files.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::nfs::{Answer, Handle, Nfs};
use crate::reader::{Files, hex};

/// Files that are longer have no digest: nobody reads a hole of gigabytes.
pub const DIGEST_BYTES_MAX: u64 = 64 << 20;

const DIRECTORY: u8 = 2;
const REGULAR: u8 = 1;
const SYMLINK: u8 = 5;

/// A time, in seconds since 1970 and nanoseconds.
pub type Moment = (i64, u32);

/// One name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The kind, numbered as NFS and the format do: 1 regular, 2 directory, and so on.
    pub kind: u8,
    /// Permissions.
    pub mode: u32,
    /// Number of names; of a directory 2 and one for each directory in it.
    pub links: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Length in bytes; 0 for a directory.
    pub size: u64,
    /// When the data was changed; none where nobody knows what it must be.
    pub modified: Option<Moment>,
    /// Of a device: major and minor number.
    pub device: (u32, u32),
    /// BLAKE3 of the data of a file, or the target of a link, in hex.
    pub content: String,
    /// The first path, in byte order, of the same file.
    pub first: Vec<u8>,
}

/// All names by path; the root has the empty one.
pub type Manifest = BTreeMap<Vec<u8>, Line>;

/// A digest of the data of a file.
pub fn digest(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

/// What the independent reader found.
pub fn of_files(files: &Files) -> Manifest {
    let mut first = BTreeMap::new();
    let mut manifest = Manifest::new();
    for (path, file) in files {
        let attributes = &file.attributes;
        let is_short = attributes.size <= DIGEST_BYTES_MAX;
        let content = match attributes.kind {
            REGULAR if is_short => digest(&file.content()),
            SYMLINK => hex(&attributes.target),
            _ => String::new(),
        };
        let line = Line {
            kind: attributes.kind,
            mode: u32::from(attributes.mode),
            links: attributes.links,
            owner: (attributes.uid, attributes.gid),
            size: if attributes.kind == DIRECTORY { 0 } else { attributes.size },
            modified: Some((attributes.times[1].seconds, attributes.times[1].nanoseconds)),
            device: attributes.device,
            content,
            first: first.entry(file.inode).or_insert_with(|| path.clone()).clone(),
        };
        manifest.insert(path.clone(), line);
    }
    manifest
}

/// What an NFS client finds.
pub async fn of_share(nfs: &mut Nfs) -> Answer<Manifest> {
    let mut inodes = BTreeMap::new();
    let mut manifest = Manifest::new();
    let mut rest = vec![(Vec::new(), nfs.root())];
    while let Some((path, handle)) = rest.pop() {
        let (line, inode) = line(nfs, &handle).await?;
        if line.kind == DIRECTORY {
            for listed in nfs.list(&handle).await? {
                let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                let below = [&path, slash, &listed.name].concat();
                rest.push((below, nfs.lookup(&handle, &listed.name).await?));
            }
        }
        inodes.insert(path.clone(), inode);
        manifest.insert(path, line);
    }
    let mut first = BTreeMap::new();
    for (path, line) in &mut manifest {
        line.first.clone_from(first.entry(inodes[path]).or_insert(path));
    }
    Ok(manifest)
}

async fn line(nfs: &mut Nfs, handle: &Handle) -> Answer<(Line, u64)> {
    let found = nfs.attributes(handle).await?;
    let kind = found.type_ as u8;
    let content = match kind {
        REGULAR if found.size <= DIGEST_BYTES_MAX => digest(&nfs.read(handle, 0, found.size).await?),
        SYMLINK => hex(&nfs.target(handle).await?),
        _ => String::new(),
    };
    let line = Line {
        kind,
        mode: found.mode,
        links: found.nlink,
        owner: (found.uid, found.gid),
        size: if kind == DIRECTORY { 0 } else { found.size },
        modified: Some((i64::from(found.mtime.seconds), found.mtime.nseconds)),
        device: (found.rdev.specdata1, found.rdev.specdata2),
        content,
        first: Vec::new(),
    };
    Ok((line, found.fileid))
}

/// Compares two manifests; panics with every path that differs. A time that one of them does not know
/// is not compared.
pub fn compare(what: &str, found: &Manifest, wanted: &Manifest) {
    let mut differences = String::new();
    for path in found.keys().chain(wanted.keys().filter(|path| !found.contains_key(*path))) {
        let (found, wanted) = (found.get(path), wanted.get(path));
        if !same(found, wanted) {
            let path = escaped(path);
            write!(differences, "\n/{path}:\n  found {found:?}\n wanted {wanted:?}").expect("memory");
        }
    }
    assert!(differences.is_empty(), "{what} differs:{differences}");
}

fn same(found: Option<&Line>, wanted: Option<&Line>) -> bool {
    let (Some(found), Some(wanted)) = (found, wanted) else { return false };
    let (mut found, mut wanted) = (found.clone(), wanted.clone());
    if found.modified.is_none() || wanted.modified.is_none() {
        (found.modified, wanted.modified) = (None, None);
    }
    found == wanted
}

/// A manifest as text, a line for each name.
pub fn to_text(manifest: &Manifest) -> String {
    let mut text = String::from("# kind mode links uid gid size modified device content path = first path\n");
    for (path, line) in manifest {
        let (seconds, nanoseconds) = line.modified.unwrap_or_default();
        let content = if line.content.is_empty() { "-" } else { &line.content };
        writeln!(
            text,
            "{} {:04o} {} {} {} {} {seconds}.{nanoseconds:09} {}:{} {content} /{} = /{}",
            line.kind,
            line.mode,
            line.links,
            line.owner.0,
            line.owner.1,
            line.size,
            line.device.0,
            line.device.1,
            escaped(path),
            escaped(&line.first),
        )
        .expect("memory");
    }
    text
}

/// A path of visible ASCII; all else is `\xHH`.
pub fn escaped(path: &[u8]) -> String {
    path.iter().fold(String::new(), |mut text, byte| {
        match byte {
            b'!'..=b'~' if *byte != b'\\' => text.push(char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}").expect("memory"),
        }
        text
    })
}
