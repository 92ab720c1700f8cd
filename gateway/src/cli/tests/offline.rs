//! Claims about the commands that need no running gateway, on a repository in a directory.

use std::collections::BTreeMap;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;
use tidegate_protocols::view::{CreateHow, SetAttributes};
use tidegate_replicator::map::InodeNumber;

use super::{SettingsFile, run_line};
use crate::assembly::{Running, open_appliance, share_config};
use crate::control::{Control, TargetStatus};
use crate::namespace::{Context, Credentials};

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

    /// The options that say where the repository lies.
    fn repository(&self) -> String {
        let folder = self.folder.path().display();
        format!("--address file://{folder}/repository --key-file {folder}/key")
    }

    /// A repository with one share, which has one file; its content.
    async fn with_a_file(&self) -> Vec<u8> {
        self.init().await;
        assert_eq!(self.run("tidegate.toml", "share add docs --rpo 5s").await.0, 0);
        let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let settings = SettingsFile::new(self.settings()).load().expect("valid");
        let appliance = Box::pin(open_appliance(&settings)).await.expect("opened");
        appliance.serve(share_config(&settings.shares[0])).await.expect("served");
        let namespace = appliance.namespace("docs").expect("served");
        let context = Context::ROOT;
        let set = SetAttributes { mode: Some(0o640), ..SetAttributes::default() };
        let made = namespace.create(context, InodeNumber::ROOT, b"file", CreateHow::Guarded(set)).await;
        let file = made.expect("created").object.expect("an object").number;
        for (at, piece) in content.chunks(1 << 20).enumerate() {
            let data = Bytes::copy_from_slice(piece);
            namespace.write(&Credentials::ROOT, file, (at << 20) as u64, data).await.expect("written");
        }
        appliance.commit("docs").await.expect("published");
        appliance.close().await.expect("closed");
        content
    }

    /// All files of the repository, with their content.
    fn stored(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut files, mut folders) = (BTreeMap::new(), vec![self.path("repository")]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.insert(path.clone(), std::fs::read(path).expect("a file"));
                }
            }
        }
        files
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
    let own = slots.last().and_then(|slot| slot["id"].as_str()).expect("an id");
    let refused = machine.run("tidegate.toml", &format!("key remove {own} --yes")).await.0;
    assert_eq!(refused, 5, "the gateway could not start again");
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
async fn a_slot_needs_no_label() {
    let machine = Machine::new();
    machine.init().await;
    let file = machine.path("new.key");
    assert_eq!(machine.run("tidegate.toml", &format!("key add key-file {}", file.display())).await.0, 0);
    assert_eq!(machine.run("tidegate.toml", "key add recovery").await.0, 0);
    assert!(file.exists());
}

#[tokio::test]
async fn moments_are_listed_where_no_gateway_runs() {
    let machine = Machine::new();
    machine.with_a_file().await;
    let (code, heads) = machine.run("tidegate.toml", "head list docs --json").await;
    assert_eq!(code, 0, "{heads}");
    let heads: Value = serde_json::from_str(&heads).expect("JSON");
    assert!(heads.as_array().is_some_and(|heads| !heads.is_empty()), "{heads}");
    assert_eq!(machine.run("tidegate.toml", "snapshot list docs --json").await, (0, "[]\n".to_owned()));
    assert_eq!(machine.run("tidegate.toml", "head list none").await.0, 4);
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
    let appliance = Box::pin(open_appliance(&settings)).await.expect("opened");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_share_is_restored_to_a_folder_from_repository_and_key_alone() {
    let machine = Machine::new();
    let content = machine.with_a_file().await;
    let before = machine.stored();
    let (to, place) = (machine.path("restored"), machine.repository());
    let line = format!("restore docs --to {} {place}", to.display());
    let (code, data) = machine.run("none.toml", &format!("{line} --dry-run --json")).await;
    assert_eq!(code, 0, "{data}");
    assert!(!to.exists());
    let (code, data) = machine.run("none.toml", &format!("{line} --json")).await;
    assert_eq!(code, 0, "{data}");
    let report: Value = serde_json::from_str(&data).expect("JSON");
    assert_eq!((&report["files"], &report["bytes"]), (&1.into(), &content.len().into()));
    assert!(report["requests"].as_u64().is_some_and(|requests| requests > 3), "{report}");
    assert!(std::fs::read(to.join("file")).expect("restored") == content);
    let mode = std::fs::metadata(to.join("file")).expect("restored").permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert_eq!(machine.run("none.toml", &line).await.0, 5, "the folder is not empty");

    let one = machine.path("one");
    for (path, at, code) in
        [("/none", "head", 4), ("/file", "snapshot:none", 4), ("/file", "at:2001-01-01T00:00:00Z", 4)]
    {
        let line = format!("restore docs {path} --at {at} --to {} {place}", one.display());
        assert_eq!(machine.run("none.toml", &line).await.0, code, "{path} {at}");
    }
    let line = format!("restore docs /file --at at:2999-01-01T00:00:00Z --to {}", one.display());
    assert_eq!(machine.run("tidegate.toml", &line).await.0, 0);
    assert!(std::fs::read(one.join("file")).expect("restored") == content);
    let live = format!("restore docs --at live --to {}", machine.path("live").display());
    assert_eq!(machine.run("tidegate.toml", &live).await.0, 11, "no gateway runs");
    assert!(!machine.path("none.toml").exists());
    assert!(machine.stored() == before, "nothing was written to the repository");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_clean_or_names_what_is_lost_and_a_restore_saves_the_rest() {
    let machine = Machine::new();
    machine.with_a_file().await;
    let (code, data) = machine.run("tidegate.toml", "check docs --read-data --json").await;
    assert_eq!(code, 0, "{data}");
    let report: Value = serde_json::from_str(&data).expect("JSON");
    assert_eq!(report["findings"], serde_json::json!([]));
    assert_eq!(machine.run("tidegate.toml", "check nobody").await.0, 4);
    let (code, text) = machine.run("tidegate.toml", "check --read-data=50% --seed 7").await;
    assert!(code == 0 && text.contains("--seed 7") && text.contains("no damage was found"), "{text}");

    let stored = machine.stored();
    let is_pack = |path: &&PathBuf| {
        path.parent().is_some_and(|folder| folder.parent().is_some_and(|at| at.ends_with("packs")))
    };
    let pack = stored.iter().filter(|(path, _)| is_pack(path)).max_by_key(|(_, bytes)| bytes.len());
    let (pack, bytes) = pack.expect("a pack");
    let mut spoilt = bytes.clone();
    spoilt[5000] ^= 1;
    std::fs::write(pack, spoilt).expect("written");
    let (code, data) = machine.run("tidegate.toml", "check --read-data --json").await;
    assert_eq!(code, 9);
    let report: Value = serde_json::from_str(&data).expect("JSON");
    let name = pack.file_name().expect("a name").to_string_lossy().into_owned();
    let named = |finding: &Value| {
        finding["object"].as_str().is_some_and(|object| object.ends_with(&name)) && finding["path"] == "/file"
    };
    assert!(report["findings"].as_array().is_some_and(|findings| findings.iter().any(named)), "{report}");
    let to = machine.path("restored");
    let (code, data) =
        machine.run("tidegate.toml", &format!("restore docs --to {} --json", to.display())).await;
    assert_eq!(code, 9);
    let report: Value = serde_json::from_str(&data).expect("JSON");
    assert_eq!(report["failures"][0]["path"], "/file");
    assert!(!to.join("file").exists());

    let config = machine.path("repository").join("config");
    std::fs::write(config, b"").expect("written");
    let (code, data) = machine.run("tidegate.toml", "check --json").await;
    assert!(code == 9 && data.contains("\"object\": \"config\""), "{data}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attached_read_only_a_share_is_followed_and_its_gateway_goes_on() {
    let machine = Machine::new();
    machine.with_a_file().await;
    let before = machine.stored();
    let line = format!("attach docs --read-only --rpo 1s {} --json", machine.place("elsewhere"));
    let (code, data) = machine.run("elsewhere.toml", &line).await;
    assert_eq!(code, 0, "{data}");
    assert!(machine.stored() == before, "no lease was taken");
    let there = SettingsFile::new(machine.path("elsewhere.toml")).load().expect("valid");
    assert!(there.share("docs").is_some_and(|share| share.follow));
    assert_eq!(machine.run("elsewhere.toml", "attach docs --read-only").await.0, 0, "again changes nothing");
    assert_eq!(machine.run("elsewhere.toml", "attach docs --read-only --at head:x").await.0, 4);
    assert_eq!(machine.run("tidegate.toml", "attach docs --read-only").await.0, 5, "it is served here");

    let home = SettingsFile::new(machine.settings()).load().expect("valid");
    let leader = open_appliance(&home).await.expect("opened");
    leader.serve(share_config(&home.shares[0])).await.expect("served");
    let follower = open_appliance(&there).await.expect("opened");
    let share = follower.serve(share_config(&there.shares[0])).await.expect("served");
    let context = Context::ROOT;
    let set = SetAttributes::default();
    let namespace = leader.namespace("docs").expect("served");
    namespace.create(context, InodeNumber::ROOT, b"newer", CreateHow::Guarded(set)).await.expect("created");
    leader.commit("docs").await.expect("it still leads");
    let served = follower.files().share(share).expect("served");
    assert!(served.rules.read_only);
    let follows = async {
        loop {
            let reader = served.namespace.reader();
            let root = reader.node(InodeNumber::ROOT).await.expect("there");
            if reader.lookup(&root, b"newer", &Credentials::ROOT).await.is_ok() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), follows).await.expect("it follows");
    follower.close().await.expect("closed");
    leader.close().await.expect("closed");
}

/// Serves the share and publishes, as a gateway does that runs for a while.
async fn publish(machine: &Machine) {
    let settings = SettingsFile::new(machine.settings()).load().expect("valid");
    let appliance = Box::pin(open_appliance(&settings)).await.expect("opened");
    appliance.serve(share_config(&settings.shares[0])).await.expect("served");
    appliance.commit("docs").await.expect("published");
    appliance.close().await.expect("closed");
}

#[tokio::test]
async fn the_words_of_a_recovery_sheet_open_what_was_sealed_anew_after_a_rotation() {
    let machine = Machine::new();
    let content = machine.with_a_file().await;
    let (code, sheet) = machine.run("tidegate.toml", "key recovery-sheet --json").await;
    assert_eq!(code, 0);
    let sheet: Value = serde_json::from_str(&sheet).expect("JSON");
    let (_, page) = machine.run("tidegate.toml", "key recovery-sheet --label safe").await;
    assert!(page.contains("24 words") && page.contains("safe"), "{page}");

    let usage = async || {
        let (code, usage) = machine.run("tidegate.toml", "key usage --json").await;
        assert_eq!(code, 0, "{usage}");
        serde_json::from_str::<Value>(&usage).expect("JSON")
    };
    let before = usage().await;
    assert_eq!(before["old_packs"], 0, "{before}");
    assert_eq!(machine.run("tidegate.toml", "key rotate --yes").await.0, 0);
    let rotated = usage().await;
    assert_eq!(rotated["old_packs"], before["packs"], "{rotated}");
    let collect = "gc --reseal --grace 0s --delete-percent-max 100 --wait 1ms --yes";
    assert_eq!(machine.run("tidegate.toml", collect).await.0, 12, "it waits for the gateway");
    publish(&machine).await;
    assert_eq!(machine.run("tidegate.toml", collect).await.0, 0);
    let anew = usage().await;
    assert!(anew["old_packs"] == 0 && anew["packs"] != 0, "{anew}");

    let words = machine.path("words");
    std::fs::write(&words, sheet["words"].as_str().expect("shown")).expect("written");
    set_permissions(&words, Permissions::from_mode(0o600)).expect("private");
    let folder = machine.folder.path().display();
    let place = format!("--address file://{folder}/repository --key-file {}", words.display());
    let restore = format!("restore docs --to {folder}/back {place}");
    assert_eq!(machine.run("none.toml", &restore).await.0, 0);
    assert!(std::fs::read(machine.path("back/file")).expect("restored") == content);
}

#[tokio::test]
async fn who_watches_sees_who_lives_who_was_stopped_and_who_is_forgotten() {
    let machine = Machine::new();
    machine.with_a_file().await;
    assert_eq!(machine.run("tidegate.toml", "watch --once").await.0, 2, "nobody has ever lived there");
    let settings = SettingsFile::new(machine.settings()).load().expect("valid");
    let running = Running::start(std::sync::Arc::new(settings)).await.expect("serves");
    let place = machine.repository();
    let lives = async || {
        while machine.run("none.toml", &format!("watch --once {place}")).await.0 != 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), lives()).await.expect("a heartbeat");
    let (code, seen) = machine.run("none.toml", &format!("watch --once --no-key {place}")).await;
    assert!(code == 0 && seen.starts_with("OK: ") && seen.contains("beating"), "{code}: {seen}");
    running.stop().await.expect("stopped");
    let (code, seen) = machine.run("none.toml", &format!("watch --once --json {place}")).await;
    let seen: Value = serde_json::from_str(&seen).expect("JSON");
    assert_eq!((code, &seen["state"]), (0, &Value::from("ok")), "{seen}");
    let gateway = &seen["gateways"][0];
    assert_eq!((&gateway["standing"], &gateway["shares"][0]), (&"stopped".into(), &"docs".into()), "{seen}");
    let id = gateway["instance"].as_str().expect("an id").to_owned();
    assert_eq!(machine.run("none.toml", &format!("watch --forget {id} {place}")).await.0, 0);
    assert_eq!(machine.run("none.toml", &format!("watch --forget {id} {place}")).await.0, 4);
    assert_eq!(machine.run("none.toml", &format!("watch --once {place}")).await.0, 2);
    let nowhere = place.replace("/repository", "/nowhere");
    assert_eq!(
        machine.run("none.toml", &format!("watch --once {nowhere}")).await.0,
        3,
        "unknown is not well"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_folder_is_not_there_at_the_start_is_copied_to_as_soon_as_it_is() {
    let machine = Machine::new();
    machine.with_a_file().await;
    let disk = machine.path("disk");
    let mut text = std::fs::read_to_string(machine.settings()).expect("read");
    text.push_str(&format!("\n[[target]]\nname = \"away\"\naddress = \"file://{}\"\n", disk.display()));
    std::fs::write(machine.settings(), text).expect("written");
    let settings = SettingsFile::new(machine.settings()).load().expect("valid");
    let running = Running::start(std::sync::Arc::new(settings)).await.expect("serves");
    let shows = async |wanted: fn(&TargetStatus) -> bool| {
        let seen = async {
            while !running.status().await.targets.iter().any(|target| target.name == "away" && wanted(target))
            {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_mins(1), seen).await.expect("it is shown");
    };
    shows(|target| !target.reachable && target.last_failure.is_some()).await;
    std::fs::create_dir(&disk).expect("mounted");
    shows(|target| target.reachable && target.behind_seconds == Some(0) && target.heads.len() == 1).await;
    running.stop().await.expect("stopped");
    assert!(disk.join("config").exists());
}
