//! What is known of a share's heat, over a restart: one file a share.
//!
//! ```text
//! <data>/heat/<share id>
//!
//! magic "TGHEAT\0\x01" | saved at i64, seconds since 1970 | number of regions u32
//! for each: pack id [32] | kind u8 (0 nodes, 1 data) | start u32 | end u32 | weight f32
//! CRC-32C of all before u32                                                        (little-endian)
//! ```
//!
//! Written whole, under another name, and renamed. Not synced: a file that a crash spoiled counts as none, and the
//! newest head says what was hot.

use std::io;
use std::path::{Path, PathBuf};

use tidegate_chunker::{PackId, ShareId};
use tidegate_replicator::repository::HotKind;

use super::{Meter, REGIONS_MAX, RegionUse};

const MAGIC: &[u8; 8] = b"TGHEAT\0\x01";
const HEAD_BYTES: usize = MAGIC.len() + 8 + 4;
const REGION_BYTES: usize = PackId::LEN + 1 + 4 + 4 + 4;
const SUM_BYTES: usize = 4;
/// A table holds somewhat more than its bound before it forgets.
const COUNT_MAX: usize = 2 * REGIONS_MAX;

/// Where the heat of shares is kept.
fn path(folder: &Path, share: ShareId) -> PathBuf {
    folder.join(share.to_string())
}

/// Keeps what is known of a share. Blocks.
pub(crate) fn save(folder: &Path, share: ShareId, meter: &Meter) -> io::Result<()> {
    let (saved_at, regions) = meter.regions();
    std::fs::create_dir_all(folder)?;
    let path = path(folder, share);
    let new = path.with_extension("new");
    std::fs::write(&new, encode(saved_at, &regions))?;
    std::fs::rename(&new, &path)
}

/// Takes in what was kept of a share; whether there was anything. Blocks.
pub(crate) fn load(folder: &Path, share: ShareId, meter: &Meter) -> bool {
    let kept = std::fs::read(path(folder, share)).ok().and_then(|bytes| decode(&bytes));
    let Some((saved_at, regions)) = kept else { return false };
    let any = !regions.is_empty();
    meter.restore(saved_at, regions);
    any
}

fn encode(saved_at: i64, regions: &[RegionUse]) -> Vec<u8> {
    let regions = &regions[..regions.len().min(COUNT_MAX)];
    let mut out = Vec::with_capacity(HEAD_BYTES + regions.len() * REGION_BYTES + SUM_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&saved_at.to_le_bytes());
    out.extend_from_slice(&(regions.len() as u32).to_le_bytes());
    for region in regions {
        out.extend_from_slice(region.pack.as_bytes());
        out.push(u8::from(region.kind == HotKind::Data));
        out.extend_from_slice(&region.start.to_le_bytes());
        out.extend_from_slice(&region.end.to_le_bytes());
        out.extend_from_slice(&(region.weight as f32).to_le_bytes());
    }
    let sum = crc32c::crc32c(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// `None` for anything that [`encode`] did not make.
fn decode(bytes: &[u8]) -> Option<(i64, Vec<RegionUse>)> {
    let (told, sum) = bytes.split_last_chunk::<SUM_BYTES>()?;
    if u32::from_le_bytes(*sum) != crc32c::crc32c(told) {
        return None;
    }
    let rest = told.strip_prefix(MAGIC)?;
    let (saved_at, rest) = rest.split_first_chunk::<8>()?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let count = u32::from_le_bytes(*count) as usize;
    if count > COUNT_MAX || rest.len() != count * REGION_BYTES {
        return None;
    }
    let regions: Option<Vec<_>> = rest.chunks_exact(REGION_BYTES).map(decode_region).collect();
    Some((i64::from_le_bytes(*saved_at), regions?))
}

fn decode_region(bytes: &[u8]) -> Option<RegionUse> {
    let (pack, rest) = bytes.split_first_chunk::<{ PackId::LEN }>()?;
    let (kind, rest) = rest.split_first()?;
    let number = |place: usize| rest.get(4 * place..).and_then(|rest| rest.first_chunk::<4>()).copied();
    Some(RegionUse {
        pack: PackId::new(*pack),
        kind: match kind {
            0 => HotKind::Nodes,
            1 => HotKind::Data,
            _ => return None,
        },
        start: u32::from_le_bytes(number(0)?),
        end: u32::from_le_bytes(number(1)?),
        weight: f32::from_le_bytes(number(2)?).into(),
    })
}
