//! `[runbook.NAME]` and `[[runbook.NAME.step]]`: what is done when a site is lost, and how that is practised.
//!
//! What the steps do is in [`crate::runbook`]; here they are only read and checked. A runbook is read by itself, so
//! that it can travel: with a head ([`runbooks_to_toml`]), and in the journal of a run.

mod fit;
mod step;
#[cfg(test)]
mod tests;

use toml_edit::{ArrayOfTables, Document, DocumentMut, Item, TableLike};

pub(super) use fit::runbooks_fit;
pub use step::{Action, InDrill, MomentText, OnStepFailure, RecordKind, Step, TsigAlgorithm};

use super::names::Name;
use super::policy::Argument;
use super::problems::{Problems, SettingsError};
use super::schema::{Reader, Table, table};
use super::values::Span;

/// The name of the table of all runbooks.
pub(super) const RUNBOOK: &str = "runbook";
/// The key of the steps in the table of a runbook.
const STEP: &str = "step";

table! {
    /// A runbook: what brings shares back at another place, as steps that wait for each other. `tidegate runbook drill
    /// NAME` practises it on a clone, `tidegate runbook failover NAME` does it. It travels with the heads of the shares
    /// that it attaches, so that an empty machine finds it with nothing but the address of the repository and the key.
    /// docs/runbooks/ says how one is written.
    pub struct RunbookRules("runbook.NAME", once) {
        /// What it is for, for people.
        about: Argument, optional;
        /// Recovery time objective: how long it may take until its last check has passed. Reports compare with it.
        rto: Span, optional in Span::seconds(1), Span::days(30);
        /// Recovery point objective: how old the newest head may be when a run begins. Reports compare with it; without
        /// it each share's own `rpo` counts.
        rpo: Span, optional in Span::seconds(1), Span::days(30);
        /// How many steps may run at once.
        parallel: u32, default(8) in 1, 64;
        /// The most that the clone of a drill keeps on disk of what was read.
        drill_cache: super::Size, default(super::Size::gib(2)) in super::Size::mib(64), super::Size::tib(1);
    }
}

/// A runbook.
#[derive(Clone, Debug, PartialEq)]
pub struct Runbook {
    /// What it is called.
    pub name: Name,
    /// What holds for it as a whole.
    pub rules: RunbookRules,
    /// Its steps, in the order of the settings.
    pub steps: Vec<Step>,
}

impl Runbook {
    /// The step of that name.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name.as_str() == name)
    }

    /// The shares that it attaches, each once.
    pub fn shares(&self) -> Vec<&str> {
        let mut shares = Vec::new();
        for step in self.steps.iter().filter(|step| step.action == Action::Attach) {
            let share = step.share.as_ref().map(super::ShareName::as_str);
            shares.extend(share.filter(|share| !shares.contains(share)));
        }
        shares
    }
}

impl super::Settings {
    /// The runbook of that name.
    pub fn runbook(&self, name: &str) -> Option<&Runbook> {
        self.runbooks.iter().find(|runbook| runbook.name.as_str() == name)
    }
}

/// Runbooks as a text of their own, every key written out.
pub fn runbooks_to_toml<'r>(runbooks: impl IntoIterator<Item = &'r Runbook>) -> String {
    let mut document = DocumentMut::new();
    write_runbooks(document.as_table_mut(), runbooks);
    document.to_string()
}

/// Reads what [`runbooks_to_toml`] wrote.
pub fn runbooks_from_toml(text: &str) -> Result<Vec<Runbook>, SettingsError> {
    let mut problems = Problems::new(text);
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            problems.add("", error.span(), format!("this is not TOML: {}", error.message()));
            return Err(problems.into_error());
        }
    };
    let runbooks = read_runbooks(document.as_table(), &mut problems);
    if let Some(runbooks) = &runbooks {
        fit::each_fits(runbooks, &mut problems);
    }
    match runbooks {
        Some(runbooks) if problems.is_empty() => Ok(runbooks),
        Some(_) | None => Err(problems.into_error()),
    }
}

/// Adds a runbook to a settings file.
pub fn add_runbook(document: &mut DocumentMut, runbook: &Runbook) -> Result<(), String> {
    let name = runbook.name.as_str();
    let there = document.get(RUNBOOK).and_then(Item::as_table_like);
    if there.is_some_and(|table| table.contains_key(name)) {
        return Err(format!("has a runbook {name:?} already"));
    }
    write_runbooks(document.as_table_mut(), [runbook]);
    Ok(())
}

/// Writes runbooks into the tables of a file.
pub(super) fn write_runbooks<'r>(
    root: &mut toml_edit::Table,
    runbooks: impl IntoIterator<Item = &'r Runbook>,
) {
    for runbook in runbooks {
        let mut table = runbook.rules.write();
        let steps: ArrayOfTables = runbook.steps.iter().map(Table::write).collect();
        table.insert(STEP, Item::ArrayOfTables(steps));
        let all = root.entry(RUNBOOK).or_insert_with(|| {
            let mut all = toml_edit::Table::new();
            all.set_implicit(true);
            Item::Table(all)
        });
        if let Some(all) = all.as_table_like_mut() {
            all.insert(runbook.name.as_str(), Item::Table(table));
        }
    }
}

/// Reads all runbooks of a file.
pub(super) fn read_runbooks(root: &toml_edit::Table, problems: &mut Problems<'_>) -> Option<Vec<Runbook>> {
    let Some(item) = root.get(RUNBOOK) else { return Some(Vec::new()) };
    let Some(all) = item.as_table_like() else {
        problems.add(RUNBOOK, item.span(), "is no table; write each under [runbook.NAME]");
        return None;
    };
    let read: Vec<Option<Runbook>> =
        all.iter().map(|(name, item)| read_runbook(name, item, problems)).collect();
    read.into_iter().collect()
}

fn read_runbook(name: &str, item: &Item, problems: &mut Problems<'_>) -> Option<Runbook> {
    let path = format!("{RUNBOOK}.{name}");
    let Some(table) = item.as_table_like() else {
        problems.add(&path, item.span(), "is no table; write it under [runbook.NAME]");
        return None;
    };
    let name = name.parse::<Name>().map_err(|reason| {
        let form = <Name as super::Setting>::form();
        problems.add(&path, item.span(), format!("{reason}; write {form}"));
    });
    let mut rules = toml_edit::Table::new();
    for (key, item) in table.iter().filter(|(key, _)| *key != STEP) {
        rules.insert(key, item.clone());
    }
    let rules = RunbookRules::read(&mut Reader::new(path.clone(), &rules, problems));
    let steps = read_steps(&path, table.get(STEP), problems);
    Some(Runbook { name: name.ok()?, rules: rules?, steps: steps? })
}

fn read_steps(path: &str, item: Option<&Item>, problems: &mut Problems<'_>) -> Option<Vec<Step>> {
    let found: Option<Vec<&dyn TableLike>> = match item {
        None => Some(Vec::new()),
        Some(Item::ArrayOfTables(list)) => Some(list.iter().map(|table| table as &dyn TableLike).collect()),
        Some(Item::Value(toml_edit::Value::Array(list))) => {
            list.iter().map(|value| value.as_inline_table().map(|table| table as &dyn TableLike)).collect()
        }
        Some(Item::None | Item::Value(_) | Item::Table(_)) => None,
    };
    let Some(found) = found else {
        let place = item.and_then(Item::span);
        problems.add(
            &format!("{path}.{STEP}"),
            place,
            format!("is no list; write each under [[{path}.{STEP}]]"),
        );
        return None;
    };
    let read: Vec<Option<Step>> = found
        .into_iter()
        .enumerate()
        .map(|(at, table)| {
            let named = table.get("name").and_then(Item::as_str).filter(|name| name.parse::<Name>().is_ok());
            let path = named.map_or_else(|| format!("{path}.{STEP}[{at}]"), |name| format!("{path}.{name}"));
            Step::read(&mut Reader::new(path, table, problems))
        })
        .collect();
    read.into_iter().collect()
}
