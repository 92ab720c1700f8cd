//! `[[source]]`: what lies outside the shares and is saved by policies.
//!
//! What the values do is in [`crate::source`]; here they are only checked.

use std::fmt;
use std::str::FromStr;

use super::names::{LocalPath, Name};
use super::policy::Argument;
use super::problems::Problems;
use super::schema::table;
use super::values::{Span, text_setting};
use super::{Settings, check};
use crate::source::Pattern;

/// The most sources of one gateway.
const SOURCES_MAX: usize = 1_000;
/// The longest name of a file, in bytes.
const FILE_NAME_BYTES_MAX: usize = 255;

table! {
    /// A source of backup: something outside the shares that policies save, with `sources`. It is kept in the repository
    /// under its name as a share is, with heads and snapshots of its own, and no client sees it. Write exactly one of
    /// `folder`, `device`, `command` and `ssh`.
    pub struct Source("source", repeated) {
        /// What it is called in commands, and in the repository: another name is another source.
        name: Name, required;
        /// A folder of this machine. The gateway's own data and repository are left out of it.
        folder: LocalPath, optional;
        /// A block device, or an image file: one large file, read whole each time.
        device: LocalPath, optional;
        /// A program and its arguments, without a shell. What it writes to its standard output becomes one file; only
        /// if it ends with 0 there is a snapshot.
        command: Vec<Argument>, default(Vec::new());
        /// A host, as `ssh` is told it: `root@db1` or a name from the configuration of ssh. It needs a shell, GNU find and
        /// GNU tar.
        ssh: SshHost, optional;
        /// With `ssh`: the folders of the host that are saved.
        paths: Vec<LocalPath>, default(vec!["/".parse().expect("an absolute path")]);
        /// With `folder` or `ssh`: patterns of what is saved. Without any: everything. A pattern has `*`, `?`, `[a-z]` and
        /// `**`; with a slash at its beginning it begins at the top, else it matches at every depth; with one at its
        /// end it means folders only. It means everything below what it means.
        include: Vec<Pattern>, default(Vec::new());
        /// With `folder` or `ssh`: patterns of what is not saved, whatever `include` says.
        exclude: Vec<Pattern>, default(Vec::new());
        /// With `folder` or `ssh`: leave other file systems out that are mounted below it. Their mount points stay, as
        /// empty folders.
        one_file_system: bool, default(true);
        /// With `command`: the name of the file. Without it: `output`.
        file_name: FileName, optional;
        /// With `command` or `ssh`: how long a command may take. After that it is killed, and there is no snapshot.
        timeout: Span, default(Span::days(1)) in Span::seconds(1), Span::days(30);
        /// With `ssh`: the program that is run as ssh is.
        ssh_program: LocalPath, optional;
        /// With `ssh`: arguments for ssh, before the host.
        ssh_options: Vec<Argument>, default(Vec::new());
        /// Read everything each time, also what does not look changed.
        rescan: bool, default(false);
        /// Save it also when there is nothing in it. Without this an empty source is an error: it looks like one that is
        /// not mounted.
        allow_empty: bool, default(false);
        /// With `folder`: threads that read ahead.
        readers: u32, default(2) in 1, 64;
        /// How much less urgent than other work the reading is, as for `nice`.
        nice: u32, default(10) in 0, 19;
        /// Keep the source in a key domain of its own, as for a share. Fixed when it is first saved.
        own_key: bool, default(false);
    }
}

/// A host, as ssh is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshHost(String);

impl SshHost {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SshHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |letter: char| !letter.is_whitespace() && !letter.is_control();
        // What begins with a dash would be an option.
        if text.is_empty() || text.len() > 255 || text.starts_with('-') || !text.chars().all(legal) {
            return Err("is no host".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(SshHost, "a host such as \"db1\" or \"root@db1.example.net\"");

/// The name of a file, without a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName(String);

impl FileName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FileName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let illegal = matches!(text, "" | "." | "..") || text.contains(['/', '\0']);
        if illegal || text.len() > FILE_NAME_BYTES_MAX {
            return Err("is no name of a file".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(FileName, "the name of a file, without a slash");
text_setting!(Pattern, "a pattern such as \"*.tmp\", \"/srv/*/cache/\" or \"/var/**/*.log\"");

/// What kind of source it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A folder of this machine.
    Folder(LocalPath),
    /// A block device or image file.
    Device(LocalPath),
    /// What a command writes.
    Command,
    /// A host.
    Ssh(SshHost),
}

impl Source {
    /// What kind it is; none if the settings say none or several.
    pub fn kind(&self) -> Option<SourceKind> {
        let mut kinds = Vec::new();
        kinds.extend(self.folder.clone().map(SourceKind::Folder));
        kinds.extend(self.device.clone().map(SourceKind::Device));
        kinds.extend((!self.command.is_empty()).then_some(SourceKind::Command));
        kinds.extend(self.ssh.clone().map(SourceKind::Ssh));
        if kinds.len() == 1 { kinds.pop() } else { None }
    }

    /// What it saves, for people.
    pub fn what(&self) -> String {
        match self.kind() {
            Some(SourceKind::Folder(path)) => format!("folder {path}"),
            Some(SourceKind::Device(path)) => format!("device {path}"),
            Some(SourceKind::Command) => {
                let words: Vec<&str> = self.command.iter().map(Argument::as_str).collect();
                format!("command {}", words.join(" "))
            }
            Some(SourceKind::Ssh(host)) => format!("host {host}"),
            None => "nothing".to_owned(),
        }
    }
}

impl Settings {
    /// The source of that name.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name.as_str() == name)
    }
}

/// Notes what does not fit together within sources, and between them and other tables.
pub(super) fn sources_fit(settings: &Settings, problems: &mut Problems<'_>) {
    if settings.sources.len() > SOURCES_MAX {
        let message = format!("stands {} times; write at most {SOURCES_MAX}", settings.sources.len());
        problems.add("source", None, message);
    }
    check::distinct("source", "name", settings.sources.iter().map(|source| &source.name), problems);
    for source in &settings.sources {
        let name = source.name.as_str();
        let mut note = |key: &str, what: &str| {
            problems.add(&format!("source.{name}.{key}"), None, what);
        };
        let share = settings.share(name).is_some_and(|share| !share.follow);
        let bucket = settings.bucket(name).is_some_and(|bucket| bucket.share.is_none());
        if share || bucket {
            note(
                "name",
                "is that of a share or bucket too; the repository keeps them by name: choose another",
            );
        }
        match source.kind() {
            None => note("folder", "or one of device, command and ssh must be set, and no other of them"),
            Some(kind) => keys_fit(source, &kind, &mut note),
        }
    }
}

/// Keys that the kind has no use for are left at their defaults.
fn keys_fit(source: &Source, kind: &SourceKind, note: &mut impl FnMut(&str, &str)) {
    let json = serde_json::json!({ "name": source.name.as_str() });
    let Ok((usual, _)) = super::table_from_json::<Source>(&json) else { return };
    let (in_folders, over_ssh) = match kind {
        SourceKind::Folder(_) => (true, false),
        SourceKind::Ssh(_) => (true, true),
        SourceKind::Device(_) | SourceKind::Command => (false, false),
    };
    let is_command = *kind == SourceKind::Command;
    let strays = [
        ("paths", !over_ssh && source.paths != usual.paths, "is only for ssh"),
        ("ssh_program", !over_ssh && source.ssh_program.is_some(), "is only for ssh"),
        ("ssh_options", !over_ssh && !source.ssh_options.is_empty(), "is only for ssh"),
        ("include", !in_folders && !source.include.is_empty(), "is only for folder and ssh"),
        ("exclude", !in_folders && !source.exclude.is_empty(), "is only for folder and ssh"),
        ("one_file_system", !in_folders && !source.one_file_system, "is only for folder and ssh"),
        ("file_name", !is_command && source.file_name.is_some(), "is only for command"),
        (
            "timeout",
            !is_command && !over_ssh && source.timeout != usual.timeout,
            "is only for command and ssh",
        ),
        ("paths", over_ssh && source.paths.is_empty(), "is empty; name at least one folder"),
    ];
    for (key, _, what) in strays.iter().filter(|(_, wrong, _)| *wrong) {
        note(key, what);
    }
    if is_command && !source.command.first().is_some_and(|program| program.as_str().starts_with('/')) {
        note("command", "must begin with the absolute path of a program");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(sources: &str) -> Result<Settings, Vec<String>> {
        let text = format!(
            "[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n\
             [[share]]\nname = \"docs\"\n{sources}"
        );
        Settings::parse(&text).map_err(|error| error.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_kind_reads_and_is_written_as_it_is_read() {
        let settings = settings(
            "[[source]]\nname = \"home\"\nfolder = \"/home\"\nexclude = [\"*.tmp\", \"/a/**/b/\"]\nnice = 0\n\
             [[source]]\nname = \"disk\"\ndevice = \"/dev/vg/lv\"\nrescan = true\n\
             [[source]]\nname = \"db\"\ncommand = [\"/usr/bin/pg_dump\", \"x\"]\nfile_name = \"x.sql\"\ntimeout = \"1h\"\n\
             [[source]]\nname = \"host\"\nssh = \"root@db1\"\npaths = [\"/etc\"]\nssh_options = [\"-p\", \"2222\"]\n\
             [[policy]]\nname = \"p\"\nsources = [\"home\", \"db\"]\nevery = \"1h\"\nkeep_last = 1\n",
        )
        .expect("correct");
        let kinds: Vec<String> = settings.sources.iter().map(Source::what).collect();
        assert_eq!(
            kinds,
            ["folder /home", "device /dev/vg/lv", "command /usr/bin/pg_dump x", "host root@db1"]
        );
        assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key() {
        for (keys, problem) in [
            ("name = \"a\"", "source.a.folder: or one of device, command and ssh must be set"),
            ("name = \"a\"\nfolder = \"/x\"\ndevice = \"/y\"", "and no other of them"),
            ("name = \"docs\"\nfolder = \"/x\"", "source.docs.name: is that of a share or bucket too"),
            ("name = \"a\"\nfolder = \"/x\"\npaths = [\"/y\"]", "source.a.paths: is only for ssh"),
            (
                "name = \"a\"\ndevice = \"/x\"\nexclude = [\"y\"]",
                "source.a.exclude: is only for folder and ssh",
            ),
            (
                "name = \"a\"\nfolder = \"/x\"\nexclude = [\"a[\"]",
                "has an element 0 that has a [ without its ]",
            ),
            ("name = \"a\"\ncommand = [\"x\"]", "source.a.command: must begin with the absolute path"),
            ("name = \"a\"\nssh = \"-oProxyCommand=x\"", "is no host"),
            ("name = \"a\"\nfolder = \"/x\"\nnice = 20", "is out of range; write from 0 to 19"),
        ] {
            let problems = settings(&format!("[[source]]\n{keys}\n")).expect_err(keys);
            assert!(problems.iter().any(|found| found.contains(problem)), "{keys}\n{problems:#?}");
        }
        let policy = "[[policy]]\nname = \"p\"\nsources = [\"none\"]\nevery = \"1h\"\nkeep_last = 1\n";
        let problems = settings(policy).expect_err("no such source");
        assert!(problems[0].contains("names \"none\": there is no [[source]] of that name"), "{problems:?}");
    }
}
