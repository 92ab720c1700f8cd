//! Goal: whatever object of a repository is lost, cut, changed or replaced: opening, attaching, reading,
//! checking and restoring give the right bytes or an error that names something; never wrong bytes, a panic or
//! a hang. And a check names what is damaged whenever that can be known.
//!
//! Method: one repository with every kind of object, in several copies where there can be several. Each
//! object is damaged in each way, by itself, in a copy of the store in memory; then everything is done that
//! can be done with it. What comes back is compared with what was written.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use support::*;
use tidegate_gateway::appliance::{Appliance, AttachPoint, ShareConfig};
use tidegate_replicator::check::{CheckOptions, CheckReport, Sample, Silent, check, unopened};
use tidegate_replicator::frozen::DomainReader;
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::{
    Head, KeyFile, Opened, Repository, RepositoryError, SlotKey, UtcNanos,
};
use tidegate_replicator::restore::{Plan, RestoreOptions, RestoreSource};
use tidegate_replicator::store::{MemoryStore, ObjectName, Store};

const ROOT_INODE: InodeNumber = InodeNumber::ROOT;
/// No single thing takes as long: more is a hang.
const PATIENCE: Duration = Duration::from_secs(50);
/// The two shares: one in the domain of all, one with keys of its own.
const SHARES: [&str; 2] = ["docs", "private"];

type Files = BTreeMap<&'static str, Vec<u8>>;

/// A repository with everything in it, and what its shares held in each of their heads.
struct Fixture {
    folder: tempfile::TempDir,
    store: MemoryStore,
    key: SlotKey,
    /// By root, what is below it.
    contents: BTreeMap<String, Files>,
}

async fn put(appliance: &Appliance, share: &str, files: &mut Files, name: &'static str, content: Vec<u8>) {
    let namespace = appliance.namespace(share).unwrap();
    let file = create(&namespace, ROOT_INODE, name.as_bytes()).await.unwrap();
    for (at, piece) in content.chunks(1 << 20).enumerate() {
        write(&namespace, file, (at << 20) as u64, piece).await.unwrap();
    }
    files.insert(name, content);
}

impl Fixture {
    /// Two key slots, two domains, one of them with two epochs, two shares with two heads each, two snapshots,
    /// two claims of one share.
    async fn make() -> Self {
        let folder = quick_folder();
        let (store, key) = (MemoryStore::new(), slot_key(folder.path()));
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let repository = init(shared.clone(), &key).await;
        let other = SlotKey::KeyFile(KeyFile::create(&folder.path().join("other.key")).unwrap());
        repository.add_slot(&other, "other", UtcNanos::new(1)).await.unwrap();
        let mut contents = BTreeMap::new();
        let mut all = [Files::new(), Files::new()];
        for life in 0..2_u64 {
            let appliance = open(&folder.path().join(format!("life-{life}")), shared.clone(), &key).await;
            for (number, share) in SHARES.into_iter().enumerate() {
                if life > 0 {
                    appliance.attach(share, AttachPoint::Newest).await.unwrap();
                }
                let config = ShareConfig { own_key: share == "private", ..config(share) };
                appliance.serve(config).await.unwrap();
                let seed = life * 10 + number as u64;
                let names = [["small", "large", "other"], ["newer small", "newer large", "newer other"]];
                for (name, length) in names[life as usize].into_iter().zip([100, 700_000, 90_000]) {
                    let content = noise(seed * 7 + length as u64, length);
                    put(&appliance, share, &mut all[number], name, content).await;
                }
                let (_, head) = appliance.commit(share).await.unwrap();
                contents.insert(head.root.id.to_string(), all[number].clone());
                appliance.create_snapshot(share, &format!("kept-{life}"), BTreeMap::new()).await.unwrap();
            }
            appliance.close().await.unwrap();
            if life == 0 {
                repository.rotate_domain(repository.default_domain()).await.unwrap();
            }
        }
        Self { folder, store, key, contents }
    }

    /// Does everything that can be done with a damaged copy.
    async fn try_everything(&self, store: &MemoryStore, case: &str) -> Outcome {
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let mut outcome = Outcome::default();
        let repository = match in_time(case, Repository::open(shared.clone(), &self.key)).await {
            Ok(repository) => Arc::new(repository),
            Err(error) => {
                outcome.errors.push(error.to_string());
                outcome.report = unopened(&error);
                return outcome;
            }
        };
        outcome.opened = true;
        let options = CheckOptions {
            read_data: Some(Sample { per_million: Sample::ALL, seed: 0 }),
            ..CheckOptions::default()
        };
        let report = in_time(case, check(&repository, &options, &Silent)).await;
        outcome.report = Some(report.unwrap_or_else(|error| panic!("{case}: {}", error.text())));
        for share in SHARES {
            self.restore_all(&repository, share, case, &mut outcome).await;
        }
        outcome
    }

    /// Restores every head and every snapshot of a share.
    async fn restore_all(
        &self,
        repository: &Arc<Repository<Opened>>,
        share: &str,
        case: &str,
        outcome: &mut Outcome,
    ) {
        let id = match in_time(case, repository.find_share(share)).await {
            Ok(Some(id)) => id,
            Ok(None) => return outcome.errors.push(format!("there is no share {share}")),
            Err(error) => return outcome.errors.push(error.to_string()),
        };
        let mut heads: Vec<Result<Head, RepositoryError>> = Vec::new();
        match repository.head_names(id).await {
            Ok(names) => {
                for name in names {
                    heads.push(repository.read_head(id, &name).await);
                }
            }
            Err(error) => outcome.errors.push(error.to_string()),
        }
        match repository.list_snapshots(id).await {
            Ok(snapshots) => heads.extend(snapshots.into_iter().map(|(_, read)| read.map(|read| read.head))),
            Err(error) => outcome.errors.push(error.to_string()),
        }
        let mut roots = BTreeSet::new();
        for head in heads {
            match head {
                Ok(head) if roots.insert(head.root.id) => {
                    self.restore(repository, &head, case, outcome).await;
                }
                Ok(_) => {}
                Err(error) => outcome.errors.push(error.to_string()),
            }
        }
    }

    async fn restore(
        &self,
        repository: &Arc<Repository<Opened>>,
        head: &Head,
        case: &str,
        outcome: &mut Outcome,
    ) {
        let whole =
            self.contents.get(&head.root.id.to_string()).unwrap_or_else(|| panic!("{case}: a made-up root"));
        let reader = match DomainReader::open(repository, head.share.domain, 32 << 20) {
            Ok(reader) => reader,
            Err(error) => return outcome.errors.push(error.to_string()),
        };
        let source = RestoreSource {
            frozen: reader.frozen(&head.root),
            repository: repository.id().to_string(),
            share: head.share.id.to_string(),
            path: Vec::new(),
        };
        let target = quick_folder();
        let planned = in_time(case, Plan::make(&source, target.path(), RestoreOptions::default())).await;
        let plan = match planned {
            Ok(plan) => plan,
            Err(error) => return outcome.errors.push(error.to_string()),
        };
        let restoring = plan.execute(&tidegate_replicator::restore::Silent);
        let report = in_time(case, restoring).await.unwrap_or_else(|error| panic!("{case}: {error}"));
        let lost: BTreeSet<&str> = report.failures.iter().map(|failure| &*failure.path).collect();
        for (name, content) in whole {
            if let Ok(bytes) = std::fs::read(target.path().join(name)) {
                assert!(bytes == *content, "{case}: wrong bytes in {name}");
                outcome.right += 1;
            } else {
                let named = lost.contains(&*format!("/{name}")) || lost.contains("/");
                assert!(named, "{case}: {name} is not there, and nobody says so: {lost:?}");
            }
        }
        outcome.errors.extend(report.failures.into_iter().map(|failure| failure.why));
    }

    /// Attaches both shares on an empty machine and reads everything through the namespace.
    async fn attach(&self, store: &MemoryStore, case: &str) -> Outcome {
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let mut outcome = Outcome::default();
        if Repository::open(shared.clone(), &self.key).await.is_err() {
            return outcome;
        }
        let data = tempfile::tempdir_in(self.folder.path()).unwrap();
        let appliance = match in_time(case, try_open(data.path(), shared, &self.key, budgets())).await {
            Ok(appliance) => appliance,
            Err(error) => {
                outcome.errors.push(error.to_string());
                return outcome;
            }
        };
        for share in SHARES {
            let attached = in_time(case, appliance.attach(share, AttachPoint::Newest)).await;
            let served = match attached {
                Ok(_) => in_time(case, appliance.serve(config(share))).await,
                Err(error) => Err(error),
            };
            match served {
                Ok(id) => self.read_everything(&appliance, id, case, &mut outcome).await,
                Err(error) => outcome.errors.push(error.to_string()),
            }
        }
        in_time(case, appliance.close()).await.unwrap();
        outcome
    }

    async fn read_everything(
        &self,
        appliance: &Appliance,
        share: tidegate_chunker::ShareId,
        case: &str,
        outcome: &mut Outcome,
    ) {
        let namespace = served(appliance, share).namespace.clone();
        // What the share had in its newest head or, if that is gone, in the one before.
        for name in ["small", "large", "other", "newer small", "newer large", "newer other"] {
            let file = match in_time(case, lookup(&namespace, ROOT_INODE, name.as_bytes())).await {
                Ok(file) => file,
                Err(error) => {
                    outcome.errors.push(format!("{error:?}"));
                    continue;
                }
            };
            match in_time(case, read_all(&namespace, file)).await {
                Ok(bytes) => {
                    let known = |files: &&Files| files.get(name) == Some(&bytes);
                    assert!(
                        self.contents.values().any(|files| known(&files)),
                        "{case}: wrong bytes in {name}"
                    );
                    outcome.right += 1;
                }
                Err(error) => outcome.errors.push(format!("{error:?}")),
            }
        }
    }
}

/// What doing everything gave.
#[derive(Default)]
struct Outcome {
    opened: bool,
    report: Option<CheckReport>,
    errors: Vec<String>,
    /// Files that came back right.
    right: usize,
}

impl Outcome {
    /// Whether the check, or the error that kept it from beginning, names an object.
    fn names(&self, object: &str) -> bool {
        let found = self.report.iter().flat_map(|report| &report.findings);
        let mut found = found.map(|finding| format!("{}: {}", finding.object, finding.what));
        found.any(|text| text.contains(object))
            || !self.opened && self.errors.iter().any(|text| text.contains(object))
    }
}

/// A folder in memory where there is one: the matrix is about what is read, not about disks.
fn quick_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

async fn in_time<T>(case: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{case}: it hangs"))
}

/// The kind of an object, by its name.
fn kind(name: &ObjectName) -> String {
    name.as_str().split('/').next().unwrap().to_owned()
}

async fn bytes_of(store: &MemoryStore, name: &ObjectName) -> Bytes {
    store.get(name, None).await.unwrap()
}

/// Where bits are flipped: in the beginning, at the end, and in between; by a seed. In a pack these are its
/// header, its frames, its index and its footer.
fn places(length: usize, seed: u64) -> Vec<usize> {
    let mut places = vec![9, 30, length - 1, length - 20, length - 60];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..3 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        places.push((state % length as u64) as usize);
    }
    places.retain(|place| *place < length);
    places
}

fn seed() -> u64 {
    let seed = std::env::var("TIDEGATE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("TIDEGATE_TEST_SEED={seed}");
    seed
}

/// Every way to spoil an object: its name, and what lies there afterwards (nothing for gone).
async fn spoilt(
    store: &MemoryStore,
    foreign: &MemoryStore,
    name: &ObjectName,
    seed: u64,
) -> Vec<(String, Option<Bytes>)> {
    let bytes = bytes_of(store, name).await;
    let mut ways = vec![
        (format!("{name} deleted"), None),
        (format!("{name} empty"), Some(Bytes::new())),
        (format!("{name} cut in half"), Some(bytes.slice(..bytes.len() / 2))),
    ];
    for place in places(bytes.len(), seed) {
        let mut flipped = bytes.to_vec();
        flipped[place] ^= 1 << (place % 8);
        ways.push((format!("{name} flipped at {place} of {}", bytes.len()), Some(flipped.into())));
    }
    // Another one of the same kind: for heads, claims and epochs that is an older or newer version.
    for (whose, from) in [("our", store), ("their", foreign)] {
        let others = from.names().into_iter().filter(|other| kind(other) == kind(name));
        for other in others.filter(|other| whose == "their" || other != name).take(2) {
            ways.push((format!("{name} replaced by {whose} {other}"), Some(bytes_of(from, &other).await)));
        }
    }
    ways
}

fn fork_with(store: &MemoryStore, name: &ObjectName, bytes: Option<&Bytes>) -> MemoryStore {
    let fork = store.fork();
    match bytes {
        Some(bytes) => fork.damage(name, bytes.clone()),
        None => futures::executor::block_on(fork.delete(name)).unwrap(),
    }
    fork
}

/// Files of all roots, as often as they are restored from a whole repository.
fn all_files(fixture: &Fixture) -> usize {
    fixture.contents.values().map(Files::len).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_anywhere_is_named_and_never_gives_wrong_bytes() {
    let (fixture, foreign) = (Fixture::make().await, Fixture::make().await);
    let whole = fixture.try_everything(&fixture.store, "whole").await;
    assert_eq!(whole.report.as_ref().map(|report| report.findings.clone()), Some(Vec::new()));
    assert_eq!((whole.errors.clone(), whole.right), (Vec::new(), all_files(&fixture)));
    let seed = seed();
    let mut kinds = BTreeMap::<String, usize>::new();
    let (mut cases, mut wrong) = (0, Vec::new());
    for (number, name) in fixture.store.names().into_iter().enumerate() {
        *kinds.entry(kind(&name)).or_default() += 1;
        for (case, bytes) in spoilt(&fixture.store, &foreign.store, &name, seed + number as u64).await {
            let fork = fork_with(&fixture.store, &name, bytes.as_ref());
            let outcome = fixture.try_everything(&fork, &case).await;
            cases += 1;
            if let Some(what) = judge(&fixture, &name, bytes.is_none(), &outcome) {
                let findings = outcome.report.map(|report| report.findings).unwrap_or_default();
                wrong.push(format!("{case}: {what}: {:?} {findings:?}", outcome.errors));
            }
        }
    }
    println!("{cases} cases");
    assert!(wrong.is_empty(), "{} of {cases} cases:\n{}", wrong.len(), wrong.join("\n"));
    let several = |kind: &str| kinds.get(kind).is_some_and(|count| *count >= 2);
    assert!(kinds["config"] == 1, "{kinds:?}");
    for kind in ["keys", "domains", "packs", "index", "heads", "snapshots", "leases"] {
        assert!(several(kind), "{kind}: {kinds:?}");
    }
}

/// Holds an outcome against what must be; what is wrong with it.
fn judge(fixture: &Fixture, name: &ObjectName, is_gone: bool, outcome: &Outcome) -> Option<&'static str> {
    let kind = kind(name);
    let is_named = match (&*kind, is_gone) {
        // Nothing names a slot, a snapshot, the newest head, or a claim beside which there is another.
        ("keys" | "snapshots" | "heads" | "leases", true) => true,
        ("index", true) => outcome.names("index/"),
        ("domains", true) => outcome.names("domains/"),
        _ => outcome.names(name.as_str()),
    };
    // The key at hand opens one slot only, and config is needed by all.
    let must_open = !matches!(&*kind, "config" | "keys");
    // Everything is told by the packs as well, and claims only say whom to follow.
    let must_be_whole = matches!(&*kind, "index" | "leases");
    if !is_named {
        Some("the damaged object is not named")
    } else if must_open && !outcome.opened {
        Some("the repository does not open")
    } else if must_be_whole && outcome.right != all_files(fixture) {
        Some("not everything could be restored")
    } else {
        None
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_attached_to_what_is_damaged_serves_right_bytes_or_none() {
    let (fixture, foreign) = (Fixture::make().await, Fixture::make().await);
    let whole = fixture.attach(&fixture.store.fork(), "whole").await;
    assert_eq!((whole.errors, whole.right), (Vec::new(), 12));
    let seed = seed();
    for (number, name) in fixture.store.names().into_iter().enumerate() {
        let ways = spoilt(&fixture.store, &foreign.store, &name, seed + number as u64).await;
        // Of the flips one, chosen by the seed: opening a gateway takes a while.
        let flips = ways.iter().filter(|(case, _)| case.contains("flipped")).count();
        let chosen = (seed as usize + number) % flips;
        let mut flip = 0;
        for (case, bytes) in &ways {
            if case.contains("flipped") {
                flip += 1;
                if flip != chosen + 1 {
                    continue;
                }
            }
            let fork = fork_with(&fixture.store, &name, bytes.as_ref());
            let outcome = fixture.attach(&fork, case).await;
            if outcome.right < 12 {
                assert!(
                    !outcome.errors.is_empty() || matches!(&*kind(&name), "config" | "keys" | "heads"),
                    "{case}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_opens_in_spite_of_a_damaged_epoch_and_says_which() {
    let fixture = Fixture::make().await;
    let names = fixture.store.names().into_iter().filter(|name| kind(name) == "domains");
    for name in names {
        let fork = fork_with(&fixture.store, &name, Some(&Bytes::from_static(b"garbage")));
        let repository = Repository::open(Arc::new(fork), &fixture.key).await.unwrap();
        let unreadable = repository.unreadable_domains();
        assert_eq!(unreadable.len(), 1);
        assert_eq!(unreadable[0].object, name.as_str());
    }
}
