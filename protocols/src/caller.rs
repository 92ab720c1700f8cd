//! From an RPC credential to the caller that a view knows.

use crate::rpc::{Credential, Request};
use crate::view::{Call, Caller, RetryKey};

/// User and group of a call without a credential.
const NOBODY: u32 = 65_534;

/// The context of a request for the view. `retry` names the call if the view keeps its outcome.
pub(crate) fn call_of(request: &Request, retry: Option<RetryKey>) -> Call {
    let address = request.peer;
    let caller = match &request.credential {
        Credential::None => Caller { uid: NOBODY, gid: NOBODY, gids: Vec::new(), address },
        Credential::Sys { uid, gid, gids } => Caller { uid: *uid, gid: *gid, gids: gids.clone(), address },
    };
    Call { caller, retry }
}
