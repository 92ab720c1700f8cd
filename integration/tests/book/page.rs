//! The pages of the book and the README as a reader sees them: with what they include, and their blocks of code.

use std::fs;
use std::path::{Path, PathBuf};

/// The page that is none of the book.
pub(crate) const README: &str = "README.md";
/// Where the pages of the book lie.
const BOOK: &str = "docs/book/src";

/// A block of code between fences.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// What the fence says that it is.
    pub(crate) language: String,
    /// The heading of second degree that it stands below; empty before the first.
    pub(crate) section: String,
    /// Its lines without their common indentation.
    pub(crate) text: String,
}

/// A page.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Its path below the book, or [`README`].
    pub(crate) name: String,
    /// All of it.
    pub(crate) text: String,
    pub(crate) blocks: Vec<Block>,
}

/// The top of the checkout.
pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is around its member").to_owned()
}

impl Page {
    pub(crate) fn read(name: &str) -> Self {
        let path = if name == README { top().join(name) } else { top().join(BOOK).join(name) };
        let text = read_with_includes(&path);
        Self { name: name.to_owned(), blocks: blocks(&text), text }
    }

    /// The README and every page that the book's table of contents names.
    pub(crate) fn all() -> Vec<Self> {
        let contents = fs::read_to_string(top().join(BOOK).join("SUMMARY.md")).expect("a table of contents");
        let linked = contents.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let names = [README].into_iter().chain(linked);
        names.map(Self::read).collect()
    }

    /// Its text with every run of white space as one space, for what is said over the end of a line.
    pub(crate) fn sentence(&self) -> String {
        self.text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A file with the lines of others in the place of mdBook's `{{#include FILE}}` and `{{#include FILE:FIRST:}}`.
fn read_with_includes(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut whole = String::new();
    for line in text.lines() {
        let included = line.trim().strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}"));
        let Some(included) = included else {
            whole.push_str(line);
            whole.push('\n');
            continue;
        };
        let (file, first) = included.split_once(':').unwrap_or((included, "1:"));
        let first: usize = first.trim_end_matches(':').parse().expect("the first line that is included");
        let file = path.parent().expect("a page lies in a folder").join(file);
        for line in read_with_includes(&file).lines().skip(first - 1) {
            whole.push_str(line);
            whole.push('\n');
        }
    }
    whole
}

fn blocks(text: &str) -> Vec<Block> {
    let (mut blocks, mut open, mut section) = (Vec::new(), None::<(usize, Block)>, String::new());
    for line in text.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        match (&mut open, trimmed.strip_prefix("```")) {
            (None, Some(language)) => {
                let block = Block {
                    language: language.trim().to_owned(),
                    section: section.clone(),
                    text: String::new(),
                };
                open = Some((indent, block));
            }
            (Some(_), Some(_)) => blocks.extend(open.take().map(|(_, block)| block)),
            (Some((outer, block)), None) => {
                block.text.push_str(&line[indent.min(*outer)..]);
                block.text.push('\n');
            }
            (None, None) => {
                if let Some(heading) = line.strip_prefix("## ") {
                    heading.clone_into(&mut section);
                }
            }
        }
    }
    assert!(open.is_none(), "a block of code does not end");
    blocks
}

impl Block {
    /// What is typed, command by command: continued lines are joined, and a prompt and lines that only comment left out.
    pub(crate) fn commands(&self) -> Vec<String> {
        let (mut commands, mut open) = (Vec::new(), String::new());
        for line in self.text.lines().map(str::trim) {
            let line = line.strip_prefix("$ ").unwrap_or(line);
            open.push_str(line.trim_end_matches('\\').trim_end());
            if line.ends_with('\\') {
                open.push(' ');
            } else {
                commands.push(std::mem::take(&mut open));
            }
        }
        commands.retain(|command| !command.is_empty() && !command.starts_with('#'));
        commands
    }
}

/// A command without the comment behind it.
pub(crate) fn without_comment(command: &str) -> &str {
    command.split(" #").next().unwrap_or(command).trim_end()
}

#[test]
fn blocks_are_found_where_they_are_indented_and_commands_where_they_are_continued() {
    let text = "## One\n\n* a point:\n\n  ```sh\n  $ a \\\n      --b   # why\n  # nothing\n  c\n  ```\n\n```toml\nd = 1\n```\n";
    let blocks = blocks(text);
    assert_eq!(blocks.len(), 2);
    assert_eq!((blocks[0].language.as_str(), blocks[0].section.as_str()), ("sh", "One"));
    let commands = blocks[0].commands();
    assert_eq!(commands, ["a --b   # why", "c"]);
    assert_eq!(without_comment(&commands[0]), "a --b");
    assert_eq!(blocks[1].text, "d = 1\n");
}
