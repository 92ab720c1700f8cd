//! Goal: the index is a set of facts. Whatever is written, merged, killed half-way and rebuilt, a reader
//! finds exactly that set, and never fewer even while a merge runs.
//! Method: a `BTreeSet` as the model; commits of random entries; merges on a store that dies after each
//! number of changes in turn, with the last change applied or not; rebuilds from real packs.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::dying_store::DyingStore;
use crate::support::{Numbers, create, open_on, read_index, seeds, store_pack, told};
use tidegate_chunker::{ChunkId, ChunkKind, DomainId, Location, PackId};
use tidegate_replicator::repository::{
    DurablePacks, INDEX_ENTRIES_MAX, INDEX_LEVEL_OBJECTS_MAX, IndexEntry, Opened, Repository,
    RepositoryError, pack_name,
};
use tidegate_replicator::store::{Body, MemoryStore, ObjectName, Store};

/// More changes than one merge makes.
const CHANGES_MAX: u64 = 64;

fn entry(number: u64, pack: PackId) -> IndexEntry {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    IndexEntry {
        domain: DomainId::new([(number % 2) as u8; 16]),
        chunk: ChunkId::new(id),
        kind: ChunkKind::ALL[(number % 3) as usize],
        location: Location {
            pack,
            frame_offset: number as u32,
            frame_bytes: u32::MAX,
            chunk_offset: 0,
            chunk_bytes: 7,
        },
    }
}

/// Commits one pack with these entries; the pack's bytes do not matter.
async fn commit(
    repository: &Repository<Opened>,
    numbers: impl Iterator<Item = u64>,
    pack: u8,
) -> Vec<IndexEntry> {
    let pack = PackId::new([pack; 32]);
    let durable = repository.put_pack(pack, Body::Bytes("pack".into())).await.expect("stored");
    let entries: Vec<_> = numbers.map(|number| entry(number, pack)).collect();
    repository
        .write_index(told(entries.clone()), &DurablePacks::from_iter([durable]))
        .await
        .expect("written");
    entries
}

/// A repository of random small commits, some of whose facts are in several, and what it should hold.
async fn random_commits(
    seed: u64,
    commits: usize,
) -> (Repository<Opened>, MemoryStore, BTreeSet<IndexEntry>) {
    let (repository, store) = create().await;
    let mut numbers = Numbers::seeded(seed);
    let mut model = BTreeSet::new();
    for commit_number in 0..commits {
        let chosen: Vec<_> = (0..=numbers.below(30)).map(|_| numbers.below(500)).collect();
        model.extend(commit(&repository, chosen.into_iter(), commit_number as u8 % 4).await);
    }
    (repository, store, model)
}

#[tokio::test]
async fn merging_keeps_every_fact_and_leaves_few_objects() {
    for seed in seeds(5) {
        let (repository, _store, model) = random_commits(seed, 3 * INDEX_LEVEL_OBJECTS_MAX).await;
        let report = repository.merge_index().await.expect("merged");
        assert!(report.merged > INDEX_LEVEL_OBJECTS_MAX && report.written >= 1, "seed {seed}: {report:?}");
        assert!(repository.index_names().await.expect("listed").len() <= INDEX_LEVEL_OBJECTS_MAX + 1);
        assert_eq!(read_index(&repository).await, model, "seed {seed}");
        assert_eq!(repository.merge_index().await.expect("nothing to do").merged, 0);
    }
}

#[tokio::test]
async fn a_merge_that_dies_anywhere_loses_nothing_and_is_simply_run_again() {
    for seed in seeds(3) {
        let (_, store, model) = random_commits(seed, INDEX_LEVEL_OBJECTS_MAX + 3).await;
        for (changes, applied) in (0..CHANGES_MAX).flat_map(|changes| [(changes, false), (changes, true)]) {
            let store = store.fork();
            let dying = Arc::new(DyingStore::new(Arc::new(store.clone()), changes, applied));
            let outcome = open_on(Arc::clone(&dying) as _).await.merge_index().await;
            assert_eq!(outcome.is_err(), dying.is_dead(), "seed {seed}, {changes} changes: {outcome:?}");

            let repository = open_on(Arc::new(store)).await;
            assert_eq!(
                read_index(&repository).await,
                model,
                "seed {seed}, {changes} changes, applied: {applied}"
            );
            repository.merge_index().await.expect("merged");
            assert_eq!(
                read_index(&repository).await,
                model,
                "seed {seed}, {changes} changes, applied: {applied}"
            );
        }
    }
}

#[tokio::test]
async fn leftovers_of_a_merge_that_died_are_deleted_by_the_merge_above() {
    let (repository, store, mut model) = random_commits(1, INDEX_LEVEL_OBJECTS_MAX + 1).await;
    // Dies when one object is written and all inputs but three are deleted.
    let changes = 1 + INDEX_LEVEL_OBJECTS_MAX as u64 - 2;
    let dying = DyingStore::new(Arc::new(store.clone()), changes, false);
    open_on(Arc::new(dying)).await.merge_index().await.expect_err("died");
    let leftovers =
        |names: Vec<ObjectName>| names.iter().filter(|name| name.as_str().starts_with("index/00-")).count();
    assert_eq!(leftovers(store.names()), 3);
    // Level 0 never grows over the limit again, level 1 does.
    let mut deleted = 0;
    for round in 0..2 * INDEX_LEVEL_OBJECTS_MAX as u64 {
        for number in 0..=INDEX_LEVEL_OBJECTS_MAX as u64 {
            model.extend(commit(&repository, std::iter::once(1000 * round + number), 9).await);
        }
        deleted += repository.merge_index().await.expect("merged").leftovers;
    }
    assert_eq!(leftovers(store.names()), 0);
    assert_eq!(read_index(&repository).await, model);
    assert!(deleted <= 3);
}

#[tokio::test]
async fn full_objects_are_split_off_and_never_merged_again() {
    let (repository, _store) = create().await;
    let each = INDEX_ENTRIES_MAX as u64 / 8;
    let mut model = BTreeSet::new();
    for number in 0..=INDEX_LEVEL_OBJECTS_MAX as u64 {
        model.extend(commit(&repository, number * each..(number + 1) * each, number as u8).await);
    }
    let report = repository.merge_index().await.expect("merged");
    assert_eq!(report.written, 3, "two full objects and a rest");
    let levels: Vec<_> =
        repository.index_names().await.expect("listed").iter().map(|name| name.level).collect();
    assert_eq!(levels, [1, 3, 3]);
    assert_eq!(read_index(&repository).await, model);
}

#[tokio::test]
async fn a_commit_over_the_limit_is_written_in_several_objects_and_found_by_id() {
    let (repository, _store) = create().await;
    let entries = commit(&repository, 0..INDEX_ENTRIES_MAX as u64 + 5, 1).await;
    let names = repository.index_names().await.expect("listed");
    assert_eq!(names.len(), 2);
    let mut objects = Vec::new();
    for name in names {
        objects.push(repository.read_index_object(name).await.expect("read"));
    }
    for wanted in entries.iter().step_by(1000) {
        let found: Vec<_> = objects.iter().flat_map(|object| object.find(wanted.chunk)).collect();
        assert_eq!(found, [*wanted]);
    }
    assert!(objects[0].find(ChunkId::new([0xee; 32])).next().is_none());
}

#[tokio::test]
async fn a_reader_misses_nothing_while_objects_are_merged_under_it() {
    let (repository, _store, model) = random_commits(2, INDEX_LEVEL_OBJECTS_MAX + 5).await;
    let mut reader = repository.index_reader();
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let (_, object) = reader.next().await.expect("read").expect("more");
        seen.extend(object.entries());
    }
    repository.merge_index().await.expect("merged");
    while let Some((_, object)) = reader.next().await.expect("read") {
        seen.extend(object.entries());
    }
    assert_eq!(seen, model);
}

#[tokio::test]
async fn one_damaged_object_hides_no_other() {
    let (repository, store, model) = random_commits(3, 2 * INDEX_LEVEL_OBJECTS_MAX).await;
    let damaged = repository.index_names().await.expect("listed")[4];
    let lost: BTreeSet<_> = repository.read_index_object(damaged).await.expect("read").entries().collect();
    store.damage(&damaged.object(), bytes::Bytes::new());

    repository.merge_index().await.expect("merges the others");
    let (mut seen, mut errors) = (BTreeSet::new(), Vec::new());
    let mut reader = repository.index_reader();
    loop {
        match reader.next().await {
            Ok(None) => break,
            Ok(Some((_, object))) => seen.extend(object.entries()),
            Err(error) => errors.push(error.to_string()),
        }
    }
    assert!(errors.len() == 1 && errors[0].contains(damaged.object().as_str()), "{errors:?}");
    assert!(seen.is_subset(&model) && model.difference(&seen).all(|entry| lost.contains(entry)));
}

#[tokio::test]
async fn an_entry_of_a_pack_that_is_not_durable_is_refused() {
    let (repository, _store) = create().await;
    let entries = vec![entry(1, PackId::new([1; 32]))];
    let error = repository.write_index(told(entries), &DurablePacks::new()).await.expect_err("refused");
    assert!(matches!(error, RepositoryError::Invalid(_)), "{error}");
}

#[tokio::test]
async fn the_index_is_rebuilt_from_the_ends_of_packs_of_all_domains() {
    let (repository, store) = create().await;
    let other = repository.create_domain("other").await.expect("created");
    let mut model = BTreeSet::new();
    for number in 0..20_u8 {
        let domain = if number % 3 == 0 { other } else { repository.default_domain() };
        let chunks: Vec<Vec<u8>> = (0..30_u8).map(|chunk| vec![chunk, number, 5]).collect();
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let (pack, entries) = store_pack(&repository, domain, &chunks).await;
        repository
            .write_index(told(entries.clone()), &DurablePacks::from_iter([pack]))
            .await
            .expect("written");
        model.extend(entries);
    }
    for name in repository.index_names().await.expect("listed") {
        store.damage(&name.object(), bytes::Bytes::from_static(b"gone"));
    }
    let repository = open_on(Arc::new(store)).await;
    let report = repository.rebuild_index().await.expect("rebuilt");
    assert_eq!((report.packs, report.entries, report.deleted), (20, model.len(), 20));
    assert!(report.unreadable.is_empty());
    assert_eq!(read_index(&repository).await, model);
}

#[tokio::test]
async fn a_rebuild_deletes_nothing_when_a_pack_cannot_be_read() {
    let (repository, store) = create().await;
    let domain = repository.default_domain();
    let (one, entries_of_one) = store_pack(&repository, domain, &[b"one"]).await;
    let (two, entries_of_two) = store_pack(&repository, domain, &[b"two"]).await;
    let lost = one.id();
    let all = [entries_of_one, entries_of_two].concat();
    repository.write_index(told(all.clone()), &DurablePacks::from_iter([one, two])).await.expect("written");

    let whole = store.get(&pack_name(lost), None).await.expect("there");
    store.damage(&pack_name(lost), whole.slice(..whole.len() - 1));
    let report = repository.rebuild_index().await.expect("rebuilt as far as possible");
    assert_eq!((report.packs, report.deleted, report.unreadable.len()), (1, 0, 1));
    assert!(report.unreadable[0].to_string().contains(pack_name(lost).as_str()));
    assert_eq!(read_index(&repository).await, all.into_iter().collect());
}

#[tokio::test]
async fn groups_of_entries_fill_objects_and_all_of_them_are_written() {
    let (repository, _store) = create().await;
    let (mut durable, mut model, mut groups) = (DurablePacks::new(), BTreeSet::new(), Vec::new());
    let of_group = INDEX_ENTRIES_MAX as u64 * 2 / 5;
    for group in 0..4_u64 {
        let pack = PackId::new([group as u8; 32]);
        durable.add(repository.put_pack(pack, Body::Bytes("pack".into())).await.expect("stored"));
        let entries: Vec<_> = (0..of_group).map(|number| entry(group * of_group + number, pack)).collect();
        model.extend(entries.iter().copied());
        groups.push(Ok::<_, RepositoryError>(entries));
    }
    let commit = repository.write_index(groups, &durable).await.expect("written");
    assert_eq!((commit.packs(), commit.index_objects()), (4, 2));
    assert_eq!(read_index(&repository).await, model);
}

#[tokio::test]
async fn a_group_that_cannot_be_told_ends_the_writing_of_an_index() {
    let (repository, _store) = create().await;
    let told: [Result<Vec<IndexEntry>, RepositoryError>; 1] =
        [Err(RepositoryError::Missing { object: "the end of a pack".into() })];
    let error = repository.write_index(told, &DurablePacks::new()).await.expect_err("no evidence");
    assert!(matches!(error, RepositoryError::Missing { .. }), "{error}");
}
