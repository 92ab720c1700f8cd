//! Web pages of other origins: what a browser asks beforehand, and the headers on answers.

use aws_sdk_s3::types::{CorsConfiguration, CorsRule};

use crate::harness::{BUCKET, Harness};
use crate::raw::{Answer, Request, UNSIGNED};

/// A server whose bucket lets pages of `example.com` in.
async fn open() -> Harness {
    let harness = Harness::start().await;
    let rule = CorsRule::builder().allowed_origins("https://*.example.com").allowed_methods("PUT");
    let rule = rule.allowed_methods("GET").allowed_headers("x-amz-*").expose_headers("etag");
    let rule = rule.max_age_seconds(60).build().unwrap();
    let configuration = CorsConfiguration::builder().cors_rules(rule).build().unwrap();
    let put = harness.client.put_bucket_cors().bucket(BUCKET).cors_configuration(configuration);
    put.send().await.unwrap();
    harness
}

async fn preflight(harness: &Harness, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = headers
        .iter()
        .fold(Request::new("OPTIONS", path, ""), |request, (name, value)| request.header(name, value));
    request.send(harness.address).await
}

const PAGE: (&str, &str) = ("origin", "https://www.example.com");
const PUT: (&str, &str) = ("access-control-request-method", "PUT");

#[tokio::test]
async fn a_browser_is_told_what_a_page_may() {
    let harness = open().await;
    let asked = ("access-control-request-headers", "X-Amz-Date, x-amz-acl");
    let answer = preflight(&harness, "/bucket/key", &[PAGE, PUT, asked]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    for header in [
        "access-control-allow-origin: https://www.example.com",
        "access-control-allow-methods: put, get",
        "access-control-allow-headers: x-amz-date, x-amz-acl",
        "access-control-expose-headers: etag",
        "access-control-allow-credentials: true",
        "access-control-max-age: 60",
        "vary: origin, access-control-request-headers, access-control-request-method",
    ] {
        assert!(answer.head.contains(header), "{header}: {}", answer.head);
    }
    let by_host = preflight(&harness, "/key", &[PAGE, PUT, ("host", "bucket.s3.example.com")]).await;
    assert_eq!(by_host.status, 200);
}

#[tokio::test]
async fn what_fits_no_rule_is_forbidden() {
    let harness = open().await;
    let forbidden = (403, "AccessForbidden");
    let other = ("origin", "https://example.org");
    assert_eq!(preflight(&harness, "/bucket/key", &[other, PUT]).await.error(), forbidden);
    let delete = ("access-control-request-method", "DELETE");
    assert_eq!(preflight(&harness, "/bucket/key", &[PAGE, delete]).await.error(), forbidden);
    let header = ("access-control-request-headers", "authorization");
    assert_eq!(preflight(&harness, "/bucket/key", &[PAGE, PUT, header]).await.error(), forbidden);
    assert_eq!(preflight(&harness, "/absent/key", &[PAGE, PUT]).await.error(), forbidden);
    assert_eq!(preflight(&harness, "/", &[PAGE, PUT]).await.error(), forbidden);
    assert_eq!(preflight(&harness, "/bucket/key", &[PUT]).await.error(), (400, "BadRequest"));
    assert_eq!(preflight(&harness, "/bucket/key", &[PAGE]).await.error(), (400, "BadRequest"));
}

#[tokio::test]
async fn answers_to_pages_can_be_seen_by_them_and_errors_too() {
    let harness = open().await;
    harness.put("key", "x").await;
    let get = async |key: &str, origin: &str| {
        let request = Request::new("GET", &format!("/bucket/{key}"), "").header("origin", origin);
        request.sign(UNSIGNED).send(harness.address).await
    };
    for (key, status) in [("key", 200), ("absent", 404)] {
        let answer = get(key, PAGE.1).await;
        assert_eq!(answer.status, status);
        assert!(answer.head.contains("access-control-allow-origin: https://www.example.com"), "{key}");
        assert!(answer.head.contains("vary: origin"), "{key}");
    }
    let other = get("key", "https://example.org").await;
    assert_eq!(other.status, 200);
    assert!(!other.head.contains("access-control"), "{}", other.head);
    let denied = Request::new("GET", "/bucket/key", "").header("origin", PAGE.1);
    let denied = denied.send(harness.address).await;
    assert_eq!(denied.error(), (403, "AccessDenied"));
    assert!(denied.head.contains("access-control-allow-origin"), "{}", denied.head);
}
