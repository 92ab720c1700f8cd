//! What can go wrong with a repository, and what the caller should do about it.
//!
//! Every variant is one reaction. Texts name the object and the remedy, never a key, a label or
//! anything out of a share.

use crate::store::{ErrorKind, StoreError};

/// The result of repository calls.
pub type Result<T> = std::result::Result<T, RepositoryError>;

/// Why a repository call failed.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// Nothing here is a repository. Nothing was written.
    #[error("{address} holds no repository (it has no `config` object): check the address, or create one")]
    NoRepository {
        /// The store's address.
        address: String,
    },
    /// A repository exists where one was to be created. Nothing was written.
    #[error("{address} already holds a repository: open it, or choose another prefix")]
    AlreadyThere {
        /// The store's address.
        address: String,
    },
    /// Objects without a repository lie where one was to be created. Nothing was written.
    #[error(
        "{address} is not empty (there is {found:?}) and no repository: remove what is there, or choose another prefix"
    )]
    NotEmpty {
        /// The store's address.
        address: String,
        /// One of the objects found.
        found: String,
    },
    /// No key slot opens with the key at hand. Nothing was written.
    #[error("the repository does not open with {tried}; it has {slots}")]
    WrongKey {
        /// What was presented, and to how many slots.
        tried: String,
        /// What the slots would take.
        slots: String,
    },
    /// An object was written by a newer program. Nothing was written; use a newer program.
    #[error("{object} was written by a newer program ({why}): use that one")]
    NewerFormat {
        /// The object's name.
        object: String,
        /// Which version was found, and which is known.
        why: String,
    },
    /// An object is not what was written: find another copy; what rebuilds it is said in the text.
    #[error("{object} is damaged: {why}")]
    Damaged {
        /// The object's name.
        object: String,
        /// What was found.
        why: String,
    },
    /// An object that should be there is not.
    #[error("{object} is missing from the store")]
    Missing {
        /// The object's name.
        object: String,
    },
    /// The request itself cannot be served: correct it.
    #[error("{0}")]
    Invalid(String),
    /// This machine cannot do it: no source of chance, no memory, a local file that cannot be used.
    #[error("failed to {doing}")]
    Local {
        /// What was being done.
        doing: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed; its [`ErrorKind`] says whether trying again helps or a person must act.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RepositoryError {
    /// Damage in the object of this name.
    pub(crate) fn damaged(object: impl ToString, why: impl ToString) -> Self {
        Self::Damaged { object: object.to_string(), why: why.to_string() }
    }

    /// A request that cannot be served.
    pub(crate) fn invalid(why: impl Into<String>) -> Self {
        Self::Invalid(why.into())
    }

    /// Trouble on this machine.
    pub(crate) fn local(
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Local { doing: doing.into(), source: source.into() }
    }

    /// Whether it says nothing about the object: the store or this machine could not do it.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Store(error) => error.kind() != ErrorKind::Missing,
            Self::Local { .. } => true,
            Self::NoRepository { .. }
            | Self::AlreadyThere { .. }
            | Self::NotEmpty { .. }
            | Self::WrongKey { .. }
            | Self::NewerFormat { .. }
            | Self::Damaged { .. }
            | Self::Missing { .. }
            | Self::Invalid(_) => false,
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind() == ErrorKind::Transient)
    }

    /// Whether the object is locked, so that it cannot be deleted yet.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind() == ErrorKind::Held)
    }

    /// Whether the object sleeps, so that it cannot be read before it is thawed.
    pub fn is_asleep(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind() == ErrorKind::Asleep)
    }

    /// Whether the object asked for is certainly not there.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Missing { .. } => true,
            Self::Store(error) => error.kind() == ErrorKind::Missing,
            _ => false,
        }
    }
}
