//! Goal: a client that shares neither code nor authors with the other one of the tests can do all that a
//! client does.
//!
//! Method: the crate `nfs-rs` against the real program, `TIDEGATE_PROGRAM`, with settings and a
//! repository in a folder of this test.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use nfs_rs::{Mount, Nfs3ErrorCode, NfsError};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long the program may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Files of the directory that is listed: more than one page.
const FILES: usize = 1500;

/// A running gateway; its process ends with it.
struct Gateway {
    address: SocketAddr,
    process: Child,
}

impl Gateway {
    fn start(folder: &Path) -> Outcome<Self> {
        let program = env::var_os("TIDEGATE_PROGRAM").ok_or("TIDEGATE_PROGRAM is not set")?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let place = folder.display();
        let settings = format!(
            "[gateway]\ndata = \"{place}/data\"\nsocket = \"{place}/admin.sock\"\n\n\
             [repository]\nkey = {{ file = \"{place}/repository.key\" }}\n\n\
             [[target]]\nname = \"local\"\naddress = \"file://{place}/repository\"\n\n\
             [nfs]\nlisten = [\"{address}\"]\n\n\
             [[share]]\nname = \"files\"\nrpo = \"1s\"\nsquash = \"none\"\n"
        );
        let file = folder.join("tidegate.toml");
        fs::write(&file, settings)?;
        let command = || {
            let mut command = Command::new(&program);
            command.arg("--settings").arg(&file).stdin(Stdio::null());
            command
        };
        let made = command().args(["init", "--no-recovery-key"]).output()?;
        assert!(made.status.success(), "init: {}", String::from_utf8_lossy(&made.stderr));
        let process = command().arg("serve").stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let gateway = Self { address, process };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < end, "the gateway does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(gateway)
    }

    async fn mount(&self) -> Outcome<Box<dyn Mount>> {
        let (address, port) = (self.address.ip(), self.address.port());
        let options = format!("version=3&nfsport={port}&mountport={port}&uid=0&gid=0&noresvport=true");
        Ok(nfs_rs::parse_url_and_mount(&format!("nfs://{address}/files?{options}")).await?)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Names and lengths of a directory's files, by READDIRPLUS; a name may come once.
async fn lengths(mount: &dyn Mount, path: &str) -> Outcome<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    let mut entries = mount.readdirplus_path(path).await?;
    while let Some(entry) = entries.try_next().await? {
        if matches!(entry.file_name.as_str(), "." | "..") {
            continue;
        }
        let attributes = entry.attr.ok_or("an entry without attributes")?;
        assert_eq!(attributes.fileid, entry.fileid);
        assert!(found.insert(entry.file_name, attributes.filesize).is_none(), "a name comes once");
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_made_written_read_renamed_listed_and_removed() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let gateway = Gateway::start(folder.path())?;
    let mount = gateway.mount().await?;
    mount.mkdir_path("/directory", 0o755).await?;
    let made = mount.create_path("/directory/file", Some(0o640)).await?;
    assert_eq!(mount.getattr(made.fh.clone()).await?.file_mode & 0o777, 0o640);

    let content: Bytes = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
    nfs_rs::write_all(&*mount, made.fh.clone(), 0, content.clone()).await?;
    let mut read = Vec::new();
    while read.len() < content.len() {
        let piece = mount.read(made.fh.clone(), read.len() as u64, mount.get_max_read_size()).await?;
        assert!(!piece.is_empty(), "the file ends early");
        read.extend_from_slice(&piece);
    }
    assert!(read == content, "other bytes came back");

    mount.rename_path("/directory/file", "/directory/renamed").await?;
    let gone = mount.lookup_path("/directory/file").await;
    assert!(matches!(gone, Err(NfsError::Nfs3(Nfs3ErrorCode::NFS3ERR_NOENT))), "{gone:?}");
    assert_eq!(mount.lookup_path("/directory/renamed").await?.fh, made.fh, "a handle outlives its name");
    let expected = BTreeMap::from([("renamed".to_owned(), content.len() as u64)]);
    assert_eq!(lengths(&*mount, "/directory").await?, expected);

    mount.remove_path("/directory/renamed").await?;
    assert_eq!(lengths(&*mount, "/directory").await?, BTreeMap::new());
    mount.rmdir_path("/directory").await?;
    assert!(mount.getattr(made.fh).await.is_err(), "a handle of what is gone");
    Ok(mount.umount().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_several_pages_is_listed_whole() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let gateway = Gateway::start(folder.path())?;
    let mount = gateway.mount().await?;
    let directory = mount.mkdir_path("/many", 0o755).await?;
    let name = |number| format!("a-file-of-some-length-{number:06}");
    for number in 0..FILES {
        mount.create(directory.fh.clone(), &name(number), None).await?;
    }
    let expected: BTreeMap<_, _> = (0..FILES).map(|number| (name(number), 0)).collect();
    assert_eq!(lengths(&*mount, "/many").await?, expected);
    let names: Vec<_> =
        mount.readdir(directory.fh).await.map_ok(|entry| entry.file_name).try_collect().await?;
    let names = names.into_iter().filter(|name| !name.starts_with('.'));
    assert!(names.eq(expected.into_keys()), "READDIR shows them in the order in which they were made");
    Ok(mount.umount().await?)
}
