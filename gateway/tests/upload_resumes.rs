//! Goal: after a process has died, at most the packs that were on their way to the target go again.
//!
//! Method: this test runs itself as a child process, whose target notes when the storing of a pack begins and ends, and
//! takes two at a time. It fails for some commits, so that many packs wait; then all go at once, and the child dies
//! at a crash point in the middle, before anything of it has been flushed. The parent opens what is left and counts.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use support::*;
use tidegate_gateway::crash;
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::store::{
    Body, Capabilities, DirectoryStore, ErrorKind, ListPage, ObjectInfo, ObjectName, PutMode, Store,
    StoreError,
};
use tokio::sync::Semaphore;

/// Names the folder that a child works in.
const FOLDER: &str = "TIDEGATE_TEST_UPLOAD";
/// Commits that fail because the target takes no packs.
const FAILING: u64 = 6;
/// Packs that the target takes at once.
const AT_ONCE: usize = 2;

/// A directory that notes what becomes of packs.
#[derive(Debug)]
struct Noting {
    inner: DirectoryStore,
    notes: PathBuf,
    refuses: AtomicBool,
    places: Semaphore,
}

impl Noting {
    fn open(folder: &Path, life: &str) -> Arc<Self> {
        Arc::new(Self {
            inner: DirectoryStore::create(&folder.join("repository")).unwrap(),
            notes: folder.join(life),
            refuses: AtomicBool::new(false),
            places: Semaphore::new(AT_ONCE),
        })
    }

    fn note(&self, what: &str, name: &ObjectName) {
        let mut file = File::options().create(true).append(true).open(&self.notes).unwrap();
        file.write_all(format!("{what} {name}\n").as_bytes()).unwrap();
    }
}

/// The packs of which this was noted in a life.
fn noted(folder: &Path, life: &str, what: &str) -> BTreeSet<String> {
    let notes = fs::read_to_string(folder.join(life)).unwrap_or_default();
    notes.lines().filter_map(|line| line.strip_prefix(what)).map(|name| name.trim().to_owned()).collect()
}

#[async_trait]
impl Store for Noting {
    fn address(&self) -> String {
        self.inner.address()
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        if !name.as_str().starts_with("packs/") {
            return self.inner.put(name, body, mode).await;
        }
        if self.refuses.load(Ordering::Relaxed) {
            return Err(StoreError::new(ErrorKind::Transient, "store a pack"));
        }
        let _place = self.places.acquire().await.unwrap();
        self.note("begin", name);
        self.inner.put(name, body, mode).await?;
        self.note("end", name);
        Ok(())
    }
    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        self.inner.get(name, range).await
    }
    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        self.inner.get_tail(name, bytes).await
    }
    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        if name.as_str().starts_with("packs/") {
            self.note("ask", name);
        }
        self.inner.head(name).await
    }
    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        self.inner.list(prefix, after, limit).await
    }
    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.inner.list_folders(prefix).await
    }
    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.inner.delete(name).await
    }
}

fn content(number: u64) -> Vec<u8> {
    noise(number + 1, 300_000)
}

/// The work of a child. Without the variable it is a test that does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let store = Noting::open(&folder, "first");
    let key = slot_key(&folder);
    drop(init(store.clone(), &key).await);
    let appliance = open(&folder.join("data"), store.clone(), &key).await;
    let share = appliance.serve(config("docs")).await.unwrap();
    let namespace = served(&appliance, share).namespace.clone();
    store.refuses.store(true, Ordering::Relaxed);
    for number in 0..FAILING {
        let file = create(&namespace, InodeNumber::ROOT, format!("f{number}").as_bytes()).await.unwrap();
        write(&namespace, file, 0, &content(number)).await.unwrap();
        appliance.commit("docs").await.expect_err("the target takes no packs");
    }
    store.refuses.store(false, Ordering::Relaxed);
    let _ = appliance.commit("docs").await;
    panic!("it should have died");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_the_packs_on_their_way_go_again_after_a_process_died() {
    for visit in [1, 4, 7] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let died = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(FOLDER, folder)
            .env(crash::VARIABLE, format!("upload.pack:{visit}"))
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&died.stderr);
        assert!(output.contains("crash point upload.pack"), "{output}");
        let (begun, ended) = (noted(folder, "first", "begin"), noted(folder, "first", "end"));
        assert!(ended.len() >= visit && begun.len() - ended.len() <= AT_ONCE, "{begun:?} {ended:?}");

        let store = Noting::open(folder, "second");
        let key = slot_key(folder);
        let appliance = open(&folder.join("data"), store, &key).await;
        let share = appliance.serve(config("docs")).await.unwrap();
        appliance.commit("docs").await.unwrap();
        let (again, ended_then) = (noted(folder, "second", "begin"), noted(folder, "second", "end"));
        let twice: Vec<_> = again.intersection(&ended).collect();
        assert!(twice.is_empty(), "visit {visit}: stored whole before, and again: {twice:?}");
        let on_their_way = again.intersection(&begun).count();
        assert!(on_their_way <= AT_ONCE, "visit {visit}: {on_their_way}");
        println!(
            "died at pack {visit}: {} packs stored and {} on their way before; {} stored after, of these {on_their_way} \
             for the second time; {} asked for",
            ended.len(),
            begun.len() - ended.len(),
            ended_then.len(),
            noted(folder, "second", "ask").len()
        );
        assert_eq!(appliance.backlog(), (0, 0));
        let namespace = served(&appliance, share).namespace.clone();
        for number in 0..FAILING {
            let file = lookup(&namespace, InodeNumber::ROOT, format!("f{number}").as_bytes()).await.unwrap();
            assert_eq!(read_all(&namespace, file).await.unwrap(), content(number));
        }
        appliance.close().await.unwrap();
    }
}
