//! Goal: whatever bytes come, the server neither fails nor spends memory on promises. Each case ends
//! with a healthy call, on the same connection where the RFC lets it live, else on a new one.

use crate::harness::{NFS, Raw, Served, call, create, root, serve, word, words, write_call};

const RECORD_BYTES_MAX: u32 = (1 << 20) + (4 << 10);

async fn is_healthy(served: &Served) -> bool {
    answers(&mut served.raw().await).await
}

async fn answers(raw: &mut Raw) -> bool {
    let reply = raw.exchange(&call(77, NFS, 3, 0, &[])).await;
    word(&reply, 0) == 77 && word(&reply, 5) == 0
}

#[tokio::test]
async fn a_record_above_the_limit_ends_its_connection() {
    let served = serve().await;
    for length in [RECORD_BYTES_MAX + 1, 1 << 30, (1 << 31) - 1] {
        for last in [0, 1 << 31] {
            let mut raw = served.raw().await;
            raw.send_bytes(&words(&[length | last])).await;
            assert!(raw.is_closed().await, "{length} bytes announced");
        }
    }
    assert!(is_healthy(&served).await);
}

#[tokio::test]
async fn the_longest_record_is_read_whole() {
    let served = serve().await;
    let (file, _) = create(&mut served.client().await, &root(), b"a").await;
    let mut raw = served.raw().await;
    let mut record = write_call(5, &file, 1 << 20);
    record.resize(RECORD_BYTES_MAX as usize, 0);
    for _ in 0..3 {
        let reply = raw.exchange(&record).await;
        assert_eq!((word(&reply, 0), word(&reply, 6)), (5, 0));
    }
}

#[tokio::test]
async fn a_long_write_may_be_cut_into_fragments_anywhere() {
    let served = serve().await;
    let (file, _) = create(&mut served.client().await, &root(), b"a").await;
    let mut raw = served.raw().await;
    for (xid, cut) in (1..).zip([1, 20, 41, 20_000, 900_000]) {
        let record = write_call(xid, &file, 1 << 20);
        let (first, rest) = record.split_at(cut);
        let first = [words(&[first.len() as u32]), first.to_vec()].concat();
        raw.send_bytes(&first).await;
        raw.send(rest).await;
        let reply = raw.receive().await;
        assert_eq!((word(&reply, 0), word(&reply, 6)), (xid, 0), "cut at {cut}");
    }
}

#[tokio::test]
async fn a_record_in_many_fragments_is_put_together() {
    let served = serve().await;
    let mut raw = served.raw().await;
    let record = call(5, NFS, 3, 0, &[7; 200]);
    for size in [1, 3, 4, 50] {
        let mut bytes = Vec::new();
        for fragment in record.chunks(size) {
            bytes.extend((fragment.len() as u32).to_be_bytes());
            bytes.extend(fragment);
        }
        bytes.extend((1_u32 << 31).to_be_bytes());
        raw.send_bytes(&bytes).await;
        assert_eq!(word(&raw.receive().await, 0), 5, "fragments of {size} bytes");
    }
}

#[tokio::test]
async fn endless_fragments_end_their_connection() {
    let served = serve().await;
    for fragment in [words(&[0]), [words(&[1]), vec![0]].concat(), [words(&[2000]), vec![0; 2000]].concat()] {
        let mut raw = served.raw().await;
        raw.send_bytes(&fragment.repeat(1100)).await;
        assert!(raw.is_closed().await, "fragments of {} bytes", fragment.len() - 4);
    }
    assert!(is_healthy(&served).await);
}

#[tokio::test]
async fn what_is_not_a_call_ends_its_connection() {
    let served = serve().await;
    let stumps: [Vec<u8>; 5] =
        [vec![], vec![1], words(&[1]), words(&[1, 1, 0, 0, 0, 0]), words(&[1, 0, 2, NFS, 3])];
    for record in stumps {
        let mut raw = served.raw().await;
        raw.send(&record).await;
        assert!(raw.is_closed().await, "{} bytes", record.len());
    }
    assert!(is_healthy(&served).await);
}

#[tokio::test]
async fn denials_say_why_and_leave_the_connection_open() {
    let served = serve().await;
    let mut raw = served.raw().await;
    let header = |rpc| words(&[1, 0, rpc, NFS, 3, 0]);
    let sys = |body: &[u8]| [words(&[1, body.len() as u32]), body.to_vec(), words(&[0, 0])].concat();
    let groups = |count: u32| {
        let all: Vec<u32> = (0..count.min(17)).collect();
        [words(&[1, 0, 1000, 100, count]), words(&all)].concat()
    };
    let cases: [(&str, Vec<u8>, Vec<u8>); 8] = [
        ("another RPC version", words(&[0, 0, 0, 0]), words(&[0, 2, 2])),
        ("a flavour that is not served", words(&[6, 0, 0, 0]), words(&[1, 1])),
        ("a short-hand that was never given out", words(&[2, 0, 0, 0]), words(&[1, 2])),
        ("a credential that lies about its length", words(&[1, u32::MAX]), words(&[1, 1])),
        ("a credential of 404 bytes", sys(&[0; 404]), words(&[1, 1])),
        ("a credential with 17 groups", sys(&groups(17)), words(&[1, 1])),
        ("a credential with 2^32 - 1 groups", sys(&groups(u32::MAX)), words(&[1, 1])),
        ("a verifier of 404 bytes", [words(&[0, 0, 0, 404]), vec![0; 404]].concat(), words(&[1, 3])),
    ];
    for (number, (what, credential, why)) in cases.into_iter().enumerate() {
        let record = [header(if number == 0 { 3 } else { 2 }), credential].concat();
        let reply = raw.exchange(&record).await;
        assert_eq!(reply, [words(&[1, 1, 1]), why].concat(), "{what}");
        assert!(answers(&mut raw).await, "after {what}");
    }
}

#[tokio::test]
async fn lengths_that_lie_in_arguments_are_garbage() {
    let served = serve().await;
    let mut raw = served.raw().await;
    let handle = [words(&[16]), vec![0; 16]].concat();
    let cases: [(&str, u32, Vec<u8>); 6] = [
        ("a handle of 65 bytes", 1, [words(&[65]), vec![0; 68]].concat()),
        ("a handle of 2^32 - 1 bytes", 1, words(&[u32::MAX])),
        ("a name of 2^32 - 1 bytes", 3, [handle.clone(), words(&[u32::MAX])].concat()),
        ("data of 2^32 - 1 bytes", 7, [handle.clone(), words(&[0, 0, u32::MAX, 0, u32::MAX])].concat()),
        (
            "a link target of 2^31 bytes",
            10,
            [handle.clone(), words(&[0, 0, 0, 0, 0, 0, 0, 1 << 31])].concat(),
        ),
        ("a boolean of 2", 2, [handle, words(&[2, 0, 0, 0, 0, 0, 0])].concat()),
    ];
    for (what, procedure, arguments) in cases {
        let reply = raw.exchange(&call(1, NFS, 3, procedure, &arguments)).await;
        assert_eq!((word(&reply, 2), word(&reply, 5)), (0, 4), "{what}");
    }
    assert!(answers(&mut raw).await);
}

#[tokio::test]
async fn bytes_after_the_arguments_do_no_harm() {
    let served = serve().await;
    let mut raw = served.raw().await;
    let arguments = [words(&[16]), crate::harness::root().data.0.to_vec(), vec![9; 1000]].concat();
    let reply = raw.exchange(&call(1, NFS, 3, 1, &arguments)).await;
    assert_eq!((word(&reply, 5), word(&reply, 6)), (0, 0));
}
