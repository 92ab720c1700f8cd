//! Leases: who may publish heads of a share.
//!
//! ```text
//! leases/<share>/<epoch>-<nonce>           a claim: somebody wants to lead in this epoch
//! leases/<share>/<epoch>-<nonce>-settled   a settled claim, on any store
//! leases/<share>/<epoch>                   a settled claim, where the store creates names atomically
//! ```
//!
//! Invariants:
//!
//! * **At most one claimant leads per epoch, whatever the timing.** To lead is to have stored a settled
//!   claim and then, in a later listing, to have seen no other settled claim of that epoch. Of two settled
//!   claims, the one that was stored later is followed by a listing that shows the earlier one. This needs
//!   only that listings are strongly consistent, not that the store refuses to overwrite.
//! * A leader knows itself superseded as soon as it sees any claim of a higher epoch, settled or not, or
//!   finds its own claim gone or changed. It looks before it publishes and before it frees anything.
//! * A head is followed only if its epoch has a settled claim. Settled claims of leaders are never removed,
//!   but by the claimant itself, before anything that says that it leads can have been written
//!   ([`Leadership::give_back`]).
//!
//! Liveness: claimants wait for a settling time, then the lowest nonce goes on. If storing and listing take
//! less than that time, exactly one leads. If they take longer, it may be that nobody does: then claim
//! again. The settling time also lets a publication that was under way, after its look at the lease,
//! arrive before the new leader lists heads; one that is later still becomes a fork.
//!
//! | while → starts ↓ | another claims the same epoch | a leader publishes |
//! |---|---|---|
//! | claim | one or none settles | the leader sees the claim before its next head |
//! | publish | – | not done: publishing consumes and returns the leadership |
//!
//! Times in claims are for people; no decision hangs on a clock.

mod claim;
mod leadership;
mod record;
mod wait;

pub use self::claim::{ClaimOptions, ClaimOutcome, Claimant};
pub use self::leadership::{Leadership, LeadershipNote, Standing, Successor};
pub(crate) use self::record::ListedClaim;
pub use self::record::{ClaimInfo, LeaseState, Promotion};
pub use self::wait::{TokioWait, Wait};
