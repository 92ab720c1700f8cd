//! Whole records through RPC, NFS, MOUNT and the port mapper into a file system in memory: every
//! reply repeats the xid, is aligned, and stays within the length that was announced for it.

#![no_main]

#[path = "../../tests/common/mod.rs"]
#[allow(dead_code, missing_docs)]
mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidegate_protocols::SlowCalls;
use tidegate_protocols::mount::Mount;
use tidegate_protocols::nfs3::Nfs3;
use tidegate_protocols::portmap::Portmap;
use tidegate_protocols::retransmission::Retransmissions;
use tidegate_protocols::rpc::{Incoming, Programs, Transport};

fuzz_target!(|records: Vec<Vec<u8>>| {
    let view = Arc::new(common::MemoryView::default());
    let slow = Arc::new(SlowCalls::new(Duration::from_secs(60)));
    let programs = Programs::builder(Arc::new(Retransmissions::default()), slow)
        .serve(Arc::new(Nfs3::new(view.clone())))
        .serve(Arc::new(Mount::new(view)))
        .serve(Arc::new(Portmap::new(Vec::new())))
        .build();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for record in records {
        let peer = ([192, 0, 2, 1], 900).into();
        let Incoming::Call(call) = programs.receive(Bytes::from(record.clone()), peer, Transport::Tcp) else {
            continue;
        };
        let most = call.reply_bytes_max();
        let reply = runtime.block_on(programs.answer(call)).expect("nothing is under way").to_vec();
        assert!(reply.len() <= most && reply.len() % 4 == 0);
        assert_eq!(reply[..4], record[..4]);
    }
});
