//! What is noted of a machine in its folder, so that whoever comes next, after a crash too, knows what was made for it.
//!
//! Nothing is found by the name of the machine: two places may have machines of one name in one account. Whatever is made has the
//! owner's mark as a tag, which is random and lies here alone, and is written before the first thing is made. Nor is it looked for where
//! the settings say today: the note has the place where it was made.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tidegate_replicator::store::durable_file;

/// The file in the folder of the machine.
const FILE: &str = "ec2.json";
/// How long an instance may exist before EC2 shows it everywhere (Amazon EC2 API reference, "Eventual consistency", names no time and
/// advises to wait up to minutes): until then "there is no such instance" says nothing.
pub(super) const SETTLE_TIME: Duration = Duration::from_mins(1);
/// Digits of the digest in the name of an image, which may have 128 characters in all.
const DIGEST_DIGITS: usize = 16;

/// Where something is in AWS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The region.
    pub(super) region: String,
    /// Where EC2 and EBS answer, if not where AWS has them in that region.
    pub(super) endpoint: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Some(endpoint) => write!(f, "region {} at {endpoint}", self.region),
            None => write!(f, "region {}", self.region),
        }
    }
}

/// See the head of this module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The mark of all that is made.
    pub(super) owner: String,
    /// The disks that were copied, as the tags of their snapshots call them.
    pub(super) disks: Vec<String>,
    /// The image.
    pub(super) image: Option<String>,
    /// The instance.
    pub(super) instance: Option<String>,
    /// How many instances were before it, each of which had ended.
    pub(super) before: u32,
    /// Where all of it is.
    #[serde(default)]
    pub(super) place: Option<Place>,
    /// When an instance was asked for, in seconds since 1970; none if that was refused, or the one that came of it has ended.
    #[serde(default)]
    pub(super) asked: Option<u64>,
    /// Whether it is for a trial, of which nothing stays and which changes nothing of what others have.
    #[serde(default)]
    pub(super) is_trial: bool,
}

impl Note {
    /// What is noted in a folder; none if nothing was made, or all of it is gone.
    pub(super) fn load(folder: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(file(folder)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same; a new one for a place, durably, if there is none.
    pub(super) fn load_or_begin(folder: &Path, place: &Place) -> io::Result<Self> {
        if let Some(known) = Self::load(folder)? {
            return Ok(known);
        }
        durable_file::create_folders(folder)?;
        let owner = format!("{:032x}", u128::from_be_bytes(random()?));
        let note = Self { owner, place: Some(place.clone()), ..Self::default() };
        note.save(folder)?;
        Ok(note)
    }

    /// Makes it durable.
    pub(super) fn save(&self, folder: &Path) -> io::Result<()> {
        durable_file::replace(&file(folder), &serde_json::to_vec(self)?)
    }

    /// Forgets it: all that was made is gone.
    pub(super) fn remove(folder: &Path) -> io::Result<()> {
        match durable_file::remove_durably(&file(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What makes a second request for the same instance answer the first (Amazon EC2 API reference, "Ensuring idempotency"; at most 64
    /// characters). Of another image it is another request.
    pub(super) fn instance_token(&self, image: &str) -> String {
        digest(&[&self.owner, &self.before.to_string(), image])
    }

    /// The name of an image, of which there is one in an account and region: of another content, or of one that boots in another way, it is
    /// another.
    pub(super) fn image_name(&self, made_of: &[&str]) -> String {
        format!("tidegate-{}-{}", self.owner, &digest(made_of)[..DIGEST_DIGITS])
    }

    /// The names of all its images, with an asterisk for what differs, as filters of EC2 have it.
    pub(super) fn image_names(&self) -> String {
        format!("tidegate-{}*", self.owner)
    }

    /// For how much longer "there is no such instance" says nothing.
    pub(super) fn unsettled(&self) -> Duration {
        let Some(asked) = self.asked else { return Duration::ZERO };
        // A clock that was set back counts as no time.
        SETTLE_TIME.saturating_sub(Duration::from_secs(now().saturating_sub(asked)))
    }

    /// An instance is asked for now. To be saved before it is.
    pub(super) fn ask(&mut self) {
        self.asked = Some(now());
    }

    /// The instance has ended; a further one is another.
    pub(super) fn instance_ended(&mut self) {
        (self.instance, self.asked, self.before) = (None, None, self.before + 1);
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn digest(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_bytes()).update(b"\0");
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stays_until_all_that_has_it_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("web");
        assert_eq!(Note::load(&folder).expect("readable"), None);
        let place = Place { region: "r".into(), endpoint: None };
        let mut note = Note::load_or_begin(&folder, &place).expect("begun");
        assert_eq!(note.place, Some(place.clone()));
        note.instance = Some("i-1".into());
        note.save(&folder).expect("saved");
        assert_eq!(Note::load_or_begin(&folder, &place).expect("known"), note);
        Note::remove(&folder).expect("removed");
        Note::remove(&folder).expect("it is gone already");
        assert_ne!(Note::load_or_begin(&folder, &place).expect("begun").owner, note.owner);
    }

    #[test]
    fn another_image_has_another_name_and_its_instance_another_token() {
        let note = Note { owner: "a".repeat(32), ..Note::default() };
        let name = note.image_name(&["snap-1", "uefi"]);
        assert_eq!(name, note.image_name(&["snap-1", "uefi"]));
        for other in [&["snap-2", "uefi"][..], &["snap-1", "legacy-bios"], &["snap-1u", "efi"], &["snap-1"]] {
            assert_ne!(name, note.image_name(other), "{other:?}");
        }
        assert!(name.len() <= 128 && name.starts_with(note.image_names().trim_end_matches('*')), "{name}");
        let mut next = note.clone();
        next.instance_ended();
        let tokens =
            [note.instance_token("ami-1"), note.instance_token("ami-2"), next.instance_token("ami-1")];
        assert!(tokens[0] != tokens[1] && tokens[0] != tokens[2] && tokens[0].len() <= 64, "{tokens:?}");
    }

    #[test]
    fn for_a_minute_after_it_was_asked_for_an_instance_may_be_there_without_being_shown() {
        let mut note = Note::default();
        assert_eq!(note.unsettled(), Duration::ZERO, "none was asked for");
        note.ask();
        assert!(note.unsettled() > SETTLE_TIME / 2);
        note.asked = note.asked.map(|asked| asked - SETTLE_TIME.as_secs());
        assert_eq!(note.unsettled(), Duration::ZERO);
        note.asked = Some(u64::MAX);
        assert_eq!(note.unsettled(), SETTLE_TIME, "the clock was set back");
    }
}
