//! Goal: an object that is gone, cut, changed or moved is an error under its name, or does not matter: never a
//! wrong answer, never a panic.
//! Method: a repository with one object of every kind; every object is deleted, cut at many places, flipped
//! at many bytes, and replaced by another; then everything is read, and what is read is compared with what
//! the whole repository gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::{SHARE, create, lead, publish_after, quick_key, store_pack, told};
use bytes::Bytes;
use tidegate_replicator::repository::{
    DurablePacks, NewSnapshot, Opened, Repository, RepositoryError, UtcNanos,
};
use tidegate_replicator::store::{MemoryStore, ObjectName, Store};

/// What reading everything gives: answers by question, and errors.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answers {
    answers: BTreeMap<String, String>,
    errors: Vec<String>,
}

impl Answers {
    fn take<T: std::fmt::Debug>(
        &mut self,
        question: impl ToString,
        answer: Result<T, RepositoryError>,
    ) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.answers.insert(question.to_string(), format!("{answer:?}"));
                Some(answer)
            }
            Err(error) => {
                self.errors.push(error.to_string());
                None
            }
        }
    }
}

/// A repository with every kind of object.
async fn everything() -> MemoryStore {
    let (repository, store) = create().await;
    let (pack, entries) = store_pack(&repository, repository.default_domain(), &[b"some", b"chunks"]).await;
    repository.write_index(told(entries), &DurablePacks::from_iter([pack])).await.expect("written");
    let (leader, first) = publish_after(&repository, lead(&repository).await, None).await;
    let (_, second) = publish_after(&repository, leader, Some(first)).await;
    let head = repository.read_head(SHARE, &second).await.expect("read");
    let new = NewSnapshot { label: "kept".to_owned(), ..NewSnapshot::default() };
    repository.create_snapshot((second, &head), new, UtcNanos::new(9)).await.expect("created");
    store
}

async fn read_everything(store: &MemoryStore) -> Answers {
    let mut all = Answers::default();
    let opened = Repository::open(Arc::new(store.clone()), &quick_key(7)).await;
    if let Some(repository) = all.take("config", opened) {
        read_opened(&repository, &mut all).await;
    }
    all
}

async fn read_opened(repository: &Repository<Opened>, all: &mut Answers) {
    for (id, slot) in repository.slots().await.expect("the memory store answers") {
        all.take(format!("slot {id}"), slot);
    }
    all.take("lease", repository.lease(SHARE).await);
    all.take("newest", repository.newest_head(SHARE).await);
    match repository.list_heads(SHARE, 9).await {
        Err(error) => all.errors.push(error.to_string()),
        Ok(heads) => heads.into_iter().for_each(|listed| drop(all.take(listed.name, listed.head))),
    }
    for (id, snapshot) in repository.list_snapshots(SHARE).await.expect("names are whole") {
        all.take(format!("snapshot {id}"), snapshot);
    }
    let (packs, _) = repository.list_packs(None, 10).await.expect("names are whole");
    for pack in packs {
        all.take(format!("pack {pack}"), repository.pack_index(pack).await);
    }
    let mut reader = repository.index_reader();
    loop {
        match reader.next().await {
            Ok(None) => break,
            Ok(Some((name, object))) => drop(all.take(name, Ok(object))),
            Err(error) => all.errors.push(error.to_string()),
        }
    }
}

impl Answers {
    /// Everything that is answered is answered as by the whole repository.
    fn check(&self, whole: &Self, what: &str) {
        for (question, answer) in &self.answers {
            assert_eq!(Some(answer), whole.answers.get(question), "{what}: {question}");
        }
    }

    fn check_named(&self, object: &ObjectName, what: &str) {
        let named = self.errors.iter().any(|error| error.contains(object.as_str()));
        assert!(named, "{what}: no error names {object}: {:?}", self.errors);
    }
}

/// Whether damage anywhere in an object shows when everything is read: not in the frames of packs, which are
/// verified when they are opened.
fn is_read_wholly(object: &ObjectName) -> bool {
    !object.as_str().starts_with("packs/")
}

async fn bytes_of(store: &MemoryStore, object: &ObjectName) -> Bytes {
    store.get(object, None).await.expect("there")
}

#[tokio::test]
async fn a_whole_repository_answers_everything() {
    let whole = read_everything(&everything().await).await;
    assert_eq!(whole.errors, Vec::<String>::new());
    assert_eq!(whole.answers.len(), 9, "{:?}", whole.answers.keys());
}

#[tokio::test]
async fn a_cut_object_is_an_error_under_its_name() {
    let store = everything().await;
    let whole = read_everything(&store).await;
    for object in store.names() {
        let bytes = bytes_of(&store, &object).await;
        for length in (0..bytes.len()).step_by(29).chain([bytes.len() - 1]) {
            let store = store.fork();
            store.damage(&object, bytes.slice(..length));
            let (read, what) = (read_everything(&store).await, format!("{object} cut to {length} bytes"));
            read.check(&whole, &what);
            read.check_named(&object, &what);
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_is_an_error_under_the_objects_name() {
    let store = everything().await;
    let whole = read_everything(&store).await;
    for object in store.names() {
        let bytes = bytes_of(&store, &object).await;
        for at in (0..bytes.len()).filter(|at| *at < 64 || at % 7 == 0) {
            let store = store.fork();
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << (at % 8);
            store.damage(&object, flipped.into());
            let (read, what) = (read_everything(&store).await, format!("{object} flipped at {at}"));
            read.check(&whole, &what);
            if is_read_wholly(&object) {
                read.check_named(&object, &what);
            }
        }
    }
}

#[tokio::test]
async fn an_object_in_the_place_of_another_is_an_error_under_its_name() {
    let store = everything().await;
    let whole = read_everything(&store).await;
    for (object, other) in
        store.names().iter().flat_map(|one| store.names().into_iter().map(move |other| (one.clone(), other)))
    {
        if object == other {
            continue;
        }
        let fork = store.fork();
        fork.damage(&object, bytes_of(&store, &other).await);
        let (read, what) = (read_everything(&fork).await, format!("{other} in the place of {object}"));
        read.check(&whole, &what);
        read.check_named(&object, &what);
    }
}

#[tokio::test]
async fn an_object_of_another_repository_is_an_error_under_its_name() {
    let (store, foreign) = (everything().await, everything().await);
    let whole = read_everything(&store).await;
    for (object, theirs) in store.names().into_iter().zip(foreign.names()) {
        if object.as_str() == "config" || object.as_str().starts_with("keys/") {
            continue;
        }
        let fork = store.fork();
        fork.damage(&object, bytes_of(&foreign, &theirs).await);
        let (read, what) = (read_everything(&fork).await, format!("a foreign {object}"));
        read.check(&whole, &what);
        read.check_named(&object, &what);
    }
}

#[tokio::test]
async fn a_deleted_object_is_an_error_or_leaves_the_rest_readable() {
    let store = everything().await;
    let whole = read_everything(&store).await;
    for object in store.names() {
        let fork = store.fork();
        fork.delete(&object).await.expect("deleted");
        let mut read = read_everything(&fork).await;
        match object.as_str().split('/').next().expect("a first segment") {
            "config" => assert!(read.errors[0].contains("no repository"), "{read:?}"),
            "keys" => assert!(read.errors[0].contains("no key slot at all"), "{read:?}"),
            "domains" | "leases" => read.errors.iter().for_each(|error| {
                assert!(error.contains("domains/") || error.contains("leases/"), "{object}: {error}");
            }),
            // Only who remembers what he has seen can tell that the newest head is gone.
            "heads" => drop((read.answers.remove("newest"), read.answers.remove("lease"))),
            "index" | "packs" | "snapshots" => assert_eq!(read.errors, Vec::<String>::new(), "{object}"),
            other => panic!("a new kind of object: {other}"),
        }
        read.answers.remove("lease");
        read.check(&whole, &format!("{object} deleted"));
    }
}
