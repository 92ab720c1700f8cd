//! One disk as a snapshot: only the blocks that have changed since an earlier snapshot are sent.
//!
//! Order, and what a crash leaves at each step:
//!
//! ```text
//! 1 StartSnapshot            a snapshot that nobody knows; EBS gives it up after a day
//! 2 the copy is noted        goes on at the next call, also if the share has moved on: blocks that it changed are sent again
//! 3 PutSnapshotBlock ...     those that are noted as sent are not sent again
//! 4 CompleteSnapshot         that it is asked for is noted before: it is asked for again, then goes on with 5
//! 5 the tag with the head    only now it is a copy, for everybody
//! ```
//!
//! Blocks of holes, and in a first copy blocks of zeros, are not sent. Each block has its SHA-256, and the snapshot that of all of them
//! (linear aggregation: the SHA-256 of the digests in the order of the blocks), so a snapshot that lacks one is not completed.
//!
//! EBS may have completed a snapshot whose answer was lost, and refuses to do so again: a snapshot that takes no block any more is
//! complete, or will be. A copy that is given up is not begun again by its token, which would give the same snapshot: copies are counted.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_sdk_ebs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ebs::primitives::ByteStream;
use aws_sdk_ebs::types::{ChecksumAggregationMethod, ChecksumAlgorithm, Tag};
use aws_smithy_types::base64;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::client::Clients;
use super::error::{Action, Doing, ebs_code};
use super::progress::{Begun, Digest, Progress};
use super::snapshots::{self, Complete, Standing};
use super::tags;
use crate::control::{JobHandle, Unit};
use crate::machine::{ContentError, DiskContent, ProviderError};

/// The blocks of EBS (Amazon EBS user guide, "Use EBS direct APIs": the only size that there is).
const BLOCK_BYTES: u64 = 512 << 10;
/// Blocks that are on their way at once: 16 MiB of memory.
const PUTS_AT_ONCE: usize = 32;
/// The largest volume, in GiB.
const GIB_MAX: u64 = 64 << 10;
/// How long EBS keeps a snapshot to which nothing is added, in minutes: a run that was killed is taken up within a day.
const TIMEOUT_MINUTES: i32 = 24 * 60;
/// Earlier snapshots that are looked at to find one to lie over.
const BELOW_MAX: usize = 8;
/// Attempts at a block of a snapshot that EBS does not know yet everywhere, and the pause between the first two.
const UNKNOWN_ATTEMPTS: u32 = 10;
const UNKNOWN_PAUSE: Duration = Duration::from_millis(500);

/// What a disk is copied with.
pub(super) struct Copier<'a> {
    pub(super) clients: &'a Clients,
    pub(super) doing: Doing<'a>,
    /// Where the copy is noted.
    pub(super) folder: &'a Path,
    /// Which of the machine's disks it is.
    pub(super) disk_at: usize,
    /// The mark of who makes it.
    pub(super) owner: &'a str,
    /// Whether it is for a trial, which says nothing of snapshots of others.
    pub(super) is_trial: bool,
    /// What its snapshot is tagged with.
    pub(super) tags: Vec<(String, String)>,
    pub(super) job: &'a JobHandle,
}

/// Blocks to send, and the copy that they are of.
struct Plan {
    progress: Progress,
    blocks: BTreeSet<u32>,
}

/// What EBS does not do.
struct Refusal {
    code: Option<String>,
    error: ProviderError,
}

impl Refusal {
    /// Whether what is noted of the copy does not fit what EBS has.
    fn is_misfit(&self) -> bool {
        matches!(
            self.code.as_deref(),
            Some("ConflictException" | "ResourceNotFoundException" | "ValidationException")
        )
    }

    fn is_unknown(&self) -> bool {
        self.code.as_deref() == Some("ResourceNotFoundException")
    }
}

impl Copier<'_> {
    /// The snapshot that has the content of a disk.
    pub(super) async fn copy(&self, content: &dyn DiskContent) -> Result<String, ProviderError> {
        let (disk, gib) = (tags::disk_of(content.origin()), self.gib(content)?);
        let noted = Progress::open(self.folder, self.disk_at).map_err(self.doing.local())?;
        let (mut noted, mut ended) = (noted.filter(|progress| progress.begun.disk == disk), None);
        if let Some(progress) =
            noted.take_if(|progress| progress.begun.is_sealed || progress.begun.is_closing)
        {
            let begun = progress.begun.clone();
            if begun.is_sealed {
                self.finish(&begun).await?;
            } else {
                // Whether it is at its end must be known before it may get what has changed since, which may lie over it too.
                self.complete(progress, content).await?;
            }
            ended = Some(self.ended(begun));
        }
        let mut known = snapshots::complete(self.clients, self.doing, &disk).await?;
        // It may not be listed yet.
        if let Some(ended) = ended.filter(|ended| known.iter().all(|known| known.id != ended.id)) {
            known.insert(0, ended);
        }
        if let Some(same) = self.same(&known, content, gib).await? {
            self.forget()?;
            return Ok(same);
        }
        let resumed = match noted {
            Some(progress) => self.resume(progress, content, gib).await?,
            None => None,
        };
        let plan = match resumed {
            Some(plan) => plan,
            None => self.begin(disk, &known, content, gib).await?,
        };
        let progress = self.send(plan, content).await?;
        self.complete(progress, content).await
    }

    fn ended(&self, begun: Begun) -> Complete {
        let Begun { snapshot: id, head, gib, .. } = begun;
        Complete { id, head, owner: Some(self.owner.to_owned()), is_of_trial: self.is_trial, gib }
    }

    /// Forgets what is noted of a copy: it has ended, or is given up.
    fn forget(&self) -> Result<(), ProviderError> {
        Progress::remove(self.folder, self.disk_at).map_err(self.doing.local())
    }

    fn gib(&self, content: &dyn DiskContent) -> Result<i32, ProviderError> {
        let gib = content.bytes().div_ceil(1 << 30).max(1);
        let fits = i32::try_from(gib).ok().filter(|_| gib <= GIB_MAX);
        fits.ok_or_else(|| self.doing.failed(format!("{} is larger than {GIB_MAX} GiB", content.origin())))
    }

    fn unreadable(&self) -> impl FnOnce(ContentError) -> ProviderError {
        let doing = self.doing;
        move |error| doing.failed(error.0)
    }

    async fn changed(
        &self,
        content: &dyn DiskContent,
        since: Option<&str>,
    ) -> Result<Option<Vec<Range<u64>>>, ProviderError> {
        content.blocks(BLOCK_BYTES, since).await.map_err(self.unreadable())
    }

    /// An earlier snapshot of the very content, which then is of this head too.
    async fn same(
        &self,
        known: &[Complete],
        content: &dyn DiskContent,
        gib: i32,
    ) -> Result<Option<String>, ProviderError> {
        let head = &content.origin().head;
        if let Some(same) = known.iter().find(|snapshot| snapshot.head == *head && snapshot.gib == gib) {
            return Ok(Some(same.id.clone()));
        }
        let Some(newest) = known.first().filter(|snapshot| snapshot.gib == gib) else { return Ok(None) };
        if self.changed(content, Some(&newest.head)).await?.is_none_or(|changed| !changed.is_empty()) {
            return Ok(None);
        }
        // The head that it has may be one that its maker keeps, and that of a trial is kept by nobody.
        if !self.is_trial || newest.is_of(self.owner) {
            snapshots::say_head(self.clients, self.doing, &newest.id, head).await?;
        }
        Ok(Some(newest.id.clone()))
    }

    /// Goes on with a copy that was broken off; none if that cannot be.
    async fn resume(
        &self,
        mut progress: Progress,
        content: &dyn DiskContent,
        gib: i32,
    ) -> Result<Option<Plan>, ProviderError> {
        let begun = &progress.begun;
        let found = snapshots::find(self.clients, self.doing, &begun.snapshot).await?;
        let takes = |standing: &Standing| !matches!(standing, Standing::Lost(_));
        if !found.is_some_and(|snapshot| takes(&snapshot.standing)) || begun.gib != gib {
            return Ok(None);
        }
        let Some(changed) = self.changed(content, begun.below.as_deref()).await? else { return Ok(None) };
        let Some(moved) = self.changed(content, Some(&begun.head)).await? else { return Ok(None) };
        let turned = progress.turn_to(&content.origin().head, numbers(moved));
        turned.map_err(self.doing.local())?;
        let mut blocks: BTreeSet<u32> = numbers(changed).collect();
        for (block, digest) in &progress.sent {
            if digest.is_some() {
                blocks.remove(block);
            } else {
                blocks.insert(*block);
            }
        }
        Ok(Some(Plan { progress, blocks }))
    }

    /// Begins a copy, over the newest snapshot that there is, if what has changed since can be told.
    async fn begin(
        &self,
        disk: String,
        known: &[Complete],
        content: &dyn DiskContent,
        gib: i32,
    ) -> Result<Plan, ProviderError> {
        // One that could not be gone on with.
        self.forget()?;
        let mut below = None;
        // A snapshot cannot be smaller than the one that it lies over.
        for snapshot in known.iter().filter(|snapshot| snapshot.gib <= gib).take(BELOW_MAX) {
            if let Some(changed) = self.changed(content, Some(&snapshot.head)).await? {
                below = Some((snapshot.clone(), changed));
                break;
            }
        }
        let (below, changed) = match below {
            Some((below, changed)) => (Some(below), changed),
            None => (None, self.changed(content, None).await?.unwrap_or_default()),
        };
        let head = content.origin().head.clone();
        let mut own = self.tags.clone();
        own.extend([
            (tags::DISK.to_owned(), disk.clone()),
            (tags::PATH.to_owned(), tags::value(&content.origin().path)),
        ]);
        own.extend(self.is_trial.then(|| (tags::TRIAL.to_owned(), "yes".to_owned())));
        own.extend(below.iter().map(|below| (tags::PARENT.to_owned(), below.id.clone())));
        let started = self
            .clients
            .ebs
            .start_snapshot()
            .volume_size(i64::from(gib))
            .set_parent_snapshot_id(below.as_ref().map(|below| below.id.clone()))
            .set_tags(Some(
                own.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect(),
            ))
            .description(tags::value(&format!("{} for {}", content.origin().path, self.doing.name)))
            .client_token(self.token(&disk, &head, below.as_ref())?)
            .timeout(TIMEOUT_MINUTES)
            .send()
            .await
            .map_err(self.refusal("ebs:StartSnapshot"))
            .map_err(|refusal| self.not_begun(refusal))?;
        let snapshot = started.snapshot_id().unwrap_or_default().to_owned();
        let below = below.map(|below| below.head);
        let begun = Begun { disk, snapshot, below, head, gib, is_closing: false, is_sealed: false };
        let progress = Progress::begin(self.folder, self.disk_at, begun).map_err(self.doing.local())?;
        Ok(Plan { progress, blocks: numbers(changed).collect() })
    }

    /// Why no copy was begun. One whose token EBS knows for another request has another one the next time.
    fn not_begun(&self, refusal: Refusal) -> ProviderError {
        let counted =
            if refusal.is_misfit() { Progress::count_end(self.folder, self.disk_at) } else { Ok(()) };
        counted.map_err(self.doing.local()).err().unwrap_or(refusal.error)
    }

    /// A second request for the same snapshot answers the first, should the note of it be lost; after a copy that has ended it is another.
    fn token(&self, disk: &str, head: &str, below: Option<&Complete>) -> Result<String, ProviderError> {
        let ended = Progress::ended(self.folder, self.disk_at).map_err(self.doing.local())?.to_string();
        let mut hasher = blake3::Hasher::new();
        for part in [self.owner, disk, head, below.map_or("", |below| &below.id), &ended] {
            hasher.update(part.as_bytes()).update(b"\0");
        }
        Ok(hasher.finalize().to_hex()[..32].to_owned())
    }

    /// Sends blocks; each is noted when it was taken.
    async fn send(&self, plan: Plan, content: &dyn DiskContent) -> Result<Progress, ProviderError> {
        let Plan { mut progress, blocks } = plan;
        let total = blocks.len() as u64 * BLOCK_BYTES;
        self.job.phase(&format!("copy {}", content.origin().path), Some(total), Unit::Bytes);
        let snapshot = progress.begun.snapshot.clone();
        let lies_over_nothing = progress.begun.below.is_none();
        // EBS has something else there, from this copy or from below, unless it is a first copy.
        let may_skip: BTreeSet<u32> = blocks
            .iter()
            .copied()
            .filter(|block| lies_over_nothing && !progress.sent.contains_key(block))
            .collect();
        let sending = stream::iter(blocks).map(|block| {
            let (snapshot, may_skip) = (&snapshot, &may_skip);
            async move {
                let start = u64::from(block) * BLOCK_BYTES;
                let data = content.read(start..start + BLOCK_BYTES).await.map_err(self.unreadable())?;
                let is_hole = may_skip.contains(&block) && data.iter().all(|byte| *byte == 0);
                let digest = if is_hole { None } else { Some(self.put(snapshot, block, data).await?) };
                Ok::<_, ProviderError>((block, digest))
            }
        });
        let mut sending = std::pin::pin!(sending.buffer_unordered(PUTS_AT_ONCE));
        while let Some((block, digest)) = sending.try_next().await? {
            if let Some(digest) = digest {
                progress.note(block, digest).map_err(self.doing.local())?;
            }
            self.job.advance(BLOCK_BYTES);
        }
        if progress.sent.is_empty() {
            // An empty disk: a snapshot wants a block.
            let digest = self.put(&snapshot, 0, Bytes::from(vec![0; BLOCK_BYTES as usize])).await?;
            progress.note(0, digest).map_err(self.doing.local())?;
        }
        Ok(progress)
    }

    /// Sends a block, also to a snapshot that was just begun and is not known everywhere.
    async fn put(&self, snapshot: &str, block: u32, data: Bytes) -> Result<Digest, ProviderError> {
        let (sum, mut attempt) = (sha256(&data), 1);
        loop {
            match self.put_once(snapshot, block, sum, data.clone()).await {
                Ok(()) => return Ok(sum),
                Err(refusal) if refusal.is_unknown() && attempt < UNKNOWN_ATTEMPTS => {
                    tokio::time::sleep(UNKNOWN_PAUSE * attempt).await;
                    attempt += 1;
                }
                Err(refusal) => return Err(self.refused(refusal)),
            }
        }
    }

    async fn put_once(&self, snapshot: &str, block: u32, sum: Digest, data: Bytes) -> Result<(), Refusal> {
        let put = self
            .clients
            .ebs
            .put_snapshot_block()
            .snapshot_id(snapshot)
            .block_index(i32::try_from(block).unwrap_or(i32::MAX))
            .data_length(BLOCK_BYTES as i32)
            .checksum(base64::encode(sum))
            .checksum_algorithm(ChecksumAlgorithm::ChecksumAlgorithmSha256)
            .block_data(ByteStream::from(data))
            .send()
            .await;
        put.map(drop).map_err(self.refusal("ebs:PutSnapshotBlock"))
    }

    /// For `map_err` of a call of EBS.
    fn refusal<E, R>(&self, action: Action) -> impl FnOnce(SdkError<E, R>) -> Refusal
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let doing = self.doing;
        move |error| {
            let code = ebs_code(&error).map(str::to_owned);
            Refusal { code, error: doing.asking_ebs(action)(error) }
        }
    }

    /// Why EBS does not take what is sent. If what is noted of the copy does not fit what EBS has, the next attempt begins anew.
    fn refused(&self, refusal: Refusal) -> ProviderError {
        let forgotten = if refusal.is_misfit() { self.forget() } else { Ok(()) };
        forgotten.err().unwrap_or(refusal.error)
    }

    /// Ends a snapshot that has all its blocks.
    async fn complete(
        &self,
        mut progress: Progress,
        content: &dyn DiskContent,
    ) -> Result<String, ProviderError> {
        let snapshot = progress.begun.snapshot.clone();
        let digests: Vec<u8> = progress.sent.values().flatten().flatten().copied().collect();
        // Once it is noted as closing nothing is sent again, so the records must be there to stay.
        progress.records.sync_data().map_err(self.doing.local())?;
        progress.begun.is_closing = true;
        progress.save().map_err(self.doing.local())?;
        let completed = self
            .clients
            .ebs
            .complete_snapshot()
            .snapshot_id(&snapshot)
            .changed_blocks_count(i32::try_from(progress.sent.len()).unwrap_or(i32::MAX))
            .checksum(base64::encode(sha256(&digests)))
            .checksum_algorithm(ChecksumAlgorithm::ChecksumAlgorithmSha256)
            .checksum_aggregation_method(ChecksumAggregationMethod::ChecksumAggregationLinear)
            .send()
            .await
            .map_err(self.refusal("ebs:CompleteSnapshot"));
        if let Err(refusal) = completed
            && !self.is_closed(&progress, &refusal, content).await?
        {
            return Err(self.refused(refusal));
        }
        progress.begun.is_sealed = true;
        progress.save().map_err(self.doing.local())?;
        self.finish(&progress.begun).await?;
        Ok(snapshot)
    }

    /// Whether EBS has ended a snapshot although it now refuses to: the answer to an earlier request was lost. While it takes one in, only
    /// that it takes no block tells it from one that was never ended.
    async fn is_closed(
        &self,
        progress: &Progress,
        refusal: &Refusal,
        content: &dyn DiskContent,
    ) -> Result<bool, ProviderError> {
        let snapshot = &progress.begun.snapshot;
        match snapshots::find(self.clients, self.doing, snapshot).await?.map(|found| found.standing) {
            Some(Standing::Completed) => return Ok(true),
            Some(Standing::Lost(_)) => {
                self.forget()?;
                return Ok(false);
            }
            Some(Standing::Pending) if refusal.is_misfit() => {}
            Some(Standing::Pending) | None => return Ok(false),
        }
        let Some(block) = progress.sent.keys().next() else { return Ok(false) };
        let start = u64::from(*block) * BLOCK_BYTES;
        let data = content.read(start..start + BLOCK_BYTES).await.map_err(self.unreadable())?;
        // If it is taken the copy is given up: it may be of another head.
        match self.put_once(snapshot, *block, sha256(&data), data).await {
            Ok(()) => Ok(false),
            Err(refusal) if refusal.is_misfit() => Ok(true),
            Err(refusal) => Err(refusal.error),
        }
    }

    /// Makes a snapshot that takes no more blocks a copy that everybody knows.
    async fn finish(&self, begun: &Begun) -> Result<(), ProviderError> {
        self.job.phase("wait until EBS has taken the snapshot in", None, Unit::Items);
        let refused = snapshots::taken_in(self.clients, self.doing, &begun.snapshot).await?;
        if refused.is_none() {
            snapshots::say_head(self.clients, self.doing, &begun.snapshot, &begun.head).await?;
        }
        self.forget()?;
        refused.map_or(Ok(()), |said| {
            Err(self
                .doing
                .failed(format!("EBS did not take snapshot {} in: {said}; try again", begun.snapshot)))
        })
    }
}

/// All blocks of runs; no disk has more than a `u32` counts (see [`GIB_MAX`]).
fn numbers(runs: Vec<Range<u64>>) -> impl Iterator<Item = u32> {
    runs.into_iter().flatten().filter_map(|block| u32::try_from(block).ok())
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut sum = Digest::default();
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}

#[cfg(test)]
mod tests;
