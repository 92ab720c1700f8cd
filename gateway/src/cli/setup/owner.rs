//! Handing what was made to the user that the gateway runs as, and letting its unit write there.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::exit::Failure;
use super::super::terminal::failed;
use crate::control::{ControlError, ErrorKind};
use crate::settings::{Credentials, RepositoryAddress, SecretReference, Settings};

/// Where the package puts its unit, and where drop-ins of this machine lie.
const UNITS: [&str; 2] = ["/lib/systemd/system/tidegate.service", "/usr/lib/systemd/system/tidegate.service"];
const DROP_IN: &str = "/etc/systemd/system/tidegate.service.d/paths.conf";
/// What the unit may write to without one.
const UNIT_DATA: &str = "/var/lib/tidegate";

/// Gives settings, keys, credentials and folders to the user, when this is root and there is such a user; writes a
/// drop-in for the unit, where there is a unit that needs one, and answers its path.
pub(super) fn hand_over(
    settings_file: &Path,
    settings: &Settings,
    user: &str,
) -> Result<Option<String>, Failure> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let Some((uid, gid)) = ids_of(user)? else { return Ok(None) };
    let mut paths = vec![settings_file.to_owned()];
    let secrets = settings.targets.iter().filter_map(|target| match &target.credentials {
        Credentials::Secret(secret) => Some(secret),
        Credentials::Ambient => None,
    });
    for secret in secrets.chain([&settings.repository.key]) {
        if let SecretReference::File(path) = secret {
            paths.push(path.as_path().to_owned());
        }
    }
    let data = settings.gateway.data.as_path();
    if !data.exists() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
        made.map_err(|error| failed(&format!("make {}", data.display()), &error))?;
    }
    paths.push(data.to_owned());
    for folder in folders(settings) {
        below(&folder, &mut paths).map_err(|error| failed(&format!("list {}", folder.display()), &error))?;
    }
    for path in paths {
        chown(&path, Some(uid), Some(gid))
            .map_err(|error| failed(&format!("give {} to {user}", path.display()), &error))?;
    }
    drop_in(settings)
}

/// Folders that are targets.
fn folders(settings: &Settings) -> impl Iterator<Item = PathBuf> {
    settings.targets.iter().filter_map(|target| match &target.address {
        RepositoryAddress::File(path) => Some(path.as_path().to_owned()),
        RepositoryAddress::S3 { .. } => None,
    })
}

/// A folder and everything in it; of a repository that was just made, that is little.
fn below(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    paths.push(folder.to_owned());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            below(&entry.path(), paths)?;
        } else {
            paths.push(entry.path());
        }
    }
    Ok(())
}

/// The numbers of a user, by the system's own look-up; none if there is no such user.
fn ids_of(user: &str) -> Result<Option<(u32, u32)>, Failure> {
    let number = |option: &str| -> Result<Option<u32>, ControlError> {
        let said = Command::new("id").arg(option).arg(user).output();
        let said = said.map_err(|error| failed("run `id`", &error))?;
        let text = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        if !said.status.success() {
            return Ok(None);
        }
        let wrong = |_| ControlError::new(ErrorKind::Failed, format!("`id {option} {user}` said {text:?}"));
        text.parse().map(Some).map_err(wrong)
    };
    Ok(number("-u")?.zip(number("-g")?))
}

fn drop_in(settings: &Settings) -> Result<Option<String>, Failure> {
    let data = settings.gateway.data.as_path().to_owned();
    let own = (!data.starts_with(UNIT_DATA)).then_some(data);
    let written: Vec<PathBuf> = folders(settings).chain(own).collect();
    if written.is_empty() || !UNITS.iter().any(|unit| Path::new(unit).exists()) {
        return Ok(None);
    }
    let lines: String =
        written.iter().map(|path| format!("ReadWritePaths=\"{}\"\n", path.display())).collect();
    let text = format!("# What the gateway's settings name outside its state folder.\n[Service]\n{lines}");
    let path = Path::new(DROP_IN);
    let write = || -> io::Result<()> {
        fs::create_dir_all(path.parent().expect("it lies in a folder"))?;
        fs::write(path, text)
    };
    write().map_err(|error| failed(&format!("write {DROP_IN}"), &error))?;
    // Where no systemd runs there is nobody to tell, and what starts later reads it anyway.
    let _ = Command::new("systemctl").arg("daemon-reload").output();
    Ok(Some(DROP_IN.to_owned()))
}
