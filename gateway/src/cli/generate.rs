//! `tidegate completions` and `tidegate manual`: what shells and `man` want to know of the command line, made
//! from its own description.

use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::Shell;

use super::exit::Failure;
use super::terminal::failed;
use super::{Context, described};

/// The name of the program in both.
const NAME: &str = "tidegate";

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct Manual {
    /// The folder to write to, one page a command.
    folder: PathBuf,
}

/// Writes the script to standard output.
pub(super) fn completions(context: &Context, command: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut described(), NAME, &mut script);
    context.terminal.data(&String::from_utf8_lossy(&script), ToString::to_string)
}

/// Writes the pages.
pub(super) fn manual(command: &Manual) -> Result<(), Failure> {
    write_pages(&command.folder).map_err(|error| failed("write the manual pages", &error))?;
    Ok(())
}

fn write_pages(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(described(), folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_is_completed() {
        let folder = tempfile::tempdir().expect("a folder");
        write_pages(folder.path()).expect("written");
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut described(), NAME, &mut script);
        let script = String::from_utf8(script).expect("UTF-8");
        let mut command = described();
        command.build();
        let mut below = vec![(NAME.to_owned(), command)];
        while let Some((name, command)) = below.pop() {
            if command.is_hide_set() || name.ends_with("-help") || name.contains("-help-") {
                continue;
            }
            let page = folder.path().join(format!("{name}.1"));
            assert!(page.exists(), "{} is missing", page.display());
            assert!(script.contains(command.get_name()), "{name} is not completed");
            let children = command.get_subcommands();
            below.extend(children.map(|child| (format!("{name}-{}", child.get_name()), child.clone())));
        }
    }
}
