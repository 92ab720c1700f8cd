//! ONC remote procedure calls, version 2 (RFC 5531).
//!
//! Owns record marking, the headers of calls and replies, credentials, the trait [`Program`] that a
//! served protocol implements, and the [`Programs`] that are served at one address. Nothing here
//! knows which programs those are: NFS version 3, MOUNT and the port mapper stand on it alike.
//!
//! | part | file |
//! |---|---|
//! | records in a stream | `rpc/record.rs` |
//! | calls and replies | `rpc/message.rs` |
//! | AUTH_NONE, AUTH_SYS | `rpc/credential.rs` |
//! | what a program is | `rpc/program.rs` |
//! | from record to reply | `rpc/programs.rs` |

mod credential;
mod message;
mod program;
mod programs;
mod record;

pub use credential::{AuthStatus, Credential, GROUPS_MAX};
pub use message::{CallHeader, Refusal, Reply, Verdict};
pub use program::{Answer, Procedure, Program, Request, Transport};
pub use programs::{Incoming, PreparedCall, Programs, ProgramsBuilder};
pub use record::{FRAGMENTS_MAX, GRANT_BYTES, RecordError, Records, Step};
