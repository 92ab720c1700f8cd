//! Claims to lead a share: which epochs count.

use std::collections::BTreeSet;

use super::bytes::array_from_hex;
use super::objects::Json;
use super::{Read, expect, refuse};

const CLAIM_BYTES_MAX: usize = 16_384;

/// What the name of a claim says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    epoch: u32,
    nonce: Option<[u8; 8]>,
    settled: bool,
}

fn parse(name: &str) -> Read<Name> {
    let mut parts = name.split('-');
    let epoch = u32::from_be_bytes(array_from_hex(parts.next().unwrap_or_default())?);
    let nonce = parts.next().map(array_from_hex).transpose()?;
    let settled = match parts.next() {
        None => nonce.is_none(),
        Some("settled") => true,
        Some(_) => return refuse("no name of a claim"),
    };
    expect(parts.next().is_none(), "no name of a claim")?;
    Ok(Name { epoch, nonce, settled })
}

/// Adds the epoch of a claim, if it is settled.
pub(super) fn add(epochs: &mut BTreeSet<u32>, share: &[u8; 16], name: &str, payload: &[u8]) -> Read<()> {
    let name = parse(name)?;
    let claim = Json::parse(payload, CLAIM_BYTES_MAX)?;
    expect(claim.id::<16>("share")? == *share, "a claim to another share")?;
    expect(claim.number("epoch")? == u64::from(name.epoch), "a claim of another epoch")?;
    let nonce = claim.id::<8>("nonce")?;
    expect(name.nonce.is_none_or(|named| named == nonce), "a claim with another nonce")?;
    claim.text("host")?;
    claim.value("instance")?;
    claim.time("claimed_at")?;
    if name.settled {
        epochs.insert(name.epoch);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_epoch_nonce_and_whether_settled() {
        let nonce = Some([0, 0, 0, 0, 0, 0, 0, 7]);
        let name = |nonce, settled| Ok(Name { epoch: 26, nonce, settled });
        assert_eq!(parse("0000001a"), name(None, true));
        assert_eq!(parse("0000001a-0000000000000007"), name(nonce, false));
        assert_eq!(parse("0000001a-0000000000000007-settled"), name(nonce, true));
        for wrong in ["", "1a", "0000001A", "0000001a-settled", "0000001a-0000000000000007-other"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(parse("0000001a-0000000000000007-settled-settled").is_err());
    }
}
