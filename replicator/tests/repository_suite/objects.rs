//! Goal: repositories, key slots, domains, heads and snapshots are created, opened, listed and removed as
//! described; wrong keys and wrong places are told by name, and nothing is written by opening.
//! Method: a repository in memory, also with objects of older and newer programs made by hand.

use std::sync::Arc;

use crate::support::dying_store::DyingStore;
use crate::support::{
    SHARE, create, create_on, lead, new_repository, next_head, open_on, publish_after, quick_key, told,
};
use bytes::Bytes;
use tidegate_chunker::{
    ObjectKind, PackId, SealEpoch, ShareId, read_plain_object, seal_object, write_plain_object,
};
use tidegate_replicator::repository::{
    Argon2Cost, Comparison, DurablePacks, Head, HeadStanding, NewSnapshot, Passphrase, Published,
    RecoveryKey, Repository, RepositoryError, SLOTS_MAX, Seen, SlotKey, SlotKind, UtcNanos,
};
use tidegate_replicator::store::{Body, DirectoryStore, MemoryStore, ObjectName, PutMode, Store};

fn name(name: &str) -> ObjectName {
    ObjectName::new(name).expect("a legal name")
}

fn passphrase(text: &str) -> SlotKey {
    SlotKey::Passphrase(Passphrase::new(text, Argon2Cost::LEAST).expect("valid"))
}

#[tokio::test]
async fn what_was_created_is_opened_again_with_its_config() {
    let (created, store) = create().await;
    let opened = open_on(Arc::new(store)).await;
    assert_eq!(created.config(), opened.config());
    let (created, opened) = (created.domains(), opened.domains());
    assert_eq!((created.len(), created[0].0), (1, opened[0].0));
    assert_eq!(created[0].1.keys.chunk_id(b"x"), opened[0].1.keys.chunk_id(b"x"));
}

#[tokio::test]
async fn opening_writes_nothing_whatever_happens() {
    let (_, store) = create().await;
    // A store that takes no change at all.
    let read_only = |store: &MemoryStore| Arc::new(DyingStore::new(Arc::new(store.clone()), 0, false));
    Repository::open(read_only(&store), &quick_key(7)).await.expect("opens");
    Repository::open(read_only(&store), &quick_key(8)).await.expect_err("wrong key");
    Repository::open(read_only(&MemoryStore::new()), &quick_key(7)).await.expect_err("no repository");
}

#[tokio::test]
async fn a_wrong_key_is_told_with_what_was_tried() {
    let (repository, store) = create().await;
    repository.add_slot(&passphrase("right"), "a person", UtcNanos::new(2)).await.expect("added");
    let error = Repository::open(Arc::new(store.clone()), &passphrase("wrong")).await.expect_err("wrong key");
    let text = error.to_string();
    assert!(matches!(error, RepositoryError::WrongKey { .. }), "{text}");
    for part in ["this passphrase", "1 passphrase slot", "1 key file slot"] {
        assert!(text.contains(part), "{text}");
    }
    let recovery = SlotKey::Recovery(RecoveryKey::generate().expect("chance"));
    let text = Repository::open(Arc::new(store), &recovery).await.expect_err("wrong key").to_string();
    assert!(text.contains("0 recovery key slot"), "{text}");
}

#[tokio::test]
async fn a_place_without_a_repository_or_with_something_else_is_told() {
    let store = MemoryStore::new();
    let error = Repository::open(Arc::new(store.clone()), &quick_key(7)).await.expect_err("empty");
    assert!(matches!(error, RepositoryError::NoRepository { .. }), "{error}");

    store.put(&name("photos/1"), Body::Bytes("x".into()), PutMode::Overwrite).await.expect("stored");
    let error =
        Repository::init(Arc::new(store.clone()), &new_repository(), &quick_key(7)).await.expect_err("taken");
    assert!(matches!(&error, RepositoryError::NotEmpty { found, .. } if found == "photos/1"), "{error}");
    assert_eq!(store.names().len(), 1);

    let (_, store) = create().await;
    let before = store.names();
    let error =
        Repository::init(Arc::new(store.clone()), &new_repository(), &quick_key(7)).await.expect_err("taken");
    assert!(matches!(error, RepositoryError::AlreadyThere { .. }), "{error}");
    assert_eq!(store.names(), before);
}

#[tokio::test]
async fn a_creation_that_dies_leaves_a_repository_or_none() {
    for (changes, applied) in (0..4).flat_map(|changes| [(changes, false), (changes, true)]) {
        let store = MemoryStore::new();
        let dying = DyingStore::new(Arc::new(store.clone()), changes, applied);
        let created = Repository::init(Arc::new(dying), &new_repository(), &quick_key(7)).await;
        let complete = store.names().contains(&name("config"));
        assert_eq!(complete, changes == 3 || (changes == 2 && applied));
        match Repository::open(Arc::new(store), &quick_key(7)).await {
            Ok(_) => assert!(complete),
            Err(RepositoryError::NoRepository { .. }) => assert!(!complete && created.is_err()),
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn every_kind_of_slot_opens_and_is_listed_and_removed_but_the_last() {
    let (repository, store) = create().await;
    let recovery = RecoveryKey::generate().expect("chance");
    let printed = recovery.to_text();
    let keys = [passphrase("a long one"), SlotKey::Recovery(RecoveryKey::parse(&printed).expect("reads"))];
    for key in &keys {
        repository.add_slot(key, "another", UtcNanos::new(5)).await.expect("added");
        let opened = Repository::open(Arc::new(store.clone()), key).await.expect("opens");
        assert_eq!(opened.id(), repository.id());
    }
    let slots = repository.slots().await.expect("listed");
    let mut kinds: Vec<_> = slots.iter().map(|(_, slot)| slot.as_ref().expect("whole").kind).collect();
    kinds.sort();
    assert_eq!(kinds, [SlotKind::Passphrase, SlotKind::KeyFile, SlotKind::Recovery]);

    for (id, slot) in &slots {
        if slot.as_ref().expect("whole").kind != SlotKind::KeyFile {
            repository.remove_slot(*id).await.expect("removed");
            repository.remove_slot(*id).await.expect_err("gone");
        }
    }
    let last = repository.slots().await.expect("listed")[0].0;
    let error = repository.remove_slot(last).await.expect_err("the last").to_string();
    assert!(error.contains("last one"), "{error}");
    let error = Repository::open(Arc::new(store), &keys[0]).await.expect_err("removed");
    assert!(matches!(error, RepositoryError::WrongKey { .. }), "{error}");
}

#[tokio::test]
async fn slots_are_bounded() {
    let (repository, _store) = create().await;
    for number in 1..SLOTS_MAX {
        repository.add_slot(&quick_key(number as u8), "one more", UtcNanos::new(2)).await.expect("added");
    }
    repository.add_slot(&quick_key(99), "too many", UtcNanos::new(2)).await.expect_err("refused");
    repository.add_slot(&quick_key(99), &"x".repeat(300), UtcNanos::new(2)).await.expect_err("refused");
}

#[tokio::test]
async fn a_config_that_somebody_replaced_is_noticed() {
    let (_, store) = create().await;
    let config = name("config");
    let bytes = store.get(&config, None).await.expect("there");
    let payload = read_plain_object(ObjectKind::Config, "config", &bytes).expect("whole");
    let text = String::from_utf8(payload).expect("JSON").replace("\"min\":16384", "\"min\":16386");
    store.damage(&config, write_plain_object(ObjectKind::Config, "config", text.as_bytes()).into());
    let error = Repository::open(Arc::new(store), &quick_key(7)).await.expect_err("noticed").to_string();
    assert!(error.contains("config is damaged"), "{error}");
}

#[tokio::test]
async fn newer_objects_are_refused_and_unknown_fields_ignored() {
    let (_, store) = create().await;
    let config = name("config");
    let bytes = store.get(&config, None).await.expect("there");
    let payload = read_plain_object(ObjectKind::Config, "config", &bytes).expect("whole");
    let text = String::from_utf8(payload).expect("JSON");
    let replace = |from: &str, to: &str| -> Bytes {
        write_plain_object(ObjectKind::Config, "config", text.replace(from, to).as_bytes()).into()
    };
    store.damage(&config, replace("\"version\":1", "\"version\":1,\"colour\":{\"of\":[\"tide\"]}"));
    open_on(Arc::new(store.clone())).await;
    store.damage(&config, replace("\"version\":1", "\"version\":2"));
    let error = Repository::open(Arc::new(store.clone()), &quick_key(7)).await.expect_err("newer");
    assert!(matches!(error, RepositoryError::NewerFormat { .. }), "{error}");
    let mut envelope = bytes.to_vec();
    envelope[8] = 2;
    store.damage(&config, envelope.into());
    let error = Repository::open(Arc::new(store), &quick_key(7)).await.expect_err("newer");
    assert!(matches!(error, RepositoryError::NewerFormat { .. }), "{error}");
}

#[tokio::test]
async fn a_rotation_keeps_ids_and_everything_readable_for_everybody() {
    let (repository, store) = create().await;
    let colleague = open_on(Arc::new(store)).await;
    let (leader, first) = publish_after(&repository, lead(&repository).await, None).await;

    let domain = repository.default_domain();
    let id = repository.domain_keys(domain).expect("known").chunk_id(b"x");
    let epoch = repository.rotate_domain(domain).await.expect("rotated");
    let keys = repository.domain_keys(domain).expect("known");
    assert!(epoch > SealEpoch(1) && keys.current_epoch() == epoch);
    assert_eq!(keys.chunk_id(b"x"), id);

    let (_, second) = publish_after(&repository, leader, Some(first)).await;
    assert_eq!(colleague.newest_head(SHARE).await.expect("read").expect("there").name, second);
    assert_eq!(colleague.domain_keys(domain).expect("known").current_epoch(), epoch);
}

#[tokio::test]
async fn domains_share_no_ids() {
    let (repository, store) = create().await;
    let other = repository.create_domain("other").await.expect("created");
    let opened = open_on(Arc::new(store)).await;
    let id = |domain| opened.domain_keys(domain).expect("known").chunk_id(b"x");
    assert_ne!(id(other), id(opened.default_domain()));
    let labels: Vec<_> = opened.domains().into_iter().map(|(_, domain)| domain.label).collect();
    assert!(labels.contains(&"other".to_owned()) && labels.contains(&"default".to_owned()), "{labels:?}");
}

#[tokio::test]
async fn the_newest_head_is_found_and_read_back_as_published() {
    let (repository, store) = create().await;
    assert!(repository.newest_head(SHARE).await.expect("read").is_none());
    assert!(repository.shares().await.expect("listed").is_empty());
    let (leader, first) = publish_after(&repository, lead(&repository).await, None).await;
    let expected = next_head(&repository, &leader, Some(first));
    let (_, second) = publish_after(&repository, leader, Some(first)).await;

    let opened = open_on(Arc::new(store)).await;
    let newest = opened.newest_head(SHARE).await.expect("read").expect("there");
    assert_eq!((newest.name, &newest.head), (second, &expected));
    let shares = opened.shares().await.expect("listed");
    assert_eq!(shares.len(), 1);
    assert_eq!(shares[0].newest.as_ref().expect("read").as_ref().expect("there").name, second);
    let listed = opened.list_heads(SHARE, 10).await.expect("listed");
    assert_eq!(
        listed.iter().map(|head| head.standing).collect::<Vec<_>>(),
        [HeadStanding::Newest, HeadStanding::Ancestor]
    );
    opened.remove_head(SHARE, &first).await.expect("removed");
    assert_eq!(opened.head_names(SHARE).await.expect("listed"), [second]);
}

#[tokio::test]
async fn a_head_of_an_epoch_that_nobody_claimed_is_never_followed() {
    let (repository, store) = create().await;
    let (_, first) = publish_after(&repository, lead(&repository).await, None).await;
    let head = repository.read_head(SHARE, &first).await.expect("read");
    let mut forged = first;
    (forged.epoch, forged.sequence) = (9, 9);
    let object = forged.object(SHARE);
    let text = serde_json::to_string(&Head { epoch: 9, sequence: 9, ..head });
    let text = text.expect("written").replacen('{', "{\"version\":1,", 1);
    let keys = repository.domain_keys(repository.default_domain()).expect("known");
    let sealed =
        seal_object(&keys, ObjectKind::Head, object.as_str(), [1; 32], text.as_bytes()).expect("sealed");
    store.damage(&object, sealed.into());

    assert_eq!(repository.newest_head(SHARE).await.expect("read").expect("there").name, first);
    let standings: Vec<_> =
        repository.list_heads(SHARE, 9).await.expect("listed").iter().map(|head| head.standing).collect();
    assert_eq!(standings, [HeadStanding::Unclaimed, HeadStanding::Newest]);

    store.delete(&name(&format!("leases/{SHARE}/00000001"))).await.expect("deleted");
    let error = repository.newest_head(SHARE).await.expect_err("no claim is left").to_string();
    assert!(error.contains("leases/"), "{error}");
}

#[tokio::test]
async fn an_older_store_is_noticed() {
    let (repository, store) = create().await;
    let (leader, first) = publish_after(&repository, lead(&repository).await, None).await;
    let before = store.fork();
    let (_, second) = publish_after(&repository, leader, Some(first)).await;
    let mut seen = Seen::default();
    assert!(seen.remember(SHARE, second));
    let rolled_back = open_on(Arc::new(before)).await;
    let shown = rolled_back.newest_head_name(SHARE).await.expect("read");
    assert_eq!(seen.compare(SHARE, shown), Comparison::Older { seen: second, shown: Some(first) });
}

#[tokio::test]
async fn heads_that_contradict_their_line_or_leadership_are_refused() {
    let (repository, _store) = create().await;
    let (leader, first) = publish_after(&repository, lead(&repository).await, None).await;
    let good = next_head(&repository, &leader, Some(first));
    let mut wrong = vec![good.clone(), good.clone(), good.clone(), good];
    wrong[0].epoch += 1;
    wrong[1].sequence = first.sequence;
    wrong[2].share.id = ShareId::new([0; 16]);
    wrong[3].share.name = String::new();
    for head in wrong {
        repository.prepare_head(&leader, &head).expect_err("refused");
    }
}

#[tokio::test]
async fn what_one_target_holds_is_no_evidence_for_another() {
    let (repository, _store) = create().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let elsewhere = DirectoryStore::create(&folder.path().join("target")).expect("created");
    let other = create_on(Arc::new(elsewhere)).await;
    let pack = other.put_pack(PackId::new([1; 32]), Body::Bytes("pack".into())).await.expect("stored");
    let error = repository
        .write_index(told(Vec::new()), &DurablePacks::from_iter([pack]))
        .await
        .expect_err("refused");
    assert!(error.to_string().contains("not known to be durable"), "{error}");

    let durable = other.write_index(told(Vec::new()), &DurablePacks::new()).await.expect("nothing to write");
    let leader = lead(&repository).await;
    let prepared =
        repository.prepare_head(&leader, &next_head(&repository, &leader, None)).expect("prepared");
    let Published::Failed { error, .. } = repository.publish(leader, &prepared, &durable).await else {
        panic!("published")
    };
    assert!(error.to_string().contains("not on memory:"), "{error}");
}

#[tokio::test]
async fn publishing_again_after_a_lost_reply_leaves_one_head() {
    let store = MemoryStore::new();
    create_on(Arc::new(store.clone())).await;
    let repository = open_on(Arc::new(store.clone())).await;
    let leader = lead(&repository).await;
    let head = next_head(&repository, &leader, None);
    let prepared = repository.prepare_head(&leader, &head).expect("prepared");
    let durable =
        repository.write_index(told(Vec::new()), &DurablePacks::new()).await.expect("nothing to write");

    let dying = open_on(Arc::new(DyingStore::new(Arc::new(store), 0, true))).await;
    let Published::Failed { leadership, error } = dying.publish(leader, &prepared, &durable).await else {
        panic!("no error")
    };
    assert!(error.is_transient(), "{error}");
    let Published::Done(_) = repository.publish(leadership, &prepared, &durable).await else {
        panic!("not published")
    };
    assert_eq!(repository.head_names(SHARE).await.expect("listed"), [prepared.name()]);
}

#[tokio::test]
async fn snapshots_are_created_listed_by_time_and_removed() {
    let (repository, store) = create().await;
    let (_, head_name) = publish_after(&repository, lead(&repository).await, None).await;
    let head = repository.read_head(SHARE, &head_name).await.expect("read");
    let mut ids = Vec::new();
    for taken_at in [300, 100, 200] {
        let tags = [("reason".to_owned(), taken_at.to_string())].into();
        let new = NewSnapshot { label: "nightly".to_owned(), policy: Some("daily".to_owned()), tags };
        ids.push(
            repository
                .create_snapshot((head_name, &head), new, UtcNanos::new(taken_at))
                .await
                .expect("created"),
        );
    }
    let opened = open_on(Arc::new(store)).await;
    assert_eq!(opened.snapshot_ids(SHARE).await.expect("listed"), [ids[1], ids[2], ids[0]]);
    let snapshot = opened.read_snapshot(SHARE, ids[1]).await.expect("read");
    assert_eq!((snapshot.taken_at, snapshot.head_name), (UtcNanos::new(100), head_name));
    assert_eq!((snapshot.head, snapshot.tags["reason"].as_str()), (head.clone(), "100"));
    opened.remove_snapshot(SHARE, ids[1]).await.expect("removed");
    assert_eq!(opened.list_snapshots(SHARE).await.expect("listed").len(), 2);

    let long = NewSnapshot { label: "x".repeat(2000), ..NewSnapshot::default() };
    opened.create_snapshot((head_name, &head), long, UtcNanos::new(1)).await.expect_err("too long");
}

#[tokio::test]
async fn a_pack_is_confirmed_by_its_length() {
    let (repository, _store) = create().await;
    let id = PackId::new([3; 32]);
    assert!(repository.confirm_pack(id, 4).await.expect("asked").is_none());
    repository.put_pack(id, Body::Bytes("pack".into())).await.expect("stored");
    assert_eq!(repository.confirm_pack(id, 4).await.expect("asked").expect("there").id(), id);
    let error = repository.confirm_pack(id, 5).await.expect_err("another length");
    assert!(matches!(error, RepositoryError::Damaged { .. }), "{error}");
    assert_eq!(repository.read_pack(id, 1..3).await.expect("read"), "ac");
    let error = repository.read_pack(id, 1..9).await.expect_err("past the end");
    assert!(matches!(error, RepositoryError::Damaged { .. }), "{error}");
}
