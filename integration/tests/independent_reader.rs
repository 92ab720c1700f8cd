//! Goal: `docs/format.md` says what a repository holds, exactly enough to read all of it back.
//!
//! Method: a gateway takes every kind of file over NFS, in several commits so that index, tree and packs
//! have a history. Then a reader that was written from the page, and shares no code with the program,
//! opens the repository with the key alone and reads each published head; what it finds is compared with
//! what was written, and with what an NFS client sees.

use std::collections::BTreeMap;
use std::path::Path;

use tidegate_integration::chance::Chance;
use tidegate_integration::gateway::Gateway;
use tidegate_integration::manifest::{self, Manifest};
use tidegate_integration::nfs::{Nfs, Special};
use tidegate_integration::reader::{Head, Repository, Secret};
use tidegate_integration::scribe::Scribe;

/// So many names that the leaves of the tree do not fit into one inner node.
const CROWD: usize = 1500;

fn key_of(gateway: &Gateway) -> Secret {
    Secret::KeyFile(std::fs::read_to_string(gateway.key()).expect("the key file"))
}

fn open(gateway: &Gateway) -> Repository {
    Repository::open(&gateway.repository(), &key_of(gateway)).expect("the key opens it")
}

/// The heads of the only share, newest first.
fn line(repository: &Repository) -> Vec<Head> {
    let shares = repository.shares().expect("shares");
    let [share] = shares[..] else { panic!("one share, not {shares:?}") };
    repository.line(&share).expect("a line")
}

fn read(repository: &Repository, head: &Head) -> Manifest {
    manifest::of_files(&repository.files(head).expect("everything can be read"))
}

/// Publishes and keeps a snapshot, and remembers under which name the account stands.
async fn publish(gateway: &Gateway, scribe: &mut Scribe, published: &mut Vec<(String, Manifest)>) {
    let label = format!("published {}", published.len());
    gateway.run(&["snapshot", "create", "files", &label]);
    let repository = open(gateway);
    let newest = line(&repository).remove(0);
    let found = read(&repository, &newest);
    manifest::compare("what the reader found", &found, &scribe.account().manifest());
    let seen = manifest::of_share(scribe.nfs()).await.expect("it can be walked");
    manifest::compare("what the reader found beside NFS", &found, &seen);
    published.push((label, scribe.account().manifest()));
}

/// Every kind of file.
async fn write_all_kinds(scribe: &mut Scribe, chance: &mut Chance) {
    scribe.directory("plain").await;
    scribe.directory("plain/deep").await;
    scribe.directory(b"not\xff\xfeutf-8").await;
    scribe.file("plain/empty", b"").await;
    scribe.file("plain/small", b"a few bytes").await;
    scribe.file("plain/noise", &chance.bytes(3_000_000)).await;
    scribe.file("plain/zeros", &vec![0; 700_000]).await;
    scribe.file("plain/text", &b"The tide turns twice a day. ".repeat(60_000)).await;
    scribe.file(b"not\xff\xfeutf-8/\x80\x81", b"bytes").await;
    scribe.file("plain/a\nname\\with \"all\"", b"!").await;
    scribe.file([b'n'; 255], b"the longest name").await;
    scribe.link("plain/noise", "plain/deep/noise").await;
    scribe.link("plain/noise", b"not\xff\xfeutf-8/noise").await;
    scribe.symlink("plain/link", b"../plain/small").await;
    scribe.symlink("plain/long link", &b"\xfe/".repeat(2000)).await;
    scribe.special("plain/pipe", Special::Pipe).await;
    scribe.special("plain/socket", Special::Socket).await;
    scribe.special("plain/block", Special::Block(8, 1)).await;
    scribe.special("plain/character", Special::Character(255, 1 << 19)).await;
    scribe.file("plain/sparse", b"start").await;
    scribe.write("plain/sparse", 40_000_000, &chance.bytes(200_000)).await;
    scribe.own("plain/small", 0o4751, (1000, 70_000)).await;
    scribe.modified("plain/small", 86_399, 999_999_999).await;
    scribe.modified("plain/deep", 4_000_000_000, 1).await;
}

/// A directory whose tree has several levels.
async fn write_crowd(scribe: &mut Scribe) {
    scribe.directory("crowd").await;
    for number in 0..CROWD {
        let name = format!("crowd/member {number} {}", "with a long name ".repeat(number % 5));
        scribe.file(name, number.to_string().as_bytes()).await;
    }
}

/// Changes to what is there.
async fn rework(scribe: &mut Scribe, chance: &mut Chance) {
    scribe.write("plain/noise", 1_234_567, &chance.bytes(70_001)).await;
    scribe.truncate("plain/text", 1_000_003).await;
    scribe.truncate("plain/text", 1_500_000).await;
    scribe.truncate("plain/zeros", 0).await;
    scribe.write("plain/sparse", 20_000_000, b"middle").await;
    scribe.rename("plain/small", "crowd/member 7 ").await;
    scribe.rename("plain/pipe", b"not\xff\xfeutf-8/pipe").await;
    scribe.remove("plain/noise").await;
    scribe.remove("plain/long link").await;
    for number in (0..CROWD).filter(|number| number % 5 == 0) {
        scribe.write(format!("crowd/member {number} "), 3, &chance.bytes(2000)).await;
    }
    scribe.directory("plain/deep/later").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_written_from_the_page_reads_every_head() {
    let mut chance = Chance::announced("independent_reader");
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::create(folder.path());
    gateway.start();
    let mut scribe = Scribe::connect(gateway.address()).await;
    let mut published = Vec::new();
    publish(&gateway, &mut scribe, &mut published).await;
    write_all_kinds(&mut scribe, &mut chance).await;
    publish(&gateway, &mut scribe, &mut published).await;
    write_crowd(&mut scribe).await;
    publish(&gateway, &mut scribe, &mut published).await;
    gateway.run(&["snapshot", "create", "files", "kept"]);
    let kept = scribe.account().manifest();
    gateway.kill();
    gateway.start();
    scribe.reconnect(gateway.address()).await;
    rework(&mut scribe, &mut chance).await;
    publish(&gateway, &mut scribe, &mut published).await;
    assert!(gateway.stop().success(), "it stops well:\n{}", gateway.log());

    let repository = open(&gateway);
    let line = line(&repository);
    assert_eq!(line.last().map(|first| first.parent.clone()), Some(None), "the line reaches the first head");
    assert!(line.iter().all(|head| head.share_name == "files"));
    let shares = repository.shares().expect("shares");
    let snapshots = repository.snapshots(&shares[0]).expect("snapshots");
    published.push(("kept".to_owned(), kept));
    assert_eq!(snapshots.len(), published.len());
    for (label, head) in &snapshots {
        let (_, wanted) = published.iter().find(|(published, _)| published == label).expect("it was taken");
        manifest::compare(label, &read(&repository, head), wanted);
        // The head that it was taken of may be one that is kept: then it is the same.
        if let Some(kept) = line.iter().find(|kept| kept.name == head.name) {
            manifest::compare(&kept.name, &read(&repository, kept), wanted);
        }
    }
    let beats = repository.heartbeats().expect("heartbeats");
    let numbers: Vec<u64> = beats.iter().map(|beat| beat.sequence).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] > pair[1]) && numbers.len() == 3, "{numbers:?}");
    assert!(beats.iter().all(|beat| beat.instance == beats[0].instance), "a restart is the same gateway");
    assert_eq!(beats.iter().map(|beat| beat.stopped).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(beats[0].led, ["files"]);
    let chunks = repository.check_index_against_packs().expect("index and packs agree");
    let hot: usize = line.iter().map(|head| repository.check_heat(head).expect("heat is there")).sum();
    println!("{} heads, {chunks} chunks, {hot} ranges of packs named as hot", line.len());
    assert!(hot > 0, "what was written is hot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_in_a_domain_of_its_own_is_read_with_the_keys_of_that_domain() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::create(folder.path());
    gateway.start();
    gateway.run(&["share", "add", "apart", "--own-key", "--squash", "none"]);
    let content = Chance::announced("domains").bytes(300_000);
    let mut wanted = BTreeMap::new();
    for share in ["files", "apart"] {
        let mut nfs = Nfs::mount(gateway.address(), share).await;
        let root = nfs.root();
        let file = nfs.create(&root, b"the same").await.expect("a file");
        nfs.write(&file, 0, &content).await.expect("a write");
        gateway.run(&["commit", share]);
        wanted.insert(share.to_owned(), manifest::of_share(&mut nfs).await.expect("it can be walked"));
    }
    let repository = open(&gateway);
    let mut domains = Vec::new();
    for share in repository.shares().expect("shares") {
        let newest = repository.line(&share).expect("a line").remove(0);
        manifest::compare(&newest.share_name, &read(&repository, &newest), &wanted[&newest.share_name]);
        domains.push(newest.fields["share"]["domain"].clone());
    }
    assert_eq!(domains.len(), 2);
    assert_ne!(domains[0], domains[1], "each has a domain of its own");
    repository.check_index_against_packs().expect("index and packs agree");
}

#[test]
fn every_kind_of_key_opens_a_repository() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::create(folder.path());
    let passphrase = folder.path().join("passphrase");
    write_secret(&passphrase, "a tide of w\u{f6}rds");
    let passphrase = passphrase.display().to_string();
    gateway.run(&["key", "add", "passphrase", &passphrase, "--label", "spoken"]);
    let made = gateway.run(&["key", "add", "recovery", "--label", "printed"]);
    let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    let printed = made["recovery_key"].as_str().expect("it is shown once").to_owned();
    let typed = printed.to_lowercase().replace('1', "l").replace('0', "o").replace('-', " ");
    let secrets = [
        (key_of(&gateway), "made by init"),
        (Secret::Passphrase("a tide of w\u{f6}rds".into()), "spoken"),
        (Secret::Recovery(printed.clone()), "printed"),
        (Secret::Recovery(typed), "printed"),
    ];
    for (secret, label) in secrets {
        let repository = Repository::open(&gateway.repository(), &secret).expect("it opens");
        assert_eq!(repository.slot_label(), label);
    }
    let mut mistyped = printed.into_bytes();
    mistyped[0] = if mistyped[0] == b'2' { b'3' } else { b'2' };
    let mistyped = String::from_utf8(mistyped).expect("ASCII");
    for wrong in [Secret::Passphrase("a tide of words".into()), Secret::Recovery(mistyped)] {
        assert!(Repository::open(&gateway.repository(), &wrong).is_err(), "{wrong:?}");
    }
}

fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("a writable folder");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("its owner may");
}
