//! What is asked about the files of a moment, and what is answered.

use std::fmt;

use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ControlError, FilePath, Moment};

/// The most files in one page of a directory.
pub const FILES_PAGE_MAX: usize = 1_000;

/// List a directory as it was at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesRequest {
    /// The moment; `live` is what clients see now.
    #[serde(default = "live")]
    pub at: Moment,
    /// The directory.
    #[serde(default = "FilePath::root")]
    pub path: FilePath,
    /// Continue after this path: `next` of the page before.
    #[serde(default)]
    pub after: Option<FilePath>,
    /// At most so many files, up to [`FILES_PAGE_MAX`].
    #[serde(default = "files_page_max")]
    pub limit: usize,
}

fn live() -> Moment {
    Moment::Live
}

fn files_page_max() -> usize {
    FILES_PAGE_MAX
}

/// Read a file as it was at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileRequest {
    /// The moment; `live` is what clients see now.
    #[serde(default = "live")]
    pub at: Moment,
    /// The file.
    pub path: FilePath,
}

/// A page of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FilesPage {
    /// When the moment was frozen; absent for what is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Timestamp>,
    /// In byte order of their names.
    pub files: Vec<FileInfo>,
    /// Where the next page begins, when there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<FilePath>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device node, a pipe or a socket.
    Special,
}

/// One file of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileInfo {
    /// Where.
    pub path: FilePath,
    /// The last name of the path, written as paths are.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Its length in bytes.
    pub bytes: u64,
    /// Permission, set-id and sticky bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// When its data last changed.
    pub modified: Timestamp,
    /// Where a symbolic link points, written as paths are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// A file and its bytes, which come as they are read.
pub struct FileData {
    /// The file.
    pub info: FileInfo,
    /// So many bytes come, unless an error does.
    pub data: BoxStream<'static, Result<Bytes, ControlError>>,
}

impl fmt::Debug for FileData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileData").field("info", &self.info).finish_non_exhaustive()
    }
}
