//! What random tests of the namespace draw from a seed.

use super::support::noise;

/// xorshift64*: small, and the same everywhere.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub fn name(&mut self) -> Vec<u8> {
        // Few names, so that they meet; some of them not UTF-8.
        [b"n\xff".as_slice(), &[b'a' + self.below(12) as u8]].concat()
    }

    pub fn data(&mut self) -> Vec<u8> {
        let length = match self.below(10) {
            0 => self.below(200_000),
            1..=3 => self.below(20_000),
            _ => self.below(500),
        };
        if self.below(3) == 0 { vec![b'x'; length] } else { noise(self.next(), length) }
    }
}
