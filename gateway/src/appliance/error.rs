//! What can go wrong with the appliance as a whole.

use tidegate_chunker::RepositoryId;
use tidegate_replicator::backup::BackupError;
use tidegate_replicator::mirror::MirrorError;
use tidegate_replicator::repository::{RepositoryError, Successor, UtcNanos};

use crate::commit::CommitError;
use crate::journal::JournalError;
use crate::ledger::LedgerError;
use crate::live::LiveError;
use crate::share::ShareError;

/// Why the appliance did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ApplianceError {
    /// The local state.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The packs.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The folder of the cache.
    #[error("failed to open the cache in {folder}")]
    Cache {
        /// Which folder.
        folder: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The book of the scrub.
    #[error("failed to write the book of the scrub in {folder}")]
    ScrubBook {
        /// Which folder.
        folder: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A share's map.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A commit.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A file operation.
    #[error(transparent)]
    Files(#[from] tidegate_protocols::view::FsError),
    /// The local state is of another repository.
    #[error(
        "the local state belongs to repository {local}, not to {given}: use another data folder, or the \
         target that it belongs to"
    )]
    OtherRepository {
        /// Which it belongs to.
        local: RepositoryId,
        /// Which was to be used with it.
        given: RepositoryId,
    },
    /// There is no such share here.
    #[error("there is no share {share:?} here")]
    NoShare {
        /// Its name.
        share: String,
    },
    /// The share takes no changes here.
    #[error(
        "share {share:?} takes no changes here now: it follows another gateway, was taken over or handed over, \
         or waits for the store"
    )]
    NotLed {
        /// Its name.
        share: String,
    },
    /// The share has no such branch.
    #[error("share {share:?} has no branch {branch:?}: `tidegate branch list {share}` shows all")]
    NoBranch {
        /// Its name.
        share: String,
        /// What was looked for.
        branch: String,
    },
    /// The share is led from here.
    #[error("share {share:?} is led from here: there is no line to join again")]
    Leads {
        /// Its name.
        share: String,
    },
    /// Another gateway leads the share.
    #[error(
        "share {share:?} is led by {by} and was not handed over: run `tidegate handover {share}` there, or take it \
         over without (`tidegate share rejoin {share} --take-over`), which may lose what was acknowledged there \
         since the newest head"
    )]
    LedElsewhere {
        /// Its name.
        share: String,
        /// Who.
        by: String,
    },
    /// Calls of clients are still under way.
    #[error("calls of clients on share {share:?} have not ended yet: try again in a moment")]
    StillLeaving {
        /// Its name.
        share: String,
    },
    /// The settings have the share follow.
    #[error("the settings say that share {share:?} follows: take `follow` out of them to lead it")]
    FollowsBySettings {
        /// Its name.
        share: String,
    },
    /// What this gateway has of a share beyond its line is not set aside yet.
    #[error(
        "share {share:?} was led from here, and what it has beyond the line is not set aside: run `tidegate \
         share rejoin {share}`"
    )]
    NotSetAside {
        /// Its name.
        share: String,
    },
    /// The share was led from here once.
    #[error(
        "share {share:?} was served from here before another gateway led it: start this gateway and run `tidegate share \
         rejoin {share}`, which keeps what is here beyond the line as a branch"
    )]
    ToJoinAgain {
        /// Its name.
        share: String,
    },
    /// A share of that name is known already.
    #[error(
        "there is a share {share:?} here already; `tidegate share rejoin {share}` has it join its line again"
    )]
    ShareExists {
        /// Its name.
        share: String,
    },
    /// The repository has a share of that name, which this gateway does not know.
    #[error(
        "the repository has a share {share:?} that this gateway does not know: attach it, or choose another name"
    )]
    ShareElsewhere {
        /// Its name.
        share: String,
    },
    /// The repository has no head or snapshot to open.
    #[error("the repository has no {what} of share {share:?}")]
    NothingToAttach {
        /// Its name.
        share: String,
        /// What was looked for.
        what: String,
    },
    /// The head that a snapshot was to retain was thinned out before the snapshot was written, every time.
    #[error("a snapshot of share {share:?} took longer to write than its head is kept: try again")]
    SnapshotOvertaken {
        /// Its name.
        share: String,
    },
    /// A snapshot is locked.
    #[error("snapshot {snapshot} is locked until {until}, and cannot be removed before")]
    SnapshotLocked {
        /// Its id.
        snapshot: String,
        /// Until when, by the store's clock.
        until: UtcNanos,
    },
    /// A tag that should say until when a snapshot is locked.
    #[error("the tag tidegate.locked-until = {text:?} is no time: write 2030-12-31, or 2030-12-31T23:59:59Z")]
    SnapshotLock {
        /// What it says.
        text: String,
    },
    /// A tag that only this program gives.
    #[error("the tag {tag} is given by the bin alone: choose another")]
    SnapshotTag {
        /// Which.
        tag: String,
    },
    /// Somebody else leads the share.
    #[error("another gateway leads share {share:?}: {by}")]
    Superseded {
        /// Its name.
        share: String,
        /// Who.
        by: Successor,
    },
    /// Shares that were to be retained as of one moment were not.
    #[error(
        "shares {shares} were not retained as of one moment, since not all of them could be committed and kept"
    )]
    NotTogether {
        /// Their names.
        shares: String,
    },
    /// A copy of the repository.
    #[error(transparent)]
    Copy(#[from] MirrorError),
    /// No target of that name is a copy.
    #[error("no target {target:?} is a copy of the repository here: `tidegate target list` shows all")]
    NoCopy {
        /// Its name.
        target: String,
    },
    /// The folder of a copy is empty, and had everything before. Nothing was written.
    #[error(
        "target {target:?} has had a whole copy of the repository, and {address} is empty now: look whether its disk is \
         mounted, and restart the gateway when it is; if it was emptied on purpose, remove the target and add it again"
    )]
    CopyIsGone {
        /// Its name.
        target: String,
        /// Where it is.
        address: String,
    },
    /// A copy lacks what it takes to lead. Nothing was changed.
    #[error(
        "target {target:?} cannot lead yet, it lacks {lacks}: bring the lead back, or accept that loss by attaching \
         the shares from that target alone, into an empty data folder"
    )]
    NotToBePromoted {
        /// Its name.
        target: String,
        /// What it lacks.
        lacks: String,
    },
    /// A source of backup could not be saved.
    #[error("source {name}: {error}")]
    Source {
        /// Its name.
        name: String,
        /// Why.
        error: BackupError,
    },
    /// Another machine saves a source under this name.
    #[error("the repository has {name:?} already, which {whose}: choose another name, or take it over")]
    SourceElsewhere {
        /// Its name.
        name: String,
        /// What is known of it.
        whose: String,
    },
    /// A source is being saved.
    #[error("source {name:?} is being saved now")]
    SourceBusy {
        /// Its name.
        name: String,
    },
    /// A step died.
    #[error("a step ended early: see the log")]
    Died,
}
