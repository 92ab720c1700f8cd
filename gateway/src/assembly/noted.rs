//! What is noted of machines that were started, in a file of the folder of each (`<data>/machines/NAME/running.json`).
//!
//! The note is durable before anything is made for a machine: so one whose start fails half way, or a gateway that was restarted, is still
//! in the list under its name, and can be stopped, which takes away what was made.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_replicator::store::durable_file;

use crate::control::{ControlError, ErrorKind};
use crate::machine::{RUNNING_FILE, Running};
use crate::settings::Name;

/// A machine that was started, or of which a start has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    /// The machine of the settings.
    pub(super) machine: String,
    /// What its provider calls it; none until it has started.
    #[serde(default)]
    pub(super) running: Option<Running>,
    pub(super) scratch: bool,
    pub(super) record: bool,
    /// Its exports, and the volumes that they are of.
    pub(super) exports: Vec<(String, String)>,
}

impl Noted {
    /// What is noted in the folder of a machine.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let bytes = std::fs::read(folder.join(RUNNING_FILE)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Makes it durable.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        durable_file::create_folders(folder)?;
        durable_file::replace(&folder.join(RUNNING_FILE), &serde_json::to_vec(self)?)
    }

    /// Nothing is to be stopped any more.
    pub(super) fn forget(folder: &Path) {
        // What is left of it is asked for once more, and nothing is found.
        let _ = std::fs::remove_file(folder.join(RUNNING_FILE));
    }

    /// Names under which something is noted.
    pub(super) fn names(data: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(all(data)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| Self::read(&all(data).join(name)).is_some()).collect()
    }
}

fn all(data: &Path) -> PathBuf {
    data.join("machines")
}

/// The folder of a machine: none for what is no name, so that no path leads out of the folder of all.
pub(super) fn folder_of(data: &Path, name: &str) -> Result<PathBuf, ControlError> {
    is_name(name)?;
    Ok(all(data).join(name))
}

/// Whether a machine may be called so.
pub(super) fn is_name(name: &str) -> Result<(), ControlError> {
    let why = name.parse::<Name>().err();
    why.map_or(Ok(()), |why| Err(ControlError::new(ErrorKind::Invalid, format!("{name:?} {why}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::noted_in;

    #[test]
    fn no_name_of_a_machine_leads_out_of_their_folder() {
        let data = Path::new("/var/lib/tidegate");
        for name in ["../../tmp/x", "..", ".", "a/b", "", "/tmp/x", "a\0b"] {
            assert_eq!(
                folder_of(data, name).map_err(|error| error.kind),
                Err(ErrorKind::Invalid),
                "{name:?}"
            );
        }
        assert_eq!(folder_of(data, "web-1"), Ok(data.join("machines/web-1")));
    }

    #[test]
    fn a_machine_whose_start_has_only_begun_is_known_by_its_name() {
        let data = tempfile::tempdir().expect("a folder");
        let folder = folder_of(data.path(), "trial").expect("a name");
        let begun = Noted {
            machine: "web".into(),
            running: None,
            scratch: true,
            record: false,
            exports: vec![("disk".into(), "disk".into())],
        };
        begun.write(&folder).expect("written");
        assert_eq!(
            (Noted::names(data.path()), Noted::read(&folder)),
            (vec!["trial".to_owned()], Some(begun))
        );
        assert_eq!(noted_in(&folder, "trial").name, "trial");
        Noted::forget(&folder);
        assert!(Noted::names(data.path()).is_empty());
    }
}
