//! Tests of what works on frozen shares without a gateway: restore, check, collection, copies and seeds.

#![allow(clippy::unwrap_used, missing_docs)]

mod archive;
mod bin;
mod check;
mod collect;
#[path = "../repository_suite/support/dying_store.rs"]
mod dying_store;
mod locks;
mod mirror;
mod reseal;
mod restore;
mod restore_cut;
mod seed;
mod support;
