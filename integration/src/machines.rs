//! One share through all its lives: as it was written, published, after a kill, and on another machine.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::gateway::Gateway;
use crate::manifest;
use crate::nfs::Nfs;
use crate::scribe::Scribe;

/// A gateway with an empty share, and room for a second machine.
#[derive(Debug)]
pub struct Machines {
    folder: TempDir,
    gateway: Gateway,
}

impl Machines {
    /// Starts the first machine.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut gateway = Gateway::create(folder.path());
        gateway.start();
        Self { folder, gateway }
    }

    /// The gateway of the first machine.
    pub const fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Where the first machine serves.
    pub const fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Where the repository lies.
    pub fn repository(&self) -> std::path::PathBuf {
        self.gateway.repository()
    }

    /// Runs `check` on the share as it is; published; after `kill -9` and a start; and on a second machine with
    /// an empty disk. `check` is told which. Ends the machines.
    pub async fn outlive(mut self, mut check: impl AsyncFnMut(&str, &mut Nfs)) {
        check("as it was written", &mut Nfs::connect(self.address()).await).await;
        self.gateway.commit();
        check("after a commit", &mut Nfs::connect(self.address()).await).await;
        self.gateway.kill();
        self.gateway.start();
        check("after a kill", &mut Nfs::connect(self.address()).await).await;
        self.gateway.kill();
        let mut second = self.second();
        second.start();
        check("on a second machine", &mut Nfs::connect(second.address()).await).await;
        assert!(second.stop().success(), "it stops well:\n{}", second.log());
    }

    /// Like [`outlive`](Self::outlive), with the check that everything is there that the scribe wrote.
    pub async fn outlive_as_written(self, scribe: &Scribe) {
        let wanted = scribe.account().manifest();
        self.outlive(async |when, nfs| {
            let found = manifest::of_share(nfs).await.expect("it can be walked");
            manifest::compare(when, &found, &wanted);
        })
        .await;
    }

    fn second(&self) -> Gateway {
        let folder: &Path = &self.folder.path().join("second");
        std::fs::create_dir(folder).expect("a folder");
        Gateway::attach(folder, &self.gateway.repository(), &self.gateway.key())
    }
}
