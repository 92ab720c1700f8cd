//! What each store guarantees when it answers 200: the reason why some rates are not rates of the same thing.

use crate::loads::{Load, Transfer, Verb};
use crate::store::Kind;

/// What holds when the answer has come.
pub(crate) fn at_answer(kind: Kind, load: Load) -> &'static str {
    match load {
        Load::Transfer(Transfer { verb: Verb::Put, .. }) => put(kind),
        Load::Transfer(Transfer { verb: Verb::Get, .. }) => got(kind),
        Load::List { .. } => "every acknowledged change is seen",
    }
}

fn put(kind: Kind) -> &'static str {
    match kind {
        Kind::Tidegate => "bytes, key and metadata on disk (journal, fdatasync)",
        Kind::S3sFs => "all in the page cache: nothing is synced",
        Kind::Garage => "blocks and metadata on disk (data_fsync, metadata_fsync), one copy",
        Kind::Rgw => "bytes, index and metadata on disk (BlueStore, fdatasync), one copy",
    }
}

fn got(kind: Kind) -> &'static str {
    match kind {
        Kind::Tidegate => "bytes whose checksum is right",
        Kind::S3sFs => "bytes as the page cache has them",
        Kind::Garage => "blocks whose hash is right",
        Kind::Rgw => "bytes whose checksum was right when BlueStore's cache took them in",
    }
}
