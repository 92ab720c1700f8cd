//! `approve`, `choose` and `notify`: what people say, and are told.

use std::time::Duration;

use jiff::Timestamp;

use super::key;
use crate::alarm::{Notice, Tidings, way};
use crate::control::{Alarm, AlarmCode, Severity};
use crate::runbook::runs::Approval;
use crate::runbook::site::Site;
use crate::runbook::world::{Done, StepFailure};
use crate::settings::{Action, Step};

/// How often it is looked whether somebody has said something.
const POLL: Duration = Duration::from_millis(500);

/// Waits until somebody has said something; tells first which command does.
async fn said(site: &Site, step: &Step) -> Approval {
    let mut told = false;
    loop {
        if let Some(approval) = site.run.approval(step.name.as_str()) {
            return approval;
        }
        if !told {
            site.tell(&waits(site, step));
            told = true;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What a step asks, and how it is answered.
fn waits(site: &Site, step: &Step) -> String {
    let asks = step.message.as_ref().map(|message| format!(": {}", site.words().fill(message.as_str())));
    let answer = format!("tidegate runbook approve {} {}", site.run.name, step.name);
    let answers = if step.action == Action::Choose {
        format!("{answer}    (goes on from {})\n  {answer} --at MOMENT", step.at)
    } else {
        answer
    };
    format!("step {} waits for a person{}\n  {answers}", step.name, asks.unwrap_or_default())
}

pub(in super::super) async fn approve(site: &Site, step: &Step) -> Result<Done, StepFailure> {
    let approval = said(site, step).await;
    Ok(Done::saying(format!("{} said so at {}", approval.by, approval.at)))
}

/// The moment that a share goes on from. What is said is nothing but the moment.
pub(in super::super) async fn choose(site: &Site, step: &Step) -> Result<Done, StepFailure> {
    if site.run.mode.is_drill() {
        return Ok(Done::saying(site.run.at.as_ref().unwrap_or(&step.at).to_string()));
    }
    let approval = said(site, step).await;
    Ok(Done::saying(approval.moment.unwrap_or_else(|| step.at.to_string())))
}

pub(in super::super) async fn notify(site: &Site, step: &Step) -> Result<Done, StepFailure> {
    let name = key(step.notifier.as_ref(), "notifier")?;
    let settings = site.settings();
    let Some(notifier) = settings.notifier(name.as_str()) else {
        return Err(StepFailure::lasting(format!("the settings of this site have no [[notify]] {name:?}")));
    };
    let message = site.words().fill(key(step.message.as_ref(), "message")?.as_str());
    let now = Timestamp::now();
    let alarm = Alarm {
        code: AlarmCode::Runbook,
        subject: format!("runbook:{}", site.run.runbook.name),
        severity: Severity::Warning,
        since: now,
        message,
        todo: format!("see `tidegate runbook report {}`", site.run.name),
    };
    let notice = Notice { tidings: Tidings::Raised, alarm, at: now };
    let delivered = way(notifier).deliver(&notice, &crate::assembly::sender(&settings)).await;
    delivered.map_err(|error| StepFailure::passing(error.to_string()))?;
    Ok(Done::saying(format!("{name} was told")))
}
