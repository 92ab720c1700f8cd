//! What lies in the repository: the heads that a run begins with, and, around a drill, everything.
//!
//! The look before a drill writes the listing of the whole repository, page by page, to a file of the run; the look
//! after it goes through both, name by name, and holds neither in memory. Production goes on meanwhile, and may have
//! published: what is new is then told apart by its name. Never production's, and so always a difference, are: a claim to a lease,
//! a head of an epoch that nobody had claimed before, a heartbeat of a gateway that was not there, anything about keys, and an
//! object that changed under its name. When no head and no heartbeat is new, nobody published, and every change is one; but for a
//! minute it is looked again, since a commit stores its head last.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_replicator::repository::{Opened, Repository};
use tidegate_replicator::store::{LIST_LIMIT_MAX, ObjectInfo, ObjectName, Store};
use tokio::time::Instant;

use super::world::StepFailure;

/// The most differences that are named.
const DIFFERENCES_MAX: usize = 50;
/// For how long a commit of production may be under way whose packs came and whose head did not.
const UNCLEAR_MAX: Duration = Duration::from_mins(1);
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// See the head of this module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The shares of the runbook.
    pub shares: Vec<ShareEvidence>,
    /// How many objects lie in the repository; none if they were not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// How many bytes they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Objects that production published while the drill ran.
    #[serde(default)]
    pub grown: u64,
}

/// What is known of a share at the beginning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShareEvidence {
    /// Its name.
    pub share: String,
    /// Its newest head; none if it has none.
    pub head: Option<String>,
    /// When the newest head froze, by its publisher's clock.
    pub frozen: Option<Timestamp>,
    /// How old the newest head was, by the store's clock, in milliseconds.
    pub age_ms: Option<u64>,
    /// How old its own settings let it become, in milliseconds.
    pub rpo_ms: Option<u64>,
    /// Bytes that production had acknowledged and not published; none if it could not be asked.
    pub unpublished_bytes: Option<u64>,
    /// The age of the oldest of them, in milliseconds.
    pub unpublished_ms: Option<u64>,
}

/// The newest head of a share.
pub(super) async fn share_evidence(
    repository: &Repository<Opened>,
    store: &dyn Store,
    store_now: SystemTime,
    share: &str,
) -> Result<ShareEvidence, StepFailure> {
    let failed = |error: &dyn std::error::Error| {
        StepFailure::passing(format!("the heads of share {share:?} cannot be read: {error}"))
    };
    let mut found = ShareEvidence { share: share.to_owned(), ..ShareEvidence::default() };
    let Some(id) = repository.find_share(share).await.map_err(|error| failed(&error))? else {
        return Ok(found);
    };
    let Some(newest) = repository.newest_head(id).await.map_err(|error| failed(&error))? else {
        return Ok(found);
    };
    let object = ObjectName::new(format!("heads/{id}/{}", newest.name)).map_err(|error| failed(&error))?;
    let written = store.head(&object).await.map_err(|error| failed(&error))?.modified;
    let (frozen, published) = (newest.head.frozen_at.as_nanos(), newest.head.published_at.as_nanos());
    let before_publication = u64::try_from(published.saturating_sub(frozen)).unwrap_or_default() / 1_000_000;
    let since = store_now.duration_since(written).unwrap_or_default().as_millis() as u64;
    found.head = Some(newest.name.to_string());
    found.frozen = Timestamp::from_nanosecond(frozen.into()).ok();
    found.age_ms = Some(since.saturating_add(before_publication));
    let text = newest.head.settings.get("share").and_then(serde_json::Value::as_str).unwrap_or_default();
    let rules = crate::settings::table_from_toml::<crate::settings::Share>(text).ok();
    found.rpo_ms = rules.map(|rules| rules.rpo.duration().as_millis() as u64);
    Ok(found)
}

/// An object of a listing, as a line keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    name: String,
    bytes: u64,
    modified_ns: u128,
}

impl Listed {
    fn of(object: &ObjectInfo) -> Self {
        let since = object.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { name: object.name.to_string(), bytes: object.bytes, modified_ns: since.as_nanos() }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (name, bytes, time) = (words.next()?, words.next()?, words.next()?);
        Some(Self { name: name.to_owned(), bytes: bytes.parse().ok()?, modified_ns: time.parse().ok()? })
    }
}

/// A listing, page by page.
struct Pages<'s> {
    store: &'s dyn Store,
    after: Option<ObjectName>,
    page: std::vec::IntoIter<ObjectInfo>,
    more: bool,
}

impl<'s> Pages<'s> {
    fn new(store: &'s dyn Store) -> Self {
        Self { store, after: None, page: Vec::new().into_iter(), more: true }
    }

    async fn next(&mut self) -> Result<Option<Listed>, StepFailure> {
        loop {
            if let Some(object) = self.page.next() {
                let listed = Listed::of(&object);
                self.after = Some(object.name);
                return Ok(Some(listed));
            }
            if !self.more {
                return Ok(None);
            }
            let page = self.store.list("", self.after.as_ref(), LIST_LIMIT_MAX).await;
            let page = page
                .map_err(|error| StepFailure::passing(format!("the repository cannot be listed: {error}")))?;
            (self.more, self.page) = (page.more, page.objects.into_iter());
        }
    }
}

fn local(path: &Path) -> impl Fn(io::Error) -> StepFailure + '_ {
    move |error| StepFailure::passing(format!("the listing in {} cannot be kept: {error}", path.display()))
}

/// Lists everything into a file; how many objects and bytes.
pub(super) async fn list(store: &dyn Store, path: &Path) -> Result<(u64, u64), StepFailure> {
    let failed = local(path);
    let new = path.with_extension("new");
    let mut file = BufWriter::new(File::create(&new).map_err(&failed)?);
    let (mut pages, mut objects, mut bytes) = (Pages::new(store), 0, 0);
    while let Some(Listed { name, bytes: length, modified_ns }) = pages.next().await? {
        writeln!(file, "{name} {length} {modified_ns}").map_err(&failed)?;
        (objects, bytes) = (objects + 1, bytes + length);
    }
    file.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(&failed)?;
    std::fs::rename(&new, path).map_err(&failed)?;
    Ok((objects, bytes))
}

/// What was found by going through two listings.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) objects: u64,
    pub(super) bytes: u64,
    /// What production published, or took away.
    pub(super) grown: u64,
    /// What nobody but the drill can have done.
    pub(super) differences: Vec<String>,
    /// Whether all of that would be production's, if it published now: a commit stores packs and index before its head.
    pub(super) is_unclear: bool,
}

/// Compares, and once more for as long as it is unclear whether production is about to publish what came: up to
/// [`UNCLEAR_MAX`].
pub(super) async fn compare_settled(store: &dyn Store, path: &Path) -> Result<Compared, StepFailure> {
    let (until, mut pause) = (Instant::now() + UNCLEAR_MAX, PAUSE_MIN);
    loop {
        let compared = compare(store, path).await?;
        let left = until.saturating_duration_since(Instant::now());
        if !compared.is_unclear || left.is_zero() {
            return Ok(compared);
        }
        // The last look is when the time is up.
        tokio::time::sleep(pause.min(left)).await;
        pause *= 2;
    }
}

/// Compares what lies there now with a listing of [`list`].
async fn compare(store: &dyn Store, path: &Path) -> Result<Compared, StepFailure> {
    let failed = local(path);
    let known = Known::read(path)?;
    let file = BufReader::new(File::open(path).map_err(&failed)?);
    let mut before = file.lines();
    let mut next_before = || -> Result<Option<Listed>, StepFailure> {
        let Some(line) = before.next().transpose().map_err(local(path))? else { return Ok(None) };
        let wrong = || StepFailure::lasting(format!("the listing in {} is damaged", path.display()));
        Listed::parse(&line).map(Some).ok_or_else(wrong)
    };
    let (mut pages, mut found) = (Pages::new(store), Changes::default());
    let (mut old, mut new) = (next_before()?, pages.next().await?);
    loop {
        let order = match (&old, &new) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(old), Some(new)) => old.name.cmp(&new.name),
        };
        if let (Some(new), true) = (&new, order.is_ge()) {
            (found.objects, found.bytes) = (found.objects + 1, found.bytes + new.bytes);
        }
        match order {
            std::cmp::Ordering::Less => {
                found.gone(&known, old.as_ref());
                old = next_before()?;
            }
            std::cmp::Ordering::Greater => {
                found.came(&known, new.as_ref());
                new = pages.next().await?;
            }
            std::cmp::Ordering::Equal => {
                if old != new {
                    found.wrong("changed", old.as_ref());
                }
                (old, new) = (next_before()?, pages.next().await?);
            }
        }
    }
    Ok(found.judged())
}

/// Who could publish before: epochs of shares, and gateways.
#[derive(Debug, Default)]
struct Known {
    epochs: BTreeMap<String, BTreeSet<u32>>,
    gateways: BTreeSet<String>,
}

impl Known {
    fn read(path: &Path) -> Result<Self, StepFailure> {
        let mut known = Self::default();
        for line in BufReader::new(File::open(path).map_err(local(path))?).lines() {
            let line = line.map_err(local(path))?;
            let name = line.split(' ').next().unwrap_or_default();
            let parts: Vec<&str> = name.split('/').collect();
            match parts[..] {
                ["leases", share, claim] => {
                    let epoch = claim.split('-').next().and_then(|hex| u32::from_str_radix(hex, 16).ok());
                    known.epochs.entry(share.to_owned()).or_default().extend(epoch);
                }
                ["heartbeats", gateway, _] => {
                    known.gateways.insert(gateway.to_owned());
                }
                _ => {}
            }
        }
        Ok(known)
    }
}

/// What differs.
#[derive(Debug, Default)]
struct Changes {
    objects: u64,
    bytes: u64,
    /// Whether somebody who could do so before has published.
    published: bool,
    /// What he may have done.
    perhaps: Vec<String>,
    perhaps_count: u64,
    wrong: Vec<String>,
    wrong_count: u64,
}

impl Changes {
    fn wrong(&mut self, what: &str, object: Option<&Listed>) {
        self.wrong_count += 1;
        let name = object.map(|object| object.name.as_str()).unwrap_or_default();
        if self.wrong.len() < DIFFERENCES_MAX {
            self.wrong.push(format!("{name} {what}"));
        }
    }

    fn perhaps(&mut self, what: &str, name: &str) {
        self.perhaps_count += 1;
        if self.perhaps.len() < DIFFERENCES_MAX {
            self.perhaps.push(format!("{name} {what}"));
        }
    }

    fn came(&mut self, known: &Known, object: Option<&Listed>) {
        let name = object.map(|object| object.name.as_str()).unwrap_or_default();
        let parts: Vec<&str> = name.split('/').collect();
        match parts[..] {
            ["heads", share, head] => {
                let epoch = head.split('-').next().and_then(|hex| u32::from_str_radix(hex, 16).ok());
                let epochs = known.epochs.get(share);
                if epoch.is_some_and(|epoch| epochs.is_some_and(|epochs| epochs.contains(&!epoch))) {
                    self.published = true;
                    self.perhaps("came", name);
                } else {
                    self.wrong("came: a head of an epoch that nobody had claimed", object);
                }
            }
            ["heartbeats", gateway, _] if known.gateways.contains(gateway) => {
                self.published = true;
                self.perhaps("came", name);
            }
            ["packs" | "index" | "plans" | "snapshots" | "branches", ..] => self.perhaps("came", name),
            _ => self.wrong("came", object),
        }
    }

    fn gone(&mut self, _: &Known, object: Option<&Listed>) {
        let name = object.map(|object| object.name.as_str()).unwrap_or_default();
        match name.split('/').next() {
            Some("heads" | "heartbeats" | "packs" | "index" | "plans" | "snapshots") => {
                self.perhaps("went", name);
            }
            _ => self.wrong("went", object),
        }
    }

    fn judged(mut self) -> Compared {
        let is_unclear = !self.published && self.wrong_count == 0 && self.perhaps_count > 0;
        if !self.published {
            self.wrong.append(&mut self.perhaps);
            self.wrong.truncate(DIFFERENCES_MAX);
            self.wrong_count += std::mem::take(&mut self.perhaps_count);
        }
        let more = self.wrong_count - self.wrong.len() as u64;
        if more > 0 {
            self.wrong.push(format!("and {more} more"));
        }
        let Self { objects, bytes, perhaps_count: grown, wrong: differences, .. } = self;
        Compared { objects, bytes, grown, differences, is_unclear }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use tidegate_replicator::store::{Body, MemoryStore, PutMode};

    use super::*;

    const SHARE: &str = "aa";

    async fn put(store: &MemoryStore, name: &str) {
        let name = ObjectName::new(name).expect("a name");
        let body = Body::Bytes(Bytes::from(name.to_string()));
        store.put(&name, body, PutMode::Overwrite).await.expect("stored");
    }

    /// What differs after `change`, and how much production is taken to have published.
    /// What was listed, and what came and went since.
    async fn changed(came: &[&str], went: &[&str]) -> (Arc<MemoryStore>, tempfile::TempDir) {
        let store = Arc::new(MemoryStore::new());
        let there = [
            "config".to_owned(),
            format!("heads/{SHARE}/fffffffe-fffffffffffffff0-00000000"),
            "heartbeats/01/fffffffffffffff0-00000000".to_owned(),
            "keys/11".to_owned(),
            format!("leases/{SHARE}/00000001-0a-settled"),
            "packs/11/1111".to_owned(),
        ];
        for name in &there {
            put(&store, name).await;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("listing");
        assert_eq!(list(&*store, &path).await.expect("listed").0, there.len() as u64);
        for name in came {
            put(&store, name).await;
        }
        for name in went {
            store.delete(&ObjectName::new(*name).expect("a name")).await.expect("deleted");
        }
        (store, folder)
    }

    async fn after(came: &[&str], went: &[&str]) -> Compared {
        let (store, folder) = changed(came, went).await;
        compare(&*store, &folder.path().join("listing")).await.expect("compared")
    }

    #[tokio::test]
    async fn what_is_as_it_was_has_no_differences() {
        let found = after(&[], &[]).await;
        assert!(found.differences.is_empty() && found.grown == 0, "{found:?}");
    }

    #[tokio::test]
    async fn what_production_published_is_told_apart_from_what_it_cannot_have_done() {
        let head = format!("heads/{SHARE}/fffffffe-ffffffffffffffef-00000000");
        let found = after(&[&head, "packs/22/2222", "index/0-1"], &["packs/11/1111"]).await;
        assert!(found.differences.is_empty() && found.grown == 4, "{found:?}");
        for wrong in [
            "heads/aa/fffffffd-ffffffffffffffef-00000000",
            "heads/bb/fffffffe-ffffffffffffffef-00000000",
            "leases/aa/00000002-0b",
            "heartbeats/02/fffffffffffffff0-00000000",
            "keys/22",
            "domains/1/00000001",
        ] {
            let found = after(&[&head, wrong], &[]).await;
            assert!(found.differences.len() == 1 && found.differences[0].starts_with(wrong), "{found:?}");
        }
        for wrong in ["config", "keys/11", "leases/aa/00000001-0a-settled"] {
            let found = after(&[&head], &[wrong]).await;
            assert_eq!(found.differences, [format!("{wrong} went")]);
        }
    }

    #[tokio::test]
    async fn where_nobody_published_every_change_is_one() {
        assert_eq!(after(&["packs/22/2222"], &[]).await.differences, ["packs/22/2222 came"]);
        assert_eq!(after(&[], &["packs/11/1111"]).await.differences, ["packs/11/1111 went"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_whose_head_comes_last_is_waited_for() {
        let (store, folder) = changed(&["packs/22/2222"], &[]).await;
        let path = folder.path().join("listing");
        let publishes = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            put(&store, &format!("heads/{SHARE}/fffffffe-ffffffffffffffef-00000000")).await;
        };
        let (compared, ()) = futures::join!(compare_settled(&*store, &path), publishes);
        let compared = compared.expect("compared");
        assert!(compared.differences.is_empty() && compared.grown == 2, "{compared:?}");
        let (store, folder) = changed(&["packs/22/2222"], &[]).await;
        let compared = compare_settled(&*store, &folder.path().join("listing")).await.expect("compared");
        assert_eq!(compared.differences, ["packs/22/2222 came"], "nobody published within the minute");
    }
}
