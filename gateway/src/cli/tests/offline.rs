//! Claims about the commands that need no running gateway, on a repository in a directory.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::assembly::{open_appliance, share_config};

/// An empty machine beside a repository.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self) -> PathBuf {
        self.path("tidegate.toml")
    }

    /// The options that a machine without settings needs.
    fn place(&self, data: &str) -> String {
        let folder = self.folder.path().display();
        format!(
            "--address file://{folder}/repository --data {folder}/{data} --key-file {folder}/key --socket {folder}/admin.sock --listen 127.0.0.1:0"
        )
    }

    async fn run(&self, settings: &str, line: &str) -> (u8, String) {
        run_line(&self.path(settings), line).await
    }

    async fn init(&self) -> Value {
        let (code, data) = self.run("tidegate.toml", &format!("init --json {}", self.place("data"))).await;
        assert_eq!(code, 0, "{data}");
        serde_json::from_str(&data).expect("JSON")
    }
}

#[tokio::test]
async fn init_makes_a_repository_a_private_key_a_recovery_key_and_settings() {
    let machine = Machine::new();
    let made = machine.init().await;
    let settings = SettingsFile::new(machine.settings()).load().expect("valid");
    assert_eq!(settings.targets[0].address.to_string(), made["address"]);
    let mode = std::fs::metadata(machine.path("key")).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let recovery = made["recovery_key"].as_str().expect("shown");
    assert!(!std::fs::read_to_string(machine.settings()).expect("text").contains(recovery));

    let file = machine.path("recovery");
    std::fs::write(&file, recovery).expect("written");
    set_permissions(&file, Permissions::from_mode(0o600)).expect("private");
    let text = std::fs::read_to_string(machine.settings()).expect("text");
    let text = text.replace(&machine.path("key").display().to_string(), &file.display().to_string());
    std::fs::write(machine.path("other.toml"), text).expect("written");
    let (code, slots) = machine.run("other.toml", "key list --json").await;
    assert_eq!(code, 0, "the recovery key opens it");
    assert_eq!(serde_json::from_str::<Value>(&slots).expect("JSON").as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn init_refuses_what_is_there_and_changes_nothing() {
    let machine = Machine::new();
    assert_eq!(machine.run("tidegate.toml", "init").await.0, 2, "nothing says where");
    machine.init().await;
    assert_eq!(machine.run("tidegate.toml", "init").await.0, 5, "there is a repository");
    let place = machine.place("data");
    assert_eq!(machine.run("tidegate.toml", &format!("init {place}")).await.0, 2, "there are settings");
    assert_eq!(machine.run("new.toml", &format!("init {place}")).await.0, 5);
    assert!(!machine.path("new.toml").exists());
    let elsewhere = place.replace("file://", "file:///dev/null");
    assert_ne!(machine.run("new.toml", &format!("init {elsewhere}")).await.0, 0);
    assert!(!machine.path("new.toml").exists());
}

#[tokio::test]
async fn slots_are_added_and_removed_but_never_the_last() {
    let machine = Machine::new();
    machine.init().await;
    let passphrase = machine.path("passphrase");
    std::fs::write(&passphrase, "correct horse\n").expect("written");
    let add = format!("key add passphrase {} --label desk --json", passphrase.display());
    assert_eq!(machine.run("tidegate.toml", &add).await.0, 6, "others can read the file");
    set_permissions(&passphrase, Permissions::from_mode(0o600)).expect("private");
    let (code, added) = machine.run("tidegate.toml", &add).await;
    assert_eq!(code, 0);
    let added: Value = serde_json::from_str(&added).expect("JSON");
    let (_, list) = machine.run("tidegate.toml", "key list").await;
    assert!(list.contains("passphrase") && list.contains("desk"), "{list}");

    // The key of the settings goes last: with it the repository is opened to remove the others.
    let (_, slots) = machine.run("tidegate.toml", "key list --json").await;
    let mut slots: Vec<Value> = serde_json::from_str(&slots).expect("JSON");
    slots.sort_by_key(|slot| slot["kind"] == "key-file");
    for (at, slot) in slots.iter().enumerate() {
        let expected = if at + 1 < slots.len() { 0 } else { 3 };
        let id = slot["id"].as_str().expect("an id");
        assert_eq!(
            machine.run("tidegate.toml", &format!("key remove {id} --yes")).await.0,
            expected,
            "{slot}"
        );
    }
    assert!(slots.iter().any(|slot| slot["id"] == added["id"]));
    assert_eq!(machine.run("tidegate.toml", "key remove zz --yes").await.0, 4);
}

#[tokio::test]
async fn a_wrong_key_opens_nothing() {
    let machine = Machine::new();
    machine.init().await;
    std::fs::write(machine.path("key"), "guess\n").expect("written");
    assert_eq!(machine.run("tidegate.toml", "key list").await.0, 6);
}

#[tokio::test]
async fn a_share_is_attached_on_an_empty_machine_with_the_rules_from_its_head() {
    let machine = Machine::new();
    machine.init().await;
    let add = "share add docs --export /exported --client 10.0.0.0/8 --rpo 5s";
    assert_eq!(machine.run("tidegate.toml", add).await.0, 0);
    let settings = SettingsFile::new(machine.settings()).load().expect("valid");
    let appliance = open_appliance(&settings).await.expect("opened");
    appliance.serve(share_config(&settings.shares[0])).await.expect("served");
    appliance.commit("docs").await.expect("published");
    appliance.close().await.expect("closed");

    let line = format!("attach docs {} --rpo 7s --json", machine.place("elsewhere"));
    let (code, data) = machine.run("elsewhere.toml", &line).await;
    assert_eq!(code, 0, "{data}");
    let there = SettingsFile::new(machine.path("elsewhere.toml")).load().expect("valid");
    let share = there.share("docs").expect("attached");
    assert_eq!(share.export_path().as_str(), "/exported");
    assert_eq!(share.clients, settings.shares[0].clients);
    assert_eq!(share.rpo.to_string(), "7s");
    assert_eq!(machine.run("elsewhere.toml", "attach docs").await.0, 0, "attaching again changes nothing");
    assert_eq!(machine.run("elsewhere.toml", "attach none").await.0, 4);
    assert_eq!(machine.run("elsewhere.toml", "attach docs --at head:none").await.0, 4);
    assert_eq!(machine.run("elsewhere.toml", "attach docs --at live").await.0, 2);
}
