//! What the gateway tells about itself while it runs: log lines, metrics and traces.
//!
//! Owns the set-up of all three and the one list of metrics ([`metrics`]). Parts of the gateway log with
//! `tracing` and record through the constants of that list; names, units and meanings live nowhere
//! else. Log levels ask for something: ERROR, a person must look; WARN, handled, but worth a look;
//! INFO, starts, stops and publications. Nothing secret and no file content is ever logged.

mod commit;
mod log;
pub mod metrics;
mod otlp;
mod recorder;
mod runs;
mod status;

pub use commit::record_commit;
pub use log::start_logging;
pub use otlp::export;
pub(crate) use otlp::spans::{follow, trace_work};
pub use recorder::{Metrics, metrics_page};
pub use runs::record_runs;
