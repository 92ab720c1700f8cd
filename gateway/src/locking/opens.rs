//! Opens of one file: which accesses each owner has, and which it denies to others (RFC 8881 section 9.7).

use std::collections::HashMap;

use super::Owner;

/// Reading, writing, both or neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// To read.
    pub read: bool,
    /// To write.
    pub write: bool,
}

impl Rights {
    /// Neither.
    pub const NONE: Self = Self { read: false, write: false };
    /// Reading alone.
    pub const READ: Self = Self { read: true, write: false };
    /// Writing alone.
    pub const WRITE: Self = Self { read: false, write: true };
    /// Both.
    pub const BOTH: Self = Self { read: true, write: true };

    /// Whether both have something in common.
    fn meets(self, other: Self) -> bool {
        self.read && other.read || self.write && other.write
    }

    fn union(self, other: Self) -> Self {
        Self { read: self.read || other.read, write: self.write || other.write }
    }

    fn is_within(self, other: Self) -> bool {
        self.union(other) == other
    }

    fn bits(self) -> usize {
        usize::from(self.read) | usize::from(self.write) << 1
    }
}

/// What an open asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenMode {
    /// What the owner may do.
    pub access: Rights,
    /// What others may not.
    pub deny: Rights,
}

impl OpenMode {
    /// Every mode, in the order of [`OpenMode::number`].
    const COUNT: usize = 16;

    fn union(self, other: Self) -> Self {
        Self { access: self.access.union(other.access), deny: self.deny.union(other.deny) }
    }

    fn is_within(self, other: Self) -> bool {
        self.access.is_within(other.access) && self.deny.is_within(other.deny)
    }

    /// Whether two owners cannot have such opens at once.
    fn is_against(self, other: Self) -> bool {
        self.access.meets(other.deny) || self.deny.meets(other.access)
    }

    fn number(self) -> usize {
        self.access.bits() | self.deny.bits() << 2
    }

    fn from_number(number: usize) -> Self {
        let rights = |bits: usize| Rights { read: bits & 1 == 1, write: bits & 2 == 2 };
        Self { access: rights(number), deny: rights(number >> 2) }
    }
}

/// The open that is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenDenied {
    /// Whose.
    pub owner: Owner,
    /// How it has the file open.
    pub mode: OpenMode,
}

/// Why an open was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another owner's open denies the access, or has one that was to be denied.
    #[error("another owner has it open in a way that does not go with this")]
    Denied(OpenDenied),
    /// More would be held than [`super::LockLimits`] allow.
    #[error("too many files are open")]
    TooMany,
    /// The owner does not have the file open.
    #[error("the file is not open")]
    NotOpen,
    /// The owner never opened the file in a way that is left by such a downgrade.
    #[error("no union of its opens is that mode")]
    NoSuchMode,
}

/// The open of one owner: the modes that it was opened with, as a set of their numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Opened(u16);

impl Opened {
    fn modes(self) -> impl Iterator<Item = OpenMode> {
        (0..OpenMode::COUNT).filter(move |number| self.0 >> number & 1 == 1).map(OpenMode::from_number)
    }

    fn mode(self) -> OpenMode {
        self.modes().fold(OpenMode::default(), OpenMode::union)
    }
}

/// The opens of one file.
#[derive(Debug, Default)]
pub(super) struct FileOpens {
    owners: HashMap<Owner, Opened>,
    /// How many owners have each mode, so that a look at all of them is needed only to name one.
    by_mode: [usize; OpenMode::COUNT],
}

impl FileOpens {
    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// How an owner has the file open.
    pub(super) fn mode(&self, owner: &Owner) -> Option<OpenMode> {
        self.owners.get(owner).map(|opened| opened.mode())
    }

    /// Another owner's open that does not go with such an open.
    pub(super) fn denied(&self, owner: &Owner, mode: OpenMode) -> Option<OpenDenied> {
        self.find(Some(owner), |held| mode.is_against(held))
    }

    /// Another owner's open that denies an access.
    pub(super) fn denies(&self, access: Rights, asked_by: Option<&Owner>) -> Option<OpenDenied> {
        self.find(asked_by, |held| access.meets(held.deny))
    }

    fn find(&self, except: Option<&Owner>, wanted: impl Fn(OpenMode) -> bool) -> Option<OpenDenied> {
        let own = except.and_then(|owner| self.mode(owner));
        let others = |mode: OpenMode| self.by_mode[mode.number()] - usize::from(own == Some(mode));
        let is_there = |number| {
            let mode = OpenMode::from_number(number);
            wanted(mode) && others(mode) > 0
        };
        if !(0..OpenMode::COUNT).any(is_there) {
            return None;
        }
        let found = |(owner, opened): (&Owner, &Opened)| {
            let mode = opened.mode();
            (Some(owner) != except && wanted(mode)).then(|| OpenDenied { owner: owner.clone(), mode })
        };
        self.owners.iter().find_map(found)
    }

    /// Adds a mode to what the owner has.
    pub(super) fn add(&mut self, owner: &Owner, mode: OpenMode) {
        let opened = self.owners.get(owner).copied().unwrap_or_default();
        self.put(owner, Some(Opened(opened.0 | 1 << mode.number())));
    }

    /// Takes the owner's open back to a mode.
    pub(super) fn downgrade(&mut self, owner: &Owner, mode: OpenMode) -> Result<(), OpenError> {
        let opened = self.owners.get(owner).ok_or(OpenError::NotOpen)?;
        let kept = opened.modes().filter(|opened| opened.is_within(mode));
        let kept = Opened(kept.fold(0, |kept, mode| kept | 1 << mode.number()));
        if kept.0 == 0 || kept.mode() != mode {
            return Err(OpenError::NoSuchMode);
        }
        self.put(owner, Some(kept));
        Ok(())
    }

    /// Ends the open of an owner; whether there was one.
    pub(super) fn remove(&mut self, owner: &Owner) -> bool {
        let was_open = self.owners.contains_key(owner);
        self.put(owner, None);
        was_open
    }

    fn put(&mut self, owner: &Owner, opened: Option<Opened>) {
        let before = match opened {
            Some(opened) => self.owners.insert(owner.clone(), opened),
            None => self.owners.remove(owner),
        };
        if let Some(before) = before {
            self.by_mode[before.mode().number()] -= 1;
        }
        if let Some(opened) = opened {
            self.by_mode[opened.mode().number()] += 1;
        }
    }
}
