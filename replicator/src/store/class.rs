//! Storage classes: what an object costs to keep, to read and to delete early, and whether it sleeps.
//!
//! A class is a name that the store gives; objects of no class said are of the class [`STANDARD`], and *warm*. An
//! object of a class that *sleeps* cannot be read: [`ErrorKind::Asleep`](super::ErrorKind::Asleep). To be read it is
//! *thawed*: the store makes a copy of it that can be read, some hours later, for some days; the object itself stays
//! what it is. Everything else (that it is there, its length, its lock) is told of a sleeping object as of any.
//!
//! A class of which a *minimum storage duration* is known charges for all of it, also when an object is deleted, written
//! over or brought to another class before. It counts from when the store says that the object was written. A change of class is
//! a copy onto itself, so that time begins anew with it.
//!
//! What is known here of classes is what their names mean at AWS ([`ClassTraits::of_name`]); whoever uses others says
//! more in the settings ([`Classes::with`]).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What objects are that say nothing else.
pub const STANDARD: &str = "STANDARD";

/// A day.
const DAY: Duration = Duration::from_hours(24);

/// The name of a storage class: letters, digits, `_` and `-`, at most [`StorageClass::BYTES_MAX`] bytes. Never
/// [`STANDARD`]: an object of that class is said to have none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageClass(Arc<str>);

impl StorageClass {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// As the store writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a store has said: none for [`STANDARD`], however it is written, and for what is no name.
    pub fn said(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

impl FromStr for StorageClass {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if text.eq_ignore_ascii_case(STANDARD) {
            return Err(format!(
                "is what objects are without it; name a class that is colder than {STANDARD}"
            ));
        }
        if text.is_empty() || text.len() > Self::BYTES_MAX || !text.bytes().all(is_legal) {
            return Err(format!(
                "is no name of a storage class: at most {} letters, digits, _ and -",
                Self::BYTES_MAX
            ));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for StorageClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StorageClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// How fast a store is to thaw, which is a matter of price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ThawTier {
    /// Within minutes, where the class offers it.
    Expedited,
    /// Within hours.
    #[default]
    Standard,
    /// Within half a day to two days: the cheapest.
    Bulk,
}

impl ThawTier {
    /// As S3 writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expedited => "Expedited",
            Self::Standard => "Standard",
            Self::Bulk => "Bulk",
        }
    }
}

/// How an object is thawed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThawRequest {
    /// For how many days it can be read afterwards, at least 1.
    pub days: u32,
    /// How fast.
    pub tier: ThawTier,
}

/// Whether an object can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakefulness {
    /// It can, as any.
    Awake,
    /// It cannot, and nobody has asked for it.
    Asleep,
    /// It cannot yet: it is being thawed.
    Thawing,
    /// It was thawed, and can be read until then by the store's clock, if the store tells.
    Thawed(Option<SystemTime>),
}

impl Wakefulness {
    /// Whether a read would succeed.
    pub fn is_readable(self) -> bool {
        match self {
            Self::Awake | Self::Thawed(_) => true,
            Self::Asleep | Self::Thawing => false,
        }
    }
}

/// The class of an object, and whether it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassState {
    /// Its class; none for the one that objects have without a word.
    pub class: Option<StorageClass>,
    /// Whether it can be read.
    pub wakefulness: Wakefulness,
}

/// What is known of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassTraits {
    /// For how long an object is paid for at least.
    pub minimum: Duration,
    /// Whether its objects sleep.
    pub sleeps: bool,
}

impl ClassTraits {
    /// What a name means at AWS; of others nothing is known.
    pub fn of_name(class: &StorageClass) -> Self {
        let (days, sleeps) = match class.as_str() {
            "STANDARD_IA" | "ONEZONE_IA" => (30, false),
            "GLACIER_IR" => (90, false),
            "GLACIER" => (90, true),
            "DEEP_ARCHIVE" => (180, true),
            _ => (0, false),
        };
        Self { minimum: DAY * days, sleeps }
    }
}

/// What is known of the classes of a repository's stores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes(BTreeMap<StorageClass, ClassTraits>);

impl Classes {
    /// The same, knowing this of a class. What is known of it from another target already is not made less: the longer
    /// minimum counts, and what sleeps somewhere is not read for nothing.
    #[must_use]
    pub fn with(mut self, class: StorageClass, traits: ClassTraits) -> Self {
        let known = self.0.entry(class).or_insert(traits);
        known.minimum = known.minimum.max(traits.minimum);
        known.sleeps |= traits.sleeps;
        self
    }

    /// Whether nothing is known but what names of classes mean.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is known of a class; none stands for the one of objects that say nothing.
    pub fn traits(&self, class: Option<&StorageClass>) -> ClassTraits {
        let Some(class) = class else { return ClassTraits::default() };
        self.0.get(class).copied().unwrap_or_else(|| ClassTraits::of_name(class))
    }

    /// Whether objects of the class sleep.
    pub fn sleeps(&self, class: Option<&StorageClass>) -> bool {
        self.traits(class).sleeps
    }

    /// Until when an object that was written then is paid for in any case; none if that is over.
    pub fn kept_until(
        &self,
        class: Option<&StorageClass>,
        written: SystemTime,
        now: SystemTime,
    ) -> Option<SystemTime> {
        let until = written + self.traits(class).minimum;
        (until > now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str) -> StorageClass {
        name.parse().expect("a class")
    }

    #[test]
    fn names_are_those_that_a_header_can_carry() {
        for legal in ["GLACIER", "cold-1", "COLD_2", &"x".repeat(64)] {
            assert_eq!(class(legal).as_str(), legal);
        }
        for wrong in ["", "STANDARD", "Standard", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(wrong.parse::<StorageClass>().is_err(), "{wrong}");
        }
        assert_eq!(StorageClass::said("STANDARD"), None);
        assert_eq!(StorageClass::said("standard"), None, "some stores write it so");
    }

    #[test]
    fn what_is_said_of_a_class_counts_before_what_its_name_means() {
        let (now, known) = (SystemTime::UNIX_EPOCH + DAY * 1_000, Classes::default());
        let glacier = class("GLACIER");
        assert!(known.sleeps(Some(&glacier)) && !known.sleeps(None) && !known.sleeps(Some(&class("COLD"))));
        assert_eq!(known.kept_until(Some(&glacier), now - DAY, now), Some(now + DAY * 89));
        assert_eq!(known.kept_until(Some(&glacier), now - DAY * 90, now), None);
        assert_eq!(known.kept_until(None, now, now), None);
        let known = known.with(glacier.clone(), ClassTraits { minimum: DAY, sleeps: false });
        assert!(!known.sleeps(Some(&glacier)));
        assert_eq!(known.kept_until(Some(&glacier), now, now), Some(now + DAY));
        let known = known.with(glacier.clone(), ClassTraits { minimum: DAY * 3, sleeps: true });
        let known = known.with(glacier.clone(), ClassTraits { minimum: DAY, sleeps: false });
        assert_eq!(known.traits(Some(&glacier)), ClassTraits { minimum: DAY * 3, sleeps: true });
    }
}
