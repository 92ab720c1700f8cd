//! What a policy of the settings would keep of a time to come.

use jiff::{SignedDuration, Timestamp};

use crate::control::{
    ControlError, ErrorKind, PolicySimulation, PolicySimulationRequest, SIMULATED_DAYS_MAX, SimulatedSnapshot,
};
use crate::policy::{Plan, Reason, Simulation, simulate};
use crate::settings::Settings;

/// Simulates off the threads that serve: a year of minutes takes a while.
pub(super) async fn simulate_policy(
    settings: &Settings,
    name: &str,
    request: &PolicySimulationRequest,
) -> Result<PolicySimulation, ControlError> {
    let invalid = |what: String| ControlError::new(ErrorKind::Invalid, what);
    let missing = || ControlError::new(ErrorKind::NotFound, format!("there is no policy {name:?}"));
    let plan = Plan::of(settings, settings.policy(name).ok_or_else(missing)?);
    if !(1..=SIMULATED_DAYS_MAX).contains(&request.days) {
        return Err(invalid(format!("days = {} is not from 1 to {SIMULATED_DAYS_MAX}", request.days)));
    }
    let from = request.from.unwrap_or_else(Timestamp::now);
    let to = from
        .checked_add(SignedDuration::from_hours(24 * i64::from(request.days)))
        .map_err(|error| invalid(format!("from = {from} is too late: {error}")))?;
    let simulated =
        tokio::task::spawn_blocking(move || simulate(&plan.schedule, &plan.rules, from, to)).await;
    let found = simulated
        .map_err(|error| ControlError::from_source(ErrorKind::Failed, "simulate the policy", &error))?;
    let Simulation { runs, most, kept } =
        found.map_err(|error| invalid(error.to_string()).todo("ask for fewer days"))?;
    let kept = kept.into_iter().rev().map(|(taken, reasons)| SimulatedSnapshot {
        taken,
        kept_by: reasons.iter().map(|reason| Reason::as_str(reason).to_owned()).collect(),
    });
    Ok(PolicySimulation { policy: name.to_owned(), from, to, runs, most, kept: kept.collect() })
}
