//! Object lock: of buckets, of objects in headers and documents, and what it refuses.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::{
    DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHold,
    ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode, ObjectLockRule,
};

use crate::harness::{BUCKET, Harness, refused};
use crate::raw::{Request, UNSIGNED};

const LOCKED: &str = "locked-bucket";

/// A server with a bucket that has a lock.
async fn locked() -> Harness {
    let harness = Harness::start().await;
    let create = harness.client.create_bucket().bucket(LOCKED).object_lock_enabled_for_bucket(true);
    create.send().await.unwrap();
    harness
}

fn in_days(days: u64) -> DateTime {
    DateTime::from(SystemTime::now() + Duration::from_hours(24 * days))
}

/// Puts an object with a retention of so many days; gives its version.
async fn keep(harness: &Harness, key: &str, mode: ObjectLockMode, days: u64) -> String {
    let put = harness.client.put_object().bucket(LOCKED).key(key).object_lock_mode(mode);
    let put = put.object_lock_retain_until_date(in_days(days)).send().await.unwrap();
    put.version_id().unwrap().to_owned()
}

fn retention(mode: ObjectLockRetentionMode, days: u64) -> ObjectLockRetention {
    ObjectLockRetention::builder().mode(mode).retain_until_date(in_days(days)).build()
}

#[tokio::test]
async fn a_bucket_gets_its_lock_with_its_first_breath_or_later() {
    let harness = locked().await;
    let client = &harness.client;
    let of = client.get_object_lock_configuration().bucket(LOCKED).send().await.unwrap();
    let lock = of.object_lock_configuration().unwrap();
    assert_eq!(lock.object_lock_enabled(), Some(&ObjectLockEnabled::Enabled));
    assert!(lock.rule().is_none());
    let none = client.get_object_lock_configuration().bucket(BUCKET).send().await;
    assert_eq!(refused(none), ("ObjectLockConfigurationNotFoundError".into(), 404));
    let configuration = |days| {
        let default =
            DefaultRetention::builder().mode(ObjectLockRetentionMode::Governance).days(days).build();
        let rule = ObjectLockRule::builder().default_retention(default).build();
        let enabled = ObjectLockEnabled::Enabled;
        ObjectLockConfiguration::builder().object_lock_enabled(enabled).rule(rule).build()
    };
    let set = |bucket: &str, days| {
        client
            .put_object_lock_configuration()
            .bucket(bucket)
            .object_lock_configuration(configuration(days))
            .send()
    };
    set(LOCKED, 3).await.unwrap();
    assert_eq!(refused(set(LOCKED, 0).await), ("InvalidArgument".into(), 400));
    assert_eq!(refused(set(BUCKET, 3).await), ("InvalidBucketState".into(), 409));
    let of = client.get_object_lock_configuration().bucket(LOCKED).send().await.unwrap();
    let rule = of.object_lock_configuration().unwrap().rule().unwrap();
    assert_eq!(rule.default_retention().unwrap().days(), Some(3));
    client.put_object().bucket(LOCKED).key("key").send().await.unwrap();
    let head = client.head_object().bucket(LOCKED).key("key").send().await.unwrap();
    assert_eq!(head.object_lock_mode(), Some(&ObjectLockMode::Governance));
}

#[tokio::test]
async fn a_retention_in_headers_comes_back_and_holds() {
    let harness = locked().await;
    let version = keep(&harness, "key", ObjectLockMode::Compliance, 1).await;
    let client = &harness.client;
    let got = client.get_object().bucket(LOCKED).key("key").send().await.unwrap();
    assert_eq!(got.object_lock_mode(), Some(&ObjectLockMode::Compliance));
    let until = got.object_lock_retain_until_date().unwrap().secs();
    assert!((until - in_days(1).secs()).abs() < 60);
    let delete = client.delete_object().bucket(LOCKED).key("key").version_id(&version);
    assert_eq!(refused(delete.clone().send().await), ("AccessDenied".into(), 403));
    let bypass = delete.bypass_governance_retention(true);
    assert_eq!(refused(bypass.send().await), ("AccessDenied".into(), 403));
    let hidden = client.delete_object().bucket(LOCKED).key("key").send().await.unwrap();
    assert_eq!(hidden.delete_marker(), Some(true));
}

#[tokio::test]
async fn governance_is_passed_by_who_asks_for_it_and_may() {
    let harness = locked().await;
    let version = keep(&harness, "key", ObjectLockMode::Governance, 1).await;
    let client = &harness.client;
    let delete = client.delete_object().bucket(LOCKED).key("key").version_id(&version);
    assert_eq!(refused(delete.clone().send().await), ("AccessDenied".into(), 403));
    let set = client.put_object_retention().bucket(LOCKED).key("key");
    let shorter = retention(ObjectLockRetentionMode::Governance, 0);
    let past = set.clone().retention(shorter).bypass_governance_retention(true);
    assert_eq!(refused(past.send().await), ("InvalidArgument".into(), 400));
    harness.memory.gate(|_, asked| asked.action != "s3:BypassGovernanceRetention");
    let bypass = delete.bypass_governance_retention(true);
    assert_eq!(refused(bypass.clone().send().await), ("AccessDenied".into(), 403));
    let lift = set.retention(ObjectLockRetention::builder().build()).bypass_governance_retention(true);
    assert_eq!(refused(lift.clone().send().await), ("AccessDenied".into(), 403));
    harness.memory.gate(|_, _| true);
    lift.send().await.unwrap();
    let none = client.get_object_retention().bucket(LOCKED).key("key").send().await;
    assert_eq!(refused(none), ("NoSuchObjectLockConfiguration".into(), 404));
    bypass.send().await.unwrap();
}

#[tokio::test]
async fn governance_becomes_compliance_only_by_who_may_pass_it() {
    let harness = locked().await;
    let version = keep(&harness, "key", ObjectLockMode::Governance, 1).await;
    let set = harness.client.put_object_retention().bucket(LOCKED).key("key").version_id(version);
    let firmer = set.clone().retention(retention(ObjectLockRetentionMode::Compliance, 2));
    assert_eq!(refused(firmer.clone().send().await), ("AccessDenied".into(), 403));
    set.retention(retention(ObjectLockRetentionMode::Governance, 2)).send().await.expect("longer is well");
    firmer.bypass_governance_retention(true).send().await.unwrap();
}

#[tokio::test]
async fn a_retention_is_set_read_and_only_made_longer() {
    let harness = locked().await;
    let client = &harness.client;
    client.put_object().bucket(LOCKED).key("key").send().await.unwrap();
    let set = |retention| client.put_object_retention().bucket(LOCKED).key("key").retention(retention).send();
    let read = async || {
        let read = client.get_object_retention().bucket(LOCKED).key("key").send().await.unwrap();
        read.retention().unwrap().clone()
    };
    set(retention(ObjectLockRetentionMode::Compliance, 1)).await.unwrap();
    set(retention(ObjectLockRetentionMode::Compliance, 3)).await.unwrap();
    assert_eq!(read().await.mode(), Some(&ObjectLockRetentionMode::Compliance));
    assert!(read().await.retain_until_date().unwrap().secs() > in_days(2).secs());
    let shorter = set(retention(ObjectLockRetentionMode::Compliance, 2)).await;
    assert_eq!(refused(shorter), ("AccessDenied".into(), 403));
    let half = ObjectLockRetention::builder().mode(ObjectLockRetentionMode::Compliance).build();
    assert_eq!(refused(set(half).await), ("MalformedXML".into(), 400));
}

#[tokio::test]
async fn a_legal_hold_is_set_and_lifted() {
    let harness = locked().await;
    let client = &harness.client;
    let put = client.put_object().bucket(LOCKED).key("key");
    let put = put.object_lock_legal_hold_status(ObjectLockLegalHoldStatus::On).send().await.unwrap();
    let version = put.version_id().unwrap();
    let head = client.head_object().bucket(LOCKED).key("key").send().await.unwrap();
    assert_eq!(head.object_lock_legal_hold_status(), Some(&ObjectLockLegalHoldStatus::On));
    let delete = client.delete_object().bucket(LOCKED).key("key").version_id(version);
    let bypass = delete.clone().bypass_governance_retention(true).send().await;
    assert_eq!(refused(bypass), ("AccessDenied".into(), 403));
    let off = ObjectLockLegalHold::builder().status(ObjectLockLegalHoldStatus::Off).build();
    client.put_object_legal_hold().bucket(LOCKED).key("key").legal_hold(off).send().await.unwrap();
    let read = client.get_object_legal_hold().bucket(LOCKED).key("key").send().await.unwrap();
    assert_eq!(read.legal_hold().unwrap().status(), Some(&ObjectLockLegalHoldStatus::Off));
    delete.send().await.unwrap();
}

/// Each is told by the permission to ask for it alone.
#[tokio::test]
async fn a_reader_hears_of_the_lock_and_the_tags_what_it_may_ask_for() {
    let harness = locked().await;
    let put = harness.client.put_object().bucket(LOCKED).key("key").tagging("a=1&b=2");
    let put = put.object_lock_mode(ObjectLockMode::Governance).object_lock_retain_until_date(in_days(1));
    let put = put.object_lock_legal_hold_status(ObjectLockLegalHoldStatus::On).send().await.unwrap();
    let by_version = format!("versionId={}", put.version_id().unwrap());
    let told = [
        ("s3:GetObjectRetention", "x-amz-object-lock-mode: governance"),
        ("s3:GetObjectRetention", "x-amz-object-lock-retain-until-date: "),
        ("s3:GetObjectLegalHold", "x-amz-object-lock-legal-hold: on"),
        ("s3:GetObjectTagging", "x-amz-tagging-count: 2"),
    ];
    for denied in ["nothing", "s3:GetObjectRetention", "s3:GetObjectLegalHold", "s3:GetObjectTagging"] {
        harness.memory.gate(move |_, asked| asked.action.replace("Version", "") != denied);
        for (method, query) in [("GET", ""), ("HEAD", ""), ("GET", &*by_version), ("HEAD", &*by_version)] {
            let request = Request::new(method, "/locked-bucket/key", query).sign(UNSIGNED);
            let answer = request.send(harness.address).await;
            assert_eq!(answer.status, 200, "{method} {query} without {denied}");
            for (action, header) in told {
                let is_told = answer.head.contains(header);
                assert_eq!(is_told, action != denied, "{header} of {method} {query} without {denied}");
            }
        }
    }
}

#[tokio::test]
async fn locks_need_a_bucket_that_has_one() {
    let harness = Harness::start().await;
    harness.put("key", "x").await;
    let client = &harness.client;
    let wrong = ("InvalidRequest".to_owned(), 400);
    let put = client.put_object().bucket(BUCKET).key("other").object_lock_mode(ObjectLockMode::Governance);
    assert_eq!(refused(put.object_lock_retain_until_date(in_days(1)).send().await), wrong);
    let set = client.put_object_retention().bucket(BUCKET).key("key");
    let set = set.retention(retention(ObjectLockRetentionMode::Governance, 1)).send().await;
    assert_eq!(refused(set), wrong);
    assert_eq!(refused(client.get_object_retention().bucket(BUCKET).key("key").send().await), wrong);
    assert_eq!(refused(client.get_object_legal_hold().bucket(BUCKET).key("key").send().await), wrong);
}

#[tokio::test]
async fn headers_that_say_half_a_lock_are_refused() {
    let harness = locked().await;
    let until = in_days(1).fmt(DateTimeFormat::DateTime).unwrap();
    let path = "/locked-bucket/key";
    let mode = ("x-amz-object-lock-mode", "GOVERNANCE");
    for headers in [
        vec![mode],
        vec![("x-amz-object-lock-retain-until-date", until.as_str())],
        vec![mode, ("x-amz-object-lock-retain-until-date", "2001-01-01T00:00:00Z")],
        vec![("x-amz-object-lock-legal-hold", "MAYBE")],
    ] {
        let put = headers
            .iter()
            .fold(Request::new("PUT", path, "").body("x"), |put, (name, value)| put.header(name, value));
        let answer = put.sign(UNSIGNED).send(harness.address).await;
        assert_eq!(answer.error(), (400, "InvalidArgument"), "{headers:?}");
    }
    assert_eq!(harness.memory.objects(), 0);
}

#[tokio::test]
async fn copies_and_uploads_in_parts_get_the_lock_that_they_ask_for() {
    let harness = locked().await;
    let client = &harness.client;
    client.put_object().bucket(LOCKED).key("key").send().await.unwrap();
    let copy = client.copy_object().bucket(LOCKED).key("copy").copy_source("locked-bucket/key");
    let copy = copy.object_lock_mode(ObjectLockMode::Compliance).object_lock_retain_until_date(in_days(1));
    copy.send().await.unwrap();
    let upload = client.create_multipart_upload().bucket(LOCKED).key("parts");
    let upload = upload.object_lock_legal_hold_status(ObjectLockLegalHoldStatus::On).send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let part = client.upload_part().bucket(LOCKED).key("parts").upload_id(id).part_number(1);
    let part = part.send().await.unwrap();
    let part =
        aws_sdk_s3::types::CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap()).build();
    let parts = aws_sdk_s3::types::CompletedMultipartUpload::builder().parts(part).build();
    let done = client.complete_multipart_upload().bucket(LOCKED).key("parts").upload_id(id);
    done.multipart_upload(parts).send().await.unwrap();
    let head = async |key: &str| client.head_object().bucket(LOCKED).key(key).send().await.unwrap();
    assert_eq!(head("copy").await.object_lock_mode(), Some(&ObjectLockMode::Compliance));
    let held = head("parts").await;
    assert_eq!(held.object_lock_legal_hold_status(), Some(&ObjectLockLegalHoldStatus::On));
}
