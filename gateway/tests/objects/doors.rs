//! A share through both doors: what NFS clients do and what S3 clients see, and the other way round.

use tidegate_gateway::namespace::{Credentials, NewFile};
use tidegate_protocols::objects::{
    Conditions, ListQuery, NewObject, ObjectError, ObjectView, UploadQuery, sums,
};
use tidegate_protocols::view::{FileView, SetAttributes};
use tidegate_replicator::map::{InodeNumber, Kind};

use crate::scene::{Scene, TREE, access_key, admin, buckets, name, who};
use crate::support::{context, create, lookup, read_all, write};

const ROOT_INODE: InodeNumber = InodeNumber::ROOT;

async fn folder(scene: &Scene, parent: InodeNumber, name: &[u8]) -> InodeNumber {
    let set = SetAttributes { mode: Some(0o755), ..SetAttributes::default() };
    let new = NewFile::new(Kind::Directory, set);
    let made = scene.namespace(TREE).make(context(), parent, name, new, None).await.unwrap();
    made.object.unwrap().number
}

#[tokio::test(flavor = "multi_thread")]
async fn each_door_reads_what_the_other_wrote() {
    let scene = Scene::new().await;
    let namespace = scene.namespace(TREE);
    scene.put(TREE, "a/b/by-s3", b"from s3").await.unwrap();
    let a = lookup(&namespace, ROOT_INODE, b"a").await.unwrap();
    let b = lookup(&namespace, a, b"b").await.unwrap();
    let file = lookup(&namespace, b, b"by-s3").await.unwrap();
    assert_eq!(read_all(&namespace, file).await.unwrap(), b"from s3");

    let file = create(&namespace, b, b"by-nfs").await.unwrap();
    write(&namespace, file, 0, b"from nfs").await.unwrap();
    assert_eq!(scene.get(TREE, "a/b/by-nfs").await.unwrap(), b"from nfs");
    let opaque = scene.info(TREE, "a/b/by-nfs").await.unwrap().etag;
    assert!(opaque.contains('-'), "{opaque} is not to be taken for an MD5");
    write(&namespace, file, 0, b"FROM").await.unwrap();
    assert_ne!(scene.info(TREE, "a/b/by-nfs").await.unwrap().etag, opaque);
}

#[tokio::test(flavor = "multi_thread")]
async fn nfs_clients_are_told_of_shares_and_not_of_buckets_of_objects() {
    let scene = Scene::new().await;
    let exports = scene.appliance.files().exports();
    let paths: Vec<_> = exports.iter().map(|export| String::from_utf8_lossy(&export.path)).collect();
    assert_eq!(paths, [format!("/{TREE}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etag_does_not_outlive_the_bytes_that_it_names() {
    let scene = Scene::new().await;
    let namespace = scene.namespace(TREE);
    scene.put(TREE, "key", b"data").await.unwrap();
    assert_eq!(scene.info(TREE, "key").await.unwrap().etag, sums::md5_hex(b"data"));
    let file = lookup(&namespace, ROOT_INODE, b"key").await.unwrap();
    write(&namespace, file, 0, b"D").await.unwrap();
    let etag = scene.info(TREE, "key").await.unwrap().etag;
    assert!(etag.contains('-') && scene.get(TREE, "key").await.unwrap() == b"Data");
    scene.put(TREE, "key", b"Data").await.unwrap();
    assert_eq!(scene.info(TREE, "key").await.unwrap().etag, sums::md5_hex(b"Data"));
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_s3_needed_go_with_their_last_object_and_others_stay() {
    let scene = Scene::new().await;
    let nfs = folder(&scene, ROOT_INODE, b"nfs").await;
    scene.put(TREE, "x/y/z/object", b"1").await.unwrap();
    scene.put(TREE, "nfs/sub/object", b"1").await.unwrap();
    scene.put(TREE, "kept/", b"").await.unwrap();
    scene.put(TREE, "kept/object", b"1").await.unwrap();
    let keys = ["kept/", "kept/object", "nfs/", "nfs/sub/object", "x/y/z/object"];
    assert_eq!(scene.keys(TREE).await, keys);
    for key in ["x/y/z/object", "nfs/sub/object", "kept/object"] {
        scene.delete(TREE, key).await.unwrap();
    }
    assert_eq!(scene.keys(TREE).await, ["kept/", "nfs/"]);
    assert!(lookup(&scene.namespace(TREE), ROOT_INODE, b"x").await.is_err());
    assert!(lookup(&scene.namespace(TREE), nfs, b"sub").await.is_err());
    // A folder with something in it is no key any more, but what is in it stays.
    scene.put(TREE, "kept/object", b"1").await.unwrap();
    scene.delete(TREE, "kept/").await.unwrap();
    assert_eq!(scene.keys(TREE).await, ["kept/object", "nfs/"]);
    scene.delete(TREE, "nfs/").await.unwrap();
    scene.delete(TREE, "kept/object").await.unwrap();
    assert!(scene.keys(TREE).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_paths_are_refused_and_not_found() {
    let scene = Scene::new().await;
    scene.put(TREE, "file", b"1").await.unwrap();
    let long = "n".repeat(256);
    for key in ["a//b", "/a", "a/../b", ".", ".snapshot/x", "a\0", &long, "file/below"] {
        let put = scene.put(TREE, key, b"1").await;
        assert!(matches!(put, Err(ObjectError::InvalidKey(_))), "{key:?}: {put:?}");
        assert_eq!(scene.get(TREE, key).await, Err(ObjectError::NoSuchKey), "{key:?}");
        assert_eq!(scene.delete(TREE, key).await, Ok(()), "{key:?}");
    }
    folder(&scene, ROOT_INODE, b"folder").await;
    assert!(matches!(scene.put(TREE, "folder", b"1").await, Err(ObjectError::InvalidKey(_))));
    assert_eq!(scene.get(TREE, "folder").await, Err(ObjectError::NoSuchKey));
    assert!(matches!(scene.put(TREE, "file/", b"").await, Err(ObjectError::InvalidKey(_))));
    assert!(matches!(scene.put(TREE, "folder/", b"bytes").await, Err(ObjectError::InvalidArgument(_))));
    assert_eq!(scene.keys(TREE).await, ["file", "folder/"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_special_files_are_no_objects() {
    let scene = Scene::new().await;
    let namespace = scene.namespace(TREE);
    scene.put(TREE, "file", b"1").await.unwrap();
    let link = NewFile { target: "file".into(), ..NewFile::new(Kind::Symlink, SetAttributes::default()) };
    namespace.make(context(), ROOT_INODE, b"link", link, None).await.unwrap();
    let pipe = NewFile::new(Kind::Fifo, SetAttributes::default());
    namespace.make(context(), ROOT_INODE, b"pipe", pipe, None).await.unwrap();
    assert_eq!(scene.keys(TREE).await, ["file"]);
    assert_eq!(scene.get(TREE, "link").await, Err(ObjectError::NoSuchKey));
    assert_eq!(scene.delete(TREE, "pipe").await, Ok(()));
    assert!(lookup(&namespace, ROOT_INODE, b"pipe").await.is_ok(), "what is no object is not deleted as one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_file_keeps_its_permission_bits_and_its_other_names() {
    let scene = Scene::new().await;
    let namespace = scene.namespace(TREE);
    let file = create(&namespace, ROOT_INODE, b"file").await.unwrap();
    write(&namespace, file, 0, b"old").await.unwrap();
    let set = SetAttributes { mode: Some(0o600), ..SetAttributes::default() };
    namespace.set_attributes(context(), file, set, None).await.unwrap();
    namespace.link(context(), file, ROOT_INODE, b"other").await.unwrap();
    scene.put(TREE, "file", b"new").await.unwrap();
    let replaced = lookup(&namespace, ROOT_INODE, b"file").await.unwrap();
    let inode = namespace.reader().node(replaced).await.unwrap().inode;
    assert_eq!((inode.mode, inode.links, inode.uid), (0o600, 1, Credentials::ROOT.uid));
    assert_eq!(scene.get(TREE, "other").await.unwrap(), b"old");
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_of_a_share_hold_for_folders_and_uploads_too() {
    let scene = Scene::new().await;
    folder(&scene, ROOT_INODE, b"home").await;
    let user = |uid| access_key(Credentials { uid, gid: uid, gids: Vec::new() });
    let keys = [("admin", access_key(Credentials::ROOT)), ("one", user(1)), ("other", user(2))];
    scene.objects.set(buckets(&scene.appliance), keys.map(|(id, key)| (id.to_owned(), key)).into());
    let none = Conditions::default();
    let delete = scene.objects.delete(&who("one"), &name(TREE, "home/"), None, &none, false).await;
    assert_eq!(delete, Err(ObjectError::AccessDenied));
    assert_eq!(scene.keys(TREE).await, ["home/"]);
    let upload =
        scene.objects.create_upload(&who("one"), &name(TREE, "home/x"), NewObject::default()).await.unwrap();
    let abort = scene.objects.abort_upload(&who("other"), &name(TREE, "home/x"), &upload).await;
    assert_eq!(abort, Err(ObjectError::NoSuchUpload));
    let query = UploadQuery { limit: 10, ..UploadQuery::default() };
    assert!(scene.objects.uploads(&who("other"), TREE, &query).await.unwrap().uploads.is_empty());
    assert_eq!(scene.objects.uploads(&who("one"), TREE, &query).await.unwrap().uploads.len(), 1);
    assert_eq!(scene.objects.abort_upload(&who("one"), &name(TREE, "home/x"), &upload).await, Ok(()));
}

#[tokio::test]
async fn a_folder_that_is_renamed_under_a_lister_hides_nothing_else() {
    let scene = Scene::new().await;
    let stable: Vec<String> =
        (0..40).map(|at| format!("{}/{at:02}", ["before", "m", "zz"][at % 3])).collect();
    for key in stable.iter().map(String::as_str).chain(["moving/1", "moving/2", "moving/3"]) {
        scene.put(TREE, key, b"x").await.unwrap();
    }
    let mut expected = stable.clone();
    expected.sort();
    let namespace = scene.namespace(TREE);
    let root = InodeNumber::ROOT;
    let renames = async {
        // Back and forth across what is listed.
        for round in 0..200 {
            let names: [&[u8]; 2] = [b"moving", b"a-moved"];
            let (from, to) = (names[round % 2], names[(round + 1) % 2]);
            namespace.rename(context(), (root, from), (root, to)).await.unwrap();
        }
    };
    let listings = async {
        for limit in (1..=7).cycle().take(60) {
            let (mut query, mut seen) = (ListQuery { limit, ..ListQuery::default() }, Vec::new());
            loop {
                let page = scene.list(TREE, &query).await;
                seen.extend(page.entries.iter().map(|entry| entry.name().to_owned()));
                query.after = seen.last().cloned();
                if !page.more {
                    break;
                }
            }
            assert!(seen.is_sorted() && seen.windows(2).all(|pair| pair[0] != pair[1]), "{seen:?}");
            seen.retain(|key| !key.starts_with("moving/") && !key.starts_with("a-moved/"));
            assert_eq!(seen, expected);
        }
    };
    tokio::join!(renames, listings);
}

#[tokio::test]
async fn a_file_that_is_deleted_under_a_reader_is_read_to_its_end() {
    use futures::TryStreamExt;
    let scene = Scene::new().await;
    let data: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7) as u8).collect();
    scene.put(TREE, "folder/file", &data).await.unwrap();
    let object = scene.objects.open(&admin(), &name(TREE, "folder/file"), None).await.unwrap();
    let mut reading = object.read(0..data.len() as u64);
    let mut seen = reading.try_next().await.unwrap().unwrap().to_vec();
    let namespace = scene.namespace(TREE);
    let folder = lookup(&namespace, ROOT_INODE, b"folder").await.unwrap();
    namespace.remove(context(), folder, b"file").await.unwrap();
    assert_eq!(scene.get(TREE, "folder/file").await, Err(ObjectError::NoSuchKey));
    while let Some(piece) = reading.try_next().await.unwrap() {
        seen.extend_from_slice(&piece);
    }
    assert!(seen == data, "{} of {} bytes", seen.len(), data.len());
}
