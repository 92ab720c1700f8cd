//! Measurements in processes of their own, on the cores that they are about.

use std::process::Command;

use crate::{Outcome, Spent};

/// One measured thing, as one process tells another: a line of name, seconds, seconds, bytes.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// What it took.
    pub spent: Spent,
    /// How many bytes it was about.
    pub bytes: u64,
}

impl Row {
    /// A row.
    pub fn new(name: &str, spent: Spent, bytes: u64) -> Self {
        Self { name: name.to_owned(), spent, bytes }
    }

    /// Prints it for [`rows_on`].
    pub fn print(&self) {
        println!("{}\t{}\t{}\t{}", self.name, self.spent.clock, self.spent.processor, self.bytes);
    }

    fn parse(line: &str) -> Outcome<Self> {
        let mut fields = line.split('\t');
        let mut field = || fields.next().ok_or_else(|| format!("{line:?} is no row"));
        let name = field()?.to_owned();
        let spent = Spent { clock: field()?.parse()?, processor: field()?.parse()? };
        Ok(Self { name, spent, bytes: field()?.parse()? })
    }
}

/// Runs this program again with other arguments on these cores (as `taskset`, of util-linux, names
/// them), and answers the rows that it printed.
pub fn rows_on(cores: &str, arguments: &[String]) -> Outcome<Vec<Row>> {
    let program = std::env::current_exe()?;
    let child = Command::new("taskset").args(["-c", cores]).arg(program).args(arguments).output()?;
    if !child.status.success() {
        return Err(format!("{arguments:?} failed: {}", String::from_utf8_lossy(&child.stderr)).into());
    }
    String::from_utf8(child.stdout)?.lines().map(Row::parse).collect()
}
