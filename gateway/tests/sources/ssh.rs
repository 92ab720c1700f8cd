//! Hosts over ssh, played by a shell of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tidegate_gateway::control::SourceRunRequest;
use tidegate_replicator::store::{MemoryStore, Store};

use super::edits::{Chance, edit};
use super::scene::{FOLDER, Scene, seen, settings};
use super::support::{init, noise, slot_key};

/// What the host does as it is told.
const OBEY: &str = "exec /bin/sh -c \"$word\"";

/// A program that is run instead of ssh: passes over its options, and has what the host should do in `$word`.
fn stand_in(folder: &Path, name: &str, script: &str) -> String {
    let program = folder.join(name);
    fs::write(&program, format!("#!/bin/sh\nfor word; do :; done\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program.to_str().unwrap().to_owned()
}

/// A source that is what such a program says of some paths.
fn host(name: &str, paths: &str, program: &str, more: &str) -> String {
    format!(
        "[[source]]\nname = \"{name}\"\nssh = \"root@host\"\npaths = [\"{paths}\"]\n\
         ssh_program = \"{program}\"\n{more}"
    )
}

/// As [`OBEY`], with a tar that does this before it sends files, and that after it.
fn with_tar(folder: &Path, before: &str, after: &str) -> String {
    let programs = folder.join("programs");
    fs::create_dir_all(&programs).unwrap();
    let tar = programs.join("tar");
    let script = format!(
        "#!/bin/sh\nPATH=${{PATH#*:}}\n[ \"$1\" = -c ] || exec tar \"$@\"\n{before}\ntar \"$@\"\ncode=$?\n{after}\n\
         exit $code\n"
    );
    fs::write(&tar, script).unwrap();
    fs::set_permissions(&tar, fs::Permissions::from_mode(0o755)).unwrap();
    stand_in(folder, "ssh", &format!("PATH={}:$PATH\nexport PATH\n{OBEY}", programs.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_comes_back_by_its_own_find_and_tar() {
    let mut chance = Chance::announced("a host comes back");
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &slot_key(folder.path())).await);
    let program = stand_in(folder.path(), "ssh", OBEY);
    let tables = host("host", "PLACE", &program, "");
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
        (
            "halfway",
            "case \"$word\" in *printf*) /bin/sh -c \"$word\"; echo \"find: failed to read file names from file system \
             at or below '/etc': No such file or directory\" >&2; exit 1;; *) exec /bin/sh -c \"$word\";; esac",
            "failed to read file names",
        ),
        (
            "silent",
            "case \"$word\" in *printf*) /bin/sh -c \"$word\" 2>/dev/null; exit 1;; *) exec /bin/sh -c \"$word\";; esac",
            "cannot be listed: exit status: 1",
        ),
    ];
    let table = |(name, script, _): &(&str, &str, &str)| {
        host(name, "/etc", &stand_in(scene.folder.path(), name, script), "")
    };
    let tables: String = cases.iter().map(table).collect();
    scene.sources.set(settings(scene.folder.path(), &tables));
    for (name, _, why) in cases {
        let error = scene.run(name).await.expect_err(name);
        assert!(error.message.contains(why), "{name}: {error}");
        assert_eq!(scene.snapshots(name).await, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_find_cannot_look_into_is_missed_unless_it_is_not_meant() {
    let scene = Scene::new(FOLDER).await;
    fs::create_dir_all(scene.place().join("cache/secret")).unwrap();
    fs::write(scene.place().join("file"), b"1").unwrap();
    let place = scene.place().to_str().unwrap().to_owned();
    let script = format!(
        "case \"$word\" in *printf*) /bin/sh -c \"$word\"; echo \"find: '{place}/cache/secret': Permission denied\" >&2; \
         exit 1;; *) exec /bin/sh -c \"$word\";; esac"
    );
    let program = stand_in(scene.folder.path(), "ssh", &script);
    let many = "case \"$word\" in *printf*) /bin/sh -c \"$word\"; seq -f \"find: '/srv/%.0f': Permission denied\" 10000 >&2; \
                exit 1;; *) exec /bin/sh -c \"$word\";; esac";
    let tables = [
        host("all", &place, &program, ""),
        host("some", &place, &program, "exclude = [\"cache/\"]\n"),
        host("others", &place, &program, &format!("include = [\"{place}/file\"]\n")),
        host("many", &place, &stand_in(scene.folder.path(), "ssh-many", many), ""),
    ];
    scene.sources.set(settings(scene.folder.path(), &tables.concat()));
    let all = scene.run("all").await.unwrap();
    assert_eq!(all.left_out_paths[0].path, format!("{place}/cache/secret"));
    assert_eq!((all.left_out, &all.left_out_paths[0].why[..]), (1, "Permission denied"));
    for name in ["some", "others"] {
        assert_eq!(scene.run(name).await.unwrap().left_out, 0, "{name}");
    }
    assert_eq!(scene.run("many").await.unwrap().left_out, 10_000, "however much it has to say");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_taken_as_they_are_and_links_that_are_made_after_the_listing_as_files() {
    let scene = Scene::new(FOLDER).await;
    let place = scene.place().to_str().unwrap().to_owned();
    for (name, content) in [("a", "the same"), ("b", "another"), ("back\\\\slash\\n", "odd")] {
        fs::write(scene.place().join(name), content).unwrap();
    }
    // Some tars take a backslash in a name for the beginning of an escape unless they are told.
    let before =
        format!("case \"$*\" in *--no-unquote*) ;; *) exit 64;; esac\nrm {place}/b\nln {place}/a {place}/b");
    let program = with_tar(scene.folder.path(), &before, "");
    scene.sources.set(settings(scene.folder.path(), &host("host", &place, &program, "")));
    let run = scene.run("host").await.unwrap();
    assert_eq!(run.left_out, 0, "{run:?}");
    let restored = scene.restore("host").await;
    let below = restored.path().join("restored").join(scene.place().strip_prefix("/").unwrap());
    assert_eq!(fs::read(below.join("b")).unwrap(), b"the same");
    assert_eq!(fs::read(below.join("back\\\\slash\\n")).unwrap(), b"odd");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_tar_cannot_read_is_left_out_and_read_again_though_nothing_of_it_changed() {
    let scene = Scene::new(FOLDER).await;
    let (folder, place) = (scene.folder.path(), scene.place());
    let (bad, broken) = (place.join("bad"), folder.join("broken"));
    // What tar says when it has filled a file up with zeros; it ends as if nothing had been.
    let after = format!(
        "[ -e {} ] && echo 'tar: .{}: Warning: Read error at byte 0, while reading 10240 bytes: Input/output error' >&2",
        broken.display(),
        bad.display()
    );
    let program = with_tar(folder, "", &after);
    scene.sources.set(settings(folder, &host("host", place.to_str().unwrap(), &program, "")));
    fs::write(place.join("good"), b"good").unwrap();
    for (round, bytes) in [(1, 300_000), (2, 500_000)] {
        fs::write(&bad, noise(round, bytes)).unwrap();
        fs::write(&broken, b"").unwrap();
        let run = scene.run("host").await.unwrap();
        let left = &run.left_out_paths[0];
        assert_eq!((run.left_out, &left.path[..]), (1, bad.to_str().unwrap()));
        assert!(left.why.contains("Input/output error"), "{left:?}");
        let restored = scene.restore("host").await;
        let below = restored.path().join("restored").join(place.strip_prefix("/").unwrap());
        assert!(below.join("good").exists() && !below.join("bad").exists());
        scene.check().await;
        fs::remove_file(&broken).unwrap();
        assert_eq!(scene.run("host").await.unwrap().left_out, 0);
        let restored = scene.restore("host").await;
        let below = restored.path().join("restored").join(place.strip_prefix("/").unwrap());
        assert_eq!(fs::read(below.join("bad")).unwrap(), noise(round, bytes));
        scene.check().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_goes_before_tar_comes_to_it_is_not_missed() {
    let scene = Scene::new(FOLDER).await;
    let place = scene.place().to_str().unwrap().to_owned();
    for name in ["fleeting", "stays"] {
        fs::write(scene.place().join(name), name).unwrap();
    }
    let program = with_tar(scene.folder.path(), &format!("rm -f {place}/fleeting"), "");
    scene.sources.set(settings(scene.folder.path(), &host("host", &place, &program, "")));
    let run = scene.run("host").await.unwrap();
    assert_eq!(run.left_out, 0, "{run:?}");
    let restored = scene.restore("host").await;
    let below = restored.path().join("restored").join(scene.place().strip_prefix("/").unwrap());
    assert!(below.join("stays").exists() && !below.join("fleeting").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_nothing_but_the_folder_that_was_asked_for_is_empty() {
    let scene = Scene::new(FOLDER).await;
    let program = stand_in(scene.folder.path(), "ssh", OBEY);
    let place = scene.place();
    scene.sources.set(settings(scene.folder.path(), &host("host", place.to_str().unwrap(), &program, "")));
    let empty = scene.run("host").await.unwrap_err();
    assert!(empty.message.contains("the source is empty"), "{empty}");
    let allowed = SourceRunRequest { allow_empty: true, ..SourceRunRequest::default() };
    scene.run_as("host", allowed).await.unwrap();
    fs::create_dir(place.join("any")).unwrap();
    scene.run("host").await.unwrap();
}
