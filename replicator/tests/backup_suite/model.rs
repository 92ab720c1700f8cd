//! A tree of files in memory, as dumb as can be; and as a source.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use bytes::Bytes;
use tidegate_replicator::backup::{
    BackupError, Content, Cut, Ended, Found, Late, Listed, Opened, Receipt, Source, Take, Told, Trust,
    WantedFiles,
};
use tidegate_replicator::map::{Device, Kind, Times, Timestamp};

/// A file, whatever its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) kind: Kind,
    pub(crate) mode: u16,
    pub(crate) owner: u32,
    pub(crate) changed: i64,
    pub(crate) size: u64,
    /// Data by where it begins.
    pub(crate) data: BTreeMap<u64, Vec<u8>>,
    pub(crate) target: Vec<u8>,
    pub(crate) extended: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) device: u32,
}

impl File {
    pub(crate) fn new(kind: Kind, changed: i64) -> Self {
        let (data, extended) = (BTreeMap::new(), BTreeMap::new());
        Self { kind, mode: 0o644, owner: 1, changed, size: 0, data, target: Vec::new(), extended, device: 0 }
    }

    /// All its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size as usize];
        for (start, data) in &self.data {
            bytes[*start as usize..*start as usize + data.len()].copy_from_slice(data);
        }
        bytes
    }
}

/// See the head of this file. The top has the path "" and number 1.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) names: BTreeMap<Vec<u8>, u64>,
    pub(crate) files: BTreeMap<u64, File>,
    pub(crate) next: u64,
    pub(crate) now: i64,
    /// Files that cannot be opened.
    pub(crate) unreadable: BTreeSet<u64>,
    /// Files that change whenever they are read, so many times.
    pub(crate) restless: BTreeMap<u64, u32>,
    /// Files that always have less data than they say.
    pub(crate) short: BTreeSet<u64>,
    /// What is found out of files after they were taken in.
    pub(crate) late: BTreeMap<u64, Late>,
    found_out: Vec<(Receipt, Late)>,
    /// Names that are listed and then gone.
    pub(crate) fleeting: BTreeSet<Vec<u8>>,
    /// Folders that are there whatever else is.
    pub(crate) frame: Vec<Vec<u8>>,
    /// What was opened, since somebody last looked.
    pub(crate) opened: Vec<Vec<u8>>,
    /// Whether files say by their attributes that they did not change.
    pub(crate) trust: Option<Trust>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let top = File { mode: 0o755, ..File::new(Kind::Directory, 1) };
        Self {
            names: BTreeMap::from([(Vec::new(), 1)]),
            files: BTreeMap::from([(1, top)]),
            next: 2,
            now: 1,
            unreadable: BTreeSet::new(),
            restless: BTreeMap::new(),
            short: BTreeSet::new(),
            late: BTreeMap::new(),
            found_out: Vec::new(),
            fleeting: BTreeSet::new(),
            frame: Vec::new(),
            opened: Vec::new(),
            trust: None,
        }
    }

    pub(crate) fn at(&self, path: &str) -> u64 {
        self.names[path.as_bytes()]
    }

    /// Time passes, and something in the folder of a path changes.
    fn touch_folder(&mut self, path: &[u8]) {
        self.now += 1;
        let folder = path.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |end| &path[..end]);
        let number = self.names[folder];
        self.files.get_mut(&number).unwrap().changed = self.now;
    }

    pub(crate) fn touch(&mut self, number: u64) {
        self.now += 1;
        self.files.get_mut(&number).unwrap().changed = self.now;
    }

    pub(crate) fn make(&mut self, path: &[u8], kind: Kind) -> u64 {
        self.touch_folder(path);
        let number = self.next;
        self.next += 1;
        self.files.insert(number, File::new(kind, self.now));
        self.names.insert(path.to_vec(), number);
        number
    }

    pub(crate) fn folder(&mut self, path: &str) {
        self.make(path.as_bytes(), Kind::Directory);
    }

    pub(crate) fn file(&mut self, path: &str, data: &[u8]) -> u64 {
        let number = self.make(path.as_bytes(), Kind::Regular);
        self.write(number, data);
        number
    }

    /// Gives a file other content.
    pub(crate) fn write(&mut self, number: u64, data: &[u8]) {
        self.touch(number);
        let file = self.files.get_mut(&number).unwrap();
        file.size = data.len() as u64;
        file.data = if data.is_empty() { BTreeMap::new() } else { BTreeMap::from([(0, data.to_vec())]) };
    }

    pub(crate) fn link(&mut self, number: u64, path: &[u8]) {
        self.touch_folder(path);
        self.touch(number);
        self.names.insert(path.to_vec(), number);
    }

    /// Takes a name away, with everything below it.
    pub(crate) fn remove(&mut self, path: &[u8]) {
        self.touch_folder(path);
        let below = [path, b"/"].concat();
        let gone: Vec<Vec<u8>> =
            self.names.keys().filter(|name| **name == path || name.starts_with(&below)).cloned().collect();
        for name in gone {
            let number = self.names.remove(&name).unwrap();
            if self.names.values().any(|other| *other == number) {
                self.touch(number);
            } else {
                self.files.remove(&number);
                self.unreadable.remove(&number);
            }
        }
    }

    /// Moves a name, with everything below it, over what may be there.
    pub(crate) fn rename(&mut self, from: &[u8], to: &[u8]) {
        if from == to || to.starts_with(&[from, b"/"].concat()) || from.starts_with(&[to, b"/"].concat()) {
            return;
        }
        if self.names.contains_key(to) {
            self.remove(to);
        }
        self.touch_folder(from);
        self.touch_folder(to);
        let below = [from, b"/"].concat();
        let moved: Vec<Vec<u8>> =
            self.names.keys().filter(|name| **name == from || name.starts_with(&below)).cloned().collect();
        for name in moved {
            let number = self.names.remove(&name).unwrap();
            self.names.insert([to, &name[from.len()..]].concat(), number);
        }
        self.touch(self.names[to]);
    }

    pub(crate) fn folders(&self) -> Vec<Vec<u8>> {
        let is_folder = |number: &u64| self.files[number].kind == Kind::Directory;
        self.names.iter().filter(|(_, number)| is_folder(number)).map(|(path, _)| path.clone()).collect()
    }

    fn found(&self, path: &[u8], number: u64) -> Found {
        let file = &self.files[&number];
        let time = |seconds| Timestamp { seconds, nanos: 5 };
        let links = self.names.values().filter(|other| **other == number).count() as u32;
        Found {
            path: path.to_vec(),
            kind: file.kind,
            mode: file.mode,
            uid: file.owner,
            gid: file.owner + 1,
            size: file.size,
            device: Device { major: file.device, minor: 1 },
            times: Times {
                accessed: time(self.now + 1000),
                modified: time(file.changed),
                changed: time(file.changed),
                born: time(0),
            },
            number,
            file_system: 9,
            links: if file.kind == Kind::Directory { 2 } else { links },
            target: Bytes::from(file.target.clone()),
            trust: self.trust.unwrap_or(Trust::Attributes),
            only_with_content: false,
        }
    }
}

impl Source for Model {
    fn list(&mut self, told: Told<'_>) -> Result<(), BackupError> {
        // In an order that has nothing to do with names.
        let mut names: Vec<_> = self.names.iter().collect();
        names.sort_by_key(|(path, number)| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15), path.len()));
        for (path, number) in names {
            told(Listed::Found(self.found(path, *number)))?;
        }
        Ok(())
    }

    fn read(&mut self, wanted: WantedFiles<'_>, take: Take<'_>) -> Result<(), BackupError> {
        for wanted in wanted {
            let wanted = wanted?;
            let (path, number) = (wanted.found.path.clone(), wanted.found.number);
            if self.fleeting.contains(&path) {
                take(wanted, Err(io::ErrorKind::NotFound.into()))?;
                continue;
            }
            if self.unreadable.contains(&number) {
                take(wanted, Err(io::ErrorKind::PermissionDenied.into()))?;
                continue;
            }
            self.opened.push(path.clone());
            let file = self.files[&number].clone();
            let bytes = |(name, value): (&Vec<u8>, &Vec<u8>)| (name.clone().into(), value.clone().into());
            let extended = file.extended.iter().map(bytes).collect();
            let (left, short) = (self.restless.entry(number).or_default(), self.short.contains(&number));
            let content: Option<Box<dyn Content>> = (file.kind == Kind::Regular).then(|| {
                let content = Pieces { file, piece: None, at: 0, restless: left, short };
                Box::new(content) as Box<dyn Content>
            });
            let found = wanted.found.clone();
            let receipt = take(wanted, Ok(Opened { found, extended, cut: Cut::Content, content }))?;
            if let Some(late) = self.late.get(&number) {
                self.found_out.push((receipt, late.clone()));
            }
        }
        Ok(())
    }

    fn afterwards(&mut self) -> Vec<(Receipt, Late)> {
        std::mem::take(&mut self.found_out)
    }

    fn frame(&self) -> Vec<Vec<u8>> {
        self.frame.clone()
    }
}

/// The data of a file, piece by piece.
struct Pieces<'a> {
    file: File,
    piece: Option<u64>,
    at: usize,
    restless: &'a mut u32,
    short: bool,
}

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(data) = self.piece.and_then(|start| self.file.data.get(&start)) else { return Ok(0) };
        let count = (data.len() - self.at).min(out.len()).min(777);
        out[..count].copy_from_slice(&data[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl Content for Pieces<'_> {
    fn next_data(&mut self) -> io::Result<Option<u64>> {
        let after = self.piece.map_or(0, |piece| piece + 1);
        self.piece = self.file.data.range(after..).next().map(|(start, _)| *start);
        self.at = 0;
        Ok(self.piece)
    }

    fn end(&mut self) -> io::Result<Ended> {
        Ok(Ended { size: self.file.size, torn: self.short || *self.restless > 0 })
    }

    fn again(&mut self) -> io::Result<Option<Found>> {
        if *self.restless == 0 {
            return Ok(None);
        }
        *self.restless -= 1;
        (self.piece, self.at) = (None, 0);
        let byte = u8::from(*self.restless == 0);
        self.file.data.values_mut().for_each(|data| data.fill(byte));
        let mut found = Model::new().found(b"", 1);
        (found.kind, found.size) = (Kind::Regular, self.file.size);
        Ok(Some(found))
    }
}
