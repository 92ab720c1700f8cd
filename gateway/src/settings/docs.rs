//! `docs/settings.md`, made from the tables themselves.

use std::fmt::Write;

use super::schema::{KeyDescription, Table, TableDescription};
use super::{
    AccessKey, Alarms, Api, Archive, AuditLog, Bandwidth, Bucket, Cache, Gateway, Machine, Nbd, Nfs, Notify,
    Oidc, Otlp, Policy, PriceTable, Recovery, Repository, Retention, RunbookRules, S3, Scrub, Share, Source,
    Step, Target, Token, Volume,
};

/// What the page says before the tables.
const INTRODUCTION: &str = "\
# Settings

<!-- Generated from gateway/src/settings. Do not edit: `TIDEGATE_BLESS=1 make test` writes it anew. -->

One TOML file says what a gateway should do: `/etc/tidegate/tidegate.toml`, or the one named with
`--settings` or in `TIDEGATE_SETTINGS`. It is the only source of truth; the commands that change
something (`tidegate share add`) edit this file, keep its comments, and have the running gateway load
it again. After an edit by hand, `kill -HUP` or `systemctl reload tidegate` does the same.

A key that is not in this page is refused, and so is a value outside its range: the gateway says every
key, line and value that is wrong, and goes on with the settings that it has.

Sizes, durations and rates are strings with a unit: `\"512MiB\"`, `\"30s\"`, `\"10MiB/s\"`.
Secrets are never in the file; keys that need one take a reference to where it lies. One line break at
the end of a secret does not count.
";

/// The page.
pub fn settings_page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let tables = [
        Gateway::describe(),
        Repository::describe(),
        Target::describe(),
        Bandwidth::describe(),
        Cache::describe(),
        Retention::describe(),
        Scrub::describe(),
        Recovery::describe(),
        PriceTable::describe(),
        Archive::describe(),
        Nfs::describe(),
        Share::describe(),
        S3::describe(),
        Bucket::describe(),
        AccessKey::describe(),
        Nbd::describe(),
        Volume::describe(),
        Machine::describe(),
        Source::describe(),
        Policy::describe(),
        Alarms::describe(),
        Notify::describe(),
        Otlp::describe(),
        Api::describe(),
        Token::describe(),
        Oidc::describe(),
        AuditLog::describe(),
        RunbookRules::describe(),
        Step::describe(),
    ];
    for table in &tables {
        add_table(&mut page, table);
    }
    page
}

fn add_table(page: &mut String, table: &TableDescription) {
    let infallible = "writing to a string cannot fail";
    writeln!(page, "\n## `{}`\n\n{}", table.heading, table.meaning).expect(infallible);
    for key in &table.keys {
        writeln!(page, "\n### `{}`\n\n{}\n\n{}", key.name, key.meaning, facts(key)).expect(infallible);
    }
}

fn facts(key: &KeyDescription) -> String {
    let range = key.range.as_ref().map(|range| format!("\n* allowed: {range}")).unwrap_or_default();
    let absent = match &key.default {
        Some(default) => format!("default: `{default}`"),
        None if key.required => "must be set".to_owned(),
        None => "may be absent".to_owned(),
    };
    format!("* written as {}{range}\n* {absent}", key.form)
}
