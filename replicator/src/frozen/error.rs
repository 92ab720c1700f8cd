//! The ways in which reading a frozen share fails.

use std::error::Error;

use tidegate_chunker::Error as SealError;

use crate::fetch::{FetchError, FetchErrorKind};
use crate::map::MapError;
use crate::repository::RepositoryError;
use crate::tree::TreeError;

/// Why something could not be read, with all causes in its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is not there, or is not what was written: this much is lost here, the rest may be read.
    #[error("{0}")]
    Damaged(String),
    /// The store, or this machine, does not answer now: nothing is known, try later.
    #[error("{0}")]
    Away(String),
    /// It is there and sleeps: it can be read some hours after somebody has asked the store for it.
    #[error("{0}")]
    Asleep(String),
}

impl ReadError {
    /// Damage that was found here.
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    /// Whether nothing is said against the bytes: waiting, or asking for them, brings them.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Asleep(_))
    }
}

impl From<FetchError> for ReadError {
    fn from(error: FetchError) -> Self {
        let text = with_causes(&error);
        match error.kind() {
            // Without the key of their epoch bytes are as good as damaged: waiting brings nothing.
            FetchErrorKind::Missing | FetchErrorKind::Damaged | FetchErrorKind::Unopened => {
                Self::Damaged(text)
            }
            FetchErrorKind::Unreachable => Self::Away(text),
            FetchErrorKind::Asleep => Self::Asleep(text),
        }
    }
}

impl ReadError {
    /// Whether a tree could not be read because nobody answered.
    pub(crate) fn is_away_from(error: &TreeError) -> bool {
        match error {
            TreeError::Missing { .. }
            | TreeError::Damaged { .. }
            | TreeError::BadValue { .. }
            | TreeError::BadEdit { .. } => false,
            TreeError::Source { .. } => !is_caused_by_bytes(error),
        }
    }
}

impl From<TreeError> for ReadError {
    fn from(error: TreeError) -> Self {
        let text = with_causes(&error);
        match Self::is_away_from(&error) {
            true if is_caused_by_sleep(&error) => Self::Asleep(text),
            true => Self::Away(text),
            false => Self::Damaged(text),
        }
    }
}

impl From<MapError> for ReadError {
    fn from(error: MapError) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<RepositoryError> for ReadError {
    fn from(error: RepositoryError) -> Self {
        let text = with_causes(&error);
        match error {
            RepositoryError::Store(_) if error.is_asleep() => Self::Asleep(text),
            RepositoryError::Store(_) | RepositoryError::Local { .. } => Self::Away(text),
            RepositoryError::NoRepository { .. }
            | RepositoryError::AlreadyThere { .. }
            | RepositoryError::NotEmpty { .. }
            | RepositoryError::WrongKey { .. }
            | RepositoryError::NewerFormat { .. }
            | RepositoryError::Damaged { .. }
            | RepositoryError::Missing { .. }
            | RepositoryError::Invalid(_) => Self::Damaged(text),
        }
    }
}

/// Whether somewhere among the causes a pack sleeps.
fn is_caused_by_sleep(error: &(dyn Error + 'static)) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<FetchError>())
        .any(|cause| cause.kind() == FetchErrorKind::Asleep)
}

/// Whether somewhere among the causes bytes that were read did not open.
fn is_caused_by_bytes(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<SealError>().is_some())
}

/// The error and all its causes in one line.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts.join(": ")
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_away_is_not_damage_and_an_unknown_key_is() {
        let away = FetchError::new(FetchErrorKind::Unreachable, "read");
        assert!(ReadError::from(away.clone()).is_away());
        assert!(ReadError::from(TreeError::source("read a tree chunk", away)).is_away());
        let bytes = tidegate_chunker::UnverifiedFrame::new(bytes::Bytes::new()).expect_err("too short");
        let unopened = FetchError::new(FetchErrorKind::Unopened, "read").caused_by(bytes);
        assert!(!ReadError::from(unopened.clone()).is_away());
        assert!(!ReadError::from(TreeError::source("read a tree chunk", unopened)).is_away());
    }
}
