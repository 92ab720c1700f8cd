//! Scrub: looking at every pack on the store, before somebody needs it; and healing what is not as it was.
//!
//! ```text
//! inventory.rs  which packs there are, and which the index names and are gone
//! examine.rs    reads a pack: its header, its end, every frame and every chunk
//! heal.rs       puts a pack back whole, or seals anew what has a copy elsewhere
//! heads.rs      heads and snapshots: reads them all, puts back what another store has
//! copies.rs     where copies may be, and who is told what was found: the gateway
//! ```
//!
//! **What is damage.** Only what the store has answered: that there is no such pack, that it is too short, or bytes that
//! do not open or are not the chunks that the pack's index names. A store that does not answer ends the work with an
//! error, and says nothing.
//!
//! **Order.** What is found damaged first ceases to be a duplicate ([`Copies::lost`]), so that the next writer of the same
//! content seals it anew. Only then it is healed:
//!
//! 1. A pack of which every byte can be had, from a local file of it, from another store of the repository, or from the
//!    store and copies of its frames together, is put together on the local disk, verified as a whole, and stored under its
//!    name again. These are the bytes that the name stood for ever since, so nothing that refers to it changes. Beside heads and
//!    snapshots, of which the same holds, this is the one case in which an object is written over.
//! 2. Else the chunks that have a copy are sealed anew into new packs, which the index names. Hints lead to where they
//!    were; a reader who finds nothing good there asks the index. Only on the store that leads: a copy has what the lead has.
//! 3. What has no copy is lost until somebody writes it again, or another store has it. It is named by pack, offset and
//!    chunks; by path and snapshot with [`crate::check::name_users`].
//!
//! A store that is only asked for copies, and does not answer, is as one that has none: the work goes on, and does not ask it
//! again for the same pack.
//!
//! A crash in between leaves copies that nothing refers to, or a pack that is examined again.
//!
//! **Bounds.** A request of at most 4 MiB, 32 frames at once; the local disk by one pack.

mod copies;
mod examine;
mod heads;
mod heal;
mod inventory;

pub use copies::Copies;
pub use examine::{BadFrame, Examined, Examiner, Wounds};
pub use heads::{SpoiltObject, heal_heads};
pub use heal::{Healed, heal};
pub use inventory::{Inventory, chunks_named, missing_packs};
