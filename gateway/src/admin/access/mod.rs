//! Who calls, and what they may do: tokens, sessions, roles, limits.
//!
//! A caller of the Unix socket has been let in by the rights of that file and has all rights. A caller from the network shows
//! a token with each call (one of the settings, or of an OpenID provider that they name), or the cookie of a session that was
//! begun with one of the settings. Everything is looked up anew with each call in the settings in force: a token or a provider
//! that is taken out of them ends at once, with its sessions.

mod caller;
mod limits;
mod role;
mod session;
mod show;

pub(super) use caller::{Caller, Refusal};
pub(super) use limits::{Limit, peer_key};
pub(super) use role::Right;
pub(super) use session::{Began, CSRF_HEADER, Sessions, cookie_of, gone_cookie, set_cookie};
pub(super) use show::Access;
