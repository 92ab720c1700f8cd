//! Claims about new sealing keys: what was sealed under old ones is stored anew under them, everything stays readable
//! meanwhile and afterwards, and only what must be asked for is.

use std::sync::Arc;
use std::time::Duration;

use tidegate_chunker::{PackHeader, PackId, SealEpoch};
use tidegate_replicator::check::{self, CheckOptions, Sample, check};
use tidegate_replicator::collect::{
    CollectOptions, Progress, Silent, carry_out, condemn, propose, seal_usage, tidy,
};
use tidegate_replicator::repository::{Opened, Repository, UtcNanos};

use super::support::{CHUNK_BYTES, ROOT, Share, noise, quick_key};

fn options(scratch: &tempfile::TempDir) -> CollectOptions {
    let now = UtcNanos::from(std::time::SystemTime::now());
    let options = CollectOptions::new(now, scratch.path().to_path_buf());
    CollectOptions {
        grace: Duration::ZERO,
        delete_percent_max: 100,
        repack_below_percent: 0,
        reseal: true,
        ..options
    }
}

async fn epochs(repository: &Repository<Opened>) -> Vec<(PackId, SealEpoch)> {
    let (packs, _) = repository.list_packs(None, 1000).await.unwrap();
    let mut found = Vec::new();
    for pack in packs {
        let header = repository.read_pack(pack, 0..PackHeader::LEN as u64).await.unwrap();
        found.push((pack, PackHeader::from_prefix(&header).unwrap().epoch));
    }
    found
}

async fn is_clean(repository: &Arc<Repository<Opened>>) {
    let read_data = Some(Sample { per_million: Sample::ALL, seed: 0 });
    let options = CheckOptions { read_data, ..CheckOptions::default() };
    let report = check(repository, &options, &check::Silent).await.unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[tokio::test]
async fn after_a_round_nothing_that_is_alive_lies_under_old_keys() {
    let scratch = tempfile::tempdir().unwrap();
    let mut share = Share::new().await;
    share.file(ROOT, b"old", &noise(1, CHUNK_BYTES));
    share.publish().await;
    let repository = share.repository.clone();
    let proposal = propose(&repository, &options(&scratch), &Silent).await.unwrap();
    assert_eq!((proposal.old, proposal.sparse.len()), (0, 0), "there is one epoch only");

    let held = repository.domain_keys(repository.default_domain()).unwrap();
    let epoch = repository.rotate_domain(repository.default_domain()).await.unwrap();
    assert_eq!(held.current_epoch(), epoch, "who held the keys seals under the new ones");
    share.file(ROOT, b"new", &noise(2, CHUNK_BYTES));
    share.publish().await;
    let usage = seal_usage(&repository, &Silent).await.unwrap();
    assert!(usage.old_packs > 0 && usage.old_packs < usage.packs && usage.unreadable == 0, "{usage:?}");
    assert_eq!(usage.epochs.keys().copied().collect::<Vec<_>>(), [SealEpoch(1), epoch]);

    // The first round finds what nothing reaches any more; what is alive of the others is copied.
    let proposal = propose(&repository, &options(&scratch), &Silent).await.unwrap();
    tidy(&repository, &proposal).await.unwrap();
    let proposal = propose(&repository, &options(&scratch), &Silent).await.unwrap();
    assert!(proposal.old > 0 && proposal.sparse.len() as u64 == proposal.old);
    let plan = condemn(&repository, proposal, &options(&scratch), &Silent).await.unwrap().unwrap();
    is_clean(&repository).await;
    share.plans_honoured = vec![plan];
    share.publish().await;
    let progress = carry_out(&repository, plan, &options(&scratch), &Silent).await.unwrap();
    assert!(matches!(progress, Progress::Done(collected) if collected.spared == 0), "{progress:?}");

    assert!(epochs(&repository).await.iter().all(|(_, under)| *under == epoch));
    let usage = seal_usage(&repository, &Silent).await.unwrap();
    assert_eq!((usage.old_packs, usage.old_bytes), (0, 0));
    is_clean(&repository).await;
    // Somebody who opens it anew reads all of it too.
    let anew = Arc::new(Repository::open(Arc::new(share.store.clone()), &quick_key()).await.unwrap());
    is_clean(&anew).await;
    let again = propose(&repository, &options(&scratch), &Silent).await.unwrap();
    assert_eq!((again.old, again.sparse.len()), (0, 0));
}

#[tokio::test]
async fn who_was_not_told_learns_of_new_keys_by_one_listing_and_then_opens_what_is_under_them() {
    let mut share = Share::new().await;
    share.file(ROOT, b"file", &noise(1, CHUNK_BYTES));
    share.publish().await;
    let other = Repository::open(Arc::new(share.store.clone()), &quick_key()).await.unwrap();
    let (domain, held) = (other.default_domain(), other.domain_keys(other.default_domain()).unwrap());
    assert!(!other.learn_epochs().await.unwrap(), "nothing is new");
    let epoch = share.repository.rotate_domain(domain).await.unwrap();
    share.file(ROOT, b"more", &noise(2, CHUNK_BYTES));
    share.publish().await;
    assert!(!held.knows(epoch));
    assert!(other.learn_epochs().await.unwrap());
    assert!(held.knows(epoch) && held.current_epoch() == epoch);
    for (pack, _) in epochs(&other).await {
        other.pack_index(pack).await.unwrap();
    }
    assert!(!other.learn_epochs().await.unwrap());
}
