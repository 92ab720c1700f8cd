//! NFS version 3 (RFC 1813): all 22 procedures over a [`FileView`].
//!
//! | procedures | file |
//! |---|---|
//! | GETATTR, SETATTR, ACCESS | `nfs3/attributes.rs` |
//! | LOOKUP, READLINK | `nfs3/lookup.rs` |
//! | READ, WRITE, COMMIT | `nfs3/data.rs` |
//! | CREATE, MKDIR, SYMLINK, MKNOD | `nfs3/create.rs` |
//! | REMOVE, RMDIR, RENAME, LINK | `nfs3/names.rs` |
//! | READDIR, READDIRPLUS | `nfs3/directory.rs` |
//! | FSSTAT, FSINFO, PATHCONF | `nfs3/filesystem.rs` |
//! | types that they share | `nfs3/types.rs` |
//! | status values | `nfs3/status.rs` |
//!
//! Decodes, asks the view, encodes: what a file system does is the view's business. Only what no
//! view should have to deal with is answered here: names that cannot be names, offsets beyond 2^63.

mod attributes;
mod create;
mod data;
mod directory;
mod filesystem;
mod lookup;
mod names;
mod status;
mod types;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::caller::call_of;
use crate::rpc::{Answer, Procedure, Program, Request};
use crate::view::{Call, ChangeFailure, Changed, FileView, FsError, Handle, TRANSFER_BYTES_MAX, Wcc};
use crate::xdr::{DecodeError, Decoder, Encoder};

pub use self::status::Status;

/// The program number of NFS.
pub const NFS_PROGRAM: u32 = 100_003;
/// The version served.
pub const NFS_VERSION: u32 = 3;

/// The longest offset and size, in bytes: what fits a signed 64-bit number.
const FILE_BYTES_MAX: u64 = i64::MAX as u64;
/// Results without data or entries, in bytes: the largest are those of READLINK.
const SMALL_RESULTS_BYTES_MAX: usize = 5 << 10;
/// How long after a start the view is asked for calls that were carried out before it. Clients
/// repeat a call after a minute at the latest; the rest is for slow returns.
const REPLAY_WINDOW: Duration = Duration::from_mins(5);
/// How long the attributes beside a refusal may be waited for, which may come without them.
const AFTER_REFUSAL_MAX: Duration = Duration::from_secs(1);

const WRITE: u32 = 7;

const PROCEDURES: &[Procedure] = &[
    Procedure::plain("NULL"),
    Procedure::plain("GETATTR"),
    Procedure::remembered("SETATTR"),
    Procedure::plain("LOOKUP"),
    Procedure::plain("ACCESS"),
    Procedure::plain("READLINK"),
    Procedure::plain("READ"),
    Procedure::writing("WRITE"),
    Procedure::remembered("CREATE"),
    Procedure::remembered("MKDIR"),
    Procedure::remembered("SYMLINK"),
    Procedure::remembered("MKNOD"),
    Procedure::remembered("REMOVE"),
    Procedure::remembered("RMDIR"),
    Procedure::remembered("RENAME"),
    Procedure::remembered("LINK"),
    Procedure::plain("READDIR"),
    Procedure::plain("READDIRPLUS"),
    Procedure::plain("FSSTAT"),
    Procedure::plain("FSINFO"),
    Procedure::plain("PATHCONF"),
    Procedure::plain("COMMIT"),
];

/// NFS version 3 over a view.
pub struct Nfs3 {
    view: Arc<dyn FileView>,
    started: Instant,
    /// Whether the view knows that it is not asked for calls of before the start any more.
    forgotten: AtomicBool,
}

impl Nfs3 {
    /// Serves `view`.
    pub fn new(view: Arc<dyn FileView>) -> Self {
        Self { view, started: Instant::now(), forgotten: AtomicBool::new(false) }
    }

    fn context(&self, request: &Request) -> Context<'_> {
        // A repeated write writes the same bytes: the view need not remember it over a restart.
        let retry = request.retry.filter(|_| request.procedure != WRITE);
        let after_start = self.started.elapsed() < REPLAY_WINDOW;
        if !after_start && !self.forgotten.load(Ordering::Relaxed) {
            self.forgotten.store(true, Ordering::Relaxed);
            self.view.forget_replays();
        }
        Context { view: &*self.view, call: call_of(request, retry), after_start }
    }
}

#[async_trait]
impl Program for Nfs3 {
    fn number(&self) -> u32 {
        NFS_PROGRAM
    }

    fn versions(&self) -> &'static [u32] {
        &[NFS_VERSION]
    }

    fn procedures(&self, _version: u32) -> &'static [Procedure] {
        PROCEDURES
    }

    fn results_bytes_max(&self, request: &Request) -> usize {
        let arguments = Decoder::new(request.arguments.clone());
        let data = match request.procedure {
            6 => data::read_bytes_max(arguments).map(|bytes| bytes.min(TRANSFER_BYTES_MAX) as usize),
            16 => directory::readdir_bytes_max(arguments),
            17 => directory::readdirplus_bytes_max(arguments),
            _ => Ok(0),
        };
        SMALL_RESULTS_BYTES_MAX + data.unwrap_or(0)
    }

    async fn call(&self, request: Request) -> Answer {
        let context = self.context(&request);
        let arguments = Decoder::new(request.arguments);
        let outcome = match request.procedure {
            0 => Ok(Outcome::nothing()),
            1 => attributes::getattr(&context, arguments).await,
            2 => attributes::setattr(&context, arguments).await,
            3 => lookup::lookup(&context, arguments).await,
            4 => attributes::access(&context, arguments).await,
            5 => lookup::readlink(&context, arguments).await,
            6 => data::read(&context, arguments).await,
            WRITE => data::write(&context, arguments).await,
            8 => create::create(&context, arguments).await,
            9 => create::mkdir(&context, arguments).await,
            10 => create::symlink(&context, arguments).await,
            11 => create::mknod(&context, arguments).await,
            12 => names::remove(&context, arguments).await,
            13 => names::rmdir(&context, arguments).await,
            14 => names::rename(&context, arguments).await,
            15 => names::link(&context, arguments).await,
            16 => directory::readdir(&context, arguments).await,
            17 => directory::readdirplus(&context, arguments).await,
            18 => filesystem::fsstat(&context, arguments).await,
            19 => filesystem::fsinfo(&context, arguments).await,
            20 => filesystem::pathconf(&context, arguments).await,
            21 => data::commit(&context, arguments).await,
            _ => return Answer::ProcedureUnavailable,
        };
        outcome.map_or(Answer::GarbageArguments, Answer::from)
    }
}

/// What a procedure needs besides its arguments.
struct Context<'a> {
    view: &'a dyn FileView,
    call: Call,
    after_start: bool,
}

impl Context<'_> {
    /// Carries out a change, unless it was already, before a restart.
    async fn change(
        &self,
        change: impl Future<Output = Result<Changed, ChangeFailure>>,
    ) -> Result<Changed, ChangeFailure> {
        if self.after_start
            && let Some(key) = self.call.retry
            && let Some(earlier) = self.view.replayed(key).await
        {
            return Ok(earlier);
        }
        change.await
    }

    /// A change that is refused before the view is asked: the RFC wants the attributes of the file, or
    /// of the directory, beside that too.
    async fn refused(&self, file: &Handle, error: FsError) -> ChangeFailure {
        ChangeFailure { first: self.unchanged(file).await, ..ChangeFailure::from(error) }
    }

    /// As [`Context::refused`], for a change of two files.
    async fn both_refused(&self, first: &Handle, second: &Handle, error: FsError) -> ChangeFailure {
        let (first, second) = futures::join!(self.unchanged(first), self.unchanged(second));
        ChangeFailure { error, first, second }
    }

    /// The attributes are optional there: nobody waits long for them.
    async fn unchanged(&self, file: &Handle) -> Wcc {
        let asked = self.view.attributes(&self.call, file);
        let after = tokio::time::timeout(AFTER_REFUSAL_MAX, asked).await.ok().and_then(Result::ok);
        Wcc { before: None, after }
    }
}

/// The outcome of a procedure.
type Results = Result<Outcome, DecodeError>;

/// Encoded results and their status.
struct Outcome {
    results: Encoder,
    failure: Option<FsError>,
}

impl Outcome {
    fn nothing() -> Self {
        Self { results: Encoder::with_capacity(0), failure: None }
    }

    fn ok(encode: impl FnOnce(&mut Encoder)) -> Self {
        Self::ok_in(Encoder::new(), encode)
    }

    /// As [`Outcome::ok`], for results of so many bytes beside their status.
    fn ok_of(bytes: usize, encode: impl FnOnce(&mut Encoder)) -> Self {
        Self::ok_in(Encoder::with_capacity(size_of::<u32>() + bytes), encode)
    }

    fn ok_in(mut results: Encoder, encode: impl FnOnce(&mut Encoder)) -> Self {
        results.u32(Status::Ok as u32);
        encode(&mut results);
        Self { results, failure: None }
    }

    fn failed(error: FsError, encode: impl FnOnce(&mut Encoder)) -> Self {
        let mut results = Encoder::new();
        results.u32(Status::from(error) as u32);
        encode(&mut results);
        Self { results, failure: Some(error) }
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        Self::Results {
            body: outcome.results.finish(),
            failure: outcome.failure.map(|error| Status::from(error).name()),
            transient: outcome.failure == Some(FsError::TryLater),
        }
    }
}
