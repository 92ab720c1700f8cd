//! Goal: what is looked at is what is there, as it is or as it was.
//!
//! Method: files with odd names and random bytes on a real appliance, read back page by page and in pieces, live and of
//! a snapshot after everything has been overwritten.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use tidegate_gateway::appliance::Appliance;
use tidegate_gateway::control::{ErrorKind, FileKind, FilePath, FilesRequest, Moment};
use tidegate_gateway::history::{Seen, list, open as open_file};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::store::{MemoryStore, Store};

use support::{config, create, init, noise, open, slot_key, write};

/// More than is read at once.
const LARGE: usize = 5 << 20;

async fn appliance(folder: &std::path::Path) -> Arc<Appliance> {
    let key = slot_key(folder);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let appliance = open(&folder.join("data"), store, &key).await;
    appliance.serve(config("docs")).await.unwrap();
    appliance
}

/// What the files of the root hold, by name.
async fn fill(appliance: &Appliance, seed: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let namespace = appliance.namespace("docs").unwrap();
    let mut names: Vec<Vec<u8>> = (0..57u8).map(|n| vec![b'a' + n % 5, 200 + n % 50, n + 1]).collect();
    names.extend([b"<img onerror=x>".to_vec(), b"\\back".to_vec(), "\u{6c34}".into(), b"large".to_vec()]);
    let mut model = BTreeMap::new();
    for (number, name) in names.into_iter().enumerate() {
        let name: Vec<u8> = name.into_iter().map(|byte| if byte == b'/' { b'_' } else { byte }).collect();
        let length = if name == b"large" { LARGE } else { number * 7 };
        let content = noise(seed + number as u64, length);
        let file = match support::lookup(&namespace, InodeNumber::ROOT, &name).await {
            Ok(file) => file,
            Err(_) => create(&namespace, InodeNumber::ROOT, &name).await.unwrap(),
        };
        write(&namespace, file, 0, &content).await.unwrap();
        model.insert(name, content);
    }
    model
}

fn request(after: Option<FilePath>, limit: usize) -> FilesRequest {
    FilesRequest { at: Moment::Live, path: FilePath::root(), after, limit }
}

/// Everything in the root, by pages of so many.
async fn everything(seen: &Seen, limit: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let (mut found, mut after, mut before) = (BTreeMap::new(), None, None);
    loop {
        let page = list(seen, &request(after, limit)).await.unwrap();
        assert!(page.files.len() <= limit);
        for file in page.files {
            assert!(before.as_ref().is_none_or(|before| *before < file.path), "in byte order");
            let data = open_file(seen.clone(), &file.path).await.unwrap();
            assert_eq!((data.info.kind, data.info.bytes), (FileKind::File, file.bytes));
            let pieces: Vec<_> = data.data.try_collect().await.unwrap();
            let name = file.path.names().last().unwrap().to_vec();
            assert!(found.insert(name, pieces.concat()).is_none(), "once");
            before = Some(file.path);
        }
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_seen_once_as_it_is_and_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let appliance = appliance(folder.path()).await;
    let before = fill(&appliance, 1).await;
    let snapshot = appliance.create_snapshot("docs", "before", BTreeMap::new()).await.unwrap();
    let after = fill(&appliance, 1000).await;
    let share = appliance.namespace("docs").unwrap().share().clone();
    let map = appliance.frozen_map(&snapshot.snapshot.head).unwrap();
    for limit in [1, 7, before.len(), 1000] {
        assert_eq!(everything(&Seen::Live(share.clone()), limit).await, after, "live, {limit} a page");
        let frozen = Seen::Frozen(share.clone(), map.clone());
        assert_eq!(everything(&frozen, limit).await, before, "frozen, {limit} a page");
    }
    appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_and_what_is_something_else_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let appliance = appliance(folder.path()).await;
    fill(&appliance, 1).await;
    let seen = Seen::Live(appliance.namespace("docs").unwrap().share().clone());
    let at = |path: &str| FilesRequest { path: path.parse().unwrap(), ..request(None, 10) };
    assert_eq!(list(&seen, &at("/nothing")).await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(list(&seen, &at("/large")).await.unwrap_err().kind, ErrorKind::Invalid);
    let kind_of = async |path: &str| open_file(seen.clone(), &path.parse().unwrap()).await.unwrap_err().kind;
    assert_eq!(kind_of("/").await, ErrorKind::Invalid);
    assert_eq!(kind_of("/large/deeper").await, ErrorKind::NotFound);
    appliance.close().await.unwrap();
}
