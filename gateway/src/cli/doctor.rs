//! `tidegate doctor`: whether this machine can run the gateway that its settings describe.

use super::Context;
use super::client::Client;
use super::exit::Failure;
use super::format::{table, things_are};
use crate::control::{ControlError, ErrorKind};
use crate::doctor::{Finding, Verdict, examine};

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let settings = context.settings()?;
    let is_running = Client::new(settings.gateway.socket.as_path().to_owned()).is_there().await;
    let mut findings = vec![Finding::good("settings", context.file.path().display().to_string())];
    findings.extend(examine(&settings, is_running).await);
    context.terminal.data(&findings, |findings| shown(findings))?;
    let wrong = findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count();
    if wrong == 0 {
        return Ok(());
    }
    Err(ControlError::new(ErrorKind::Failed, format!("{} in the way of the gateway", things_are(wrong)))
        .into())
}

/// A table, and below it what to do.
pub(super) fn shown(findings: &[Finding]) -> String {
    let row = |finding: &Finding| [finding.check.clone(), finding.verdict.to_string(), finding.found.clone()];
    let rows: Vec<[String; 3]> = findings.iter().map(row).collect();
    let todo = |finding: &Finding| Some(format!("\n{}: {}", finding.check, finding.todo.as_ref()?));
    let todos: String = findings.iter().filter_map(todo).collect();
    let table = table(["CHECK", "", "FOUND"], &rows);
    if todos.is_empty() { table } else { format!("{table}\n\nwhat to do:{todos}") }
}
