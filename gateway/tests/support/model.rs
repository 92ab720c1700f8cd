//! A dumb model of a file system: everything in memory, nothing clever.

use std::collections::BTreeMap;

use tidegate_replicator::map::{Device, Kind};

pub type Id = usize;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    File(Vec<u8>),
    Directory(BTreeMap<Vec<u8>, Id>),
    Link(Vec<u8>),
    Special(Kind, Device),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Seconds and nanoseconds; none where the gateway's clock said it.
    pub modified: Option<(i64, u32)>,
    pub extended: BTreeMap<Vec<u8>, Vec<u8>>,
    pub content: Content,
}

impl Node {
    fn new(mode: u32, content: Content) -> Self {
        Self { mode, owner: (0, 0), modified: None, extended: BTreeMap::new(), content }
    }
}

/// The whole file system. Clone it, and it is a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub nodes: BTreeMap<Id, Node>,
    next: Id,
}

pub const ROOT: Id = 0;

impl Model {
    pub fn new() -> Self {
        let root = Node::new(0o755, Content::Directory(BTreeMap::new()));
        Self { nodes: BTreeMap::from([(ROOT, root)]), next: 1 }
    }

    pub fn entries(&self, directory: Id) -> &BTreeMap<Vec<u8>, Id> {
        match &self.nodes[&directory].content {
            Content::Directory(entries) => entries,
            other => panic!("{directory} is no directory but {other:?}"),
        }
    }

    /// To change them: that is a change of the directory.
    fn entries_mut(&mut self, directory: Id) -> &mut BTreeMap<Vec<u8>, Id> {
        let node = self.nodes.get_mut(&directory).unwrap();
        node.modified = None;
        match &mut node.content {
            Content::Directory(entries) => entries,
            other => panic!("{directory} is no directory but {other:?}"),
        }
    }

    pub fn is_directory(&self, id: Id) -> bool {
        matches!(self.nodes[&id].content, Content::Directory(_))
    }

    pub fn data(&self, file: Id) -> &Vec<u8> {
        match &self.nodes[&file].content {
            Content::File(data) => data,
            other => panic!("{file} is no file but {other:?}"),
        }
    }

    /// To change it.
    pub fn data_mut(&mut self, file: Id) -> &mut Vec<u8> {
        let node = self.nodes.get_mut(&file).unwrap();
        node.modified = None;
        match &mut node.content {
            Content::File(data) => data,
            other => panic!("{file} is no file but {other:?}"),
        }
    }

    pub fn add(&mut self, directory: Id, name: &[u8], mode: u32, content: Content) -> Id {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, Node::new(mode, content));
        self.entries_mut(directory).insert(name.to_vec(), id);
        id
    }

    pub fn link(&mut self, file: Id, directory: Id, name: &[u8]) {
        self.entries_mut(directory).insert(name.to_vec(), file);
    }

    pub fn remove(&mut self, directory: Id, name: &[u8]) {
        let id = self.entries_mut(directory).remove(name).unwrap();
        if self.names_of(id) == 0 {
            self.nodes.remove(&id);
        }
    }

    pub fn names_of(&self, id: Id) -> usize {
        let directories = self.nodes.values().filter_map(|node| match &node.content {
            Content::Directory(entries) => Some(entries),
            Content::File(_) | Content::Link(_) | Content::Special(..) => None,
        });
        directories.flat_map(BTreeMap::values).filter(|entry| **entry == id).count()
    }

    pub fn rename(&mut self, from: (Id, &[u8]), to: (Id, &[u8])) {
        let moved = self.entries(from.0)[from.1];
        if self.entries(to.0).get(to.1) == Some(&moved) {
            return;
        }
        if self.entries(to.0).contains_key(to.1) {
            self.remove(to.0, to.1);
        }
        self.entries_mut(from.0).remove(from.1);
        self.entries_mut(to.0).insert(to.1.to_vec(), moved);
    }

    /// Whether `below` is `directory` or lies in it.
    pub fn contains(&self, directory: Id, below: Id) -> bool {
        directory == below
            || self.is_directory(directory)
                && self.entries(directory).values().any(|child| self.contains(*child, below))
    }

    pub fn directories(&self) -> Vec<Id> {
        self.nodes.keys().copied().filter(|id| self.is_directory(*id)).collect()
    }

    pub fn files(&self) -> Vec<Id> {
        let is_file = |node: &Node| matches!(node.content, Content::File(_));
        self.nodes.iter().filter(|(_, node)| is_file(node)).map(|(id, _)| *id).collect()
    }
}
