//! Claims about places that hold no repository, a repository already, or a newer one; and about
//! repositories and folders that somebody else uses.

use std::fs;
use std::path::Path;

use tidegate_integration::gateway::Gateway;
use tidegate_integration::nfs::Nfs;

use super::{Place, assert_untouched};

#[test]
fn a_folder_without_a_repository_is_not_taken_for_one() {
    let place = Place::new();
    let other = place.path("photographs");
    fs::create_dir(&other).expect("a folder");
    fs::write(other.join("holiday.jpg"), b"not a repository").expect("a file");
    place.edit(|text| text.replace("/repository\"", "/photographs\""));
    let before = place.picture();
    for command in [&["serve"] as &[_], &["attach", "files"], &["key", "list"]] {
        let says = ["photographs", "holds no repository", "check the address"];
        place.gateway.attempt(command).assert_refused(4, &says, &place.secrets());
        assert_untouched(&before, &place.picture());
    }
}

#[test]
fn a_folder_that_is_not_there_is_not_taken_for_a_repository() {
    let place = Place::new();
    place.edit(|text| text.replace("/repository\"", "/repositroy\""));
    let before = place.picture();
    for command in [&["serve"] as &[_], &["attach", "files"], &["key", "list"]] {
        let says = ["repositroy", "No such file", "check the target in the settings"];
        place.gateway.attempt(command).assert_refused(3, &says, &place.secrets());
        assert_untouched(&before, &place.picture());
    }
}

#[test]
fn init_makes_no_repository_over_anything() {
    let place = Place::new();
    let before = place.picture();
    let says = ["already holds a repository", "choose another prefix"];
    place.gateway.attempt(&["init"]).assert_refused(5, &says, &place.secrets());
    assert_untouched(&before, &place.picture());

    let full = place.path("photographs");
    fs::create_dir(&full).expect("a folder");
    fs::write(full.join("holiday.jpg"), b"not a repository").expect("a file");
    place.edit(|text| text.replace("/repository\"", "/photographs\""));
    let before = place.picture();
    let says = ["is not empty", "holiday.jpg", "choose another prefix"];
    place.gateway.attempt(&["init"]).assert_refused(5, &says, &place.secrets());
    assert_untouched(&before, &place.picture());
}

/// Writes `config` anew, as a program would that knows another version.
fn rewrite_config(repository: &Path, change: impl FnOnce(Vec<u8>, Vec<u8>) -> (Vec<u8>, Vec<u8>)) {
    let path = repository.join("config");
    let object = fs::read(&path).expect("config");
    let (mut header, payload) = change(object[..16].to_vec(), object[48..].to_vec());
    let bound = [&header, &[0; 32][..], &6_u32.to_le_bytes(), b"config", &payload].concat();
    header.extend_from_slice(blake3::hash(&bound).as_bytes());
    fs::write(path, [header, payload].concat()).expect("a writable folder");
}

#[test]
fn a_newer_format_is_left_to_newer_programs() {
    type Change = fn(Vec<u8>, Vec<u8>) -> (Vec<u8>, Vec<u8>);
    let newer_object: Change = |mut header, payload| {
        header[8] = 2;
        (header, payload)
    };
    let newer_payload: Change = |header, payload| {
        let text = String::from_utf8(payload).expect("JSON");
        let newer = text.replacen("\"version\":1", "\"version\":2", 1);
        assert_ne!(text, newer, "the version is there");
        (header, newer.into_bytes())
    };
    for change in [newer_object, newer_payload] {
        let place = Place::new();
        rewrite_config(&place.gateway.repository(), change);
        let before = place.picture();
        for command in [&["serve"] as &[_], &["attach", "files"], &["key", "list"]] {
            let says = ["config", "newer program", "use that one"];
            place.gateway.attempt(command).assert_refused(1, &says, &place.secrets());
            assert_untouched(&before, &place.picture());
        }
    }
}

#[test]
fn a_damaged_config_is_not_served() {
    let place = Place::new();
    let path = place.gateway.repository().join("config");
    let mut object = fs::read(&path).expect("config");
    object[60] ^= 1;
    fs::write(&path, object).expect("a writable folder");
    let before = place.picture();
    for command in [&["serve"] as &[_], &["attach", "files"], &["key", "list"]] {
        place.gateway.attempt(command).assert_refused(9, &["file://", "config is damaged"], &place.secrets());
        assert_untouched(&before, &place.picture());
    }
}

/// Heads in a repository.
fn heads(repository: &Path) -> usize {
    let shares = fs::read_dir(repository.join("heads")).expect("heads");
    let heads = |share: fs::DirEntry| fs::read_dir(share.path()).expect("a share").count();
    shares.map(|share| heads(share.expect("an entry"))).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_has_lost_a_share_publishes_nothing_more_and_says_who_has_it() {
    let mut place = Place::used().await;
    place.gateway.start();
    let folder = place.path("second");
    fs::create_dir(&folder).expect("a folder");
    let mut second = Gateway::attach(&folder, &place.gateway.repository(), &place.gateway.key());
    second.start();
    let mut nfs = Nfs::connect(place.gateway.address()).await;
    let root = nfs.root();
    let late = nfs.create(&root, b"late").await;
    println!("a change at the first gateway meanwhile: {:?}", late.as_ref().map(drop));
    let says = ["another gateway leads this share now"];
    place.gateway.attempt(&["commit", "files"]).assert_refused(10, &says, &place.secrets());
    let before = heads(&place.gateway.repository());
    assert!(nfs.create(&root, b"later").await.is_err(), "it takes no more changes");
    let says = ["this gateway does not lead the share"];
    place.gateway.attempt(&["commit", "files"]).assert_refused(10, &says, &place.secrets());
    assert!(place.gateway.stop().success(), "it stops well:\n{}", place.gateway.log());
    assert_eq!(heads(&place.gateway.repository()), before, "it publishes nothing more");
    let mut nfs = Nfs::connect(second.address()).await;
    let root = nfs.root();
    nfs.create(&root, b"later").await.expect("the second gateway leads");
    second.commit();
}
