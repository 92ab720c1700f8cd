//! File handles: what a client keeps to name a file, through restarts, upgrades and moves.
//!
//! ```text
//!  0  version u8 = 1      1  reserved u8 = 0
//!  2  share id, 16 bytes
//! 18  view u64            0 live, 1 the moments of a directory, others a moment
//! 26  inode u64          34  generation u64
//! 42  check, 16 bytes: keyed BLAKE3 of the 42 bytes before it, cut short
//! ```
//!
//! Numbers are big-endian. The key of the check comes from the share's domain and its *era*, so every
//! gateway that serves the share makes and takes the same handles, a forged one is worthless, and a new
//! era (after the map went back in time) makes all older handles stale at once.

use bytes::Bytes;
use tidegate_chunker::{SecretKey, ShareId};
use tidegate_protocols::view::{FsError, HANDLE_BYTES_MAX, Handle};
use tidegate_replicator::map::InodeNumber;

const VERSION: u8 = 1;
const BODY_BYTES: usize = 42;
const CHECK_BYTES: usize = 16;
const _: () = assert!(BODY_BYTES + CHECK_BYTES <= HANDLE_BYTES_MAX);

/// What a handle says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHandle {
    /// Which share.
    pub share: ShareId,
    /// Live, the moments of a directory, or a moment: see [`super::Moment`].
    pub view: u64,
    /// Which inode.
    pub inode: InodeNumber,
    /// Its generation.
    pub generation: u64,
}

impl FileHandle {
    /// The view that changes.
    pub const LIVE: u64 = 0;
    /// The moments of a directory.
    pub const MOMENTS: u64 = 1;

    /// The handle as it travels.
    pub fn encode(&self, key: &SecretKey) -> Handle {
        let mut out = Vec::with_capacity(BODY_BYTES + CHECK_BYTES);
        out.extend_from_slice(&[VERSION, 0]);
        out.extend_from_slice(self.share.as_bytes());
        for number in [self.view, self.inode.0, self.generation] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        let check = key.digest(&out);
        out.extend_from_slice(&check[..CHECK_BYTES]);
        Handle::new(Bytes::from(out)).expect("its length is checked above")
    }

    /// What a handle claims; nothing of it can be trusted but the form.
    pub fn decode_unchecked(handle: &Handle) -> Result<Self, FsError> {
        let body = handle.as_bytes();
        if body.len() != BODY_BYTES + CHECK_BYTES || body[..2] != [VERSION, 0] {
            return Err(FsError::BadHandle);
        }
        let number = |at: usize| {
            body[at..].first_chunk().map(|bytes| u64::from_be_bytes(*bytes)).ok_or(FsError::BadHandle)
        };
        Ok(Self {
            share: ShareId::from_slice(&body[2..18]).ok_or(FsError::BadHandle)?,
            view: number(18)?,
            inode: InodeNumber(number(26)?),
            generation: number(34)?,
        })
    }

    /// Refuses a handle that was not made with this key: forged, or of an era that is over.
    pub fn verify(&self, handle: &Handle, key: &SecretKey) -> Result<(), FsError> {
        let genuine = self.encode(key);
        let differences =
            genuine.as_bytes().iter().zip(handle.as_bytes()).fold(0, |all, (a, b)| all | (a ^ b));
        if differences == 0 { Ok(()) } else { Err(FsError::Stale) }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_chunker::{DomainId, DomainKeys, RepositoryId, SealEpoch};

    use super::*;

    /// View, inode, generation, and the handle of a share from the root secret of its domain and its era on. Worked out by a
    /// program of its own from the layout above and the specification of BLAKE3.
    const FROZEN: &[(u64, u64, u64, &str)] = &[
        (
            FileHandle::LIVE,
            1,
            1,
            "0100a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\
             000000000000000000000000000000010000000000000001f32f6d78d1aa345091139255e6507e81",
        ),
        (
            FileHandle::MOMENTS,
            0x1122_3344_5566_7788,
            0xff00_0000_0000_0002,
            "0100a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\
             00000000000000011122334455667788ff000000000000026fdf601684dad3d5d06058eb73d30f77",
        ),
        (
            0x8000_0000_0000_0003,
            7,
            u64::MAX,
            "0100a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\
             80000000000000030000000000000007ffffffffffffffff2e63af20ca2b7346010f6af86596af77",
        ),
    ];

    #[test]
    fn handles_that_clients_have_are_what_they_were() {
        let (domain, seal) = (SecretKey::new([5; 32]), (SealEpoch(1), SecretKey::new([6; 32])));
        let (repository, id) = (RepositoryId::new([1; 16]), DomainId::new([2; 16]));
        let keys = DomainKeys::new(repository, id, &domain, vec![seal]).expect("one epoch");
        let era: u64 = 0x0102_0304_0506_0708;
        let key = keys.handle_key().keyed(&era.to_be_bytes());
        let share = ShareId::new(std::array::from_fn(|at| 0xa0 + at as u8));
        for &(view, inode, generation, frozen) in FROZEN {
            let meant = FileHandle { share, view, inode: InodeNumber(inode), generation };
            let handle = meant.encode(&key);
            let travelling: String = handle.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(travelling, frozen, "clients keep handles over an upgrade: {meant:?}");
            assert_eq!(FileHandle::decode_unchecked(&handle), Ok(meant));
        }
    }

    #[test]
    fn a_handle_round_trips_and_any_flipped_bit_makes_it_worthless() {
        let key = SecretKey::new([9; 32]);
        let meant =
            FileHandle { share: ShareId::new([1; 16]), view: 0, inode: InodeNumber(7), generation: u64::MAX };
        let handle = meant.encode(&key);
        assert_eq!(FileHandle::decode_unchecked(&handle), Ok(meant));
        assert_eq!(meant.verify(&handle, &key), Ok(()));
        for bit in 0..handle.as_bytes().len() * 8 {
            let mut forged = handle.as_bytes().to_vec();
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged = Handle::new(forged).expect("same length");
            let taken = FileHandle::decode_unchecked(&forged).and_then(|claim| claim.verify(&forged, &key));
            assert!(matches!(taken, Err(FsError::BadHandle | FsError::Stale)), "bit {bit}");
        }
        assert_eq!(meant.verify(&handle, &SecretKey::new([8; 32])), Err(FsError::Stale));
    }
}
