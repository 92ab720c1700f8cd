//! Goal: a change whose answer was lost because the gateway died is not made again when its client repeats the
//! call: it gets the answer that it would have got.
//!
//! Method: raw calls of every procedure that changes names or attributes; the gateway is killed after the last
//! answer and started again; the same bytes are sent again over a new connection, in another order. A second
//! execution would fail, or answer other attributes.
//!
//! A client that restarts too has no call to repeat: it sends an exclusive CREATE anew, and its verifier decides.

use std::net::SocketAddr;

use nfs3_types::nfs3::{
    CREATE3args, LINK3args, MKDIR3args, MKNOD3args, Nfs3Option, REMOVE3args, RENAME3args, RMDIR3args,
    SETATTR3args, SYMLINK3args, createhow3, createverf3, diropargs3, mknoddata3, nfspath3, sattr3,
    symlinkdata3,
};
use nfs3_types::xdr_codec::{Opaque, Pack};
use tidegate_integration::gateway::{Gateway, PATIENCE};
use tidegate_integration::nfs::{Handle, Nfs, mode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const NFS: u32 = 100_003;
/// The xid of the first call; those of the others follow.
const XID_FIRST: u32 = 0x7e57_0000;
/// NFS3ERR_EXIST.
const EXIST: u32 = 17;
/// Words of a reply before the results: xid, kind, accepted, verifier (two), how it was accepted.
const HEADER_WORDS: usize = 6;

/// A call as it travels, sent once and once more.
struct Call {
    what: &'static str,
    record: Vec<u8>,
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn call(what: &'static str, procedure: u32, arguments: &impl Pack) -> Call {
    // Of root. The xid comes later.
    let root = words(&[1, 20, 0, 0, 0, 0, 0]);
    let mut record = [words(&[0, 0, 2, NFS, 3, procedure]), root, words(&[0, 0])].concat();
    arguments.pack(&mut record).expect("a record takes everything");
    Call { what, record }
}

fn at(directory: &Handle, name: &str) -> diropargs3<'static> {
    diropargs3 { dir: directory.clone(), name: name.as_bytes().to_vec().into() }
}

/// One call of each kind, in an order in which all of them succeed.
fn calls(top: &Handle, file: &Handle) -> Vec<Call> {
    let size = |size| sattr3 { size: Nfs3Option::Some(size), ..mode(0o640) };
    let over = createhow3::UNCHECKED(size(3));
    let symlink_data = nfspath3(Opaque::owned(b"where it leads".to_vec()));
    let symlink = symlinkdata3 { symlink_attributes: mode(0o777), symlink_data };
    let attributes = sattr3 { uid: Nfs3Option::Some(7), ..mode(0o600) };
    let set = SETATTR3args { object: file.clone(), new_attributes: attributes, guard: Nfs3Option::None };
    let mut calls = vec![
        call(
            "make a directory",
            9,
            &MKDIR3args { where_: at(top, "new directory"), attributes: mode(0o755) },
        ),
        call(
            "create a new file",
            8,
            &CREATE3args { where_: at(top, "new file"), how: createhow3::GUARDED(size(5)) },
        ),
        call(
            "own it exclusively",
            8,
            &CREATE3args { where_: at(top, "exclusive"), how: createhow3::EXCLUSIVE(createverf3([7; 8])) },
        ),
        call("truncate by a create", 8, &CREATE3args { where_: at(top, "file"), how: over }),
        call("symbolic link", 10, &SYMLINK3args { where_: at(top, "symbolic"), symlink }),
        call("pipe", 11, &MKNOD3args { where_: at(top, "pipe"), what: mknoddata3::NF3FIFO(mode(0o600)) }),
        call("link", 15, &LINK3args { file: file.clone(), link: at(top, "second name") }),
        call("set attributes", 2, &set),
        call("rename", 14, &RENAME3args { from: at(top, "old name"), to: at(top, "new name") }),
        call("unlink", 12, &REMOVE3args { object: at(top, "unwanted") }),
        call("delete a directory", 13, &RMDIR3args { object: at(top, "unwanted directory") }),
    ];
    for (call, xid) in calls.iter_mut().zip(XID_FIRST..) {
        call.record[..4].copy_from_slice(&xid.to_be_bytes());
    }
    calls
}

/// What a call is answered over a connection of its own, from a port of its own.
async fn answer(address: SocketAddr, call: &Call) -> Vec<u8> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("it serves");
        let mark = (call.record.len() as u32 | 1 << 31).to_be_bytes();
        stream.write_all(&[&mark[..], &call.record].concat()).await.expect("it takes the call");
        let length = stream.read_u32().await.expect("an answer") & !(1 << 31);
        let mut reply = vec![0; length as usize];
        stream.read_exact(&mut reply).await.expect("the whole answer");
        reply
    };
    timeout(PATIENCE, exchange).await.expect("an answer in time")
}

fn word(reply: &[u8], index: usize) -> u32 {
    let bytes = reply.get(index * 4..index * 4 + 4).expect("the reply is that long");
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_repeated_after_a_crash_get_the_answers_of_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::create(folder.path());
    gateway.start();
    let address = gateway.address();
    let nfs = &mut Nfs::connect(address).await;
    let top = nfs.root();
    let file = nfs.create(&top, b"file").await.expect("a file");
    nfs.write(&file, 0, b"content").await.expect("its content");
    for name in ["old name", "unwanted"] {
        nfs.create(&top, name.as_bytes()).await.expect("a file");
    }
    nfs.make_directory(&top, b"unwanted directory").await.expect("a directory");

    let calls = calls(&top, &file);
    let mut answers = Vec::new();
    for call in &calls {
        let reply = answer(address, call).await;
        assert_eq!((word(&reply, 5), word(&reply, HEADER_WORDS)), (0, 0), "{}", call.what);
        answers.push(reply);
    }
    gateway.kill();
    gateway.start();
    for (call, first) in calls.iter().zip(&answers).rev() {
        assert_eq!(answer(address, call).await, *first, "{}: the repetition", call.what);
    }

    // Nothing was made twice: the directory has what the calls left, and the file one change of each.
    let nfs = &mut Nfs::connect(address).await;
    let mut names: Vec<_> =
        nfs.list(&top).await.expect("a listing").into_iter().map(|listed| listed.name).collect();
    names.sort();
    let mut wanted = ["exclusive", "file", "new directory", "new file", "new name", "pipe", "second name"]
        .map(|name| name.as_bytes().to_vec())
        .to_vec();
    wanted.push(b"symbolic".to_vec());
    assert_eq!(names, wanted);
    let attributes = nfs.attributes(&file).await.expect("its attributes");
    assert_eq!((attributes.size, attributes.mode, attributes.uid, attributes.nlink), (3, 0o600, 7, 2));
    gateway.stop();
}

/// The handle in the answer of a CREATE that succeeded.
fn handle(reply: &[u8]) -> &[u8] {
    assert_eq!((word(reply, HEADER_WORDS), word(reply, HEADER_WORDS + 1)), (0, 1), "made, and told what");
    let begin = (HEADER_WORDS + 3) * 4;
    reply.get(begin..begin + word(reply, HEADER_WORDS + 2) as usize).expect("the reply is that long")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exclusive_create_that_is_sent_anew_after_a_restart_goes_by_its_verifier() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::create(folder.path());
    gateway.start();
    let address = gateway.address();
    let top = Nfs::connect(address).await.root();
    let create = |verifier: u8, xid: u32| {
        let how = createhow3::EXCLUSIVE(createverf3([verifier; 8]));
        let mut call = call("own it exclusively", 8, &CREATE3args { where_: at(&top, "exclusive"), how });
        call.record[..4].copy_from_slice(&xid.to_be_bytes());
        call
    };
    let first = answer(address, &create(7, XID_FIRST)).await;
    for (restart, xid) in [("killed", XID_FIRST + 1), ("stopped", XID_FIRST + 3)] {
        if restart == "killed" {
            gateway.kill();
        } else {
            assert!(gateway.stop().success(), "it stops well");
        }
        gateway.start();
        let again = answer(address, &create(7, xid)).await;
        assert_eq!(handle(&again), handle(&first), "{restart}: the file is whose verifier it has");
        let other = answer(address, &create(8, xid + 1)).await;
        assert_eq!(word(&other, HEADER_WORDS), EXIST, "{restart}: it is somebody else's");
    }
    gateway.stop();
}
