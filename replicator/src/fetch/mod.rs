//! Reading back: frames from wherever they lie, chunks out of frames, never wrong bytes.
//!
//! ```text
//! TreeReader ── ChunkReader ── opened frames in memory
//!                   │  └─ Locate (index)
//!               FrameSource: Layered { LocalFrames, Layered { cache on disk, StoreFrames } }
//! ```
//!
//! Sources yield [`UnverifiedFrame`](tidegate_chunker::UnverifiedFrame)s and are put one before the
//! other; the reader opens, checks and keeps. Two readers of one frame cause one fetch.
//!
//! Not here: a cache of frames on disk (the gateway has one; it is a [`FrameSource`] too), the index
//! (behind [`Locate`]), retries (decorators of the store).

mod coalesce;
mod error;
mod flights;
mod frame_cache;
mod frames;
mod local_frames;
mod locate;
mod opened;
mod reader;
mod source;
mod store_frames;
mod tree_reader;

pub use error::{FetchError, FetchErrorKind};
pub use frames::ReadCounts;
pub use local_frames::LocalFrames;
pub use locate::{Locate, NoIndex};
pub use reader::{ChunkReader, ReadOptions};
pub use source::{Fetched, FrameAt, FrameResult, FrameSource, Layered, Origin};
pub use store_frames::{RequestCounts, StoreFrames, StoreFramesOptions};
pub use tree_reader::TreeReader;
