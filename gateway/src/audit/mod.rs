//! The audit log: who changed what through the admin API, and who was refused. Append-only, and chained by digests.
//!
//! ```text
//! <data>/audit/audit-00000000000000000001.log   records, one a line; the name is the number of the first
//!              audit-00000000000000048211.log   the next file; its first record holds the digest of the last above
//!              newest                           number and digest of the newest record, rewritten in place
//!              lock                             held by the process that writes
//! ```
//!
//! *Order.* A record is written and synced before what it tells of is begun; what cannot be recorded is not done. A line
//! that is cut off at the end of the newest file was never synced, so what it tells of was never begun: it is taken away.
//! `newest` is written after the sync, and is therefore never ahead of the file: a file that ends before it has lost lines.
//!
//! *What it proves.* A line that was changed, removed or put in does not fit the digest in the line after it, or the number
//! and digest in `newest`. Whoever may write all of these files may write another chain; that is noticed by whoever keeps a
//! digest elsewhere, and records that go to syslog carry theirs (`syslog`).
//!
//! *What is never in it*: tokens, passwords and keys, and contents of files.

mod end;
mod export;
mod files;
mod log;
mod record;
mod verify;
mod writer;

pub use export::Export;
pub use log::{AuditError, AuditLog, AuditTrouble, newest};
pub(crate) use record::short;
pub use record::{Entry, Event, Page, Record, Seen};
pub use verify::{Verified, verify};

/// The folder of the log, in that of the local state.
pub const AUDIT_FOLDER: &str = "audit";
