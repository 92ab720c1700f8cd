//! What errors of the parts ask of an operator: one exhaustive table each.

use std::io;

use tidegate_replicator::backup::BackupError;
use tidegate_replicator::mirror::MirrorError;
use tidegate_replicator::repository::RepositoryError;
use tidegate_replicator::store::{ErrorKind as StoreErrorKind, StoreError};
use tidegate_replicator::tree::TreeError;

use crate::appliance::ApplianceError;
use crate::commit::CommitError;
use crate::control::ErrorKind;
use crate::journal::JournalError;
use crate::ledger::LedgerError;
use crate::live::LiveError;
use crate::share::ShareError;

/// What a store's error asks of an operator.
pub(super) fn store_kind(error: &StoreError) -> ErrorKind {
    match error.kind() {
        StoreErrorKind::Missing => ErrorKind::NotFound,
        StoreErrorKind::Exists => ErrorKind::Exists,
        StoreErrorKind::Denied => ErrorKind::Denied,
        StoreErrorKind::Misconfigured => ErrorKind::Invalid,
        StoreErrorKind::Invalid => ErrorKind::Failed,
        StoreErrorKind::Full => ErrorKind::Full,
        StoreErrorKind::Transient | StoreErrorKind::Asleep => ErrorKind::StoreAway,
        StoreErrorKind::Damaged => ErrorKind::Damaged,
        StoreErrorKind::Held => ErrorKind::Busy,
    }
}

/// The next step after a store's error, where there is one to name.
pub(super) fn store_todo(error: &StoreError) -> Option<&'static str> {
    match error.kind() {
        StoreErrorKind::Denied => Some("check the credentials of the target, and what they allow"),
        StoreErrorKind::Misconfigured => Some("check the target in the settings: address, endpoint, region"),
        StoreErrorKind::Full => Some("make room at the target, then try again"),
        StoreErrorKind::Transient => {
            Some("check the network and the endpoint of the target; to try again later is safe")
        }
        StoreErrorKind::Held => Some("wait until the lock has ended, or ask whoever may delete"),
        StoreErrorKind::Asleep => {
            Some("it sleeps in the archive: `tidegate thaw --plan SHARE` says how it comes back")
        }
        StoreErrorKind::Missing
        | StoreErrorKind::Exists
        | StoreErrorKind::Invalid
        | StoreErrorKind::Damaged => None,
    }
}

/// What a repository's error asks of an operator.
pub(super) fn repository_kind(error: &RepositoryError) -> ErrorKind {
    match error {
        RepositoryError::NoRepository { .. } => ErrorKind::NotFound,
        RepositoryError::AlreadyThere { .. } | RepositoryError::NotEmpty { .. } => ErrorKind::Exists,
        RepositoryError::WrongKey { .. } => ErrorKind::Denied,
        RepositoryError::NewerFormat { .. } | RepositoryError::Local { .. } => ErrorKind::Failed,
        RepositoryError::Damaged { .. } | RepositoryError::Missing { .. } => ErrorKind::Damaged,
        RepositoryError::Invalid(_) => ErrorKind::Invalid,
        RepositoryError::Store(store) => store_kind(store),
    }
}

/// What an appliance's error asks of an operator.
pub(super) fn appliance_kind(error: &ApplianceError) -> ErrorKind {
    match error {
        ApplianceError::NoShare { .. }
        | ApplianceError::NothingToAttach { .. }
        | ApplianceError::NoBranch { .. }
        | ApplianceError::NoCopy { .. } => ErrorKind::NotFound,
        ApplianceError::Copy(mirror) => mirror_kind(mirror),
        ApplianceError::CopyIsGone { .. } => ErrorKind::StoreAway,
        ApplianceError::ShareExists { .. }
        | ApplianceError::ShareElsewhere { .. }
        | ApplianceError::SourceElsewhere { .. } => ErrorKind::Exists,
        ApplianceError::OtherRepository { .. }
        | ApplianceError::Leads { .. }
        | ApplianceError::FollowsBySettings { .. } => ErrorKind::Invalid,
        ApplianceError::SnapshotOvertaken { .. }
        | ApplianceError::StillLeaving { .. }
        | ApplianceError::NotToBePromoted { .. }
        | ApplianceError::SourceBusy { .. } => ErrorKind::Busy,
        ApplianceError::SnapshotLocked { .. } => ErrorKind::Denied,
        ApplianceError::SnapshotLock { .. } | ApplianceError::SnapshotTag { .. } => ErrorKind::Invalid,
        ApplianceError::Source { error, .. } => backup_kind(error),
        ApplianceError::Superseded { .. }
        | ApplianceError::NotLed { .. }
        | ApplianceError::LedElsewhere { .. }
        | ApplianceError::ToJoinAgain { .. }
        | ApplianceError::NotSetAside { .. } => ErrorKind::Superseded,
        ApplianceError::Repository(repository)
        | ApplianceError::Commit(CommitError::Repository(repository)) => repository_kind(repository),
        ApplianceError::Commit(CommitError::Superseded { .. } | CommitError::NotLeading) => {
            ErrorKind::Superseded
        }
        ApplianceError::Journal(journal) => journal_kind(journal),
        ApplianceError::Live(live) | ApplianceError::Share(ShareError::Live(live)) => live_kind(live),
        ApplianceError::Ledger(ledger) => ledger_kind(ledger),
        ApplianceError::Cache { source, .. } | ApplianceError::ScrubBook { source, .. } => file_kind(source),
        ApplianceError::Share(ShareError::OverQuota { .. })
        | ApplianceError::Commit(CommitError::Share(ShareError::OverQuota { .. })) => ErrorKind::Full,
        ApplianceError::Share(_)
        | ApplianceError::NotTogether { .. }
        | ApplianceError::Commit(_)
        | ApplianceError::Files(_)
        | ApplianceError::Died => ErrorKind::Failed,
    }
}

/// What an error of a copy asks of an operator.
pub(super) fn mirror_kind(error: &MirrorError) -> ErrorKind {
    match error {
        MirrorError::Repository(repository) => repository_kind(repository),
        MirrorError::Foreign { .. } | MirrorError::Occupied { .. } => ErrorKind::Exists,
        MirrorError::Scratch { source, .. } => file_kind(source),
        MirrorError::Cancelled => ErrorKind::Cancelled,
    }
}

fn backup_kind(error: &BackupError) -> ErrorKind {
    match error {
        BackupError::Before(read) if read.is_away() => ErrorKind::StoreAway,
        BackupError::Before(_) | BackupError::Tree(TreeError::Missing { .. } | TreeError::Damaged { .. }) => {
            ErrorKind::Damaged
        }
        BackupError::Local { source, .. } => file_kind(source),
        BackupError::Cancelled => ErrorKind::Cancelled,
        BackupError::Source(_)
        | BackupError::Empty
        | BackupError::NothingRead { .. }
        | BackupError::Tree(_)
        | BackupError::Ingest(_) => ErrorKind::Failed,
    }
}

fn journal_kind(error: &JournalError) -> ErrorKind {
    match error {
        JournalError::InUse { .. } => ErrorKind::Busy,
        JournalError::Damaged { .. } | JournalError::Missing { .. } | JournalError::Behind { .. } => {
            ErrorKind::Damaged
        }
        JournalError::NoSpace { .. } => ErrorKind::Full,
        JournalError::Option(_) => ErrorKind::Invalid,
        JournalError::Io { source, .. } => file_kind(source),
        JournalError::NewerFormat { .. }
        | JournalError::Gone { .. }
        | JournalError::NoSuchPayload { .. }
        | JournalError::Stopped { .. }
        | JournalError::TooLarge { .. }
        | JournalError::PermitTooSmall { .. }
        | JournalError::NotAppended { .. } => ErrorKind::Failed,
    }
}

fn live_kind(error: &LiveError) -> ErrorKind {
    match error {
        LiveError::Journal(journal) => journal_kind(journal),
        LiveError::Undecodable(_) | LiveError::Map(_) => ErrorKind::Damaged,
        LiveError::Database(_) | LiveError::Stopped => ErrorKind::Failed,
    }
}

fn ledger_kind(error: &LedgerError) -> ErrorKind {
    match error {
        LedgerError::Live(live) => live_kind(live),
        LedgerError::Folder { source, .. } => file_kind(source),
        LedgerError::Pack { .. } => ErrorKind::Damaged,
        LedgerError::Died => ErrorKind::Failed,
    }
}

/// What the operating system's word on a file asks of an operator.
fn file_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        _ => ErrorKind::Failed,
    }
}
