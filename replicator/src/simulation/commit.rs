//! A commit: what a share holds leaves for the repository. The order of `gateway/src/commit`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_chunker::{ChunkKind, DomainKeys, PackId, ShareId};

use super::gateway::{Base, Gateway, OpenShare, Record};
use super::ledger::{Stage, single};
use super::oracle::{Prepared, Publication};
use super::share::{Contents, block, edits};
use super::trouble::{Outcome, Trouble};
use crate::frozen::DomainReader;
use crate::ingest::{Ingest, IngestOptions, TreeSink, random_pack_ids};
use crate::repository::{
    CommitStatistics, DurableCommit, DurablePack, DurablePacks, Head, HeadName, Heat, Incarnation,
    IndexEntry, KeptHead, Leadership, LineTotals, PlanId, Published, RepositoryError, ShareDescription,
    Usage,
};
use crate::store::Body;
use crate::tree::{Root, apply};

/// Heads that a line keeps.
const KEPT_MAX: usize = 3;
/// Packs that go up at once.
const UPLOADS_MAX: usize = 2;
/// How long passed heads are removed after a commit.
const REMOVAL_MAX: Duration = Duration::from_secs(5);

impl Gateway {
    /// Commits a share; gives its newest head.
    pub(super) async fn commit(&self, share: ShareId) -> Outcome<(HeadName, Head)> {
        let open = self.open(share)?;
        let mut leadership = open.leadership.lock().await;
        self.commit_led(&open, &mut leadership).await
    }

    /// The same, for whoever holds the right to publish.
    pub(super) async fn commit_led(
        &self,
        open: &OpenShare,
        leadership: &mut Option<Leadership>,
    ) -> Outcome<(HeadName, Head)> {
        let committed = self.try_commit(open, leadership).await;
        if let Err(trouble) = &committed
            && trouble.superseded
        {
            self.end_leading(open.id, &trouble.text);
        }
        committed
    }

    async fn try_commit(
        &self,
        open: &OpenShare,
        leadership: &mut Option<Leadership>,
    ) -> Outcome<(HeadName, Head)> {
        if leadership.is_none() {
            return Err(Trouble::new("it is not led here"));
        }
        let plans = self.look_at_plans().await;
        let frozen = self.machine.record(open.id)?;
        let known = self.newest_of(open, &frozen).await?;
        let are_said = |head: &Head| plans.iter().all(|plan| head.plans_honoured.contains(plan));
        let is_changed = frozen.live.data() != frozen.base.contents.live.data();
        if !is_changed && frozen.base.published && known.as_ref().is_some_and(|(_, head)| are_said(head)) {
            return known.ok_or_else(|| Trouble::new("it has no head"));
        }
        let (root, contents) = self.freeze(open.id, &frozen, is_changed).await?;
        let published = self.publish(open, leadership, &frozen.base, (root, &contents), known, plans).await;
        let (name, mut head) = published?;
        let base = Base { root, contents, head: Some(name), published: true };
        if let Some(record) = self.machine.records.lock().get_mut(&open.id) {
            record.base = base;
        }
        *open.newest.lock() = Some((name, head.clone()));
        let removed = tokio::time::timeout(REMOVAL_MAX, self.remove_passed(&mut head)).await;
        if let Ok(Ok(())) = removed {
            *open.newest.lock() = Some((name, head.clone()));
        }
        Ok((name, head))
    }

    /// The head that the next one follows.
    async fn newest_of(&self, open: &OpenShare, frozen: &Record) -> Outcome<Option<(HeadName, Head)>> {
        let Some(name) = frozen.base.head else { return Ok(None) };
        let known = open.newest.lock().clone().filter(|(known, _)| *known == name);
        if known.is_some() {
            return Ok(known);
        }
        match self.repository.read_head(open.id, &name).await {
            Ok(head) => Ok(Some((name, head))),
            Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// Drain, swap and tree.
    async fn freeze(
        &self,
        share: ShareId,
        frozen: &Record,
        is_changed: bool,
    ) -> Outcome<(Root, Arc<Contents>)> {
        let base = &frozen.base;
        if !is_changed {
            return Ok((base.root, base.contents.clone()));
        }
        let domain = self.repository.default_domain();
        let keys = self.repository.domain_keys(domain)?;
        let mut live = frozen.live.clone();
        let mut ingest = self.ingest(&keys)?;
        for number in live.files.values().filter(|file| file.chunks.is_none()).flat_map(|file| &file.blocks) {
            let bytes = block(*number);
            ingest.put(ChunkKind::Data, keys.chunk_id(&bytes), &bytes)?;
        }
        ingest.finish()?;
        live.swap(&keys, |chunk| self.ledger.find(chunk));
        if let Some(record) = self.machine.records.lock().get_mut(&share) {
            record.live.take_chunks(&live);
        }
        // Somebody else may do something now.
        tokio::task::yield_now().await;
        let map = live.map();
        let edits = edits(&base.contents.map, &map).into_iter().map(Ok);
        let reader = DomainReader::open(&self.readers, domain, 1 << 20)?;
        let mut sink = TreeSink::new(self.ingest(&keys)?);
        let root = apply(&base.root, &[], stream::iter(edits), &*reader.nodes, &mut sink, &*keys).await?;
        sink.into_ingest().await?.finish()?;
        Ok((root, Arc::new(Contents { live, map })))
    }

    fn ingest(&self, keys: &Arc<DomainKeys>) -> Outcome<Ingest> {
        let folder = self.machine.folder.path().join("packs");
        let options = IngestOptions { workers: 1, ..IngestOptions::new(folder) };
        let params = self.repository.config().chunks;
        Ok(Ingest::start(keys.clone(), params, self.ledger.known(), random_pack_ids(), options)?)
    }

    async fn publish(
        &self,
        open: &OpenShare,
        leadership: &mut Option<Leadership>,
        base: &Base,
        (root, contents): (Root, &Arc<Contents>),
        known: Option<(HeadName, Head)>,
        plans: Vec<PlanId>,
    ) -> Outcome<(HeadName, Head)> {
        let leading = leadership.as_ref().ok_or_else(|| Trouble::new("it is not led here"))?;
        let durable = self.upload().await?;
        let line: Vec<KeptHead> = known.iter().flat_map(|(name, head)| line_of(*name, head)).collect();
        let copied = |name: &HeadName| {
            self.copying.lock().values().flatten().any(|(of, copied)| *of == open.id && copied == name)
        };
        let stays = |(place, kept): &(usize, KeptHead)| *place < KEPT_MAX || copied(&kept.name);
        let kept: Vec<KeptHead> =
            line.iter().copied().enumerate().filter(stays).map(|(_, kept)| kept).collect();
        let dropped = line.iter().filter(|head| !kept.contains(head)).map(|head| head.name);
        let earlier = known.iter().flat_map(|(_, head)| head.passed.iter().copied());
        let passed = dropped.chain(leading.uncertain().iter().copied()).chain(earlier).collect();
        let head = Head {
            share: ShareDescription {
                id: open.id,
                name: format!("share {}", open.id),
                domain: self.repository.default_domain(),
            },
            epoch: leading.epoch(),
            sequence: leading.next_sequence(base.head.as_ref()),
            parent: base.head,
            root,
            frozen_at: self.world.now(),
            published_at: self.world.now(),
            incarnation: Incarnation::new([4; 8]),
            handover: None,
            keep_handles: None,
            next_inode: u64::MAX,
            journal_sequence: 1,
            plans_honoured: plans,
            kept,
            passed,
            turns: Head::turns_after(base.head, known.as_ref().map(|(_, head)| head), leading.epoch()),
            settings: serde_json::json!({}),
            usage: Usage::default(),
            heat: Heat::default(),
            heat_in: None,
            totals: LineTotals::default(),
            statistics: CommitStatistics::default(),
        };
        let name = self.send_head(open.id, leadership, &head, contents, &durable).await?;
        Ok((name, head))
    }

    async fn send_head(
        &self,
        share: ShareId,
        leadership: &mut Option<Leadership>,
        head: &Head,
        contents: &Arc<Contents>,
        durable: &DurableCommit,
    ) -> Outcome<HeadName> {
        let leading = leadership.take().ok_or_else(|| Trouble::new("it is not led here"))?;
        let prepared = match self.repository.prepare_head(&leading, head) {
            Ok(prepared) => prepared,
            Err(error) => {
                *leadership = Some(leading);
                return Err(error.into());
            }
        };
        let name = prepared.name();
        self.world.event(&format!("{} publishes {name} of {share} after {:?}", self.who(), head.parent));
        let noted = Prepared { contents: contents.clone(), parent: head.parent };
        self.world.oracle.lock().prepared.insert((share, name), noted);
        match self.repository.publish(leading, &prepared, durable).await {
            Published::Done(leading) => {
                *leadership = Some(leading);
                let (site, at) = (self.leading_site(), self.world.elapsed());
                self.world.event(&format!("{} has published {name} of {share}", self.who()));
                self.world.oracle.lock().published.push(Publication { share, site, name, at });
                Ok(name)
            }
            Published::Superseded { by } => Err(Trouble::superseded(by)),
            Published::Failed { leadership: leading, error } => {
                *leadership = Some(leading);
                Err(error.into())
            }
        }
    }

    /// The site that leads, as this process knows it.
    pub(super) fn leading_site(&self) -> usize {
        let lead = self.group.lead();
        self.lines.iter().position(|line| Arc::ptr_eq(line, &lead)).expect("one of them leads")
    }

    async fn remove_passed(&self, head: &mut Head) -> Outcome<()> {
        while let Some(name) = head.passed.last() {
            self.repository.remove_head(head.share.id, name).await?;
            head.passed.pop();
        }
        Ok(())
    }

    /// Everything that waits goes to the target, and is indexed.
    async fn upload(&self) -> Outcome<DurableCommit> {
        let _uploading = self.uploading.lock().await;
        let uploads =
            self.ledger.at(Stage::Local).into_iter().map(|(pack, bytes)| self.upload_one(pack, bytes));
        let uploads: Vec<_> = uploads.collect();
        let mut uploads = stream::iter(uploads).buffer_unordered(UPLOADS_MAX);
        let mut durable = DurablePacks::new();
        while let Some(pack) = uploads.try_next().await? {
            durable.add(pack);
        }
        drop(uploads);
        let unindexed = self.ledger.at(Stage::Uploaded);
        for (pack, bytes) in &unindexed {
            if !durable.contains(*pack) {
                match self.repository.confirm_pack(*pack, *bytes).await? {
                    Some(there) => durable.add(there),
                    None => durable.add(self.upload_one(*pack, *bytes).await?),
                }
            }
        }
        let (domain, keys) = (self.repository.default_domain(), single(&self.repository.domains()));
        let mut groups = Vec::new();
        for (pack, _) in &unindexed {
            let index = self.ledger.read_index(*pack, &keys)?;
            let entries: Vec<IndexEntry> =
                index.chunks().map(|placed| IndexEntry::new(domain, placed)).collect();
            groups.push(Ok::<_, RepositoryError>(entries));
        }
        let commit = self.repository.write_index(groups, &durable).await?;
        for (pack, _) in &unindexed {
            self.ledger.advance(*pack, Stage::Indexed);
        }
        Ok(commit)
    }

    async fn upload_one(&self, pack: PackId, bytes: u64) -> Outcome<DurablePack> {
        if self.ledger.begin_upload(pack)
            && let Some(there) = self.repository.confirm_pack(pack, bytes).await?
        {
            self.ledger.advance(pack, Stage::Uploaded);
            return Ok(there);
        }
        let durable =
            self.repository.put_pack(pack, Body::File { path: self.ledger.path(&pack), bytes }).await?;
        self.ledger.advance(pack, Stage::Uploaded);
        Ok(durable)
    }
}

/// A head, and what it keeps.
fn line_of(name: HeadName, head: &Head) -> Vec<KeptHead> {
    let mut seen = BTreeSet::new();
    let this = KeptHead { name, frozen_at: head.frozen_at };
    std::iter::once(this).chain(head.kept.iter().copied()).filter(|kept| seen.insert(kept.name)).collect()
}
