//! Claims about stores that do not answer, answer with refusals, or never come to the end of an answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use tidegate_integration::attempt::{Ended, attempt};

use super::{Place, assert_untouched, write_private};

const SECRET: &str = "the-secret-access-key-of-nobody";

/// Where nobody listens.
fn refused_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}

/// Accepts connections, and gives each to `answer` in a thread that ends with the test's process.
fn listen(answer: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

/// Reads what comes, and says nothing.
fn be_silent(mut stream: TcpStream) {
    let mut sink = [0; 4096];
    while stream.read(&mut sink).is_ok_and(|count| count > 0) {}
}

/// Refuses each request.
fn be_forbidding(mut stream: TcpStream) {
    let body =
        "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    let mut head = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|count| count > 0) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 403 Forbidden\r\ncontent-type: application/xml\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            // The client may have seen enough.
            let _ = stream.write_all(answer.as_bytes());
            return;
        }
    }
}

/// A store, and what must be said of it.
struct Case {
    what: &'static str,
    address: fn() -> SocketAddr,
    code: i32,
    says: &'static [&'static str],
}

const CASES: [Case; 3] = [
    Case {
        what: "nobody listens",
        address: refused_address,
        code: 7,
        says: &["s3://bucket/prefix", "to try again later is safe"],
    },
    Case {
        what: "nobody answers",
        address: || listen(be_silent),
        code: 7,
        says: &["s3://bucket/prefix", "to try again later is safe"],
    },
    Case {
        what: "access is denied",
        address: || listen(be_forbidding),
        code: 6,
        says: &["s3://bucket/prefix", "403", "check the credentials"],
    },
];

#[test]
fn a_store_that_does_not_serve_is_told_from_one_that_refuses() {
    std::thread::scope(|scope| {
        for case in &CASES {
            scope.spawn(|| refuse(case));
        }
    });
}

fn refuse(case: &Case) {
    println!("{}", case.what);
    let place = Place::new();
    let credentials = place.path("credentials");
    write_private(&credentials, &format!("AKIDOFNOBODY\n{SECRET}\n"));
    let secrets = [place.secrets(), vec![SECRET.to_owned()]].concat();
    let endpoint = format!("http://{}", (case.address)());
    let own = format!("address = \"file://{}\"", place.gateway.repository().display());
    let credentials = credentials.display();
    let s3 = format!(
        "address = \"s3://bucket/prefix\"\nendpoint = \"{endpoint}\"\ncredentials = {{ file = \"{credentials}\" }}"
    );
    place.edit(|text| text.replace(&own, &s3));
    let before = place.picture();
    let fresh = place.path("fresh.toml");
    let text = |name: &str| place.path(name).display().to_string();
    let (key, data, credentials) = (text("fresh.key"), text("fresh"), credentials.to_string());
    let place_of = ["--address", "s3://bucket/prefix", "--endpoint", &endpoint, "--data", &data];
    let secrets_of = ["--credentials-file", &credentials, "--key-file", &key];
    let init = [&["init"] as &[_], &place_of, &secrets_of].concat();
    let refused = |ended: Ended| ended.assert_refused(case.code, case.says, &secrets);
    std::thread::scope(|scope| {
        for command in [&["attach", "files"] as &[_], &["serve"], &["key", "list"]] {
            scope.spawn(|| refused(place.gateway.attempt(command)));
        }
        scope.spawn(|| refused(attempt(&fresh, &init)));
    });
    assert_untouched(&before, &place.picture());
}
