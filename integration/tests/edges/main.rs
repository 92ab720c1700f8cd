//! Goal: files at the edges of what a file system allows are kept exactly, by every machine.
//!
//! Method: written over NFS through the real program, and looked at four times: at once, after a commit,
//! after `kill -9` and a start, and on a second machine that has the repository and the key only.

mod data;
mod handles;
mod names;
mod quota;
mod times;
