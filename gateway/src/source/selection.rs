//! Which paths of a source are meant.
//!
//! A pattern is a path with wildcards: `*` and `?` stand for letters within a name, `[a-z]` for one of several, `**` for any
//! number of folders, and `\` takes the meaning from the next letter. A pattern that begins with a slash begins at the top of
//! the source; any other matches at every depth. One that ends with a slash means folders only.
//!
//! What a pattern means, it means with everything below it. What is excluded is not there, whatever includes say. Where
//! there are includes, what none of them means is not there either, but for folders on the way to what one does.

use std::fmt;
use std::str::FromStr;

/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 4_096;

/// One pattern, as it was written and as it is matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
    folders_only: bool,
}

/// What stands for one name, or for any number of them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Any,
    Name(Vec<Letter>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Letter {
    Just(u8),
    One,
    Many,
    Of { ranges: Vec<(u8, u8)>, negated: bool },
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > PATTERN_BYTES_MAX || text.contains('\0') {
            return Err("is no pattern".to_owned());
        }
        let (path, folders_only) = match text.strip_suffix('/') {
            Some(path) if !path.is_empty() => (path, true),
            _ => (text, false),
        };
        let (path, anchored) = match path.strip_prefix('/') {
            Some(path) => (path, true),
            None => (path, false),
        };
        let mut parts = if anchored { Vec::new() } else { vec![Part::Any] };
        for name in path.split('/').filter(|name| !name.is_empty()) {
            parts.push(if name == "**" { Part::Any } else { Part::Name(letters(name.as_bytes())?) });
        }
        Ok(Self { text: text.to_owned(), parts, folders_only })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn letters(mut name: &[u8]) -> Result<Vec<Letter>, String> {
    let mut letters = Vec::new();
    while let [first, rest @ ..] = name {
        name = rest;
        letters.push(match first {
            b'*' => Letter::Many,
            b'?' => Letter::One,
            b'\\' => {
                let [next, rest @ ..] = name else { return Err("ends with a backslash".to_owned()) };
                name = rest;
                Letter::Just(*next)
            }
            b'[' => {
                let (letter, rest) = class(name).ok_or("has a [ without its ]")?;
                name = rest;
                letter
            }
            letter => Letter::Just(*letter),
        });
    }
    Ok(letters)
}

/// What stands between brackets; a `]` right after the beginning is one of the letters.
fn class(text: &[u8]) -> Option<(Letter, &[u8])> {
    let (negated, mut rest) = match text {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut ranges = Vec::new();
    loop {
        let (first, after) = rest.split_first()?;
        if *first == b']' && !ranges.is_empty() {
            return Some((Letter::Of { ranges, negated }, after));
        }
        match after {
            [b'-', last, after @ ..] if *last != b']' => {
                ranges.push((*first, *last));
                rest = after;
            }
            _ => {
                ranges.push((*first, *first));
                rest = after;
            }
        }
    }
}

impl Letter {
    fn is(&self, byte: u8) -> bool {
        match self {
            Self::Just(letter) => *letter == byte,
            Self::One => true,
            Self::Many => false,
            Self::Of { ranges, negated } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&byte)) != *negated
            }
        }
    }
}

/// Whether letters stand for a name. Takes at most as many steps as both lengths multiplied.
fn name_matches(letters: &[Letter], name: &[u8]) -> bool {
    let (mut letter, mut byte) = (0, 0);
    let mut last_many: Option<(usize, usize)> = None;
    while byte < name.len() {
        match letters.get(letter) {
            Some(Letter::Many) => {
                last_many = Some((letter, byte));
                letter += 1;
            }
            Some(one) if one.is(name[byte]) => (letter, byte) = (letter + 1, byte + 1),
            _ => {
                let Some((many, from)) = last_many else { return false };
                last_many = Some((many, from + 1));
                (letter, byte) = (many + 1, from + 1);
            }
        }
    }
    letters[letter..].iter().all(|letter| *letter == Letter::Many)
}

impl Pattern {
    /// Whether it means this path itself.
    fn matches(&self, names: &[&[u8]], is_folder: bool) -> bool {
        (is_folder || !self.folders_only) && parts_match(&self.parts, names, false)
    }

    /// Whether it may mean something below this folder.
    fn leads_into(&self, names: &[&[u8]]) -> bool {
        parts_match(&self.parts, names, true)
    }
}

/// Whether parts stand for names, or (`beginning`) could once more names follow.
fn parts_match(parts: &[Part], names: &[&[u8]], beginning: bool) -> bool {
    if names.is_empty() && beginning {
        return true;
    }
    match parts {
        [] => names.is_empty(),
        [Part::Any] => true,
        [Part::Any, rest @ ..] => (0..=names.len()).any(|skip| parts_match(rest, &names[skip..], beginning)),
        [Part::Name(letters), rest @ ..] => names
            .split_first()
            .is_some_and(|(name, names)| name_matches(letters, name) && parts_match(rest, names, beginning)),
    }
}

/// What a path is to a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// It is saved.
    Yes,
    /// A folder that is saved if something in it is.
    OnTheWay,
    /// Neither it nor anything below it.
    No,
}

/// See the head of this module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// What is saved; everything without any.
    pub include: Vec<Pattern>,
    /// What is not.
    pub exclude: Vec<Pattern>,
}

impl Selection {
    /// What a path is, which has no slash at either end; the top is always saved. An excluded folder excludes what is
    /// below it, so no path below such a folder needs to be asked about, but may be.
    pub fn of(&self, path: &[u8], is_folder: bool) -> Meant {
        if path.is_empty() || (self.include.is_empty() && self.exclude.is_empty()) {
            return Meant::Yes;
        }
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let means = |patterns: &[Pattern]| {
            let whole = |length: usize| {
                let is_folder = is_folder || length < names.len();
                patterns.iter().any(|pattern| pattern.matches(&names[..length], is_folder))
            };
            (1..=names.len()).any(whole)
        };
        if means(&self.exclude) {
            Meant::No
        } else if self.include.is_empty() || means(&self.include) {
            Meant::Yes
        } else if is_folder && self.include.iter().any(|pattern| pattern.leads_into(&names)) {
            Meant::OnTheWay
        } else {
            Meant::No
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(include: &[&str], exclude: &[&str]) -> Selection {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().expect(text)).collect();
        Selection { include: patterns(include), exclude: patterns(exclude) }
    }

    #[test]
    fn patterns_mean_what_they_look_like() {
        for (pattern, path, is_folder, meant) in [
            ("*.o", "a/b/c.o", false, true),
            ("*.o", "c.ob", false, false),
            ("/*.o", "a/c.o", false, false),
            ("/a/*.o", "a/c.o", false, true),
            ("a/b", "x/a/b", false, true),
            ("a/b", "x/a/b/c/d", false, true),
            ("/a/**/z", "a/z", false, true),
            ("/a/**/z", "a/b/c/z", false, true),
            ("/a/**/z", "b/z", false, false),
            ("cache/", "a/cache", true, true),
            ("cache/", "a/cache", false, false),
            ("cache/", "a/cache/x", false, true),
            ("[a-c]?", "b1", false, true),
            ("[!a-c]?", "b1", false, false),
            ("[]x]", "]", false, true),
            ("\\*", "*", false, true),
            ("\\*", "x", false, false),
            ("a*b*c", "aXbXbXc", false, true),
            ("a*b*c", "aXbXbX", false, false),
            ("/", "a", false, false),
        ] {
            let found = selection(&[], &[pattern]).of(path.as_bytes(), is_folder);
            assert_eq!(found == Meant::No, meant, "{pattern} {path}");
        }
    }

    #[test]
    fn includes_keep_what_they_mean_and_the_way_there() {
        let selection = selection(&["/srv/*/docs", "*.txt"], &["secret"]);
        for (path, is_folder, meant) in [
            ("srv", true, Meant::OnTheWay),
            ("srv/a/docs", true, Meant::Yes),
            ("srv/a/docs/x/y", false, Meant::Yes),
            ("srv/a/other", false, Meant::No),
            ("srv/a/other.txt", false, Meant::Yes),
            ("srv/a/docs/secret/x", false, Meant::No),
            ("", true, Meant::Yes),
        ] {
            assert_eq!(selection.of(path.as_bytes(), is_folder), meant, "{path}");
        }
        let anchored = super::tests::selection(&["/etc/ssh"], &[]);
        assert_eq!(anchored.of(b"usr", true), Meant::No);
        assert_eq!(anchored.of(b"etc", true), Meant::OnTheWay);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "a[b", "a\\", "\0"] {
            assert!(text.parse::<Pattern>().is_err(), "{text:?}");
        }
    }
}
