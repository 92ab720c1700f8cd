//! The instance: made, asked for, waited for, ended.

use std::time::Duration;

use aws_sdk_ec2::types::{
    Filter, IamInstanceProfileSpecification, Instance, InstanceStateName, InstanceType, ResourceType,
};
use tokio::time::Instant;

use super::client::Clients;
use super::error::{Doing, code};
use super::note::Note;
use super::tags;
use crate::machine::{ProviderError, Stop};
use crate::settings::{self, CloudWord};

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
    fn of(instance: &Instance) -> Option<Self> {
        let standing = match instance.state()?.name()? {
            InstanceStateName::Pending => Standing::Pending,
            InstanceStateName::Running => Standing::Running,
            InstanceStateName::Stopped => Standing::Stopped,
            InstanceStateName::Terminated => Standing::Gone,
            // Also what EC2 may come to say one day: it is not what somebody waits for.
            InstanceStateName::ShuttingDown | InstanceStateName::Stopping | _ => Standing::Ending,
        };
        let why = instance.state_reason().and_then(|reason| reason.message()).unwrap_or_default().to_owned();
        Some(Self { id: instance.instance_id()?.to_owned(), standing, why })
    }
}

/// The instance of what is noted; none if there is none. One that was made a moment ago may not be known to EC2 everywhere.
pub(super) async fn find(
    clients: &Clients,
    doing: Doing<'_>,
    note: &Note,
) -> Result<Option<Found>, ProviderError> {
    let mut ask = clients.ec2.describe_instances().filters(tags::filter(tags::OWNER, &note.owner));
    if let Some(id) = &note.instance {
        ask = ask.filters(Filter::builder().name("instance-id").values(id).build());
    }
    let found = ask.send().await.map_err(doing.asking("ec2:DescribeInstances"))?;
    let instances = found.reservations().iter().flat_map(|reservation| reservation.instances());
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
    let groups = machine.security_groups.iter().map(|group| group.as_str().to_owned()).collect();
    let profile = machine.instance_profile.as_ref();
    let profile = profile.map(|name| IamInstanceProfileSpecification::builder().name(name.as_str()).build());
    let word = |word: &Option<CloudWord>| word.as_ref().map(|word| word.as_str().to_owned());
    let made = clients
        .ec2
        .run_instances()
        .image_id(image)
        .set_instance_type(word(&machine.instance_type).map(|kind| InstanceType::from(kind.as_str())))
        .set_subnet_id(word(&machine.subnet))
        .set_security_group_ids(Some(groups))
        .set_iam_instance_profile(profile)
        .client_token(note.instance_token())
        .min_count(1)
        .max_count(1)
        .tag_specifications(tags::specification(ResourceType::Instance, &own))
        .tag_specifications(tags::specification(ResourceType::Volume, &own))
        .send()
        .await
        .map_err(doing.asking("ec2:RunInstances"))?;
    let id = made.instances().first().and_then(Instance::instance_id);
    id.map(str::to_owned).ok_or_else(|| doing.failed("ec2:RunInstances answered without an instance"))
}

/// Starts one that has stopped, with its own disks.
pub(super) async fn start_again(clients: &Clients, doing: Doing<'_>, id: &str) -> Result<(), ProviderError> {
    let started = clients.ec2.start_instances().instance_ids(id).send().await;
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
            return Err(doing.failed(format!("instance {} has not ended after {time:?}; ask again", found.id)));
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
    let asked = clients.ec2.terminate_instances().instance_ids(&found.id).set_skip_os_shutdown(at_once).send().await;
    match asked {
        Err(error) if code(&error) != Some("InvalidInstanceID.NotFound") => {
            Err(doing.asking("ec2:TerminateInstances")(error))
        }
        Ok(_) | Err(_) => Ok(Some(found)),
    }
}
