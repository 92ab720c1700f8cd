//! The rows of the report, printed as they come as well, since a run may take hours.

use std::time::Instant;

use tidegate_benches::{Outcome, Table, percent};

use crate::steps::Taken;

const COLUMNS: [&str; 8] = [
    "backup",
    "seconds",
    "seconds until the index was learned",
    "seconds of processor",
    "MiB read",
    "peak MiB",
    "of the budget",
    "MiB of the data folder",
];

/// See the head of this module.
pub(crate) struct Report {
    budget: u64,
    begun: Instant,
    table: Table,
    peak: u64,
}

impl Report {
    /// No rows yet.
    pub(crate) fn new(memory_mib: u64) -> Self {
        Self { budget: memory_mib << 20, begun: Instant::now(), table: Table::new(&COLUMNS), peak: 0 }
    }

    /// Adds a backup.
    pub(crate) fn row(&mut self, name: &str, taken: &Taken) {
        self.peak = self.peak.max(taken.peak_bytes);
        let learned = taken.learned_seconds.map(|seconds| format!("{seconds:.1}"));
        let cells = [
            name.to_owned(),
            format!("{:.1}", taken.seconds),
            learned.unwrap_or_else(|| "-".to_owned()),
            format!("{:.1}", taken.processor_seconds),
            (taken.read_bytes >> 20).to_string(),
            (taken.peak_bytes >> 20).to_string(),
            percent(taken.peak_bytes as f64, self.budget as f64),
            (taken.data_bytes >> 20).to_string(),
        ];
        println!("after {} s: {}", self.begun.elapsed().as_secs(), cells.join(" | "));
        self.table.row(cells);
    }

    /// Prints all of it; fails when memory was exceeded.
    pub(crate) fn print(&self, title: &str) -> Outcome<()> {
        self.table.print(title);
        if self.peak > self.budget {
            return Err(format!("a gateway had {} MiB resident, over its budget", self.peak >> 20).into());
        }
        Ok(())
    }
}
