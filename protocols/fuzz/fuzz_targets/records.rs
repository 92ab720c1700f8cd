//! Record marking over arbitrary streams, cut arbitrarily: records stay within the limit, and no
//! buffer is asked for beyond it.

#![no_main]

use bytes::{BufMut, BytesMut};
use libfuzzer_sys::fuzz_target;
use tidegate_protocols::rpc::{GRANT_BYTES, Records, Step};

const LIMIT: usize = 1 << 16;

fuzz_target!(|input: (Vec<u8>, Vec<u16>)| {
    let (stream, cuts) = input;
    let (mut records, mut inbox) = (Records::new(LIMIT), BytesMut::new());
    let (mut rest, mut cuts) = (stream.as_slice(), cuts.into_iter());
    loop {
        match records.step(&mut inbox) {
            Err(_) => return,
            Ok(Step::Record(record)) => assert!(record.len() <= LIMIT),
            Ok(Step::Grant(bytes)) => {
                assert!(bytes <= LIMIT);
                records.grant();
            }
            Ok(Step::More) if rest.is_empty() => return,
            Ok(Step::More) => {
                let size = usize::from(cuts.next().unwrap_or(u16::MAX)).clamp(1, rest.len());
                let taken = if let Some((buffer, most)) = records.direct() {
                    let taken = size.min(most);
                    buffer.put_slice(&rest[..taken]);
                    if let Step::Record(record) = records.read_directly(taken) {
                        assert!(record.len() <= LIMIT);
                    }
                    taken
                } else {
                    let taken = size.min(GRANT_BYTES);
                    inbox.put_slice(&rest[..taken]);
                    taken
                };
                rest = &rest[taken..];
            }
        }
    }
});
