//! Goal: what is read and what is not; what cannot be read; what is torn; what is refused.
//! Method: small models.

use tidegate_replicator::backup::{BackupError, Late, Options, Trust};
use tidegate_replicator::map::Kind;

use super::model::Model;
use super::scene::Scene;

const USUAL: Options = Options { rescan: false, allow_empty: false };
const EMPTY_TOO: Options = Options { allow_empty: true, ..USUAL };

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
    let outcome = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!(outcome.report.left_out, 2);
    let named: Vec<_> = outcome.report.left_out_paths.iter().map(|left| left.path.clone()).collect();
    assert_eq!(named.len(), 1, "{named:?}");
    let (names, _) = scene.read(&outcome).await;
    assert_eq!(names.into_keys().collect::<Vec<_>>(), [&b""[..], b"docs", b"docs/two", b"top"]);
    model.unreadable.clear();
    let healed = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!(scene.read(&healed).await.0.len(), 6);
    // What could be read before and cannot now is not there either.
    model.touch(model.at("top"));
    model.unreadable.insert(model.at("top"));
    let outcome = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!(scene.read(&outcome).await.0.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_between_listing_and_reading_was_never_there_but_one_name_of_several_is_missed() {
    let (mut scene, mut model) = (Scene::new(), small());
    scene.run(&mut model, USUAL).await.unwrap();
    model.write(model.at("docs/two"), b"TWO");
    model.file("new", b"new");
    model.fleeting.extend([b"docs/two".to_vec(), b"new".to_vec()]);
    let outcome = scene.run(&mut model, USUAL).await.unwrap();
    let report = &outcome.report;
    assert_eq!((report.left_out, report.names, report.new, report.gone), (0, 4, 0, 1), "{report:?}");
    let (names, _) = scene.read(&outcome).await;
    assert_eq!(names.into_keys().collect::<Vec<_>>(), [&b""[..], b"docs", b"docs/one", b"top"]);
    // Another name of the file may still be there.
    model.link(model.at("docs/one"), b"again");
    model.fleeting.extend([b"again".to_vec(), b"docs/one".to_vec()]);
    let outcome = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!(outcome.report.left_out, 2);
    assert_eq!(scene.read(&outcome).await.0.len(), 3);
    model.fleeting.clear();
    let healed = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!(scene.read(&healed).await.0.len(), model.names.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_turns_out_to_be_unreadable_after_it_was_read_is_taken_back_whole() {
    let (mut scene, mut model) = (Scene::new(), small());
    let bad = |why: &str| Late::Unreadable(why.to_owned());
    let (one, new) = (model.at("docs/one"), model.file("new", &vec![7; 30_000]));
    model.files.get_mut(&new).unwrap().extended.insert(b"user.a".to_vec(), b"b".to_vec());
    model.late.insert(new, bad("the disk is on fire"));
    let first = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!((first.report.left_out, first.report.new), (1, 4));
    assert_eq!(first.report.left_out_paths[0].why, "the disk is on fire");
    assert!(!scene.read(&first).await.0.contains_key(&b"new"[..]));
    // One that the run before has, with other data, under two names, and attributes that come and stay.
    model.late.clear();
    model.link(one, b"again");
    model.files.get_mut(&one).unwrap().extended.insert(b"user.old".to_vec(), b"1".to_vec());
    let whole = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!(scene.read(&whole).await.0.len(), model.names.len());
    model.write(one, &vec![9; 50_000]);
    model.files.get_mut(&one).unwrap().extended.insert(b"user.new".to_vec(), b"2".to_vec());
    model.late.insert(one, bad("Input/output error"));
    let outcome = scene.run(&mut model, USUAL).await.unwrap();
    let report = &outcome.report;
    assert_eq!((report.left_out, report.gone, report.changed), (2, 1, 0), "{report:?}");
    let (names, _) = scene.read(&outcome).await;
    assert_eq!(names.into_keys().collect::<Vec<_>>(), [&b""[..], b"docs", b"docs/two", b"new", b"top"]);
    model.late.clear();
    let healed = scene.run(&mut model, USUAL).await.unwrap();
    let (names, files) = scene.read(&healed).await;
    assert_eq!(files[&names[&b"again"[..]]].bytes(), vec![9; 50_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_torn_is_read_again_by_the_next_run_until_it_is_not() {
    let (mut scene, mut model) = (Scene::new(), small());
    model.short.insert(model.at("docs/one"));
    model.late.insert(model.at("docs/two"), Late::Torn);
    let first = scene.run(&mut model, USUAL).await.unwrap();
    let torn: Vec<_> = first.report.torn_paths.iter().map(|torn| torn.path.clone()).collect();
    assert_eq!((first.report.torn, first.report.left_out), (2, 0));
    assert_eq!(torn, ["/docs/one", "/docs/two"]);
    opened(&mut model);
    let second = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!((second.report.torn, opened(&mut model)), (2, vec!["docs/one".into(), "docs/two".into()]));
    model.short.clear();
    model.late.clear();
    scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!(opened(&mut model), ["docs/one", "docs/two"]);
    let last = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!((last.report.torn, opened(&mut model)), (0, Vec::new()));
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
    // What is there and cannot be read is not nothing, whatever is allowed.
    for options in [USUAL, EMPTY_TOO] {
        let lost = scene.run(&mut gone, options).await;
        let Err(BackupError::NothingRead { path, why }) = &lost else { panic!("{lost:?}") };
        assert_eq!((&path[..], &why[..]), ("/top", "permission denied"));
    }
    let again = scene.run(&mut model, USUAL).await.unwrap();
    assert_eq!(again.root, before.root);
    let emptied = scene.run(&mut Model::new(), EMPTY_TOO).await.unwrap();
    assert_eq!(scene.read(&emptied).await.0.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_without_anything_in_it_is_empty_and_so_is_content_without_a_byte() {
    let (mut scene, mut model) = (Scene::new(), Model::new());
    model.folder("srv");
    model.folder("srv/data");
    scene.run(&mut model, USUAL).await.unwrap();
    model.frame = vec![b"srv".to_vec(), b"srv/data".to_vec()];
    let empty = scene.run(&mut model, USUAL).await;
    assert!(matches!(empty, Err(BackupError::Empty)), "{empty:?}");
    let allowed = scene.run(&mut model, EMPTY_TOO).await.unwrap();
    assert_eq!(scene.read(&allowed).await.0.len(), 3);
    model.folder("srv/data/any");
    scene.run(&mut model, USUAL).await.unwrap();
    // What a command writes.
    let mut written = Model::new();
    written.trust = Some(Trust::Content);
    let output = written.file("output", b"");
    let empty = scene.run(&mut written, USUAL).await;
    assert!(matches!(empty, Err(BackupError::Empty)), "{empty:?}");
    let allowed = scene.run(&mut written, EMPTY_TOO).await.unwrap();
    assert_eq!(scene.read(&allowed).await.0.len(), 2);
    written.write(output, b"x");
    scene.run(&mut written, USUAL).await.unwrap();
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
