//! The digest behind a retry key: SipHash-2-4 with 128 bits of output, under a fixed key.
//!
//! The same on every machine and in every release, because keys are kept in a journal across
//! restarts. It makes accidents impossible for practical purposes. It is no secret: a client that
//! wants to collide with its own calls may, and only harms itself.

const KEY: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
const BLOCK_BYTES: usize = 8;

/// Takes bytes, gives sixteen.
pub(super) struct Digest {
    state: [u64; 4],
    block: [u8; BLOCK_BYTES],
    length: usize,
}

impl Digest {
    /// Of nothing yet.
    pub(super) fn new() -> Self {
        let state = [
            KEY[0] ^ 0x736f_6d65_7073_6575,
            KEY[1] ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            KEY[0] ^ 0x6c79_6765_6e65_7261,
            KEY[1] ^ 0x7465_6462_7974_6573,
        ];
        Self { state, block: [0; BLOCK_BYTES], length: 0 }
    }

    /// Adds bytes; how they are cut into calls makes no difference.
    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        let open = self.length % BLOCK_BYTES;
        self.length += bytes.len();
        if open > 0 {
            let taken = bytes.len().min(BLOCK_BYTES - open);
            self.block[open..open + taken].copy_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if open + taken < BLOCK_BYTES {
                return;
            }
            self.compress(u64::from_le_bytes(self.block));
        }
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        for block in blocks {
            self.compress(u64::from_le_bytes(*block));
        }
        self.block[..rest.len()].copy_from_slice(rest);
    }

    /// The digest of all that was written.
    pub(super) fn finish(mut self) -> [u8; 16] {
        let open = self.length % BLOCK_BYTES;
        self.block[open..].fill(0);
        self.block[BLOCK_BYTES - 1] = self.length as u8;
        self.compress(u64::from_le_bytes(self.block));
        self.state[2] ^= 0xee;
        let first = self.squeeze();
        self.state[1] ^= 0xdd;
        let second = self.squeeze();
        let mut out = [0; 16];
        out[..8].copy_from_slice(&first.to_le_bytes());
        out[8..].copy_from_slice(&second.to_le_bytes());
        out
    }

    fn compress(&mut self, block: u64) {
        self.state[3] ^= block;
        self.round();
        self.round();
        self.state[0] ^= block;
    }

    fn squeeze(&mut self) -> u64 {
        for _ in 0..4 {
            self.round();
        }
        self.state.iter().fold(0, |all, word| all ^ word)
    }

    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.state;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.state = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> u128 {
        let mut digest = Digest::new();
        digest.write(bytes);
        u128::from_be_bytes(digest.finish())
    }

    #[test]
    fn published_vectors_are_met() {
        assert_eq!(digest(&[]), 0xa381_7f04_ba25_a8e6_6df6_7214_c755_0293);
        assert_eq!(digest(&[0]), 0xda87_c1d8_6b99_af44_3476_5911_9b22_fc45);
    }

    #[test]
    fn how_the_bytes_are_cut_makes_no_difference() {
        let bytes: Vec<u8> = (0..100).collect();
        for cut in 0..bytes.len() {
            let mut parts = Digest::new();
            parts.write(&bytes[..cut]);
            parts.write(&bytes[cut..]);
            assert_eq!(u128::from_be_bytes(parts.finish()), digest(&bytes), "cut at {cut}");
        }
    }
}
