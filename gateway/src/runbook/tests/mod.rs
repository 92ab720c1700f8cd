//! Claims about runs: a scripted world, virtual time, and kills at every point.

mod examples;
mod journal;
mod pages;
mod scripted;
mod sweep;
