//! Lists a folder, deep first, one open folder for each level.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::Dir;
use tidegate_replicator::backup::{BackupError, Listed, SourceError, Told};
use tidegate_replicator::map::Kind;

use super::super::selection::Meant;
use super::{FolderOptions, entry, open_below};

/// Levels of folders that are gone down. The system lets a process open so many files at once.
const LEVELS_MAX: usize = 256;

struct Level {
    folder: OwnedFd,
    names: Dir,
    path: Vec<u8>,
}

struct Walk<'w> {
    options: &'w FolderOptions,
    /// That of the top.
    file_system: u64,
    /// File system and number of what is never saved.
    never: Vec<(u64, u64)>,
    levels: Vec<Level>,
}

pub(super) fn walk(top: &OwnedFd, options: &FolderOptions, told: Told<'_>) -> Result<(), BackupError> {
    let whole =
        |error| SourceError::because(format!("folder {} cannot be read", options.folder.display()), error);
    let stat = entry::look(top).map_err(whole)?;
    let found = entry::found(Vec::new(), &stat).ok_or_else(|| SourceError::new("the folder is none"))?;
    told(Listed::Found(found))?;
    let never = options.never.iter().filter_map(|path| identity(path)).collect();
    let mut walk = Walk { options, file_system: entry::file_system(&stat), never, levels: Vec::new() };
    let folder = top.try_clone().map_err(whole)?;
    let names = Dir::read_from(&folder).map_err(|error| whole(error.into()))?;
    walk.levels.push(Level { folder, names, path: Vec::new() });
    walk.run(top, told)
}

/// What tells a folder from every other.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = rustix::fs::open(
        path,
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    let stat = entry::look(found.ok()?).ok()?;
    Some((entry::file_system(&stat), stat.stx_ino))
}

impl Walk<'_> {
    fn run(&mut self, top: &OwnedFd, told: Told<'_>) -> Result<(), BackupError> {
        while let Some(level) = self.levels.last_mut() {
            let next = match level.names.read() {
                None => {
                    self.levels.pop();
                    continue;
                }
                Some(Err(error)) => {
                    let path = level.path.clone();
                    self.levels.pop();
                    let why = format!("the names in it cannot be read: {}", std::io::Error::from(error));
                    told(Listed::Unreadable { path, why })?;
                    continue;
                }
                Some(Ok(next)) => next,
            };
            let name = next.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let is_folder = next.file_type() == rustix::fs::FileType::Directory;
            if let Some(path) = self.visit(name, is_folder, told)? {
                self.enter(top, path, told)?;
            }
        }
        Ok(())
    }

    /// Tells of a name; gives the path of a folder that is to be gone into.
    fn visit(
        &mut self,
        name: &CStr,
        is_folder: bool,
        told: Told<'_>,
    ) -> Result<Option<Vec<u8>>, BackupError> {
        let Some(level) = self.levels.last() else { return Ok(None) };
        let path = match &level.path[..] {
            [] => name.to_bytes().to_vec(),
            above => [above, b"/", name.to_bytes()].concat(),
        };
        let selection = &self.options.selection;
        // The kind that the folder says may be unknown; whatever that is, it is asked again below.
        if is_folder && selection.of(&path, true) == Meant::No {
            return Ok(None);
        }
        let stat = match entry::look_at(&level.folder, name) {
            Ok(stat) => stat,
            // It has gone since it was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                if selection.of(&path, false) == Meant::Yes {
                    told(Listed::Unreadable { path, why: error.to_string() })?;
                }
                return Ok(None);
            }
        };
        let Some(mut found) = entry::found(path, &stat) else { return Ok(None) };
        let is_folder = found.kind == Kind::Directory;
        let meant = selection.of(&found.path, is_folder);
        let is_ours = self.never.contains(&(found.file_system, found.number));
        if meant == Meant::No || is_ours {
            return Ok(None);
        }
        found.only_with_content = meant == Meant::OnTheWay;
        if found.kind == Kind::Symlink {
            match entry::target(&level.folder, name) {
                Ok(target) => found.target = target,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => {
                    told(Listed::Unreadable { path: found.path, why: error.to_string() })?;
                    return Ok(None);
                }
            }
        }
        let goes_on = !self.options.one_file_system || found.file_system == self.file_system;
        let path = found.path.clone();
        told(Listed::Found(found))?;
        Ok((is_folder && goes_on).then_some(path))
    }

    fn enter(&mut self, top: &OwnedFd, path: Vec<u8>, told: Told<'_>) -> Result<(), BackupError> {
        if self.levels.len() >= LEVELS_MAX {
            let why = format!("it lies deeper than {LEVELS_MAX} folders");
            return told(Listed::Unreadable { path, why });
        }
        let opened = open_below(top, &path).and_then(|folder| {
            let names = Dir::read_from(&folder)?;
            Ok((folder, names))
        });
        match opened {
            Ok((folder, names)) => self.levels.push(Level { folder, names, path }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let why = format!("what is in it cannot be read: {error}");
                told(Listed::Unreadable { path, why })?;
            }
        }
        Ok(())
    }
}
