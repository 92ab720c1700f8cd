//! A whole host, over `ssh`, with nothing installed there but a shell, GNU find and GNU tar.
//!
//! `find` lists (names, kinds, sizes, times, inode numbers), what changed is worked out here, and `tar` sends only that, a
//! batch of files at a time, each batch by a connection of its own. Nothing is written on the host.
//!
//! Beside what a folder of this machine brings, this lacks: access control lists, the extended attributes of symbolic links,
//! and times of birth. *Unchanged* means the same as there; a file that changes after it was listed has another time of
//! change then, so the next run reads it again, also one that was torn. What tar could not read, or what changed under it, is
//! known when all of a batch has been taken in; what was not read is taken back then.
//!
//! Bounds: [`BATCH_FILES_MAX`] files and [`BATCH_BYTES_MAX`] bytes of their names at once, [`DEVICES_MAX`] device nodes,
//! [`COMPLAINTS_BYTES_MAX`] of what find or tar complain of, and [`LATE_MAX`] files that were torn or not read.

mod complaints;
mod listing;
mod tar;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tidegate_replicator::backup::{
    BackupError, Content, Cut, Ended, Found, Late, Listed, Opened, Receipt, Source, SourceError, Take, Told,
    Wanted, WantedFiles,
};
use tidegate_replicator::map::{Device, Kind, Timestamp};

use super::child::{Cancelled, Output, Running};
use super::selection::{Meant, Selection};
use complaints::{Complaint, FindWords, TarWords};
use tar::{Archive, Member};

/// Files that one tar is asked for.
const BATCH_FILES_MAX: usize = 20_000;
/// Bytes of their names.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Device nodes whose numbers are asked for.
const DEVICES_MAX: usize = 65_536;
/// What is read of a connection at once, in bytes.
const READ_BYTES: usize = 256 << 10;
/// What find or tar may complain of, in bytes; more is an error.
const COMPLAINTS_BYTES_MAX: usize = 32 << 20;
/// Files that were torn or not read. More of them is an error: a disk dies, say.
const LATE_MAX: usize = 65_536;
/// Of whatever tar is asked for: exactly these names, as they are, and of a name that leads to the same file as another what
/// is in it, for links may be made after find listed them.
const EXACTLY: &str = "--format=pax --no-recursion --hard-dereference --no-unquote --null --files-from=-";
/// What tar ends with when some files could not be sent as they were; when ssh itself fails it ends with another.
const TAR_COMPLAINED: std::ops::RangeInclusive<i32> = 0..=2;
/// A file whose time of change is so close to the newest that was seen may change again without its times telling.
const YOUNG_SECONDS: i64 = 2;

/// How a host is saved.
#[derive(Clone)]
pub struct SshOptions {
    /// The program that is run as ssh is.
    pub program: String,
    /// Its arguments before the host.
    pub arguments: Vec<String>,
    /// The host.
    pub host: String,
    /// What of it: absolute paths.
    pub paths: Vec<PathBuf>,
    /// What of that.
    pub selection: Selection,
    /// Whether file systems that are mounted below the paths are left out.
    pub one_file_system: bool,
    /// How long a command may take.
    pub timeout: Duration,
    /// Asked whether to stop.
    pub cancelled: Cancelled,
}

/// See the head of this module.
pub struct SshSource {
    options: SshOptions,
    /// The newest time of change that was listed.
    newest: Timestamp,
    late: Vec<(Receipt, Late)>,
}

impl SshSource {
    /// A host. Nothing is asked of it yet.
    pub fn new(options: SshOptions) -> Self {
        Self { options, newest: Timestamp::default(), late: Vec::new() }
    }

    /// Runs a script on the host.
    fn start(&self, script: &str, input: bool) -> Result<Running, SourceError> {
        let options = &self.options;
        let usual = ["-o", "BatchMode=yes"].map(str::to_owned);
        let own = options.arguments.iter().cloned();
        let arguments = usual.into_iter().chain(own).chain([options.host.clone(), script.to_owned()]);
        // The agent that holds the key, if there is one; it is no secret where it listens.
        let agent = std::env::var("SSH_AUTH_SOCK").map(|agent| ("SSH_AUTH_SOCK", agent));
        let variables: Vec<_> = agent.into_iter().collect();
        let bounds = (options.timeout, COMPLAINTS_BYTES_MAX);
        Running::start(&options.program, arguments, (&variables, input), bounds, options.cancelled.clone())
    }

    fn failed(&self, doing: &str, why: &str) -> SourceError {
        SourceError::new(format!("host {}: {doing}: {why}", self.options.host))
    }

    /// The folders above those that are saved, the top first.
    fn folders_above(&self) -> Vec<&Path> {
        let mut above: Vec<&Path> = vec![Path::new("/")];
        above.extend(self.options.paths.iter().flat_map(|path| path.ancestors().skip(1)));
        above.sort_unstable();
        above.dedup();
        above
    }
}

/// A word of a shell's command.
fn quoted(word: &[u8]) -> String {
    format!("'{}'", String::from_utf8_lossy(word).replace('\'', "'\\''"))
}

fn words<'a>(paths: impl IntoIterator<Item = &'a Path>) -> String {
    let words: Vec<String> = paths.into_iter().map(|path| quoted(path.as_os_str().as_bytes())).collect();
    words.join(" ")
}

impl Source for SshSource {
    fn list(&mut self, told: Told<'_>) -> Result<(), BackupError> {
        let xdev = if self.options.one_file_system { "-xdev" } else { "" };
        let paths = words(self.options.paths.iter().map(PathBuf::as_path));
        let (above, format) = (words(self.folders_above()), listing::FORMAT);
        let script = format!(
            "LC_ALL=C; export LC_ALL; find {above} -maxdepth 0 -printf '{format}' && \
             exec find {paths} {xdev} -printf '{format}'"
        );
        let mut running = self.start(&script, false)?;
        let Some(output) = running.output() else { return Ok(()) };
        let mut missing: HashSet<Vec<u8>> = self.options.paths.iter().map(|path| relative(path)).collect();
        let nodes = self.listed(output, &mut missing, told)?;
        let complaints = self.complaints(&mut running)?;
        if let Some(path) = missing.iter().next() {
            let path = tidegate_replicator::frozen::path_text(&[b"/", &path[..]].concat());
            return Err(self.failed(&format!("{path} is not there"), &running.last_words()).into());
        }
        if !nodes.is_empty() {
            let devices = self.devices(&paths, xdev)?;
            for node in nodes {
                told(match devices.get(&node.path) {
                    Some(device) => Listed::Found(Found { device: *device, ..node }),
                    // It has gone meanwhile, or tar does not send it.
                    None => {
                        Listed::Unreadable { path: node.path, why: "its numbers are not known".to_owned() }
                    }
                })?;
            }
        }
        for Complaint { path, why } in complaints {
            // What has gone meanwhile is no trouble, nor is what is not meant; mostly these are folders.
            if !why.contains("No such file") && self.options.selection.of(&path, true) != Meant::No {
                told(Listed::Unreadable { path, why })?;
            }
        }
        Ok(())
    }

    fn read(&mut self, mut wanted: WantedFiles<'_>, take: Take<'_>) -> Result<(), BackupError> {
        loop {
            let (mut batch, mut bytes) = (VecDeque::new(), 0);
            while batch.len() < BATCH_FILES_MAX
                && bytes < BATCH_BYTES_MAX
                && let Some(next) = wanted.next().transpose()?
            {
                bytes += next.found.path.len();
                batch.push_back(next);
            }
            if batch.is_empty() {
                return Ok(());
            }
            self.batch(batch, take)?;
        }
    }

    fn afterwards(&mut self) -> Vec<(Receipt, Late)> {
        std::mem::take(&mut self.late)
    }

    /// A file system that is not mounted leaves its folder, and those above it.
    fn frame(&self) -> Vec<Vec<u8>> {
        self.options.paths.iter().flat_map(|path| path.ancestors()).map(relative).collect()
    }
}

impl SshSource {
    /// Tells what find lists, and strikes it from what is missing; gives device nodes, of which find does not say enough.
    fn listed(
        &mut self,
        output: Output,
        missing: &mut HashSet<Vec<u8>>,
        told: Told<'_>,
    ) -> Result<Vec<Found>, BackupError> {
        let mut lines = BufReader::with_capacity(READ_BYTES, output);
        let failed = |why: &str| self.failed("its files cannot be listed", why);
        let (mut newest, mut nodes) = (Timestamp::default(), Vec::new());
        while let Some(mut found) = listing::next(&mut lines).map_err(|error| failed(&error.to_string()))? {
            missing.remove(&found.path);
            newest = newest.max(found.times.changed);
            let is_folder = found.kind == Kind::Directory;
            let meant = self.options.selection.of(&found.path, is_folder);
            if meant == Meant::No {
                continue;
            }
            found.only_with_content = meant == Meant::OnTheWay;
            if matches!(found.kind, Kind::Block | Kind::Character) {
                nodes.push(found);
            } else {
                told(Listed::Found(found))?;
            }
            if nodes.len() > DEVICES_MAX {
                return Err(failed("it has too many device nodes").into());
            }
        }
        self.newest = newest;
        Ok(nodes)
    }

    /// What find complains of, once it has ended. Fails when it did not go through all that there is.
    fn complaints(&self, running: &mut Running) -> Result<Vec<Complaint>, BackupError> {
        let status = running.end()?;
        let words = running.all_words()?;
        let FindWords { complaints, failure } = complaints::of_find(&words);
        let why = match (status.code(), failure) {
            (Some(0), _) => return Ok(complaints),
            (Some(1), None) if !complaints.is_empty() => return Ok(complaints),
            (Some(1), Some(line)) => line.to_owned(),
            _ => format!("{status}: {}", running.last_words()),
        };
        Err(self.failed("its files cannot be listed", &why).into())
    }

    /// The numbers of all device nodes, which find does not tell and tar does.
    fn devices(&self, paths: &str, xdev: &str) -> Result<HashMap<Vec<u8>, Device>, BackupError> {
        let script = format!(
            "LC_ALL=C; export LC_ALL; cd / && find {paths} {xdev} \\( -type b -o -type c \\) -print0 2>/dev/null | \
             tar -c -f - {EXACTLY} 2>/dev/null"
        );
        let mut running = self.start(&script, false)?;
        let Some(output) = running.output() else { return Ok(HashMap::new()) };
        let mut archive = Archive::new(BufReader::with_capacity(READ_BYTES, output));
        let mut devices = HashMap::new();
        let broken = |error: io::Error, words: String| {
            self.failed("its device nodes cannot be listed", &format!("{error}; {words}"))
        };
        while devices.len() < DEVICES_MAX
            && let Some(member) = archive.next().map_err(|error| broken(error, running.last_words()))?
        {
            devices.insert(member.path(), member.device);
        }
        Ok(devices)
    }

    /// Has tar send some files.
    fn batch(&mut self, mut batch: VecDeque<Wanted>, take: Take<'_>) -> Result<(), BackupError> {
        // Only a tar that knows of extended attributes is asked for them.
        let script = format!(
            "LC_ALL=C; export LC_ALL; cd / && set -f; X=; case \"$(tar --help 2>&1)\" in \
             *--xattrs-include*) X='--xattrs --xattrs-include=*';; esac; \
             exec tar -c -f - --sparse --ignore-failed-read $X {EXACTLY}"
        );
        let mut running = self.start(&script, true)?;
        let names: Vec<u8> =
            batch.iter().flat_map(|wanted| [b"./", &wanted.found.path[..], b"\0"].concat()).collect();
        let (input, output) = (running.input(), running.output());
        let (Some(mut input), Some(output)) = (input, output) else { return Ok(()) };
        // Beside the reading: tar may begin to send before it has been told everything. It fails when tar has ended early,
        // which the status says.
        drop(std::thread::spawn(move || input.write_all(&names)));
        let mut archive = Archive::new(BufReader::with_capacity(READ_BYTES, output));
        let (mut taken, mut missing) = (Vec::new(), Vec::new());
        while let Some(member) = self.next_member(&mut archive, &mut running)? {
            let path = member.path();
            let Some(place) = batch.iter().position(|wanted| wanted.found.path == path) else {
                return Err(self.failed("tar sent what it was not asked for", &running.last_words()).into());
            };
            missing.extend(batch.drain(..place));
            if let Some(wanted) = batch.pop_front() {
                let opened = self.opened(&wanted, member, &mut archive);
                taken.push(take(wanted, Ok(opened))?);
            }
        }
        missing.extend(batch);
        let said = self.said(&mut running, archive.is_whole())?;
        self.settle(said, (taken, missing), take)
    }

    /// What tar said, once it has ended. Fails unless it sent all that it could.
    fn said(&self, running: &mut Running, is_whole: bool) -> Result<TarWords, BackupError> {
        let status = running.end()?;
        let said = complaints::of_tar(&running.all_words()?);
        let complained =
            status.code().is_some_and(|code| TAR_COMPLAINED.contains(&code)) && said.is_something;
        let is_done = is_whole && (status.success() || complained);
        if !is_done {
            let why = format!("{status}: {}", running.last_words());
            return Err(self.failed("its files cannot be read", &why).into());
        }
        Ok(said)
    }

    /// Leaves out what did not come, and keeps in mind what is wrong with what came.
    fn settle(
        &mut self,
        mut said: TarWords,
        (taken, missing): (Vec<Receipt>, Vec<Wanted>),
        take: Take<'_>,
    ) -> Result<(), BackupError> {
        for missing in missing {
            let why = said.why_missing(&missing.found.path);
            take(missing, Err(why))?;
        }
        for receipt in taken {
            if let Some(late) = said.late(receipt.path()) {
                self.late.push((receipt, late));
            }
        }
        let why = match said.rest() {
            Some(line) => line,
            None if self.late.len() > LATE_MAX => {
                format!("more than {LATE_MAX} of them changed or could not be read while they were sent")
            }
            None => return Ok(()),
        };
        Err(self.failed("its files cannot be read", &why).into())
    }

    fn next_member<R: Read>(
        &self,
        archive: &mut Archive<R>,
        running: &mut Running,
    ) -> Result<Option<Member>, BackupError> {
        archive.next().map_err(|error| {
            // The command's own words say more than that its output ends.
            let ended = running.end().map_or_else(|error| error.to_string(), |status| status.to_string());
            self.failed("its files cannot be read", &format!("{error}; {ended}: {}", running.last_words()))
                .into()
        })
    }

    fn opened<'a, R: Read + Send>(
        &self,
        wanted: &Wanted,
        member: Member,
        archive: &'a mut Archive<R>,
    ) -> Opened<'a> {
        let mut found = wanted.found.clone();
        if found.times.changed.seconds >= self.newest.seconds - YOUNG_SECONDS {
            found.times.changed.nanos ^= 1;
        }
        let kind = member.kind;
        let extended = member.extended;
        if kind != Kind::Regular {
            found.kind = kind;
            return Opened { found, extended, cut: Cut::Content, content: None };
        }
        let content = Data { archive, pieces: member.pieces.into(), left: 0, size: member.size };
        Opened { found, extended, cut: Cut::Content, content: Some(Box::new(content)) }
    }
}

/// A path without the slash at its beginning.
fn relative(path: &Path) -> Vec<u8> {
    let path = path.as_os_str().as_bytes();
    path.strip_prefix(b"/").unwrap_or(path).to_vec()
}

/// The data of a member of an archive.
struct Data<'a, R> {
    archive: &'a mut Archive<R>,
    pieces: VecDeque<(u64, u64)>,
    left: u64,
    size: u64,
}

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let wanted = (out.len() as u64).min(self.left) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.archive.read_data(&mut out[..wanted])?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "tar sends less of it than it says"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

impl<R: Read + Send> Content for Data<'_, R> {
    fn next_data(&mut self) -> io::Result<Option<u64>> {
        let Some((start, bytes)) = self.pieces.pop_front() else { return Ok(None) };
        self.left = bytes;
        Ok(Some(start))
    }

    fn end(&mut self) -> io::Result<Ended> {
        Ok(Ended { size: self.size, torn: false })
    }

    fn again(&mut self) -> io::Result<Option<Found>> {
        Ok(None)
    }
}

/// Extended attributes, by name.
type Extended = Vec<(Bytes, Bytes)>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell_cannot_be_more_than_words() {
        assert_eq!(quoted(b"/a b"), "'/a b'");
        assert_eq!(quoted(b"/it's; rm"), "'/it'\\''s; rm'");
    }
}
