//! Hosts over ssh, played by a shell of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tidegate_gateway::control::SourceRunRequest;
use tidegate_replicator::store::{MemoryStore, Store};

use super::edits::{Chance, edit};
use super::scene::{FOLDER, Scene, seen, settings};
use super::support::{init, slot_key};

/// Instead of ssh: passes over its options, and has a shell do what the host should.
const FAKE_SSH: &str = "#!/bin/sh\nfor word; do :; done\nexec /bin/sh -c \"$word\"\n";

fn ssh_source(folder: &Path, more: &str) -> String {
    let program = folder.join("ssh");
    fs::write(&program, FAKE_SSH).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    format!(
        "[[source]]\nname = \"host\"\nssh = \"root@host\"\npaths = [\"PLACE\"]\nssh_program = \"{}\"\n{more}",
        program.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_comes_back_by_its_own_find_and_tar() {
    let mut chance = Chance::announced("a host comes back");
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &slot_key(folder.path())).await);
    let tables = ssh_source(folder.path(), "");
    let scene = Scene::over(folder, store, &tables).await;
    fs::write(scene.place().join("always"), b"here").unwrap();
    for _ in 0..4 {
        for _ in 0..60 {
            edit(&scene.place(), &mut chance);
        }
        let run = scene.run("host").await.unwrap();
        assert_eq!((run.left_out, run.torn), (0, 0), "{run:?}");
        let restored = scene.restore("host").await;
        let below = restored.path().join("restored").join(scene.place().strip_prefix("/").unwrap());
        let (meant, is) = (seen(&scene.place()), seen(&below));
        assert_eq!(is.keys().collect::<Vec<_>>(), meant.keys().collect::<Vec<_>>());
        for (path, meant) in &meant {
            assert_eq!(is[path], *meant, "{}", String::from_utf8_lossy(path));
        }
    }
    scene.check().await;
    scene.run("host").await.unwrap();
    // What was young when it was read is noted once more when it is not: by the times of the folders above too, in which
    // others work. That ends.
    let mut noted_again = u64::MAX;
    for _ in 0..20 {
        let again = SourceRunRequest { rescan: true, ..SourceRunRequest::default() };
        let again = scene.run_as("host", again).await.unwrap();
        assert_eq!((again.bytes_new, again.new, again.gone), (0, 0, 0));
        noted_again = again.changed;
        if noted_again == 0 {
            break;
        }
    }
    assert_eq!(noted_again, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_fails_in_any_way_is_an_error_and_no_snapshot() {
    let scene = Scene::new(FOLDER).await;
    let broken = |name: &str, script: &str| {
        let program = scene.folder.path().join(name);
        fs::write(&program, format!("#!/bin/sh\nfor word; do :; done\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        format!(
            "[[source]]\nname = \"{name}\"\nssh = \"h\"\npaths = [\"/etc\"]\nssh_program = \"{}\"\n",
            program.display()
        )
    };
    let cases = [
        ("away", "echo no route to host >&2; exit 255", "no route to host"),
        (
            "nofind",
            "case \"$word\" in *printf*) echo find: unknown predicate >&2; exit 2;; esac",
            "unknown predicate",
        ),
        ("halflist", "case \"$word\" in *printf*) printf 'd 755 0';; esac", "ends within a file"),
        (
            "cut",
            "case \"$word\" in *help*) yes | head -c 3072;; *) exec /bin/sh -c \"$word\";; esac",
            "tar sends what cannot be read",
        ),
        (
            "dies",
            "case \"$word\" in *help*) exit 255;; *) exec /bin/sh -c \"$word\";; esac",
            "cannot be read",
        ),
    ];
    let tables: String = cases.iter().map(|(name, script, _)| broken(name, script)).collect();
    scene.sources.set(settings(scene.folder.path(), &tables));
    for (name, _, why) in cases {
        let error = scene.run(name).await.expect_err(name);
        assert!(error.message.contains(why), "{name}: {error}");
        assert_eq!(scene.snapshots(name).await, []);
    }
}
