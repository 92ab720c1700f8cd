//! The tags of all that is made in AWS: by them it is found again, and by people too.

use super::xml::Element;
use crate::machine::Origin;
use crate::settings;

/// Whoever made it: the mark of [`Note`](super::note::Note).
pub(super) const OWNER: &str = "tidegate:owner";
/// The machine that it was made for, by the name that runs.
pub(super) const MACHINE: &str = "tidegate:machine";
/// Of a snapshot: which disk it is of, the same wherever it is asked.
pub(super) const DISK: &str = "tidegate:disk";
/// Of a snapshot: the file, for people.
pub(super) const PATH: &str = "tidegate:path";
/// Of a snapshot: the snapshot that its blocks lie over.
pub(super) const PARENT: &str = "tidegate:parent";
/// Of a snapshot that was made for a trial.
pub(super) const TRIAL: &str = "tidegate:trial";
/// Of a snapshot that is complete: the head whose content it has. Set when it is, never before.
pub(super) const HEAD: &str = "tidegate:head";
/// What consoles show as the name.
const NAME: &str = "Name";

/// The longest value, in characters (Amazon EC2 user guide, "Tag restrictions").
const VALUE_MAX: usize = 256;

/// What a disk is called in tags: of any share and path, in the letters that tags may have.
pub(super) fn disk_of(origin: &Origin) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(origin.share.as_bytes()).update(b"\0").update(origin.path.as_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

/// A text with nothing in it that a value may not have.
pub(super) fn value(text: &str) -> String {
    let legal = |letter: char| letter.is_alphanumeric() || " +-=._:/@".contains(letter);
    text.chars().map(|letter| if legal(letter) { letter } else { '_' }).take(VALUE_MAX).collect()
}

/// What everything has that is made for a machine.
pub(super) fn common(machine: &settings::Machine, name: &str, owner: &str) -> Vec<(String, String)> {
    let own = machine.tag_pairs().map(|(key, value)| (key.to_owned(), value.to_owned()));
    let mut tags: Vec<(String, String)> = own.collect();
    tags.extend([(OWNER.to_owned(), owner.to_owned()), (MACHINE.to_owned(), name.to_owned())]);
    if tags.iter().all(|(key, _)| key != NAME) {
        tags.push((NAME.to_owned(), name.to_owned()));
    }
    tags
}

/// The value of a tag, among those that an answer says of a thing.
pub(super) fn find<'e>(thing: &'e Element, key: &str) -> Option<&'e str> {
    thing.list(&["tagSet"]).find(|tag| tag.text(&["key"]) == Some(key)).and_then(|tag| tag.text(&["value"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_called_by_share_and_path_and_values_have_only_letters_that_they_may() {
        let origin = |path: &str| Origin { share: "0a".into(), path: path.into(), head: "h".into() };
        assert_eq!(disk_of(&origin("/a")), disk_of(&Origin { head: "other".into(), ..origin("/a") }));
        assert_ne!(disk_of(&origin("/a")), disk_of(&origin("/b")));
        assert_eq!(value("/a b\\x00{é}"), "/a b_x00_é_");
        assert_eq!(value(&"x".repeat(300)).len(), VALUE_MAX);
    }
}
