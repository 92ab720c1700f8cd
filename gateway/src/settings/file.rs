//! The settings file on disk: read whole, changed atomically, comments kept.
//!
//! Order of writes of an edit, and what a crash at each step leaves:
//!
//! 1. lock the folder (other editors wait; the lock goes with the process) — nothing;
//! 2. read, change, check the whole new text: a text that would be refused is never written;
//! 3. write `.NAME.new`, with owner and rights of the old file, and sync it — the old settings, and a
//!    leftover that the next edit overwrites;
//! 4. rename it over the file — the old settings or the new ones, never a mix;
//! 5. sync the folder — the new ones.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table as TomlTable};

use super::schema::Table;
use super::{FILE_BYTES_MAX, Settings, SettingsError};

/// Rights of a settings file that is made here.
const NEW_FILE_MODE: u32 = 0o644;

/// What is wrong with a text that cannot be edited.
const NOT_TOML: &str = "is not TOML; `tidegate status` says where it is wrong";

/// The settings file at one path. All functions block on the disk for a moment.
#[derive(Clone, Debug)]
pub struct SettingsFile {
    path: PathBuf,
}

/// A change of the file that was carried out.
#[derive(Clone, Debug)]
pub struct Edit {
    /// What the file says now.
    pub settings: Settings,
    old_text: String,
    new_text: String,
}

impl SettingsFile {
    /// The file at that path; nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads and checks it.
    pub fn load(&self) -> Result<Settings, SettingsError> {
        Settings::parse(&self.read()?).map_err(|error| error.of_file(&self.path))
    }

    /// Writes a new file; refuses to replace one.
    pub fn create(&self, text: &str) -> Result<Settings, SettingsError> {
        let settings = Settings::parse(text).map_err(|error| error.of_file(&self.path))?;
        let _lock = self.lock()?;
        if self.path.exists() {
            return Err(self.wrong("exists already; choose another place, or remove it first"));
        }
        self.replace(text)?;
        Ok(settings)
    }

    /// Changes it. `change` may fail with a sentence; then, and when the changed text would be
    /// refused, the file stays as it was.
    pub fn edit(
        &self,
        change: impl FnOnce(&mut DocumentMut) -> Result<(), String>,
    ) -> Result<Edit, SettingsError> {
        let _lock = self.lock()?;
        let old_text = self.read()?;
        let mut document: DocumentMut = old_text.parse().map_err(|_| self.wrong(NOT_TOML))?;
        change(&mut document).map_err(|reason| self.wrong(&reason))?;
        let new_text = document.to_string();
        let settings = Settings::parse(&new_text).map_err(|error| error.of_file(&self.path))?;
        if new_text != old_text {
            self.replace(&new_text)?;
        }
        Ok(Edit { settings, old_text, new_text })
    }

    /// What the settings would be after a change; the file stays as it is.
    pub fn look(
        &self,
        change: impl FnOnce(&mut DocumentMut) -> Result<(), String>,
    ) -> Result<Settings, SettingsError> {
        let mut document: DocumentMut = self.read()?.parse().map_err(|_| self.wrong(NOT_TOML))?;
        change(&mut document).map_err(|reason| self.wrong(&reason))?;
        Settings::parse(&document.to_string()).map_err(|error| error.of_file(&self.path))
    }

    /// Takes an edit back, for when the gateway refused to apply it. Does nothing when somebody has
    /// changed the file since.
    pub fn take_back(&self, edit: &Edit) -> Result<(), SettingsError> {
        let _lock = self.lock()?;
        if self.read()? == edit.new_text {
            self.replace(&edit.old_text)?;
        }
        Ok(())
    }

    fn read(&self) -> Result<String, SettingsError> {
        let mut text = String::new();
        let file = File::open(&self.path).map_err(|error| {
            self.wrong(&format!(
                "cannot be opened ({error}); make it with `tidegate init`, or name another with --settings"
            ))
        })?;
        file.take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(|error| self.wrong(&format!("cannot be read ({error})")))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(self.wrong(&format!("is longer than {FILE_BYTES_MAX} bytes")));
        }
        Ok(text)
    }

    /// Keeps other editors out until the answer is dropped.
    fn lock(&self) -> Result<File, SettingsError> {
        let failed =
            |error: std::io::Error| self.wrong(&format!("has a folder that cannot be locked ({error})"));
        let folder = File::open(self.folder()).map_err(failed)?;
        flock(&folder, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        Ok(folder)
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn replace(&self, text: &str) -> Result<(), SettingsError> {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let new = self.folder().join(format!(".{name}.new"));
        let old = std::fs::metadata(&self.path).ok();
        let mode = old.as_ref().map_or(NEW_FILE_MODE, |old| old.permissions().mode());
        let write = || -> std::io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.set_permissions(Permissions::from_mode(mode & 0o7777))?;
            // Root edits what belongs to the gateway's user, and it stays that user's.
            let made = file.metadata()?;
            if let Some(old) = old.filter(|old| (old.uid(), old.gid()) != (made.uid(), made.gid())) {
                fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
            file.sync_all()?;
            std::fs::rename(&new, &self.path)?;
            File::open(self.folder())?.sync_all()
        };
        write().map_err(|error| self.wrong(&format!("cannot be written ({error}); it is as it was")))
    }

    fn wrong(&self, reason: &str) -> SettingsError {
        SettingsError::whole(format!("the file {reason}")).of_file(&self.path)
    }
}

/// Adds a table that may stand several times at the end of the file.
pub fn add_table<T: Table>(document: &mut DocumentMut, table: TomlTable) -> Result<(), String> {
    let tables = document.entry(T::NAME).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let tables = tables
        .as_array_of_tables_mut()
        .ok_or_else(|| format!("does not write each {name} under [[{name}]]", name = T::NAME))?;
    tables.push(table);
    Ok(())
}

/// The table that a key tells from others.
pub(super) fn table_by<'d, T: Table>(
    document: &'d mut DocumentMut,
    key: &str,
    name: &str,
) -> Result<&'d mut TomlTable, String> {
    let missing = || format!("has no {} {name:?}", T::NAME);
    let tables = document.get_mut(T::NAME).and_then(Item::as_array_of_tables_mut).ok_or_else(missing)?;
    let named = tables.iter_mut().find(|table| table.get(key).and_then(Item::as_str) == Some(name));
    named.ok_or_else(missing)
}

/// Removes a table by its `name`.
pub fn remove_table<T: Table>(document: &mut DocumentMut, name: &str) -> Result<(), String> {
    remove_table_by::<T>(document, "name", name)
}

/// Removes a table by a key that tells it from others.
pub fn remove_table_by<T: Table>(document: &mut DocumentMut, key: &str, name: &str) -> Result<(), String> {
    let missing = || format!("has no {} {name:?}", T::NAME);
    let tables = document.get_mut(T::NAME).and_then(Item::as_array_of_tables_mut).ok_or_else(missing)?;
    let named = |table: &TomlTable| table.get(key).and_then(Item::as_str) == Some(name);
    let at = tables.iter().position(named).ok_or_else(missing)?;
    tables.remove(at);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Share;

    const TEXT: &str = "# why\n[repository]\nkey = { env = \"K\" }\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\" # here\n\n# the first\n[[share]]\nname = \"a\"\n";

    fn file() -> (tempfile::TempDir, SettingsFile) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = SettingsFile::new(folder.path().join("tidegate.toml"));
        file.create(TEXT).expect("written");
        (folder, file)
    }

    fn share(name: &str) -> TomlTable {
        TomlTable::from_iter([("name", toml_edit::value(name))])
    }

    #[test]
    fn an_edit_keeps_comments_and_rights_and_leaves_no_other_file() {
        let (folder, file) = file();
        std::fs::set_permissions(file.path(), Permissions::from_mode(0o640)).expect("its mode");
        let edit = file.edit(|document| add_table::<Share>(document, share("b"))).expect("edited");
        assert_eq!(edit.settings.shares.len(), 2);
        let text = std::fs::read_to_string(file.path()).expect("readable");
        assert!(text.starts_with(TEXT), "{text}");
        assert_eq!(std::fs::metadata(file.path()).expect("there").permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1);
        file.edit(|document| remove_table::<Share>(document, "b")).expect("edited back");
        assert_eq!(std::fs::read_to_string(file.path()).expect("readable"), TEXT);
    }

    #[test]
    fn an_edit_that_would_be_refused_changes_nothing() {
        let (_folder, file) = file();
        assert!(file.edit(|document| add_table::<Share>(document, share("a"))).is_err(), "the name is taken");
        assert!(file.edit(|document| remove_table::<Share>(document, "zzz")).is_err());
        assert!(file.create(TEXT).is_err(), "a file is not replaced");
        assert_eq!(std::fs::read_to_string(file.path()).expect("readable"), TEXT);
    }

    #[test]
    fn taking_back_does_not_touch_what_somebody_wrote_since() {
        let (_folder, file) = file();
        let edit = file.edit(|document| add_table::<Share>(document, share("b"))).expect("edited");
        file.take_back(&edit).expect("taken back");
        assert_eq!(std::fs::read_to_string(file.path()).expect("readable"), TEXT);
        let edit = file.edit(|document| add_table::<Share>(document, share("b"))).expect("edited");
        file.edit(|document| add_table::<Share>(document, share("c"))).expect("edited by another");
        file.take_back(&edit).expect("left alone");
        assert_eq!(file.load().expect("readable").shares.len(), 3);
    }

    #[test]
    fn a_missing_file_says_what_to_do() {
        let error = SettingsFile::new("/nowhere/tidegate.toml").load().expect_err("missing").to_string();
        assert!(error.contains("/nowhere/tidegate.toml") && error.contains("--settings"), "{error}");
    }
}
