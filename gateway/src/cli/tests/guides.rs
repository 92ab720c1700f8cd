//! The commands of README, book and the pages that the book shows are commands that there are: each is parsed as the
//! program would, those within a sentence as far as they go. `integration/tests/book` runs them.

use std::fs;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::described;

/// All pages written by hand; what is generated from the code is checked where it is made.
fn pages() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let by_hand = ["README.md", "docs/semantics.md", "docs/threat-model.md", "docs/runbooks/README.md"];
    let mut pages: Vec<_> = by_hand.iter().map(|page| top.join(page)).collect();
    let mut folders = vec![top.join("docs/book/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the book") {
            let path = entry.expect("an entry").path();
            match path.extension() {
                None if path.is_dir() => folders.push(path),
                Some(extension) if extension == "md" => pages.push(path),
                _ => {}
            }
        }
    }
    pages
}

/// The command lines of this program in a page's blocks of shell, continued lines joined.
fn commands(page: &str) -> Vec<String> {
    let (mut commands, mut inside, mut open) = (Vec::new(), false, String::new());
    for line in page.lines().map(str::trim) {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            open.push_str(line.trim_end_matches('\\'));
            if line.ends_with('\\') {
                open.push(' ');
            } else {
                commands.push(std::mem::take(&mut open));
            }
        }
    }
    commands.retain(|command| command.starts_with("tidegate "));
    commands
}

/// The commands within the sentences of a page.
fn within_sentences(page: &str) -> Vec<String> {
    let mut inside = false;
    let sentences = page.lines().map(str::trim).filter(|line| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    let sentences = sentences.collect::<Vec<_>>().join(" ");
    let marked = sentences.split('`').skip(1).step_by(2);
    marked.filter(|code| code.starts_with("tidegate ")).map(str::to_owned).collect()
}

/// The words of a command line, as a shell would split it: quotes, and comments.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in command.chars() {
        match (quote, character) {
            (Some(end), _) if character == end => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// The words of a command line but those in brackets, which may be left out.
fn without_brackets(command: &str) -> Vec<String> {
    let mut inside = false;
    let kept = words(command).into_iter().filter(|word| {
        let bracketed = inside || word.starts_with('[');
        inside = bracketed && !word.ends_with(']');
        !bracketed
    });
    kept.collect()
}

#[test]
fn every_command_in_readme_and_book_is_one() {
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("readable");
        for command in commands(&text) {
            let parsed = described().try_get_matches_from(words(&command));
            let wrong = parsed.as_ref().err().map(ToString::to_string).unwrap_or_default();
            assert!(parsed.is_ok(), "{}: {command}\n{wrong}", page.display());
            count += 1;
        }
    }
    assert!(count > 50, "only {count} commands were found: have the pages another form?");
}

#[test]
fn every_command_within_a_sentence_begins_as_one_does() {
    let (mut count, mut wrong) = (0, String::new());
    for page in pages() {
        let text = fs::read_to_string(&page).expect("readable");
        for command in within_sentences(&text) {
            // Whether something is missing at its end is not looked at: the help is asked for.
            let line = without_brackets(&command).into_iter().chain(["--help".to_owned()]);
            let parsed = described().try_get_matches_from(line).expect_err("at most help is shown");
            let lacks_value =
                parsed.get(ContextKind::InvalidValue) == Some(&ContextValue::String(String::new()));
            if parsed.kind() != ErrorKind::DisplayHelp && !lacks_value {
                wrong += &format!("{}: {command}\n{parsed}\n", page.display());
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 50, "only {count} commands were found: have the pages another form?");
}

#[test]
fn a_command_line_is_split_as_a_shell_does() {
    assert_eq!(words("tidegate a 'b c' --d=\"e f\" # g"), ["tidegate", "a", "b c", "--d=e f"]);
    assert_eq!(commands("```sh\ntidegate a \\\n    b\n```\ntidegate c\n"), ["tidegate a  b"]);
    assert_eq!(without_brackets("tidegate a [B] [--c D] e"), ["tidegate", "a", "e"]);
    assert_eq!(within_sentences("`x` and `tidegate\na`\n```sh\ntidegate b\n```\n"), ["tidegate a"]);
}
