//! Where file data is cut into chunks.
//!
//! Content is cut by FastCDC (2020 form, normalisation level 2) over a gear table of 256 random
//! numbers that the domain's cut key gives as a whole: who lacks the key cannot tell from content
//! where its cuts lie. Volumes are cut at multiples of a fixed size.
//!
//! Promises: the cuts of a sequence of bytes depend on these bytes, the key and the sizes only, never
//! on how the bytes arrive. A cut depends on the bytes from the previous cut on, at most
//! [`Cutter::lookahead_bytes`] of them: from any common cut on, equal bytes are cut equally.

use fastcdc::v2020::{Normalization, cut_gear, select_masks};

use crate::error::{Cause, Result};
use crate::params::{CHUNK_BYTES_MAX, ChunkParams};
use crate::{DomainKeys, SecretKey};

/// Smallest fixed chunk, in bytes: a sector.
pub const FIXED_CHUNK_BYTES_MIN: u32 = 512;

/// Finds the cuts in a sequence of bytes.
#[derive(Clone)]
pub struct Cutter(Kind);

#[derive(Clone)]
enum Kind {
    Content(Box<Gear>),
    Fixed { bytes: usize },
}

/// The tables of FastCDC. The second table holds the first, shifted left by one: the algorithm rolls
/// two bytes a step.
#[derive(Clone)]
struct Gear {
    params: ChunkParams,
    mask_strict: u64,
    mask_loose: u64,
    table: [u64; 256],
    table_shifted: [u64; 256],
}

impl Cutter {
    /// Cuts by content.
    pub fn content(keys: &DomainKeys, params: ChunkParams) -> Self {
        Self(Kind::Content(Box::new(Gear::new(keys.cut_key(), params))))
    }

    /// Cuts at multiples of `bytes`: a power of two, from [`FIXED_CHUNK_BYTES_MIN`] to
    /// [`CHUNK_BYTES_MAX`](crate::CHUNK_BYTES_MAX). The first byte given must lie at a multiple.
    pub fn fixed(bytes: u32) -> Result<Self> {
        if !bytes.is_power_of_two() || !(FIXED_CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&bytes) {
            let allowed = format!("a power of two from {FIXED_CHUNK_BYTES_MIN} to {CHUNK_BYTES_MAX} bytes");
            return Err(Cause::Setting { field: "fixed chunk size", value: bytes.into(), allowed }.into());
        }
        Ok(Self(Kind::Fixed { bytes: bytes as usize }))
    }

    /// How many bytes decide a cut at most. A window this long always has a cut.
    pub fn lookahead_bytes(&self) -> usize {
        match &self.0 {
            Kind::Content(gear) => gear.params.max() as usize,
            Kind::Fixed { bytes } => *bytes,
        }
    }

    /// Length of the chunk that begins at the start of `window`.
    ///
    /// `window` begins at the previous cut; `end_of_data` says that nothing follows it. `None` when the
    /// window is too short to decide: call again with more bytes. Never `None` for a window of
    /// [`Cutter::lookahead_bytes`], nor at the end of data unless the window is empty.
    pub fn next_cut(&self, window: &[u8], end_of_data: bool) -> Option<usize> {
        let cut = match &self.0 {
            Kind::Content(gear) => gear.cut(window),
            Kind::Fixed { bytes } => window.len().min(*bytes),
        };
        // A cut inside the window is decided by content. One at its end may be for want of bytes.
        let decided = cut < window.len() || end_of_data || window.len() >= self.lookahead_bytes();
        (decided && cut > 0).then_some(cut)
    }

    /// All chunks of `data`, which is whole. They rejoin to `data`; none is empty.
    pub fn chunks<'a>(&'a self, data: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = data;
        std::iter::from_fn(move || {
            let (chunk, after) = rest.split_at(self.next_cut(rest, true)?);
            rest = after;
            Some(chunk)
        })
    }
}

impl std::fmt::Debug for Cutter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::Content(gear) => f.debug_tuple("Cutter").field(&gear.params).finish(),
            Kind::Fixed { bytes } => f.debug_struct("Cutter").field("fixed", bytes).finish(),
        }
    }
}

impl Gear {
    fn new(key: &SecretKey, params: ChunkParams) -> Self {
        let (mask_strict, mask_loose) = select_masks(params.avg() as usize, Normalization::Level2);
        let table = gear_table(key);
        Self { params, mask_strict, mask_loose, table, table_shifted: table.map(|gear| gear << 1) }
    }

    fn cut(&self, window: &[u8]) -> usize {
        let (_, cut) = cut_gear(
            window,
            self.params.min() as usize,
            self.params.avg() as usize,
            self.params.max() as usize,
            self.mask_strict,
            self.mask_loose,
            self.mask_strict << 1,
            self.mask_loose << 1,
            &self.table,
            &self.table_shifted,
        );
        cut
    }
}

/// 256 little-endian numbers: the first 2,048 bytes of BLAKE3's extended output, keyed with the cut
/// key, over nothing.
fn gear_table(key: &SecretKey) -> [u64; 256] {
    let mut stream = blake3::Hasher::new_keyed(key.as_bytes()).finalize_xof();
    std::array::from_fn(|_| {
        let mut number = [0; 8];
        stream.fill(&mut number);
        u64::from_le_bytes(number)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ErrorKind;
    use crate::testing::{keys, noise, other_keys};

    fn cutters() -> [Cutter; 3] {
        let small = ChunkParams::new(64, 256, 1024).expect("valid");
        [
            Cutter::content(&keys(), small),
            Cutter::content(&keys(), ChunkParams::default()),
            Cutter::fixed(512).expect("valid"),
        ]
    }

    /// Cuts as a stream would that receives these many bytes at a time.
    fn cut_lengths_in_steps(cutter: &Cutter, data: &[u8], steps: &[usize]) -> Vec<usize> {
        let (mut start, mut seen, mut lengths) = (0, 0, Vec::new());
        for step in steps.iter().cycle() {
            seen = data.len().min(seen + step);
            while let Some(cut) = cutter.next_cut(&data[start..seen], seen == data.len()) {
                lengths.push(cut);
                start += cut;
            }
            if seen == data.len() {
                break;
            }
        }
        lengths
    }

    proptest! {
        #[test]
        fn pieces_rejoin_and_no_buffering_moves_a_cut(
            seed: u64, length in 0..20_000usize, run in 0..4000usize, steps in prop::collection::vec(1..3000usize, 1..6),
        ) {
            let mut data = noise(seed, length);
            data.extend(std::iter::repeat_n(0, run));
            for cutter in cutters() {
                let whole: Vec<_> = cutter.chunks(&data).collect();
                prop_assert_eq!(&whole.concat(), &data);
                let lengths: Vec<_> = whole.iter().map(|chunk| chunk.len()).collect();
                prop_assert!(lengths.iter().all(|&length| length <= cutter.lookahead_bytes()));
                prop_assert_eq!(lengths, cut_lengths_in_steps(&cutter, &data, &steps));
            }
        }
    }

    #[test]
    fn cuts_find_themselves_again_after_an_insertion() {
        let cutter = &cutters()[0];
        let data = noise(1, 100_000);
        let changed = [&data[..500], b"something new", &data[500..]].concat();
        let old: std::collections::HashSet<_> = cutter.chunks(&data).collect();
        let new = cutter.chunks(&changed).filter(|chunk| !old.contains(chunk)).count();
        assert!(new <= 4, "{new} new chunks of {}", old.len());
    }

    #[test]
    fn another_key_cuts_elsewhere() {
        let params = ChunkParams::new(64, 256, 1024).expect("valid");
        let data = noise(2, 100_000);
        let cuts = |keys: &DomainKeys| -> std::collections::HashSet<usize> {
            let mut end = 0;
            Cutter::content(keys, params)
                .chunks(&data)
                .map(|chunk| {
                    end += chunk.len();
                    end
                })
                .collect()
        };
        let (ours, theirs) = (cuts(&keys()), cuts(&other_keys()));
        assert!(ours.intersection(&theirs).count() * 10 < ours.len());
    }

    #[test]
    fn the_average_is_near_what_was_asked() {
        let params = ChunkParams::from_average(4096).expect("valid");
        let data = noise(3, 8 << 20);
        let count = Cutter::content(&keys(), params).chunks(&data).count();
        let average = data.len() / count;
        assert!((3000..6500).contains(&average), "{average}");
    }

    #[test]
    fn fixed_sizes_that_are_no_power_of_two_in_range_are_refused() {
        for bytes in [0, 256, 513, 3 << 10, 32 << 20] {
            assert_eq!(Cutter::fixed(bytes).expect_err("refused").kind(), ErrorKind::Misuse);
        }
    }

    #[test]
    fn an_empty_window_has_no_cut() {
        for cutter in cutters() {
            assert_eq!(cutter.next_cut(&[], true), None);
            assert_eq!(cutter.chunks(&[]).count(), 0);
        }
    }
}
