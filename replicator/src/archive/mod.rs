//! Archive: packs that nobody reads come to colder storage classes, and come back when somebody needs them.
//!
//! ```text
//! rule.rs   which pack comes to which class: by age, by when it was read last, by what is in it (pure)
//! reads.rs  for how long packs have not been read, as far as heads and gateways know
//! plan.rs   marks as a collection does, and says what would come to which class
//! owed.rs   which packs a copy of the repository lacks, and which so stay readable
//! health.rs whether a pack is whole before it sleeps
//! run.rs    carries that out: a copy of each pack onto itself
//! need.rs   which packs a share, or a path of it, needs
//! thaw.rs   which of them sleep, and asking the store for them
//! ```
//!
//! **What stays warm.** Only packs that hold file data alone are archived. Tree nodes and large values lie in packs of their
//! own, and stay what they are, as do index, heads, snapshots, keys and all other objects: so every share can be attached,
//! listed and compared while all of its data sleeps.
//!
//! **What a class means.** A pack keeps its name and its bytes; the store alone knows its class, and tells it in
//! listings. Nothing of it is written in the repository, so readers of the format need not know of it, whoever changed
//! the class, and whatever lifecycle rules of the bucket do beside.
//!
//! **Order and crashes.** A plan is made from what the store shows now, and each step of a run is one request that changes
//! one pack. A run that was cut leaves some packs moved; the next plan sees that. Nothing is written down.
//!
//! **What could go wrong and does not.** A pack that a collection has condemned, or would repack because little of it
//! is alive, is not archived: it would have to be paid for longer. A pack that is deleted while it is copied may come back:
//! nothing refers to it, and the next collection takes it. One that is read just then is read: the copy replaces it at
//! once, and only classes that sleep make readers wait.
//!
//! A pack that is damaged is not archived, nor one that a copy of the repository lacks: nobody would read it again for a
//! long time.
//!
//! **Bounds.** As of a marking (`collect`): memory by its budget and a record a pack, the local disk by its scratch. A run
//! changes at most [`ArchiveOptions::packs_max`] packs, [`CHANGES_MAX`] at once.

mod health;
mod need;
mod owed;
mod plan;
mod reads;
mod rule;
mod run;
mod thaw;

pub use health::Scrubbed;
pub use need::{Need, NeedError, need_of};
pub use plan::{Amount, ArchiveOptions, ArchivePlan, Move, plan};
pub use reads::LastReads;
pub use rule::{ArchiveRule, PackFacts, Reason, Verdict, judge};
pub use run::{Archived, CHANGES_MAX, run};
pub use thaw::{ASKS_MAX, Asked, SleepingPack, ThawPlan, ask, plan_thaw};
