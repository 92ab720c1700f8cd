//! Walks the trees: is every chunk that they name in a pack that says so?
//!
//! A node is remembered by half its id, so that a subtree is walked once however many roots share it; as
//! many as the bound allows, then some may be walked again. A chunk that is not where its hint says is
//! looked up in the index later, all of them together.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use tidegate_chunker::ChunkId;

use super::control::KeptRoot;
use super::finding::Finding;
use super::packs::{Held, PackBook};
use super::run::{CheckError, Run};
use crate::frozen::ReadError;
use crate::map::{InodeNumber, Key};
use crate::repository::pack_name;
use crate::tree::{ChunkRef, TreeError, Visitor, walk};

/// What a remembered node takes, in bytes.
const NOTED_NODE_BYTES: u64 = 32;
/// Chunks that are not where their hint says, and nodes that cannot be read, that are remembered.
const LOST_MAX: usize = 100_000;
/// Places that refer to a lost chunk and are named.
const USERS_MAX: usize = 8;

/// Which root, and the key in it that refers to something; `None` for a node.
pub(super) type User = (usize, Option<Bytes>);

/// A chunk that is not where it should be.
pub(super) struct Unresolved {
    pub(super) chunk: ChunkRef,
    pub(super) held: Option<Held>,
    pub(super) users: Vec<User>,
}

/// A node that cannot be read, and so whatever lies below it.
struct Lost {
    root: usize,
    node: ChunkRef,
    last: Option<Bytes>,
    why: String,
}

/// What all walks together have found.
#[derive(Default)]
pub(super) struct Reached {
    visited: HashSet<[u8; 16]>,
    visited_max: usize,
    pub(super) unresolved: BTreeMap<ChunkId, Unresolved>,
    lost: Vec<Lost>,
    /// What was too much to remember.
    forgotten: u64,
    nodes: u64,
    references: u64,
    /// Roots whose tree is whole, as far as it was walked.
    pub(super) whole: Vec<bool>,
}

struct Walk<'a> {
    book: &'a mut PackBook,
    reached: &'a mut Reached,
    root: usize,
}

impl Walk<'_> {
    fn reference(&mut self, chunk: &ChunkRef, key: Option<&[u8]>) {
        self.reached.references += 1;
        let held = chunk.at.as_ref().map(|at| self.book.holds(&chunk.id, at));
        if matches!(held, Some(Held::Yes | Held::Unknown)) {
            return;
        }
        let unresolved = &mut self.reached.unresolved;
        if unresolved.len() >= LOST_MAX && !unresolved.contains_key(&chunk.id) {
            self.reached.forgotten += 1;
            return;
        }
        let entry = unresolved.entry(chunk.id);
        let found = entry.or_insert_with(|| Unresolved { chunk: *chunk, held, users: Vec::new() });
        if found.users.len() < USERS_MAX {
            found.users.push((self.root, key.map(Bytes::copy_from_slice)));
        }
    }
}

impl Visitor for Walk<'_> {
    fn node(&mut self, node: &ChunkRef, _level: u8) -> bool {
        self.reference(node, None);
        let mut half = [0; 16];
        half.copy_from_slice(&node.id.as_bytes()[..16]);
        let is_new = if self.reached.visited.len() < self.reached.visited_max {
            self.reached.visited.insert(half)
        } else {
            !self.reached.visited.contains(&half)
        };
        self.reached.nodes += u64::from(is_new);
        is_new
    }

    fn value(&mut self, key: &[u8], value: &ChunkRef) {
        self.reference(value, Some(key));
    }

    fn data(&mut self, key: &[u8], chunk: &ChunkRef) {
        self.reference(chunk, Some(key));
    }

    fn failed(
        &mut self,
        node: &ChunkRef,
        _above: Option<&[u8]>,
        last: Option<&[u8]>,
        error: TreeError,
    ) -> Result<(), TreeError> {
        if ReadError::is_away_from(&error) {
            return Err(error);
        }
        if let Some(whole) = self.reached.whole.get_mut(self.root) {
            *whole = false;
        }
        if self.reached.lost.len() < LOST_MAX {
            let (last, why) = (last.map(Bytes::copy_from_slice), crate::frozen::with_causes(&error));
            self.reached.lost.push(Lost { root: self.root, node: *node, last, why });
        } else {
            self.reached.forgotten += 1;
        }
        Ok(())
    }
}

impl Run<'_> {
    /// Walks all roots.
    pub(super) async fn reach(
        &mut self,
        roots: &[KeptRoot],
        book: &mut PackBook,
    ) -> Result<Reached, CheckError> {
        let visited_max = (self.options.memory_bytes_max / 4 / NOTED_NODE_BYTES) as usize;
        let mut reached = Reached { visited_max, whole: vec![true; roots.len()], ..Reached::default() };
        let mut walked = HashSet::new();
        for (number, root) in roots.iter().enumerate() {
            self.checkpoint()?;
            if !walked.insert(root.root.id) {
                continue;
            }
            let reader = match self.reader(root.domain) {
                Ok(reader) => reader,
                Err(error) => {
                    let finding = Finding::of_error(format!("domains/{}", root.domain), &error);
                    self.report
                        .add(Finding { moment: Some(root.moment.clone()), ..finding.in_share(&root.share) });
                    reached.whole[number] = false;
                    continue;
                }
            };
            self.report.counts.roots += 1;
            let mut visitor = Walk { book, reached: &mut reached, root: number };
            walk(&root.root, &*reader.nodes, &mut visitor).await.map_err(ReadError::from)?;
            self.observer.advanced(1);
        }
        self.report.counts.nodes = reached.nodes;
        self.report.counts.references = reached.references;
        Ok(reached)
    }

    /// Names what the walks found and the index did not resolve.
    pub(super) async fn judge_reached(
        &mut self,
        roots: &[KeptRoot],
        reached: &Reached,
    ) -> Result<(), CheckError> {
        for lost in &reached.lost {
            let inode = lost.last.as_deref().and_then(|key| Key::decode(key).ok()).map(|key| key.inode());
            let what = format!("a part of the tree is lost: {}", lost.why);
            let finding = Finding::damage(object_of(&lost.node), what);
            self.report_at(finding, &roots[lost.root], inode).await?;
        }
        for found in reached.unresolved.values() {
            let what = match found.held {
                Some(Held::NoPack) => "it is missing, and it is what holds data of this",
                Some(Held::BadPack) => "it cannot be used, and it is what holds data of this",
                Some(Held::Yes | Held::Unknown | Held::No) | None => {
                    "data of this should lie there, and neither it nor the index knows of it"
                }
            };
            for (root, key) in &found.users {
                let inode = key.as_deref().and_then(|key| Key::decode(key).ok()).map(|key| key.inode());
                let finding = Finding::damage(object_of(&found.chunk), what);
                self.report_at(finding, &roots[*root], inode).await?;
            }
        }
        if reached.forgotten > 0 {
            let what = format!("{} more places refer to what is missing or damaged", reached.forgotten);
            self.report.add(Finding::damage("packs/", what));
        }
        Ok(())
    }

    /// Adds a finding that concerns an inode of a root.
    pub(super) async fn report_at(
        &mut self,
        finding: Finding,
        root: &KeptRoot,
        inode: Option<InodeNumber>,
    ) -> Result<(), CheckError> {
        if self.report.is_full_of(&finding.object) {
            self.report.add(finding);
            return Ok(());
        }
        let path = match inode {
            Some(inode) => self.path_of(root, inode).await?,
            None => None,
        };
        let moment = Some(root.moment.clone());
        self.report.add(Finding { moment, path, ..finding.in_share(&root.share) });
        Ok(())
    }
}

/// The object that should hold a chunk, as far as anybody knows.
pub(super) fn object_of(chunk: &ChunkRef) -> String {
    chunk.at.map_or_else(|| "packs/".to_owned(), |at| pack_name(at.pack).to_string())
}
