//! Placeholder.
#![cfg(feature = "ec2")]
