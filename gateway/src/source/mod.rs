//! Sources of backup: what lies outside the shares, as `tidegate_replicator::backup` reads it.
//!
//! ```text
//! folder/    a folder of this machine
//! device     a block device, or an image file: one large file
//! command    what a command writes: one file
//! ssh/       a whole host, over ssh, by its own find and tar
//! selection  which paths are meant
//! child      a command that a source runs, its end and its last words
//! ```
//!
//! A source only reads. Every call blocks, so a run has a thread of its own, which may be nicer than others.
//!
//! Not here: what becomes of what is read, and when (`appliance/sources.rs`).

mod child;
mod command;
mod device;
mod folder;
mod selection;
mod ssh;

pub use child::Cancelled;
pub use command::CommandSource;
pub use device::DeviceSource;
pub use folder::{FolderOptions, FolderSource};
pub use selection::{Pattern, Selection};
pub use ssh::{SshOptions, SshSource};

use tidegate_replicator::backup::{Found, Trust};
use tidegate_replicator::map::{Device, Kind, Times, Timestamp};

/// Something under a path of which nothing is known but its kind and a time.
fn plain(path: &[u8], kind: Kind, at: Timestamp) -> Found {
    Found {
        path: path.to_vec(),
        kind,
        mode: if kind == Kind::Directory { 0o755 } else { 0o600 },
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        size: 0,
        device: Device::default(),
        times: Times { accessed: at, modified: at, changed: at, born: at },
        number: 0,
        file_system: 0,
        links: 1,
        target: bytes::Bytes::new(),
        trust: Trust::Content,
        only_with_content: false,
    }
}
