//! The command line of a bench.

use std::str::FromStr;

use crate::Outcome;

/// Words, and settings of the form `--name=value`.
pub struct Arguments {
    words: Vec<String>,
    settings: Vec<(String, String)>,
}

impl Arguments {
    /// Those of this process, without the `--bench` that cargo adds.
    pub fn of_this_process() -> Self {
        let (mut words, mut settings) = (Vec::new(), Vec::new());
        for argument in std::env::args().skip(1).filter(|argument| argument != "--bench") {
            match argument.strip_prefix("--").map(|setting| setting.split_once('=').unwrap_or((setting, "")))
            {
                Some((name, value)) => settings.push((name.to_owned(), value.to_owned())),
                None => words.push(argument),
            }
        }
        Self { words, settings }
    }

    /// What is no setting.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// A setting, or what it is when it is not given.
    pub fn setting<T: FromStr>(&self, name: &str, otherwise: T) -> Outcome<T> {
        match self.settings.iter().find(|(known, _)| known == name) {
            Some((_, value)) => {
                value.parse().map_err(|_| format!("--{name}={value} is not understood").into())
            }
            None => Ok(otherwise),
        }
    }
}
