//! The headers of calls and replies (RFC 5531 section 9).
//!
//! A record that is no call at all is [`Refusal::Unreadable`]: there is nothing to answer, and the
//! connection it came on cannot be trusted further. Everything else gets the reply that the RFC has
//! for it.

use bytes::{BufMut, Bytes, BytesMut};

use super::credential::{AuthStatus, CREDENTIAL_BYTES_MAX, Credential};
use crate::xdr::{Body, DecodeError, Decoder};

const RPC_VERSION: u32 = 2;

const CALL: u32 = 0;
const REPLY: u32 = 1;
const MSG_ACCEPTED: u32 = 0;
const MSG_DENIED: u32 = 1;
const RPC_MISMATCH: u32 = 0;
const AUTH_ERROR: u32 = 1;

const SUCCESS: u32 = 0;
const PROG_UNAVAIL: u32 = 1;
const PROG_MISMATCH: u32 = 2;
const PROC_UNAVAIL: u32 = 3;
const GARBAGE_ARGS: u32 = 4;
const SYSTEM_ERR: u32 = 5;

/// A call: its header, and the arguments not yet looked at.
#[derive(Clone, Debug)]
pub struct CallHeader {
    /// Chosen by the client, repeated in the reply and in a repetition of the call.
    pub xid: u32,
    /// Program number.
    pub program: u32,
    /// Program version.
    pub version: u32,
    /// Procedure number.
    pub procedure: u32,
    /// Who calls.
    pub credential: Credential,
    /// Arguments of the procedure.
    pub arguments: Bytes,
}

/// Why a record is not a call that can be carried out.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// Not a call: close the connection.
    Unreadable,
    /// A call that is answered with a denial.
    Denied(Reply),
}

impl From<DecodeError> for Refusal {
    fn from(_: DecodeError) -> Self {
        Self::Unreadable
    }
}

impl CallHeader {
    /// The longest header, in bytes: six numbers, then credential and verifier with flavour and length.
    pub const BYTES_MAX: usize = 24 + 2 * (8 + CREDENTIAL_BYTES_MAX);

    /// Reads the header of a record.
    pub fn decode(record: Bytes) -> Result<Self, Refusal> {
        let mut decoder = Decoder::new(record);
        let xid = decoder.u32()?;
        if decoder.u32()? != CALL {
            return Err(Refusal::Unreadable);
        }
        if decoder.u32()? != RPC_VERSION {
            return Err(Refusal::Denied(Reply { xid, verdict: Verdict::RpcMismatch }));
        }
        let (program, version, procedure) = (decoder.u32()?, decoder.u32()?, decoder.u32()?);
        let credential = Credential::decode(&mut decoder)
            .map_err(|status| Refusal::Denied(Reply { xid, verdict: Verdict::AuthError(status) }))?;
        Ok(Self { xid, program, version, procedure, credential, arguments: decoder.into_rest() })
    }
}

/// How a call ended (accept_stat and reject_stat).
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Carried out; results follow.
    Success(Body),
    /// The program is not served here.
    ProgramUnavailable,
    /// The program is served in other versions.
    ProgramMismatch {
        /// The lowest version served.
        low: u32,
        /// The highest version served.
        high: u32,
    },
    /// The program has no such procedure.
    ProcedureUnavailable,
    /// The arguments could not be decoded.
    GarbageArguments,
    /// A defect of the server.
    SystemError,
    /// The call is of another RPC version.
    RpcMismatch,
    /// The credential was not accepted.
    AuthError(AuthStatus),
}

/// The answer to one call.
#[derive(Clone, Debug)]
pub struct Reply {
    /// That of the call.
    pub xid: u32,
    /// How it ended.
    pub verdict: Verdict,
}

impl Reply {
    /// The longest header, in bytes: accepted, with the bounds of a version mismatch.
    pub const HEADER_BYTES_MAX: usize = 32;

    /// Bytes of header and results.
    pub fn len(&self) -> usize {
        let results = if let Verdict::Success(body) = &self.verdict { body.len() } else { 0 };
        self.header_bytes() + results
    }

    /// Never: a reply has a header.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Writes the header to `out`.
    pub fn put_header(&self, out: &mut BytesMut) {
        out.put_u32(self.xid);
        out.put_u32(REPLY);
        match &self.verdict {
            Verdict::Success(_) => put_accepted(out, SUCCESS),
            Verdict::ProgramUnavailable => put_accepted(out, PROG_UNAVAIL),
            Verdict::ProgramMismatch { low, high } => {
                put_accepted(out, PROG_MISMATCH);
                out.put_u32(*low);
                out.put_u32(*high);
            }
            Verdict::ProcedureUnavailable => put_accepted(out, PROC_UNAVAIL),
            Verdict::GarbageArguments => put_accepted(out, GARBAGE_ARGS),
            Verdict::SystemError => put_accepted(out, SYSTEM_ERR),
            Verdict::RpcMismatch => {
                put_denied(out, RPC_MISMATCH);
                out.put_u32(RPC_VERSION);
                out.put_u32(RPC_VERSION);
            }
            Verdict::AuthError(status) => {
                put_denied(out, AUTH_ERROR);
                out.put_u32(*status as u32);
            }
        }
    }

    /// The results, which follow the header.
    pub fn into_results(self) -> Body {
        if let Verdict::Success(body) = self.verdict { body } else { Body::default() }
    }

    /// Header and results in one piece, as a datagram has them.
    pub fn to_vec(self) -> Vec<u8> {
        let mut out = BytesMut::with_capacity(self.len());
        self.put_header(&mut out);
        for segment in self.into_results().into_segments() {
            out.put_slice(&segment);
        }
        out.into()
    }

    fn header_bytes(&self) -> usize {
        match &self.verdict {
            Verdict::Success(_)
            | Verdict::ProgramUnavailable
            | Verdict::ProcedureUnavailable
            | Verdict::GarbageArguments
            | Verdict::SystemError
            | Verdict::RpcMismatch => 24,
            Verdict::ProgramMismatch { .. } => Self::HEADER_BYTES_MAX,
            Verdict::AuthError(_) => 20,
        }
    }
}

/// The verifier of every reply is AUTH_NONE.
fn put_accepted(out: &mut BytesMut, status: u32) {
    out.put_u32(MSG_ACCEPTED);
    out.put_u64(0);
    out.put_u32(status);
}

fn put_denied(out: &mut BytesMut, status: u32) {
    out.put_u32(MSG_DENIED);
    out.put_u32(status);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u32]) -> Bytes {
        words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>().into()
    }

    #[test]
    fn a_call_is_read() {
        let call = CallHeader::decode(words(&[7, 0, 2, 100_003, 3, 1, 0, 0, 0, 0, 99])).unwrap();
        assert_eq!((call.xid, call.program, call.version, call.procedure), (7, 100_003, 3, 1));
        assert_eq!(call.credential, Credential::None);
        assert_eq!(call.arguments, words(&[99]));
    }

    #[test]
    fn another_rpc_version_is_denied_with_the_versions_served() {
        let Err(Refusal::Denied(reply)) = CallHeader::decode(words(&[7, 0, 3, 0, 0, 0])) else {
            panic!("not denied")
        };
        assert_eq!(reply.to_vec(), words(&[7, 1, 1, 0, 2, 2]));
    }

    #[test]
    fn a_reply_or_a_stump_is_not_a_call() {
        assert!(matches!(CallHeader::decode(words(&[7, 1, 0])), Err(Refusal::Unreadable)));
        assert!(matches!(CallHeader::decode(words(&[7])), Err(Refusal::Unreadable)));
        assert!(matches!(CallHeader::decode(words(&[7, 0, 2, 100_003])), Err(Refusal::Unreadable)));
    }

    #[test]
    fn every_verdict_has_the_length_that_it_announces() {
        let verdicts = [
            Verdict::Success(Body::default()),
            Verdict::ProgramUnavailable,
            Verdict::ProgramMismatch { low: 3, high: 3 },
            Verdict::ProcedureUnavailable,
            Verdict::GarbageArguments,
            Verdict::SystemError,
            Verdict::RpcMismatch,
            Verdict::AuthError(AuthStatus::BadCredential),
        ];
        for verdict in verdicts {
            let reply = Reply { xid: 1, verdict };
            assert_eq!(reply.len(), reply.clone().to_vec().len(), "{reply:?}");
        }
    }
}
