//! The S3 server over real loopback connections, against objects in memory.
//!
//! Method: the official client `aws-sdk-s3` wherever a well-behaved client is enough, and requests with a
//! signature of our own making where one must misbehave. Expected answers are those of the Amazon S3 API
//! reference, not those of any implementation.

#![allow(clippy::unwrap_used, clippy::result_large_err, clippy::large_futures)]

mod access;
mod bucket_settings;
mod buckets;
mod checksums;
mod connections;
mod content;
mod copies;
mod cors;
mod forms;
mod harness;
mod hashes;
mod listing;
mod locks;
mod memory;
mod multipart;
mod objects;
mod pages;
mod permissions;
mod raw;
mod tagging;
mod tls;
mod versions;
