//! Who watches a restore.

/// Is told how a restore goes, and may stop it.
pub trait Observer: Send + Sync {
    /// So many bytes more have been written.
    fn written(&self, _bytes: u64) {}

    /// Whether the restore should stop. It does so at the next file, and can be resumed.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
