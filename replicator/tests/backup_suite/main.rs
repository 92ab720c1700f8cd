//! Tests of backups: the map that is made of a source, held against a dumb model.

#![allow(clippy::unwrap_used, missing_docs)]

mod claims;
mod model;
mod random;
mod scene;
