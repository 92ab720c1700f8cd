//! The book of the scrub: where a round is, what was read today, and what is lost.
//!
//! `scrub.json` in the data folder for the target that leads, `scrub-NAME.json` for each copy; written anew after each pack,
//! durably. One that cannot be read counts as empty: the round begins anew, and what is lost is found again.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tidegate_chunker::{ChunkId, Location, PackId};
use tidegate_replicator::archive::Scrubbed;
use tidegate_replicator::check::Finding;
use tidegate_replicator::scrub::{BadFrame, Examined, Healed, Inventory, SpoiltObject};
use tidegate_replicator::store::durable_file;

use super::{ScrubConfig, ScrubRun};

const FILE: &str = "scrub.json";
const VERSION: u32 = 1;
/// Lost frames that are named; more are counted.
const LOST_MAX: usize = 1_000;
/// Who needs a lost frame: so many are named.
const USERS_MAX: usize = 24;
/// Packs of which something is lost: so many are asked for again at a time.
const AGAIN_MAX: usize = 64;
const DAY_SECONDS: i64 = 86_400;
/// How far this machine's clock may be ahead of the store's.
const CLOCK_AHEAD_MAX: Duration = Duration::from_hours(1);

/// See the head of this module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Book {
    version: u32,
    pub(super) round: Option<RoundState>,
    pub(super) last: Option<RoundEnd>,
    /// The target that the round reads, and the one that the last round has read from its beginning to its end; empty
    /// where others were read between.
    #[serde(default)]
    round_of: String,
    #[serde(default)]
    last_of: String,
    /// When it was last looked for packs that are gone, in seconds since 1970.
    pub(super) looked_at: Option<i64>,
    /// The day, and what was read on it.
    day: i64,
    pub(super) day_bytes: u64,
    pub(super) day_requests: u64,
    pub(super) lost: Vec<LostFrame>,
    pub(super) more_lost: u64,
    /// Heads and snapshots that could not be read when the newest round began, and that no other target had.
    #[serde(default)]
    pub(super) unreadable: Vec<UnreadableHead>,
    /// The pack that was asked for again last.
    #[serde(skip)]
    asked: Option<PackId>,
}

/// A head or snapshot that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UnreadableHead {
    /// The name of its object.
    pub(super) object: String,
    pub(super) why: String,
}

/// A round that is under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RoundState {
    pub(super) began: i64,
    /// The pack that was passed last, in hex.
    after: Option<String>,
    pub(super) packs_total: u64,
    pub(super) bytes_total: u64,
    pub(super) done: Done,
}

/// A round that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RoundEnd {
    pub(super) began: i64,
    pub(super) ended: i64,
    pub(super) done: Done,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) packs: u64,
    pub(super) bytes: u64,
    pub(super) packs_healed: u64,
    pub(super) chunks_resealed: u64,
    pub(super) frames_lost: u64,
    /// Of `packs` and `bytes`: what sleeps, and was not read.
    #[serde(default)]
    pub(super) packs_asleep: u64,
    #[serde(default)]
    pub(super) bytes_asleep: u64,
}

/// How a pack was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// It was read.
    Read(Examined),
    /// A collection has condemned it.
    Condemned,
    /// It sleeps.
    Asleep,
}

/// A frame that nobody has a copy of; no bytes of it stand for a pack of which no frame is known to be bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LostFrame {
    #[serde(with = "hex_pack")]
    pub(super) pack: PackId,
    pub(super) offset: u32,
    pub(super) bytes: u32,
    pub(super) why: String,
    pub(super) found_at: i64,
    /// In hex.
    chunks: Vec<String>,
    is_named: bool,
    pub(super) users: Vec<LostUser>,
}

/// Who needs a lost frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LostUser {
    pub(super) share: Option<String>,
    pub(super) moment: Option<String>,
    pub(super) path: Option<String>,
}

mod hex_pack {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use tidegate_chunker::PackId;

    pub(super) fn serialize<S: Serializer>(pack: &PackId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(pack)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PackId, D::Error> {
        let text = String::deserialize(deserializer)?;
        PackId::from_hex(&text).ok_or_else(|| D::Error::custom("no id of a pack"))
    }
}

impl LostFrame {
    fn of(bad: &BadFrame, now: i64) -> Self {
        Self {
            pack: bad.at.pack,
            offset: bad.at.offset,
            bytes: bad.at.bytes,
            why: bad.why.clone(),
            found_at: now,
            chunks: bad.chunks.iter().map(|(chunk, _)| chunk.to_string()).collect(),
            is_named: false,
            users: Vec::new(),
        }
    }

    /// The chunks in it.
    pub(super) fn chunks(&self) -> Option<Vec<ChunkId>> {
        self.chunks.iter().map(|text| ChunkId::from_hex(text)).collect()
    }

    /// Whether a chunk that lies there lies in it.
    pub(super) fn is_at(&self, at: &Location) -> bool {
        at.pack == self.pack && at.frame_offset == self.offset
    }

    /// Whether no frame of the pack is known to be bad, and it is not as it was all the same.
    pub(super) fn is_of_whole_pack(&self) -> bool {
        self.bytes == 0
    }

    /// What is wrong with the pack.
    pub(super) fn what(&self) -> String {
        if self.is_of_whole_pack() {
            return format!("it cannot be put back as it was: {}", self.why);
        }
        format!("{} bytes at offset {} are lost: {}", self.bytes, self.offset, self.why)
    }
}

/// The file of the book of a copy.
fn file_of_copy(name: &str) -> String {
    format!("scrub-{name}.json")
}

impl Book {
    /// The book of the target that leads.
    pub(super) fn load(folder: &Path) -> Self {
        Self::load_from(&folder.join(FILE))
    }

    /// The book of a copy, which is kept at `place`.
    pub(super) fn load_of_copy(folder: &Path, name: &str, place: &str) -> Self {
        let book = Self::load_from(&folder.join(file_of_copy(name)));
        if book.is_of(place) { book } else { Self::default() }
    }

    /// Whether it has nothing of a target elsewhere.
    pub(super) fn is_of(&self, place: &str) -> bool {
        [&self.round_of, &self.last_of].into_iter().all(|of| of.is_empty() || of == place)
    }

    fn load_from(file: &Path) -> Self {
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => {
                tracing::warn!(%error, "the book of the scrub cannot be read; its round begins anew");
                return Self::default();
            }
        };
        match serde_json::from_slice::<Self>(&text) {
            Ok(book) if book.version == VERSION => book,
            Ok(_) | Err(_) => {
                tracing::warn!("the book of the scrub is not one of this version; its round begins anew");
                Self::default()
            }
        }
    }

    pub(super) fn store(&mut self, folder: &Path) -> io::Result<()> {
        self.store_to(&folder.join(FILE))
    }

    pub(super) fn store_of_copy(&mut self, folder: &Path, name: &str) -> io::Result<()> {
        self.store_to(&folder.join(file_of_copy(name)))
    }

    fn store_to(&mut self, file: &Path) -> io::Result<()> {
        self.version = VERSION;
        durable_file::replace(file, &serde_json::to_vec(self)?)
    }

    pub(super) fn look_is_due(&self, now: i64, config: &ScrubConfig) -> bool {
        let every = config.look_every.as_secs() as i64;
        self.looked_at.is_none_or(|at| now >= at + every || now < at)
    }

    pub(super) fn looked(&mut self, now: i64) {
        self.looked_at = Some(now);
    }

    pub(super) fn has_round(&self) -> bool {
        self.round.is_some()
    }

    /// A round takes its whole time, so the next one begins when it ends.
    pub(super) fn round_is_due(&self, now: i64, config: &ScrubConfig) -> bool {
        let every = config.every.map_or(i64::MAX, |every| every.as_secs() as i64);
        self.round.is_none()
            && self.last.is_none_or(|last| now >= last.began.saturating_add(every) || now < last.began)
    }

    /// For how many seconds a round should have ended by now, or the next one have begun.
    pub(super) fn late_seconds(&self, now: i64, config: &ScrubConfig) -> u64 {
        let began = self.round.as_ref().map(|round| round.began).or(self.last.map(|last| last.began));
        let (Some(every), Some(began)) = (config.every, began) else { return 0 };
        let due = began.saturating_add(every.as_secs() as i64);
        now.saturating_sub(due).max(0) as u64
    }

    pub(super) fn begin_round(&mut self, now: i64, inventory: Inventory, target: &str) {
        target.clone_into(&mut self.round_of);
        self.round = Some(RoundState {
            began: now,
            after: None,
            packs_total: inventory.packs,
            bytes_total: inventory.bytes,
            done: Done::default(),
        });
    }

    /// All heads and snapshots were read; none if they could not be: then what is known stays.
    pub(super) fn heads_read(&mut self, found: Option<&[SpoiltObject]>) {
        let Some(found) = found else { return };
        let unreadable = |object: &SpoiltObject| UnreadableHead {
            object: object.name.to_string(),
            why: object.why.clone(),
        };
        self.unreadable = found.iter().filter(|object| !object.healed).map(unreadable).collect();
    }

    /// Whether something cannot be read, and another target may have it by now.
    pub(super) fn has_wounds(&self) -> bool {
        !self.lost.is_empty() || !self.unreadable.is_empty()
    }

    /// Packs of which something is lost.
    pub(super) fn lost_packs(&self) -> BTreeSet<PackId> {
        self.lost.iter().map(|frame| frame.pack).collect()
    }

    /// Those of them that are to be asked for again now; the next time it goes on with the others.
    pub(super) fn ask_again(&mut self) -> Vec<PackId> {
        let (next, others): (Vec<PackId>, Vec<PackId>) =
            self.lost_packs().into_iter().partition(|pack| Some(*pack) > self.asked);
        let again: Vec<PackId> = next.into_iter().chain(others).take(AGAIN_MAX).collect();
        self.asked = again.last().copied();
        again
    }

    /// Where the round goes on.
    pub(super) fn position(&self) -> Option<PackId> {
        PackId::from_hex(self.round.as_ref()?.after.as_ref()?)
    }

    /// Whether a pack of this length is to be read by now, and may be today.
    pub(super) fn pack_is_due(&mut self, now: i64, bytes: u64, config: &ScrubConfig) -> bool {
        self.turn_day(now);
        let Some(round) = &self.round else { return false };
        let every = config.every.map_or(1, |every| every.as_secs().max(1));
        let elapsed = now.saturating_sub(round.began).max(0) as u64;
        let part = (elapsed as f64 / every as f64).min(1.0);
        let is_due = elapsed >= every || (round.done.bytes as f64) < part * round.bytes_total as f64;
        // A pack that is larger than the budget of a day has a day of its own.
        let fits = |used: u64, more: u64, most: Option<u64>| {
            most.is_none_or(|most| used == 0 || used + more <= most)
        };
        is_due
            && fits(self.day_bytes, bytes, config.daily_bytes)
            && fits(self.day_requests, 1, config.daily_requests)
    }

    fn turn_day(&mut self, now: i64) {
        let day = now.div_euclid(DAY_SECONDS);
        if day != self.day {
            (self.day, self.day_bytes, self.day_requests) = (day, 0, 0);
        }
    }

    /// A pack of the target was passed: read, or left.
    pub(super) fn passed(&mut self, pack: PackId, bytes: u64, passed: Passed, target: &str) {
        if self.round_of != target {
            self.round_of.clear();
        }
        if let Passed::Read(examined) = passed {
            self.day_bytes += examined.bytes;
            self.day_requests += examined.requests;
        }
        if let Some(round) = &mut self.round {
            if passed == Passed::Asleep {
                round.done.packs_asleep += 1;
                round.done.bytes_asleep += bytes;
            }
            round.after = Some(pack.to_string());
            round.done.packs += 1;
            round.done.bytes += bytes;
        }
    }

    pub(super) fn is_whole(&mut self, pack: PackId) {
        self.lost.retain(|frame| frame.pack != pack);
    }

    /// What became of a pack that was not whole. What was lost before counts again only in a round that comes upon it.
    pub(super) fn was_wounded(&mut self, pack: PackId, healed: &Healed, now: i64, in_round: bool) {
        // Names that were found before stay.
        let known: Vec<LostFrame> = self.lost.extract_if(.., |frame| frame.pack == pack).collect();
        // Nor does it become unknown what lay in a pack.
        let says_more = known.is_empty() || healed.lost.iter().any(|bad| !bad.is_of_whole_pack());
        if !says_more && !healed.lost.is_empty() {
            self.lost.extend(known.iter().cloned());
        }
        for bad in healed.lost.iter().filter(|_| says_more) {
            let before =
                known.iter().find(|frame| frame.offset == bad.at.offset && frame.bytes == bad.at.bytes);
            if self.lost.len() < LOST_MAX {
                self.lost.push(before.cloned().unwrap_or_else(|| LostFrame::of(bad, now)));
            } else {
                self.more_lost += 1;
            }
        }
        if let Some(round) = &mut self.round {
            round.done.packs_healed += u64::from(healed.whole);
            round.done.chunks_resealed += healed.chunks_resealed;
            if in_round || known.is_empty() {
                round.done.frames_lost += healed.lost.len() as u64;
            }
        }
    }

    pub(super) fn end_round(&mut self, now: i64) {
        if let Some(round) = self.round.take() {
            self.last = Some(RoundEnd { began: round.began, ended: now, done: round.done });
            self.last_of = std::mem::take(&mut self.round_of);
            // What was too much to name has been counted anew.
            self.more_lost = 0;
        }
    }

    /// What it says of the packs of a target. The last round vouches for all that it has read if it left nothing damaged,
    /// and the one under way has found nothing since.
    pub(super) fn scrubbed(&self, target: &str) -> Scrubbed {
        let is_clean = |done: &Done| done.frames_lost == 0 && done.chunks_resealed == 0;
        let last = self.last.filter(|last| self.last_of == target && is_clean(&last.done));
        let has_no_news =
            self.round.as_ref().is_none_or(|round| is_clean(&round.done)) && self.more_lost == 0;
        let before = last.filter(|_| has_no_news).and_then(|last| u64::try_from(last.began).ok());
        Scrubbed {
            whole_before: before.map(|began| (UNIX_EPOCH + Duration::from_secs(began)) - CLOCK_AHEAD_MAX),
            wounded: self.lost.iter().map(|frame| frame.pack).collect(),
        }
    }

    /// What the round did that ended last.
    pub(super) fn last_run(&self) -> ScrubRun {
        let done = self.last.map(|last| last.done).unwrap_or_default();
        ScrubRun {
            packs: done.packs,
            bytes: done.bytes,
            packs_healed: done.packs_healed,
            chunks_resealed: done.chunks_resealed,
            frames_lost: self.lost.len() as u64 + self.more_lost,
        }
    }

    pub(super) fn drop_lost(&mut self, is_elsewhere: impl Fn(&LostFrame) -> bool) {
        self.lost.retain(|frame| !is_elsewhere(frame));
    }

    /// Lost frames whose users have not been looked for.
    pub(super) fn unnamed(&self) -> Vec<LostFrame> {
        self.lost.iter().filter(|frame| !frame.is_named).cloned().collect()
    }

    /// Takes down who needs what.
    pub(super) fn name(&mut self, findings: &[Finding]) {
        for frame in self.lost.iter_mut().filter(|frame| !frame.is_named) {
            let (object, what) = (tidegate_replicator::repository::pack_name(frame.pack), frame.what());
            let of_frame = |finding: &&Finding| finding.object == object.as_str() && finding.what == what;
            let user = |finding: &Finding| LostUser {
                share: finding.share.clone(),
                moment: finding.moment.clone(),
                path: finding.path.clone(),
            };
            let named = findings.iter().filter(of_frame).filter(|finding| finding.share.is_some());
            frame.users = named.map(user).take(USERS_MAX).collect();
            frame.is_named = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "memory:";
    const HOUR: i64 = 3_600;

    fn config() -> ScrubConfig {
        ScrubConfig {
            every: Some(Duration::from_hours(100)),
            look_every: Duration::from_hours(24),
            daily_bytes: None,
            daily_requests: None,
            copies: true,
            memory_bytes_max: 1 << 20,
            classes: tidegate_replicator::store::Classes::default(),
            folder: std::path::PathBuf::new(),
        }
    }

    fn pack(number: u8) -> PackId {
        PackId::new([number; 32])
    }

    /// Packs of 10 bytes that are read by a time, in steps of an hour.
    fn read_by(book: &mut Book, config: &ScrubConfig, hours: std::ops::Range<i64>, packs: u8) -> u64 {
        let examined = Examined { bytes: 10, requests: 3 };
        for hour in hours {
            let now = hour * HOUR;
            while book.round.as_ref().is_some_and(|round| round.done.packs < packs.into())
                && book.pack_is_due(now, 10, config)
            {
                let number = book.round.as_ref().expect("a round").done.packs as u8;
                book.passed(pack(number), 10, Passed::Read(examined), TARGET);
            }
        }
        book.round.as_ref().expect("a round").done.packs
    }

    #[test]
    fn a_round_goes_evenly_over_its_time() {
        let (mut book, config) = (Book::default(), config());
        assert!(book.round_is_due(0, &config));
        book.begin_round(0, Inventory { packs: 50, bytes: 500 }, TARGET);
        assert_eq!(read_by(&mut book, &config, 0..1, 50), 0);
        assert!((24..=26).contains(&read_by(&mut book, &config, 1..51, 50)));
        assert_eq!(read_by(&mut book, &config, 51..101, 50), 50);
        assert_eq!(book.position(), Some(pack(49)));
        book.end_round(99 * HOUR);
        assert!(!book.round_is_due(99 * HOUR, &config));
        assert!(book.round_is_due(100 * HOUR, &config));
    }

    #[test]
    fn a_round_is_late_from_when_it_should_have_ended_until_the_next_one_begins() {
        let (mut book, config) = (Book::default(), config());
        assert_eq!(book.late_seconds(1000 * HOUR, &config), 0, "there was no round");
        book.begin_round(0, Inventory { packs: 50, bytes: 500 }, TARGET);
        assert_eq!(book.late_seconds(100 * HOUR, &config), 0);
        assert_eq!(book.late_seconds(101 * HOUR, &config), 3_600);
        assert_eq!(book.late_seconds(101 * HOUR, &ScrubConfig { every: None, ..config.clone() }), 0);
        book.end_round(102 * HOUR);
        assert_eq!(book.late_seconds(102 * HOUR, &config), 7_200, "the next one should have begun");
        book.begin_round(102 * HOUR, Inventory { packs: 50, bytes: 500 }, TARGET);
        assert_eq!(book.late_seconds(103 * HOUR, &config), 0);
    }

    #[test]
    fn what_came_late_is_made_up_for_within_the_budgets_of_a_day() {
        let mut book = Book::default();
        let config = ScrubConfig { daily_bytes: Some(45), ..config() };
        book.begin_round(0, Inventory { packs: 50, bytes: 500 }, TARGET);
        assert_eq!(read_by(&mut book, &config, 96..97, 50), 4, "a day's bytes");
        assert_eq!(read_by(&mut book, &config, 97..144, 50), 8, "and those of the next");
        let config = ScrubConfig { daily_bytes: None, daily_requests: Some(7), ..config };
        assert_eq!(read_by(&mut book, &config, 144..145, 50), 11, "three requests a pack");
    }

    #[test]
    fn the_book_survives_and_a_spoilt_one_is_an_empty_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut book = Book::load(folder.path());
        assert_eq!(book, Book::default());
        book.begin_round(5, Inventory { packs: 1, bytes: 10 }, TARGET);
        book.passed(pack(7), 10, Passed::Read(Examined::default()), TARGET);
        let at = tidegate_replicator::fetch::FrameAt { pack: pack(7), offset: 48, bytes: 9 };
        let bad = BadFrame { at, chunks: Vec::new(), why: "gone".to_owned() };
        book.was_wounded(pack(7), &Healed { lost: vec![bad], ..Healed::default() }, 6, true);
        book.store(folder.path()).expect("written");
        let again = Book::load(folder.path());
        assert_eq!(again, book);
        assert_eq!((again.position(), again.lost.len()), (Some(pack(7)), 1));
        std::fs::write(folder.path().join(FILE), b"{").expect("spoilt");
        assert_eq!(Book::load(folder.path()), Book::default());
    }

    #[test]
    fn a_round_vouches_for_what_it_has_read_and_for_nothing_else() {
        let inventory = || Inventory { packs: 2, bytes: 20 };
        let day = |days: u64| UNIX_EPOCH + Duration::from_hours(24) * days as u32;
        let read = || Passed::Read(Examined { bytes: 10, requests: 3 });
        let mut book = Book::default();
        assert!(!book.scrubbed(TARGET).has_read(day(0)), "there was no round");
        book.begin_round(10 * DAY_SECONDS, inventory(), TARGET);
        book.passed(pack(1), 10, read(), TARGET);
        book.passed(pack(2), 10, Passed::Asleep, TARGET);
        assert!(!book.scrubbed(TARGET).has_read(day(1)), "it has not ended");
        book.end_round(11 * DAY_SECONDS);
        let done = book.last.expect("a round").done;
        assert_eq!((done.packs, done.packs_asleep, done.bytes_asleep, book.day_bytes), (2, 1, 10, 10));
        assert!(book.scrubbed(TARGET).has_read(day(9)) && !book.scrubbed(TARGET).has_read(day(10)));
        assert!(!book.scrubbed("elsewhere:").has_read(day(9)), "it was of another target");
        let at = tidegate_replicator::fetch::FrameAt { pack: pack(1), offset: 48, bytes: 9 };
        let bad = BadFrame { at, chunks: Vec::new(), why: "gone".to_owned() };
        book.begin_round(20 * DAY_SECONDS, inventory(), TARGET);
        let healed = Healed { lost: vec![bad], ..Healed::default() };
        book.was_wounded(pack(1), &healed, 21 * DAY_SECONDS, true);
        let scrubbed = book.scrubbed(TARGET);
        assert!(scrubbed.wounded.contains(&pack(1)) && !scrubbed.has_read(day(9)), "{scrubbed:?}");
        let mut moved = Book::default();
        moved.begin_round(10 * DAY_SECONDS, inventory(), TARGET);
        moved.passed(pack(1), 10, read(), "elsewhere:");
        moved.end_round(11 * DAY_SECONDS);
        assert!(!moved.scrubbed(TARGET).has_read(day(9)), "another target came to lead");
    }

    #[test]
    fn all_lost_packs_are_asked_for_again_in_turn_and_count_once() {
        let mut book = Book::default();
        book.begin_round(0, Inventory { packs: 200, bytes: 2000 }, TARGET);
        let wound = |book: &mut Book, number: u8| {
            let at = tidegate_replicator::fetch::FrameAt { pack: pack(number), offset: 48, bytes: 9 };
            let bad = BadFrame { at, chunks: Vec::new(), why: "gone".to_owned() };
            let healed = Healed { lost: vec![bad], ..Healed::default() };
            book.was_wounded(pack(number), &healed, 1, false);
        };
        let all: BTreeSet<PackId> = (0..200).map(pack).collect();
        (0..200).for_each(|number| wound(&mut book, number));
        (0..200).for_each(|number| wound(&mut book, number));
        assert_eq!((book.lost_packs(), book.last_run().frames_lost), (all.clone(), 200));
        assert_eq!(book.round.as_ref().expect("a round").done.frames_lost, 200);
        let mut asked = BTreeSet::new();
        for _ in 0..4 {
            let again = book.ask_again();
            assert_eq!(again.len(), AGAIN_MAX);
            asked.extend(again);
        }
        assert_eq!(asked, all);
    }
}
