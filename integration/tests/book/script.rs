//! A chapter as a script: its commands in their order.

use crate::elsewhere::reason;
use crate::machine::{Machine, Ran};
use crate::page::{Block, Page};

/// The blocks of a chapter that are still to be played.
pub(crate) struct Script {
    page: Page,
    shell: std::vec::IntoIter<Block>,
    settings: std::vec::IntoIter<Block>,
}

impl Script {
    /// A page, or the part of it below one heading.
    pub(crate) fn open(page: &str, section: &str) -> Self {
        let page = Page::read(page);
        let here = |block: &&Block| section.is_empty() || block.section == section;
        let of = |language: &str| -> Vec<Block> {
            let blocks = page.blocks.iter().filter(here);
            blocks.filter(|block| block.language == language).cloned().collect()
        };
        let (shell, settings) = (of("sh").into_iter(), of("toml").into_iter());
        Self { page, shell, settings }
    }

    /// Plays the whole chapter: `play` takes every block of commands.
    pub(crate) fn run(mut self, play: impl FnOnce(&mut Self)) {
        play(&mut self);
        let left: Vec<_> = self.shell.map(|block| block.text).collect();
        assert!(left.is_empty(), "{}: nobody plays {left:?}", self.page.name);
    }

    /// Types the next block of commands. Each must end with 0.
    pub(crate) fn play(&mut self, machine: &mut Machine) -> Vec<Ran> {
        self.play_with(machine, &[], &[])
    }

    /// The same where words of the page stand for something of this machine, and where some commands, named by how they begin, end with
    /// other codes.
    pub(crate) fn play_with(
        &mut self,
        machine: &mut Machine,
        words: &[(&str, &str)],
        codes: &[(&str, i32)],
    ) -> Vec<Ran> {
        let commands = self.commands();
        let mut ran = Vec::new();
        for command in commands {
            ran.extend(self.play_one(machine, &command, words, codes));
        }
        ran
    }

    /// The commands of the next block, for a test that plays them one by one.
    pub(crate) fn commands(&mut self) -> Vec<String> {
        self.shell.next().unwrap_or_else(|| panic!("{} has no more commands", self.page.name)).commands()
    }

    /// Types one command; nothing where it is run elsewhere.
    pub(crate) fn play_one(
        &self,
        machine: &mut Machine,
        command: &str,
        words: &[(&str, &str)],
        codes: &[(&str, i32)],
    ) -> Option<Ran> {
        if reason(&self.page.name, command).is_some() {
            return None;
        }
        let mut typed = command.to_owned();
        for (word, value) in words {
            typed = typed.replace(word, value);
        }
        let code = codes.iter().find(|(begin, _)| command.starts_with(begin)).map_or(0, |(_, code)| *code);
        let ran = machine.do_command(&typed)?;
        let (page, log) = (&self.page.name, machine.gateway().log());
        println!("{page}: {typed}\n{}", ran.said.trim_end());
        assert_eq!(ran.code, code, "{page}: {typed}\n{}\nlog of the gateway:\n{log}", ran.said);
        Some(ran)
    }

    /// Types a command that the page has within a sentence.
    pub(crate) fn say(&self, machine: &mut Machine, command: &str) -> Ran {
        let marked = format!("`{command}`");
        assert!(self.page.sentence().contains(&marked), "{} does not say {marked}", self.page.name);
        self.play_one(machine, command, &[], &[]).expect("it is run here")
    }

    /// The next block of settings, added to those of a machine.
    pub(crate) fn add_settings(&mut self, machine: &Machine) {
        machine.add_settings(&self.settings());
    }

    /// The next block of settings.
    pub(crate) fn settings(&mut self) -> String {
        self.settings.next().unwrap_or_else(|| panic!("{} has no more settings", self.page.name)).text
    }
}
