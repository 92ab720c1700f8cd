//! The repository on a store: stores, packs, index, tree, heads, lease, upload, restore.

pub mod store;
pub mod tree;
