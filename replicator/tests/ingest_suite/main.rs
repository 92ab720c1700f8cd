//! Taking in, uploading and reading back, over local folders and stores that fail.

mod fetch;
mod round_trip;
mod support;
mod trees;
