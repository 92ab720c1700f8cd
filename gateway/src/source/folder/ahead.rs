//! Opens files ahead of who takes them in, so that the disk and the cutter work at the same time.
//!
//! ```text
//! wanted ── feeder ──> reader 0 ──> ┐
//!               └────> reader 1 ──> ┴ taken in turn, so in order
//! ```
//!
//! A reader opens a file, reads its extended attributes and the beginning of its data; most files are no longer than
//! that. Bound: [`AHEAD_BYTES_MAX`] of data, and [`QUEUE`] open files for each reader.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tidegate_replicator::backup::{BackupError, Cut, Opened, Take, Wanted, WantedFiles};
use tidegate_replicator::map::{Kind, Timestamp};

use super::content::FileContent;
use super::{FolderOptions, distrust_if_young, entry, open_below};

/// Data that is read ahead, in bytes.
pub(super) const AHEAD_BYTES_MAX: usize = 8 << 20;
/// Files that wait for each reader, and before the taker for each reader.
const QUEUE: usize = 8;

type Read = Result<(Wanted, io::Result<Opened<'static>>), BackupError>;

pub(super) fn read(
    top: &OwnedFd,
    options: &FolderOptions,
    wanted: WantedFiles<'_>,
    take: Take<'_>,
) -> Result<(), BackupError> {
    let readers = options.readers.max(1);
    let bytes_max = AHEAD_BYTES_MAX / (readers * (QUEUE + 1));
    std::thread::scope(|scope| {
        let (mut to_readers, mut from_readers) = (Vec::new(), Vec::new());
        for _ in 0..readers {
            let (to_reader, mine) = sync_channel(QUEUE);
            let (done, from_reader) = sync_channel(QUEUE);
            to_readers.push(to_reader);
            from_readers.push(from_reader);
            scope.spawn(move || serve(top, options.now, bytes_max, &mine, &done));
        }
        scope.spawn(move || feed(wanted, &to_readers));
        for turn in (0..readers).cycle() {
            // The first reader that has nothing more is the first that was given nothing more.
            let Ok(read) = from_readers[turn].recv() else { break };
            let (wanted, opened) = read?;
            take(wanted, opened)?;
        }
        // Whoever waits for room in a queue finds it gone.
        drop(from_readers);
        Ok(())
    })
}

/// Gives each reader its turn.
fn feed(wanted: WantedFiles<'_>, readers: &[SyncSender<Result<Wanted, BackupError>>]) {
    for (wanted, reader) in wanted.zip(readers.iter().cycle()) {
        let last = wanted.is_err();
        if reader.send(wanted).is_err() || last {
            return;
        }
    }
}

fn serve(
    top: &OwnedFd,
    now: Timestamp,
    bytes_max: usize,
    wanted: &Receiver<Result<Wanted, BackupError>>,
    done: &SyncSender<Read>,
) {
    while let Ok(next) = wanted.recv() {
        let read = next.map(|wanted| {
            let opened = open(top, now, bytes_max, &wanted);
            (wanted, opened)
        });
        if done.send(read).is_err() {
            return;
        }
    }
}

fn open(top: &OwnedFd, now: Timestamp, bytes_max: usize, wanted: &Wanted) -> io::Result<Opened<'static>> {
    let file = open_below(top, &wanted.found.path)?;
    let stat = entry::look(&file)?;
    let mut found = entry::found(wanted.found.path.clone(), &stat)
        .ok_or_else(|| io::Error::other("it is of no kind that is known"))?;
    let extended = entry::extended(&file)?;
    if found.kind != Kind::Regular {
        return Ok(Opened { found, extended, cut: Cut::Content, content: None });
    }
    distrust_if_young(&mut found, now);
    let mut content = FileContent::new(file, stat, now);
    content.read_ahead(bytes_max)?;
    Ok(Opened { found, extended, cut: Cut::Content, content: Some(Box::new(content)) })
}
