//! `tidegate bucket`: list, add, remove, and lifecycle rules on demand.

use clap::Subcommand;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::exit::Failure;
use super::follow::{self, JobOptions};
use super::format::table;
use super::removing::Asking;
use super::{Context, edit_offline};
use crate::admin::Applied;
use crate::cli::client::segment;
use crate::control::{ControlError, ErrorKind, LifecycleReport, LifecycleRequest};
use crate::settings::{Bucket, add_table, table_from_json};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show all buckets of the settings.
    List,
    /// Add a bucket to the settings, and serve it.
    Add {
        /// What clients call it.
        bucket: String,
        /// The share that it shows; without it, it is a bucket of objects.
        #[arg(long)]
        share: Option<String>,
        /// Refuse every change by clients.
        #[arg(long)]
        read_only: bool,
        /// When a change is answered: local or repository.
        #[arg(long)]
        durable: Option<String>,
        /// How old the newest head may become, such as 30s.
        #[arg(long)]
        rpo: Option<String>,
        /// The most bytes that its objects may use, such as 100GiB.
        #[arg(long, value_name = "SIZE")]
        quota_bytes: Option<String>,
        /// The most objects, versions and parts that it may have.
        #[arg(long, value_name = "COUNT")]
        quota_objects: Option<u64>,
    },
    /// Take a bucket out of the settings; the repository keeps its data.
    Remove {
        /// The bucket.
        bucket: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Carry out now what the lifecycle rules of a bucket say, which the gateway does by itself once a day.
    Lifecycle {
        /// The bucket.
        bucket: String,
        /// Change nothing; only say what would be done.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        job: JobOptions,
    },
}

/// A bucket of the settings.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<String>,
    read_only: bool,
    durable: &'static str,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => list(context),
        Command::Add { .. } => add(context, &command).await,
        Command::Remove { bucket, asking } => remove(context, bucket, asking).await,
        Command::Lifecycle { bucket, dry_run, job } => {
            let path = format!("/buckets/{}/lifecycle", segment(&bucket));
            follow::run(context, job, &path, &LifecycleRequest { dry_run }, |report| say(report, dry_run))
                .await
        }
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    let settings = context.settings()?;
    let row = |bucket: &Bucket| Row {
        name: bucket.name.to_string(),
        share: bucket.share.as_ref().map(ToString::to_string),
        read_only: bucket.read_only,
        durable: bucket.durable.as_str(),
    };
    let rows: Vec<Row> = settings.buckets.iter().map(row).collect();
    context.terminal.data(&rows, |rows| {
        let row = |row: &Row| {
            let shows =
                row.share.as_ref().map_or_else(|| "objects".to_owned(), |share| format!("share {share}"));
            let changes = if row.read_only { "refused" } else { row.durable };
            [row.name.clone(), shows, changes.to_owned()]
        };
        table(["BUCKET", "HOLDS", "CHANGES"], &rows.iter().map(row).collect::<Vec<_>>())
    })
}

/// As the table [[bucket]], in JSON.
fn to_json(command: &Command) -> Map<String, Value> {
    let mut keys = Map::new();
    let Command::Add { bucket, share, read_only, durable, rpo, quota_bytes, quota_objects } = command else {
        return keys;
    };
    keys.insert("name".to_owned(), bucket.clone().into());
    for (key, value) in [("share", share), ("durable", durable), ("rpo", rpo)] {
        keys.extend(value.as_ref().map(|value| (key.to_owned(), value.clone().into())));
    }
    keys.extend(read_only.then(|| ("read_only".to_owned(), true.into())));
    let hard = |limit: Value| json!({ "hard": limit });
    let bytes = quota_bytes.as_ref().map(|bytes| ("bytes".to_owned(), hard(bytes.clone().into())));
    let inodes = quota_objects.map(|objects| ("inodes".to_owned(), hard(objects.into())));
    let quota: Map<String, Value> = bytes.into_iter().chain(inodes).collect();
    keys.extend((!quota.is_empty()).then(|| ("quota".to_owned(), quota.into())));
    keys
}

async fn add(context: &Context, command: &Command) -> Result<(), Failure> {
    let json = Value::Object(to_json(command));
    let (bucket, table) = table_from_json::<Bucket>(&json)?;
    let client = context.client()?;
    let applied: Applied = if client.is_there().await {
        client.post("/buckets", &json).await?
    } else {
        edit_offline(context, |document| add_table::<Bucket>(document, table))?
    };
    context.terminal.data(&applied, |_| format!("bucket {} added", bucket.name))
}

async fn remove(context: &Context, bucket: String, asking: Asking) -> Result<(), Failure> {
    if context.settings()?.bucket(&bucket).is_none() {
        let error = ControlError::new(ErrorKind::NotFound, format!("the settings have no bucket {bucket:?}"));
        return Err(error.todo("`tidegate bucket list` shows all buckets").into());
    }
    let question =
        format!("Clients of bucket {bucket} will lose it; the repository keeps its data. Remove it?");
    asking.confirm(context, &question)?;
    let path = format!("/buckets/{}", segment(&bucket));
    asking.remove::<Bucket>(context, &path, ("name", &bucket), &format!("bucket {bucket}")).await
}

fn say(report: &LifecycleReport, dry_run: bool) -> String {
    let mut lines: Vec<String> = report
        .steps
        .iter()
        .map(|step| match &step.version {
            Some(version) => format!("{:<12} {} version {version}", step.action, step.key),
            None => format!("{:<12} {}", step.action, step.key),
        })
        .collect();
    let named = report.steps.len() as u64;
    let all = report.expired + report.removed + report.aborted;
    if all > named {
        lines.push(format!("and {} more", all - named));
    }
    let would = if dry_run { "would be " } else { "" };
    lines.push(format!(
        "{} looked at; {would}expired {}, {would}removed for ever {}, uploads {would}dropped {}; locked {}, failed {}",
        report.looked_at, report.expired, report.removed, report.aborted, report.locked, report.failed
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::LifecycleStep;

    #[test]
    fn a_report_names_what_was_done_and_counts_the_rest() {
        let mut report = LifecycleReport { looked_at: 9, locked: 1, ..LifecycleReport::default() };
        let step = |action: &str, version: Option<&str>| LifecycleStep {
            action: action.into(),
            key: "a/b".into(),
            version: version.map(str::to_owned),
        };
        report.count(step("expire", None), 2);
        report.count(step("remove", Some("v1")), 2);
        report.count(step("abort-upload", None), 2);
        let said = say(&report, true);
        assert!(said.contains("remove       a/b version v1") && said.contains("and 1 more"), "{said}");
        assert!(said.ends_with(
            "would be expired 1, would be removed for ever 1, uploads would be dropped 1; locked 1, failed 0"
        ));
    }
}
