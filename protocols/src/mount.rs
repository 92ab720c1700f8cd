//! The MOUNT protocol, versions 1 and 3 (RFC 1094 appendix A, RFC 1813 appendix I): how a client
//! turns a path into its first handle, and what `showmount` shows.
//!
//! The list of mounts is what clients have said, for people to look at. Nothing depends on it, it is
//! bounded, and it is empty after a restart. Whether a client may use an export is decided by the
//! view on every call, here as elsewhere.

mod table;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use self::table::MountTable;
use crate::caller::call_of;
use crate::rpc::{Answer, Procedure, Program, Reply, Request};
use crate::view::{FileView, FsError, Handle, PATH_BYTES_MAX};
use crate::xdr::{Body, DecodeError, Decoder, Encoder};

/// The program number of MOUNT.
pub const MOUNT_PROGRAM: u32 = 100_005;
/// The versions served.
pub const MOUNT_VERSIONS: &[u32] = &[1, 3];

const AUTH_SYS: u32 = 1;
/// The only length that a handle has in version 1.
const VERSION_1_HANDLE_BYTES: usize = 32;
/// The longest lists; longer ones are cut, and over datagrams earlier ([`Transport::reply_bytes_max`](crate::rpc::Transport::reply_bytes_max)).
const LIST_BYTES_MAX: usize = 256 << 10;

const NULL: u32 = 0;
const MNT: u32 = 1;
const DUMP: u32 = 2;
const UMNT: u32 = 3;
const UMNTALL: u32 = 4;
const EXPORT: u32 = 5;
/// In version 1 the same as EXPORT.
const EXPORTALL: u32 = 6;

const VERSION_1: &[Procedure] = &[
    Procedure::plain("MOUNT_NULL"),
    Procedure::plain("MOUNT_MNT"),
    Procedure::plain("MOUNT_DUMP"),
    Procedure::plain("MOUNT_UMNT"),
    Procedure::plain("MOUNT_UMNTALL"),
    Procedure::plain("MOUNT_EXPORT"),
    Procedure::plain("MOUNT_EXPORTALL"),
];
const VERSION_3: &[Procedure] = VERSION_1.split_at(6).0;

/// MOUNT over a view.
pub struct Mount {
    view: Arc<dyn FileView>,
    table: MountTable,
}

impl Mount {
    /// Mounts what `view` exports.
    pub fn new(view: Arc<dyn FileView>) -> Self {
        Self { view, table: MountTable::default() }
    }

    async fn mount(&self, request: &Request) -> Result<Answer, DecodeError> {
        let path = Decoder::new(request.arguments.clone()).opaque(request.arguments.len())?;
        let outcome = match normal_path(&path) {
            Ok(path) => {
                let mounted = self.view.mount(&call_of(request, None), &path).await;
                mounted.map(|handle| (handle, path))
            }
            Err(error) => Err(error),
        };
        let client = request.peer.ip().to_canonical();
        Ok(match (outcome, request.version) {
            (Ok((handle, _)), 1) if handle.as_bytes().len() != VERSION_1_HANDLE_BYTES => {
                tracing::debug!(%client, "version 1 of MOUNT cannot carry the handle; use version 3");
                failed(FsError::NotSupported, 1)
            }
            (Ok((handle, path)), version) => {
                tracing::debug!(%client, "mounted");
                self.table.add(client, path);
                Answer::success(mounted(&handle, version))
            }
            (Err(error), version) => failed(error, version),
        })
    }

    fn unmount(&self, request: &Request) -> Result<Answer, DecodeError> {
        let path = Decoder::new(request.arguments.clone()).opaque(request.arguments.len())?;
        // What is too long to be mounted is not in the table, and the reply has no place for an error.
        if let Ok(path) = normal_path(&path) {
            self.table.remove(request.peer.ip().to_canonical(), &path);
        }
        Ok(Answer::success(Body::default()))
    }

    fn dump(&self, bytes_max: usize) -> Answer {
        let mut out = Encoder::new();
        for (client, path) in self.table.all() {
            if out.len() + path.len() + 64 > bytes_max {
                break;
            }
            out.boolean(true);
            out.opaque(client.to_string().as_bytes());
            out.opaque(&path);
        }
        out.boolean(false);
        Answer::success(out.finish())
    }

    fn exports(&self, bytes_max: usize) -> Answer {
        let mut out = Encoder::new();
        for export in self.view.exports() {
            let clients: usize = export.clients.iter().map(|client| client.len() + 12).sum();
            if out.len() + export.path.len() + clients + 16 > bytes_max {
                break;
            }
            out.boolean(true);
            out.opaque(&export.path);
            for client in &export.clients {
                out.boolean(true);
                out.opaque(client.as_bytes());
            }
            out.boolean(false);
        }
        out.boolean(false);
        Answer::success(out.finish())
    }
}

#[async_trait]
impl Program for Mount {
    fn number(&self) -> u32 {
        MOUNT_PROGRAM
    }

    fn versions(&self) -> &'static [u32] {
        MOUNT_VERSIONS
    }

    fn procedures(&self, version: u32) -> &'static [Procedure] {
        if version == 1 { VERSION_1 } else { VERSION_3 }
    }

    fn results_bytes_max(&self, request: &Request) -> usize {
        match request.procedure {
            DUMP | EXPORT | EXPORTALL => list_bytes_max(request),
            _ => 256,
        }
    }

    async fn call(&self, request: Request) -> Answer {
        let answer = match request.procedure {
            NULL => Ok(Answer::success(Body::default())),
            MNT => self.mount(&request).await,
            DUMP => Ok(self.dump(list_bytes_max(&request))),
            UMNT => self.unmount(&request),
            UMNTALL => {
                self.table.remove_all(request.peer.ip().to_canonical());
                Ok(Answer::success(Body::default()))
            }
            EXPORT | EXPORTALL => Ok(self.exports(list_bytes_max(&request))),
            _ => Ok(Answer::ProcedureUnavailable),
        };
        answer.unwrap_or(Answer::GarbageArguments)
    }
}

/// Bytes that the list in an answer to this call may have.
fn list_bytes_max(request: &Request) -> usize {
    LIST_BYTES_MAX.min(request.transport.reply_bytes_max() - Reply::HEADER_BYTES_MAX)
}

/// A path as exports have it: with a leading slash and without one at its end. The empty path, which
/// libnfs sends, is the root. A path over [`PATH_BYTES_MAX`] is refused, and not copied.
fn normal_path(path: &[u8]) -> Result<Bytes, FsError> {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    let start = path[..end].iter().position(|&byte| byte != b'/').unwrap_or(end);
    if end - start >= PATH_BYTES_MAX {
        return Err(FsError::NameTooLong);
    }
    Ok([b"/", &path[start..end]].concat().into())
}

fn mounted(handle: &Handle, version: u32) -> Body {
    let mut out = Encoder::new();
    out.u32(0);
    if version == 1 {
        out.fixed(handle.as_bytes());
    } else {
        out.opaque(handle.as_bytes());
        out.u32(1);
        out.u32(AUTH_SYS);
    }
    out.finish()
}

fn failed(error: FsError, version: u32) -> Answer {
    let status = MountStatus::from(error);
    let mut out = Encoder::new();
    out.u32(if version == 1 { status.in_version_1() } else { status as u32 });
    Answer::Results { body: out.finish(), failure: Some(status.name()), transient: true }
}

/// Why a mount failed (mountstat3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MountStatus {
    Permission = 1,
    NoEntry = 2,
    Io = 5,
    Access = 13,
    NotDirectory = 20,
    Invalid = 22,
    NameTooLong = 63,
    NotSupported = 10_004,
    ServerFault = 10_006,
}

impl MountStatus {
    fn name(self) -> &'static str {
        match self {
            Self::Permission => "MNT3ERR_PERM",
            Self::NoEntry => "MNT3ERR_NOENT",
            Self::Io => "MNT3ERR_IO",
            Self::Access => "MNT3ERR_ACCES",
            Self::NotDirectory => "MNT3ERR_NOTDIR",
            Self::Invalid => "MNT3ERR_INVAL",
            Self::NameTooLong => "MNT3ERR_NAMETOOLONG",
            Self::NotSupported => "MNT3ERR_NOTSUPP",
            Self::ServerFault => "MNT3ERR_SERVERFAULT",
        }
    }

    /// Version 1 knows error numbers of UNIX only.
    fn in_version_1(self) -> u32 {
        match self {
            Self::NotSupported => Self::Invalid as u32,
            Self::ServerFault => Self::Io as u32,
            other => other as u32,
        }
    }
}

impl From<FsError> for MountStatus {
    fn from(error: FsError) -> Self {
        match error {
            FsError::NotOwner | FsError::Locked => Self::Permission,
            FsError::NotFound | FsError::Stale | FsError::BadHandle => Self::NoEntry,
            FsError::Io | FsError::TryLater => Self::Io,
            FsError::Access | FsError::ReadOnly => Self::Access,
            FsError::NotDirectory => Self::NotDirectory,
            FsError::NameTooLong => Self::NameTooLong,
            FsError::NotSupported => Self::NotSupported,
            FsError::Invalid
            | FsError::IsDirectory
            | FsError::BadType
            | FsError::BadCookie
            | FsError::CrossDevice => Self::Invalid,
            FsError::Exists
            | FsError::FileTooBig
            | FsError::NoSpace
            | FsError::TooManyLinks
            | FsError::NotEmpty
            | FsError::Quota
            | FsError::NotSync
            | FsError::TooSmall
            | FsError::ServerFault => Self::ServerFault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_brought_into_one_form() {
        for (sent, meant) in [
            ("", "/"),
            ("/", "/"),
            ("///", "/"),
            ("/share", "/share"),
            ("/share/", "/share"),
            ("share", "/share"),
            ("//share/a b/", "/share/a b"),
        ] {
            assert_eq!(normal_path(sent.as_bytes()).unwrap(), meant, "{sent:?}");
        }
        let longest = vec![b'a'; PATH_BYTES_MAX - 1];
        assert_eq!(normal_path(&longest).unwrap().len(), PATH_BYTES_MAX);
        assert_eq!(normal_path(&[&longest[..], b"a"].concat()), Err(FsError::NameTooLong));
    }
}
