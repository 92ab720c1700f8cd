//! How many changes a second does the journal make durable, beside what the disk allows one at a time?
//!
//! ```text
//! cargo bench --workspace --bench journal -- [--rounds=3] [--seconds=2]
//! ```
//!
//! Each of 1, 8, 64, 512 tasks appends a record (4 KiB of data, 200 bytes of metadata) and waits until it
//! is durable, again and again. The peer, taking turns with it on the same disk: one `pwrite` of as much
//! and one `fdatasync`, one after the other. What many tasks gain is what they share of each sync.
//!
//! Besides, 1 MiB records as a stream, beside a bare file written and synced 4 MiB at a time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_benches::{Arguments, Chance, Outcome, Table, median, scratch, times};
use tidegate_gateway::journal::{Journal, JournalError, Options};

const TASKS: [usize; 4] = [1, 8, 64, 512];
const METADATA_BYTES: usize = 200;
const DATA_BYTES: usize = 4 << 10;
/// Length of the records of the stream, and how many are on their way at once.
const STREAM_BYTES: usize = 1 << 20;
const STREAM_TASKS: usize = 8;
/// What the bare stream writes between two syncs, in bytes.
const BARE_SYNC_BYTES: usize = 4 << 20;

fn main() -> Outcome<()> {
    let arguments = Arguments::of_this_process();
    let rounds: usize = arguments.setting("rounds", 3)?;
    let time = Duration::from_secs_f64(arguments.setting("seconds", 2.0)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut rates = vec![Vec::new(); TASKS.len() + 1];
    let (mut streamed, mut bare_streamed) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let folder = scratch()?;
        rates[0].push(bare(folder.path(), METADATA_BYTES + DATA_BYTES, METADATA_BYTES + DATA_BYTES, time)?);
        for (place, tasks) in TASKS.into_iter().enumerate() {
            rates[place + 1].push(runtime.block_on(records(folder.path(), tasks, DATA_BYTES, time))?);
        }
        bare_streamed.push(bare(folder.path(), STREAM_BYTES, BARE_SYNC_BYTES, time)?);
        streamed.push(runtime.block_on(records(folder.path(), STREAM_TASKS, STREAM_BYTES, time))?);
    }
    let rates: Vec<f64> = rates.into_iter().map(median).collect();
    let mut table = Table::new(&["4 KiB records", "a second", "over bare", "ms each waits"]);
    for (place, &rate) in rates.iter().enumerate() {
        let (name, tasks) = match place.checked_sub(1).map(|place| TASKS[place]) {
            None => ("bare pwrite and fdatasync, one at a time".to_owned(), 1),
            Some(1) => ("journal, 1 task".to_owned(), 1),
            Some(tasks) => (format!("journal, {tasks} tasks"), tasks),
        };
        let wait = format!("{:.2}", 1e3 * tasks as f64 / rate);
        table.row([name, format!("{rate:.0}"), times(rate, rates[0]), wait]);
    }
    table.print(&format!("Durable records; medians of {rounds} rounds of {} s", time.as_secs_f32()));
    let (streamed, bare) = (median(streamed), median(bare_streamed));
    let mut table = Table::new(&["1 MiB records", "MiB/s", "over bare"]);
    let of_bare = "bare write, fdatasync each 4 MiB";
    table.row([of_bare.to_owned(), format!("{bare:.0}"), times(bare, bare)]);
    let of_journal = format!("journal, {STREAM_TASKS} tasks");
    table.row([of_journal, format!("{streamed:.0}"), times(streamed, bare)]);
    table.print("A stream");
    Ok(())
}

/// Writes pieces one after the other and syncs whenever so many bytes are written; pieces a second.
fn bare(folder: &Path, piece_bytes: usize, sync_bytes: usize, time: Duration) -> Outcome<f64> {
    let file = File::create(folder.join("bare"))?;
    let piece = Chance::new(1).bytes(piece_bytes);
    let (start, mut pieces) = (Instant::now(), 0_u64);
    while start.elapsed() < time {
        for _ in 0..sync_bytes / piece_bytes {
            file.write_all_at(&piece, pieces * piece_bytes as u64)?;
            pieces += 1;
        }
        file.sync_data()?;
    }
    let elapsed = start.elapsed().as_secs_f64();
    std::fs::remove_file(folder.join("bare"))?;
    Ok(pieces as f64 / elapsed)
}

/// So many tasks append and wait for durability until the time is over; records a second.
async fn records(folder: &Path, tasks: usize, data_bytes: usize, time: Duration) -> Outcome<f64> {
    let folder = folder.join("journal");
    let (journal, _replay) = Journal::open(&folder, Options::default())?;
    let metadata: Arc<[u8]> = Chance::new(2).bytes(METADATA_BYTES).into();
    let data = Bytes::from(Chance::new(3).bytes(data_bytes));
    let (start, done) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..tasks {
        let (journal, metadata, data, done) =
            (journal.clone(), Arc::clone(&metadata), data.clone(), Arc::clone(&done));
        running.spawn(async move {
            while start.elapsed() < time {
                let permit = journal.reserve((metadata.len() + data.len()) as u64).await?;
                let appended = journal.append(permit, &metadata, std::slice::from_ref(&data))?;
                journal.durable(appended.sequence).await?;
                if done.fetch_add(1, Ordering::Relaxed) % 64 == 0 {
                    tidy(&journal).await?;
                }
            }
            Ok::<_, JournalError>(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    let rate = done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    drop(journal);
    std::fs::remove_dir_all(&folder)?;
    Ok(rate)
}

/// Removes old segments as a gateway does whose map has been flushed, so that the disk does not fill.
async fn tidy(journal: &Journal) -> Result<(), JournalError> {
    const SEGMENTS_KEPT: usize = 8;
    if journal.segments().len() > SEGMENTS_KEPT {
        let (journal, through) = (journal.clone(), journal.durable_sequence());
        let removing = tokio::task::spawn_blocking(move || journal.remove_through(through).map(drop));
        return removing.await.unwrap_or(Ok(()));
    }
    Ok(())
}
