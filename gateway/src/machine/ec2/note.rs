//! What is noted of a machine in its folder, so that whoever comes next, after a crash too, knows what was made for it.
//!
//! Nothing is found by the name of the machine: two places may have machines of one name in one account. Whatever is made has the
//! owner's mark as a tag, which is random and lies here alone, and is written before the first thing is made.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_replicator::store::durable_file;

/// The file in the folder of the machine.
const FILE: &str = "ec2.json";

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

    /// The same; a new one, durably, if there is none.
    pub(super) fn load_or_begin(folder: &Path) -> io::Result<Self> {
        if let Some(known) = Self::load(folder)? {
            return Ok(known);
        }
        durable_file::create_folders(folder)?;
        let note = Self { owner: format!("{:032x}", u128::from_be_bytes(random()?)), ..Self::default() };
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

    /// What makes a second request for the same instance answer the first (Amazon EC2 API reference, "Ensuring idempotency").
    pub(super) fn instance_token(&self) -> String {
        format!("{}-{}", self.owner, self.before)
    }

    /// The name of its image, of which there is one in an account and region.
    pub(super) fn image_name(&self) -> String {
        format!("tidegate-{}", self.owner)
    }
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
        let mut note = Note::load_or_begin(&folder).expect("begun");
        note.instance = Some("i-1".into());
        note.save(&folder).expect("saved");
        assert_eq!(Note::load_or_begin(&folder).expect("known"), note);
        Note::remove(&folder).expect("removed");
        Note::remove(&folder).expect("it is gone already");
        assert_ne!(Note::load_or_begin(&folder).expect("begun").owner, note.owner);
    }
}
