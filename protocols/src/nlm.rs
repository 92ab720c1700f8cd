//! A network lock manager that has no locks to give: versions 1, 3 and 4 (X/Open, Protocols for Interworking: XNFS,
//! chapters 10 and 14).
//!
//! A client that was mounted without `nolock` comes here when a program locks a file. Whatever would lock is refused
//! at once (DENIED_NOLOCKS), which the program gets as ENOLCK; whatever would give a lock back is granted, since
//! nothing is held. The log says what to do, once a minute for each client.
//!
//! Why it is served at all: where the program is unavailable, Linux takes the unlock that follows a failed lock for one
//! that got lost, and repeats it for ever.
//!
//! Refuses calls whose answer would be a call to the client (`_MSG`, and with it GRANTED): one host must not be able to
//! make this one call another.

use async_trait::async_trait;

use crate::rpc::{Answer, Procedure, Program, Request};
use crate::telemetry::ClientNotices;
use crate::xdr::{Body, DecodeError, Decoder, Encoder, opaque_bytes};

/// The program number of the network lock manager.
pub const NLM_PROGRAM: u32 = 100_021;
/// The versions served.
pub const NLM_VERSIONS: &[u32] = &[1, 3, 4];

/// The longest value by which a client knows its call again (LM_MAXNETOBJ), in bytes.
const COOKIE_BYTES_MAX: usize = 1024;

const NULL: u32 = 0;
const TEST: u32 = 1;
const LOCK: u32 = 2;
const CANCEL: u32 = 3;
const UNLOCK: u32 = 4;
const SHARE: u32 = 20;
const UNSHARE: u32 = 21;
const NM_LOCK: u32 = 22;
const FREE_ALL: u32 = 23;

const LCK_GRANTED: u32 = 0;
const LCK_DENIED_NOLOCKS: u32 = 2;

const VERSION_3: &[Procedure] = &[
    Procedure::plain("NLM_NULL"),
    Procedure::plain("NLM_TEST"),
    Procedure::plain("NLM_LOCK"),
    Procedure::plain("NLM_CANCEL"),
    Procedure::plain("NLM_UNLOCK"),
    Procedure::plain("NLM_GRANTED"),
    Procedure::plain("NLM_TEST_MSG"),
    Procedure::plain("NLM_LOCK_MSG"),
    Procedure::plain("NLM_CANCEL_MSG"),
    Procedure::plain("NLM_UNLOCK_MSG"),
    Procedure::plain("NLM_GRANTED_MSG"),
    Procedure::plain("NLM_TEST_RES"),
    Procedure::plain("NLM_LOCK_RES"),
    Procedure::plain("NLM_CANCEL_RES"),
    Procedure::plain("NLM_UNLOCK_RES"),
    Procedure::plain("NLM_GRANTED_RES"),
    Procedure::plain("NLM_16"),
    Procedure::plain("NLM_17"),
    Procedure::plain("NLM_18"),
    Procedure::plain("NLM_19"),
    Procedure::plain("NLM_SHARE"),
    Procedure::plain("NLM_UNSHARE"),
    Procedure::plain("NLM_NM_LOCK"),
    Procedure::plain("NLM_FREE_ALL"),
];
const VERSION_1: &[Procedure] = VERSION_3.split_at(16).0;

/// See the head of this module.
#[derive(Default)]
pub struct LockManager {
    notices: ClientNotices,
}

impl LockManager {
    /// Answers with `status` and with what the client knows its call by, which is all that is read of the call.
    fn answer(request: &Request, status: u32) -> Result<Answer, DecodeError> {
        let cookie = Decoder::new(request.arguments.clone()).opaque(COOKIE_BYTES_MAX)?;
        let mut out = Encoder::new();
        out.opaque(&cookie);
        out.u32(status);
        if matches!(request.procedure, SHARE | UNSHARE) {
            // The sequence number of share calls, which nobody uses.
            out.u32(0);
        }
        Ok(Answer::success(out.finish()))
    }

    fn advise(&self, request: &Request) {
        let client = request.peer.ip().to_canonical();
        if self.notices.allows(client) {
            tracing::warn!(%client, "a program on a client was refused a lock, of which none are served: mount with the option nolock");
        }
    }
}

#[async_trait]
impl Program for LockManager {
    fn number(&self) -> u32 {
        NLM_PROGRAM
    }

    fn versions(&self) -> &'static [u32] {
        NLM_VERSIONS
    }

    fn procedures(&self, version: u32) -> &'static [Procedure] {
        if version == 1 { VERSION_1 } else { VERSION_3 }
    }

    fn results_bytes_max(&self, _request: &Request) -> usize {
        opaque_bytes(COOKIE_BYTES_MAX) + 8
    }

    async fn call(&self, request: Request) -> Answer {
        match request.procedure {
            NULL | FREE_ALL => Answer::success(Body::default()),
            TEST | LOCK | SHARE | NM_LOCK => {
                self.advise(&request);
                Self::answer(&request, LCK_DENIED_NOLOCKS).unwrap_or(Answer::GarbageArguments)
            }
            CANCEL | UNLOCK | UNSHARE => {
                Self::answer(&request, LCK_GRANTED).unwrap_or(Answer::GarbageArguments)
            }
            _ => Answer::ProcedureUnavailable,
        }
    }
}
