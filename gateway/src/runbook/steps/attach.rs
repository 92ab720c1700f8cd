//! `attach`: takes a share over by `tidegate attach`, or makes a clone of it for a drill.

use crate::runbook::site::Site;
use crate::runbook::world::{Done, Known, StepFailure};
use crate::settings::{Action, Step};

pub(in super::super) async fn attach(site: &Site, step: &Step, known: &Known) -> Result<Done, StepFailure> {
    let share = super::key(step.share.as_ref(), "share")?.as_str();
    let chosen = site.run.runbook.steps.iter().find(|other| {
        other.action == Action::Choose && other.share.as_ref().is_some_and(|name| name.as_str() == share)
    });
    let chosen = chosen.and_then(|choice| known.notes.get(choice.name.as_str()).cloned());
    let at = chosen
        .or_else(|| site.run.at.as_ref().map(ToString::to_string))
        .unwrap_or_else(|| step.at.to_string());
    let mut arguments = vec!["attach", share, "--at", &at];
    if site.run.mode.is_drill() {
        arguments.push("--drill");
    }
    let attached = site.tidegate(&arguments).await?;
    let frozen = attached.get("frozen").and_then(serde_json::Value::as_str).unwrap_or_default();
    Ok(Done::saying(format!("share {share} goes on from {at}, frozen {frozen}")))
}
