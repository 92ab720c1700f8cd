//! gateway

pub mod admin;
pub mod cli;
pub mod control;
pub mod crash;
pub mod journal;
pub mod settings;
pub mod telemetry;
