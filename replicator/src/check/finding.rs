//! What a check found.

use serde::Serialize;

use crate::repository::RepositoryError;

/// Findings that are kept; the others are counted.
pub const FINDINGS_MAX: usize = 1000;
/// Findings that are kept for one object, so that one lost pack does not hide everything else.
const FINDINGS_OF_OBJECT_MAX: usize = 24;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Nothing is lost, and nobody need do anything: worth knowing.
    Notice,
    /// Something is missing, damaged or contradicts itself.
    Damage,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The object of the repository, by name; a folder of objects where none can be named.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// How much it weighs.
    pub weight: Weight,
    /// The share that it concerns, by name where one is known, else by id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
    /// A head or snapshot in which it shows: `head NAME` or `snapshot ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moment: Option<String>,
    /// A path of the share that it concerns, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl Finding {
    pub(super) fn damage(object: impl Into<String>, what: impl Into<String>) -> Self {
        let (object, what) = (object.into(), what.into());
        Self { object, what, weight: Weight::Damage, share: None, moment: None, path: None }
    }

    pub(super) fn notice(object: impl Into<String>, what: impl Into<String>) -> Self {
        Self { weight: Weight::Notice, ..Self::damage(object, what) }
    }

    /// What an error of the repository says; `object` is what was read.
    pub(super) fn of_error(object: impl Into<String>, error: &RepositoryError) -> Self {
        let named = match error {
            RepositoryError::Damaged { object, .. }
            | RepositoryError::Missing { object }
            | RepositoryError::NewerFormat { object, .. } => object.clone(),
            RepositoryError::NoRepository { .. } => "config".to_owned(),
            RepositoryError::AlreadyThere { .. }
            | RepositoryError::NotEmpty { .. }
            | RepositoryError::WrongKey { .. }
            | RepositoryError::Invalid(_)
            | RepositoryError::Local { .. }
            | RepositoryError::Store(_) => object.into(),
        };
        Self::damage(named, crate::frozen::with_causes(error))
    }

    #[must_use]
    pub(super) fn in_share(self, share: impl Into<String>) -> Self {
        Self { share: Some(share.into()), ..self }
    }
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Key slots.
    pub slots: u64,
    /// Domains.
    pub domains: u64,
    /// Packs.
    pub packs: u64,
    /// Their length together.
    pub pack_bytes: u64,
    /// Packs that nothing reaches.
    pub packs_unreached: u64,
    /// Packs that sleep in the archive of the store: nothing in them was looked at.
    pub packs_asleep: u64,
    /// Their length together.
    pub pack_bytes_asleep: u64,
    /// Index objects.
    pub index_objects: u64,
    /// Shares.
    pub shares: u64,
    /// Heads.
    pub heads: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Heartbeats of gateways.
    pub heartbeats: u64,
    /// Different roots that were walked.
    pub roots: u64,
    /// Nodes of trees.
    pub nodes: u64,
    /// References to chunks.
    pub references: u64,
    /// Frames that were opened and verified.
    pub frames_read: u64,
    /// Their length together.
    pub frame_bytes_read: u64,
}

/// The outcome of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// What was looked at.
    pub counts: Counts,
    /// The seed by which frames were chosen, if not all were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Findings of damage that were too many to keep.
    pub more_findings: u64,
}

impl CheckReport {
    /// Whether there is no damage.
    pub fn is_clean(&self) -> bool {
        self.more_findings == 0 && self.damage().next().is_none()
    }

    /// The findings that are damage.
    pub fn damage(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.weight == Weight::Damage)
    }

    pub(super) fn add(&mut self, finding: Finding) {
        if self.findings.contains(&finding) {
            return;
        }
        if !self.is_full_of(&finding.object) {
            self.findings.push(finding);
        } else if finding.weight == Weight::Damage {
            self.more_findings += 1;
        }
    }

    /// Whether further findings of this object are only counted.
    pub(super) fn is_full_of(&self, object: &str) -> bool {
        let of_object = self.findings.iter().filter(|known| known.object == object).count();
        self.findings.len() >= FINDINGS_MAX || of_object >= FINDINGS_OF_OBJECT_MAX
    }
}
