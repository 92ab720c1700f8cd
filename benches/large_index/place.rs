//! Where everything lies: the folder that is saved, and a gateway's settings, key, repository and data.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_benches::process::run;
use tidegate_benches::{Outcome, files_below, tidegate_program};

/// The unit in which the system says what a file takes of a disk, whatever the blocks of that are.
const BLOCK_BYTES: u64 = 512;

/// See the head of this module.
pub(crate) struct Place {
    /// What is saved lies here.
    pub(crate) source: PathBuf,
    /// The gateway's own.
    own: PathBuf,
}

impl Place {
    /// Makes the folders, the settings and an empty repository.
    pub(crate) fn make(folder: &Path, memory_mib: u64) -> Outcome<Self> {
        let place = Self { source: folder.join("source"), own: folder.join("own") };
        fs::create_dir_all(&place.source)?;
        fs::create_dir_all(&place.own)?;
        fs::write(place.settings(), place.settings_text(memory_mib))?;
        run(place.command()?.arg("init"))?;
        Ok(place)
    }

    fn settings_text(&self, memory_mib: u64) -> String {
        let (own, source) = (self.own.display(), self.source.display());
        format!(
            "[gateway]\ndata = \"{own}/data\"\nsocket = \"{own}/admin.sock\"\nmemory = \"{memory_mib}MiB\"\n\n\
             [repository]\nkey = {{ file = \"{own}/repository.key\" }}\n\n\
             [[target]]\nname = \"local\"\naddress = \"file://{own}/repository\"\n\n\
             [nfs]\nlisten = []\n\n\
             [retention]\nheads = []\nbin = \"0s\"\ncollect = false\n\n\
             [[source]]\nname = \"source\"\nfolder = \"{source}\"\n"
        )
    }

    /// The program, told where its settings are.
    pub(crate) fn command(&self) -> Outcome<Command> {
        let mut command = Command::new(tidegate_program()?);
        command.arg("--settings").arg(self.settings());
        Ok(command)
    }

    fn settings(&self) -> PathBuf {
        self.own.join("tidegate.toml")
    }

    /// The file of the key.
    pub(crate) fn key(&self) -> PathBuf {
        self.own.join("repository.key")
    }

    /// The folder of the repository.
    pub(crate) fn repository(&self) -> PathBuf {
        self.own.join("repository")
    }

    /// Where a gateway listens to commands.
    pub(crate) fn socket(&self) -> PathBuf {
        self.own.join("admin.sock")
    }

    /// The file for the log of a step.
    pub(crate) fn log(&self, step: &str) -> PathBuf {
        self.own.join(format!("{step}.log"))
    }

    /// What the data folder takes of the disk, in bytes. No gateway must be running.
    pub(crate) fn data_bytes(&self) -> Outcome<u64> {
        let mut bytes = 0;
        for file in files_below(&[self.own.join("data")])? {
            bytes += fs::metadata(file)?.blocks() * BLOCK_BYTES;
        }
        Ok(bytes)
    }
}
