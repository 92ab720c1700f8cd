//! What the programs of a host complain of: of which path, and why.
//!
//! They are run with `LC_ALL=C`, so they speak English and write names in letters of ASCII: any other byte as `\303`, and a
//! backslash before what would end the name. So whatever a name is, a complaint is one line.
//!
//! tar fills up with zeros what it cannot read of a file, goes on, and may end as if nothing had been: only what it says
//! tells. That is read when it has ended, for before then the last of it may be on its way.

use std::collections::HashMap;
use std::io;

use tidegate_replicator::backup::Late;

/// How tar begins to say of a file that it sent what is not in it.
const NOT_READ: [&str; 3] = ["Read error at byte ", "Cannot seek to ", "Cannot read"];
/// And that it sent what was in it at no moment, or may have been.
const TORN: [&str; 3] = ["file changed as we read it", "File shrank by ", "Cannot stat: "];
/// And that it is not there.
const NOT_THERE: [&str; 2] = ["Cannot stat: ", "Cannot open: "];

/// A path, without the slash at its beginning, and what is said of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) path: Vec<u8>,
    pub(super) why: String,
}

/// What find says.
#[derive(Debug, Default)]
pub(super) struct FindWords<'w> {
    /// Of paths that it could not look at, or into.
    pub(super) complaints: Vec<Complaint>,
    /// The first line that is of no path: what find then did not list may be there.
    pub(super) failure: Option<&'w str>,
}

enum FindLine {
    OfPath(Complaint),
    Advice,
    Failure,
}

/// What find says in these words, among which there may be others'.
pub(super) fn of_find(words: &str) -> FindWords<'_> {
    let mut all = FindWords::default();
    for line in words.lines() {
        let Some(said) = line.strip_prefix("find: ") else { continue };
        match find_line(said) {
            FindLine::OfPath(complaint) => all.complaints.push(complaint),
            FindLine::Advice => {}
            FindLine::Failure => all.failure = all.failure.or(Some(line)),
        }
    }
    all
}

fn find_line(said: &str) -> FindLine {
    let of_path =
        |path: Vec<u8>, why: &str| FindLine::OfPath(Complaint { path: below_top(path), why: why.to_owned() });
    // Some folders were not gone into.
    if let Some(rest) = said.strip_prefix("WARNING: Hard link count is wrong for ") {
        return of_path(first_quoted(rest).unwrap_or_default(), said);
    }
    if said.starts_with("WARNING: ") || said.starts_with("warning: ") {
        return FindLine::Advice;
    }
    if let Some(path) = said.strip_prefix("File system loop detected; ").and_then(first_quoted) {
        return of_path(path, said);
    }
    match said.strip_prefix(['\'', '`']).and_then(|rest| rest.rsplit_once("': ")) {
        Some((path, why)) if path.starts_with('/') => of_path(unquoted(path), why),
        _ => FindLine::Failure,
    }
}

/// What tar says of files, each by its path. What was asked about is forgotten.
#[derive(Debug, Default)]
pub(super) struct TarWords {
    by_path: HashMap<Vec<u8>, Vec<String>>,
    /// The first line that says of no known path that it was not read.
    stray: Option<String>,
    /// Whether it said anything.
    pub(super) is_something: bool,
}

/// What tar says in these words, among which there may be others'.
pub(super) fn of_tar(words: &str) -> TarWords {
    let mut all = TarWords::default();
    for said in words.lines().filter_map(|line| line.strip_prefix("tar: ")) {
        all.is_something = true;
        if let Some((path, why)) = tar_line(said) {
            all.by_path.entry(path).or_default().push(why.to_owned());
        } else if NOT_READ.iter().any(|beginning| said.contains(beginning)) {
            all.stray = all.stray.or_else(|| Some(said.to_owned()));
        }
    }
    all
}

/// A path, and what is said of it; none if it is none that tar was asked for.
fn tar_line(said: &str) -> Option<(Vec<u8>, &str)> {
    let said = said.strip_prefix("./")?;
    let (path, why) = said.split_at(unescaped(said, b':')?);
    let why = why.strip_prefix(": ")?;
    let path = unquoted(path.strip_suffix('/').unwrap_or(path));
    Some((path, why.strip_prefix("Warning: ").unwrap_or(why)))
}

impl TarWords {
    /// Why a file did not come.
    pub(super) fn why_missing(&mut self, path: &[u8]) -> io::Error {
        let lines = self.by_path.remove(path).unwrap_or_default();
        if let Some(line) = lines.iter().find(|line| is_not_there(line)) {
            return io::Error::new(io::ErrorKind::NotFound, line.clone());
        }
        let first = lines.into_iter().next();
        io::Error::other(first.unwrap_or_else(|| "tar on the host did not send it".to_owned()))
    }

    /// What is wrong with the content of a file that came.
    pub(super) fn late(&mut self, path: &[u8]) -> Option<Late> {
        let lines = self.by_path.remove(path)?;
        let begins = |beginnings: &[&str]| {
            lines.iter().find(|line| beginnings.iter().any(|beginning| line.starts_with(beginning)))
        };
        match begins(&NOT_READ) {
            Some(line) => Some(Late::Unreadable(line.clone())),
            None => begins(&TORN).map(|_| Late::Torn),
        }
    }

    /// That something was not read about which nobody asked.
    pub(super) fn rest(self) -> Option<String> {
        let is_not_read = |line: &String| NOT_READ.iter().any(|beginning| line.starts_with(beginning));
        self.stray.or_else(|| self.by_path.into_values().flatten().find(is_not_read))
    }
}

fn is_not_there(line: &str) -> bool {
    NOT_THERE.iter().any(|beginning| line.starts_with(beginning))
        && line.ends_with("No such file or directory")
}

fn below_top(mut path: Vec<u8>) -> Vec<u8> {
    if path.first() == Some(&b'/') {
        path.remove(0);
    }
    path
}

/// The first name between quotes.
fn first_quoted(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(['\'', '`'])?;
    let end = unescaped(rest, b'\'')?;
    Some(unquoted(&rest[..end]))
}

/// Where a letter stands that has no backslash before it.
fn unescaped(text: &str, letter: u8) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_it = byte == letter && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_it
    })
}

/// A name as it is, of how it was written.
fn unquoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, after) = match (*first, after) {
            (b'\\', [high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', after @ ..]) => {
                ((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'), after)
            }
            (b'\\', [letter, after @ ..]) => (meaning(*letter), after),
            (byte, after) => (byte, after),
        };
        out.push(byte);
        rest = after;
    }
    out
}

/// What a letter stands for behind a backslash.
fn meaning(letter: u8) -> u8 {
    match letter {
        b'a' => 0x07,
        b'b' => 0x08,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 0x0b,
        b'f' => 0x0c,
        b'r' => b'\r',
        itself => itself,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(words: &str) -> Vec<(Vec<u8>, String)> {
        of_find(words).complaints.into_iter().map(|complaint| (complaint.path, complaint.why)).collect()
    }

    #[test]
    fn complaints_of_find_name_paths_as_they_are() {
        let words = "find: '/root': Permission denied\nfind: '/it\\'s': a\\\\b': No such file or directory\n\
                     find: `/old': Permission denied\nfind: '/n\\nl\\303\\244': Input/output error\nother";
        let pair = |path: &[u8], why: &str| (path.to_vec(), why.to_owned());
        assert_eq!(
            found(words),
            [
                pair(b"root", "Permission denied"),
                pair(b"it's': a\\b", "No such file or directory"),
                pair(b"old", "Permission denied"),
                pair(b"n\nl\xc3\xa4", "Input/output error"),
            ]
        );
        assert_eq!(of_find(words).failure, None);
    }

    #[test]
    fn a_line_of_find_that_is_of_no_path_is_a_failure_and_its_advice_is_not() {
        for line in [
            "find: failed to read file names from file system at or below '/': No such file or directory",
            "find: failed to restore working directory after searching /srv: Permission denied",
            "find: cannot search '/srv': Cannot allocate memory",
            "find: 'standard output': No space left on device",
            "find: unrecognized: -printf",
        ] {
            let words = format!("a banner\nfind: '/root': Permission denied\n{line}\nfind: later");
            assert_eq!(of_find(&words).failure, Some(line));
        }
        let advice =
            "find: warning: you have specified an option\nfind: WARNING: file '/x' appears to have mode 0000";
        assert_eq!((of_find(advice).failure, found(advice)), (None, Vec::new()));
    }

    #[test]
    fn what_find_did_not_go_into_is_a_complaint_of_its_path() {
        let wrong = "WARNING: Hard link count is wrong for '/a\\'b' (saw only st_nlink=2 but we already saw 3 subdirectories): \
                     this may be a bug in your file system driver.";
        let cycle = "File system loop detected; '/srv/loop' is part of the same file system loop as '/srv'.";
        let words = format!("find: {wrong}\nfind: {cycle}");
        let paths: Vec<_> = found(&words).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, [b"a'b".to_vec(), b"srv/loop".to_vec()]);
        assert_eq!(of_find(&words).failure, None);
    }

    #[test]
    fn words_of_tar_say_what_is_missing_what_is_torn_and_what_was_not_read() {
        let words = "tar: ./etc/shadow: Cannot open: Permission denied\n\
                     tar: ./log/x: file changed as we read it\ntar: ./a: File shrank by 5 bytes; padding with zeros\n\
                     tar: ./srv/a\\: b\\n: Warning: Read error at byte 0, while reading 10240 bytes: Input/output error\n\
                     tar: ./far: Cannot seek to 5: Invalid argument\ntar: ./calm: Warning: Cannot llistxattrat: Bad\n\
                     tar: ./folder/: Warning: Cannot open: Permission denied\n\
                     tar: Exiting with failure status due to previous errors";
        let mut said = of_tar(words);
        let unread = |why: &str| Some(Late::Unreadable(why.to_owned()));
        for (path, late) in [
            (&b"log/x"[..], Some(Late::Torn)),
            (b"a", Some(Late::Torn)),
            (b"srv/a: b\n", unread("Read error at byte 0, while reading 10240 bytes: Input/output error")),
            (b"far", unread("Cannot seek to 5: Invalid argument")),
            (b"calm", None),
            (b"other", None),
        ] {
            assert_eq!(said.late(path), late, "{}", String::from_utf8_lossy(path));
        }
        for (path, why) in [
            (&b"etc/shadow"[..], "Cannot open: Permission denied"),
            (b"folder", "Cannot open: Permission denied"),
            (b"etc/other", "tar on the host did not send it"),
        ] {
            assert_eq!(said.why_missing(path).to_string(), why);
        }
        assert!(said.is_something);
        assert_eq!(said.rest(), None);
    }

    #[test]
    fn a_file_that_is_not_read_and_not_known_is_not_passed_over() {
        let read_error = "Read error at byte 7, while reading 1 byte: Input/output error";
        for name in ["./unknown", "/elsewhere", "lost:"] {
            let mut said =
                of_tar(&format!("tar: ./x: file changed as we read it\ntar: {name}: {read_error}"));
            assert_eq!(said.late(b"x"), Some(Late::Torn));
            assert!(said.rest().is_some_and(|line| line.ends_with(read_error)), "{name}");
        }
        assert!(!of_tar("a banner of the host").is_something);
    }

    #[test]
    fn only_what_is_not_there_has_gone() {
        let words = "tar: ./gone: Warning: Cannot stat: No such file or directory\n\
                     tar: ./went: Cannot open: No such file or directory\ntar: ./closed: Cannot open: Permission denied";
        let mut said = of_tar(words);
        for (path, has_gone) in
            [(&b"gone"[..], true), (b"went", true), (b"closed", false), (b"unsaid", false)]
        {
            assert_eq!(said.why_missing(path).kind() == io::ErrorKind::NotFound, has_gone);
        }
    }

    #[test]
    fn names_of_all_bytes_are_read_and_half_of_one_is_nothing_worse() {
        assert_eq!(
            unquoted("\\001\\177\\a\\b\\t\\n\\v\\f\\r\\\\\\:\\' z"),
            b"\x01\x7f\x07\x08\t\n\x0b\x0c\r\\:' z"
        );
        assert_eq!(unquoted("\\400\\18\\"), b"40018\\");
        assert_eq!(unescaped("a\\:b\\\\:c", b':'), Some(6));
    }
}
