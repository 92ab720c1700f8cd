//! An empty machine opens a share from store and key and serves it, however large it is.
//!
//! Trees of several sizes are built straight by the code that commits use. Then requests are counted from the first look at
//! the store to the first byte of a file, and held against a formula: a constant, a few for each other share, and the height
//! of the tree for each place that a client looks at on its way. Files: `TIDEGATE_ATTACH_FILES` (a list), in the nightly
//! form up to ten million.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

#[path = "support/grown.rs"]
mod grown;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grown::{FOLDER_FILES, Grown, file_name, folder_name};
use support::{budgets, config, init, lookup, served, slot_key};
use tidegate_chunker::ShareId;
use tidegate_gateway::appliance::{Appliance, AttachPoint, Parts, ShareConfig, Targets, WarmWhat};
use tidegate_gateway::clock::SystemClock;
use tidegate_gateway::namespace::Namespace;
use tidegate_gateway::recovery::{Amounts, Opening, first_byte};
use tidegate_replicator::frozen::DomainReader;
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::{Claimant, Ladder, Repository};
use tidegate_replicator::store::{MemoryStore, MeteredStore, Operation, Store};

const NAME: &str = "files";
/// Everything but the tree and other shares: opening, the claim, and what a served share asks besides.
const FIXED_REQUESTS: u64 = 30;
/// Places of the map that a client looks at on its way to `/folder/file`, each at another end of the tree: attributes and
/// entry of the root, of the folder, attributes and extent of the file.
const PLACES: u64 = 4;

/// How many files, and whether these are the sizes of a night.
fn sizes() -> Vec<u64> {
    if let Ok(given) = std::env::var("TIDEGATE_ATTACH_FILES") {
        return given.split(',').map(|size| size.trim().parse().expect("a number")).collect();
    }
    match std::env::var_os("TIDEGATE_NIGHTLY") {
        Some(_) => vec![10_000, 100_000, 1_000_000, 10_000_000],
        None => vec![1_000, 10_000, 50_000],
    }
}

struct Took {
    files: u64,
    height: u64,
    requests: u64,
    bytes: u64,
    seconds: f64,
    predicted: u64,
}

async fn appliance(data: &Path, store: Arc<dyn Store>, repository_key: &Path) -> Arc<Appliance> {
    let repository = Repository::open(store.clone(), &slot_key(repository_key)).await.unwrap();
    let parts = Parts {
        drill: false,
        data: data.to_path_buf(),
        repository,
        targets: Targets::only(store),
        clock: Arc::new(SystemClock),
        claimant: Claimant { host: "elsewhere".into(), instance: "empty".into() },
        settle: Duration::from_millis(1),
        budgets: budgets(),
        ladder: Ladder::default(),
    };
    Appliance::open(parts).await.unwrap()
}

async fn read_first(namespace: &Namespace, files: u64) -> Vec<u8> {
    let file = files / 2;
    let folder =
        lookup(namespace, InodeNumber::ROOT, folder_name(file / FOLDER_FILES).as_bytes()).await.unwrap();
    let number = lookup(namespace, folder, file_name(file).as_bytes()).await.unwrap();
    let reader = namespace.reader();
    let data = reader.read(namespace.share(), number, 0..1 << 20, &support::ROOT).await.unwrap();
    data.pieces.concat()
}

/// From nothing but the store and the key to the first byte.
async fn attach(store: &MemoryStore, folder: &Path, files: u64, content: &[u8]) -> Took {
    let metered = MeteredStore::new(Arc::new(store.clone()), "attach");
    let counts = metered.counts();
    let data = folder.join(format!("empty-{files}"));
    let began = Instant::now();
    let appliance = appliance(&data, Arc::new(metered), folder).await;
    let share = appliance.attach(NAME, AttachPoint::Newest).await.unwrap();
    appliance.serve(ShareConfig { warm: WarmWhat::None, ..config(NAME) }).await.unwrap();
    let namespace = served(&appliance, share).namespace.clone();
    assert_eq!(read_first(&namespace, files).await, content);
    let took = Took {
        files,
        height: 0,
        requests: counts.requests_total(),
        bytes: counts.bytes_down(),
        seconds: began.elapsed().as_secs_f64(),
        predicted: 0,
    };
    assert_eq!(
        counts.requests(Operation::Put),
        2,
        "the claim, and a pin of the state taken over, are written"
    );
    appliance.close().await.unwrap();
    took
}

async fn measure(files: u64, content: &[u8]) -> Took {
    let folder = tempfile::tempdir().unwrap();
    let store = MemoryStore::new();
    let key = slot_key(folder.path());
    let repository = Arc::new(init(Arc::new(store.clone()), &key).await);
    let grown = Grown {
        name: NAME,
        id: ShareId::new([7; 16]),
        files,
        contents: vec![content.to_vec()],
        pack_bytes: 16 << 20,
    };
    let scratch = folder.path().join("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    let made = grown::publish(&repository, &scratch, &grown, grown::all_hot).await;
    let reader = DomainReader::open(&repository, repository.default_domain(), 64 << 20).unwrap();
    let first = first_byte(&made.head.root, reader.nodes).await.unwrap();
    let opening = Opening { shares: 1, domains: 1, slots: 1, by_command: false };
    let predicted = Amounts::of(&made.head, &made.head.heat, &first, opening).first.requests;
    let took = attach(&store, folder.path(), files, content).await;
    Took { height: made.head.root.height.into(), predicted, ..took }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_any_size_is_served_after_the_same_few_requests() {
    let content = support::noise(1, 10_000);
    let mut all = Vec::new();
    for files in sizes() {
        let took = measure(files, &content).await;
        println!(
            "{} files, height {}: first byte after {} requests ({} predicted), {} bytes, {:.2} s",
            took.files, took.height, took.requests, took.predicted, took.bytes, took.seconds
        );
        all.push(took);
    }
    for took in &all {
        let most = FIXED_REQUESTS + PLACES * took.height;
        assert!(took.requests <= most, "{} requests; the formula allows {most}", took.requests);
        let apart = took.requests.abs_diff(took.predicted);
        assert!(apart * 10 <= took.requests, "{} requests, predicted {}", took.requests, took.predicted);
    }
    for pair in all.windows(2) {
        let more = pair[1].requests.saturating_sub(pair[0].requests);
        let higher = pair[1].height - pair[0].height;
        let most = PLACES * (higher + 1);
        assert!(
            more <= most,
            "{} files take {more} requests more than {}: not because of the height",
            pair[1].files,
            pair[0].files
        );
    }
}
