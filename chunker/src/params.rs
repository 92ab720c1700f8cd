//! Chunk sizes: a type that cannot hold sizes that the cutter does not take.
//!
//! The sizes are part of a repository's `config`: two gateways that cut with other sizes find no
//! duplicates of each other. They are not secret.

use crate::error::{Cause, Result};

/// Smallest minimum size of a chunk, in bytes.
pub const CHUNK_MIN_BYTES_MIN: u32 = 64;
/// Greatest minimum size of a chunk, in bytes.
pub const CHUNK_MIN_BYTES_MAX: u32 = 1 << 20;
/// Smallest average size of a chunk, in bytes.
pub const CHUNK_AVG_BYTES_MIN: u32 = 256;
/// Greatest average size of a chunk, in bytes.
pub const CHUNK_AVG_BYTES_MAX: u32 = 4 << 20;
/// Smallest maximum size of a chunk, in bytes.
pub const CHUNK_MAX_BYTES_MIN: u32 = 1024;
/// Greatest size of a chunk, in bytes. A chunk of this size is a frame of its own.
pub const CHUNK_BYTES_MAX: u32 = 16 << 20;

/// Minimum, average and maximum size of a chunk in bytes: each even, `min < avg < max`.
///
/// The last chunk of a file may be smaller than the minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkParams {
    min: u32,
    avg: u32,
    max: u32,
}

impl ChunkParams {
    /// Sizes in bytes. Refuses (`Misuse`) a size that is odd, out of range or out of order; the error
    /// names the field, the value and the allowed range.
    pub fn new(min: u32, avg: u32, max: u32) -> Result<Self> {
        check("chunk minimum", min, CHUNK_MIN_BYTES_MIN, CHUNK_MIN_BYTES_MAX)?;
        check("chunk average", avg, CHUNK_AVG_BYTES_MIN.max(min + 2), CHUNK_AVG_BYTES_MAX)?;
        check("chunk maximum", max, CHUNK_MAX_BYTES_MIN.max(avg + 2), CHUNK_BYTES_MAX)?;
        Ok(Self { min, avg, max })
    }

    /// Sizes with the usual proportions: a quarter of the average, the average, four times the average.
    pub fn from_average(avg: u32) -> Result<Self> {
        check("chunk average", avg, 4 * CHUNK_MIN_BYTES_MIN, CHUNK_AVG_BYTES_MAX)?;
        Self::new((avg / 4) & !1, avg, avg * 4)
    }

    /// Minimum in bytes: no cut before it.
    pub const fn min(&self) -> u32 {
        self.min
    }

    /// Average that the cutter aims at, in bytes.
    pub const fn avg(&self) -> u32 {
        self.avg
    }

    /// Maximum in bytes: a cut here whatever the content.
    pub const fn max(&self) -> u32 {
        self.max
    }
}

impl Default for ChunkParams {
    /// 64 KiB on average, between 16 KiB and 256 KiB.
    fn default() -> Self {
        Self { min: 16 << 10, avg: 64 << 10, max: 256 << 10 }
    }
}

fn check(field: &'static str, value: u32, low: u32, high: u32) -> Result<()> {
    if value.is_multiple_of(2) && (low..=high).contains(&value) {
        return Ok(());
    }
    let allowed = format!("an even number of bytes from {low} to {high}");
    Err(Cause::Setting { field, value: value.into(), allowed }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn the_default_is_valid() {
        let sizes = ChunkParams::default();
        assert_eq!(ChunkParams::new(sizes.min(), sizes.avg(), sizes.max()).expect("valid"), sizes);
        assert_eq!(ChunkParams::from_average(sizes.avg()).expect("valid"), sizes);
    }

    #[test]
    fn sizes_out_of_range_out_of_order_or_odd_are_refused_by_name() {
        for (min, avg, max, field) in [
            (62, 256, 1024, "chunk minimum"),
            (65, 256, 1024, "chunk minimum"),
            (u32::MAX, 256, 1024, "chunk minimum"),
            (64, 254, 1024, "chunk average"),
            (512, 512, 1024, "chunk average"),
            (64, u32::MAX - 1, 1024, "chunk average"),
            (64, 256, 1022, "chunk maximum"),
            (64, 2048, 2048, "chunk maximum"),
            (64, 2048, (16 << 20) + 2, "chunk maximum"),
        ] {
            let error = ChunkParams::new(min, avg, max).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Misuse);
            assert!(error.to_string().starts_with(field), "{error}");
        }
        for avg in [0, 255, u32::MAX] {
            assert!(ChunkParams::from_average(avg).is_err());
        }
    }
}
