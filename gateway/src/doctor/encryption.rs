//! Whether the disk of the local state is encrypted: journal and cache are not, so what protects them from whoever carries
//! the disk away is the disk (`docs/threat-model.md`).
//!
//! Looks at block devices as the kernel shows them below `/sys/dev/block` (sysfs(5)): a device of dm-crypt has a
//! `dm/uuid` that begins with `CRYPT-` (LUKS, plain and VeraCrypt alike); one that is made of others, as LVM and RAID are, is
//! encrypted when all of them are. A disk that encrypts by itself cannot be told from one that does not.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{major, minor};

use super::Finding;
use crate::settings::Settings;

/// Devices that stand on each other, at most.
const DEPTH_MAX: usize = 16;

/// What is known of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Encrypted,
    Plain,
    Nothing,
}

pub(super) fn examine(settings: &Settings) -> Option<Finding> {
    let folder = settings.gateway.data.as_path();
    let device = folder.ancestors().find_map(|above| fs::metadata(above).ok())?.dev();
    let place = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    let check = "encryption";
    Some(match known_of(Path::new(&place), DEPTH_MAX) {
        Known::Encrypted => Finding::good(check, "the disk of the data folder is encrypted"),
        Known::Plain => Finding::warning(check, "the disk of the data folder is not encrypted, as far as the system knows")
            .todo("whoever carries it away reads what waits to leave and what is cached: put gateway.data on dm-crypt (LUKS), or know that the disk encrypts by itself"),
        Known::Nothing => Finding::warning(check, "whether the disk of the data folder is encrypted cannot be found out")
            .todo("journal and cache are not encrypted by the gateway: see to it that the file system or its disk is"),
    })
}

/// What the kernel says about a device, by its folder.
fn known_of(device: &Path, depth: usize) -> Known {
    if depth == 0 || !device.exists() {
        return Known::Nothing;
    }
    if fs::read_to_string(device.join("dm/uuid")).is_ok_and(|uuid| uuid.starts_with("CRYPT-")) {
        return Known::Encrypted;
    }
    let below: Vec<_> = fs::read_dir(device.join("slaves")).into_iter().flatten().flatten().collect();
    if below.is_empty() {
        return Known::Plain;
    }
    let known = below.iter().map(|entry| known_of(&entry.path(), depth - 1));
    let worst = |one, other| match (one, other) {
        (Known::Plain, _) | (_, Known::Plain) => Known::Plain,
        (Known::Nothing, _) | (_, Known::Nothing) => Known::Nothing,
        (Known::Encrypted, Known::Encrypted) => Known::Encrypted,
    };
    known.reduce(worst).unwrap_or(Known::Nothing)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A device as sysfs shows it: with a uuid of the device mapper, over others.
    fn device(folder: &Path, name: &str, uuid: Option<&str>, over: &[&str]) {
        let place = folder.join(name);
        fs::create_dir_all(place.join("slaves")).expect("made");
        if let Some(uuid) = uuid {
            fs::create_dir(place.join("dm")).expect("made");
            fs::write(place.join("dm/uuid"), uuid).expect("written");
        }
        for below in over {
            symlink(folder.join(below), place.join("slaves").join(below)).expect("made");
        }
    }

    #[test]
    fn a_device_is_encrypted_when_all_that_it_stands_on_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        device(at, "sda", None, &[]);
        device(at, "luks", Some("CRYPT-LUKS2-0123-root\n"), &["sda"]);
        device(at, "lvm", Some("LVM-x\n"), &["luks"]);
        device(at, "raid", None, &["lvm", "sda"]);
        device(at, "round", None, &["round"]);
        let known = |name: &str| known_of(&at.join(name), DEPTH_MAX);
        assert_eq!(
            (known("sda"), known("luks"), known("lvm")),
            (Known::Plain, Known::Encrypted, Known::Encrypted)
        );
        assert_eq!((known("raid"), known("none")), (Known::Plain, Known::Nothing));
        assert_eq!(known("round"), Known::Nothing, "it ends");
    }
}
