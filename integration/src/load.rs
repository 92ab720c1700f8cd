//! A load whose outcome is known: several clients change files at random, each in a directory of its
//! own, and remember what was acknowledged.
//!
//! What must be there after a kill: every file as the last acknowledged call left it, and no other. Only
//! the names that the one unanswered call of a client touches may be either way: a file that is written
//! may hold a part, a rename may have happened or not (but the file is there under one of the names).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::chance::Chance;
use crate::client::{Answer, Client, Lost};

/// Clients at once.
pub const CLIENTS: usize = 3;
/// Most files of a client.
const FILES_MAX: u64 = 40;
/// Longest file, in bytes: some take several chunks and several writes.
const FILE_BYTES_MAX: u64 = 3 << 20;
/// Length of most files, at most, in bytes.
const SMALL_FILE_BYTES_MAX: u64 = 20_000;

/// One change of a directory.
#[derive(Clone, Debug)]
enum Step {
    Put { name: String, content: Vec<u8> },
    Write { name: String, offset: u64, data: Vec<u8> },
    Truncate { name: String, length: u64 },
    Rename { from: String, to: String },
    Remove { name: String },
}

type Files = BTreeMap<String, Vec<u8>>;

/// One client's directory: what it must hold.
#[derive(Debug)]
pub struct Directory {
    name: String,
    chance: Chance,
    files: Files,
    unanswered: Option<Step>,
}

/// Directories of several clients.
#[derive(Debug)]
pub struct Load {
    directories: Vec<Directory>,
    acknowledged: Arc<AtomicU64>,
}

impl Load {
    /// Empty directories; what happens in them follows from `chance`.
    pub fn new(chance: &mut Chance) -> Self {
        let directory = |index| Directory {
            name: format!("client-{index}"),
            chance: Chance::new(chance.next()),
            files: Files::new(),
            unanswered: None,
        };
        Self { directories: (0..CLIENTS).map(directory).collect(), acknowledged: Arc::default() }
    }

    /// Calls that were acknowledged, in all rounds.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Changes files until `death` says that the gateway is gone; its answer. (A client need not notice:
    /// this one does not tell the end of a connection from silence.)
    pub async fn run<D: Future>(&mut self, address: SocketAddr, death: D) -> D::Output {
        let acknowledged = &self.acknowledged;
        let clients = self.directories.iter_mut().map(|directory| directory.run(address, acknowledged));
        let work = futures::future::join_all(clients);
        tokio::pin!(death);
        tokio::select! {
            output = &mut death => output,
            _ = work => death.await,
        }
    }

    /// Compares everything with what it must be; panics with the difference. Afterwards what was found
    /// is what must be there.
    pub async fn check(&mut self, address: SocketAddr) {
        if let Err(difference) = self.compare(address).await {
            panic!("{difference}");
        }
    }

    /// Like [`Self::check`], but tells the first difference.
    pub async fn compare(&mut self, address: SocketAddr) -> Result<(), String> {
        for directory in &mut self.directories {
            let mut client = Client::connect(address, &directory.name).await.expect("it serves");
            let found = client.read_all().await.expect("it serves");
            directory.compare(found)?;
        }
        Ok(())
    }
}

impl Directory {
    async fn run(&mut self, address: SocketAddr, acknowledged: &AtomicU64) {
        let Ok(mut client) = Client::connect(address, &self.name).await else { return };
        loop {
            let step = self.choose();
            self.unanswered = Some(step.clone());
            if step.perform(&mut client).await == Err(Lost) {
                return;
            }
            self.unanswered = None;
            step.apply(&mut self.files);
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn choose(&mut self) -> Step {
        let name = format!("file-{}", self.chance.below(FILES_MAX));
        let Some(length) = self.files.get(&name).map(|content| content.len() as u64) else {
            return Step::Put { name, content: self.content() };
        };
        match self.chance.below(10) {
            0 | 1 => Step::Put { name, content: self.content() },
            2..=4 => {
                let bytes = 1 + self.chance.below(SMALL_FILE_BYTES_MAX);
                Step::Write {
                    name,
                    offset: self.chance.below(length + 5000),
                    data: self.chance.bytes(bytes as usize),
                }
            }
            5 => Step::Truncate { name, length: self.chance.below(length + 5000) },
            6 | 7 => Step::Rename { from: name, to: format!("file-{}", self.chance.below(FILES_MAX)) },
            _ => Step::Remove { name },
        }
    }

    /// Half of it compresses.
    fn content(&mut self) -> Vec<u8> {
        let is_large = self.chance.below(20) == 0;
        let length = self.chance.below(if is_large { FILE_BYTES_MAX } else { SMALL_FILE_BYTES_MAX }) as usize;
        let mut content = self.chance.bytes(length / 2);
        content.resize(length, b'x');
        content
    }

    fn compare(&mut self, found: Files) -> Result<(), String> {
        let open = self.unanswered.take();
        let touched = open.as_ref().map(Step::names).unwrap_or_default();
        let place = &self.name;
        for (name, content) in &self.files {
            match found.get(name) {
                _ if touched.contains(name) => {}
                None => {
                    let bytes = content.len();
                    return Err(format!(
                        "{place}/{name} is missing ({bytes} bytes; unanswered: {touched:?})"
                    ));
                }
                Some(got) if got != content => {
                    return Err(format!("{place}/{name} {}", difference(content, got)));
                }
                Some(_) => {}
            }
        }
        let mut others = found.keys().filter(|name| !touched.contains(*name));
        if let Some(name) = others.find(|name| !self.files.contains_key(*name)) {
            return Err(format!("{place}/{name} is there, and should not be"));
        }
        if let Some(step) = &open {
            step.compare(&self.files, &found)?;
        }
        self.files = found;
        Ok(())
    }
}

/// Where two contents differ first.
fn difference(expected: &[u8], got: &[u8]) -> String {
    let same = expected.iter().zip(got).take_while(|(one, other)| one == other).count();
    format!("has {} bytes instead of {}, and differs from byte {same} on", got.len(), expected.len())
}

impl Step {
    async fn perform(&self, client: &mut Client) -> Answer<()> {
        match self {
            Self::Put { name, content } => client.put(name, content).await,
            Self::Write { name, offset, data } => client.write_through(name, *offset, data).await,
            Self::Truncate { name, length } => client.truncate(name, *length).await,
            Self::Rename { from, to } => client.rename(from, to).await,
            Self::Remove { name } => client.remove(name).await,
        }
    }

    fn apply(self, files: &mut Files) {
        match self {
            Self::Put { name, content } => {
                files.insert(name, content);
            }
            Self::Write { name, offset, data } => {
                let content = files.entry(name).or_default();
                let end = offset as usize + data.len();
                content.resize(content.len().max(end), 0);
                content[offset as usize..end].copy_from_slice(&data);
            }
            Self::Truncate { name, length } => files.entry(name).or_default().resize(length as usize, 0),
            Self::Rename { from, to } => {
                let moved = files.remove(&from).expect("what is renamed is there");
                files.insert(to, moved);
            }
            Self::Remove { name } => {
                files.remove(&name);
            }
        }
    }

    fn names(&self) -> BTreeSet<String> {
        match self {
            Self::Rename { from, to } => BTreeSet::from([from.clone(), to.clone()]),
            Self::Put { name, .. }
            | Self::Write { name, .. }
            | Self::Truncate { name, .. }
            | Self::Remove { name } => BTreeSet::from([name.clone()]),
        }
    }

    /// What must hold of the names of a call that was not answered: each single call was done wholly or
    /// not at all. Only a put is several calls, so its file may be anything in between.
    fn compare(&self, before: &Files, found: &Files) -> Result<(), String> {
        if matches!(self, Self::Put { .. }) {
            return Ok(());
        }
        let mut after = before.clone();
        self.clone().apply(&mut after);
        let only = |files: &Files| {
            let names = self.names();
            files.clone().into_iter().filter(|(name, _)| names.contains(name)).collect::<Files>()
        };
        let found = only(found);
        if found == only(&after) || found == only(before) {
            return Ok(());
        }
        Err(format!("an unanswered call was done by halves: {:?}", self.names()))
    }
}
