//! Where frames come from: the store, a folder of local packs, a cache in front of either.
//!
//! Owns the trait [`FrameSource`] and how sources are put one before the other ([`Layered`]). A
//! source yields bytes that nobody has checked, [`UnverifiedFrame`]; only the reader opens them. When
//! they do not open, the reader *rejects* the frame: each layer then drops what it holds of it, and
//! asks below the next time.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use tidegate_chunker::{Location, PackId, UnverifiedFrame};

use super::{FetchError, FetchErrorKind};

/// Names a frame: a pack, and the bytes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameAt {
    /// The pack that holds the frame.
    pub pack: PackId,
    /// Where it begins in the pack, in bytes.
    pub offset: u32,
    /// Its length as stored, in bytes.
    pub bytes: u32,
}

impl FrameAt {
    /// The bytes of the pack that it takes.
    pub fn range(&self) -> Range<u64> {
        u64::from(self.offset)..u64::from(self.offset) + u64::from(self.bytes)
    }

    /// What is being done when it is read; follows "failed to". Says what a person can look up in the
    /// store, and nothing of the content.
    pub(super) fn reading(&self) -> String {
        format!("read {} bytes at offset {} of pack {}", self.bytes, self.offset, self.pack)
    }

    /// Takes what came back for this frame; `Damaged` unless it is shaped like a frame of its length.
    pub(super) fn received(&self, bytes: Bytes, origin: Origin) -> FrameResult {
        let damaged = || FetchError::new(FetchErrorKind::Damaged, self.reading());
        if bytes.len() != self.bytes as usize {
            return Err(damaged().caused_by(format!("{} bytes came back", bytes.len())));
        }
        let frame = UnverifiedFrame::new(bytes).map_err(|error| damaged().caused_by(error))?;
        Ok(Fetched { frame, origin })
    }
}

impl From<&Location> for FrameAt {
    fn from(location: &Location) -> Self {
        Self { pack: location.pack, offset: location.frame_offset, bytes: location.frame_bytes }
    }
}

/// Where a frame was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Here: on a disk of this machine, or on its way there.
    Here,
    /// From the store.
    Store,
}

/// A frame as it came.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The frame, which nobody has checked.
    pub frame: UnverifiedFrame,
    /// Where it was had.
    pub origin: Origin,
}

/// A frame as it came, or why it did not.
pub type FrameResult = Result<Fetched, FetchError>;

/// Something that frames can be read from. Share it as `Arc<dyn FrameSource>`.
#[async_trait]
pub trait FrameSource: Send + Sync + 'static {
    /// Reads one frame.
    async fn frame(&self, at: FrameAt) -> FrameResult;

    /// Reads several, which a source may do in fewer requests; one answer for each, in order.
    async fn frames(&self, at: &[FrameAt]) -> Vec<FrameResult> {
        join_all(at.iter().map(|&frame| self.frame(frame))).await
    }

    /// Says that these frames will be wanted soon. A source that keeps frames may get them now; it
    /// returns at once, and bounds what it does.
    fn prefetch(&self, _at: &[FrameAt]) {}

    /// Says that what this source gave for the frame did not open. The source forgets what it has of
    /// it, and answers whether a further call may bring another copy.
    fn reject(&self, _at: FrameAt) -> bool {
        false
    }
}

/// One source before another: what the near one does not give is asked of the far one.
pub struct Layered {
    near: Arc<dyn FrameSource>,
    far: Arc<dyn FrameSource>,
}

impl Layered {
    /// Asks `near`, then `far`.
    pub fn new(near: Arc<dyn FrameSource>, far: Arc<dyn FrameSource>) -> Self {
        Self { near, far }
    }
}

#[async_trait]
impl FrameSource for Layered {
    async fn frame(&self, at: FrameAt) -> FrameResult {
        match self.near.frame(at).await {
            Ok(frame) => Ok(frame),
            Err(near) => self.far.frame(at).await.map_err(|far| far.or_worse(Some(near))),
        }
    }

    async fn frames(&self, at: &[FrameAt]) -> Vec<FrameResult> {
        let mut answers = self.near.frames(at).await;
        let open: Vec<usize> = (0..answers.len()).filter(|&place| answers[place].is_err()).collect();
        if open.is_empty() {
            return answers;
        }
        let wanted: Vec<FrameAt> = open.iter().map(|&place| at[place]).collect();
        for (place, far) in open.into_iter().zip(self.far.frames(&wanted).await) {
            answers[place] = far.map_err(|far| far.or_worse(answers[place].as_ref().err().cloned()));
        }
        answers
    }

    fn prefetch(&self, at: &[FrameAt]) {
        self.near.prefetch(at);
        self.far.prefetch(at);
    }

    fn reject(&self, at: FrameAt) -> bool {
        let near = self.near.reject(at);
        self.far.reject(at) || near
    }
}
