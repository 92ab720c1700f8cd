//! What must hold between keys of different tables; without I/O.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::alarms::notifiers_fit;
use super::api::api_fits;
use super::archive::archives_fit;
use super::bandwidth::bandwidth_fits;
use super::machine::machines_fit;
use super::policy::policies_fit;
use super::problems::Problems;
use super::recovery::prices_fit;
use super::runbook::runbooks_fit;
use super::source::sources_fit;
use super::volume::volumes_fit;
use super::{Bucket, Credentials, RepositoryAddress, Settings, Share, Target, Url};

/// How many targets this version can keep a repository on.
const TARGETS_MAX: usize = 8;
/// The most shares of one gateway.
const SHARES_MAX: usize = 1_000;

/// Notes everything that does not fit together.
pub(super) fn across_tables(settings: &Settings, problems: &mut Problems<'_>) {
    if settings.targets.is_empty() {
        problems.add("target", None, "is missing; write [[target]] with a name and an address");
    }
    if settings.targets.len() > TARGETS_MAX {
        let message = format!("stands {} times; write at most {TARGETS_MAX}", settings.targets.len());
        problems.add("target", None, message);
    }
    repository_fits(settings, problems);
    if settings.shares.len() > SHARES_MAX {
        problems.add(
            "share",
            None,
            format!("stands {} times; write at most {SHARES_MAX}", settings.shares.len()),
        );
    }
    if settings.nfs.listen.is_empty() && !settings.shares.is_empty() {
        problems.add(
            "nfs.listen",
            None,
            "is empty, so no share could be reached; write at least one address",
        );
    }
    if settings.nfs.rpcbind && !settings.nfs.portmap.is_empty() {
        problems.add(
            "nfs.rpcbind",
            None,
            "and nfs.portmap exclude each other: a machine has one port mapper",
        );
    }
    if let Err(error) = settings.retention.ladder() {
        problems.add("retention.heads", None, format!("does not fit: {error}"));
    }
    settings.targets.iter().for_each(|target| target_fits(target, problems));
    locks_fit(settings, problems);
    settings.shares.iter().for_each(|share| share_fits(share, problems));
    distinct("target", "name", settings.targets.iter().map(|target| &target.name), problems);
    distinct("share", "name", settings.shares.iter().map(|share| &share.name), problems);
    distinct("share", "export", settings.shares.iter().map(Share::export_path), problems);
    distinct("bucket", "name", settings.buckets.iter().map(|bucket| &bucket.name), problems);
    distinct("access_key", "id", settings.access_keys.iter().map(|key| &key.id), problems);
    settings.buckets.iter().for_each(|bucket| bucket_fits(settings, bucket, problems));
    s3_fits(settings, problems);
    bandwidth_fits(settings, problems);
    volumes_fit(settings, problems);
    machines_fit(settings, problems);
    sources_fit(settings, problems);
    prices_fit(settings, problems);
    archives_fit(settings, problems);
    policies_fit(settings, problems);
    notifiers_fit(settings, problems);
    runbooks_fit(settings, problems);
    api_fits(settings, problems);
    apart(settings, problems);
}

/// The lead is a target, and not more targets are required than there are.
fn repository_fits(settings: &Settings, problems: &mut Problems<'_>) {
    let repository = &settings.repository;
    if let Some(lead) = &repository.lead
        && settings.target(lead.as_str()).is_none()
    {
        let message = format!("names no target: there is no [[target]] \"{lead}\"");
        problems.add("repository.lead", None, message);
    }
    if repository.required as usize > settings.targets.len().max(1) {
        let message = format!("is more than the {} targets that there are", settings.targets.len());
        problems.add("repository.required", None, message);
    }
    let mut seen = BTreeSet::new();
    for target in &settings.targets {
        let place = (target.address.to_string(), target.endpoint.as_ref().map(Url::as_str));
        if !seen.insert(place) {
            let key = format!("target.{}.address", target.name);
            problems.add(&key, None, "is that of another target too; a copy in the same place is none");
        }
    }
}

fn bucket_fits(settings: &Settings, bucket: &Bucket, problems: &mut Problems<'_>) {
    let mut note = |key: &str, what: String| {
        problems.add(&format!("bucket.{}.{key}", bucket.name), None, what);
    };
    let Some(share) = &bucket.share else {
        if settings.share(bucket.name.as_str()).is_some() {
            note("name", "is that of a share too; the repository keeps both by name: choose another".into());
        }
        return;
    };
    if settings.share(share.as_str()).is_none() {
        note("share", format!("names no share: there is no [[share]] \"{share}\""));
    }
    let (share, read_only, durable) = (bucket.share.clone(), bucket.read_only, bucket.durable);
    let usual = Bucket { share, read_only, durable, ..usual_bucket(bucket) };
    if usual != *bucket {
        note(
            "share",
            "is set, so rpo, follow, owner, quota, on_store_lost and own_key are the share's: leave them out"
                .into(),
        );
    }
}

/// The bucket with every key at its default but its name.
fn usual_bucket(bucket: &Bucket) -> Bucket {
    let json = serde_json::json!({ "name": bucket.name.as_str() });
    super::table_from_json::<Bucket>(&json).map_or_else(|_| bucket.clone(), |(usual, _)| usual)
}

fn s3_fits(settings: &Settings, problems: &mut Problems<'_>) {
    let s3 = &settings.s3;
    if s3.certificate.is_some() != s3.private_key.is_some() {
        problems.add("s3.certificate", None, "and s3.private_key belong together; set both or none");
    }
    if settings.buckets.len() > s3.buckets as usize {
        let message = format!("is less than the {} buckets that there are", settings.buckets.len());
        problems.add("s3.buckets", None, message);
    }
    for key in &settings.access_keys {
        for name in key.buckets.iter().filter(|name| settings.bucket(name.as_str()).is_none()) {
            let message = format!("names no bucket: there is no [[bucket]] \"{name}\"");
            problems.add(&format!("access_key.{}.buckets", key.id), None, message);
        }
    }
}

pub(super) fn distinct<T: Ord + Display>(
    table: &str,
    key: &str,
    values: impl Iterator<Item = T>,
    problems: &mut Problems<'_>,
) {
    let mut seen = BTreeSet::new();
    for value in values {
        if seen.contains(&value) {
            problems.add(
                &format!("{table}.{key}"),
                None,
                format!("\"{value}\" stands twice; each must differ"),
            );
        }
        seen.insert(value);
    }
}

fn share_fits(share: &Share, problems: &mut Problems<'_>) {
    if share.clients.is_empty() {
        let key = format!("share.{}.clients", share.name);
        problems.add(&key, None, "is empty, so nobody could mount it; name a network or leave the key out");
    }
}

fn target_fits(target: &Target, problems: &mut Problems<'_>) {
    let in_bucket = matches!(target.address, RepositoryAddress::S3 { .. });
    let only_in_buckets = [
        ("endpoint", target.endpoint.is_some()),
        ("region", target.region.is_some()),
        ("style", target.style.is_some()),
        ("credentials", target.credentials != Credentials::Ambient),
        ("proxy", target.proxy.is_some()),
        ("ca_file", target.ca_file.is_some()),
    ];
    for (key, _) in only_in_buckets.iter().filter(|(_, set)| *set && !in_bucket) {
        let key = format!("target.{}.{key}", target.name);
        problems.add(&key, None, "is only for s3:// addresses; leave it out");
    }
    if target.lock.is_some() && !in_bucket {
        let key = format!("target.{}.lock", target.name);
        problems.add(
            &key,
            None,
            "is only for buckets: a directory has no object lock, and whoever may write there may delete",
        );
    }
    if target.append_only && target.lock.is_none() {
        let key = format!("target.{}.append_only", target.name);
        problems.add(
            &key,
            None,
            "is only with lock: where nothing keeps versions, replicating itself has to delete",
        );
    }
    if in_bucket && target.endpoint.is_none() && target.region.is_none() {
        let key = format!("target.{}.region", target.name);
        problems.add(&key, None, "is missing; AWS needs the bucket's region, other services an endpoint");
    }
}

/// Garbage is condemned before its locks end, so that nobody refers anew to what is protected no more.
fn locks_fit(settings: &Settings, problems: &mut Problems<'_>) {
    let rules = settings.targets.iter().filter_map(|target| Some((target, target.lock_rule()?)));
    for (target, rule) in rules {
        let most = rule.round_every();
        if settings.retention.collect_every.duration() > most {
            let days = most.as_secs_f64() / 86_400.0;
            let message = format!(
                "is too long for the locks of target {}: at most {days:.1} days with lock_days = {}",
                target.name, target.lock_days
            );
            problems.add("retention.collect_every", None, message);
        }
    }
}

/// The local state and a repository in a local directory do not lie inside each other.
fn apart(settings: &Settings, problems: &mut Problems<'_>) {
    let data = settings.gateway.data.as_path();
    for target in &settings.targets {
        if let RepositoryAddress::File(path) = &target.address
            && (path.as_path().starts_with(data) || data.starts_with(path.as_path()))
        {
            let key = format!("target.{}.address", target.name);
            let message =
                "and gateway.data lie inside each other; losing one would lose both: keep them apart";
            problems.add(&key, None, message);
        }
    }
}
