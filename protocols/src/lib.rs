//! NFS, S3 and NBD on the wire, and the traits of what they serve.
//!
//! This crate knows nothing of chunks, RocksDB or the cloud; it could be published alone. Whoever has
//! objects implements [`objects::ObjectView`], and [`s3::S3Server`] serves it, see [`s3`]. Whoever has
//! disks implements [`blocks::BlockView`], and [`nbd::NbdServer`] serves it, see [`nbd`]. Whoever has
//! files implements [`view::FileView`]; [`NfsServer`] serves it over NFS version 3 (RFC 1813, all 22
//! procedures), MOUNT versions 1 and 3, and the port mapper:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use tidegate_protocols::{NfsServer, StartError, view::FileView};
//! # async fn serve(view: Arc<dyn FileView>) -> Result<(), StartError> {
//! let server = NfsServer::builder(view)
//!     .nfs_address(([0, 0, 0, 0], 2049).into())
//!     .portmap_address(([0, 0, 0, 0], 111).into())
//!     .start()
//!     .await?;
//! println!("mount with -o vers=3,nolock,port={}", server.addresses().nfs[0].port());
//! server.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # From the socket to the view and back
//!
//! ```text
//! transport   a connection: one task reads, one writes, each call is a task; budgets
//!   rpc       a record becomes a call; program, version, procedure; credential
//!     retransmission   a repeated change gets its first answer
//!  nfs3, mount, nlm, portmap   arguments become values, results become bytes
//!         view   the files
//! ```
//!
//! The upper three know nothing of NFS: another version is one more [`rpc::Program`].
//!
//! # What is promised
//!
//! * **Nothing is copied on the way of data.** The payload of a WRITE is a slice of the buffer that it
//!   was read into (of a large one at most the first 16 KiB were moved); a READ leaves in one vectored
//!   write from the pieces that the view answers.
//! * **Nothing is allocated on a promise.** Lengths are checked against their limits, and a buffer for
//!   a large record exists only after a part of it has arrived. Ten thousand silent connections cost
//!   a few kilobytes each.
//! * **Being fast is no error.** A bound that is reached ([`Limits`]) means that a socket is not read.
//! * **What is far away does not delay what is near.** A call that waits gives its place to others.
//! * **A change is carried out once** however often it is sent, see [`retransmission`].
//! * **A stop is graceful**: calls in flight are answered before connections close.
//! * Logs name no file and show no content; [`METRICS`] are recorded with the `metrics` crate, into
//!   the recorder that is installed when the server is built.
//!
//! # What it deliberately does not do
//!
//! It checks no permissions and no export rules (the view does, on every call), keeps no file data,
//! gives no locks (clients mount with `nolock`), and serves no NFS over UDP.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod blocks;
mod caller;
pub mod mount;
pub mod nbd;
pub mod nfs3;
pub mod nlm;
pub mod objects;
pub mod portmap;
pub mod retransmission;
pub mod rpc;
pub mod s3;
mod server;
mod telemetry;
mod transport;
pub mod view;
pub mod waits;
pub mod xdr;

pub use server::{Addresses, NfsServer, NfsServerBuilder, StartError};
pub use telemetry::{CarriedOut, Follower, METRICS, MetricDescription, SlowCalls, follow_calls};
pub use transport::{Limits, LimitsError};
