//! The side table `void`: packs that count for nothing, and the plans that made them so.
//!
//! ```text
//! 'p' | pack id                  -> nothing
//! 'o' | plan id | pack id        -> nothing      of plans that wait
//! 'c' | plan id                  -> nothing      plans that wait no more
//! ```
//!
//! The table is small beside the others and flushed whenever it changes, which is as seldom as plans are.

use tidegate_chunker::PackId;
use tidegate_replicator::collect::{VoidPacks, VoidRow};
use tidegate_replicator::repository::PlanId;

use super::LedgerError;
use crate::live::{Database, LiveError, SideTable};

/// Length of a plan id as text.
const PLAN: usize = 25;

/// Reads the table.
pub(super) fn load(database: &Database) -> Result<VoidPacks, LedgerError> {
    let mut void = VoidPacks::default();
    for entry in database.side_entries(SideTable::Void) {
        let (key, _) = entry?;
        void.restore(decode(&key).ok_or(LiveError::Undecodable("a void pack"))?);
    }
    Ok(void)
}

/// Turns the table from what `known` says into what `next` says, durably. Blocks.
pub(super) fn store(database: &Database, known: &VoidPacks, next: &VoidPacks) -> Result<(), LedgerError> {
    let rows =
        |void: &VoidPacks| void.rows().map(|row| encode(&row)).collect::<std::collections::BTreeSet<_>>();
    let (old, new) = (rows(known), rows(next));
    let added = new.difference(&old).map(|key| (&key[..], Some(&[][..])));
    let removed = old.difference(&new).map(|key| (&key[..], None));
    database.set_side(SideTable::Void, added.chain(removed))?;
    database.flush()?;
    Ok(())
}

fn encode(row: &VoidRow) -> Vec<u8> {
    match row {
        VoidRow::Pack(pack) => [b"p", &pack.as_bytes()[..]].concat(),
        VoidRow::Open(plan, pack) => [b"o", plan.to_string().as_bytes(), pack.as_bytes()].concat(),
        VoidRow::Closed(plan) => [b"c", plan.to_string().as_bytes()].concat(),
    }
}

fn decode(key: &[u8]) -> Option<VoidRow> {
    let (kind, rest) = key.split_first()?;
    let plan = |bytes: &[u8]| PlanId::parse(std::str::from_utf8(bytes).ok()?);
    match kind {
        b'p' => Some(VoidRow::Pack(PackId::from_slice(rest)?)),
        b'o' => {
            let (id, pack) = rest.split_at_checked(PLAN)?;
            Some(VoidRow::Open(plan(id)?, PackId::from_slice(pack)?))
        }
        b'c' => Some(VoidRow::Closed(plan(rest)?)),
        _ => None,
    }
}
