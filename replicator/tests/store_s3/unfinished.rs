//! Uploads in parts that killed processes have left: a server that lists some, and notes which are given up.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tidegate_replicator::store::{StoreSettings, open};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::name;
use super::server::credentials;

/// What the server was asked for, by method and target.
type Asked = Arc<Mutex<Vec<String>>>;

/// A time as S3 writes it, so many hours ago.
fn hours_ago(hours: u64) -> String {
    let time = SystemTime::now() - Duration::from_hours(hours);
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.000Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// The date of a day after 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month as u64 + 1, days + 1)
}

async fn serve(listing: String, asked: Asked) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(converse(socket, listing.clone(), asked.clone()));
        }
    });
    address
}

async fn converse(mut socket: TcpStream, listing: String, asked: Asked) {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = socket.read(&mut piece).await {
        request.extend_from_slice(&piece[..read]);
        if !request.windows(4).any(|window| window == b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&request);
        let line = text.lines().next().unwrap_or_default().to_owned();
        let answer = if line.starts_with("GET") {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{listing}", listing.len())
        } else {
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
        };
        asked.lock().expect("not poisoned").push(line);
        request.clear();
        let _ = socket.write_all(answer.as_bytes()).await;
    }
}

#[tokio::test]
async fn what_a_killed_process_left_is_given_up_and_what_another_sends_now_is_not() {
    let upload = |key: &str, id: &str, hours: u64| {
        let begun = hours_ago(hours);
        format!("<Upload><Key>p/{key}</Key><UploadId>{id}</UploadId><Initiated>{begun}</Initiated></Upload>")
    };
    let uploads = [
        upload("packs/00/mine", "ours-new", 0),
        upload("packs/00/other", "theirs-new", 2),
        upload("packs/00/old", "theirs-old", 25),
    ];
    let listing = format!(
        "<?xml version=\"1.0\"?><ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{}\
         </ListMultipartUploadsResult>",
        uploads.concat()
    );
    let asked = Asked::default();
    let address = serve(listing, asked.clone()).await;
    let settings = StoreSettings {
        endpoint: Some(format!("http://{address}")),
        ..StoreSettings::new("s3://bucket/p".parse().expect("an address"))
    };
    let opened = open("test", &settings, &credentials(), None).expect("opened");
    let own = HashSet::from([name("packs/00/mine")]);
    assert_eq!(opened.abort_unfinished(&own).await.expect("listed"), 2);
    let asked = asked.lock().expect("not poisoned").clone();
    let given_up: Vec<&String> = asked.iter().filter(|line| line.starts_with("DELETE")).collect();
    let is_given_up = |id: &str| given_up.iter().any(|line| line.contains(&format!("uploadId={id}")));
    assert!(is_given_up("ours-new") && is_given_up("theirs-old"), "{asked:?}");
    assert_eq!(given_up.len(), 2, "{asked:?}");
}
