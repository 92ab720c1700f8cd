//! What does a change of the tree cost, beside building it anew?
//!
//! ```text
//! cargo bench --workspace --bench tree -- [--rounds=3]
//! ```
//!
//! Maps of 10^4 to 10^6 entries, with keys and values as long as those of a file's attributes, nodes in
//! memory. For each number of changed keys, scattered or next to one another: time and nodes of `apply`
//! beside those of the whole tree built from nothing, and of `diff` between both trees beside reading
//! one through. The bound on nodes: with scattered keys one leaf a key and what is above it.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tidegate_benches::{Arguments, Chance, Outcome, Table, keys, median, percent, times};
use tidegate_chunker::DomainKeys;
use tidegate_replicator::tree::{Cursor, Edit, MemoryNodes, Root, Value, apply, diff};

const ENTRIES: [u64; 3] = [10_000, 100_000, 1_000_000];
const CHANGES: [u64; 4] = [1, 100, 1_000, 10_000];
/// Length of a value in bytes: that of a file's attributes.
const VALUE_BYTES: usize = 90;

/// A place for trees.
struct Place {
    keys: Arc<DomainKeys>,
    nodes: MemoryNodes,
}

/// Seconds, nodes put and nodes read.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    puts: u64,
    reads: u64,
}

fn main() -> Outcome<()> {
    let rounds = Arguments::of_this_process().setting("rounds", 3)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for entries in ENTRIES {
            measure(entries, rounds).await?;
        }
        Ok(())
    })
}

async fn measure(entries: u64, rounds: usize) -> Outcome<()> {
    let place = Place::new()?;
    let everything = || (0..entries).map(|number| Edit::Put(key(number), value(number)));
    let (root, whole) = place.build(everything, rounds).await?;
    let scan = place.scan(&root, rounds).await?;
    let mut table = Table::new(&[
        "changed keys",
        "apply ms",
        "nodes put",
        "of a rebuild's time",
        "of its nodes",
        "diff ms",
        "nodes read",
        "of a scan's time",
        "µs a change",
    ]);
    for changes in CHANGES.into_iter().filter(|&changes| changes * 10 <= entries) {
        for scattered in [true, false] {
            let (changed, applied) = place.change(&root, entries, changes, scattered, rounds).await?;
            let differed = place.diff(&root, &changed, changes, rounds).await?;
            table.row([
                format!("{changes} {}", if scattered { "scattered" } else { "in a row" }),
                format!("{:.2}", 1e3 * applied.seconds),
                applied.puts.to_string(),
                percent(applied.seconds, whole.seconds),
                percent(applied.puts as f64, whole.puts as f64),
                format!("{:.2}", 1e3 * differed.seconds),
                differed.reads.to_string(),
                percent(differed.seconds, scan.seconds),
                format!("{:.0}", 1e6 * applied.seconds / changes as f64),
            ]);
        }
    }
    table.print(&format!(
        "{entries} entries, height {}: built in {:.0} ms ({} nodes), read through in {:.0} ms ({}); medians of {rounds}",
        root.height,
        1e3 * whole.seconds,
        whole.puts,
        1e3 * scan.seconds,
        times(scan.seconds, whole.seconds),
    ));
    Ok(())
}

impl Place {
    fn new() -> Outcome<Self> {
        let keys = keys()?;
        Ok(Self { nodes: MemoryNodes::new(keys.clone()), keys })
    }

    async fn build<E: Iterator<Item = Edit> + Send>(
        &self,
        edits: impl Fn() -> E,
        rounds: usize,
    ) -> Outcome<(Root, Cost)> {
        self.rounds(rounds, async || {
            Ok(apply(
                &Root::EMPTY,
                &[],
                stream::iter(edits()).map(Ok),
                &self.nodes,
                &mut self.nodes.clone(),
                &*self.keys,
            )
            .await?)
        })
        .await
    }

    async fn change(
        &self,
        root: &Root,
        entries: u64,
        changes: u64,
        scattered: bool,
        rounds: usize,
    ) -> Outcome<(Root, Cost)> {
        let step = if scattered { entries / changes } else { 1 };
        let first = Chance::new(changes).below(entries - step * (changes - 1));
        let edits =
            || (0..changes).map(move |number| Edit::Put(key(first + step * number), Value::plain("new")));
        self.rounds(rounds, async || {
            let edits = stream::iter(edits()).map(Ok);
            Ok(apply(root, &[], edits, &self.nodes, &mut self.nodes.clone(), &*self.keys).await?)
        })
        .await
    }

    async fn diff(&self, before: &Root, after: &Root, changes: u64, rounds: usize) -> Outcome<Cost> {
        let source = Arc::new(self.nodes.clone());
        let differ = async || {
            let found = diff(before, after, source.clone());
            Ok(found.try_fold(0_u64, |count, _| async move { Ok(count + 1) }).await?)
        };
        let (found, cost) = self.rounds(rounds, differ).await?;
        if found == changes { Ok(cost) } else { Err(format!("{found} changes instead of {changes}").into()) }
    }

    async fn scan(&self, root: &Root, rounds: usize) -> Outcome<Cost> {
        let scan = async || {
            let (mut cursor, mut count) = (Cursor::new(root, Arc::new(self.nodes.clone())), 0);
            while cursor.next().await?.is_some() {
                count += 1;
            }
            Ok(count)
        };
        let (found, cost) = self.rounds(rounds, scan).await?;
        if found == root.entries { Ok(cost) } else { Err(format!("{found} entries were read").into()) }
    }

    /// Does something several times; answers the last outcome, the median time, and the nodes of once.
    async fn rounds<T>(&self, rounds: usize, work: impl AsyncFn() -> Outcome<T>) -> Outcome<(T, Cost)> {
        let (mut seconds, mut last) = (Vec::new(), None);
        for _ in 0..rounds.max(1) {
            let (puts, reads) = (self.nodes.puts(), self.nodes.reads());
            let start = std::time::Instant::now();
            let done = work().await?;
            seconds.push(start.elapsed().as_secs_f64());
            last = Some((done, self.nodes.puts() - puts, self.nodes.reads() - reads));
        }
        let (done, puts, reads) = last.ok_or("no round was run")?;
        Ok((done, Cost { seconds: median(seconds), puts, reads }))
    }
}

/// Sixteen bytes, as a share and an inode, and what kind of key it is.
fn key(number: u64) -> Bytes {
    [&7_u64.to_be_bytes()[..], &number.to_be_bytes(), b"a"].concat().into()
}

fn value(number: u64) -> Value {
    let mut payload = number.to_le_bytes().repeat(VALUE_BYTES.div_ceil(8));
    payload.truncate(VALUE_BYTES);
    Value::plain(payload)
}
