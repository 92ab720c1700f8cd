//! What of a recovery sleeps in the archive of the store, and how long the store takes to thaw it.
//!
//! A listing of the packs tells their classes. Of the packs of the first read, and of what is hot, it is known which they
//! are; of the whole it is not, without reading the tree. So everything that sleeps in the repository counts, up to the length
//! of the share, and the slowest class that is there. What was thawed and can be read for some days counts as asleep: a listing
//! does not tell. All of these err to the longer time.
//!
//! All is asked for at once (`tidegate thaw`), so the slowest is what is waited for. What thawing costs is not here.
//!
//! **Bounds.** A number for each pack that is asked about; one page of a listing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tidegate_chunker::PackId;
use tidegate_replicator::repository::{Heat, Opened, Repository, RepositoryError};
use tidegate_replicator::store::{Classes, StorageClass};
use tidegate_replicator::warm::hot_ranges;

use super::first::FirstByte;

/// Packs that are listed at once.
const LIST_PAGE: usize = 1000;

/// What has to be thawed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thaw {
    /// Bytes that sleep, at most.
    pub bytes: u64,
    /// How long the store takes, at most; zero where nothing sleeps.
    pub takes: Duration,
}

impl Thaw {
    fn add(&mut self, bytes: u64, takes: Duration) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.takes = self.takes.max(takes);
    }
}

/// What has to be thawed for each stage of a recovery; the later ones include the earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asleep {
    /// For the first byte.
    pub first: Thaw,
    /// For what is hot.
    pub hot: Thaw,
    /// For everything.
    pub whole: Thaw,
}

impl Asleep {
    /// Of a share whose whole has so many bytes.
    pub fn of(sleepers: &Sleepers, first: &FirstByte, heat: &Heat, whole_bytes: u64) -> Self {
        let mut asleep = Self::default();
        for frame in &first.frames {
            if let Some(takes) = sleepers.asked.get(&frame.pack) {
                asleep.first.add(frame.bytes.into(), *takes);
            }
        }
        asleep.hot = asleep.first;
        for range in hot_ranges(heat) {
            if let Some(takes) = sleepers.asked.get(&range.pack) {
                asleep.hot.add(range.bytes(), *takes);
            }
        }
        asleep.whole = Thaw { bytes: sleepers.all.bytes.min(whole_bytes), takes: sleepers.all.takes };
        asleep
    }
}

/// Packs of a target that sleep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sleepers {
    all: Thaw,
    /// Of those that were asked about: how long each takes.
    asked: HashMap<PackId, Duration>,
}

impl Sleepers {
    /// Lists all packs; `asked` are those of which it matters which they are, `takes` says how long a class takes to thaw.
    pub async fn list(
        repository: &Repository<Opened>,
        classes: &Classes,
        takes: &(dyn Fn(&StorageClass) -> Duration + Sync),
        asked: &HashSet<PackId>,
    ) -> Result<Self, RepositoryError> {
        let (mut sleepers, mut after) = (Self::default(), None);
        loop {
            let (page, more) = repository.list_pack_objects(after, LIST_PAGE).await?;
            after = page.last().map(|pack| pack.id);
            for pack in page {
                let Some(class) = pack.class.filter(|class| classes.sleeps(Some(class))) else { continue };
                let takes = takes(&class);
                sleepers.all.add(pack.bytes, takes);
                if asked.contains(&pack.id) {
                    sleepers.asked.insert(pack.id, takes);
                }
            }
            if !more || after.is_none() {
                return Ok(sleepers);
            }
        }
    }
}

/// Packs of which it matters which they are.
pub fn asked_of(first: &FirstByte, heat: &Heat) -> impl Iterator<Item = PackId> {
    let hot = heat.packs().iter().map(|hot| hot.pack);
    first.frames.iter().map(|frame| frame.pack).chain(hot).collect::<HashSet<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use tidegate_chunker::ChunkParams;
    use tidegate_replicator::fetch::FrameAt;
    use tidegate_replicator::repository::{KeyFile, NewRepository, SlotKey, UtcNanos, pack_name};
    use tidegate_replicator::store::{Body, MemoryStore, PutMode, SpecialStore, Store};

    use super::*;

    #[tokio::test]
    async fn what_sleeps_is_known_by_pack_where_it_was_asked_and_else_by_its_sum() {
        let glacier: StorageClass = "GLACIER".parse().expect("a class");
        let hours = Duration::from_hours(5);
        let store = MemoryStore::new().freezing(std::slice::from_ref(&glacier), Classes::default(), hours);
        let folder = tempfile::tempdir().expect("a folder");
        let key = KeyFile::create(&folder.path().join("repository.key")).expect("a key");
        let new = NewRepository {
            chunks: ChunkParams::default(),
            slot_label: "test".into(),
            domain_label: "test".into(),
            created_at: UtcNanos::new(0),
        };
        let stored = Arc::new(store.clone());
        let repository = Repository::init(stored, &new, &SlotKey::KeyFile(key)).await.expect("made");
        let pack = |number: u8| PackId::new([number; 32]);
        for number in 1..=3 {
            let body = Body::Bytes(Bytes::from(vec![0; 100]));
            store.put(&pack_name(pack(number)), body, PutMode::Overwrite).await.expect("stored");
        }
        for number in [2, 3] {
            store.change_class(&pack_name(pack(number)), &glacier).await.expect("changed");
        }
        let frame = |number: u8| FrameAt { pack: pack(number), offset: 48, bytes: 10 };
        let first = FirstByte { frames: vec![frame(1), frame(2)], data: None };
        let heat = Heat::default();
        let asked = asked_of(&first, &heat).collect();
        let takes = |_: &StorageClass| hours;
        let sleepers =
            Sleepers::list(&repository, &Classes::default(), &takes, &asked).await.expect("listed");
        let asleep = Asleep::of(&sleepers, &first, &heat, 150);
        assert_eq!(asleep.first, Thaw { bytes: 10, takes: hours });
        assert_eq!(asleep.hot, asleep.first);
        assert_eq!(asleep.whole, Thaw { bytes: 150, takes: hours }, "not more than the share has");
    }
}
