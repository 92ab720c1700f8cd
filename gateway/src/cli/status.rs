//! `tidegate status`: is everything protected, what is behind.

use super::Context;
use super::exit::Failure;
use super::format::{bytes, seconds, table};
use crate::control::{LimitStatus, QuotaStatus, Severity, ShareStatus, Status, TargetHead, TargetStatus};

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let status: Status = context.client()?.get("/status").await?;
    context.terminal.data(&status, overview)
}

fn overview(status: &Status) -> String {
    let process = format!(
        "tidegate {}, up {}, memory {} of {}",
        status.version,
        seconds(status.uptime_seconds),
        bytes(status.memory.resident_bytes),
        bytes(status.memory.budget_bytes)
    );
    let cache = &status.cache;
    let room = format!(
        "cache {} of {}, dirty {} of {}, journal {}, {} free on its disk",
        bytes(cache.disk_bytes),
        bytes(cache.disk_bytes_max),
        bytes(cache.dirty_bytes),
        bytes(cache.dirty_bytes_max),
        bytes(status.journal.bytes),
        bytes(status.journal.free_bytes),
    );
    let policies = (!status.policies.is_empty()).then(|| super::policy::list(&status.policies));
    let parts = [process, alarms(status), shares(&status.shares)].into_iter().chain(policies);
    let parts = parts.chain([targets(&status.targets), room]);
    parts.chain(status.alarms.iter().map(super::alarms::shown)).collect::<Vec<_>>().join("\n\n")
}

/// How many alarms there are; what they say comes last, where it is read.
fn alarms(status: &Status) -> String {
    let critical = status.alarms.iter().filter(|alarm| alarm.severity == Severity::Critical).count();
    match (status.alarms.len(), critical) {
        (0, _) => "no alarms".to_owned(),
        (all, 0) => format!("alarms: {all}, none of them critical"),
        (all, critical) => format!("ALARMS: {all}, {critical} of them CRITICAL"),
    }
}

/// The targets as a table, also for `tidegate target list`.
pub(super) fn targets(targets: &[TargetStatus]) -> String {
    let row = |target: &TargetStatus| {
        let role = if target.leads { "leads" } else { "copy" };
        let state = match (&target.last_failure, target.reachable) {
            (_, true) => in_the_way(target).unwrap_or_else(|| "reachable".to_owned()),
            (Some(failure), false) => format!("away: {}", failure.message),
            (None, false) => "away".to_owned(),
        };
        let behind = target.behind_seconds.map_or("unknown".to_owned(), seconds);
        let done = match target.backlog_seconds {
            _ if target.backlog_bytes == 0 => String::new(),
            Some(left) => format!(", done in {}", seconds(left)),
            None => ", not moving".to_owned(),
        };
        let backlog = format!("{} in {} packs{done}", bytes(target.backlog_bytes), target.backlog_packs);
        [target.name.clone(), target.address.clone(), role.to_owned(), behind, backlog, state]
    };
    let rows: Vec<[String; 6]> = targets.iter().map(row).collect();
    let links = targets.iter().map(|target| super::link::link(&target.name, &target.link));
    let shown = table(["TARGET", "ADDRESS", "ROLE", "BEHIND", "BACKLOG", "STATE"], &rows);
    std::iter::once(shown).chain(links).chain(heads(targets)).collect::<Vec<_>>().join("\n")
}

/// The newest head of each share on each target, share by share; none while none is known.
fn heads(targets: &[TargetStatus]) -> Option<String> {
    let of_target = |target: &TargetStatus| {
        let name = target.name.clone();
        target.heads.iter().map(move |head| (name.clone(), head.clone())).collect::<Vec<_>>()
    };
    let mut heads: Vec<(String, TargetHead)> = targets.iter().flat_map(of_target).collect();
    // Below each other, in the order of the targets, is what is to be compared.
    heads.sort_by(|(_, one), (_, other)| one.share.cmp(&other.share));
    let row = |(target, head): &(String, TargetHead)| {
        [
            head.share.clone(),
            target.clone(),
            head.sequence.to_string(),
            head.epoch.to_string(),
            format!("{:.0}", head.frozen),
            seconds(head.age_seconds),
        ]
    };
    let rows: Vec<[String; 6]> = heads.iter().map(row).collect();
    let shown = || table(["SHARE", "TARGET", "NEWEST HEAD", "EPOCH", "FROZEN", "AGE"], &rows);
    (!rows.is_empty()).then(shown)
}

/// What keeps a target that answers from being as it should.
fn in_the_way(target: &TargetStatus) -> Option<String> {
    let late = target.lock.as_ref().and_then(|lock| lock.late.as_ref());
    let all: Vec<&str> = target.obstacles.iter().chain(late).map(String::as_str).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// The shares as a table, also for `tidegate share list`.
pub(super) fn shares(shares: &[ShareStatus]) -> String {
    let row = |share: &ShareStatus| {
        let head = share
            .head
            .as_ref()
            .map_or("none yet".to_owned(), |head| format!("{} ago", seconds(head.age_seconds)));
        let state = share.state.as_str();
        let reason = share.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        [
            share.name.clone(),
            share.export.clone(),
            format!("{} of {}", seconds(share.rpo_now_seconds), seconds(share.rpo_seconds)),
            bytes(share.dirty_bytes),
            head,
            share.files.to_string(),
            bytes(share.bytes),
            format!("{state}{reason}"),
        ]
    };
    let rows: Vec<[String; 8]> = shares.iter().map(row).collect();
    let shown = table(["SHARE", "EXPORT", "RPO NOW", "DIRTY", "HEAD", "FILES", "SIZE", "STATE"], &rows);
    let quotas = shares.iter().filter_map(|share| Some(quota(share, share.quota.as_ref()?)));
    let handles =
        shares.iter().filter_map(|share| Some(format!("{}: {}", share.name, share.handles.as_ref()?)));
    std::iter::once(shown).chain(quotas).chain(handles).collect::<Vec<_>>().join("\n")
}

/// The quota of a share as a line.
fn quota(share: &ShareStatus, quota: &QuotaStatus) -> String {
    let number = |count: u64| format!("{count} files");
    let limits = [
        limit(share.bytes, &quota.bytes, quota.grace_seconds, &bytes),
        limit(share.files, &quota.files, quota.grace_seconds, &number),
    ];
    let limits: Vec<_> = limits.into_iter().flatten().collect();
    format!("quota of {}: {}", share.name, limits.join("; "))
}

fn limit(
    used: u64,
    limit: &LimitStatus,
    grace_seconds: u64,
    shown: &dyn Fn(u64) -> String,
) -> Option<String> {
    let bounds = match (limit.soft, limit.hard) {
        (None, None) => return None,
        (Some(soft), None) => format!("soft {}", shown(soft)),
        (None, Some(hard)) => format!("hard {}", shown(hard)),
        (Some(soft), Some(hard)) => format!("soft {}, hard {}", shown(soft), shown(hard)),
    };
    let over = match limit.over_soft_since {
        None => String::new(),
        Some(since) if limit.grace_is_over => format!(", ABOVE the soft one since {since}: nothing grows"),
        Some(since) => format!(", above the soft one since {since}, allowed for {}", seconds(grace_seconds)),
    };
    Some(format!("{} used, {bounds}{over}", shown(used)))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::control::LinkStatus;

    #[test]
    fn the_newest_heads_of_a_share_stand_below_each_other() {
        let head = |share: &str, sequence| TargetHead {
            share: share.to_owned(),
            name: String::new(),
            sequence,
            epoch: 3,
            frozen: Timestamp::UNIX_EPOCH,
            age_seconds: 61,
        };
        let target = |name: &str, heads| TargetStatus {
            name: name.to_owned(),
            address: "memory:".to_owned(),
            leads: name == "main",
            reachable: true,
            behind_seconds: None,
            obstacles: Vec::new(),
            backlog_bytes: 0,
            backlog_packs: 0,
            uploaded_bytes: 0,
            backlog_seconds: None,
            link: LinkStatus::default(),
            spent: None,
            last_failure: None,
            clock_ahead_ms: None,
            lock: None,
            heads,
        };
        let main = target("main", vec![head("a", 9), head("b", 4)]);
        let away = target("away", vec![head("a", 8)]);
        let shown = heads(&[main, away]).expect("there are some");
        let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        let brief: Vec<_> = rows[1..].iter().map(|row| (row[0], row[1], row[2])).collect();
        assert_eq!(brief, [("a", "main", "9"), ("a", "away", "8"), ("b", "main", "4")]);
        assert_eq!(heads(&[target("main", Vec::new())]), None);
    }

    #[test]
    fn a_quota_is_shown_with_what_is_used_and_since_when_it_is_exceeded() {
        let mut limits = LimitStatus { soft: Some(1024), ..LimitStatus::default() };
        let line = |limits: &LimitStatus| limit(2048, limits, 86_400, &bytes).expect("a limit");
        assert_eq!(line(&limits), "2.0 KiB used, soft 1.0 KiB");
        limits.hard = Some(4096);
        limits.over_soft_since = Some(Timestamp::UNIX_EPOCH);
        let over = "above the soft one since 1970-01-01T00:00:00Z, allowed for 1 d 0 h";
        assert_eq!(line(&limits), format!("2.0 KiB used, soft 1.0 KiB, hard 4.0 KiB, {over}"));
        limits.grace_is_over = true;
        assert!(line(&limits).ends_with("ABOVE the soft one since 1970-01-01T00:00:00Z: nothing grows"));
        assert_eq!(limit(2048, &LimitStatus::default(), 0, &bytes), None);
    }
}
