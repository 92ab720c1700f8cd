//! The tree: a share's sorted map, frozen into chunks.
//!
//! Owns the format of tree nodes and everything that reads or makes them. A tree is a prolly tree:
//! the sorted entries of the map are cut into leaves, the leaves' last keys into inner nodes, and so
//! on until one node is left, the root.
//!
//! Promises:
//!
//! * **History independence.** Where nodes end is a function of the sorted entries alone ([`split`]),
//!   under a secret ([`TreeKeys`]). Equal maps have equal roots, whatever was edited in which order,
//!   and two trees differ only along the paths to what differs.
//! * A node's id covers its *canonical part*: keys, values and ids. The *hints* beside it say where
//!   the chunks that it names were when it was written; they may be stale or absent.
//! * Reading is total: any bytes give a node or an error, in bounded memory. A [`Node`] exists only if
//!   its bytes matched the id by which it was asked for.
//! * Nothing is changed in place. [`apply`] writes new nodes, children before parents, and names them
//!   by a new [`Root`]. When it stops halfway, what it wrote is unreachable and the old root is whole.
//! * Memory of [`apply`] grows with the number of nodes that change, not with edits or map.
//!
//! Not here: where chunks lie, how they are sealed, cached or fetched ([`NodeSource`] and [`NodeSink`]
//! are the seams), and what keys and payloads mean.

mod apply;
mod codec;
mod cursor;
mod diff;
mod edits;
mod error;
mod lookup;
mod memory;
mod node;
mod path;
mod ranges;
mod root;
mod seams;
mod split;
mod value;
mod walk;
mod writer;

pub use apply::apply;
pub use cursor::Cursor;
pub use diff::{Change, diff};
pub use edits::Edit;
pub use error::TreeError;
pub use lookup::{get, get_many};
pub use memory::MemoryNodes;
pub use node::Node;
pub use root::Root;
pub use seams::{NodeKind, NodeSink, NodeSource, TreeKeys};
pub use value::{ChunkRef, Value};
pub use walk::{Visitor, walk};

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 4096;

/// The longest payload of a value, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// The longest payload that lies in its leaf, in bytes; a longer one is a chunk of its own.
pub const INLINE_BYTES_MAX: usize = 1024;

/// The most chunks that one value may refer to.
pub const REFS_MAX: usize = u8::MAX as usize;

/// The longest encoded node, in bytes: canonical part and hints.
pub const NODE_BYTES_MAX: usize = 192 * 1024;
