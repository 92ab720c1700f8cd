//! `[retention]`: which points in time stay, and when what nothing needs any more is deleted.

use std::fmt;
use std::str::FromStr;

use tidegate_replicator::repository::{Ladder, RepositoryError, Rung};

use super::schema::table;
use super::values::{Span, text_setting};

/// One rung of the ladder of kept heads, written `EVERY for REACH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadRung {
    every: Span,
    reach: Span,
}

impl HeadRung {
    const fn new(every: Span, reach: Span) -> Self {
        Self { every, reach }
    }
}

impl FromStr for HeadRung {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (every, reach) = text.split_once(" for ").ok_or("has no \" for \" in it")?;
        let rung = Self { every: every.trim().parse()?, reach: reach.trim().parse()? };
        if rung.every < Span::seconds(1) || rung.reach < rung.every {
            return Err("is out of range: at least a second apart, for at least as long".to_owned());
        }
        Ok(rung)
    }
}

impl fmt::Display for HeadRung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.every, self.reach)
    }
}

text_setting!(HeadRung, "how far apart and for how long, such as \"10m for 1h\"");

table! {
    /// Which points in time a share can go back to, besides its snapshots, and when what nothing
    /// retained needs any more is deleted from the repository.
    pub struct Retention("retention", once) {
        /// The ladder of published heads that are kept: of the heads in each such period one, for so
        /// long. The newest head always stays.
        heads: Vec<HeadRung>, default(vec![
            HeadRung::new(Span::seconds(600), Span::seconds(3600)),
            HeadRung::new(Span::seconds(3600), Span::days(1)),
            HeadRung::new(Span::days(1), Span::days(30)),
        ]);
        /// How long a snapshot that somebody removes stays in the bin, from where `tidegate bin restore` brings it back. The
        /// first collection after that ends it. `0s` for no bin. What a policy forgets by its own rules does not go there.
        bin: Span, default(Span::days(7)) in Span::seconds(0), Span::days(366);
        /// Whether this gateway deletes packs that nothing retained reaches. Of several gateways on one
        /// repository one is enough; more do no harm. `tidegate gc` does it by hand.
        collect: bool, default(true);
        /// How often it looks for such packs.
        collect_every: Span, default(Span::days(1)) in Span::seconds(60), Span::days(365);
        /// How long a pack lies in the repository before it can be deleted. Safe at any value: it only
        /// spares what a commit that is under way will refer to.
        grace: Span, default(Span::days(1)) in Span::seconds(0), Span::days(365);
        /// The greatest part of all packs that is deleted at once, in percent of their bytes. A plan that
        /// would delete more is not carried out, and says so.
        delete_percent_max: u32, default(33) in 1, 100;
        /// Packs of which less than this is alive, in percent of what is in them, are repacked: what is
        /// alive is fetched and stored anew, then they are deleted. 0 for never.
        repack_below_percent: u32, default(50) in 0, 90;
        /// Whether packs that were sealed before the last `tidegate key rotate` are stored anew under the new keys, 4 GiB
        /// in each round. It reads the beginning of every pack, and fetches and stores all that is alive once.
        reseal: bool, default(false);
    }
}

impl Retention {
    /// The ladder that `heads` describes.
    pub fn ladder(&self) -> Result<Ladder, RepositoryError> {
        let rung = |rung: &HeadRung| Rung { every: rung.every.duration(), reach: rung.reach.duration() };
        Ladder::new(self.heads.iter().map(rung).collect())
    }
}
