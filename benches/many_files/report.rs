//! The rows of the report, printed as they come as well, since a run may take hours.

use std::time::Instant;

use tidegate_benches::{Outcome, Run, Table, percent};

use crate::watch::{Sight, Watch};

/// See the head of this module.
pub(crate) struct Report<'a> {
    watch: &'a Watch<'a>,
    budget: u64,
    begun: Instant,
    table: Table,
    peak: u64,
}

impl<'a> Report<'a> {
    /// No rows yet.
    pub(crate) fn new(watch: &'a Watch<'a>, memory_mib: u64) -> Self {
        let columns = [
            "operation",
            "done",
            "a second",
            "median ms",
            "slowest 1 % ms",
            "processor us each",
            "heads",
            "longest behind s",
            "peak memory MiB",
            "of the budget",
        ];
        Self { watch, budget: memory_mib << 20, begun: Instant::now(), table: Table::new(&columns), peak: 0 }
    }

    /// Adds what was just done.
    pub(crate) fn row(&mut self, name: &str, run: &Run) -> Outcome<()> {
        let Sight { heads, behind_seconds, processor_seconds, peak_bytes } = self.watch.look()?;
        self.peak = peak_bytes;
        let cells = [
            name.to_owned(),
            run.units.to_string(),
            format!("{:.0}", run.per_second()),
            format!("{:.2}", run.within_ms(0.5)),
            format!("{:.2}", run.within_ms(0.99)),
            format!("{:.0}", 1e6 * processor_seconds / run.units.max(1) as f64),
            heads.to_string(),
            behind_seconds.to_string(),
            (peak_bytes >> 20).to_string(),
            percent(peak_bytes as f64, self.budget as f64),
        ];
        println!("after {} s: {}", self.begun.elapsed().as_secs(), cells.join(" | "));
        self.table.row(cells);
        Ok(())
    }

    /// Prints all of it; fails when memory was exceeded.
    pub(crate) fn print(&self, title: &str) -> Outcome<()> {
        self.table.print(&format!("{title}; {:.0} s", self.begun.elapsed().as_secs_f32()));
        if self.peak > self.budget {
            return Err(format!("the gateway had {} MiB resident, over its budget", self.peak >> 20).into());
        }
        Ok(())
    }
}
