//! Records of fixed length on the local disk, sorted out by what they are about.
//!
//! A spill takes records in any order and gives them back part by part; all records that begin with the
//! same byte are in one part. Ids of chunks are as good as random, so parts are about equally long, and
//! what two spills say of one chunk is found in parts of one number. Memory: [`BUFFER_BYTES`] for each part
//! while it is written, one part while it is read.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Parts of a spill.
pub(super) const PARTS: usize = 256;
/// What is gathered of a part before it is written, in bytes.
const BUFFER_BYTES: usize = 16 << 10;

/// Records of `N` bytes, in [`PARTS`] files without names. See the head of this module.
#[derive(Debug)]
pub(super) struct Spill<const N: usize> {
    parts: Vec<BufWriter<File>>,
}

impl<const N: usize> Spill<N> {
    /// An empty spill in a folder; what is put there goes with the spill, also when the process dies.
    pub(super) fn create(folder: &Path) -> std::io::Result<Self> {
        let part = |_| Ok(BufWriter::with_capacity(BUFFER_BYTES, tempfile::tempfile_in(folder)?));
        Ok(Self { parts: (0..PARTS).map(part).collect::<std::io::Result<_>>()? })
    }

    /// Adds a record.
    pub(super) fn push(&mut self, record: &[u8; N]) -> std::io::Result<()> {
        self.parts[usize::from(record[0])].write_all(record)
    }

    /// The records of one part, sorted.
    pub(super) fn sorted(&mut self, part: usize) -> std::io::Result<Vec<[u8; N]>> {
        let writer = &mut self.parts[part];
        writer.flush()?;
        let file = writer.get_mut();
        let bytes = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        let mut records = vec![[0; N]; bytes as usize / N];
        file.read_exact(records.as_flattened_mut())?;
        records.sort_unstable();
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_record_comes_back_in_the_part_of_its_first_byte() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut spill = Spill::<4>::create(folder.path()).expect("room");
        let record = |number: u32| (number.wrapping_mul(0x9e37_79b9)).to_be_bytes();
        let mut meant = BTreeSet::new();
        for number in 0..50_000 {
            spill.push(&record(number)).expect("room");
            meant.insert(record(number));
        }
        let mut found = BTreeSet::new();
        for part in 0..PARTS {
            let records = spill.sorted(part).expect("there");
            assert!(records.is_sorted());
            assert!(records.iter().all(|record| usize::from(record[0]) == part));
            found.extend(records);
        }
        assert_eq!(found, meant);
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0, "files without names");
    }
}
