//! Garbage collection: deleting packs that nothing retained reaches, while gateways write.
//!
//! What is retained are the heads of every share but those that its line has passed, its forks, and its
//! snapshots. Packs that none of their trees reaches are *condemned* by a plan, and deleted once nobody can
//! come to need them. No writer ever waits for it, and several gateways may write and deduplicate meanwhile.
//!
//! ```text
//! roots.rs      what is retained, and what is not any more
//! publishers.rs who may publish, and whether he honours a plan
//! mark.rs       walks the trees and reads the index: which packs are reached, and how much of them
//! strays.rs     what is reached and the index has lost, looked for in the ends of packs
//! spill.rs      what was found, on the local disk, sorted out part by part
//! propose.rs    which packs to condemn, and the guard against too many
//! repack.rs     copies what is alive of sparse packs, so that they can go too
//! reseal.rs     which packs lie under old sealing epochs: they can be repacked in the same way
//! carry_out.rs  from a plan to its outcome
//! clean.rs      takes what is deleted out of the index
//! held.rs       packs that are locked, so that they cannot go yet
//! extend.rs     locks what is retained needs for longer
//! sweep.rs      deletes what is hidden for good, in a store that keeps versions
//! void.rs       what plans have ever condemned, as publishers, readers and checks know it
//! run.rs        the parts one after the other
//! ```
//!
//! **Protocol.** Order of steps, and what a crash after each leaves:
//!
//! | step | a crash after it leaves |
//! |---|---|
//! | list packs, then roots, and mark | nothing |
//! | copy what is alive of sparse packs, packs before index | chunks in two places |
//! | write the plan | an open plan: carried out by the next run, or closed after [`PLAN_AGE_MAX`] |
//! | wait until every publisher honours it | the same |
//! | list roots anew and mark again | the same |
//! | delete what is condemned and still unreached | the same; what is gone is gone |
//! | take it out of the index | the same |
//! | write the outcome | a finished plan |
//!
//! **Why nothing that is needed goes.** A publisher reads the plans before each commit, and from then on no
//! chunk in a condemned pack counts as a duplicate for it; the head that it publishes next names the plan as
//! honoured. After that head it can refer to a condemned pack only where that head or another retained root
//! does, and the second marking begins after it: whatever still refers to the pack is seen then, and
//! spares it. Who claims a share later reads the plan before its first commit. Who was superseded publishes
//! forks at most.
//!
//! A root that goes over from one object to another (a head that becomes a snapshot, a snapshot that a share
//! is put back to) is listed under one of both, because heads are listed before snapshots and once more after
//! them, and because each of these moves writes the new object while the old one is there.
//!
//! **Locks.** Where objects are locked (`LockRule`), a pack that nothing reaches is condemned only when its lock has ended
//! or ends within the rule's margin, and counted as [`Held`] before that. What a plan condemns and the store still holds is
//! spared by its outcome: it stays void, so nobody refers to it anew, and a later plan condemns it again. So the lock of a pack never ends
//! while somebody may come to refer to it. Sparse packs are repacked whatever their locks: what they held is not needed any more
//! from then on, so their locks are not extended, and end. Who may only add (`append_only`)
//! plans and marks, and somebody else carries the plan out.
//!
//! **Unknown is not deleted.** A head, a snapshot or a tree node that cannot be read ends the run before
//! anything is condemned or deleted. The tree of a fork is the exception: its writer had been superseded and may
//! have known no plan; what can be read of it is kept. What the index has lost is looked for in packs that would go (`strays.rs`).
//!
//! **Bounds.** Memory by [`CollectOptions::memory_bytes_max`]; the local disk by 20 bytes for each reference in a
//! tree and 24 for each fact of the index, in [`CollectOptions::scratch`].

mod carry_out;
mod clean;
mod error;
mod extend;
mod held;
mod mark;
mod options;
mod propose;
mod publishers;
mod repack;
mod reseal;
mod roots;
mod run;
mod spill;
mod strays;
mod sweep;
mod void;

pub(crate) use mark::{MarkedPack, mark};

pub use carry_out::{Collected, PLAN_AGE_MAX, Progress, carry_out};
pub use error::CollectError;
pub use extend::{BATCH, Extended, Progress as ExtendProgress, extend_locks};
pub use held::Held;
pub use options::CollectOptions;
pub use propose::{Proposal, propose};
pub use publishers::Waiting;
pub use repack::SparsePack;
pub use reseal::{SealUsage, seal_usage};
pub use roots::{PIN_AGE_MAX, PIN_DAYS_MAX, PIN_DAYS_TAG, PIN_TAG};
pub use run::{Round, condemn, finish_open, tidy};
pub use sweep::{Swept, TAMPERED_MAX, Tampered, revive, sweep_hidden, tampered};
pub use void::{VoidPacks, VoidRow};

pub use crate::observer::{Observer, Silent};
