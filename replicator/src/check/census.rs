//! Names against inodes, in sums.
//!
//! Each name adds a number that hangs on the inode that it leads to; each inode takes away as many of them
//! as it says that it has names. When nothing is left, every inode has its names and every name its
//! inode, but for a chance of one in 2^64. The sums are kept in [`BUCKETS`] by inode, so that what is left
//! says where to look; and they are sums, so that what a map changes can be added and taken away.

use crate::map::{Entry, Inode, InodeNumber, Key, Kind, VersionRecord};
use crate::tree::Value;

/// Buckets of sums.
const BUCKETS: usize = 4096;

/// See the head of this module.
#[derive(Clone)]
pub(super) struct Census {
    names: Vec<u64>,
    parents: Vec<u64>,
}

impl Default for Census {
    fn default() -> Self {
        Self { names: vec![0; BUCKETS], parents: vec![0; BUCKETS] }
    }
}

/// Whether something comes to the map or goes from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Plus,
    Minus,
}

impl Census {
    /// Counts an entry of the map in or out. What does not decode counts nowhere.
    pub(super) fn count(&mut self, key: &Key, value: &Value, sign: Sign) {
        match key {
            Key::Entry(folder, _) => {
                if let Ok(entry) = Entry::decode(&value.payload) {
                    self.name(*folder, &entry, sign);
                }
            }
            Key::Attributes(number) => {
                if let Ok(inode) = Inode::decode(&value.payload) {
                    self.inode(*number, &inode, sign);
                }
            }
            Key::Version(..) => {
                if let Some(inode) = version_file(value) {
                    let bucket = bucket(inode);
                    add(&mut self.names[bucket], mix(inode.0, Kind::Regular.code().into()), sign);
                }
            }
            Key::BucketPart(_)
            | Key::Cookie(..)
            | Key::NullVersion(_)
            | Key::Extent(..)
            | Key::ExtendedAttribute(..)
            | Key::Orphan(_)
            | Key::Part(..)
            | Key::Upload(..) => {}
        }
    }

    fn name(&mut self, folder: InodeNumber, entry: &Entry, sign: Sign) {
        let bucket = bucket(entry.inode);
        add(&mut self.names[bucket], mix(entry.inode.0, entry.kind.code().into()), sign);
        if entry.kind == Kind::Directory {
            add(&mut self.parents[bucket], mix(entry.inode.0, folder.0), sign);
        }
    }

    fn inode(&mut self, number: InodeNumber, inode: &Inode, sign: Sign) {
        let bucket = bucket(number);
        let names = names_of(number, inode);
        let sum = mix(number.0, inode.kind.code().into()).wrapping_mul(names);
        add(&mut self.names[bucket], sum, sign.opposite());
        if inode.kind == Kind::Directory && names > 0 {
            add(&mut self.parents[bucket], mix(number.0, inode.parent.0), sign.opposite());
        }
    }

    /// Buckets in which something is left.
    pub(super) fn unbalanced(&self) -> Vec<usize> {
        let left = |bucket: &usize| self.names[*bucket] != 0 || self.parents[*bucket] != 0;
        (0..BUCKETS).filter(left).collect()
    }
}

/// The file of a version that its key does not lead to, for which the record stands as a name.
pub(super) fn version_file(value: &Value) -> Option<InodeNumber> {
    VersionRecord::decode(&value.payload).ok()?.inode
}

/// How many names an inode should have.
pub(super) fn names_of(number: InodeNumber, inode: &Inode) -> u64 {
    match inode.kind {
        Kind::Directory if number == InodeNumber::ROOT => 0,
        Kind::Directory => 1,
        _ => inode.links.into(),
    }
}

/// The bucket of an inode.
pub(super) fn bucket(number: InodeNumber) -> usize {
    mix(number.0, 0) as usize % BUCKETS
}

impl Sign {
    fn opposite(self) -> Self {
        match self {
            Self::Plus => Self::Minus,
            Self::Minus => Self::Plus,
        }
    }
}

fn add(sum: &mut u64, number: u64, sign: Sign) {
    *sum = match sign {
        Sign::Plus => sum.wrapping_add(number),
        Sign::Minus => sum.wrapping_sub(number),
    };
}

/// Two numbers as one that looks like chance (splitmix64, twice).
fn mix(one: u64, other: u64) -> u64 {
    let spread = |mut x: u64| {
        x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    spread(spread(one) ^ other)
}
