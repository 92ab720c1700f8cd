//! Claims about looking at files, about what policies would keep, and about the console beside the API.

use super::*;

#[tokio::test]
async fn a_directory_comes_page_by_page() {
    let served = Served::start().await;
    let (status, page) =
        served.call("GET", "/api/v1/shares/docs/files?at=snapshot:1&path=/x&limit=1", "").await;
    assert_eq!((status, &page["files"][0]["path"], &page["next"]), (200, &json!("/x/a"), &json!("/x/a")));
    let (_, page) = served.call("GET", "/api/v1/shares/docs/files?path=/x&after=/x/a", "").await;
    assert_eq!((&page["files"][0]["name"], page.get("next")), (&json!("b"), None));
    let missing = "/api/v1/shares/nothing/files";
    assert_eq!(served.call("GET", missing, "").await.0, 404);
    for wrong in ["at=yesterday", "path=x", "after=..", "limit=-1", "show=everything"] {
        assert_eq!(
            served.call("GET", &format!("/api/v1/shares/docs/files?{wrong}"), "").await.0,
            400,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn a_file_leaves_as_an_attachment_that_no_browser_shows() {
    let served = Served::start().await;
    let path = "/api/v1/shares/docs/file?path=/%3Cimg%20src=x%3E.html";
    let mut stream = UnixStream::connect(served.socket()).await.expect("served");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200") && body == "the bytes", "{answer}");
    for line in [
        "content-type: application/octet-stream",
        "content-length: 9",
        "content-disposition: attachment; filename=\"_img src_x_.html\"; filename*=UTF-8''%3Cimg%20src%3Dx%3E.html",
        "content-security-policy: default-src 'none'; sandbox",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
    ] {
        assert!(head.lines().any(|found| found == line), "{line} is not in {head}");
    }
}

#[tokio::test]
async fn what_a_policy_would_keep_is_asked_by_name() {
    let served = Served::start().await;
    assert_eq!(served.call("GET", "/api/v1/policies/nothing/simulation?days=31", "").await.0, 404);
    assert_eq!(served.call("GET", "/api/v1/policies/nothing/simulation?days=many", "").await.0, 400);
}

#[tokio::test]
async fn the_console_stands_beside_the_api() {
    let served = Served::start().await;
    let (status, page) = served.call("GET", "/console/", "").await;
    assert_eq!(status, 200);
    assert!(page.as_str().is_some_and(|page| page.contains("<main id=\"main\"")), "{page}");
    assert_eq!(served.call("GET", "/console/js/nothing.js", "").await.0, 404);
    let forged = "POST /api/v1/shares/docs/commit HTTP/1.1\r\nhost: x\r\norigin: http://y\r\nconnection: close\r\n\r\n";
    assert_eq!(served.raw(forged).await.0, 403);
    assert_eq!(served.call("POST", "/api/v1/shares/docs/commit", "").await.0, 202);
}
