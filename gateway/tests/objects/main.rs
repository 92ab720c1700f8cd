//! Claims about objects: what a PUT leaves, what both doors see, what a listing shows, what uploads become.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod away;
mod doors;
mod full;
mod life;
mod lifecycle;
mod listing;
mod locks;
mod many_parts;
mod memory;
mod owners;
mod paths;
mod permissions;
mod quotas;
mod scene;
mod tls;
mod uploads;
mod versions;
mod wire;
