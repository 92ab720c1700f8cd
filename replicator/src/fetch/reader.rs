//! Reading chunks back: from an id and a hint to bytes that are certainly the right ones.
//!
//! A read tries the hint; when the frame is missing or damaged there, or holds something else, the
//! index says where the chunk lies now. What comes out has been authenticated and has the digest that
//! was asked for, or there is an error of one of the kinds of
//! [`FetchErrorKind`]. Never wrong bytes, never zeros.
//!
//! An index may name many places of a chunk: collections have moved it, and on a copy the facts of packs that are gone stay for
//! a while. Each place that turns out bad leads to the next; one that cannot be reached now ends the search.
//!
//! Bounds: memory by [`ReadOptions`], time by [`ReadOptions::wait_max`]. A fetch that a reader gave up
//! waiting for goes on, and the next reader finds what it brought.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_chunker::{ChunkId, DomainKeys, Location, VerifiedChunk};

use super::frames::{Frames, ReadCounts, Waited};
use super::opened::Opened;
use super::{FetchError, FetchErrorKind, FrameAt, FrameSource, Locate, Origin};
use crate::tree::ChunkRef;

/// Why something is not the chunk that was asked for.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Bounds of a [`ChunkReader`].
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// Plaintext of opened frames that is kept, in bytes.
    pub cache_bytes_max: u64,
    /// Fetches that run at once; each may be of several neighbouring frames.
    pub fetches_max: usize,
    /// How long a read waits for the source and the index.
    pub wait_max: Duration,
}

impl Default for ReadOptions {
    /// 64 MiB, 32 fetches, 25 seconds.
    fn default() -> Self {
        Self { cache_bytes_max: 64 << 20, fetches_max: 32, wait_max: Duration::from_secs(25) }
    }
}

/// Reads chunks of one domain. See the head of this module.
pub struct ChunkReader {
    keys: Arc<DomainKeys>,
    frames: Frames,
    locate: Arc<dyn Locate>,
    wait_max: Duration,
    waited: Arc<Waited>,
}

impl ChunkReader {
    /// Reads frames from `source`; `locate` answers where hints do not help.
    pub fn new(
        keys: Arc<DomainKeys>,
        source: Arc<dyn FrameSource>,
        locate: Arc<dyn Locate>,
        options: ReadOptions,
    ) -> Self {
        let frames = Frames::new(Arc::clone(&keys), source, &options);
        Self { keys, frames, locate, wait_max: options.wait_max, waited: Arc::new(|_, _| ()) }
    }

    /// Tells how long a read waited for a frame, and where that came from; in the task that reads.
    #[must_use]
    pub fn telling(self, waited: impl Fn(Origin, Duration) + Send + Sync + 'static) -> Self {
        Self { waited: Arc::new(waited), ..self }
    }

    /// Reads a chunk of file data, or a large value. The bytes are shared with the cache.
    pub async fn read(&self, chunk: &ChunkRef) -> Result<VerifiedChunk, FetchError> {
        Ok(self.read_placed(chunk).await?.0)
    }

    /// The same, and where it was found.
    pub async fn read_placed(&self, chunk: &ChunkRef) -> Result<(VerifiedChunk, Location), FetchError> {
        self.find(chunk, |opened, location| opened.chunk(&self.keys, location, chunk.id).map_err(Cause::from))
            .await
    }

    /// Reads a tree node; whoever parses it checks its digest with `check`, and answers an error
    /// where it is not the node that was asked for.
    pub async fn read_node<T, E: Into<Cause>>(
        &self,
        chunk: &ChunkRef,
        check: impl Fn(Bytes) -> Result<T, E> + Sync,
    ) -> Result<T, FetchError> {
        let take = |opened: &Opened, location: &Location| {
            let piece = opened.piece(location).map_err(Cause::from)?;
            check(piece.into_bytes()).map_err(Into::into)
        };
        Ok(self.find(chunk, take).await?.0)
    }

    /// Gets frames that will be wanted soon into memory: those of chunks with hints, neighbours
    /// together. What cannot be had is left for the read to complain about.
    pub async fn prefetch(&self, chunks: &[ChunkRef]) {
        let mut frames: Vec<FrameAt> =
            chunks.iter().filter_map(|chunk| chunk.at.as_ref()).map(FrameAt::from).collect();
        frames.sort_unstable();
        frames.dedup();
        self.frames.fetch(&frames, &*self.waited).await;
    }

    /// The keys of the domain whose chunks it reads.
    pub fn keys(&self) -> &Arc<DomainKeys> {
        &self.keys
    }

    /// What has been done so far.
    pub fn counts(&self) -> ReadCounts {
        self.frames.counts()
    }

    /// Bytes of opened frames that are kept now.
    pub fn cached_bytes(&self) -> u64 {
        self.frames.cached_bytes()
    }

    /// The source, for hints to its caches.
    pub fn source(&self) -> &Arc<dyn FrameSource> {
        self.frames.source()
    }

    async fn find<T>(
        &self,
        chunk: &ChunkRef,
        take: impl Fn(&Opened, &Location) -> Result<T, Cause> + Sync,
    ) -> Result<(T, Location), FetchError> {
        let found = tokio::time::timeout(self.wait_max, self.find_in_time(chunk, &take)).await;
        found.unwrap_or_else(|_| Err(self.late())).map_err(|error| error.for_chunk(&chunk.id))
    }

    async fn find_in_time<T>(
        &self,
        chunk: &ChunkRef,
        take: &(impl Fn(&Opened, &Location) -> Result<T, Cause> + Sync),
    ) -> Result<(T, Location), FetchError> {
        let mut earlier = None;
        if let Some(hint) = &chunk.at {
            match self.take_at(&chunk.id, hint, take).await {
                Ok(found) => return Ok((found, *hint)),
                Err(error) => earlier = Some(error),
            }
        }
        let mut tried: Vec<Location> = chunk.at.into_iter().collect();
        loop {
            match self.locate.locate(&chunk.id).await {
                Ok(Some(location)) if !tried.contains(&location) => {
                    match self.take_at(&chunk.id, &location, take).await {
                        Ok(found) => return Ok((found, location)),
                        // What was moved may be named where it was before, too.
                        Err(error) => earlier = Some(error.or_worse(earlier.filter(says_nothing))),
                    }
                    tried.push(location);
                }
                // None, or one again that is not known to be bad: it cannot be reached now.
                Ok(_) => return Err(nowhere().or_worse(earlier)),
                Err(error) => return Err(error.or_worse(earlier)),
            }
        }
    }

    /// Takes the chunk out of the frame at `location`, and reports a place that turns out bad.
    async fn take_at<T>(
        &self,
        id: &ChunkId,
        location: &Location,
        take: &(impl Fn(&Opened, &Location) -> Result<T, Cause> + Sync),
    ) -> Result<T, FetchError> {
        let at = FrameAt::from(location);
        let found = self.frames.get(at, &*self.waited).await.and_then(|opened| {
            take(&opened, location)
                .map_err(|error| FetchError::new(FetchErrorKind::Damaged, at.reading()).caused_by(error))
        });
        if let Err(error) = &found
            && !says_nothing(error)
        {
            self.locate.found_bad(id, location);
        }
        found
    }

    fn late(&self) -> FetchError {
        let doing = format!("read a chunk within {} s", self.wait_max.as_secs_f32());
        FetchError::new(FetchErrorKind::Unreachable, doing)
    }
}

/// Whether it says nothing about the bytes.
fn says_nothing(error: &FetchError) -> bool {
    match error.kind() {
        FetchErrorKind::Unopened | FetchErrorKind::Unreachable | FetchErrorKind::Asleep => true,
        FetchErrorKind::Missing | FetchErrorKind::Damaged => false,
    }
}

/// The index knows no other place.
fn nowhere() -> FetchError {
    FetchError::new(FetchErrorKind::Missing, "find a chunk: neither hint nor index leads to a copy")
}
