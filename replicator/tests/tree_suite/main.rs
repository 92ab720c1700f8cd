//! The tree as its users see it: against a sorted map in memory, against an independent builder that
//! is written from `docs/format.md`, on a million entries, on recorded bytes, and on damage.

mod golden;
mod million;
mod model;
mod support;
