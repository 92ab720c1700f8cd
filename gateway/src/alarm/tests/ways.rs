//! Real commands, a real web server and a real mail server, all on this machine.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::alarm::{DeliverError, Notice, Sender, Tidings, way};
use crate::settings::Settings;

fn sender() -> Sender {
    Sender { host: "harbour".to_owned(), repository: "s3://bucket/prefix".to_owned() }
}

fn notice() -> Notice {
    Notice { tidings: Tidings::Raised, alarm: alarm("target:main", Severity::Critical), at: second(60) }
}

async fn deliver(keys: &str) -> Result<(), DeliverError> {
    tell(keys, &notice()).await
}

async fn tell(keys: &str, notice: &Notice) -> Result<(), DeliverError> {
    let text = format!(
        "[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n\
         [[notify]]\nname = \"ops\"\ntimeout = \"20s\"\n{keys}\n"
    );
    let settings = Settings::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    way(&settings.notify[0]).deliver(notice, &sender()).await
}

#[tokio::test]
async fn a_command_gets_everything_in_its_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("told");
    let line = "env | sort >$0";
    deliver(&format!("command = [\"/bin/sh\", \"-c\", \"{line}\", \"{}\"]", file.display()))
        .await
        .expect("told");
    let told = std::fs::read_to_string(&file).expect("written");
    for variable in [
        "TIDEGATE_EVENT=raised",
        "TIDEGATE_CODE=store-away",
        "TIDEGATE_SUBJECT=target:main",
        "TIDEGATE_SEVERITY=critical",
        "TIDEGATE_SINCE=1970-01-01T00:00:00Z",
        "TIDEGATE_AT=1970-01-01T00:01:00Z",
        "TIDEGATE_MESSAGE=it is wrong",
        "TIDEGATE_TODO=put it right",
        "TIDEGATE_HOST=harbour",
        "TIDEGATE_REPOSITORY=s3://bucket/prefix",
    ] {
        assert!(told.lines().any(|line| line == variable), "{variable} is not in\n{told}");
    }
    let failed = deliver("command = [\"/bin/sh\", \"-c\", \"exit 3\"]").await;
    assert!(matches!(failed, Err(DeliverError::Passing(_))), "{failed:?}");
    let missing = deliver("command = [\"/nowhere/at/all\"]").await;
    assert!(matches!(missing, Err(DeliverError::Refused(_))), "{missing:?}");
}

#[tokio::test]
async fn a_command_is_told_whatever_an_alarm_quotes() {
    for quoted in ["x".repeat(200 << 10), "a zero byte: \0".to_owned()] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("told");
        let line = "echo $TIDEGATE_MESSAGE >$0";
        let mut notice = notice();
        notice.alarm.message.clone_from(&quoted);
        tell(&format!("command = [\"/bin/sh\", \"-c\", \"{line}\", \"{}\"]", file.display()), &notice)
            .await
            .expect("told");
        let told = std::fs::read_to_string(&file).expect("written");
        assert!(told.starts_with(&quoted[..8]), "{} bytes", told.len());
    }
}

/// Answers one request; gives what it was.
async fn web_server(answer: &'static str) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let mut piece = [0; 4096];
            let length = stream.read(&mut piece).await.expect("readable");
            assert!(length > 0, "the request ends too early");
            request.extend_from_slice(&piece[..length]);
        }
        stream.write_all(answer.as_bytes()).await.expect("writable");
        stream.shutdown().await.expect("closed");
        String::from_utf8(request).expect("text")
    });
    (port, served)
}

#[tokio::test]
async fn a_webhook_gets_json_and_its_secret_in_a_header() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    write_secret(&secret, "Bearer hunter2\n");
    let (port, served) = web_server("HTTP/1.1 204 No Content\r\n\r\n").await;
    let keys = format!(
        "webhook = \"http://127.0.0.1:{port}/hook?room=1\"\nsecret = {{ file = \"{}\" }}",
        secret.display()
    );
    deliver(&keys).await.expect("told");
    let request = served.await.expect("served");
    let (head, body) = request.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("POST /hook?room=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer hunter2"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    for (key, value) in [
        ("event", "raised"),
        ("code", "store-away"),
        ("subject", "target:main"),
        ("severity", "critical"),
        ("host", "harbour"),
        ("repository", "s3://bucket/prefix"),
        ("todo", "put it right"),
    ] {
        assert_eq!(body[key], value, "{key} in {body}");
    }
    assert_eq!(body["version"], 1);
    assert!(body["text"].as_str().is_some_and(|text| text.contains("it is wrong")));
}

#[tokio::test]
async fn a_webhook_that_fails_is_told_apart_from_one_that_refuses_and_its_address_is_not_repeated() {
    let folder = tempfile::tempdir().expect("a folder");
    for (answer, passes) in [
        ("HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 404 Gone\r\ncontent-length: 0\r\n\r\n", false),
        ("HTTP/1.1 302 Found\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n", false),
        ("nonsense", true),
    ] {
        let (port, served) = web_server(answer).await;
        let address = folder.path().join("address");
        write_secret(&address, &format!("http://127.0.0.1:{port}/hunter2\n"));
        let failed = deliver(&format!("webhook = {{ file = \"{}\" }}", address.display())).await;
        served.await.expect("served");
        let error = failed.expect_err(answer);
        assert_eq!(matches!(error, DeliverError::Passing(_)), passes, "{answer}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        // Nobody listens there any more.
        let failed = deliver(&format!("webhook = {{ file = \"{}\" }}", address.display())).await;
        let error = failed.expect_err("nobody listens");
        assert!(
            matches!(error, DeliverError::Passing(_)) && !error.to_string().contains("hunter2"),
            "{error}"
        );
        std::fs::remove_file(address).expect("removed");
    }
}

/// Takes one mail as SMTP has it; gives what the client said. `refusal` is said to the recipient.
async fn mail_server(refusal: Option<&'static str>) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let (reader, mut writer) = stream.into_split();
        let (mut lines, mut said) = (BufReader::new(reader).lines(), String::new());
        writer.write_all(b"220 harbour\r\n").await.expect("writable");
        let mut in_body = false;
        while let Ok(Some(line)) = lines.next_line().await {
            said.push_str(&line);
            said.push('\n');
            let answer = match line.split([' ', ':']).next().unwrap_or_default() {
                "." if in_body => {
                    in_body = false;
                    "250 taken"
                }
                _ if in_body => continue,
                "EHLO" => "250-harbour\r\n250 AUTH PLAIN LOGIN",
                "AUTH" => "235 welcome",
                "RCPT" => refusal.unwrap_or("250 fine"),
                "DATA" => {
                    in_body = true;
                    "354 go on"
                }
                "QUIT" => "221 bye",
                _ => "250 fine",
            };
            if writer.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                break;
            }
        }
        said
    });
    (port, served)
}

fn mail_keys(port: u16, password: &std::path::Path) -> String {
    format!(
        "smtp = \"smtp://127.0.0.1:{port}\"\nmail_from = \"Tidegate <tg@example.net>\"\n\
         mail_to = [\"ops@example.net\", \"Night <night@example.net>\"]\nsmtp_user = \"tg\"\n\
         secret = {{ file = \"{}\" }}",
        password.display()
    )
}

#[tokio::test]
async fn mail_goes_to_everybody_who_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("password");
    write_secret(&password, "hunter2\n");
    let (port, served) = mail_server(None).await;
    deliver(&mail_keys(port, &password)).await.expect("told");
    let said = served.await.expect("served");
    for part in [
        "MAIL FROM:<tg@example.net>",
        "RCPT TO:<ops@example.net>",
        "RCPT TO:<night@example.net>",
        "Subject: tidegate on harbour: critical: store-away target:main",
        "what to do: put it right",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
}

#[tokio::test]
async fn what_a_mail_server_refuses_for_good_is_told_apart_from_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("password");
    write_secret(&password, "hunter2\n");
    for (refusal, passes) in [("450 later", true), ("550 nobody here", false)] {
        let (port, _served) = mail_server(Some(refusal)).await;
        let error = deliver(&mail_keys(port, &password)).await.expect_err(refusal);
        assert_eq!(matches!(error, DeliverError::Passing(_)), passes, "{refusal}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

fn write_secret(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("a writable folder");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("its owner may");
}
