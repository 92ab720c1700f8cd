//! Records on their way to syslog (RFC 5424): numbered, with their digests, and without what calls said beyond their path.
//!
//! A thread of its own sends them, in order. At most [`WAITING_MAX`] wait while the other side does not answer; further ones
//! are counted and left out, and the log of the program says how many. The log on the disk has them all, and the numbers
//! show what is missing on the other side.

use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::record::{Event, Seen};
use crate::settings::SyslogPlace;

/// The most records that wait.
const WAITING_MAX: usize = 4_096;
/// How long one attempt may take.
const TIME_MAX: Duration = Duration::from_secs(5);
/// How long to wait after a failed attempt, and how many there are for one record.
const PAUSE: Duration = Duration::from_secs(2);
const ATTEMPTS_MAX: u32 = 150;
/// Facility "log audit", severities "notice" and "warning" (RFC 5424 section 6.2.1).
const FACILITY: u8 = 13;
const NOTICE: u8 = 5;
const WARNING: u8 = 4;

/// Sends records; see the head of this module.
pub struct Export {
    waiting: SyncSender<String>,
    host: String,
    missed: AtomicU64,
}

impl Export {
    /// Begins to send to a place.
    pub fn to(place: SyslogPlace) -> Self {
        let (waiting, taken) = sync_channel(WAITING_MAX);
        std::thread::spawn(move || carry(&place, &taken));
        Self { waiting, host: host(), missed: AtomicU64::new(0) }
    }

    /// Hands a record over. Does not wait.
    pub(super) fn send(&self, seen: &Seen) {
        if self.waiting.try_send(message(seen, &self.host)).is_ok() {
            let missed = self.missed.swap(0, Ordering::Relaxed);
            if missed > 0 {
                tracing::warn!(records = missed, "records of the audit log were not sent to syslog");
            }
        } else {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_str().ok().filter(|name| !name.is_empty()).unwrap_or("-").to_owned()
}

/// The message of a record (RFC 5424 section 6).
pub(super) fn message(seen: &Seen, host: &str) -> String {
    let (record, entry) = (&seen.record, &seen.record.entry);
    let severity = match record.event {
        Event::Opened | Event::Call | Event::Answered | Event::Forgotten => NOTICE,
        Event::Denied | Event::Broken => WARNING,
    };
    let mut data = format!("[tidegate@32473 sequence=\"{}\" digest=\"{}\"", record.sequence, seen.digest);
    let of = entry.of.map(|of| of.to_string()).unwrap_or_default();
    let status = entry.status.map(|status| status.to_string()).unwrap_or_default();
    let subject = entry.subject.join(" ");
    for (name, value) in [
        ("who", &entry.who),
        ("role", &entry.role),
        ("from", &entry.from),
        ("call", &entry.call),
        ("subject", &subject),
        ("outcome", &entry.outcome),
        ("of", &of),
        ("status", &status),
    ] {
        if !value.is_empty() {
            data.push_str(&format!(" {name}=\"{}\"", escaped(value)));
        }
    }
    let (event, process) = (record.event.as_str(), std::process::id());
    let priority = FACILITY * 8 + severity;
    format!("<{priority}>1 {:.6} {host} tidegate {process} {event} {data}] audit", record.time)
}

/// A value of structured data (RFC 5424 section 6.3.3); what cannot be seen is written as `?`.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        if matches!(letter, '"' | '\\' | ']') {
            text.push('\\');
        }
        text.push(if letter.is_control() { '?' } else { letter });
    }
    text
}

fn carry(place: &SyslogPlace, taken: &Receiver<String>) {
    let mut way = None;
    while let Ok(message) = taken.recv() {
        let mut attempts = 0;
        while let Err(error) = Way::send(&mut way, place, &message) {
            way = None;
            attempts += 1;
            if attempts == 1 {
                tracing::warn!(%place, %error, "syslog does not take records of the audit log");
            }
            if attempts == ATTEMPTS_MAX {
                tracing::error!(%place, "a record of the audit log was not sent to syslog and is left out there");
                break;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// An open way to a place.
enum Way {
    Socket(UnixDatagram),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Way {
    fn open(place: &SyslogPlace) -> std::io::Result<Self> {
        match place {
            SyslogPlace::Socket(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_write_timeout(Some(TIME_MAX))?;
                socket.connect(path.as_path())?;
                Ok(Self::Socket(socket))
            }
            SyslogPlace::Udp(address) => {
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => ([0; 4], 0).into(),
                    SocketAddr::V6(_) => ([0; 16], 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                Ok(Self::Udp(socket))
            }
            SyslogPlace::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, TIME_MAX)?;
                stream.set_write_timeout(Some(TIME_MAX))?;
                Ok(Self::Tcp(stream))
            }
        }
    }

    fn send(way: &mut Option<Self>, place: &SyslogPlace, message: &str) -> std::io::Result<()> {
        let way = match way {
            Some(way) => way,
            None => way.insert(Self::open(place)?),
        };
        match way {
            Self::Socket(socket) => socket.send(message.as_bytes()).map(drop),
            Self::Udp(socket) => socket.send(message.as_bytes()).map(drop),
            Self::Tcp(stream) => stream.write_all(format!("{} {message}", message.len()).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;
    use crate::audit::{AuditLog, Entry};

    fn denied() -> Entry {
        Entry {
            who: "token:a\"b]\\".to_owned(),
            call: "POST /shares/{share}/commit".to_owned(),
            subject: vec!["docs\n".to_owned()],
            parameters: Some("what it said".into()),
            ..Entry::default()
        }
    }

    fn first_of(place: SyslogPlace, mut taken: impl FnMut() -> String) -> [String; 2] {
        let folder = tempfile::tempdir().expect("a folder");
        let log = AuditLog::open(folder.path(), 4, Some(Export::to(place))).expect("opened");
        log.append(Event::Denied, denied()).expect("written");
        [taken(), taken()]
    }

    fn is_right(messages: &[String; 2]) {
        assert!(
            messages[0].starts_with("<109>1 2")
                && messages[0].contains(" opened [tidegate@32473 sequence=\"1\"")
        );
        let denied = &messages[1];
        assert!(denied.starts_with("<108>1 2") && denied.ends_with("] audit"), "{denied}");
        assert!(
            denied.contains(r#" who="token:a\"b\]\\" "#) && denied.contains(r#" subject="docs?""#),
            "{denied}"
        );
        assert!(!denied.contains("what it said"), "{denied}");
    }

    #[test]
    fn records_arrive_as_datagrams() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let place = SyslogPlace::Udp(socket.local_addr().expect("bound"));
        let mut buffer = [0; 4_096];
        is_right(&first_of(place, || {
            let length = socket.recv(&mut buffer).expect("a datagram");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        }));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let place: SyslogPlace = path.to_str().expect("text").parse().expect("a place");
        is_right(&first_of(place, || {
            let length = socket.recv(&mut buffer).expect("a datagram");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        }));
    }

    #[test]
    fn on_a_stream_each_record_has_its_length_before_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let place = SyslogPlace::Tcp(listener.local_addr().expect("bound"));
        let mut stream = None;
        is_right(&first_of(place, || {
            let stream = stream.get_or_insert_with(|| listener.accept().expect("a connection").0);
            let (mut length, mut byte) = (0, [0]);
            loop {
                stream.read_exact(&mut byte).expect("a length");
                if byte[0] == b' ' {
                    break;
                }
                length = length * 10 + usize::from(byte[0] - b'0');
            }
            let mut text = vec![0; length];
            stream.read_exact(&mut text).expect("a record");
            String::from_utf8(text).expect("text")
        }));
    }
}
