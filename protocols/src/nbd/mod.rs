//! NBD on the wire: the network block device protocol, as its specification has it
//! (<https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>, in the following "the specification").
//!
//! ```text
//! server        addresses, start and stop
//!   connection  one connection: whom to speak to, negotiation, TLS, transmission
//!     handshake   options, from the greeting to the choice of a volume
//!       options     what an option says                      pure
//!     session     requests and their replies
//!       request     what a request says                      pure
//!       reply       replies as bytes                         pure
//!       writer      writes what is ready
//! limits, tls, metrics
//! ```
//!
//! What is spoken: fixed newstyle negotiation with LIST, INFO, GO, EXPORT_NAME, STARTTLS, STRUCTURED_REPLY and the meta context
//! `base:allocation`; READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES and BLOCK_STATUS with the flags FUA, NO_HOLE, DF, REQ_ONE and
//! FAST_ZERO; several connections to one volume (CAN_MULTI_CONN).
//!
//! Promises:
//!
//! * **Who may use nothing is not spoken to.** A client whose address no volume admits gets no byte; where TLS is
//!   required, nothing is said of volumes before it.
//! * **Nothing is allocated on a promise**, and everything is bounded: names, options and their number, the
//!   length of a request, the requests and bytes in flight of a connection and of all ([`NbdLimits`]). A bound on
//!   what is in flight means that a socket is not read; a bound on form ends the connection.
//! * **What is far away does not delay what is near**: requests are carried out side by side, and answered in the order
//!   in which they are done.
//! * A stop answers what is in flight, then closes.
//!
//! What it deliberately does not do: oldstyle negotiation, extended headers, resizing of what a client has open (it sees the
//! new size when it connects again).

mod connection;
mod handshake;
mod limits;
pub(crate) mod metrics;
mod options;
mod reply;
mod request;
mod server;
mod session;
mod tls;
mod wire;
mod writer;

pub use limits::NbdLimits;
pub use server::{NbdServer, NbdServerBuilder, NbdStartError};
pub use tls::NbdTls;
