//! Claims about locks and opens. Goal: the table grants, refuses and names what a dumb model does, whatever
//! is asked in whatever order. Method: an array that says for every byte of a small file who holds it; a list
//! of opens. `TIDEGATE_SEED` repeats a run.

use std::collections::BTreeMap;

use super::*;

const FILE: InodeNumber = InodeNumber(7);

fn owner(client: u64, name: &str) -> Owner {
    Owner::new(client, name.as_bytes()).expect("a short name")
}

fn range(offset: u64, length: u64) -> ByteRange {
    ByteRange::new(offset, length).expect("a range")
}

fn all() -> ByteRange {
    range(0, u64::MAX)
}

#[test]
fn ranges_are_those_of_the_rfc() {
    assert_eq!(ByteRange::new(5, 0), None);
    assert_eq!(ByteRange::new(2, u64::MAX - 1), None, "beyond the largest offset");
    for (offset, length) in [(0, 1), (1, u64::MAX - 1), (u64::MAX, u64::MAX), (0, u64::MAX), (5, u64::MAX)] {
        let made = range(offset, length);
        assert_eq!((made.offset(), made.length()), (offset, length));
    }
    assert_eq!(Owner::new(1, &[0; OWNER_BYTES_MAX + 1]), None);
}

#[test]
fn a_refusal_names_the_holder_and_its_whole_range() {
    let table = LockTable::default();
    let (one, other) = (owner(1, "one"), owner(2, "other"));
    table.lock(FILE, &one, LockKind::Read, range(10, 10)).expect("free");
    table.lock(FILE, &one, LockKind::Read, range(20, 10)).expect("joins");
    table.lock(FILE, &other, LockKind::Read, range(15, 3)).expect("readers share");
    let denied = LockDenied { owner: one.clone(), kind: LockKind::Read, range: range(10, 20) };
    assert_eq!(table.test(FILE, &other, LockKind::Write, range(25, 1)), Some(denied.clone()));
    assert_eq!(table.lock(FILE, &other, LockKind::Write, all()), Err(LockError::Denied(denied)));
    assert_eq!(table.test(FILE, &other, LockKind::Read, all()), None);
    assert_eq!(
        table.test(FILE, &one, LockKind::Write, range(18, u64::MAX)),
        None,
        "its own are not in its way"
    );
    table.unlock(FILE, &other, all()).expect("given back");
    table.lock(FILE, &one, LockKind::Write, range(12, 2)).expect("an upgrade of a part");
    assert_eq!(table.count(), 3);
    let denied = LockDenied { owner: one.clone(), kind: LockKind::Write, range: range(12, 2) };
    assert_eq!(table.test(FILE, &other, LockKind::Read, all()), Some(denied));
    table.lock(FILE, &one, LockKind::Read, range(12, 2)).expect("a downgrade");
    assert_eq!((table.count(), table.holds(FILE, &one)), (1, true));
    table.release_client(1);
    assert_eq!((table.count(), table.holds(FILE, &one)), (0, false));
    assert!(table.state.lock().files.is_empty() && table.state.lock().clients.is_empty());
}

#[test]
fn what_is_held_is_bounded_and_a_refusal_changes_nothing() {
    let table = LockTable::new(LockLimits { of_client: 3, in_all: 5 });
    let (one, same, other) = (owner(1, "one"), owner(1, "same client"), owner(2, "other"));
    let many = Err(LockError::TooMany);
    table.lock(FILE, &one, LockKind::Write, range(0, 10)).expect("the first");
    assert_eq!(table.lock(FILE, &one, LockKind::Read, range(4, 2)), Ok(()), "three now");
    assert_eq!(table.lock(InodeNumber(8), &same, LockKind::Read, all()), many);
    assert_eq!(table.open(FILE, &same, OpenMode::default()), Err(OpenError::TooMany));
    assert_eq!(table.unlock(FILE, &one, range(1, 1)), many, "that would be four");
    let state = |at: u64| table.test(FILE, &other, LockKind::Read, range(at, 1)).map(|denied| denied.range);
    assert_eq!([state(1), state(4), state(6)], [Some(range(0, 4)), None, Some(range(6, 4))]);
    table.unlock(FILE, &one, range(3, 4)).expect("fewer");
    table.open(FILE, &same, OpenMode::default()).expect("there is room");
    table
        .open(FILE, &same, OpenMode { access: Rights::READ, ..OpenMode::default() })
        .expect("no more than one");
    for at in [20, 30] {
        table.lock(FILE, &other, LockKind::Read, range(at, 1)).expect("another client");
    }
    assert_eq!(table.lock(FILE, &other, LockKind::Read, range(40, 1)), many, "of all");
    table.lock(FILE, &other, LockKind::Read, range(20, 20)).expect("fewer again");
    assert_eq!(table.count(), 4);
}

#[test]
fn opens_conflict_by_what_they_deny() {
    let table = LockTable::default();
    let (one, other) = (owner(1, "one"), owner(2, "other"));
    let mode = |access, deny| OpenMode { access, deny };
    table.open(FILE, &one, mode(Rights::READ, Rights::NONE)).expect("alone");
    table.open(FILE, &one, mode(Rights::WRITE, Rights::WRITE)).expect("its own");
    let denied = OpenDenied { owner: one.clone(), mode: mode(Rights::BOTH, Rights::WRITE) };
    assert_eq!(table.open_mode(FILE, &one), Some(denied.mode));
    for refused in [mode(Rights::WRITE, Rights::NONE), mode(Rights::READ, Rights::READ)] {
        assert_eq!(table.open(FILE, &other, refused), Err(OpenError::Denied(denied.clone())));
    }
    table.open(FILE, &other, mode(Rights::READ, Rights::NONE)).expect("nobody minds");
    assert_eq!(table.conflicts(FILE, Rights::WRITE, None), Some(denied.clone()));
    assert_eq!(table.conflicts(FILE, Rights::WRITE, Some(&other)), Some(denied));
    assert_eq!(table.conflicts(FILE, Rights::BOTH, Some(&one)), None);
    assert_eq!(table.conflicts(FILE, Rights::READ, None), None);

    assert_eq!(table.downgrade(FILE, &one, mode(Rights::WRITE, Rights::NONE)), Err(OpenError::NoSuchMode));
    assert_eq!(table.downgrade(FILE, &one, mode(Rights::READ, Rights::READ)), Err(OpenError::NoSuchMode));
    table.downgrade(FILE, &one, mode(Rights::READ, Rights::NONE)).expect("it was opened so");
    assert_eq!(table.downgrade(FILE, &one, mode(Rights::BOTH, Rights::WRITE)), Err(OpenError::NoSuchMode));
    table.open(FILE, &other, mode(Rights::WRITE, Rights::NONE)).expect("no longer denied");
    assert!(table.close(FILE, &one) && !table.close(FILE, &one));
    assert_eq!(table.downgrade(FILE, &one, mode(Rights::READ, Rights::NONE)), Err(OpenError::NotOpen));
    table.release_owner(&other);
    assert!(table.state.lock().files.is_empty() && table.state.lock().clients.is_empty());
}

/// Chance, from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

/// Bytes of the model. The middle one stands for all between the first offsets and the last.
const BYTES: usize = 25;
const OWNERS: usize = 6;
const FILES: usize = 2;
const LIMITS: LockLimits = LockLimits { of_client: 9, in_all: 15 };

/// The offset that a place of the model is; the middle one as the start of what it stands for.
fn offset(place: usize) -> u64 {
    if place <= BYTES / 2 { place as u64 } else { u64::MAX - (BYTES - 1 - place) as u64 }
}

fn last_offset(place: usize) -> u64 {
    if place == BYTES / 2 { offset(place + 1) - 1 } else { offset(place) }
}

fn between(first: usize, last: usize) -> ByteRange {
    let (first, last) = (offset(first), last_offset(last));
    if last == u64::MAX { range(first, u64::MAX) } else { range(first, last - first + 1) }
}

/// Who holds what of a file: for each byte, each owner's kind; and how it is open.
#[derive(Clone, Debug, Default)]
struct ModelFile {
    bytes: [[Option<LockKind>; OWNERS]; BYTES],
    opens: BTreeMap<usize, Vec<OpenMode>>,
}

impl ModelFile {
    /// The runs of equal kind of an owner, as first and last place.
    fn runs(&self, owner: usize) -> Vec<(LockKind, usize, usize)> {
        let mut runs: Vec<(LockKind, usize, usize)> = Vec::new();
        for place in 0..BYTES {
            match (self.bytes[place][owner], runs.last_mut()) {
                (Some(kind), Some(run)) if run.0 == kind && run.2 + 1 == place => run.2 = place,
                (Some(kind), _) => runs.push((kind, place, place)),
                (None, _) => {}
            }
        }
        runs
    }

    /// Every lock that is in the way at the first place where one is.
    fn denied(&self, by: usize, kind: LockKind, first: usize, last: usize) -> Vec<LockDenied> {
        let against = |place: usize, other: usize| {
            let held = self.bytes[place][other];
            other != by && held.is_some_and(|held| held == LockKind::Write || kind == LockKind::Write)
        };
        let Some(place) = (first..=last).find(|place| (0..OWNERS).any(|other| against(*place, other))) else {
            return Vec::new();
        };
        let whole = |other: usize| {
            let runs = self.runs(other);
            let run = runs.into_iter().find(|run| (run.1..=run.2).contains(&place)).expect("it holds it");
            LockDenied { owner: name_of(other), kind: run.0, range: between(run.1, run.2) }
        };
        (0..OWNERS).filter(|other| against(place, *other)).map(whole).collect()
    }

    fn count(&self, owner: usize) -> usize {
        self.runs(owner).len() + usize::from(self.opens.contains_key(&owner))
    }
}

/// Whether a refusal is one of several, as clients see it.
fn is_among(denied: &LockDenied, all: &[LockDenied]) -> bool {
    let shown = |denied: &LockDenied| {
        (denied.owner.clone(), denied.kind, denied.range.offset(), denied.range.length())
    };
    all.iter().any(|other| shown(other) == shown(denied))
}

fn union(modes: &[OpenMode]) -> OpenMode {
    let or =
        |one: Rights, other: Rights| Rights { read: one.read || other.read, write: one.write || other.write };
    modes.iter().fold(OpenMode::default(), |all, mode| OpenMode {
        access: or(all.access, mode.access),
        deny: or(all.deny, mode.deny),
    })
}

fn meets(one: Rights, other: Rights) -> bool {
    one.read && other.read || one.write && other.write
}

/// Two owners of each client.
fn name_of(owner: usize) -> Owner {
    Owner::new(owner as u64 / 2, &[owner as u8]).expect("a short name")
}

struct World {
    chance: Chance,
    table: LockTable,
    files: [ModelFile; FILES],
}

impl World {
    fn within_limits(&self, client: usize, after: &ModelFile, file: usize) -> bool {
        let mut files = self.files.clone();
        files[file] = after.clone();
        let count = |owners: std::ops::Range<usize>| -> usize {
            files.iter().map(|file| owners.clone().map(|owner| file.count(owner)).sum::<usize>()).sum()
        };
        count(0..OWNERS) <= LIMITS.in_all && count(client * 2..client * 2 + 2) <= LIMITS.of_client
    }

    fn grows(&self, by: usize, after: &ModelFile, file: usize) -> bool {
        after.count(by) > self.files[file].count(by)
    }

    fn rights(&mut self) -> Rights {
        Rights { read: self.chance.below(2) == 1, write: self.chance.below(4) == 1 }
    }

    fn change_range(&mut self, file: usize, by: usize) {
        let (one, other) = (self.chance.below(BYTES), self.chance.below(BYTES));
        let (first, last) = (one.min(other), one.max(other));
        // All but the very last byte has the length that means to the end.
        let last = if (first, last) == (0, BYTES - 2) { BYTES - 1 } else { last };
        let kind =
            [None, Some(LockKind::Read), Some(LockKind::Read), Some(LockKind::Write)][self.chance.below(4)];
        let number = InodeNumber(file as u64);
        let denied = kind.map_or(Vec::new(), |kind| self.files[file].denied(by, kind, first, last));
        if let Some(kind) = kind {
            let tested = self.table.test(number, &name_of(by), kind, between(first, last));
            assert_eq!(tested.is_none(), denied.is_empty(), "{tested:?}, {denied:?}");
            let named = tested.as_ref().is_none_or(|tested| is_among(tested, &denied));
            assert!(named, "{tested:?} is not among {denied:?}");
        }
        let mut after = self.files[file].clone();
        after.bytes[first..=last].iter_mut().for_each(|byte| byte[by] = kind);
        let fits = !self.grows(by, &after, file) || self.within_limits(by / 2, &after, file);
        let answer = match kind {
            Some(kind) => self.table.lock(number, &name_of(by), kind, between(first, last)),
            None => self.table.unlock(number, &name_of(by), between(first, last)),
        };
        match answer {
            Err(LockError::Denied(by)) => assert!(is_among(&by, &denied), "{by:?} is not among {denied:?}"),
            Err(LockError::TooMany) => assert!(denied.is_empty() && !fits, "there is room"),
            Ok(()) => {
                assert!(denied.is_empty() && fits, "granted against {denied:?}");
                self.files[file] = after;
            }
        }
    }

    fn change_open(&mut self, file: usize, by: usize) {
        let mode = OpenMode { access: self.rights(), deny: self.rights() };
        let number = InodeNumber(file as u64);
        let others = self.files[file].opens.iter().filter(|(owner, _)| **owner != by);
        let others: Vec<_> = others.map(|(owner, modes)| (*owner, union(modes))).collect();
        let named = |held: &[(usize, OpenMode)]| -> Vec<OpenDenied> {
            held.iter().map(|(owner, mode)| OpenDenied { owner: name_of(*owner), mode: *mode }).collect()
        };
        let denying: Vec<_> =
            others.iter().copied().filter(|(_, held)| meets(mode.access, held.deny)).collect();
        let conflict = self.table.conflicts(number, mode.access, Some(&name_of(by)));
        assert_eq!(conflict.is_none(), denying.is_empty());
        assert!(conflict.is_none_or(|conflict| named(&denying).contains(&conflict)));
        if self.chance.below(3) == 0 {
            let modes = self.files[file].opens.get(&by).cloned();
            let answer = self.table.downgrade(number, &name_of(by), mode);
            let Some(mut modes) = modes else { return assert_eq!(answer, Err(OpenError::NotOpen)) };
            modes.retain(|opened| union(&[*opened, mode]) == mode);
            if modes.is_empty() || union(&modes) != mode {
                return assert_eq!(answer, Err(OpenError::NoSuchMode));
            }
            assert_eq!(answer, Ok(()));
            self.files[file].opens.insert(by, modes);
            return;
        }
        let against = |held: &OpenMode| meets(mode.access, held.deny) || meets(mode.deny, held.access);
        let against: Vec<_> = others.into_iter().filter(|(_, held)| against(held)).collect();
        let mut after = self.files[file].clone();
        after.opens.entry(by).or_default().push(mode);
        let fits = !self.grows(by, &after, file) || self.within_limits(by / 2, &after, file);
        match self.table.open(number, &name_of(by), mode) {
            Err(OpenError::Denied(denied)) => assert!(named(&against).contains(&denied)),
            Err(error) => assert!(error == OpenError::TooMany && against.is_empty() && !fits, "{error}"),
            Ok(()) => {
                assert!(against.is_empty() && fits, "opened against {against:?}");
                self.files[file] = after;
            }
        }
    }

    fn release(&mut self, by: usize) {
        let owners = if self.chance.below(2) == 0 {
            self.table.release_owner(&name_of(by));
            by..by + 1
        } else {
            self.table.release_client(by as u64 / 2);
            by / 2 * 2..by / 2 * 2 + 2
        };
        for file in &mut self.files {
            for owner in owners.clone() {
                file.bytes.iter_mut().for_each(|byte| byte[owner] = None);
                file.opens.remove(&owner);
            }
        }
    }

    fn step(&mut self) {
        let (file, by) = (self.chance.below(FILES), self.chance.below(OWNERS));
        match self.chance.below(40) {
            0 => self.release(by),
            1..4 => {
                let was_open = self.files[file].opens.remove(&by).is_some();
                assert_eq!(self.table.close(InodeNumber(file as u64), &name_of(by)), was_open);
            }
            4..14 => self.change_open(file, by),
            _ => self.change_range(file, by),
        }
        self.check();
    }

    /// Counts and modes of the model; and that segments are few, sorted, apart, and as the model has them.
    fn check(&self) {
        let mut total = 0;
        for (at, model) in self.files.iter().enumerate() {
            let number = InodeNumber(at as u64);
            for by in 0..OWNERS {
                total += model.count(by);
                let mode = model.opens.get(&by).map(|modes| union(modes));
                assert_eq!(self.table.open_mode(number, &name_of(by)), mode);
                assert_eq!(self.table.holds(number, &name_of(by)), !model.runs(by).is_empty());
            }
            let state = self.table.state.lock();
            let segments = state.files.get(&number).map_or(0, |file| file.ranges.check());
            let differs = |place: &usize| model.bytes[*place] != model.bytes[place - 1];
            let is_held = |place: usize| model.bytes[place].iter().any(Option::is_some);
            let wanted =
                (0..BYTES).filter(|place| is_held(*place) && (*place == 0 || differs(place))).count();
            assert_eq!(segments, wanted, "segments that should be one");
        }
        assert_eq!(self.table.count(), total);
        let state = self.table.state.lock();
        let used = self.files.iter().filter(|file| (0..OWNERS).any(|by| file.count(by) > 0)).count();
        assert_eq!(state.files.len(), used, "what is empty is forgotten");
        let counted: usize = state.clients.values().map(|client| client.count).sum();
        assert_eq!(counted, total);
    }
}

#[test]
fn random_requests_are_answered_as_by_the_model() {
    let given = std::env::var("TIDEGATE_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seeds = given.map_or(vec![1, 2, u64::from(std::process::id())], |seed: u64| vec![seed]);
    for seed in seeds {
        println!("TIDEGATE_SEED={seed}");
        let chance = Chance((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut world = World {
            chance,
            table: LockTable::new(LIMITS),
            files: std::array::from_fn(|_| ModelFile::default()),
        };
        for _ in 0..20_000 {
            world.step();
        }
    }
}
