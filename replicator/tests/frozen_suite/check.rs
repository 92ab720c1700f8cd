//! Goal: a check is clean for what is whole, names what is not, and changes nothing.
//! Method: shares made by hand are broken one rule or one object at a time.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_replicator::check::{
    CheckError, CheckOptions, CheckReport, Observer, Sample, Silent, Weight, check,
};
use tidegate_replicator::map::{Cookie, Entry, InodeNumber, Key, Kind};
use tidegate_replicator::repository::{Repository, pack_name};
use tidegate_replicator::store::{ErrorKind, Fault, FaultStore, MeteredStore, Operation, Rule, Store};
use tidegate_replicator::tree::Value;

use super::support::{CHUNK_BYTES, ROOT, SHARE, Share, noise, quick_key};

fn everything() -> CheckOptions {
    CheckOptions { read_data: Some(Sample { per_million: Sample::ALL, seed: 1 }), ..CheckOptions::default() }
}

async fn run(share: &Share, options: &CheckOptions) -> CheckReport {
    check(&share.repository, options, &Silent).await.unwrap()
}

/// A share with a bit of everything.
async fn share() -> Share {
    let mut share = Share::new().await;
    let folder = share.folder(ROOT, b"folder");
    for number in 0..300_u32 {
        share.file(folder, format!("file {number}").as_bytes(), &noise(number.into(), 100));
    }
    let large = share.file(folder, b"large", &noise(7, 5 * CHUNK_BYTES));
    share.name(ROOT, b"large too", large);
    share.extended(large, b"user.long", &noise(8, 3000));
    let link = share.make(ROOT, b"link", Kind::Symlink, 0o777);
    share.edit(link, |inode| (inode.target, inode.size) = (Bytes::from_static(b"x"), 1));
    share
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_share_is_clean_and_nothing_is_written() {
    let mut made = share().await;
    let head = made.publish().await;
    made.snapshot(&head).await;
    let metered = MeteredStore::new(Arc::new(made.store.clone()), "test");
    let counts = metered.counts();
    let repository = Arc::new(Repository::open(Arc::new(metered), &quick_key()).await.unwrap());
    let report = check(&repository, &everything(), &Silent).await.unwrap();
    assert_eq!(report.findings, []);
    assert!(report.is_clean());
    let seen = report.counts;
    assert_eq!((seen.shares, seen.heads, seen.snapshots, seen.roots, seen.packs), (1, 1, 1, 1, 2));
    assert!(seen.frames_read >= 305 && seen.references > 305, "{seen:?}");
    assert_eq!(counts.requests(Operation::Put) + counts.requests(Operation::Delete), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn subtrees_that_heads_share_are_walked_once() {
    let mut made = share().await;
    made.publish().await;
    let once = run(&made, &CheckOptions::default()).await.counts;
    for number in 0..10_u32 {
        made.file(ROOT, format!("new {number}").as_bytes(), b"");
        made.publish().await;
    }
    let report = run(&made, &CheckOptions::default()).await;
    assert_eq!(report.findings, []);
    assert_eq!((report.counts.heads, report.counts.roots), (11, 11));
    assert!(report.counts.nodes < once.nodes + 10 * 8, "{:?} after {once:?}", report.counts);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broken_rule_of_the_map_is_named_with_the_path_in_every_root() {
    type Break = (&'static str, &'static str, fn(&mut Share));
    let breaks: [Break; 10] = [
        ("2 names lead to it, and it says 3", "/large too", |share| {
            share.edit(InodeNumber(303), |inode| inode.links = 3);
        }),
        ("leads to inode 999, which is not there", "/folder", |share| {
            let folder = InodeNumber(2);
            let entry = Entry { inode: InodeNumber(999), kind: Kind::Regular, cookie: 5000 };
            share.map.insert(Key::Entry(folder, "x".into()).encode(), Value::plain(entry.encode()));
            let cookie = Cookie { inode: entry.inode, kind: entry.kind, name: "x".into() };
            share.map.insert(Key::Cookie(folder, 5000).encode(), Value::plain(cookie.encode()));
            share.edit(folder, |inode| (inode.entries, inode.next_cookie) = (inode.entries + 1, 6000));
        }),
        ("by name and by cookie do not agree", "/folder", |share| {
            share.map.remove(&Key::Cookie(InodeNumber(2), 3).encode()).unwrap();
        }),
        ("a cookie in it was never given out", "/folder", |share| {
            share.edit(InodeNumber(2), |inode| inode.next_cookie = 10);
        }),
        ("as many entries as it says", "/folder", |share| {
            share.edit(InodeNumber(2), |inode| inode.entries += 1);
        }),
        ("its link count is not that of its folders", "/", |share| {
            share.edit(ROOT, |inode| inode.links += 1);
        }),
        ("its extents overlap or reach past its size", "/large too", |share| {
            share.edit(InodeNumber(303), |inode| inode.size -= 1);
        }),
        ("its size is not the length of its target", "/link", |share| {
            share.edit(InodeNumber(304), |inode| inode.size = 5);
        }),
        ("another kind or another folder", "", |share| {
            share.edit(InodeNumber(2), |inode| inode.parent = InodeNumber(303));
        }),
        ("does not decode", "/large too", |share| {
            share.map.insert(Key::Extent(InodeNumber(303), 9_999_999).encode(), Value::plain("??"));
        }),
    ];
    for (rule, path, break_it) in breaks {
        for late in [false, true] {
            let mut made = share().await;
            if late {
                // Found too where only what differs between two heads is looked at: of the newest the
                // whole map is read, so the older one is the broken one.
                let mut broken = share().await;
                break_it(&mut broken);
                let (inodes, map) = (made.inodes.clone(), made.map.clone());
                (made.inodes, made.map) = (broken.inodes, broken.map);
                made.publish().await;
                (made.inodes, made.map) = (inodes, map);
                made.publish().await;
            } else {
                break_it(&mut made);
                made.publish().await;
            }
            let report = run(&made, &CheckOptions::default()).await;
            let found = report.damage().find(|finding| finding.what.contains(rule));
            let found = found.unwrap_or_else(|| panic!("{rule}, late {late}: {:?}", report.findings));
            assert_eq!(found.path.as_deref().unwrap_or_default(), path, "{found:?}");
            assert_eq!(found.share.as_deref(), Some("documents"));
            assert!(found.object.starts_with(&format!("heads/{SHARE}/")));
            assert!(found.moment.as_ref().is_some_and(|moment| moment.starts_with("head ")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_pack_is_named_with_paths_unless_another_has_its_chunks() {
    let mut made = share().await;
    made.publish().await;
    let at = made.place_of(&noise(5, 100));
    made.store.delete(&pack_name(at.pack)).await.unwrap();
    let report = run(&made, &CheckOptions::default()).await;
    let of_pack: Vec<_> =
        report.damage().filter(|finding| finding.object == pack_name(at.pack).as_str()).collect();
    assert!(
        of_pack
            .iter()
            .any(|finding| finding.path.as_deref().is_some_and(|path| path.starts_with("/folder/")))
    );
    assert!(of_pack.iter().all(|finding| finding.what.contains("missing")), "{of_pack:?}");
    assert!(report.more_findings > 0, "the others are counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_frame_is_found_by_reading_and_named_with_every_path() {
    let mut made = share().await;
    let (_, head) = made.publish().await;
    let data = noise(7, 5 * CHUNK_BYTES);
    let at = made.place_of(&data[..CHUNK_BYTES]);
    made.spoil(&at).await;
    assert!(run(&made, &CheckOptions::default()).await.is_clean(), "only reading sees it");
    let report = run(&made, &everything()).await;
    assert!(report.damage().all(|finding| finding.object == pack_name(at.pack).as_str()));
    let paths: Vec<_> = report.damage().filter_map(|finding| finding.path.as_deref()).collect();
    assert!(paths.contains(&"/large too") || paths.contains(&"/folder/large"), "{:?}", report.findings);
    let node = head.root.at.unwrap();
    made.spoil(&node).await;
    let report = run(&made, &CheckOptions::default()).await;
    assert!(report.damage().any(|finding| finding.object == pack_name(node.pack).as_str()), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_index_lacks_or_makes_up_is_named() {
    let mut made = share().await;
    made.publish().await;
    let index = made.store.names().into_iter().find(|name| name.as_str().starts_with("index/")).unwrap();
    let whole = made.store.get(&index, None).await.unwrap();
    made.store.delete(&index).await.unwrap();
    let report = run(&made, &CheckOptions::default()).await;
    assert!(report.damage().any(|finding| finding.object == "index/" && finding.what.contains("rebuild")));
    made.store.damage(&index, whole.slice(..whole.len() / 2));
    let report = run(&made, &CheckOptions::default()).await;
    assert!(report.damage().any(|finding| finding.object == index.as_str()), "{:?}", report.findings);
    let strange = tidegate_replicator::store::ObjectName::new("index/strange").unwrap();
    made.store.damage(&index, whole);
    made.store.damage(&strange, Bytes::from_static(b"x"));
    let report = run(&made, &CheckOptions::default()).await;
    let objects: Vec<_> = report.damage().map(|finding| &*finding.object).collect();
    assert_eq!(objects, ["index/strange"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_pack_that_nothing_needs_is_worth_a_notice_only() {
    let mut made = share().await;
    made.publish().await;
    let name = pack_name(tidegate_chunker::PackId::new([0xee; 32]));
    made.store.damage(&name, Bytes::from_static(b"half a pack"));
    let report = run(&made, &everything()).await;
    assert!(report.is_clean());
    assert!(
        report.findings.iter().any(|found| found.object == name.as_str() && found.weight == Weight::Notice)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_no_finding() {
    let mut made = share().await;
    made.publish().await;
    for operation in [Operation::Get, Operation::List, Operation::GetTail] {
        let store = FaultStore::new(Arc::new(made.store.clone()), 0);
        let repository = Arc::new(Repository::open(Arc::new(store.clone()), &quick_key()).await.unwrap());
        store.inject(Rule::on(operation), Fault::Before(ErrorKind::Transient));
        let outcome = check(&repository, &everything(), &Silent).await;
        assert!(outcome.is_err(), "{operation:?}: {outcome:?}");
    }
}

/// Publishes while a check runs: whenever a part of it begins.
struct Publishing(tokio::sync::Mutex<Share>);

impl Observer for Publishing {
    fn phase(&self, phase: &'static str) {
        let publish = async {
            let mut share = self.0.lock().await;
            share.file(ROOT, phase.as_bytes(), phase.as_bytes());
            share.publish().await;
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(publish));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_publishes_while_a_check_runs_is_no_finding() {
    let mut made = share().await;
    made.publish().await;
    let repository = made.repository.clone();
    let publishing = Publishing(tokio::sync::Mutex::new(made));
    let report = check(&repository, &everything(), &publishing).await.unwrap();
    assert_eq!(report.findings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_can_be_limited_to_shares_that_there_are() {
    let mut made = share().await;
    made.publish().await;
    for name in ["documents".to_owned(), SHARE.to_string()] {
        let options = CheckOptions { shares: vec![name], ..CheckOptions::default() };
        assert_eq!(run(&made, &options).await.counts.shares, 1);
    }
    let options = CheckOptions { shares: vec!["nobody".into()], ..CheckOptions::default() };
    let error = check(&made.repository, &options, &Silent).await.expect_err("there is none");
    assert!(matches!(error, CheckError::NoShare { .. }) && error.to_string().contains("nobody"));
}
