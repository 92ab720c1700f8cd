//! Goal: what is wrong is refused, with a message that says what, where, and what to do; nothing is done
//! by halves, no secret is told, and nothing hangs.
//!
//! Method: the real program is started on what is wrong. Its exit code and its words are compared with
//! what they must be, and the folders that it could touch with what they were before.

mod keys;
mod local_state;
mod packets;
mod repositories;
mod rooms;
mod settings;
mod stores;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tidegate_integration::attempt::picture;
use tidegate_integration::gateway::Gateway;
use tidegate_integration::nfs::Nfs;

/// A gateway that has a repository, and was never started.
struct Place {
    folder: TempDir,
    gateway: Gateway,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let gateway = Gateway::create(folder.path());
        Self { folder, gateway }
    }

    /// One that has served a file, which is published; it was killed.
    async fn used() -> Self {
        let mut place = Self::new();
        place.gateway.start();
        let mut nfs = Nfs::connect(place.gateway.address()).await;
        let root = nfs.root();
        let file = nfs.create(&root, b"file").await.expect("a file");
        nfs.write(&file, 0, b"content").await.expect("a write");
        place.gateway.commit();
        place.gateway.kill();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Everything that the program could touch.
    fn picture(&self) -> BTreeMap<PathBuf, String> {
        picture(self.folder.path())
    }

    /// What must not be told: the secret part of its key.
    fn secrets(&self) -> Vec<String> {
        let key = fs::read_to_string(self.gateway.key()).expect("the key file");
        vec![key.split('-').nth(3).expect("the third dash is before the secret").to_owned()]
    }

    /// Changes the settings file.
    fn edit(&self, change: impl FnOnce(String) -> String) {
        let path = self.gateway.settings();
        let text = fs::read_to_string(&path).expect("settings");
        fs::write(&path, change(text)).expect("a writable folder");
    }
}

/// Writes a file that only its owner may read.
fn write_private(path: &Path, text: &str) {
    fs::write(path, text).expect("a writable folder");
    set_mode(path, 0o600);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its owner may");
}

/// Compares two pictures; panics with what came, went and changed.
fn assert_untouched(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) {
    let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
    let changed: Vec<_> = before.keys().chain(after.keys()).filter(differs).collect();
    assert!(changed.is_empty(), "something was done by halves: {changed:?}");
}
