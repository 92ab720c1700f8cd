//! Keys as paths of a share, against a dumb model of the rules in `docs/semantics.md`: whatever is put and deleted, in whatever
//! order, no two keys lead to one file, what was taken is listed and read under its very key, and what cannot be a path is
//! refused and leaves nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tidegate_protocols::objects::{
    Conditions, CopySource, Metadata, NewObject, ObjectError, ObjectName, ObjectView,
};

use crate::scene::{FLAT, Scene, TREE, admin, name};

#[derive(Clone, Debug)]
enum Step {
    Put(String),
    /// Of whatever key, which most often is none that is there.
    Delete(String),
    /// Of a key that is there, by its place.
    DeleteOne(usize),
}

fn key() -> impl Strategy<Value = String> {
    let texts = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        proptest::sample::select(texts)
    };
    let name = prop_oneof![
        12 => texts(&["a", "b", "A"]),
        3 => texts(&["ä", "a\u{308}", "%61", "a\\b", "a b", ".snapshots", "..."]),
        1 => texts(&["", ".", "..", ".snapshot", "a\0"]),
        1 => (254..257_usize).prop_map(|length| "n".repeat(length)),
        1 => "\\PC{1,3}",
    ];
    let names = proptest::collection::vec(name, 1..6);
    (names, any::<bool>())
        .prop_map(|(names, is_folder)| format!("{}{}", names.join("/"), if is_folder { "/" } else { "" }))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => key().prop_map(Step::Put),
        1 => key().prop_map(Step::Delete),
        3 => (0..100_usize).prop_map(Step::DeleteOne),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What each key holds. One that ends with a slash is a folder, and holds nothing.
#[derive(Default)]
struct Model(BTreeMap<String, Vec<u8>>);

impl Model {
    fn is_file(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// Whether it is a folder: as a key of its own, or for what is in it.
    fn is_folder(&self, path: &str) -> bool {
        let begins = format!("{path}/");
        self.0.keys().any(|key| key.starts_with(&begins))
    }

    /// Puts a key if that can be.
    fn put(&mut self, key: &str, data: &[u8]) -> bool {
        let path = key.strip_suffix('/').unwrap_or(key);
        let refused = ["", ".", "..", ".snapshot"];
        let is_name = |name: &str| !refused.contains(&name) && !name.contains('\0') && name.len() <= 255;
        let is_path = key.len() <= 1024 && path.split('/').all(is_name);
        let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
        let is_taken = if key.ends_with('/') { self.is_file(path) } else { self.is_folder(path) };
        let can_be = is_path && !is_taken && !above.any(|folder| self.is_file(folder));
        if can_be {
            self.0.insert(key.to_owned(), data.to_vec());
        }
        can_be
    }

    fn one(&self, place: usize) -> Option<String> {
        let place = place.checked_rem(self.0.len())?;
        self.0.keys().nth(place).cloned()
    }
}

async fn check(steps: &[Step]) -> Result<(), TestCaseError> {
    let (scene, mut model) = (Scene::new().await, Model::default());
    for (number, step) in steps.iter().enumerate() {
        let deleted = match step {
            Step::Put(key) => {
                let data =
                    if key.ends_with('/') { Vec::new() } else { format!("of step {number}").into_bytes() };
                let put = scene.put(TREE, key, &data).await;
                let can_be = model.put(key, &data);
                prop_assert_eq!(put.is_ok(), can_be, "{:?} in step {}: {:?}", key, number, put);
                let is_said =
                    matches!(put, Ok(_) | Err(ObjectError::InvalidKey(_) | ObjectError::KeyTooLong));
                prop_assert!(is_said, "{:?}: {:?}", key, put);
                if !can_be && !model.0.contains_key(key) {
                    prop_assert_eq!(scene.get(TREE, key).await, Err(ObjectError::NoSuchKey), "{:?}", key);
                }
                None
            }
            Step::Delete(key) => Some(key.clone()),
            Step::DeleteOne(place) => model.one(*place),
        };
        if let Some(key) = deleted {
            prop_assert_eq!(scene.delete(TREE, &key).await, Ok(()), "{:?}", key);
            model.0.remove(&key);
        }
        let keys: Vec<String> = model.0.keys().cloned().collect();
        prop_assert_eq!(scene.keys(TREE).await, keys, "after step {}", number);
    }
    scene.appliance.commit(TREE).await.unwrap();
    for (key, data) in &model.0 {
        prop_assert_eq!(scene.get(TREE, key).await, Ok(data.clone()), "{:?}", key);
    }
    Ok(())
}

#[test]
fn keys_are_paths_as_the_rules_say() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config {
        cases: 16,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    });
    runner.run(&steps(), |steps| runtime.block_on(check(&steps))).unwrap();
}

async fn copy(scene: &Scene, from: &str, to: &ObjectName) -> Result<(), ObjectError> {
    let source = CopySource { name: name(TREE, from), version: None, conditions: Conditions::default() };
    scene.objects.copy(&admin(), &source, to, NewObject::default(), true, true).await.map(drop)
}

/// Whoever may make keys below `a/` may make the folder, and has no part in the file that the same name would be.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_to_the_key_of_a_folder_makes_a_folder_or_nothing() {
    let scene = Scene::new().await;
    let user = BTreeMap::from([("colour".to_owned(), "green".to_owned())]);
    let metadata = Metadata { user, ..Metadata::default() };
    scene.put(TREE, "a", b"old").await.unwrap();
    scene.put(TREE, "full", b"new").await.unwrap();
    let described = NewObject { metadata: metadata.clone(), ..NewObject::default() };
    scene.put_with(TREE, "empty", b"", described).await.unwrap();
    for (from, to) in [("full", "a/"), ("full", "b/"), ("full", "b/c/")] {
        let copied = copy(&scene, from, &name(TREE, to)).await;
        assert!(matches!(copied, Err(ObjectError::InvalidArgument(_))), "{from} to {to}: {copied:?}");
    }
    let copied = copy(&scene, "empty", &name(TREE, "a/")).await;
    assert!(matches!(copied, Err(ObjectError::InvalidKey(_))), "{copied:?}");
    assert_eq!(scene.get(TREE, "a").await.unwrap(), b"old");
    assert_eq!(scene.keys(TREE).await, ["a", "empty", "full"]);
    copy(&scene, "empty", &name(TREE, "b/")).await.unwrap();
    copy(&scene, "b/", &name(TREE, "c/")).await.unwrap();
    assert_eq!(scene.info(TREE, "c/").await.unwrap().metadata, metadata);
    scene.put(TREE, "c/d", b"in it").await.unwrap();
    assert_eq!(scene.keys(TREE).await, ["a", "b/", "c/", "c/d", "empty", "full"]);
    copy(&scene, "full", &name(FLAT, "a/")).await.unwrap();
    assert_eq!(
        scene.get(FLAT, "a/").await.unwrap(),
        b"new",
        "where keys are no paths it is a key like any other"
    );
}
