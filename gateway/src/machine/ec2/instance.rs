//! The instance: made, asked for, waited for, ended.

use std::time::Duration;

use tokio::time::Instant;

use super::client::Clients;
use super::error::Doing;
use super::note::Note;
use super::query::Form;
use super::tags;
use super::xml::Element;
use crate::machine::{ProviderError, Stop};
use crate::settings;

/// How often it is asked how an instance is.
const POLL: Duration = Duration::from_secs(1);

/// How an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is being made.
    Pending,
    /// It runs.
    Running,
    /// It is being ended, or stopped.
    Ending,
    /// It is there with its disks, and does not run.
    Stopped,
    /// It has ended for good; EC2 shows it for a while yet.
    Gone,
}

/// An instance that is known to EC2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) standing: Standing,
    /// What EC2 says of why it is so.
    why: String,
}

impl Found {
    fn of(instance: &Element) -> Option<Self> {
        let standing = match instance.text(&["instanceState", "name"])? {
            "pending" => Standing::Pending,
            "running" => Standing::Running,
            "stopped" => Standing::Stopped,
            "terminated" => Standing::Gone,
            // shutting-down and stopping, and what EC2 may come to say one day: it is not what somebody waits for.
            _ => Standing::Ending,
        };
        let why = instance.text(&["stateReason", "message"]).unwrap_or_default().to_owned();
        Some(Self { id: instance.text(&["instanceId"])?.to_owned(), standing, why })
    }
}

/// The instance of what is noted; none if there is none. One that was made a moment ago may not be known to EC2 everywhere.
pub(super) async fn find(
    clients: &Clients,
    doing: Doing<'_>,
    note: &Note,
) -> Result<Option<Found>, ProviderError> {
    let mut form = Form::default().filter(&format!("tag:{}", tags::OWNER), &note.owner);
    if let Some(id) = &note.instance {
        form = form.filter("instance-id", id);
    }
    let answer =
        clients.ec2.call("DescribeInstances", &form).await.map_err(doing.asking("ec2:DescribeInstances"))?;
    let instances =
        answer.list(&["reservationSet"]).flat_map(|reservation| reservation.list(&["instancesSet"]));
    let mut found: Vec<Found> = instances.filter_map(Found::of).collect();
    // Of several, those that have ended were before it.
    found.sort_by_key(|found| found.standing == Standing::Gone);
    Ok(found.into_iter().next())
}

/// Makes it. Asked again, with the same note, it answers what it has made.
pub(super) async fn run(
    clients: &Clients,
    doing: Doing<'_>,
    machine: &settings::Machine,
    note: &Note,
    image: &str,
) -> Result<String, ProviderError> {
    let own = tags::common(machine, doing.name, &note.owner);
    let form = Form::default()
        .with("ImageId", image)
        .with_some("InstanceType", machine.instance_type.as_ref())
        .with_some("SubnetId", machine.subnet.as_ref())
        .with_some("IamInstanceProfile.Name", machine.instance_profile.as_ref())
        .with("ClientToken", note.instance_token())
        .with("MinCount", 1)
        .with("MaxCount", 1)
        .tags(1, "instance", &own)
        .tags(2, "volume", &own);
    let form = (1..)
        .zip(&machine.security_groups)
        .fold(form, |form, (at, group)| form.with(format!("SecurityGroupId.{at}"), group));
    let made = clients.ec2.call("RunInstances", &form).await.map_err(doing.asking("ec2:RunInstances"))?;
    let id = made.text(&["instancesSet", "item", "instanceId"]);
    id.map(str::to_owned).ok_or_else(|| doing.failed("ec2:RunInstances answered without an instance"))
}

/// Starts one that has stopped, with its own disks.
pub(super) async fn start_again(clients: &Clients, doing: Doing<'_>, id: &str) -> Result<(), ProviderError> {
    let started = clients.ec2.call("StartInstances", &Form::default().with("InstanceId.1", id)).await;
    started.map(drop).map_err(doing.asking("ec2:StartInstances"))
}

/// Waits until it runs.
pub(super) async fn until_it_runs(
    clients: &Clients,
    doing: Doing<'_>,
    note: &Note,
    time: Duration,
) -> Result<(), ProviderError> {
    let until = Instant::now() + time;
    loop {
        match find(clients, doing, note).await? {
            Some(Found { standing: Standing::Running, .. }) => return Ok(()),
            Some(Found { id, standing: Standing::Gone, why }) => {
                return Err(doing.failed(format!("instance {id} has ended at once: {why}")));
            }
            Some(_) | None if Instant::now() < until => tokio::time::sleep(POLL).await,
            Some(_) | None => {
                let why = format!("its instance does not run after {time:?}; it may yet: ask again");
                return Err(doing.failed(why));
            }
        }
    }
}

/// Ends it for good, and waits until it has. Gently, its system gets the time to shut down, and loses its power after that.
pub(super) async fn end(
    clients: &Clients,
    doing: Doing<'_>,
    note: &Note,
    how: Stop,
    time: Duration,
) -> Result<(), ProviderError> {
    let mut how = how;
    loop {
        let until = Instant::now() + time;
        let Some(found) = ask_to_end(clients, doing, note, how).await? else { return Ok(()) };
        while Instant::now() < until {
            match find(clients, doing, note).await? {
                Some(Found { standing: Standing::Gone, .. }) | None => return Ok(()),
                Some(_) => tokio::time::sleep(POLL).await,
            }
        }
        if how == Stop::AtOnce {
            return Err(
                doing.failed(format!("instance {} has not ended after {time:?}; ask again", found.id))
            );
        }
        tracing::warn!(machine = doing.name, "it did not shut down in time; its power is cut");
        how = Stop::AtOnce;
    }
}

async fn ask_to_end(
    clients: &Clients,
    doing: Doing<'_>,
    note: &Note,
    how: Stop,
) -> Result<Option<Found>, ProviderError> {
    let found = find(clients, doing, note).await?.filter(|found| found.standing != Standing::Gone);
    let Some(found) = found else { return Ok(None) };
    let at_once = (how == Stop::AtOnce).then_some(true);
    let form = Form::default().with("InstanceId.1", &found.id).with_some("SkipOsShutdown", at_once);
    match clients.ec2.call("TerminateInstances", &form).await {
        Err(error) if error.code() != Some("InvalidInstanceID.NotFound") => {
            Err(doing.asking("ec2:TerminateInstances")(error))
        }
        Ok(_) | Err(_) => Ok(Some(found)),
    }
}
