//! Goal: what is read and what is not; what cannot be read; what is torn; what is refused.
//! Method: small models.

use tidegate_replicator::backup::{BackupError, Options, Trust};
use tidegate_replicator::map::Kind;

use super::model::Model;
use super::scene::Scene;

const USUAL: Options = Options { rescan: false, allow_empty: false };

fn small() -> Model {
    let mut model = Model::new();
    model.folder("docs");
    model.file("docs/one", b"one");
    model.file("docs/two", b"two");
    model.file("top", b"top");
    model
}

fn opened(model: &mut Model) -> Vec<String> {
    model.opened.drain(..).map(|path| String::from_utf8(path).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_looks_changed_is_read_unless_everything_is_to_be() {
    let (mut scene, mut model) = (Scene::new(), small());
    let first = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!((first.report.new, first.report.changed, first.report.names), (4, 0, 5));
    assert_eq!(opened(&mut model).len(), 5);
    let second = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!((second.root, second.entries_changed, second.report.not_read), (first.root, 0, 3));
    assert_eq!(opened(&mut model), [""; 0]);
    model.write(model.at("docs/two"), b"TWO");
    let third = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!(opened(&mut model), ["docs/two"]);
    assert_eq!((third.report.new, third.report.changed, third.report.gone), (0, 1, 0));
    scene.run(&mut model, Options { rescan: true, ..USUAL }).await.unwrap();
    assert_eq!(opened(&mut model).len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_hides_behind_its_attributes_is_found_by_reading_everything() {
    let (mut scene, mut model) = (Scene::new(), small());
    let first = scene.run(&mut model, USUAL).await.unwrap();
    let number = model.at("top");
    model.files.get_mut(&number).unwrap().data.insert(0, b"TOP".to_vec());
    let fooled = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!(fooled.root.id, first.root.id);
    let found = scene.run(&mut model, Options { rescan: true, ..USUAL }).await.unwrap();
    assert_ne!(found.root.id, first.root.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_by_content_keeps_its_times_while_that_stays() {
    let (mut scene, mut model) = (Scene::new(), small());
    model.trust = Some(Trust::Content);
    let first = scene.run(&mut model, USUAL).await.unwrap();
    model.touch(model.at("top"));
    let second = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!(second.root.id, first.root.id);
    assert!(second.report.bytes_read > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_named_counted_and_left_out_of_its_folder() {
    let (mut scene, mut model) = (Scene::new(), small());
    model.link(model.at("docs/one"), b"again");
    model.unreadable.insert(model.at("docs/one"));
    model.fleeting.insert(b"docs/two".to_vec());
    let outcome = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!(outcome.report.left_out, 3);
    let named: Vec<_> = outcome.report.left_out_paths.iter().map(|left| left.path.clone()).collect();
    assert_eq!(named.len(), 2, "{named:?}");
    let (names, _) = scene.read(&outcome).await;
    assert_eq!(names.into_keys().collect::<Vec<_>>(), [&b""[..], b"docs", b"top"]);
    model.unreadable.clear();
    model.fleeting.clear();
    let healed = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!(scene.read(&healed).await.0.len(), 6);
    // What could be read before and cannot now is not there either.
    model.touch(model.at("top"));
    model.unreadable.insert(model.at("top"));
    let outcome = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!(scene.read(&outcome).await.0.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_read_is_read_again_and_then_kept_as_torn() {
    let (mut scene, mut model) = (Scene::new(), small());
    let (calm, restless) = (model.at("docs/one"), model.at("docs/two"));
    model.restless.insert(calm, 2);
    model.restless.insert(restless, 100);
    let outcome = scene.run(&mut model, USUAL).await.unwrap();
    let (names, files) = scene.read(&outcome).await;
    assert_eq!(files[&names[&b"docs/one"[..]]].bytes(), [1, 1, 1], "as it was in the end");
    assert_eq!((outcome.report.torn, outcome.report.left_out), (1, 0));
    assert_eq!(outcome.report.torn_paths[0].path, "/docs/two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_nothing_in_it_is_refused_unless_it_may_be_empty() {
    let (mut scene, mut model) = (Scene::new(), small());
    let empty = scene.run(&mut Model::new(), USUAL).await;
    assert!(matches!(empty, Err(BackupError::Empty)), "{empty:?}");
    let before = scene.run(&mut model, USUAL).await.unwrap();
    assert!(matches!(scene.run(&mut Model::new(), USUAL).await, Err(BackupError::Empty)));
    let mut gone = small();
    gone.remove(b"docs");
    gone.unreadable.insert(gone.at("top"));
    gone.touch(gone.at("top"));
    assert!(matches!(scene.run(&mut gone, USUAL).await, Err(BackupError::Empty)), "nothing of it is left");
    let again = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!(again.root, before.root);
    let emptied = scene.run(&mut Model::new(), Options { allow_empty: true, ..USUAL }).await.unwrap();
    assert_eq!(scene.read(&emptied).await.0.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_stay_with_names_and_one_that_is_put_in_its_place_changes_little() {
    let (mut scene, mut model) = (Scene::new(), small());
    let first = scene.run(&mut model, USUAL).await.unwrap();
    let before = scene.read(&first).await.0;
    model.file("new", b"new");
    model.rename(b"new", b"docs/one");
    model.make(b"link", Kind::Symlink);
    let second = scene.run(&mut model, USUAL).await.unwrap();
    let after = scene.read(&second).await.0;
    assert_eq!(after[&b"docs/one"[..]], before[&b"docs/one"[..]]);
    assert_eq!(after[&b"docs/two"[..]], before[&b"docs/two"[..]]);
}
