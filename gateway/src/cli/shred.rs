//! `tidegate key shred`: the keys of a share that has its own are destroyed on every target, and with them what the share
//! ever stored.
//!
//! Works on the repository itself. Every target of the settings is opened before anything is changed: a copy that kept the
//! keys would keep the data.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use tidegate_replicator::repository::{Opened, Repository, UtcNanos};
use tidegate_replicator::shred::{Done, ShredError, Shreddable, Shredded, shred_everywhere, shreddable};

use super::Context;
use super::exit::Failure;
use super::format::table;
use super::removing::Asking;
use crate::admin::Applied;
use crate::appliance::locked_until;
use crate::assembly::{AssemblyError, CLAIM_SETTLE, contact_store};
use crate::control::{ControlError, ErrorKind};
use crate::settings::{Settings, Target};

/// Publications that were begun before have ended after this.
const PAUSE: Duration = CLAIM_SETTLE.saturating_mul(2);

/// What was done on one target.
#[derive(Debug, Serialize)]
struct OnTarget {
    target: String,
    /// Claims, keys, snapshots and heads that were deleted.
    objects: u64,
    /// Objects with keys of which versions stay until their locks end.
    keys_locked: u64,
    /// Whether the target refuses to say which versions it keeps.
    versions_unseen: bool,
}

/// What was destroyed, or would be.
#[derive(Debug, Serialize)]
struct Report {
    share: String,
    id: String,
    domain: String,
    heads: usize,
    snapshots: usize,
    dry_run: bool,
    targets: Vec<OnTarget>,
    /// The collection plans by which its packs go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    plans: Vec<String>,
}

/// Destroys the keys of a share, or says what that would take away.
pub(super) async fn run(
    context: &Context,
    settings: &Settings,
    lead: &Repository<Opened>,
    wanted: &str,
    asking: Asking,
) -> Result<(), Failure> {
    let share = lead.find_share(wanted).await.map_err(AssemblyError::from)?;
    let share = share.ok_or_else(|| {
        ControlError::new(ErrorKind::NotFound, format!("the repository has no share {wanted:?}"))
            .todo("`tidegate bin list` shows the shares that are not in the settings")
    })?;
    let what = shreddable(lead, share, UtcNanos::from(SystemTime::now())).await.map_err(refused)?;
    check_unserved(settings, &what.name)?;
    check_unlocked(&what)?;
    let mut copies = Vec::new();
    for target in settings.copies() {
        let store = contact_store(target).await?.store;
        copies.push(lead.on(store));
    }
    let question = format!(
        "The keys of share {} are destroyed on {} targets, and its {} heads and {} snapshots are removed. Nobody can read any \
         of it afterwards, whatever keys he has. Destroy them?",
        what.name,
        1 + copies.len(),
        what.heads,
        what.snapshots.len()
    );
    asking.confirm(context, &question)?;
    let mut report = Report {
        share: what.name.clone(),
        id: what.share.to_string(),
        domain: what.domain.to_string(),
        heads: what.heads,
        snapshots: what.snapshots.len(),
        dry_run: asking.dry_run,
        targets: Vec::new(),
        plans: Vec::new(),
    };
    if !asking.dry_run {
        // Who was asked may have taken his time.
        let what = shreddable(lead, share, UtcNanos::from(SystemTime::now())).await.map_err(refused)?;
        check_unlocked(&what)?;
        destroy(context, settings, (lead, &copies), &what, &mut report).await?;
    }
    context.terminal.data(&report, people)
}

async fn destroy(
    context: &Context,
    settings: &Settings,
    (lead, copies): (&Repository<Opened>, &[Repository<Opened>]),
    what: &Shreddable,
    report: &mut Report,
) -> Result<(), Failure> {
    let now = UtcNanos::from(SystemTime::now());
    let done = shred_everywhere(lead, copies, what, now, PAUSE).await;
    let Done { stores, plans } = done.map_err(refused)?;
    let targets = std::iter::once(settings.lead()).chain(settings.copies());
    let on_target = |(target, done): (&Target, Shredded)| OnTarget {
        target: target.name.to_string(),
        objects: done.objects,
        keys_locked: done.keys_held,
        versions_unseen: done.versions_unseen,
    };
    report.targets = targets.zip(stores).map(on_target).collect();
    report.plans = plans.iter().map(ToString::to_string).collect();
    let client = context.client()?;
    if client.is_there().await {
        let _: Applied = client.post("/settings/reload", &()).await?;
    }
    context.terminal.say(
        "gateways that served the share have its keys in memory until they are started again, and names and attributes of its \
         files in their state folders until those are made anew; its packs go by the next collections",
    );
    Ok(())
}

/// Refuses what is served by these settings.
fn check_unserved(settings: &Settings, name: &str) -> Result<(), ControlError> {
    let shares = settings.shares.iter().map(|share| share.name.as_str());
    let buckets = settings.buckets.iter().map(|bucket| bucket.name.as_str());
    let sources = settings.sources.iter().map(|source| source.name.as_str());
    if shares.chain(buckets).chain(sources).all(|served| served != name) {
        return Ok(());
    }
    let message = format!("{name} is in the settings, so that somebody may be writing to it");
    Err(ControlError::new(ErrorKind::Busy, message)
        .todo("take it out of the settings first, on every gateway"))
}

/// Refuses what holds a snapshot that is not to be removed yet.
fn check_unlocked(what: &Shreddable) -> Result<(), ControlError> {
    let now = UtcNanos::from(SystemTime::now());
    let until = what.snapshots.iter().filter_map(|snapshot| locked_until(&snapshot.tags)).max();
    match until.filter(|until| *until > now) {
        None => Ok(()),
        Some(until) => {
            let message = format!("a snapshot of {} must not be removed before {until}", what.name);
            Err(ControlError::new(ErrorKind::Denied, message))
        }
    }
}

fn refused(error: ShredError) -> Failure {
    let text = error.to_string();
    let kind = match error {
        ShredError::Repository(error) => return AssemblyError::from(error).into(),
        ShredError::Copy(error) => return AssemblyError::from(error).into(),
        ShredError::CommonKeys => ErrorKind::Invalid,
        ShredError::SharedKeys { .. } | ShredError::Unpublished { .. } => ErrorKind::Busy,
        ShredError::Unreadable { .. } => ErrorKind::Damaged,
    };
    ControlError::new(kind, text).into()
}

fn people(report: &Report) -> String {
    let Report { share, heads, snapshots, .. } = report;
    if report.dry_run {
        return format!(
            "the keys of share {share} would be destroyed, and {heads} heads and {snapshots} snapshots removed"
        );
    }
    let row = |on: &OnTarget| [on.target.clone(), on.objects.to_string(), on.keys_locked.to_string()];
    let rows: Vec<_> = report.targets.iter().map(row).collect();
    let mut text = format!(
        "the keys of share {share} are destroyed\n{}",
        table(["TARGET", "OBJECTS", "KEYS LOCKED"], &rows)
    );
    if report.targets.iter().any(|on| on.keys_locked > 0) {
        text.push_str(
            "\nkeys that are locked stay as hidden versions until their locks end: purge those versions then, for until then \
             whoever has the bucket and a key to the repository can bring them back",
        );
    }
    for on in report.targets.iter().filter(|on| on.versions_unseen) {
        text += &format!(
            "\nthe credentials of target {} may not list versions: if its bucket keeps some, delete those below domains/{}/",
            on.target, report.domain
        );
    }
    text
}
