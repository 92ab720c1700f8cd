//! `docs/cli.md`, made from the command line's own description.

use std::fmt::Write;

use clap::Command;

/// What the page says before the commands.
const INTRODUCTION: &str = "\
# The command line

<!-- Generated from gateway/src/cli. Do not edit: `TIDEGATE_BLESS=1 make test` writes it anew. -->

`tidegate` is both the gateway (`tidegate serve`) and its commands. Commands on a running gateway
reach it through the admin socket that the settings name. Data goes to standard output, talk to
standard error. With `--json` the data is one JSON document, and an error is a JSON object with `kind`,
`message`, `todo` and `exit_code` on standard error.

A moment in the history of a share is written `live`, `head` (the newest), `head:NAME`,
`snapshot:NAME` or `at:2026-11-20T14:05:00Z`. Bytes of a path that are not UTF-8 are written `\\xHH`.
";

/// The page.
pub(super) fn page(mut command: Command) -> String {
    command.build();
    let mut page = INTRODUCTION.to_owned();
    writeln!(page, "\n```text\n{}\n```", super::exit::HELP).expect("writing to a string cannot fail");
    add(&mut page, &command, "");
    page
}

fn add(page: &mut String, command: &Command, above: &str) {
    let name = format!("{above}{}", command.get_name());
    // Options of every command are shown once, at the top.
    let shown = command.clone().mut_args(|argument| {
        let hidden = !above.is_empty() && (argument.is_global_set() || argument.get_id() == "help");
        argument.hide(hidden)
    });
    let help = shown.after_help("").render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let text = lines.join("\n");
    writeln!(page, "\n## `{name}`\n\n```text\n{}\n```", text.trim())
        .expect("writing to a string cannot fail");
    for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
        add(page, child, &format!("{name} "));
    }
}
