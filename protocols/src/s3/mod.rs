//! Amazon S3 on the wire: whoever has objects implements [`crate::objects::ObjectView`], and [`S3Server`] serves
//! it to S3 clients over HTTP/1.1, with or without TLS.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use tidegate_protocols::{objects::ObjectView, s3::{S3Server, S3StartError}};
//! # async fn serve(view: Arc<dyn ObjectView>) -> Result<(), S3StartError> {
//! let server = S3Server::builder(view).address(([0, 0, 0, 0], 9000).into()).start()?;
//! println!("endpoint: http://localhost:{}", server.addresses()[0].port());
//! server.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # From the socket to the view and back
//!
//! ```text
//! connections   accept, TLS, HTTP/1.1; how a connection ends
//!   front       id, watch over the body, metrics; web pages: what browsers ask beforehand, forms
//!     s3s       signatures, routes, headers and documents (another crate)
//!       access       secrets, host names; every request is asked about by its action
//!       operations   which there are; each subject has a file
//!         body       what is hashed and checked on the way in
//!           view     the objects
//! ```
//!
//! # What is promised
//!
//! * **Nothing is done that the view was not asked about**, by the action of AWS that it is and with what the request
//!   says of itself; an operation without an action is refused.
//! * **Nothing is read of whom nobody knows.** A request that is not allowed is answered before its body is read, and
//!   one with a wrong signature always. Of a form the fields are read, which have a bound: the signature is in them.
//!   The documents of deletions, tags and locks are read of callers with a signature, before they are asked about.
//! * **Nothing is believed that was not signed.** Headers of S3 that are not among the signed ones of a signed request are
//!   refused with it, so that nobody adds to what somebody else has signed.
//! * **Nothing is believed before its end.** Length, `Content-MD5`, checksums in headers and in signed
//!   trailers are checked before a view makes an object of a body.
//! * **Memory is bounded**: bodies pass in pieces, documents have a bound, an idle connection has no buffer
//!   of ours. A client that is slow or silent delays nobody else.
//! * **Every error is one of S3**, and every answer has the id of its request.
//! * **A stop is graceful**: requests in flight are answered before connections close.
//! * Logs name no key and show no content.
//!
//! # What it deliberately does not do
//!
//! ACLs but the private one, website answers, replication, notifications and other storage classes are
//! `NotImplemented`; HTTP/2 and version 2 of the signature are not spoken. What is allowed says the view; which rules
//! of CORS and of a lifecycle fit says [`crate::objects`]. Of ranges, several in one request and malformed ones are an
//! error, where Amazon's server gives the whole object.

mod access;
mod acl;
mod actions;
mod attributes;
mod body;
mod bucket_lock;
mod bucket_tags;
mod buckets;
mod checksums;
mod connections;
mod copy;
mod cors;
mod cors_rules;
mod errors;
mod expiration;
mod facts;
mod form;
mod front;
#[doc(hidden)]
pub mod fuzzing;
mod given;
mod incoming;
mod lifecycle;
mod limits;
mod listing;
mod lock;
mod metadata;
pub(crate) mod metrics;
mod multipart;
mod note;
mod operations;
mod ownership;
mod policies;
mod read;
mod server;
mod signed;
mod stall;
mod tagging;
mod target;
mod tls;
mod token;
mod unreadable;
mod unset;
mod uploads;
mod values;
mod versions;
mod write;

pub use access::DomainError;
pub use limits::S3Limits;
pub use server::{S3Server, S3ServerBuilder, S3StartError};
pub use stall::StallGuard;
pub(crate) use tls::identity_of;
pub use tls::{TlsError, TlsIdentity, acceptor as tls_acceptor};
