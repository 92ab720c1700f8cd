//! Goal: programs that know S3 find in our buckets what they find in Amazon's.
//!
//! Method: a gateway with a bucket of objects and a share bucket runs as a process; each client is the program that
//! people use, with its own configuration, against both. Trees that went up and came back are compared byte for
//! byte. The gateway's log may hold no error.
//!
//! A client that is not installed is said to be skipped.

mod aws_cli;
mod backup;
mod boto;
mod contract;
mod crash;
mod idle;
mod immutable;
mod postgres;
mod slow;
mod sync;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;
use tidegate_integration::chance::Chance;
use tidegate_integration::gateway::{Gateway, SHARE, free_address};
use tidegate_replicator::store::{Credentials, Store, StoreSettings, open};

/// The bucket of objects.
const FLAT: &str = "backups";
/// The share as a bucket.
const TREE: &str = SHARE;
/// The access key, and what it is.
const ACCESS_KEY: &str = "tidegate-test";
const SECRET: &str = "a-secret-of-the-tests";

/// A gateway with its buckets, and a folder for what clients need.
struct Front {
    folder: TempDir,
    gateway: Gateway,
    address: SocketAddr,
}

impl Front {
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// With some of its settings replaced.
    fn start_with(changes: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = free_address();
        let secret = folder.path().join("secret");
        write_secret(&secret);
        let settings = format!(
            "\n[s3]\nlisten = [\"{address}\"]\nconnections = 12000\n\n\
             [[bucket]]\nname = \"{FLAT}\"\nrpo = \"1s\"\n\n\
             [[bucket]]\nname = \"{TREE}\"\nshare = \"{SHARE}\"\n\n\
             [[access_key]]\nid = \"{ACCESS_KEY}\"\nsecret = {{ file = \"{}\" }}\nuid = 0\ngid = 0\n",
            secret.display()
        );
        let mut gateway = Gateway::create_with(folder.path(), &settings);
        for (from, to) in changes {
            gateway.change_settings(from, to);
        }
        gateway.start();
        Self { folder, gateway, address }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program with the credentials in its environment, where most look.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ENDPOINT_URL", self.endpoint())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("HOME", self.folder.path())
            .env_remove("AWS_CA_BUNDLE")
            .current_dir(self.folder.path());
        command
    }

    /// Stops the gateway, which must have found nothing to complain of.
    fn stop(mut self) {
        assert!(self.gateway.stop().success(), "it stops well:\n{}", self.gateway.log());
        assert!(!self.gateway.log().contains("ERROR"), "no operation failed inside:\n{}", self.gateway.log());
    }
}

fn write_secret(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, SECRET).expect("a writable folder");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its mode");
}

/// What our own store adapter needs for a bucket.
fn store_settings(endpoint: &str, bucket: &str) -> (StoreSettings, Credentials) {
    let address = format!("s3://{bucket}/store").parse().expect("an address");
    let settings = StoreSettings { endpoint: Some(endpoint.into()), ..StoreSettings::new(address) };
    let credentials = Credentials::Static {
        access_key: ACCESS_KEY.into(),
        secret_key: SECRET.to_owned().into(),
        session_token: None,
    };
    (settings, credentials)
}

/// A bucket through our own store adapter.
fn store_at(endpoint: &str, bucket: &str) -> Arc<dyn Store> {
    let (settings, credentials) = store_settings(endpoint, bucket);
    open("test", &settings, &credentials, None).expect("opened").store
}

/// Whether a program is there; where not, says that the test is skipped.
fn has(test: &str, program: &str, version: &str) -> bool {
    let found = Command::new(program).arg(version).output().is_ok_and(|done| done.status.success());
    if !found {
        println!("{test}: skipped: {program} is not installed");
    }
    found
}

/// What a program prints, which must succeed.
fn run(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{command:?} failed with {}:\n{out}\n{err}", done.status);
    out.into_owned()
}

/// A tree with names and sizes that clients trip over: empty, around the size where parts begin, with spaces and
/// letters beyond ASCII.
fn plant(folder: &Path, seed: u64) {
    let mut chance = Chance::new(seed);
    let sizes = [0, 1, 4096, 70_000, 5 << 20, (8 << 20) + 1, 17 << 20];
    let names = ["empty", "one", "a page", "dir/größe", "dir/deep/er/five", "dir-x", "dir/parts+more&so on"];
    for (name, size) in names.iter().zip(sizes) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("a writable folder");
        fs::write(path, chance.bytes(size)).expect("a writable folder");
    }
}

/// Asserts that two trees hold the same files.
fn assert_same(one: &Path, other: &Path) {
    run(Command::new("diff").arg("-r").arg(one).arg(other));
}
