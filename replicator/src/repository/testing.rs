//! What the unit tests of the repository share.

use tidegate_chunker::{DomainId, ShareId};

use super::head::{CommitStatistics, Head, Incarnation, LineTotals, ShareDescription, Usage};
use super::heat::Heat;
use super::names::HeadName;
use super::time::UtcNanos;
use crate::tree::Root;

pub(super) fn head_name(epoch: u32, sequence: u64) -> HeadName {
    HeadName { epoch, sequence, suffix: 7 }
}

/// A head of this name after `parent`.
pub(super) fn head_after(name: &HeadName, parent: Option<HeadName>) -> Head {
    let domain = DomainId::new([1; 16]);
    Head {
        share: ShareDescription { id: ShareId::new([0x5a; 16]), name: "share".to_owned(), domain },
        epoch: name.epoch,
        sequence: name.sequence,
        parent,
        root: Root::EMPTY,
        frozen_at: UtcNanos::new(2),
        published_at: UtcNanos::new(3),
        incarnation: Incarnation::new([4; 8]),
        handover: None,
        keep_handles: None,
        next_inode: 5,
        journal_sequence: 6,
        plans_honoured: Vec::new(),
        kept: Vec::new(),
        passed: Vec::new(),
        turns: Vec::new(),
        settings: serde_json::json!({"export": "/share"}),
        usage: Usage { bytes: 8, inodes: 9, ..Usage::default() },
        heat: Heat::default(),
        heat_in: None,
        totals: LineTotals::default(),
        statistics: CommitStatistics::default(),
    }
}
