//! Claims about the database of live maps, asked without a journal above it, and about the way of a change into it.

use std::ops::Range;

use bytes::Bytes;
use proptest::prelude::*;
use tidegate_replicator::map::{InodeNumber, Key, inode_range};

use super::change::{Batch, Change};
use super::db::Database;
use super::{MapId, full_key};
use crate::journal::Sequence;

const MAP: MapId = MapId(7);

/// Changed keys, hidden ranges, and whether anything changed.
type News = (Vec<Vec<u8>>, Vec<Range<Vec<u8>>>, bool);

/// A database that goes with its folder.
struct Bench {
    database: Database,
    next: u64,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("makes a folder");
        let database = Database::open(folder.path(), 1 << 20, 1 << 20).expect("opens");
        Self { database, next: 1, _folder: folder }
    }

    fn apply(&mut self, changes: Vec<Change>) {
        let batch = Batch { changes };
        self.database.apply(&[(Sequence(self.next), &batch)]).expect("applies");
        self.next += 1;
    }

    fn put_all(&mut self, keys: impl Iterator<Item = Key>) {
        self.apply(keys.map(|key| put(&key, b"value")).collect());
    }

    /// Takes up to so many pieces of stale marks away.
    fn sweep(&self, mut pieces: usize) {
        for mut sweep in self.database.sweeps().expect("reads") {
            while pieces > 0 && !self.database.sweep_piece(&mut sweep).expect("sweeps") {
                pieces -= 1;
            }
        }
    }

    /// What a commit is told: changed keys and hidden ranges.
    fn news(&self) -> News {
        let snapshot = self.database.snapshot();
        let hidden = self.database.hidden_of(&snapshot, MAP).map(|hidden| hidden.expect("reads").keys);
        let changed = self.database.is_changed(&snapshot, MAP).expect("reads");
        (self.dirty_pages(100).concat(), hidden.collect(), changed)
    }

    fn dirty_pages(&self, least: usize) -> Vec<Vec<Vec<u8>>> {
        let (snapshot, mut from, mut pages) = (self.database.snapshot(), Vec::new(), Vec::new());
        loop {
            let page = self.database.dirty_page(&snapshot, MAP, &from, least).expect("reads");
            let Some(last) = page.last() else { return pages };
            from = [last.as_slice(), &[0]].concat();
            pages.push(page);
        }
    }
}

fn put(key: &Key, value: &'static [u8]) -> Change {
    Change::Put { map: MAP, key: key.encode().into(), value: Bytes::from_static(value) }
}

#[test]
fn a_page_of_changed_keys_is_small_whatever_changed_in_one_directory() {
    let mut bench = Bench::new();
    let directory = InodeNumber(1);
    bench.put_all((0..5000).map(|number| Key::Entry(directory, format!("name-{number:06}").into())));
    bench.put_all((0..5000).map(|number| Key::Cookie(directory, number)));
    let pages = bench.dirty_pages(100);
    assert!(pages.iter().all(|page| page.len() == 100));
    assert_eq!(pages.len(), 100);
}

#[test]
fn a_page_of_changed_keys_never_ends_among_the_extents_of_a_file() {
    let mut bench = Bench::new();
    for file in 2..6 {
        let file = InodeNumber(file);
        let extents = (1..=file.0 * 7).map(|end| Key::Extent(file, end << 12));
        let others = [Key::Attributes(file), Key::ExtendedAttribute(file, Bytes::from_static(b"user.a"))];
        bench.put_all(extents.chain(others));
    }
    for least in [1, 2, 10, 16, 1000] {
        let pages = bench.dirty_pages(least);
        let is_extent = |key: &[u8]| matches!(Key::decode(key), Ok(Key::Extent(..)));
        for (page, next) in pages.iter().zip(pages.iter().skip(1)) {
            let (last, first) = (&page[page.len() - 1], &next[0]);
            assert!(page.len() >= least && page.len() <= least + 5 * 7);
            assert!(!(is_extent(last) && is_extent(first) && last[..8] == first[..8]), "cut among extents");
        }
        assert_eq!(pages.concat().len(), (2..6).map(|file| file * 7 + 2).sum::<usize>());
    }
}

/// A change of a small map, in which changes meet.
fn change() -> impl Strategy<Value = Change> {
    let key = (1..12_u64, 0..3_u64).prop_map(|(inode, cookie)| Key::Cookie(InodeNumber(inode), cookie));
    (key, 0..4_u8).prop_map(|(key, kind)| match kind {
        0 => put(&key, b"one"),
        1 => put(&key, b"other"),
        2 => Change::Delete { map: MAP, key: key.encode().into() },
        _ => {
            let Range { start, end } = inode_range(key.inode());
            Change::DeleteRange { map: MAP, range: start.into()..end.into() }
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn keys_asked_together_are_known_as_one_by_one(changes in proptest::collection::vec(change(), 0..24)) {
        let mut bench = Bench::new();
        for change in changes {
            bench.apply(vec![change]);
        }
        // Also keys that were never there, and those of other maps.
        let cookies = (0..14).flat_map(|inode| (0..4).map(move |cookie| Key::Cookie(InodeNumber(inode), cookie)));
        let of_map = |map, key: &Key| full_key(map, &key.encode());
        let mut keys: Vec<_> = cookies.flat_map(|key| [of_map(MAP, &key), of_map(MapId(8), &key)]).collect();
        keys.sort();
        let alone: Vec<_> = keys.iter().map(|key| bench.database.get(key).expect("reads")).collect();
        prop_assert_eq!(bench.database.get_many(&keys).expect("reads"), alone);
    }

    /// Whatever is swept when: a commit is told of what changed since the freeze that the newest base is of.
    #[test]
    fn stale_marks_say_nothing_before_they_are_swept(
        steps in proptest::collection::vec(
            prop_oneof![
                4 => change().prop_map(|change| (Some(change), 0)),
                1 => (0..3_u64).prop_map(|back| (None, back)),
            ],
            1..40,
        ),
        pieces in proptest::collection::vec(0..4_usize, 40),
    ) {
        let (mut lazy, mut eager, mut newest) = (Bench::new(), Bench::new(), Sequence(0));
        for ((change, back), pieces) in steps.into_iter().zip(pieces) {
            // A freeze is never of before the one before.
            if change.is_none() {
                newest = newest.max(Sequence((lazy.next - 1).saturating_sub(back)));
            }
            let through = newest;
            for bench in [&mut lazy, &mut eager] {
                let rebase = Change::Rebase { map: MAP, through, base: Bytes::from_static(b"base") };
                bench.apply(vec![change.clone().unwrap_or(rebase)]);
            }
            lazy.sweep(pieces);
            eager.sweep(usize::MAX);
            prop_assert_eq!(lazy.news(), eager.news());
            prop_assert!(eager.database.sweeps().expect("reads").is_empty());
        }
    }
}

#[test]
fn a_rebase_of_many_marks_goes_in_pieces_and_leaves_what_is_newer() {
    let mut bench = Bench::new();
    let name = |number: u64| Key::Entry(InodeNumber(1), format!("name-{number:06}").into());
    bench.put_all((0..6000).map(name));
    bench.apply(
        (0..3000).map(|number| Change::Delete { map: MAP, key: name(number).encode().into() }).collect(),
    );
    let through = Sequence(bench.next - 1);
    bench.put_all((5990..6000).map(name));
    bench.apply(vec![Change::Rebase { map: MAP, through, base: Bytes::from_static(b"base") }]);
    let expected: Vec<_> = (5990..6000).map(|number| name(number).encode()).collect();
    let [mut sweep] = <[_; 1]>::try_from(bench.database.sweeps().expect("reads")).expect("one map");
    let mut pieces = 1;
    while !bench.database.sweep_piece(&mut sweep).expect("sweeps") {
        assert_eq!(bench.news().0, expected);
        pieces += 1;
    }
    assert!(pieces > 10, "{pieces} pieces");
    assert_eq!(bench.news().0, expected);
    let gone = bench.database.get(&full_key(MAP, &name(7).encode())).expect("reads");
    assert_eq!(gone, super::pending::Known::Unknown, "a tombstone hides nothing any more");
}

/// A record whose range takes away what it puts anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_between_records_holds_whole_records_only() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let options = crate::journal::Options::default();
    let (journal, replay) =
        crate::journal::Journal::open(&folder.path().join("journal"), options).expect("opens");
    let database = Database::open(&folder.path().join("meta"), 1 << 20, 1 << 20).expect("opens");
    let limits = super::Limits::default();
    let live = super::Live::open(journal, &replay, std::sync::Arc::new(database), limits).expect("opens");
    let file = InodeNumber(2);
    let key = Key::Attributes(file);
    let batch = || {
        let range = inode_range(file);
        let hidden = Change::DeleteRange { map: MAP, range: range.start.into()..range.end.into() };
        Batch { changes: vec![hidden, put(&key, b"value")] }
    };
    let first = live.submit(batch(), Bytes::new()).await.expect("has room");
    live.durable(first).await.expect("is synced");
    live.applied(first).await.expect("applies");
    let looking = {
        let (live, key) = (live.clone(), key.encode());
        tokio::task::spawn_blocking(move || {
            let mut seen = first;
            while seen.0 < first.0 + 2000 {
                live.between_records(|| {
                    let snapshot = live.database().snapshot();
                    seen = live.database().applied(Some(&snapshot)).expect("reads");
                    let known = live.database().frozen(&snapshot, MAP, &key).expect("reads");
                    assert!(matches!(known, super::Known::Value(_)), "a part of the record after {}", seen.0);
                });
            }
        })
    };
    for _ in 0..2000 {
        let sequence = live.submit(batch(), Bytes::new()).await.expect("has room");
        if sequence.0.is_multiple_of(50) {
            live.durable(sequence).await.expect("is synced");
        }
    }
    live.settle().await.expect("applies");
    looking.await.expect("every view was whole");
}

#[tokio::test]
async fn a_change_is_on_its_way_when_it_has_room_and_may_be_dropped_before() {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Poll;

    let folder = tempfile::tempdir().expect("makes a folder");
    let options = crate::journal::Options::default();
    let (journal, replay) =
        crate::journal::Journal::open(&folder.path().join("journal"), options).expect("opens");
    let database = Database::open(&folder.path().join("meta"), 1 << 20, 1 << 20).expect("opens");
    let limits = super::Limits { pending_bytes_max: 1, ..super::Limits::default() };
    let live = super::Live::open(journal, &replay, Arc::new(database), limits).expect("opens");
    let batch = |number| {
        let key = Key::Entry(InodeNumber(1), format!("name-{number}").into());
        Batch { changes: vec![put(&key, b"value")] }
    };
    live.pause_applier();
    let first = AtomicBool::new(false);
    let sequence = live.submit_noting(batch(1), Bytes::new(), Some(&first)).await.expect("has room");
    assert!(first.load(Ordering::Relaxed));
    let second = AtomicBool::new(false);
    let mut waiting = Box::pin(live.submit_noting(batch(2), Bytes::new(), Some(&second)));
    let is_waiting = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_pending())).await;
    assert!(is_waiting && !second.load(Ordering::Relaxed), "it has no room, so nothing has happened");
    drop(waiting);
    live.let_applier_go_on();
    live.applied(sequence).await.expect("applies");
    let third = AtomicBool::new(false);
    let after = live.submit_noting(batch(3), Bytes::new(), Some(&third)).await.expect("has room");
    assert!(third.load(Ordering::Relaxed) && after.0 == sequence.0 + 1, "the one between was never there");
}
