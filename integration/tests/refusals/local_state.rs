//! Claims about local state that is in use, belongs elsewhere, or is damaged.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use tidegate_integration::attempt::picture;
use tidegate_integration::gateway::Gateway;
use tidegate_integration::nfs::Nfs;

use super::{Place, assert_untouched};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_state_is_used_by_one_process_at_a_time() {
    let mut place = Place::used().await;
    place.gateway.start();
    let place_of = place.folder.path().display().to_string();
    let same_socket = place.gateway.attempt(&["serve"]);
    same_socket.assert_refused(5, &["admin.sock", "is running already", "stop it first"], &place.secrets());

    let other = place.path("other");
    fs::create_dir(&other).expect("a folder");
    let second = Gateway::configure(&other, &place.gateway.repository(), &place.gateway.key());
    let text = fs::read_to_string(second.settings()).expect("settings");
    let data = format!("{place_of}/data\"");
    fs::write(second.settings(), text.replace(&format!("{}/data\"", other.display()), &data))
        .expect("settings");
    for command in [&["serve"] as &[_], &["attach", "files"]] {
        let says = [place_of.as_str(), "in use", "data folder of its own"];
        second.attempt(command).assert_refused(5, &says, &place.secrets());
    }
    let mut nfs = Nfs::connect(place.gateway.address()).await;
    let file = nfs.find(b"file").await.expect("the first one serves on");
    assert_eq!(nfs.read(&file, 0, 100).await.expect("it can be read"), b"content");
    place.gateway.commit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_state_of_another_repository_is_not_mixed_in() {
    let mut place = Place::used().await;
    let other = Place::used().await;
    let own = format!("{}/repository\"", place.folder.path().display());
    let foreign = format!("{}/repository\"", other.folder.path().display());
    let key = fs::read(place.gateway.key()).expect("the key");
    place.edit(|text| text.replace(&own, &foreign));
    fs::copy(other.gateway.key(), place.gateway.key()).expect("a writable folder");
    let before = (picture(&place.gateway.repository()), other.picture());
    let says = ["belongs to repository", "use another data folder"];
    place.gateway.attempt(&["serve"]).assert_refused(3, &says, &place.secrets());
    assert_untouched(&before.0, &picture(&place.gateway.repository()));
    assert_untouched(&before.1, &other.picture());

    place.edit(|text| text.replace(&foreign, &own));
    fs::write(place.gateway.key(), key).expect("a writable folder");
    place.gateway.start();
    let mut nfs = Nfs::connect(place.gateway.address()).await;
    let file = nfs.find(b"file").await.expect("with its own repository it serves as before");
    assert_eq!(nfs.read(&file, 0, 100).await.expect("it can be read"), b"content");
}

/// What must stay as it is of local state that was opened: all but RocksDB's own files, the room that the
/// journal sets aside, and the socket of a gateway that was killed.
fn stable(place: &Place) -> std::collections::BTreeMap<PathBuf, String> {
    let data = place.gateway.data();
    let mut picture = place.picture();
    let is_room = |path: &PathBuf| path.extension().is_some_and(|found| found == "new" || found == "sock");
    picture.retain(|path, _| !path.starts_with(data.join("meta")) && !is_room(path));
    picture
}

/// The segments of the journal that hold anything, oldest first.
fn segments(gateway: &Gateway) -> Vec<PathBuf> {
    let entries = fs::read_dir(gateway.data().join("journal")).expect("a journal");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut segments: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|found| found == "log")).collect();
    segments.sort();
    segments
}

/// A gateway that was killed after so many files were acknowledged, none of which is published; where
/// the content of each lies in the journal.
async fn unpublished(files: usize) -> (Place, Vec<(PathBuf, u64)>) {
    let mut place = Place::new();
    place.edit(|text| text.replace("rpo = \"1s\"", "rpo = \"1d\""));
    place.gateway.start();
    let mut nfs = Nfs::connect(place.gateway.address()).await;
    let root = nfs.root();
    for number in 0..files {
        let file = nfs.create(&root, format!("file-{number}").as_bytes()).await.expect("a file");
        nfs.write(&file, 0, &content(number)).await.expect("a write");
    }
    place.gateway.kill();
    let all: Vec<_> =
        segments(&place.gateway).into_iter().map(|path| (fs::read(&path).expect("readable"), path)).collect();
    let find = |number: usize| {
        let wanted = content(number);
        let at = |bytes: &[u8]| bytes.windows(wanted.len()).position(|window| window == wanted);
        all.iter().find_map(|(bytes, path)| Some((path.clone(), at(bytes)? as u64))).expect("it is there")
    };
    let places = (0..files).map(find).collect();
    (place, places)
}

/// Recognised in the journal.
fn content(number: usize) -> Vec<u8> {
    format!("the content of file {number}, which nobody else has").into_bytes()
}

fn spoil(path: &PathBuf, offset: u64) {
    let file = fs::File::options().write(true).open(path).expect("a writable file");
    file.write_all_at(b"SPOILT", offset).expect("a writable file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_of_the_journal_is_cut_at_the_last_whole_record_and_said() {
    let (mut place, places) = unpublished(5).await;
    let (path, offset) = &places[4];
    spoil(path, *offset);
    place.gateway.start();
    let mut nfs = Nfs::connect(place.gateway.address()).await;
    for number in 0..4 {
        let file = nfs.find(format!("file-{number}").as_bytes()).await.expect("it is there");
        assert_eq!(nfs.read(&file, 0, 100).await.expect("it can be read"), content(number));
    }
    let file = nfs.find(b"file-4").await.expect("it was made before it was written");
    assert_eq!(
        nfs.read(&file, 0, 100).await.expect("it can be read"),
        b"",
        "of a torn record nothing is left"
    );
    let log = place.gateway.log();
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let said = log.lines().any(|line| line.contains("torn") && line.contains(&name));
    assert!(said, "the log says that {name} was cut:\n{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_is_damaged_before_its_tail_is_refused_and_salvaged() {
    let (mut place, places) = unpublished(5).await;
    let (path, offset) = &places[1];
    spoil(path, *offset);
    let before = stable(&place);
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let says = [name.as_str(), "is damaged at byte", "acknowledged changes may be lost", "keep the folder"];
    for _ in 0..2 {
        place.gateway.attempt(&["serve"]).assert_refused(9, &says, &place.secrets());
        assert_untouched(&before, &stable(&place));
    }

    let (journal, salvaged) = (place.gateway.data().join("journal"), place.path("salvaged"));
    let to = salvaged.display().to_string();
    let ended = place.gateway.attempt(&["journal", "salvage", "--to", &to]);
    assert_eq!(ended.code, Some(12), "{ended:?}");
    assert!(ended.out.contains(&name), "what is lost is named: {ended:?}");
    assert!(ended.verdict().contains("in its place"), "{ended:?}");
    fs::rename(&journal, place.path("damaged")).expect("a writable folder");
    fs::rename(&salvaged, &journal).expect("a writable folder");
    place.gateway.start();
    let mut nfs = Nfs::connect(place.gateway.address()).await;
    for number in [0, 2, 3, 4] {
        let file = nfs.find(format!("file-{number}").as_bytes()).await.expect("it is there");
        assert_eq!(nfs.read(&file, 0, 100).await.expect("it can be read"), content(number));
    }
}
