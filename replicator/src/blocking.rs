//! Work that blocks: cutting, sealing, reading files. It has threads of its own, so that async tasks go on meanwhile.
//!
//! In a simulation, which exists in this crate's unit tests alone, such work is done in its turn among the other tasks:
//! threads would make the order a matter of chance.

use tokio::task::JoinHandle;

/// Does `work` on a thread that may block. Dropping the handle does not stop it.
pub(crate) fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    #[cfg(test)]
    if crate::simulation::is_running() {
        return tokio::spawn(async move { work() });
    }
    tokio::task::spawn_blocking(work)
}
