//! Goal: a repository of any released format stays readable, by the program and by whoever has the page.
//!
//! Method: each folder under `fixtures` holds a repository as a release left it, what opens it, and what is
//! in it. The independent reader reads it where it lies; the program attaches a copy, serves it, takes a
//! change and publishes it. `TIDEGATE_WRITE_GOLDEN=1` makes the newest fixture if it is missing; it never
//! replaces one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tidegate_integration::attempt::picture;
use tidegate_integration::chance::Chance;
use tidegate_integration::gateway::Gateway;
use tidegate_integration::manifest::{self, Manifest};
use tidegate_integration::nfs::{Nfs, Special};
use tidegate_integration::reader::{Head, Refused, Repository, Secret};
use tidegate_integration::scribe::Scribe;

/// The fixtures, oldest first; the last is of the format that is written now.
const FIXTURES: [&str; 1] = ["repository-v1"];
/// What a fixture may take in the checkout.
const FIXTURE_BYTES_MAX: u64 = 200 << 10;
/// Files in one directory.
const MEMBERS: usize = 120;
const PASSPHRASE: &str = "low water at dawn";

fn fixtures() -> PathBuf {
    // As it is now: the program may have been built in another checkout that shares the target folder.
    let member = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says it");
    Path::new(&member).join("tests/fixtures")
}

fn text(fixture: &Path, name: &str) -> String {
    let path = fixture.join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Copies files and folders; gives the number of bytes.
fn copy(from: &Path, to: &Path) -> u64 {
    fs::create_dir_all(to).expect("a writable folder");
    let entries = fs::read_dir(from).expect("a readable folder").map(|entry| entry.expect("an entry"));
    let bytes = |entry: fs::DirEntry| {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).expect("a writable folder")
        }
    };
    entries.map(bytes).sum()
}

/// A copy that the program may work on; a checkout does not keep that keys are private.
fn working_copy(fixture: &Path, folder: &Path) {
    let bytes = copy(fixture, folder);
    assert!(bytes <= FIXTURE_BYTES_MAX, "{} has {bytes} bytes", fixture.display());
    for name in ["repository.key", "passphrase"] {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).expect("its owner may");
    }
}

fn newest(repository: &Repository) -> Head {
    let shares = repository.shares().expect("shares");
    repository.line(&shares[0]).expect("a line").remove(0)
}

fn read(repository: &Repository) -> Manifest {
    manifest::of_files(&repository.files(&newest(repository)).expect("everything can be read"))
}

#[test]
fn no_fixture_is_left_unread() {
    make_missing();
    let present: BTreeSet<_> = fs::read_dir(fixtures())
        .expect("the folder of fixtures")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(present, FIXTURES.map(str::to_owned).into());
}

#[test]
fn the_independent_reader_reads_every_fixture() {
    make_missing();
    for name in FIXTURES {
        let fixture = fixtures().join(name);
        let secrets = [
            Secret::KeyFile(text(&fixture, "repository.key")),
            Secret::Passphrase(text(&fixture, "passphrase").trim_end().to_owned()),
        ];
        for secret in secrets {
            let repository = Repository::open(&fixture.join("repository"), &secret).expect("it opens");
            assert_eq!(manifest::to_text(&read(&repository)), text(&fixture, "manifest.txt"), "{name}");
            let shares = repository.shares().expect("shares");
            let snapshots = repository.snapshots(&shares[0]).expect("snapshots");
            let [(label, head)] = &snapshots[..] else { panic!("one snapshot, not {snapshots:?}") };
            assert_eq!(label, "early");
            let early = manifest::of_files(&repository.files(head).expect("everything can be read"));
            assert_eq!(manifest::to_text(&early), text(&fixture, "early.txt"), "{name}");
        }
    }
}

/// All files of the newest head, or why not.
fn try_read(repository: &Path, secret: &Secret) -> Result<Manifest, Refused> {
    let repository = Repository::open(repository, secret)?;
    let line = repository.line(&repository.shares()?[0])?;
    Ok(manifest::of_files(&repository.files(&line[0])?))
}

#[test]
fn what_is_damaged_is_refused_and_never_read_as_something_else() {
    make_missing();
    let fixture = fixtures().join(FIXTURES[FIXTURES.len() - 1]);
    let secret = Secret::KeyFile(text(&fixture, "repository.key"));
    let folder = tempfile::tempdir().expect("a folder");
    working_copy(&fixture, folder.path());
    let repository = folder.path().join("repository");
    let whole = try_read(&repository, &secret).expect("it is whole");
    for path in
        picture(&repository).into_iter().filter(|(_, digest)| !digest.is_empty()).map(|(path, _)| path)
    {
        let bytes = fs::read(&path).expect("a readable file");
        for at in [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, damaged).expect("a writable folder");
            // A slot behind the one that opens, a snapshot, frames of older heads: nobody needed them.
            let unread =
                ["keys", "packs", "snapshots"].iter().any(|part| path.starts_with(repository.join(part)));
            match try_read(&repository, &secret) {
                Ok(found) => {
                    assert!(unread, "byte {at} of {} does not matter", path.display());
                    manifest::compare("what is read beside damage", &found, &whole);
                }
                Err(Refused(why)) => assert!(!why.is_empty(), "it says why"),
            }
        }
        fs::write(&path, bytes).expect("a writable folder");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_attaches_serves_and_continues_every_fixture() {
    make_missing();
    for name in FIXTURES {
        let fixture = fixtures().join(name);
        for key in ["repository.key", "passphrase"] {
            let folder = tempfile::tempdir().expect("a folder");
            working_copy(&fixture, folder.path());
            let repository = folder.path().join("repository");
            let mut gateway = Gateway::attach(folder.path(), &repository, &folder.path().join(key));
            gateway.start();
            let mut nfs = Nfs::connect(gateway.address()).await;
            let found = manifest::of_share(&mut nfs).await.expect("it can be walked");
            assert_eq!(manifest::to_text(&found), text(&fixture, "manifest.txt"), "{name} by {key}");
            change_and_read_again(&mut gateway, &mut nfs).await;
        }
    }
}

/// What a newer release adds, the reader of the page reads too.
async fn change_and_read_again(gateway: &mut Gateway, nfs: &mut Nfs) {
    let root = nfs.root();
    let file = nfs.create(&root, b"by a newer release").await.expect("a file");
    nfs.write(&file, 0, b"content").await.expect("a write");
    gateway.commit();
    let secret = Secret::KeyFile(fs::read_to_string(gateway.key()).expect("the key"));
    let repository = Repository::open(&gateway.repository(), &secret).expect("it opens");
    let seen = manifest::of_share(nfs).await.expect("it can be walked");
    manifest::compare("after a change", &read(&repository), &seen);
    assert!(gateway.stop().success(), "it stops well:\n{}", gateway.log());
}

/// Makes the newest fixture, if it is missing and was asked for.
fn make_missing() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let fixture = fixtures().join(FIXTURES[FIXTURES.len() - 1]);
        if std::env::var_os("TIDEGATE_WRITE_GOLDEN").is_some() && !fixture.exists() {
            let runtime = tokio::runtime::Runtime::new().expect("threads");
            std::thread::scope(|scope| scope.spawn(|| runtime.block_on(make(&fixture))).join())
                .expect("made");
        }
    });
}

async fn make(fixture: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::create(folder.path());
    let passphrase = folder.path().join("passphrase");
    fs::write(&passphrase, PASSPHRASE).expect("a writable folder");
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).expect("its owner may");
    gateway.run(&["key", "add", "passphrase", &passphrase.display().to_string(), "--label", "spoken"]);
    gateway.start();
    let mut scribe = Scribe::connect(gateway.address()).await;
    let mut chance = Chance::new(1);
    write(&mut scribe, &mut chance).await;
    gateway.run(&["snapshot", "create", "files", "early"]);
    let early = manifest::of_share(scribe.nfs()).await.expect("it can be walked");
    rework(&mut scribe, &mut chance).await;
    gateway.commit();
    let now = manifest::of_share(scribe.nfs()).await.expect("it can be walked");
    assert!(gateway.stop().success(), "it stops well:\n{}", gateway.log());
    copy(&gateway.repository(), &fixture.join("repository"));
    for name in ["repository.key", "passphrase"] {
        fs::copy(folder.path().join(name), fixture.join(name)).expect("a writable checkout");
    }
    fs::write(fixture.join("early.txt"), manifest::to_text(&early)).expect("a writable checkout");
    fs::write(fixture.join("manifest.txt"), manifest::to_text(&now)).expect("a writable checkout");
}

async fn write(scribe: &mut Scribe, chance: &mut Chance) {
    scribe.directory("one").await;
    scribe.directory("one/two").await;
    scribe.directory(b"not\xffutf-8").await;
    scribe.file("one/empty", b"").await;
    scribe.file("one/noise", &chance.bytes(40_000)).await;
    scribe.file("one/text", &b"The tide turns twice a day. ".repeat(20_000)).await;
    scribe.file(b"not\xffutf-8/\xfe", b"bytes").await;
    scribe.link("one/noise", "one/two/noise").await;
    scribe.symlink("one/link", b"../one/\xfd").await;
    scribe.symlink("one/long link", &b"l/".repeat(1000)).await;
    scribe.special("one/pipe", Special::Pipe).await;
    scribe.special("one/socket", Special::Socket).await;
    scribe.special("one/block", Special::Block(8, 1)).await;
    scribe.special("one/character", Special::Character(5, 1)).await;
    scribe.file("one/sparse", b"start").await;
    scribe.write("one/sparse", 5_000_000, b"end").await;
    scribe.own("one/text", 0o4751, (1000, 70_000)).await;
    scribe.modified("one/text", 86_399, 999_999_999).await;
    for number in 0..MEMBERS {
        scribe.file(format!("one/two/member {number}"), number.to_string().as_bytes()).await;
    }
}

async fn rework(scribe: &mut Scribe, chance: &mut Chance) {
    scribe.write("one/noise", 17_000, &chance.bytes(5000)).await;
    scribe.truncate("one/text", 300_001).await;
    scribe.remove("one/long link").await;
    scribe.rename("one/pipe", b"not\xffutf-8/pipe").await;
    for number in (0..MEMBERS).step_by(7) {
        scribe.remove(format!("one/two/member {number}")).await;
    }
}
