//! What is fuzzed: functions that take any bytes, and fail when a promise is broken. The bounded run of
//! the tests calls them, and the targets of `fuzz/` do.

// Each of the crates that share this module uses its own part of it.
#![allow(dead_code)]

mod dumb;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::FutureExt;
use tidegate_protocols::SlowCalls;
use tidegate_protocols::mount::Mount;
use tidegate_protocols::nfs3::Nfs3;
use tidegate_protocols::nlm::LockManager;
use tidegate_protocols::portmap::{Mapping, Portmap, Protocol};
use tidegate_protocols::retransmission::Retransmissions;
use tidegate_protocols::rpc::{
    CallHeader, Credential, GRANT_BYTES, GROUPS_MAX, Incoming, Programs, Records, Refusal, Reply, Step,
    Transport, Verdict,
};

pub use self::dumb::DumbView;

/// The longest record that [`records`] takes.
pub const RECORD_BYTES_MAX: usize = 1 << 16;
/// The procedures whose arguments are decoded, as program, version and number.
pub const PROCEDURES: [(u32, u32, u32); 40] = procedures();

const NFS: u32 = 100_003;
const MOUNT: u32 = 100_005;
const PORTMAP: u32 = 100_000;

const fn procedures() -> [(u32, u32, u32); 40] {
    let mut all = [(0, 0, 0); 40];
    let counts = [(NFS, 3, 22), (MOUNT, 3, 6), (MOUNT, 1, 7), (PORTMAP, 2, 5)];
    let (mut at, mut program) = (0, 0);
    while program < counts.len() {
        let (number, version, count) = counts[program];
        let mut procedure = 0;
        while procedure < count {
            all[at] = (number, version, procedure);
            (at, procedure) = (at + 1, procedure + 1);
        }
        program += 1;
    }
    assert!(at == all.len());
    all
}

/// Record marking over a stream that arrives in pieces: no record is longer than the limit, and no
/// buffer is asked for beyond it.
pub fn records(stream: &[u8], cuts: &[u16]) {
    let (mut records, mut inbox) = (Records::new(RECORD_BYTES_MAX), BytesMut::new());
    let (mut rest, mut cuts) = (stream, cuts.iter());
    loop {
        match records.step(&mut inbox) {
            Err(_) => return,
            Ok(Step::Record(record)) => assert!(record.len() <= RECORD_BYTES_MAX),
            Ok(Step::Grant(bytes)) => {
                assert!((1..=RECORD_BYTES_MAX).contains(&bytes));
                records.grant();
            }
            Ok(Step::More) if rest.is_empty() => return,
            Ok(Step::More) => {
                let size = usize::from(cuts.next().copied().unwrap_or(u16::MAX)).clamp(1, rest.len());
                rest = &rest[arrive(&mut records, &mut inbox, &rest[..size])..];
            }
        }
    }
}

/// Takes bytes as a transport does, into the inbox or directly; answers how many were taken.
fn arrive(records: &mut Records, inbox: &mut BytesMut, bytes: &[u8]) -> usize {
    let Some((buffer, most)) = records.direct() else {
        let taken = bytes.len().min(GRANT_BYTES);
        inbox.put_slice(&bytes[..taken]);
        return taken;
    };
    let taken = bytes.len().min(most);
    buffer.put_slice(&bytes[..taken]);
    if let Step::Record(record) = records.read_directly(taken) {
        assert!(record.len() <= RECORD_BYTES_MAX);
    }
    taken
}

/// The header of a call with its credential: what is taken keeps the limits, what is denied gets a
/// reply to its own xid.
pub fn header(record: &[u8]) {
    match CallHeader::decode(Bytes::copy_from_slice(record)) {
        Ok(call) => {
            assert!(record.ends_with(&call.arguments));
            if let Credential::Sys { gids, .. } = call.credential {
                assert!(gids.len() <= GROUPS_MAX);
            }
        }
        Err(Refusal::Denied(reply)) => check_reply(record, reply, Reply::HEADER_BYTES_MAX),
        Err(Refusal::Unreadable) => {}
    }
}

/// All programs over a view without files.
pub struct Server {
    programs: Programs,
    /// What bounds waits counts its time here; nothing runs in it.
    runtime: tokio::runtime::Runtime,
}

impl Default for Server {
    fn default() -> Self {
        let slow = Arc::new(SlowCalls::new(Duration::from_mins(1)));
        let mapping = Mapping { program: NFS, version: 3, protocol: Protocol::Tcp, port: 2049 };
        let programs = Programs::builder(Arc::new(Retransmissions::default()), slow)
            .serve(Arc::new(Nfs3::new(Arc::new(DumbView))))
            .serve(Arc::new(Mount::new(Arc::new(DumbView))))
            .serve(Arc::new(Portmap::new(vec![mapping; 9])))
            .serve(Arc::new(LockManager::default()))
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        Self { programs, runtime: runtime.expect("a runtime") }
    }
}

impl Server {
    /// Carries a record out; gives the reply and the length that was announced for it.
    pub fn receive(&self, record: Bytes) -> Option<(Reply, usize)> {
        let peer: SocketAddr = ([192, 0, 2, 1], 900).into();
        let _inside = self.runtime.enter();
        match self.programs.receive(record, peer, Transport::Tcp) {
            Incoming::Call(call) => {
                let most = call.reply_bytes_max();
                // The view never waits, so nothing here has a reason to.
                let reply = self.programs.answer(call).now_or_never().expect("an answer at once");
                Some((reply.expect("nothing like it is under way"), most))
            }
            Incoming::Reply(reply) => Some((reply, Reply::HEADER_BYTES_MAX)),
            Incoming::Unreadable => None,
        }
    }

    /// A whole record through everything.
    pub fn call(&self, record: &[u8]) {
        if let Some((reply, most)) = self.receive(Bytes::copy_from_slice(record)) {
            check_reply(record, reply, most);
        }
    }

    /// Arguments of one of the [`PROCEDURES`], in a call that is well formed up to them.
    pub fn arguments(&self, procedure: usize, arguments: &[u8]) {
        let (program, version, procedure) = PROCEDURES[procedure % PROCEDURES.len()];
        let header = [1, 0, 2, program, version, procedure, 0, 0, 0, 0];
        let header = header.iter().flat_map(|word: &u32| word.to_be_bytes());
        let record: Vec<u8> = header.chain(arguments.iter().copied()).collect();
        self.call(&record);
    }
}

/// A reply repeats the xid, is aligned, keeps its announced length and blames nobody but the client.
pub fn check_reply(record: &[u8], reply: Reply, most: usize) {
    assert!(!matches!(reply.verdict, Verdict::SystemError), "a call made the server fail");
    assert!(reply.len() <= most, "{} bytes where {most} were announced", reply.len());
    let bytes = reply.to_vec();
    assert_eq!(bytes.len() % 4, 0);
    assert_eq!(bytes[..4], record[..4], "the xid of another call");
    assert_eq!(bytes[4..8], [0, 0, 0, 1], "not a reply");
}
