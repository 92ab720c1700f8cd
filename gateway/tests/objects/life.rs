//! One object: made, replaced, described, copied, deleted; whole or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_gateway::appliance::Budgets;
use tidegate_gateway::namespace::Credentials;
use tidegate_protocols::objects::{
    Conditions, CopySource, Deletion, EtagCondition, Metadata, NewObject, ObjectError, ObjectView, PartCopy,
    PartName, Who, sums,
};

use crate::scene::{FLAT, Given, Scene, TREE, access_key, admin, buckets, get, name, who};
use crate::support::{budgets, noise};

fn map(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

fn described() -> NewObject {
    let metadata = Metadata { headers: map("content-type", "text/plain"), user: map("colour", "grün") };
    NewObject {
        metadata,
        tags: map("tag", "a"),
        storage_class: Some("STANDARD_IA".into()),
        ..NewObject::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_comes_back_with_what_was_said_of_it_also_after_a_restart_and_elsewhere() {
    let mut scene = Scene::new().await;
    let data = noise(1, 3_500_000);
    for bucket in [FLAT, TREE] {
        let done = scene.put_with(bucket, "a/b/object", &data, described()).await.unwrap();
        assert_eq!(done.etag, sums::md5_hex(&data));
        scene.put(bucket, "empty", b"").await.unwrap();
    }
    for round in 0..3 {
        for bucket in [FLAT, TREE] {
            let info = scene.info(bucket, "a/b/object").await.unwrap();
            assert_eq!(info.etag, sums::md5_hex(&data), "{bucket}, round {round}");
            assert_eq!((info.metadata, info.tags), (described().metadata, described().tags));
            assert_eq!((info.size, info.storage_class.as_deref()), (3_500_000, Some("STANDARD_IA")));
            assert_eq!(scene.get(bucket, "a/b/object").await.unwrap(), data);
            assert_eq!(scene.get(bucket, "empty").await.unwrap(), b"");
            scene.appliance.commit(bucket).await.unwrap();
        }
        scene.restart().await;
    }
    let (_appliance, objects) = scene.elsewhere().await;
    for bucket in [FLAT, TREE] {
        assert_eq!(get(&objects, bucket, "a/b/object").await.unwrap(), data);
        let object = objects.open(&admin(), &name(bucket, "a/b/object"), None).await.unwrap();
        assert_eq!(
            (object.info().etag.clone(), object.info().tags.clone()),
            (sums::md5_hex(&data), map("tag", "a"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_what_it_should_be_leaves_what_was_there_and_nothing_else() {
    let scene = Scene::new().await;
    for bucket in [FLAT, TREE] {
        scene.put(bucket, "key", b"old").await.unwrap();
        let used = scene.namespace(bucket).share().usage();
        let mut body = Given::wrong(&noise(2, 2_500_000));
        let put = scene.objects.put(&admin(), &name(bucket, "key"), NewObject::default(), &mut body).await;
        assert_eq!(put, Err(ObjectError::BadDigest("MD5")));
        assert_eq!(scene.get(bucket, "key").await.unwrap(), b"old");
        // What came of the body goes in the background.
        while scene.namespace(bucket).share().usage() != used {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_of_a_body_is_taken_away_at_the_next_start() {
    let scene = Scene::new().await;
    let namespace = scene.namespace(FLAT);
    let used = namespace.share().usage();
    let mut file = namespace.make_unnamed(&Credentials::ROOT).await.unwrap();
    namespace.extend(&Credentials::ROOT, &mut file, noise(3, 100_000).into()).await.unwrap();
    namespace.sync_all().await.unwrap();
    let appliance = scene.died().await;
    let namespace = appliance.namespace(FLAT).unwrap();
    assert_eq!(namespace.share().usage().bytes, used.bytes + 100_000);
    appliance.commit(FLAT).await.unwrap();
    assert_eq!(namespace.share().usage(), used);
    drop(file);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_hold_for_writing_and_deleting() {
    let scene = Scene::new().await;
    let with = |matches: Option<&str>, differs: Option<&str>| {
        let condition = |text: &str| match text {
            "*" => EtagCondition::Any,
            etag => EtagCondition::Is(etag.into()),
        };
        Conditions {
            matches: matches.map(condition),
            differs: differs.map(condition),
            ..Conditions::default()
        }
    };
    let put = async |bucket, conditions| {
        let new = NewObject { conditions, ..NewObject::default() };
        scene.put_with(bucket, "key", b"data", new).await.map(|done| done.etag)
    };
    for bucket in [FLAT, TREE] {
        assert_eq!(put(bucket, with(Some("*"), None)).await, Err(ObjectError::NoSuchKey));
        let etag = put(bucket, with(None, Some("*"))).await.unwrap();
        assert_eq!(put(bucket, with(None, Some("*"))).await, Err(ObjectError::PreconditionFailed));
        assert_eq!(put(bucket, with(Some("other"), None)).await, Err(ObjectError::PreconditionFailed));
        put(bucket, with(Some(&etag), None)).await.unwrap();
        let delete = async |conditions| {
            scene.objects.delete(&admin(), &name(bucket, "key"), None, &conditions, false).await
        };
        assert_eq!(delete(with(Some("other"), None)).await, Err(ObjectError::PreconditionFailed));
        assert_eq!(delete(with(Some(&etag), None)).await, Ok(Deletion::default()));
        for conditions in [with(Some(&etag), None), with(None, None)] {
            let done = delete(conditions).await;
            assert_eq!(done, Ok(Deletion::default()), "deleting what is gone is done already");
        }
        put(bucket, with(None, None)).await.unwrap();
        let size = |size| Conditions { size: Some(size), ..Conditions::default() };
        assert_eq!(delete(size(5)).await, Err(ObjectError::PreconditionFailed));
        assert_eq!(delete(size(4)).await, Ok(Deletion::default()));
        assert_eq!(scene.get(bucket, "key").await, Err(ObjectError::NoSuchKey));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_create_if_absent_one_does() {
    let scene = Scene::new().await;
    for bucket in [FLAT, TREE] {
        let one = async |data: u8| {
            let conditions = Conditions { differs: Some(EtagCondition::Any), ..Conditions::default() };
            let new = NewObject { conditions, ..NewObject::default() };
            scene.put_with(bucket, "in/a/folder", &[data], new).await.is_ok()
        };
        let all = futures::future::join_all((0..16).map(one)).await;
        let winners: Vec<_> = (0..16).filter(|at| all[*at as usize]).collect();
        assert_eq!(winners.len(), 1, "{bucket}");
        assert_eq!(scene.get(bucket, "in/a/folder").await.unwrap(), winners);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_replaced_again_and_again_is_always_there_and_whole() {
    let scene = Scene::new().await;
    for bucket in [FLAT, TREE] {
        scene.put(bucket, "a/key", b"0").await.unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        let writing = async {
            for number in 1..300_u32 {
                scene.put(bucket, "a/key", number.to_string().as_bytes()).await.unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        };
        let looking = async {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let object = scene.objects.open(&admin(), &name(bucket, "a/key"), None).await.unwrap();
                assert!(!object.info().etag.contains('-'), "its record came with it");
                let size = object.info().size;
                let data: Vec<bytes::Bytes> =
                    futures::TryStreamExt::try_collect(object.read(0..size)).await.unwrap();
                assert_eq!(sums::md5_hex(&data.concat()), object.info().etag);
                assert_eq!(scene.keys(bucket).await, ["a/key"]);
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(writing, looking);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_reads_to_the_end_what_it_found_though_it_is_replaced_or_deleted() {
    use futures::TryStreamExt;
    let scene = Scene::new().await;
    let old = noise(4, 4 << 20);
    for bucket in [FLAT, TREE] {
        for replaced in [true, false] {
            scene.put(bucket, "key", &old).await.unwrap();
            let object = scene.objects.open(&admin(), &name(bucket, "key"), None).await.unwrap();
            let mut data = object.read(0..old.len() as u64);
            let first = data.try_next().await.unwrap().unwrap();
            if replaced {
                scene.put(bucket, "key", b"new").await.unwrap();
            } else {
                scene.delete(bucket, "key").await.unwrap();
            }
            let rest: Vec<_> = data.try_collect().await.unwrap();
            assert_eq!([&first[..], &rest.concat()].concat(), old, "{bucket}, {replaced}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_hold_the_bytes_of_their_source_whatever_becomes_of_it_and_whenever_a_commit_runs() {
    let mut scene = Scene::new().await;
    let data = noise(5, 3 << 20);
    let copy = async |scene: &Scene, from: (&str, &str), to: (&str, &str)| {
        let source =
            CopySource { name: name(from.0, from.1), version: None, conditions: Conditions::default() };
        let name = name(to.0, to.1);
        scene.objects.copy(&admin(), &source, &name, NewObject::default(), true, true).await
    };
    for (at, from) in [FLAT, TREE].into_iter().enumerate() {
        scene.put_with(from, "source", &data, described()).await.unwrap();
        for to in [FLAT, TREE] {
            copy(&scene, (from, "source"), (to, &format!("fresh-{at}"))).await.unwrap();
            scene.appliance.commit(from).await.unwrap();
            copy(&scene, (from, "source"), (to, &format!("committed-{at}"))).await.unwrap();
        }
        // Copies of copies, while commits run.
        let (appliance, done) = (scene.appliance.clone(), std::sync::atomic::AtomicBool::new(false));
        let copies = async {
            for number in 0..40 {
                scene.put(from, "source", &noise(100 + number, 300_000)).await.unwrap();
                copy(&scene, (from, "source"), (from, &format!("copy-{number}"))).await.unwrap();
                copy(&scene, (from, &format!("copy-{number}")), (from, &format!("again-{number}")))
                    .await
                    .unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        };
        let commits = async {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                appliance.commit(from).await.unwrap();
            }
        };
        tokio::join!(copies, commits);
        scene.delete(from, "source").await.unwrap();
        scene.appliance.commit(from).await.unwrap();
        scene.appliance.commit(from).await.unwrap();
    }
    scene.restart().await;
    for bucket in [FLAT, TREE] {
        for number in 0..40 {
            for kind in ["copy", "again"] {
                let copied = scene.get(bucket, &format!("{kind}-{number}")).await.unwrap();
                assert_eq!(copied, noise(100 + number, 300_000), "{bucket}/{kind}-{number}");
            }
        }
        for key in ["fresh-0", "committed-0", "fresh-1", "committed-1"] {
            assert_eq!(scene.get(bucket, key).await.unwrap(), data, "{bucket}/{key}");
            let info = scene.info(bucket, key).await.unwrap();
            assert_eq!((info.etag, info.metadata), (sums::md5_hex(&data), described().metadata));
        }
    }
}

/// In a bucket of objects nothing changes the bytes of what was found.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_what_is_tagged_overwritten_or_deleted_meanwhile_is_a_copy_of_what_it_found() {
    let scene = Scene::new().await;
    let data = noise(11, 300_000);
    scene.put(FLAT, "source", &data).await.unwrap();
    let upload = scene.objects.create_upload(&admin(), &name(FLAT, "parts"), NewObject::default()).await;
    let upload = upload.unwrap();
    let (objects, data_again) = (scene.objects.clone(), data.clone());
    let done = Arc::new(AtomicBool::new(false));
    let is_done = done.clone();
    let changes = tokio::spawn(async move {
        let source = name(FLAT, "source");
        while !is_done.load(Ordering::Relaxed) {
            objects.set_tags(&admin(), &source, None, map("tag", "a")).await.unwrap();
            let mut body = Given::whole(&data_again);
            objects.put(&admin(), &source, NewObject::default(), &mut body).await.unwrap();
            objects.delete(&admin(), &source, None, &Conditions::default(), false).await.unwrap();
            let mut body = Given::whole(&data_again);
            objects.put(&admin(), &source, NewObject::default(), &mut body).await.unwrap();
        }
    });
    let mut copies = 0;
    for number in 1..=150_u16 {
        let source =
            CopySource { name: name(FLAT, "source"), version: None, conditions: Conditions::default() };
        let to = name(FLAT, &format!("copy-{number}"));
        match scene.objects.copy(&admin(), &source, &to, NewObject::default(), true, true).await {
            Ok(_) => {
                copies += 1;
                assert!(scene.get(FLAT, &to.key).await.unwrap() == data, "{number}");
            }
            Err(error) => assert_eq!(error, ObjectError::NoSuchKey, "it was deleted just then"),
        }
        let part = PartName { object: name(FLAT, "parts"), upload: upload.clone(), number };
        match scene.objects.copy_part(&admin(), &part, &PartCopy { source, range: None }).await {
            Ok(done) => assert_eq!(done.digests.md5, sums::md5_hex(&data)),
            Err(error) => assert_eq!(error, ObjectError::NoSuchKey),
        }
    }
    done.store(true, Ordering::Relaxed);
    changes.await.unwrap();
    assert!(copies > 0, "it is there most of the time");
}

/// The window is that between a commit's freeze and its swap, in which it cuts what is to leave: with much to cut,
/// copies fall into it. The journal's segments are short, so that what is drained goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_made_while_a_commit_drains_outlives_the_journal() {
    let mut scene = Scene::within(Budgets { dirty_bytes: 128 << 20, ..budgets() }).await;
    let source = noise(7, 200_000);
    scene.put(FLAT, "source", &source).await.unwrap();
    scene.put(FLAT, "much", &noise(8, 48 << 20)).await.unwrap();
    // Pieces of the source in other files: the same places of the journal, of other lengths.
    let upload =
        scene.objects.create_upload(&admin(), &name(FLAT, "pieces"), NewObject::default()).await.unwrap();
    for (number, range) in [(1, 0..100_000), (2, 1_000..150_000), (3, 199_000..200_000)] {
        let source =
            CopySource { name: name(FLAT, "source"), version: None, conditions: Conditions::default() };
        let part = PartName { object: name(FLAT, "pieces"), upload: upload.clone(), number };
        scene.objects.copy_part(&admin(), &part, &PartCopy { source, range: Some(range) }).await.unwrap();
    }
    // No other share holds the journal.
    scene.appliance.commit(TREE).await.unwrap();
    let appliance = scene.appliance.clone();
    let commit = tokio::spawn(async move { appliance.commit(FLAT).await.map(drop) });
    let mut copies = 0;
    while !commit.is_finished() {
        let from =
            CopySource { name: name(FLAT, "source"), version: None, conditions: Conditions::default() };
        let to = name(FLAT, &format!("copy-{copies}"));
        scene.objects.copy(&admin(), &from, &to, NewObject::default(), true, true).await.unwrap();
        copies += 1;
    }
    commit.await.unwrap().unwrap();
    assert!(copies > 1, "copies were made meanwhile");
    // The journal goes on to further segments, and lets go of all that were drained.
    for seed in 0..2 {
        scene.put(FLAT, "much", &noise(seed, 20 << 20)).await.unwrap();
        for bucket in [FLAT, TREE] {
            scene.appliance.commit(bucket).await.unwrap();
        }
    }
    for round in 0..2 {
        for copy in 0..copies {
            let found = scene.get(FLAT, &format!("copy-{copy}")).await;
            assert!(found == Ok(source.clone()), "copy {copy} of {copies}, round {round}");
        }
        scene.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn access_keys_open_their_buckets_and_no_others() {
    let scene = Scene::new().await;
    scene.put(FLAT, "key", b"data").await.unwrap();
    let reader = tidegate_gateway::objects::AccessKeyConfig {
        buckets: Some(vec![FLAT.into()]),
        read_only: true,
        ..access_key(Credentials::ROOT)
    };
    let stranger = access_key(Credentials { uid: 7, gid: 7, gids: Vec::new() });
    let keys = [("reader".to_owned(), reader), ("stranger".to_owned(), stranger)];
    scene.objects.set(buckets(&scene.appliance), keys.into());
    let (reader, stranger) = (who("reader"), who("stranger"));
    assert!(scene.objects.open(&reader, &name(FLAT, "key"), None).await.is_ok());
    let put = async |who: &Who, bucket, key| {
        scene
            .objects
            .put(who, &name(bucket, key), NewObject::default(), &mut Given::whole(b"x"))
            .await
            .map(drop)
    };
    assert_eq!(put(&reader, FLAT, "key").await, Err(ObjectError::AccessDenied));
    assert_eq!(put(&reader, TREE, "key").await, Err(ObjectError::AccessDenied));
    assert_eq!(put(&admin(), FLAT, "key").await, Err(ObjectError::AccessDenied), "the key was taken away");
    assert_eq!(scene.objects.buckets(&reader).await.unwrap().len(), 1);
    assert_eq!(scene.objects.buckets(&stranger).await.unwrap().len(), 2);
    // In a share the permissions of its files decide: the root directory is the superuser's.
    assert_eq!(put(&stranger, FLAT, "key").await, Ok(()));
    assert_eq!(put(&stranger, TREE, "key").await, Err(ObjectError::AccessDenied));
    assert_eq!(scene.objects.bucket(&stranger, "none").await, Err(ObjectError::NoSuchBucket));
}
