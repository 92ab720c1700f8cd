//! The instance: made, asked for, waited for, ended.
//!
//! What EC2 does not list is not taken for gone: for a minute after an instance was asked for it may not be shown. It is ended by the id
//! that is noted, listed or not.

use std::time::Duration;

use tokio::time::Instant;

use super::client::Clients;
use super::error::Doing;
use super::note::Note;
use super::query::{Form, QueryError};
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

/// The instance of what is noted; none if EC2 shows none, which says nothing for as long as [`Note::unsettled`].
pub(super) async fn find(
    clients: &Clients,
    doing: Doing<'_>,
    note: &Note,
) -> Result<Option<Found>, ProviderError> {
    let form = match &note.instance {
        Some(id) => Form::default().with("InstanceId.1", id),
        None => Form::default().filter(&format!("tag:{}", tags::OWNER), &note.owner),
    };
    let answer = match clients.ec2.call("DescribeInstances", &form).await {
        Ok(answer) => answer,
        Err(error) if is_unknown(&error) => return Ok(None),
        Err(error) => return Err(doing.asking("ec2:DescribeInstances")(error)),
    };
    let instances =
        answer.list(&["reservationSet"]).flat_map(|reservation| reservation.list(&["instancesSet"]));
    let mut found: Vec<Found> = instances.filter_map(Found::of).collect();
    // Of several, those that have ended were before it.
    found.sort_by_key(|found| found.standing == Standing::Gone);
    Ok(found.into_iter().next())
}

/// The same, once it can be believed that there is none.
pub(super) async fn find_surely(
    clients: &Clients,
    doing: Doing<'_>,
    note: &Note,
) -> Result<Option<Found>, ProviderError> {
    let settled = Instant::now() + note.unsettled();
    loop {
        let found = find(clients, doing, note).await?;
        if found.is_some() || Instant::now() >= settled {
            return Ok(found);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn is_unknown(error: &QueryError) -> bool {
    error.code() == Some("InvalidInstanceID.NotFound")
}

/// Makes it. Asked again, with the same note and image, it answers what it has made. That EC2 refuses it for good is told apart: then
/// there is none.
pub(super) async fn run(
    clients: &Clients,
    doing: Doing<'_>,
    machine: &settings::Machine,
    note: &Note,
    image: &str,
) -> Result<String, NotMade> {
    let own = tags::common(machine, doing.name, &note.owner);
    let form = Form::default()
        .with("ImageId", image)
        .with_some("InstanceType", machine.instance_type.as_ref())
        .with_some("SubnetId", machine.subnet.as_ref())
        .with_some("IamInstanceProfile.Name", machine.instance_profile.as_ref())
        .with("ClientToken", note.instance_token(image))
        .with("MinCount", 1)
        .with("MaxCount", 1)
        .tags(1, "instance", &own)
        .tags(2, "volume", &own);
    let form = (1..)
        .zip(&machine.security_groups)
        .fold(form, |form, (at, group)| form.with(format!("SecurityGroupId.{at}"), group));
    let made = clients.ec2.call("RunInstances", &form).await.map_err(|error| NotMade {
        for_sure: error.is_for_good(),
        why: doing.asking("ec2:RunInstances")(error),
    })?;
    let id = made.text(&["instancesSet", "item", "instanceId"]).map(str::to_owned);
    let strange = || doing.failed("ec2:RunInstances answered without an instance");
    id.ok_or_else(|| NotMade { for_sure: false, why: strange() })
}

/// That no instance came of a request.
#[derive(Debug)]
pub(super) struct NotMade {
    /// Whether there is none; else one may come to be shown.
    pub(super) for_sure: bool,
    pub(super) why: ProviderError,
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

/// Ends it for good, and waits until it has. Gently, its system gets the time to shut down, and loses its power after that. One that
/// EC2 does not show is ended by its id; that there is none is believed when it can be.
pub(super) async fn end(
    clients: &Clients,
    doing: Doing<'_>,
    note: &Note,
    how: Stop,
    time: Duration,
) -> Result<(), ProviderError> {
    let (mut how, settled) = (how, Instant::now() + note.unsettled());
    loop {
        let Some(id) = ask_to_end(clients, doing, note, how, settled).await? else { return Ok(()) };
        let until = Instant::now() + time;
        while Instant::now() < until {
            match find(clients, doing, note).await? {
                Some(Found { standing: Standing::Gone, .. }) => return Ok(()),
                None if Instant::now() >= settled => return Ok(()),
                Some(_) | None => tokio::time::sleep(POLL).await,
            }
        }
        if how == Stop::AtOnce {
            return Err(doing.failed(format!("instance {id} has not ended after {time:?}; ask again")));
        }
        tracing::warn!(machine = doing.name, "it did not shut down in time; its power is cut");
        how = Stop::AtOnce;
    }
}

/// Asks for its end; gives its id, or nothing if there is none that has not ended.
async fn ask_to_end(
    clients: &Clients,
    doing: Doing<'_>,
    note: &Note,
    how: Stop,
    settled: Instant,
) -> Result<Option<String>, ProviderError> {
    loop {
        match find(clients, doing, note).await? {
            Some(Found { standing: Standing::Gone, .. }) => return Ok(None),
            Some(found) => {
                let ended = terminate(clients, &found.id, how).await;
                ended.map_err(doing.asking("ec2:TerminateInstances"))?;
                return Ok(Some(found.id));
            }
            None if Instant::now() >= settled => return Ok(None),
            None => {}
        }
        // What is not shown may be refused as unknown, or as something of which the policy knows no tag: it is shown later.
        if let Some(id) = &note.instance
            && terminate(clients, id, how).await.is_ok()
        {
            return Ok(Some(id.clone()));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn terminate(clients: &Clients, id: &str, how: Stop) -> Result<(), QueryError> {
    let at_once = (how == Stop::AtOnce).then_some(true);
    let form = Form::default().with("InstanceId.1", id).with_some("SkipOsShutdown", at_once);
    clients.ec2.call("TerminateInstances", &form).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::door::{self, Answer, Asked, Door};
    use super::*;

    const DOING: Doing<'static> = Doing { what: "stop", name: "web" };

    fn note() -> Note {
        let mut note = Note { owner: "o".into(), instance: Some("i-1".into()), ..Note::default() };
        note.ask();
        note
    }

    fn is(state: &str) -> Answer {
        let instance = format!(
            "<item><instanceId>i-1</instanceId><instanceState><name>{state}</name></instanceState></item>"
        );
        let set =
            format!("<reservationSet><item><instancesSet>{instance}</instancesSet></item></reservationSet>");
        Answer::xml(&format!("<DescribeInstancesResponse>{set}</DescribeInstancesResponse>"))
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_is_not_shown_yet_is_ended_by_its_id() {
        let door = Door::new(|asked: &Asked| match (asked.what.as_str(), asked.nth) {
            ("DescribeInstances", 0..=4) => Answer::refused("InvalidInstanceID.NotFound"),
            ("DescribeInstances", _) => is("terminated"),
            ("TerminateInstances", 0) => Answer::refused("InvalidInstanceID.NotFound"),
            ("TerminateInstances", 1) => Answer::refused("UnauthorizedOperation"),
            ("TerminateInstances", _) => Answer::xml("<TerminateInstancesResponse/>"),
            (what, nth) => panic!("{what} {nth}"),
        });
        let clients = door::clients(&door);
        end(&clients, DOING, &note(), Stop::AtOnce, Duration::from_mins(2)).await.expect("it ends");
        let ended = door.asked("TerminateInstances");
        assert_eq!(ended.len(), 3);
        assert!(ended[2].body.contains("InstanceId.1=i-1"), "{}", ended[2].body);
    }

    #[tokio::test(start_paused = true)]
    async fn that_there_is_no_instance_is_believed_after_a_minute_and_not_before() {
        let door = Door::new(|_: &Asked| Answer::refused("InvalidInstanceID.NotFound"));
        let (clients, begun) = (door::clients(&door), Instant::now());
        end(&clients, DOING, &note(), Stop::AtOnce, Duration::from_mins(2)).await.expect("there is none");
        assert!(begun.elapsed() > Duration::from_secs(55), "{:?}", begun.elapsed());
        assert_eq!(find_surely(&clients, DOING, &note()).await.expect("answered"), None);
        assert!(begun.elapsed() > Duration::from_secs(110), "{:?}", begun.elapsed());
        let (old, begun) = (Note { asked: Some(0), ..note() }, Instant::now());
        end(&clients, DOING, &old, Stop::AtOnce, Duration::from_mins(2)).await.expect("there is none");
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
}
