//! What the benches share: seeded inputs, clocks, tables, programs that are watched, and runs on chosen cores.
//!
//! A bench answers one question, with ratios between things measured in the same run: to a peer, or to
//! a bound. On a machine with other work speeds mean little and ratios much, if what is compared takes
//! turns; so every bench measures in rounds and shows medians.
//!
//! ```text
//! make bench                                                     all of them
//! cargo bench --workspace --bench pipeline -- FOLDER             one, here on data of your own
//! ```

mod alone;
mod arguments;
pub mod calls;
mod chance;
mod durations;
mod files;
mod peers;
pub mod process;
mod pump;
mod rpc;
mod server;
mod spent;
mod table;

use std::path::PathBuf;
use std::sync::Arc;

use tidegate_chunker::{DomainId, DomainKeys, RepositoryId, SealEpoch, SecretKey};

pub use alone::{Row, rows_on};
pub use arguments::Arguments;
pub use chance::Chance;
pub use durations::Durations;
pub use files::{files_below, seeded_tree};
pub use peers::{MIRROR_ARGUMENT, find_program};
pub use pump::{Run, Work, pump, pump_all};
pub use rpc::{Call, Connection, Payload, REPLY_BYTES_MAX};
pub use server::{GatewaySettings, Kind, Server, Standing, free_address, tidegate_program};
pub use spent::{Spent, median};
pub use table::{Table, per_second, percent, times};

/// What a bench ends with.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The keys of a domain, always the same.
pub fn keys() -> Outcome<Arc<DomainKeys>> {
    let secret = |byte| SecretKey::new([byte; 32]);
    let seals = vec![(SealEpoch(1), secret(2))];
    Ok(Arc::new(DomainKeys::new(RepositoryId::new([0; 16]), DomainId::new([0; 16]), &secret(1), seals)?))
}

/// A folder that goes when it is dropped: in `TIDEGATE_BENCH_DIR`, or else on the disk of `/var/tmp`,
/// which, unlike `/tmp`, is not in memory.
pub fn scratch() -> Outcome<tempfile::TempDir> {
    let place =
        std::env::var_os("TIDEGATE_BENCH_DIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    Ok(tempfile::Builder::new().prefix("tidegate-bench-").tempdir_in(place)?)
}
