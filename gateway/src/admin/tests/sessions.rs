//! Claims about sessions: the cookie, what protects changes, and how they end.

use super::network::{OnNetwork, bearer, token_of};
use super::*;
use crate::audit::Event;

/// A session: the line of its cookie, and the line that goes with changes.
struct Session {
    cookie: String,
    csrf: String,
}

async fn login(network: &OnNetwork, name: &str) -> Session {
    let body = json!({ "token": token_of(name) }).to_string();
    let answer = network.call("POST", "/api/v1/session", &[], &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.header("set-cookie").expect("a cookie");
    for part in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.split("; ").any(|found| found == part), "{cookie}");
    }
    let value = cookie.split(';').next().expect("a value");
    assert!(value.starts_with("__Host-tidegate="), "{value}");
    let csrf = answer.body["csrf"].as_str().expect("a value");
    Session { cookie: format!("cookie: {value}"), csrf: format!("x-tidegate-csrf: {csrf}") }
}

#[tokio::test]
async fn a_session_is_begun_with_a_token_has_its_role_and_ends() {
    let network = OnNetwork::start().await;
    let session = login(&network, "operator").await;
    let who = network.call("GET", "/api/v1/session", &[&session.cookie], "").await;
    assert_eq!(
        (who.status, &who.body["role"], &who.body["name"]),
        (200, &json!("operator"), &json!("operator"))
    );
    assert_eq!(who.body["rights"], json!(["read", "browse", "operate"]));
    let both = [session.cookie.as_str(), session.csrf.as_str()];
    assert_eq!(network.call("POST", "/api/v1/shares/docs/commit", &both, "").await.status, 202);
    assert_eq!(
        network.call("DELETE", "/api/v1/shares/docs", &both, "").await.status,
        403,
        "not with this role"
    );
    let ended = network.call("DELETE", "/api/v1/session", &both, "").await;
    assert_eq!(ended.status, 200);
    assert!(ended.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));
    assert_eq!(network.call("GET", "/api/v1/session", &[&session.cookie], "").await.status, 401);
    let records = network.records();
    let of_session = records.iter().filter(|record| record.entry.who == "session:operator");
    assert!(
        of_session.clone().any(|record| record.event == Event::Call && record.entry.call == "POST /session")
    );
    assert!(records.iter().all(|record| !format!("{record:?}").contains(&token_of("operator"))));
}

#[tokio::test]
async fn a_change_in_a_session_is_made_by_a_page_of_this_origin() {
    let network = OnNetwork::start().await;
    let session = login(&network, "operator").await;
    let commit = "/api/v1/shares/docs/commit";
    let (cookie, csrf) = (session.cookie.as_str(), session.csrf.as_str());
    let other = login(&network, "operator").await;
    let forged: [&[&str]; 6] = [
        &[cookie],
        &[cookie, "x-tidegate-csrf: 00"],
        &[cookie, other.csrf.as_str()],
        &[cookie, csrf, "origin: https://elsewhere.example"],
        &[cookie, csrf, "origin: null"],
        &[cookie, csrf, "sec-fetch-site: same-site"],
    ];
    for lines in forged {
        assert_eq!(network.call("POST", commit, lines, "").await.status, 403, "{lines:?}");
    }
    let own = [cookie, csrf, "origin: https://localhost", "sec-fetch-site: same-origin"];
    assert_eq!(network.call("POST", commit, &own, "").await.status, 202);
    assert_eq!(
        network.call("GET", "/api/v1/status", &[cookie], "").await.status,
        200,
        "looking needs no more"
    );
    let token = bearer("operator");
    assert_eq!(network.call("POST", commit, &[&token], "").await.status, 202, "a token is no cookie");
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let network = OnNetwork::start().await;
    let session = login(&network, "viewer").await;
    assert_eq!(network.with("admin", "DELETE", "/api/v1/tokens/viewer", "").await.status, 200);
    assert_eq!(network.call("GET", "/api/v1/session", &[&session.cookie], "").await.status, 401);
}

#[tokio::test]
async fn wrong_logins_are_refused_counted_and_do_not_repeat_what_was_sent() {
    let network = OnNetwork::start_with("failures_per_minute = 2").await;
    for body in ["hunter2", "{\"token\": \"hunter2\", \"x\": 1}", "\"hunter2\"", ""] {
        let answer = network.call("POST", "/api/v1/session", &[], body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(!answer.body.to_string().contains("hunter2"), "{answer:?}");
    }
    let wrong = json!({ "token": "hunter2" }).to_string();
    for expected in [401, 401, 429] {
        let answer = network.call("POST", "/api/v1/session", &[], &wrong).await;
        assert_eq!(answer.status, expected);
        assert!(answer.header("set-cookie").is_none());
    }
    assert_eq!(network.call("POST", "/api/v1/session", &[], &"x".repeat(5_000)).await.status, 400);
}

#[tokio::test]
async fn on_the_socket_nobody_logs_in() {
    let served = Served::start().await;
    let (status, who) = served.call("GET", "/api/v1/session", "").await;
    assert_eq!(
        (status, &who["name"], &who["role"], who.get("csrf")),
        (200, &json!("socket"), &json!("admin"), None)
    );
    assert_eq!(served.call("POST", "/api/v1/session", r#"{"token":"any"}"#).await.0, 200);
    assert_eq!(served.call("DELETE", "/api/v1/session", "").await.0, 200);
    assert_eq!(served.call("POST", "/api/v1/shares/docs/commit", "").await.0, 202);
}
