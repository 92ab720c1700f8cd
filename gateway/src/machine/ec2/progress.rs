//! How far a copy of a disk is, in a file, so that a copy that was broken off goes on where it was.
//!
//! ```text
//! ec2-disk0.copy    JSON: the snapshot, what it is over, whose content it gets; written durably before the first block is sent
//! ec2-disk0.ended   how many copies of the disk have ended, whichever way: each has a token of its own by that; written durably before
//!                   the other two go, and stays
//! ec2-disk0.blocks  a record of 40 bytes for each block that was sent: number u32, SHA-256 [32], CRC32C of both u32; big endian
//! ```
//!
//! A digest of zeros means that the block must be sent (again), since the copy turned to another head. Records are written after the
//! block was taken, without waiting for the disk: one that a power cut loses is sent again, which changes nothing. That the copy may have
//! turned meanwhile to a head in which the block is as below, and would not be sent, is why a turn notes all blocks that it changes: also those
//! of which nobody knows whether they were sent. A record that was written in part, or is no record, ends the file.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_replicator::store::durable_file;

const RECORD_BYTES: usize = 40;

/// What a copy that was begun is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// The disk, as tags call it.
    pub(super) disk: String,
    /// The snapshot that it becomes.
    pub(super) snapshot: String,
    /// The head whose content the snapshot below it has; none if it lies over nothing.
    pub(super) below: Option<String>,
    /// The head whose content it gets.
    pub(super) head: String,
    /// The size of the snapshot.
    pub(super) gib: i32,
    /// Whether EBS was asked to end the snapshot, which it then may have done: the copy turns to no other head before that is known.
    #[serde(default)]
    pub(super) is_closing: bool,
    /// Whether the snapshot takes no more blocks.
    pub(super) is_sealed: bool,
}

/// The SHA-256 of a block.
pub(super) type Digest = [u8; 32];

/// See the head of this module.
pub(super) struct Progress {
    place: PathBuf,
    pub(super) begun: Begun,
    /// Blocks that were sent; without a digest: with a content that is not wanted any more.
    pub(super) sent: BTreeMap<u32, Option<Digest>>,
    pub(super) records: File,
}

impl Progress {
    /// What an earlier attempt has noted; none if there was none.
    pub(super) fn open(folder: &Path, disk_at: usize) -> io::Result<Option<Self>> {
        let place = folder.join(format!("ec2-disk{disk_at}.copy"));
        let begun: Begun = match std::fs::read(&place) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let blocks = place.with_extension("blocks");
        let bytes = std::fs::read(&blocks).unwrap_or_default();
        let records: Vec<(u32, Option<Digest>)> = bytes.as_chunks().0.iter().map_while(decode).collect();
        let file = OpenOptions::new().create(true).append(true).open(&blocks)?;
        file.set_len((records.len() * RECORD_BYTES) as u64)?;
        Ok(Some(Self { place, begun, sent: records.into_iter().collect(), records: file }))
    }

    /// Begins a copy, durably.
    pub(super) fn begin(folder: &Path, disk_at: usize, begun: Begun) -> io::Result<Self> {
        let place = folder.join(format!("ec2-disk{disk_at}.copy"));
        Self::remove(folder, disk_at)?;
        let records = File::create(place.with_extension("blocks"))?;
        let progress = Self { place, begun, sent: BTreeMap::new(), records };
        progress.save()?;
        Ok(progress)
    }

    /// Makes a change of `begun` durable.
    pub(super) fn save(&self) -> io::Result<()> {
        durable_file::replace(&self.place, &serde_json::to_vec(&self.begun)?)
    }

    /// From now on it gets the content of another head, in which some blocks differ; durably. All of those are to be sent.
    pub(super) fn turn_to(&mut self, head: &str, differing: impl Iterator<Item = u32>) -> io::Result<()> {
        for block in differing {
            self.sent.insert(block, None);
        }
        let bytes: Vec<u8> = self.sent.iter().flat_map(|(block, digest)| encode(*block, *digest)).collect();
        let blocks = self.place.with_extension("blocks");
        durable_file::replace(&blocks, &bytes)?;
        self.records = OpenOptions::new().append(true).open(&blocks)?;
        head.clone_into(&mut self.begun.head);
        self.save()
    }

    /// A block was sent.
    pub(super) fn note(&mut self, block: u32, digest: Digest) -> io::Result<()> {
        self.records.write_all(&encode(block, Some(digest)))?;
        self.sent.insert(block, Some(digest));
        Ok(())
    }

    /// How many copies of a disk have ended.
    pub(super) fn ended(folder: &Path, disk_at: usize) -> io::Result<u64> {
        match std::fs::read_to_string(ended(folder, disk_at)) {
            Ok(text) => text.trim().parse().map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// One more has ended, durably.
    pub(super) fn count_end(folder: &Path, disk_at: usize) -> io::Result<()> {
        let count = Self::ended(folder, disk_at)? + 1;
        durable_file::replace(&ended(folder, disk_at), count.to_string().as_bytes())
    }

    /// Forgets a copy, if there is one: it has ended.
    pub(super) fn remove(folder: &Path, disk_at: usize) -> io::Result<()> {
        if folder.join(format!("ec2-disk{disk_at}.copy")).try_exists()? {
            Self::count_end(folder, disk_at)?;
        }
        for ending in ["copy", "blocks"] {
            match std::fs::remove_file(folder.join(format!("ec2-disk{disk_at}.{ending}"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn ended(folder: &Path, disk_at: usize) -> PathBuf {
    folder.join(format!("ec2-disk{disk_at}.ended"))
}

fn encode(block: u32, digest: Option<Digest>) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..4].copy_from_slice(&block.to_be_bytes());
    record[4..36].copy_from_slice(&digest.unwrap_or_default());
    let sum = crc32c::crc32c(&record[..36]);
    record[36..].copy_from_slice(&sum.to_be_bytes());
    record
}

fn decode(record: &[u8; RECORD_BYTES]) -> Option<(u32, Option<Digest>)> {
    let (block, digest): (_, &Digest) = (record.first_chunk()?, record[4..36].first_chunk()?);
    let is_record = crc32c::crc32c(&record[..36]).to_be_bytes() == record[36..];
    let digest = Some(*digest).filter(|digest| *digest != Digest::default());
    is_record.then(|| (u32::from_be_bytes(*block), digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> Begun {
        Begun {
            disk: "d".into(),
            snapshot: "snap-1".into(),
            below: None,
            head: "h1".into(),
            gib: 1,
            is_closing: false,
            is_sealed: false,
        }
    }

    #[test]
    fn what_was_sent_is_known_again_up_to_a_record_that_is_torn() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        assert!(Progress::open(folder, 0).expect("readable").is_none());
        let mut progress = Progress::begin(folder, 0, begun()).expect("begun");
        for block in 0..5u8 {
            progress.note(block.into(), [block + 1; 32]).expect("noted");
        }
        let sent = progress.sent.clone();
        drop(progress);
        let blocks = folder.join("ec2-disk0.blocks");
        let whole = std::fs::read(&blocks).expect("records");
        std::fs::write(&blocks, [&whole[..], &whole[..17]].concat()).expect("torn");
        let mut again = Progress::open(folder, 0).expect("readable").expect("begun");
        assert_eq!((again.begun.clone(), again.sent.clone()), (begun(), sent));
        again.note(9, [9; 32]).expect("noted");
        let mut damaged = std::fs::read(&blocks).expect("records");
        damaged[2 * RECORD_BYTES + 7] ^= 1;
        std::fs::write(&blocks, damaged).expect("damaged");
        let left = Progress::open(folder, 0).expect("readable").expect("begun").sent;
        assert_eq!(left.into_keys().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_copy_that_turns_to_another_head_sends_again_what_is_of_another_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let mut progress = Progress::begin(folder, 3, begun()).expect("begun");
        for block in [4, 5, 6] {
            progress.note(block, [7; 32]).expect("noted");
        }
        progress.turn_to("h2", [5, 8].into_iter()).expect("turned");
        progress.note(9, [9; 32]).expect("noted");
        let again = Progress::open(folder, 3).expect("readable").expect("begun");
        assert_eq!(again.begun.head, "h2");
        let sent = again.sent.into_iter().map(|(block, digest)| (block, digest.is_some()));
        assert_eq!(sent.collect::<Vec<_>>(), [(4, true), (5, false), (6, true), (8, false), (9, true)]);
        Progress::remove(folder, 3).expect("removed");
        assert!(Progress::open(folder, 3).expect("readable").is_none());
        Progress::remove(folder, 3).expect("there is none");
        assert_eq!(Progress::ended(folder, 3).expect("readable"), 1, "it is counted once");
    }
}
