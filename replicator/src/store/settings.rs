//! What the settings say about a store, and opening one from them with all decorators.
//!
//! Nothing here is secret: credentials come beside, as a value. [`StoreSettings::check`] finds all that
//! can be found without asking the store.
//!
//! The decorators, from the caller inwards: [`RetryStore`] tries again; [`LimitStore`] lets each attempt
//! wait its turn; [`MeteredStore`] measures each request; [`DeadlineStore`] ends it. So waiting for bandwidth
//! counts neither as latency nor against the deadline.

use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::late::LateStore;
use super::{
    Address, ChecksumMode, Conduct, Connection, Credentials, DeadlineStore, DirectoryStore, ErrorKind,
    GiveCredentials, LimitStore, Limits, Link, LockRule, MeteredStore, ObjectName, Patience, ProbeReport,
    RequestCounts, RetryPolicy, RetryStore, S3Store, Store, StoreClock, StoreError, StoreHealth, Style,
};

/// Where a repository lies and how to talk to the store there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    /// `file:///path` or `s3://bucket/prefix`.
    pub address: Address,
    /// `http://host:port` or `https://host:port` of the S3 endpoint. Default: AWS in the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    #[serde(default = "defaults::region")]
    pub region: String,
    /// `path` or `virtual-host`. Default: `path` with an endpoint, `virtual-host` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<Style>,
    /// An HTTP proxy, `http://host:port`. The environment is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Certificates in PEM that are trusted besides those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// `crc32c` or `none`. Default: what the probe of this bucket found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<ChecksumMode>,
    /// How long establishing a connection may take, in milliseconds.
    #[serde(default = "defaults::connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// How long an answer may take, in milliseconds, not counting the time that its bytes need.
    #[serde(default = "defaults::answer_timeout_ms")]
    pub answer_timeout_ms: u64,
    /// The slowest rate, in bytes per second, at which a transfer still counts as getting on.
    #[serde(default = "defaults::transfer_bytes_per_s_min")]
    pub transfer_bytes_per_s_min: u64,
    /// How often a request is tried in all.
    #[serde(default = "defaults::attempts_max")]
    pub attempts_max: u32,
    /// How many of the requests of a minute may be retries, in percent.
    #[serde(default = "defaults::retry_percent_max")]
    pub retry_percent_max: u32,
    /// How many requests run at once in each direction at most; how many are best is found out.
    #[serde(default = "defaults::requests_max")]
    pub requests_max: usize,
    /// How fast bodies go up, in bytes per second. Default: as fast as they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_bytes_per_s: Option<u64>,
    /// How fast bodies come down, in bytes per second. Default: as fast as they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_bytes_per_s: Option<u64>,
    /// How objects are locked. Only in a bucket that has object lock enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockRule>,
    /// Whether the credentials only add: nothing is deleted for good. Only with `lock`.
    #[serde(default)]
    pub append_only: bool,
}

mod defaults {
    pub(super) fn region() -> String {
        "us-east-1".to_owned()
    }
    pub(super) fn connect_timeout_ms() -> u64 {
        10_000
    }
    pub(super) fn answer_timeout_ms() -> u64 {
        30_000
    }
    pub(super) fn transfer_bytes_per_s_min() -> u64 {
        32 << 10
    }
    pub(super) fn attempts_max() -> u32 {
        6
    }
    pub(super) fn retry_percent_max() -> u32 {
        20
    }
    pub(super) fn requests_max() -> usize {
        32
    }
}

/// Before the second attempt at a request.
const RETRY_DELAY_FIRST: Duration = Duration::from_millis(200);

/// Between attempts at a request, at most.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);

const TIMEOUT_MS: RangeInclusive<u64> = 100..=600_000;
const ATTEMPTS: RangeInclusive<u64> = 1..=20;
const RETRY_PERCENT: RangeInclusive<u64> = 1..=100;
const REQUESTS: RangeInclusive<u64> = 1..=1_024;
const TRANSFER_BYTES_PER_S: RangeInclusive<u64> = 1_024..=1_000_000_000;
/// A hundred years, as long as S3 takes.
const LOCK_DAYS: RangeInclusive<u64> = 1..=36_500;
const LINK_BYTES_PER_S: RangeInclusive<u64> = 1_024..=1_000_000_000_000;

/// A setting that cannot be: key, value, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: must be {allowed}")]
pub struct StoreSettingError {
    /// The key.
    pub key: &'static str,
    /// The value as it was given.
    pub value: String,
    /// What it may be.
    pub allowed: String,
}

impl StoreSettings {
    /// The defaults, for a store at `address`.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            endpoint: None,
            region: defaults::region(),
            style: None,
            proxy: None,
            ca_file: None,
            checksum: None,
            connect_timeout_ms: defaults::connect_timeout_ms(),
            answer_timeout_ms: defaults::answer_timeout_ms(),
            transfer_bytes_per_s_min: defaults::transfer_bytes_per_s_min(),
            attempts_max: defaults::attempts_max(),
            retry_percent_max: defaults::retry_percent_max(),
            requests_max: defaults::requests_max(),
            upload_bytes_per_s: None,
            download_bytes_per_s: None,
            lock: None,
            append_only: false,
        }
    }

    /// Checks everything that can be checked without asking the store.
    pub fn check(&self) -> Result<(), StoreSettingError> {
        within("connect_timeout_ms", self.connect_timeout_ms, &TIMEOUT_MS)?;
        within("answer_timeout_ms", self.answer_timeout_ms, &TIMEOUT_MS)?;
        within("transfer_bytes_per_s_min", self.transfer_bytes_per_s_min, &TRANSFER_BYTES_PER_S)?;
        within("attempts_max", u64::from(self.attempts_max), &ATTEMPTS)?;
        within("retry_percent_max", u64::from(self.retry_percent_max), &RETRY_PERCENT)?;
        within("requests_max", self.requests_max as u64, &REQUESTS)?;
        if let Some(rate) = self.upload_bytes_per_s {
            within("upload_bytes_per_s", rate, &LINK_BYTES_PER_S)?;
        }
        if let Some(rate) = self.download_bytes_per_s {
            within("download_bytes_per_s", rate, &LINK_BYTES_PER_S)?;
        }
        if let Some(rule) = &self.lock {
            within("lock.days", u64::from(rule.days), &LOCK_DAYS)?;
            if let Address::Directory(_) = self.address {
                let allowed =
                    "left out: a directory has no object lock, and whoever may write there may delete";
                return Err(refused("lock", rule.mode.as_str(), allowed));
            }
        }
        if self.append_only && self.lock.is_none() {
            let allowed = "false without lock: where no versions are kept, replicating itself must delete";
            return Err(refused("append_only", true, allowed));
        }
        is_url("endpoint", self.endpoint.as_deref(), &["http://", "https://"])?;
        is_url("proxy", self.proxy.as_deref(), &["http://", "https://"])?;
        if self.region.is_empty() || !self.region.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused("region", &self.region, "a name without blanks, such as us-east-1"));
        }
        Ok(())
    }

    /// How much time the store has for an answer.
    pub(super) fn patience(&self) -> Patience {
        Patience {
            base: Duration::from_millis(self.answer_timeout_ms),
            bytes_per_s_min: self.transfer_bytes_per_s_min,
        }
    }

    /// How to reach the S3 endpoint.
    pub(super) fn connection(&self) -> Connection {
        let style = if self.endpoint.is_some() { Style::Path } else { Style::VirtualHost };
        Connection {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            style: self.style.unwrap_or(style),
            proxy: self.proxy.clone(),
            ca_file: self.ca_file.clone(),
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            answer_timeout: Duration::from_millis(self.answer_timeout_ms),
        }
    }

    /// The bounds to begin with.
    fn limits(&self) -> Limits {
        Limits {
            requests_max: self.requests_max,
            upload_bytes_per_s: self.upload_bytes_per_s,
            download_bytes_per_s: self.download_bytes_per_s,
        }
    }

    fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy {
            attempts_max: self.attempts_max,
            delay_first: RETRY_DELAY_FIRST,
            delay_max: RETRY_DELAY_MAX,
            retry_percent_max: self.retry_percent_max,
        }
    }
}

/// When an upload in parts counts as left by a killed process, whoever began it: longer than any takes on a slow line.
const UNFINISHED_AGE: Duration = Duration::from_hours(24);

/// A store under all decorators, and the handles on them.
#[derive(Clone, Debug)]
pub struct OpenStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The way to it: bounds that can be changed while calls run, and what moves.
    pub link: Arc<Link>,
    /// Counts the requests that reach the store, each attempt by itself.
    pub counts: Arc<RequestCounts>,
    /// Whether it answers, and what time it is there.
    pub health: Arc<StoreHealth>,
    bucket: Option<S3Store>,
}

impl OpenStore {
    /// Gives up uploads in parts that a killed process has left, and counts them: those of `own` objects, which
    /// nobody but the caller stores, and he does not now; and any that are very old. A directory has none.
    pub async fn abort_unfinished(&self, own: &HashSet<ObjectName>) -> Result<usize, StoreError> {
        match &self.bucket {
            Some(bucket) => bucket.abort_unfinished(own, UNFINISHED_AGE).await,
            None => Ok(0),
        }
    }
}

/// Opens a store that exists. `label` names it in the metrics; `probed` is what a probe of this very bucket
/// has found, without which nothing is assumed of it. Asks the store for nothing.
pub fn open(
    label: &str,
    settings: &StoreSettings,
    credentials: &Credentials,
    probed: Option<&ProbeReport>,
) -> Result<OpenStore, StoreError> {
    let clock = Arc::default();
    let conduct = conduct(settings, probed);
    let (adapter, bucket): (Arc<dyn Store>, _) = match adapter(settings, credentials, conduct, &clock)? {
        Adapter::Directory(directory) => (Arc::new(directory), None),
        Adapter::S3(bucket) => (Arc::new(bucket.clone()), Some(bucket)),
    };
    Ok(decorated(label, settings, adapter, (clock, bucket)))
}

/// The same of a store that may not be there yet: it is opened when it is first needed, and until it can be, every call fails
/// with the reason. Asks `credentials` and the store for nothing before.
pub fn open_late(label: &str, settings: &StoreSettings, credentials: GiveCredentials) -> OpenStore {
    let clock = Arc::default();
    let late = LateStore::new(settings.clone(), conduct(settings, None), credentials, Arc::clone(&clock));
    decorated(label, settings, Arc::new(late), (clock, None))
}

/// How to talk to a store, as far as it is known.
fn conduct(settings: &StoreSettings, probed: Option<&ProbeReport>) -> Conduct {
    Conduct {
        create_new: probed.is_some_and(|report| report.create_new),
        checksum: settings.checksum.or(probed.map(|report| report.checksum)).unwrap_or_default(),
        lock: settings.lock,
        append_only: settings.append_only,
    }
}

/// A store under all decorators.
fn decorated(
    label: &str,
    settings: &StoreSettings,
    adapter: Arc<dyn Store>,
    (clock, bucket): (Arc<StoreClock>, Option<S3Store>),
) -> OpenStore {
    let health = Arc::new(StoreHealth::new(clock));
    let patient = DeadlineStore::new(adapter, settings.patience());
    let metered = MeteredStore::new(Arc::new(patient), label).noting(Arc::clone(&health));
    let counts = metered.counts();
    let link = Link::new(settings.limits());
    let limited = LimitStore::new(Arc::new(metered), Arc::clone(&link));
    let store = Arc::new(RetryStore::new(Arc::new(limited), settings.retry_policy()));
    OpenStore { store, link, counts, health, bucket }
}

/// Makes the place where a repository is to be created: a directory, durably. A bucket is not made, only
/// found to be missing by the probe.
pub fn create_place(settings: &StoreSettings) -> Result<(), StoreError> {
    match &settings.address {
        Address::Directory(path) => DirectoryStore::create(path).map(drop),
        Address::Bucket { .. } => Ok(()),
    }
}

/// A store without decorators.
pub(super) enum Adapter {
    Directory(DirectoryStore),
    S3(S3Store),
}

/// Opens the adapter that the address asks for. What time it is there is noted in `clock`.
pub(super) fn adapter(
    settings: &StoreSettings,
    credentials: &Credentials,
    conduct: Conduct,
    clock: &Arc<StoreClock>,
) -> Result<Adapter, StoreError> {
    settings.check().map_err(|error| {
        StoreError::new(ErrorKind::Misconfigured, format!("open {}", settings.address)).caused_by(error)
    })?;
    match &settings.address {
        Address::Directory(path) => DirectoryStore::open(path).map(Adapter::Directory),
        Address::Bucket { bucket, prefix } => {
            let (connection, clock) = (settings.connection(), Arc::clone(clock));
            S3Store::open_by(clock, (bucket, prefix), &connection, credentials, conduct).map(Adapter::S3)
        }
    }
}

fn within(key: &'static str, value: u64, allowed: &RangeInclusive<u64>) -> Result<(), StoreSettingError> {
    if allowed.contains(&value) {
        Ok(())
    } else {
        Err(refused(key, value, &format!("from {} to {}", allowed.start(), allowed.end())))
    }
}

fn is_url(key: &'static str, value: Option<&str>, schemes: &[&str]) -> Result<(), StoreSettingError> {
    let Some(value) = value else { return Ok(()) };
    let host = schemes.iter().find_map(|scheme| value.strip_prefix(scheme));
    if value.contains('@') {
        // What looks like a credential must not reach a log by way of the message.
        return Err(refused(key, "(not shown, since it holds an @)", "without credentials"));
    }
    match host {
        Some(host) if !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(()),
        _ => Err(refused(key, value, &format!("a URL that begins with {}", schemes.join(" or ")))),
    }
}

fn refused(key: &'static str, value: impl fmt::Display, allowed: &str) -> StoreSettingError {
    StoreSettingError { key, value: value.to_string(), allowed: allowed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> StoreSettings {
        StoreSettings::new("s3://bucket/prefix".parse().expect("an address"))
    }

    #[test]
    fn the_defaults_are_allowed_and_survive_being_written() {
        settings().check().expect("allowed");
        let text = serde_json::to_string(&settings()).expect("written");
        assert_eq!(serde_json::from_str::<StoreSettings>(&text).expect("read"), settings());
        let short = r#"{"address": "s3://bucket/prefix"}"#;
        assert_eq!(serde_json::from_str::<StoreSettings>(short).expect("read"), settings());
    }

    #[test]
    fn unknown_keys_are_refused() {
        let text = r#"{"address": "s3://bucket", "adress": "x"}"#;
        let error = serde_json::from_str::<StoreSettings>(text).expect_err("a slip of the pen");
        assert!(error.to_string().contains("adress"), "{error}");
    }

    #[test]
    fn a_value_out_of_range_is_named_with_its_range() {
        let wrong = StoreSettings { attempts_max: 0, ..settings() };
        assert_eq!(wrong.check().expect_err("refused").to_string(), "attempts_max = 0: must be from 1 to 20");
        let wrong = StoreSettings { endpoint: Some("minio:9000".to_owned()), ..settings() };
        assert!(wrong.check().expect_err("refused").to_string().contains("endpoint = minio:9000"));
        let wrong = StoreSettings { proxy: Some("http://me:secret@host".to_owned()), ..settings() };
        assert!(!wrong.check().expect_err("refused").to_string().contains("secret"));
    }

    #[test]
    fn an_endpoint_of_ones_own_means_path_style() {
        assert_eq!(settings().connection().style, Style::VirtualHost);
        let own = StoreSettings { endpoint: Some("http://localhost:9000".to_owned()), ..settings() };
        assert_eq!(own.connection().style, Style::Path);
    }
}
