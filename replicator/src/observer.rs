//! How long work over a repository tells how it goes, and is stopped.

/// Is told how a check or a collection goes, and may stop it.
pub trait Observer: Send + Sync {
    /// A part begins: what is done now.
    fn phase(&self, _phase: &'static str) {}

    /// So much more of it is done: roots, packs, index objects, or bytes of frames.
    fn advanced(&self, _by: u64) {}

    /// Whether to stop.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
