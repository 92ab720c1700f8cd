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

#[tokio::test]
async fn clients_and_keys_are_told_by_their_states_and_garbage_is_counted_before_it_goes() {
    let served = Served::start().await;
    let (_, clients) = served.call("GET", "/api/v1/clients", "").await;
    assert_eq!(clients, json!([{"address": "10.0.0.17", "door": "nfs", "connections": 2}]));
    let (_, keys) = served.call("GET", "/api/v1/keys", "").await;
    assert_eq!((&keys[0]["kind"], &keys[0]["state"]), (&json!("key-file"), &json!("whole")));
    let looked = served.job("/api/v1/gc?dry-run=true", &json!({})).await;
    assert_eq!(looked["result"]["dry_run"], json!(true), "{looked}");
    let done = served.job("/api/v1/gc", &json!({})).await;
    assert_eq!(done["result"]["dry_run"], json!(false), "{done}");
    assert_eq!(
        served.call("POST", "/api/v1/gc?dry_run=true", "").await.0,
        400,
        "what it does not know is refused"
    );
}

#[tokio::test]
async fn runbooks_are_told_and_only_drills_begin_here() {
    let runbook = "[runbook.site-b]\nabout = \"Serve from site B\"\n[[runbook.site-b.step]]\nname = \"take\"\naction = \"attach\"\nshare = \"docs\"\n";
    let served = Served::start_with(runbook).await;
    let (status, books) = served.call("GET", "/api/v1/runbooks", "").await;
    assert_eq!((status, &books[0]["name"], &books[0]["shares"]), (200, &json!("site-b"), &json!(["docs"])));
    let (status, runs) = served.call("GET", "/api/v1/runbooks/site-b/runs", "").await;
    assert_eq!((status, runs), (200, json!([])));
    for (method, path, body, expected) in [
        ("GET", "/api/v1/runbooks/none/runs", "", 404),
        ("GET", "/api/v1/runbooks/site-b/runs/none", "", 404),
        ("POST", "/api/v1/runbooks/none/runs", r#"{"mode":"drill"}"#, 404),
        ("POST", "/api/v1/runbooks/site-b/runs", r#"{"mode":"failover"}"#, 400),
        ("POST", "/api/v1/runbooks/site-b/runs", "", 400),
    ] {
        let (status, answer) = served.call(method, path, body).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
    }
}
