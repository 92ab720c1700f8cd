//! Tests of what reads frozen shares without a gateway: restore and check.

#![allow(clippy::unwrap_used, missing_docs)]

mod check;
mod restore;
mod restore_cut;
mod support;
