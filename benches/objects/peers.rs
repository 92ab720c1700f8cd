//! Two of the stores that Tidegate is measured beside: s3s-fs and Garage.
//!
//! Garage is used as a program only: nothing here is taken from its sources.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tidegate_benches::{Chance, Outcome, find_program, free_address};
use tokio::net::TcpListener;

use crate::sign::{ACCESS_KEY, REGION, SECRET_KEY};
use crate::store::{Kind, Process, Store, done};

/// The argument with which this bench becomes the server over s3s-fs.
pub(crate) const FOLDER_ARGUMENT: &str = "s3s-fs";

/// Serves a folder through s3s-fs at an address until it is killed.
pub(crate) fn serve_s3s_fs(folder: &str, address: &str) -> Outcome<()> {
    let files = FileSystem::new(folder).map_err(|error| format!("{folder} cannot be served: {error:?}"))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = builder.build();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let http = hyper::server::conn::http1::Builder::new();
            let connection = http.serve_connection(TokioIo::new(socket), service.clone());
            tokio::spawn(connection);
        }
    })
}

impl Store {
    /// A folder behind s3s-fs, in a process of this very program.
    pub(crate) fn s3s_fs(folder: &Path) -> Outcome<Self> {
        let (address, root) = (free_address()?, folder.join("root"));
        fs::create_dir_all(&root)?;
        let mut serve = Command::new(std::env::current_exe()?);
        serve.arg(format!("--{FOLDER_ARGUMENT}={}", root.display())).arg(format!("--address={address}"));
        let mut process = Process::start(&mut serve, &folder.join("log"))?;
        process.wait_for(address)?;
        let setup = "the crate, 0.14, over a folder of the same disk; it syncs nothing".to_owned();
        Ok(Self::new(Kind::S3sFs, address, setup, vec![process]))
    }

    /// Garage on one node: `GARAGE_PROGRAM`, or `garage` on the path.
    pub(crate) fn garage(folder: &Path) -> Outcome<Self> {
        let given = std::env::var_os("GARAGE_PROGRAM").map(PathBuf::from);
        let program = given.or_else(|| find_program("garage")).filter(|program| program.exists());
        let program = program
            .ok_or("not installed (`cargo install --locked garage`, then GARAGE_PROGRAM or the path)")?;
        let (address, rpc) = (free_address()?, free_address()?);
        let file = folder.join("garage.toml");
        fs::write(&file, garage_settings(folder, address, rpc))?;
        let command = |words: &[&str]| {
            let mut command = Command::new(&program);
            command.arg("-c").arg(&file).args(words);
            command
        };
        let mut process = Process::start(&mut command(&["server"]), &folder.join("log"))?;
        process.wait_for(address)?;
        process.wait_until(|| done(&mut command(&["status"])).is_ok())?;
        let node = done(&mut command(&["node", "id", "-q"]))?;
        let node = node.trim().split('@').next().unwrap_or_default();
        done(&mut command(&["layout", "assign", node, "-z", "here", "-c", "64G"]))?;
        done(&mut command(&["layout", "apply", "--version", "1"]))?;
        done(&mut command(&["key", "import", "--yes", ACCESS_KEY, SECRET_KEY, "-n", "bench"]))?;
        done(&mut command(&["key", "allow", "--create-bucket", ACCESS_KEY]))?;
        let setup =
            "the program on one node, one copy, LMDB, data_fsync and metadata_fsync, no compression, \
                     else its defaults"
                .to_owned();
        Ok(Self::new(Kind::Garage, address, setup, vec![process]))
    }
}

/// As durable as its settings allow, and as little work on data as Tidegate does before it answers.
fn garage_settings(folder: &Path, address: SocketAddr, rpc: SocketAddr) -> String {
    let (place, mut chance) = (folder.display(), Chance::new(u64::from(rpc.port())));
    let secret: String = [(); 4].map(|()| format!("{:016x}", chance.next())).concat();
    format!(
        "metadata_dir = \"{place}/metadata\"\ndata_dir = \"{place}/data\"\ndb_engine = \"lmdb\"\n\
         metadata_fsync = true\ndata_fsync = true\ncompression_level = \"none\"\nreplication_factor = 1\n\
         rpc_bind_addr = \"{rpc}\"\nrpc_public_addr = \"{rpc}\"\nrpc_secret = \"{secret}\"\n\n\
         [s3_api]\ns3_region = \"{REGION}\"\napi_bind_addr = \"{address}\"\n"
    )
}
