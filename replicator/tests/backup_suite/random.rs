//! Goal: whatever happens to a tree of files between two runs, the new root holds what is there, under rules of maps, and
//! nothing else; a run that is cut anywhere changes nothing and the next one makes up for it.
//! Method: random edits of a model; `TIDEGATE_SEED` repeats a run.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;

use tidegate_replicator::backup::Options;
use tidegate_replicator::map::Kind;

use super::model::{File, Model};
use super::scene::{Patience, Scene};

pub(crate) struct Chance(u64);

impl Chance {
    fn announced(test: &str) -> Self {
        let given = std::env::var("TIDEGATE_SEED").ok().map(|seed| seed.parse().unwrap());
        let random = || u64::from(std::process::id()) ^ std::ptr::from_ref(&test) as u64;
        let seed = given.unwrap_or_else(random);
        println!("{test}: TIDEGATE_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    fn data(&mut self) -> Vec<u8> {
        let length = self.pick(&[0_u64, 1, 100, 5_000, 40_000]);
        let kind = self.below(6);
        (0..length).map(|at| if kind < 3 { (at / 1000 + kind) as u8 } else { self.next() as u8 }).collect()
    }

    fn name(&mut self) -> Vec<u8> {
        let names: [&[u8]; 9] = [b"a", b"b", b"a.b", b"\xff\xfe", b" ", b"-", b"a\n", b"z\\", b"long name"];
        let name = self.pick(&names).to_vec();
        if self.below(3) == 0 { [&name[..], self.below(30).to_string().as_bytes()].concat() } else { name }
    }
}

const KINDS: [Kind; 8] = [
    Kind::Regular,
    Kind::Regular,
    Kind::Regular,
    Kind::Directory,
    Kind::Directory,
    Kind::Symlink,
    Kind::Fifo,
    Kind::Character,
];

fn edit(model: &mut Model, chance: &mut Chance) {
    let folder = chance.pick(&model.folders());
    let name = chance.name();
    let path = if folder.is_empty() { name } else { [&folder[..], b"/", &name].concat() };
    let names: Vec<_> = model.names.keys().filter(|path| !path.is_empty()).cloned().collect();
    match chance.below(12) {
        0..4 => {
            if model.names.contains_key(&path) {
                model.remove(&path);
            }
            fill(model, &path, chance);
        }
        4 if !names.is_empty() => model.remove(&chance.pick(&names)),
        5 | 6 if !names.is_empty() => model.rename(&chance.pick(&names), &path),
        7 | 8 if !names.is_empty() => {
            let number = model.names[&chance.pick(&names)];
            if model.files[&number].kind != Kind::Directory && !model.names.contains_key(&path) {
                model.link(number, &path);
            }
        }
        9 if !names.is_empty() => change(model, &chance.pick(&names), chance),
        _ if !names.is_empty() => {
            let number = model.names[&chance.pick(&names)];
            if model.files[&number].kind == Kind::Regular {
                model.write(number, &chance.data());
            }
        }
        _ => {}
    }
}

fn fill(model: &mut Model, path: &[u8], chance: &mut Chance) {
    let kind = chance.pick(&KINDS);
    let number = model.make(path, kind);
    let data = chance.data();
    let file = model.files.get_mut(&number).unwrap();
    match kind {
        Kind::Regular => {
            let hole = chance.pick(&[0_u64, 0, 10_000, 1 << 20]);
            file.size = hole + data.len() as u64 + chance.pick(&[0_u64, 0, 70_000]);
            if !data.is_empty() {
                file.data.insert(hole, data);
            }
        }
        Kind::Symlink => file.target = path.to_vec(),
        Kind::Character => file.device = chance.below(3) as u32,
        _ => {}
    }
}

fn change(model: &mut Model, path: &[u8], chance: &mut Chance) {
    let number = model.names[path];
    model.touch(number);
    let file = model.files.get_mut(&number).unwrap();
    file.mode = chance.pick(&[0o644, 0o600, 0o4755]);
    file.owner = chance.below(5) as u32;
    if matches!(file.kind, Kind::Regular | Kind::Directory) {
        let attribute = format!("user.{}", chance.below(3)).into_bytes();
        if file.extended.remove(&attribute).is_none() {
            file.extended.insert(attribute, chance.data());
        }
    }
}

/// A map says what the model does: same names, same files behind them, same links.
async fn holds(scene: &Scene, outcome: &tidegate_replicator::backup::Outcome, model: &Model) {
    let (names, files) = scene.read(outcome).await;
    let paths: Vec<_> = names.keys().collect();
    assert_eq!(paths, model.names.keys().collect::<Vec<_>>());
    let mut ours: BTreeMap<u64, u64> = BTreeMap::new();
    for (path, number) in &names {
        let theirs = model.names[path];
        assert_eq!(*ours.entry(theirs).or_insert(*number), *number, "links stay links: {path:?}");
        let (is, meant) = (&files[number], &model.files[&theirs]);
        assert_eq!(is.bytes(), meant.bytes(), "{path:?}");
        let plain = |file: &File| File { data: BTreeMap::new(), ..file.clone() };
        assert_eq!(plain(is), plain(meant), "{path:?}");
        let used = |file: &File| file.data.values().map(|data| data.len() as u64).sum::<u64>();
        assert_eq!(used(is), used(meant), "holes stay holes: {path:?}");
    }
    assert_eq!(files.len(), model.files.len(), "nothing without a name is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_holds_what_the_source_has_whatever_happened_to_it() {
    let mut chance = Chance::announced("whatever happened");
    for memory_bytes in [0, 2 << 10, 1 << 20] {
        let (mut scene, mut model) = (Scene::new(), Model::new());
        scene.memory_bytes = memory_bytes;
        for _ in 0..12 {
            for _ in 0..chance.pick(&[0_u64, 1, 5, 60]) {
                edit(&mut model, &mut chance);
            }
            let rescan = chance.below(4) == 0;
            let options = Options { rescan, allow_empty: true };
            let outcome = scene.run(&mut model, options).await.unwrap();
            holds(&scene, &outcome, &model).await;
            let again = scene.run(&mut model, Options { rescan: true, allow_empty: true }).await.unwrap();
            assert_eq!(again.root.id, outcome.root.id, "what did not change makes the same root");
            assert_eq!(again.data.duplicates, again.data.chunks);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cut_anywhere_is_made_up_for_by_the_next() {
    let mut chance = Chance::announced("cut anywhere");
    let (mut scene, mut model) = (Scene::new(), Model::new());
    let options = Options { allow_empty: true, ..Options::default() };
    for round in 0..4 {
        for _ in 0..50 {
            edit(&mut model, &mut chance);
        }
        for looks in (0..).step_by(1 + 7 * round) {
            let cut = scene.try_run(&mut model, options, Patience(AtomicI64::new(looks))).await;
            if cut.is_ok() {
                break;
            }
        }
        for packs in 0..3 {
            scene.allow_packs(packs);
            let _ = scene.try_run(&mut model, options, Patience::endless()).await;
        }
        scene.allow_packs(i64::MAX);
        let outcome = scene.run(&mut model, options).await.unwrap();
        holds(&scene, &outcome, &model).await;
    }
}
