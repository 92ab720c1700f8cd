//! Goal: the rules of an export hold for every call, those that change while the gateway runs from the
//! next call on, and MOUNT shows what is in force.
//!
//! Method: an independent client of the real program, from ports below and above 1024; the settings file
//! is edited and loaded again. Where ports below 1024 need a superuser that the test is not, what comes
//! from them is left out.

use std::fs;
use std::net::SocketAddr;

use nfs3_client::tokio::TokioIo;
use nfs3_client::{MountClient, MountError, Nfs3Client};
use nfs3_types::mount::{dirpath, mountstat3};
use nfs3_types::nfs3::{GETATTR3args, Nfs3Result, nfs_fh3, nfsstat3};
use nfs3_types::xdr_codec::Opaque;
use tempfile::TempDir;
use tidegate_integration::gateway::{Gateway, SHARE};
use tidegate_integration::nfs::{Nfs, mode};
use tokio::net::{TcpSocket, TcpStream};

const ACCES: nfsstat3 = nfsstat3::NFS3ERR_ACCES;
/// The line of the settings that rules are written behind.
const LINE: &str = "squash = \"none\"\n";

/// A gateway whose settings can be changed.
struct House {
    gateway: Gateway,
    settings: String,
    _folder: TempDir,
}

impl House {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut gateway = Gateway::create(folder.path());
        gateway.start();
        let settings = fs::read_to_string(gateway.settings()).expect("its settings");
        Self { gateway, settings, _folder: folder }
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// The share has these rules from now on.
    fn rule(&self, rules: &str) {
        assert!(self.settings.contains(LINE));
        let settings = self.settings.replace(LINE, &format!("{LINE}{rules}\n"));
        fs::write(self.gateway.settings(), settings).expect("they can be changed");
        self.gateway.reload();
    }

    /// What `showmount -e` shows: paths and their clients.
    async fn exports(&self) -> Vec<(String, Vec<String>)> {
        let stream = TcpStream::connect(self.address()).await.expect("it serves");
        let exports = MountClient::new(TokioIo::new(stream)).export().await.expect("an answer");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let entry = |export: nfs3_types::mount::export_node<'_, '_>| {
            let clients = export.ex_groups.0.iter().map(|client| text(&client.0)).collect();
            (text(&export.ex_dir.0), clients)
        };
        exports.into_inner().into_iter().map(entry).collect()
    }
}

/// A connection from a port that only the superuser may use, if this is the superuser.
async fn from_a_low_port(address: SocketAddr) -> Option<TcpStream> {
    for port in (600..1024).rev() {
        let socket = TcpSocket::new_v4().expect("a socket");
        match socket.bind(([127, 0, 0, 1], port).into()) {
            Ok(()) => return Some(socket.connect(address).await.expect("it serves")),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return None,
            Err(_taken) => {}
        }
    }
    panic!("every low port is taken");
}

async fn mount(stream: TcpStream, path: &str) -> Result<nfs_fh3, mountstat3> {
    let path = dirpath(Opaque::owned(path.as_bytes().to_vec()));
    match MountClient::new(TokioIo::new(stream)).mnt(path).await {
        Ok(mounted) => Ok(nfs_fh3 { data: mounted.fhandle.0 }),
        Err(MountError::Denied(status)) => Err(status),
        Err(MountError::Rpc(error)) => panic!("no answer: {error}"),
    }
}

/// Mounts the share from any port.
async fn mount_share(house: &House) -> Result<nfs_fh3, mountstat3> {
    mount(TcpStream::connect(house.address()).await.expect("it serves"), &format!("/{SHARE}")).await
}

async fn getattr(stream: TcpStream, object: &nfs_fh3) -> nfsstat3 {
    let arguments = GETATTR3args { object: object.clone() };
    match Nfs3Client::new(TokioIo::new(stream)).getattr(&arguments).await.expect("an answer") {
        Nfs3Result::Ok(_) => nfsstat3::NFS3_OK,
        Nfs3Result::Err((status, _)) => status,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_from_high_ports_are_refused_where_the_share_says_so() {
    let house = House::open();
    let mut nfs = Nfs::connect(house.address()).await;
    let root = nfs.root();
    house.rule("secure_ports = true");
    assert_eq!(nfs.attributes(&root).await.expect_err("an open connection is no exception"), ACCES);
    assert!(matches!(mount_share(&house).await, Err(mountstat3::MNT3ERR_ACCES)));
    if let Some(stream) = from_a_low_port(house.address()).await {
        assert_eq!(getattr(stream, &root).await, nfsstat3::NFS3_OK);
        let stream = from_a_low_port(house.address()).await.expect("as before");
        assert_eq!(mount(stream, &format!("/{SHARE}")).await.expect("it may be mounted"), root);
    } else {
        println!("not the superuser: nothing was asked from a low port");
    }
    house.rule("secure_ports = false");
    nfs.attributes(&root).await.expect("any port will do again");
    assert_eq!(mount_share(&house).await.expect("it may be mounted"), root);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks_and_read_only_change_under_a_client_and_are_shown() {
    let house = House::open();
    let mut nfs = Nfs::connect(house.address()).await;
    let root = nfs.root();
    let here = vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()];
    assert_eq!(house.exports().await, [(format!("/{SHARE}"), here.clone())]);

    house.rule("clients = [\"192.0.2.0/24\", \"198.51.100.7\"]");
    assert_eq!(nfs.attributes(&root).await.expect_err("it is for others now"), ACCES);
    assert!(matches!(mount_share(&house).await, Err(mountstat3::MNT3ERR_NOENT)));
    let others = vec!["192.0.2.0/24".to_owned(), "198.51.100.7/32".to_owned()];
    assert_eq!(house.exports().await, [(format!("/{SHARE}"), others)]);

    house.rule("read_only = true");
    let refused = nfs.make_directory(&root, b"directory").await.expect_err("it is read-only now");
    assert_eq!(refused, nfsstat3::NFS3ERR_ROFS);
    nfs.attributes(&root).await.expect("it may be read");

    house.rule("");
    nfs.make_directory(&root, b"directory").await.expect("it may be changed again");
    house.gateway.run(&["share", "add", "second", "--client", "127.0.0.1"]);
    let second = ("/second".to_owned(), vec!["127.0.0.1/32".to_owned()]);
    assert_eq!(house.exports().await, [(format!("/{SHARE}"), here.clone()), second]);
    house.gateway.run(&["share", "remove", "second", "--yes"]);
    assert_eq!(house.exports().await, [(format!("/{SHARE}"), here)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_that_was_taken_out_is_in_the_bin_and_comes_back_with_its_settings() {
    let house = House::open();
    let gateway = &house.gateway;
    gateway.run(&["share", "add", "second", "--client", "127.0.0.1", "--rpo", "45s"]);
    let before = house.exports().await;
    gateway.run(&["commit", "second"]);
    let listed = || gateway.run(&["bin", "list"]);
    assert!(!listed().contains("second"));
    gateway.run(&["share", "remove", "second", "--yes"]);
    assert!(listed().contains("second") && house.exports().await != before);
    gateway.run(&["bin", "restore", "second"]);
    assert_eq!(house.exports().await, before);
    assert!(!listed().contains("second"));
    let settings = fs::read_to_string(gateway.settings()).expect("it can be read");
    assert!(settings.contains("second") && settings.contains("45s"), "{settings}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_was_removed_is_in_the_bin_until_somebody_ends_it() {
    let house = House::open();
    let run = |line: &str| house.gateway.run(&line.split(' ').collect::<Vec<_>>());
    let names = |text: String| text.matches("\"monday\"").count();
    run(&format!("snapshot create {SHARE} monday"));
    run(&format!("snapshot remove {SHARE} monday --yes"));
    assert_eq!(names(run(&format!("snapshot list {SHARE}"))), 0);
    assert_eq!(names(run(&format!("bin list {SHARE}"))), 1);
    run(&format!("bin restore {SHARE} monday"));
    assert_eq!(names(run(&format!("snapshot list {SHARE}"))), 1);
    run(&format!("snapshot remove {SHARE} monday --yes"));
    run(&format!("snapshot create {SHARE} monday"));
    run(&format!("bin restore {SHARE} monday --as tuesday"));
    run(&format!("snapshot remove {SHARE} monday --yes"));
    assert_eq!(names(run(&format!("bin empty {SHARE} --dry-run"))), 1);
    assert_eq!(names(run("bin list")), 1);
    run(&format!("bin empty {SHARE} monday --yes"));
    assert_eq!(names(run("bin list")), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_squash_that_changes_holds_from_the_next_call_on() {
    let house = House::open();
    let mut nfs = Nfs::connect(house.address()).await;
    let root = nfs.root();
    let settings =
        house.settings.replace(LINE, "squash = \"root\"\nanonymous_uid = 77\nanonymous_gid = 78\n");
    fs::write(house.gateway.settings(), settings).expect("they can be changed");
    house.gateway.reload();
    assert_eq!(nfs.create(&root, b"file").await.expect_err("root is nobody now"), ACCES);
    house.rule("");
    nfs.set(&root, mode(0o777)).await.expect("root is root again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_path_mounts_the_one_share_that_a_client_may_mount() {
    const SECOND: &str = "[[share]]\nname = \"second\"";
    let house = House::open();
    let address = house.address();
    let asked = async |path: &str| mount(TcpStream::connect(address).await.expect("it serves"), path).await;
    let root = mount_share(&house).await.expect("it may be mounted");
    for path in ["", "/", "//"] {
        assert_eq!(asked(path).await.expect("there is one share"), root, "{path:?}");
    }
    house.rule(SECOND);
    for path in ["", "/"] {
        let refused = asked(path).await.expect_err("there are two");
        assert_eq!(refused as u32, mountstat3::MNT3ERR_NOENT as u32, "{path:?}");
    }
    assert_ne!(asked("/second").await.expect("by its name"), root);
    house.rule(&format!("{SECOND}\nclients = [\"192.0.2.0/24\"]"));
    assert_eq!(asked("").await.expect("the second is for others"), root);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_mounted_is_refused_for_its_reason() {
    let house = House::open();
    let mut nfs = Nfs::connect(house.address()).await;
    let root = nfs.root();
    nfs.create(&root, b"file").await.expect("a file");
    let long = format!("/{SHARE}/{}", "n".repeat(256));
    for (path, status) in [
        ("/nothing".to_owned(), mountstat3::MNT3ERR_NOENT),
        (format!("/{SHARE}/missing"), mountstat3::MNT3ERR_NOENT),
        (format!("/{SHARE}/file"), mountstat3::MNT3ERR_NOTDIR),
        (format!("/{SHARE}/file/below"), mountstat3::MNT3ERR_NOTDIR),
        (long, mountstat3::MNT3ERR_NAMETOOLONG),
    ] {
        let stream = TcpStream::connect(house.address()).await.expect("it serves");
        let refused = mount(stream, &path).await.expect_err("it cannot be mounted");
        assert_eq!(refused as u32, status as u32, "{path}");
    }
}
