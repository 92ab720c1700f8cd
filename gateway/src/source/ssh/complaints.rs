//! What the programs of a host complain of: of which path, and why.
//!
//! They are run with `LC_ALL=C`, so they speak English and write names in letters of ASCII: any other byte as `\303`, and a
//! backslash before what would end the name. So whatever a name is, a complaint is one line.

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
    fn names_of_all_bytes_are_read_and_half_of_one_is_nothing_worse() {
        assert_eq!(
            unquoted("\\001\\177\\a\\b\\t\\n\\v\\f\\r\\\\\\:\\' z"),
            b"\x01\x7f\x07\x08\t\n\x0b\x0c\r\\:' z"
        );
        assert_eq!(unquoted("\\400\\18\\"), b"40018\\");
        assert_eq!(unescaped("a\\:b\\\\:c", b':'), Some(6));
    }
}
