//! The words of a run that stand in commands, URLs and messages: `{run}`, `{mode}`, `{nfs}` and so on.
//!
//! What is no such word stays as it is, braces and all. What is put in is not looked at again.

use crate::settings::Argument;

/// See the head of this module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Words(Vec<(&'static str, &'static str, String)>);

impl Words {
    /// Adds a word: as it stands in texts, and as environment variable.
    pub(in super::super) fn add(
        &mut self,
        word: &'static str,
        variable: &'static str,
        value: impl Into<String>,
    ) {
        self.0.push((word, variable, value.into()));
    }

    /// A text with its words filled in.
    pub(in super::super) fn fill(&self, text: &str) -> String {
        let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            let word = self
                .0
                .iter()
                .find(|(word, _, _)| rest[1..].strip_prefix(word).is_some_and(|rest| rest.starts_with('}')));
            match word {
                Some((word, _, value)) => {
                    filled.push_str(value);
                    rest = &rest[word.len() + 2..];
                }
                None => {
                    filled.push('{');
                    rest = &rest[1..];
                }
            }
        }
        filled.push_str(rest);
        filled
    }

    /// A command with its words filled in.
    pub(in super::super) fn fill_all(&self, command: &[Argument]) -> Vec<String> {
        command.iter().map(|argument| self.fill(argument.as_str())).collect()
    }

    /// As environment variables.
    pub(in super::super) fn variables(&self) -> Vec<(&'static str, String)> {
        self.0.iter().map(|(_, variable, value)| (*variable, value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_filled_in_once_and_other_braces_stay() {
        let mut words = Words::default();
        words.add("run", "TIDEGATE_RUN", "r1");
        words.add("nfs", "TIDEGATE_NFS", "{run}");
        for (text, filled) in [
            ("", ""),
            ("no words", "no words"),
            ("{run}{nfs}", "r1{run}"),
            ("{\"run\": 1}", "{\"run\": 1}"),
            ("{runs} {run {run}", "{runs} {run r1"),
            ("ä{run}ö{", "är1ö{"),
        ] {
            assert_eq!(words.fill(text), filled, "{text}");
        }
    }
}
