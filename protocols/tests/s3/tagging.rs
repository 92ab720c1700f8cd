//! Tags of objects.

use aws_sdk_s3::types::{Tag, Tagging};

use crate::harness::{BUCKET, Harness, refused};

fn tagging(pairs: &[(&str, &str)]) -> Tagging {
    let tags = pairs.iter().map(|(name, value)| Tag::builder().key(*name).value(*value).build().unwrap());
    Tagging::builder().set_tag_set(Some(tags.collect())).build().unwrap()
}

#[tokio::test]
async fn tags_are_set_read_and_removed() {
    let harness = Harness::start().await;
    harness.put("key", "x").await;
    let client = &harness.client;
    let read = async || {
        let tags = client.get_object_tagging().bucket(BUCKET).key("key").send().await.unwrap();
        tags.tag_set().iter().map(|tag| format!("{}={}", tag.key(), tag.value())).collect::<Vec<_>>()
    };
    assert!(read().await.is_empty());
    let set = |tags| client.put_object_tagging().bucket(BUCKET).key("key").tagging(tags).send();
    set(tagging(&[("b", "2"), ("a", "1 ü")])).await.unwrap();
    assert_eq!(read().await, ["a=1 ü", "b=2"]);
    set(tagging(&[("c", "")])).await.unwrap();
    assert_eq!(read().await, ["c="]);
    client.delete_object_tagging().bucket(BUCKET).key("key").send().await.unwrap();
    assert!(read().await.is_empty());
}

#[tokio::test]
async fn tags_have_bounds() {
    let harness = Harness::start().await;
    harness.put("key", "x").await;
    let set = |tags| harness.client.put_object_tagging().bucket(BUCKET).key("key").tagging(tags).send();
    let names: Vec<String> = (0..11).map(|name| name.to_string()).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let long = "v".repeat(257);
    for wrong in [&many[..], &[("k", &long)], &[("", "v")], &[("k", "1"), ("k", "2")], &[("aws:k", "")]] {
        assert_eq!(refused(set(tagging(wrong)).await), ("InvalidTag".into(), 400), "{wrong:?}");
    }
    set(tagging(&many[..10])).await.unwrap();
    let put = harness.client.put_object().bucket(BUCKET).key("other").tagging("k=1&k=2").send().await;
    assert_eq!(refused(put), ("InvalidArgument".into(), 400));
    let absent = harness.client.get_object_tagging().bucket(BUCKET).key("absent").send().await;
    assert_eq!(refused(absent), ("NoSuchKey".into(), 404));
}
