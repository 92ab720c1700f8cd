//! `[scrub]`: how packs on the targets are looked at before somebody needs them.

use super::schema::table;
use super::values::{Size, Span};

table! {
    /// Looking at what lies on the targets, and healing what is missing or damaged there from what lies on this machine and on
    /// the other targets.
    pub struct Scrub("scrub", once) {
        /// Every pack is read, and every chunk in it verified, once in this time, and all heads and snapshots with it.
        /// Without it that is done by `tidegate scrub run` only. Mind what the store charges for reading.
        every: Span, optional in Span::days(1), Span::days(366);
        /// Whether targets that follow are read too, each within the same time.
        copies: bool, default(true);
        /// How often it is looked whether packs are gone from the target that leads. That lists all packs and reads the
        /// index.
        look_every: Span, default(Span::days(1)) in Span::seconds(3_600), Span::days(366);
        /// The most that is read from each target on a day, even if `every` is then not kept. Without it: as much as
        /// `every` needs.
        daily_bytes: Size, optional in Size::mib(64), Size::tib(1_024);
        /// The most requests that are made to each target on a day, even if `every` is then not kept. Without it: as
        /// many as `every` needs.
        daily_requests: u32, optional in 100, 1_000_000_000;
    }
}
