//! Goal: no bytes make the server panic, hang or answer something that is no reply. Method: records
//! that are random, or well formed and then damaged; a seed is printed and accepted in the
//! environment variable TIDEGATE_SEED. The fuzz targets in `fuzz/` go on where this ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_protocols::nfs3::Nfs3;
use tidegate_protocols::retransmission::Retransmissions;
use tidegate_protocols::rpc::{Incoming, Programs, Transport};
use tidegate_protocols::{SlowCalls, mount::Mount, portmap::Portmap};

use crate::common::MemoryView;
use crate::errors::procedures;
use crate::harness::{MOUNT, NFS, call, mark, serve, word};

const RECORDS: usize = 20_000;
const STREAMS: usize = 60;

/// A small generator of random numbers (SplitMix64): same seed, same run.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let seed = std::env::var("TIDEGATE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).unwrap();
            u64::from_ne_bytes(bytes)
        });
        println!("TIDEGATE_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// A number that breaks things more often than others.
    fn nasty(&mut self) -> u32 {
        let all =
            [0, 1, 2, 3, 16, 17, 64, 65, 255, 256, 400, 404, 4096, 1 << 20, 1 << 31, u32::MAX - 3, u32::MAX];
        all[self.below(all.len())]
    }

    fn record(&mut self) -> Vec<u8> {
        if self.below(8) == 0 {
            let length = self.below(300);
            return self.bytes(length);
        }
        let all = procedures();
        let (procedure, arguments, _) = &all[self.below(all.len())];
        let (program, version) =
            [(NFS, 3), (NFS, 3), (NFS, 3), (MOUNT, 3), (MOUNT, 1), (100_000, 2)][self.below(6)];
        let mut record = call(self.next() as u32, program, version, *procedure, arguments);
        for _ in 0..self.below(4) {
            self.damage(&mut record);
        }
        record
    }

    fn damage(&mut self, record: &mut Vec<u8>) {
        let place = self.below(record.len() / 4) * 4;
        match self.below(4) {
            0 => record.truncate(self.below(record.len() + 1)),
            1 if record.len() >= place + 4 => {
                record[place..place + 4].copy_from_slice(&self.nasty().to_be_bytes());
            }
            2 if place < record.len() => record[place] ^= 1 << self.below(8),
            _ => {
                let more = self.below(40);
                record.extend(self.bytes(more));
            }
        }
    }
}

fn programs(view: &Arc<MemoryView>) -> Programs {
    let slow = Arc::new(SlowCalls::new(Duration::from_secs(10)));
    Programs::builder(Arc::new(Retransmissions::default()), slow)
        .serve(Arc::new(Nfs3::new(view.clone())))
        .serve(Arc::new(Mount::new(view.clone())))
        .serve(Arc::new(Portmap::new(Vec::new())))
        .build()
}

#[tokio::test]
async fn every_record_gets_a_reply_within_its_announced_length_or_ends_its_connection() {
    let mut random = Random::seeded();
    let view = Arc::new(MemoryView::default());
    let programs = programs(&view);
    let peer = "192.0.2.7:999".parse().unwrap();
    for _ in 0..RECORDS {
        let record = random.record();
        match programs.receive(Bytes::from(record.clone()), peer, Transport::Tcp) {
            Incoming::Call(call) => {
                let most = call.reply_bytes_max();
                let reply = programs.answer(call).await.expect("nothing is under way").to_vec();
                assert!(reply.len() <= most, "{} bytes for {record:02x?}", reply.len());
                assert_eq!(reply[..4], record[..4], "the xid is that of {record:02x?}");
                assert_eq!(reply.len() % 4, 0);
                assert_ne!(word(&reply, 5), 5, "a system error for {record:02x?}");
            }
            Incoming::Reply(reply) => assert_eq!(reply.to_vec()[..4], record[..4]),
            Incoming::Unreadable => {}
        }
    }
}

#[tokio::test]
async fn streams_of_damaged_records_leave_the_server_healthy() {
    let mut random = Random::seeded();
    let served = serve().await;
    for _ in 0..STREAMS {
        let mut raw = served.raw().await;
        for _ in 0..random.below(30) {
            let record = random.record();
            let mark = if random.below(10) == 0 { random.nasty() } else { mark(record.len()) };
            raw.send_bytes(&mark.to_be_bytes()).await;
            raw.send_bytes(&record).await;
        }
    }
    let reply = served.raw().await.exchange(&call(5, NFS, 3, 0, &[])).await;
    assert_eq!((word(&reply, 0), word(&reply, 5)), (5, 0));
}
