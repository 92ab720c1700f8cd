//! gateway

pub mod crash;
pub mod journal;
