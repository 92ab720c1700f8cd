//! Randomness that can be repeated: every random test prints its seed and accepts one.

/// The environment variable that gives a seed.
pub const VARIABLE: &str = "TIDEGATE_SEED";

/// Pseudo-random numbers from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The numbers of one seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The numbers of the seed in the environment, or else of a new one; prints which.
    pub fn announced(test: &str) -> Self {
        let given = std::env::var(VARIABLE).ok().map(|text| text.parse().expect("TIDEGATE_SEED is a number"));
        let seed = given.unwrap_or_else(|| getrandom::u64().expect("the system has randomness") >> 16);
        println!("{test}: seed {seed} (again with {VARIABLE}={seed})");
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// So many random bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        words.take(length).collect()
    }
}
