//! Zstandard, with what does not compress left as it is.
//!
//! A [`Compressor`] and a [`Decompressor`] hold a context and scratch buffers each: keep one of each
//! per worker, they are costly to make and cheap to reuse. Their memory is bounded by the greatest
//! frame. Neither trusts a length in compressed bytes: the plaintext's length is told from outside.

use zstd::zstd_safe::find_frame_compressed_size;

use crate::error::{Cause, Error, Result, malformed};

/// Compression has to save one part in this many, else the plaintext is stored as it is: reading it
/// then costs no decompression.
const SAVING_PARTS: usize = 32;

/// Plaintexts from this length on are sampled before they are compressed, in bytes.
const SAMPLED_BYTES_MIN: usize = 32 << 10;
/// How many samples are taken, evenly spread, and their length in bytes.
const SAMPLES: usize = 16;
const SAMPLE_BYTES: usize = 512;
/// Bytes look random when equal pairs are by less than one part in this many more frequent than by chance.
/// Coding bytes so even by their frequency saves about 1 %.
const EXCESS_PARTS: u64 = 8;

const _: () = assert!(SAMPLES * SAMPLE_BYTES * 4 <= SAMPLED_BYTES_MIN, "sampling is cheap");

/// How a frame's plaintext is encoded before it is sealed. The number is part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// As it is.
    Stored = 0,
    /// One Zstandard frame without dictionary.
    Zstd = 1,
}

impl Encoding {
    /// The encoding with this number; `None` for a number that none has.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Stored, Self::Zstd].into_iter().find(|encoding| *encoding as u8 == number)
    }
}

/// A Zstandard level: from -7, fastest, to 19, smallest. 0 means 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompressionLevel(i32);

impl CompressionLevel {
    /// Fastest level.
    pub const MIN: i32 = -7;
    /// Level with the smallest output. Greater ones want memory beyond the frame.
    pub const MAX: i32 = 19;

    /// The level with this number; `Misuse` outside of [`CompressionLevel::MIN`] to
    /// [`CompressionLevel::MAX`].
    pub fn new(level: i32) -> Result<Self> {
        if (Self::MIN..=Self::MAX).contains(&level) {
            return Ok(Self(level));
        }
        let allowed = format!("{} to {}", Self::MIN, Self::MAX);
        Err(Cause::Setting { field: "compression level", value: level.into(), allowed }.into())
    }

    /// Its number.
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl Default for CompressionLevel {
    fn default() -> Self {
        Self(3)
    }
}

/// Compresses one plaintext after the other.
pub struct Compressor {
    context: zstd::bulk::Compressor<'static>,
    scratch: Vec<u8>,
    /// The memory of an earlier frame, for the next one.
    frame: Vec<u8>,
}

impl Compressor {
    /// A compressor at this level.
    pub fn new(level: CompressionLevel) -> Self {
        let context = zstd::bulk::Compressor::new(level.0).expect("the level is in range");
        Self { context, scratch: Vec::new(), frame: Vec::new() }
    }

    /// Memory for a frame, of any content.
    pub(crate) fn take_frame_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.frame)
    }

    /// Keeps the memory of a frame that is of no more use.
    pub(crate) fn give_frame_buffer(&mut self, frame: Vec<u8>) {
        self.frame = frame;
    }

    /// Encodes `plaintext`: compressed if that saves enough, else as it is.
    ///
    /// A long plaintext is sampled first, and one whose bytes look random is not compressed in vain. Of
    /// such bytes, repetitions within a frame are missed; dedup finds those between chunks.
    pub fn encode<'a>(&'a mut self, plaintext: &'a [u8]) -> (Encoding, &'a [u8]) {
        if !looks_random(plaintext) && self.compress(plaintext) {
            return (Encoding::Zstd, &self.scratch);
        }
        (Encoding::Stored, plaintext)
    }

    /// Compresses into the scratch buffer, and tells whether that saves enough.
    fn compress(&mut self, plaintext: &[u8]) -> bool {
        self.scratch.clear();
        // What does not compress does not fit the room given, and ends in an error.
        self.scratch.reserve_exact(plaintext.len());
        let limit = plaintext.len() - plaintext.len().div_ceil(SAVING_PARTS);
        self.context.compress_to_buffer(plaintext, &mut self.scratch).is_ok_and(|bytes| bytes <= limit)
    }
}

/// Whether samples of a long plaintext have their bytes spread as evenly as random ones.
fn looks_random(plaintext: &[u8]) -> bool {
    if plaintext.len() < SAMPLED_BYTES_MIN {
        return false;
    }
    let mut counts = [0u64; 256];
    for from in plaintext.chunks(plaintext.len() / SAMPLES).take(SAMPLES) {
        from[..SAMPLE_BYTES].iter().for_each(|&byte| counts[usize::from(byte)] += 1);
    }
    let equal_pairs: u64 = counts.iter().map(|count| count * count).sum();
    let sampled = (SAMPLES * SAMPLE_BYTES) as u64;
    let by_chance = sampled + sampled * sampled / 256;
    equal_pairs <= by_chance + by_chance / EXCESS_PARTS
}

/// Decompresses one frame after the other.
pub struct Decompressor {
    context: zstd::bulk::Decompressor<'static>,
    /// Holds the encoded bytes between decryption and decompression.
    pub(crate) scratch: Vec<u8>,
}

impl Decompressor {
    /// A decompressor.
    pub fn new() -> Self {
        let context = zstd::bulk::Decompressor::new().expect("no dictionary that could be malformed");
        Self { context, scratch: Vec::new() }
    }

    /// Decompresses the scratch buffer, which holds one Zstandard frame of exactly `plaintext_bytes`
    /// bytes and then zeros.
    pub(crate) fn decode_scratch(&mut self, plaintext_bytes: usize) -> Result<Vec<u8>> {
        let length = find_frame_compressed_size(&self.scratch).map_err(|_| not_zstd())?;
        let (encoded, padding) = self.scratch.split_at_checked(length).ok_or_else(not_zstd)?;
        check_padding(padding)?;
        let mut plaintext = Vec::with_capacity(plaintext_bytes);
        self.context.decompress_to_buffer(encoded, &mut plaintext).map_err(|_| not_zstd())?;
        if plaintext.len() != plaintext_bytes {
            let why = format!("it holds {} bytes, its header says {plaintext_bytes}", plaintext.len());
            return Err(malformed("compressed frame", why));
        }
        Ok(plaintext)
    }
}

impl Default for Decompressor {
    fn default() -> Self {
        Self::new()
    }
}

/// Refuses padding that is not zeros: bytes that nobody asked for have no place in a frame.
pub(crate) fn check_padding(padding: &[u8]) -> Result<()> {
    if padding.iter().any(|&byte| byte != 0) {
        return Err(malformed("frame", "its padding is not zeros"));
    }
    Ok(())
}

fn not_zstd() -> Error {
    malformed("compressed frame", "it is no Zstandard frame of the stated length")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ErrorKind;
    use crate::testing::noise;

    fn decode(encoded: &[u8], plaintext_bytes: usize) -> Result<Vec<u8>> {
        let mut decompressor = Decompressor::new();
        decompressor.scratch = encoded.to_vec();
        decompressor.decode_scratch(plaintext_bytes)
    }

    #[test]
    fn noise_is_stored_and_text_is_compressed_at_every_level() {
        let (noise, text) = (noise(1, 50_000), b"all work and no play ".repeat(500));
        for level in CompressionLevel::MIN..=CompressionLevel::MAX {
            let mut compressor = Compressor::new(CompressionLevel::new(level).expect("in range"));
            assert_eq!(compressor.encode(&noise).0, Encoding::Stored);
            let (encoding, encoded) = compressor.encode(&text);
            assert_eq!(encoding, Encoding::Zstd);
            assert_eq!(decode(encoded, text.len()).expect("whole"), text);
        }
    }

    #[test]
    fn a_plaintext_of_which_a_tenth_compresses_is_compressed() {
        let mut mixed = noise(1, 256 << 10);
        mixed[100_000..130_000].fill(b' ');
        let mut compressor = Compressor::new(CompressionLevel::default());
        let (encoding, encoded) = compressor.encode(&mixed);
        assert_eq!(encoding, Encoding::Zstd);
        assert_eq!(decode(encoded, mixed.len()).expect("whole"), mixed);
    }

    #[test]
    fn levels_out_of_range_are_refused() {
        for level in [-8, 20] {
            assert_eq!(CompressionLevel::new(level).expect_err("refused").kind(), ErrorKind::Misuse);
        }
    }

    #[test]
    fn only_the_exact_length_and_zero_padding_decode() {
        let text = [7; 1000];
        let mut compressor = Compressor::new(CompressionLevel::default());
        let encoded = compressor.encode(&text).1.to_vec();
        assert!(decode(&encoded, 999).is_err());
        assert!(decode(&encoded, 1001).is_err());
        assert!(decode(&[], 1000).is_err());
        assert!(decode(&encoded[..encoded.len() - 1], 1000).is_err());
        assert_eq!(decode(&[&encoded[..], &[0; 9]].concat(), 1000).expect("padded"), text);
        assert!(decode(&[&encoded[..], &[0, 1]].concat(), 1000).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic_or_yield_another_length(encoded: Vec<u8>, bytes in 0..5000usize) {
            if let Ok(plaintext) = decode(&encoded, bytes) {
                prop_assert_eq!(plaintext.len(), bytes);
            }
        }
    }
}
