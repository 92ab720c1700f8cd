//! The bin, as operators ask for it.

use std::time::Duration;

use async_trait::async_trait;
use tidegate_replicator::repository::Binned;

use super::carried::adopt;
use super::moments::{called, snapshot_info};
use super::overview::timestamp;
use super::running::Running;
use crate::appliance::{Appliance, RemovedShare};
use crate::control::{
    BinEntry, BinKind, BinRestoreRequest, Binning, BroughtBack, ControlError, ErrorKind, SnapshotInfo,
};
use crate::settings::{Bucket, Settings, Share, Table, add_table, table_from_toml};

#[async_trait]
impl Binning for Running {
    async fn bin(&self, share: Option<&str>) -> Result<Vec<BinEntry>, ControlError> {
        let appliance = self.appliance();
        let mut entries = Vec::new();
        if let Some(share) = share {
            entries.extend(appliance.bin(share).await?.into_iter().map(|entry| info(share, entry)));
        } else {
            for share in lines(appliance, &self.overview().settings())? {
                entries.extend(appliance.bin(&share).await?.into_iter().map(|entry| info(&share, entry)));
            }
            entries.extend(appliance.removed_shares().await?.into_iter().map(share_info));
        }
        // What stays comes last.
        entries.sort_by_key(|entry| (entry.until.is_none(), entry.until, entry.share.clone()));
        Ok(entries)
    }

    async fn bin_restore(
        &self,
        share: &str,
        snapshot: &str,
        request: &BinRestoreRequest,
    ) -> Result<SnapshotInfo, ControlError> {
        self.refuse_in_drill()?;
        let appliance = self.appliance();
        let entry = find(appliance, share, snapshot).await?;
        let name = request.name.as_deref().unwrap_or(&entry.snapshot.label);
        // All snapshots of a policy have one name.
        let shares_its_name = entry.snapshot.policy.is_some() && request.name.is_none();
        let here = appliance.snapshots(share).await?;
        if !name.is_empty() && !shares_its_name && here.iter().any(|other| other.snapshot.label == name) {
            let message = format!("share {share:?} has a snapshot {name:?} already");
            let todo = format!(
                "bring it back under another name: `tidegate bin restore {share} {} --as NAME`",
                entry.id
            );
            return Err(ControlError::new(ErrorKind::Exists, message).todo(todo));
        }
        let back = appliance.unbin_snapshot(share, &entry, request.name.as_deref()).await?;
        Ok(snapshot_info(&back.ok_or_else(|| missing(share, snapshot))?))
    }

    async fn bin_restore_share(&self, share: &str) -> Result<BroughtBack, ControlError> {
        self.refuse_in_drill()?;
        let removed = self.appliance().removed_share(share).await?.ok_or_else(|| {
            ControlError::new(
                ErrorKind::NotFound,
                format!("no share {share:?} was taken out of these settings"),
            )
            .todo("see `tidegate bin list`; `tidegate attach` takes over what another gateway served")
        })?;
        let (name, carried) =
            (share.to_owned(), removed.newest.map(|newest| newest.head.settings).unwrap_or_default());
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let edit = move |document: &mut toml_edit::DocumentMut| {
            add_served(document, &name, &carried)?;
            // Who has gone away meanwhile is told nothing.
            let _ = sender.send(adopt(document, &name, &carried)?);
            Ok(())
        };
        self.changer()?.edit_by(Box::new(edit)).await?;
        Ok(BroughtBack { share: share.to_owned(), adopted: receiver.await.unwrap_or_default() })
    }

    async fn bin_empty(
        &self,
        share: Option<&str>,
        snapshot: Option<&str>,
        dry_run: bool,
    ) -> Result<Vec<BinEntry>, ControlError> {
        self.refuse_in_drill()?;
        let appliance = self.appliance();
        let mut ended = Vec::new();
        let shares = match share {
            Some(share) => vec![share.to_owned()],
            None => lines(appliance, &self.overview().settings())?,
        };
        for share in shares {
            let entries = match snapshot {
                Some(snapshot) => vec![find(appliance, &share, snapshot).await?],
                None => appliance.bin(&share).await?,
            };
            for entry in entries {
                if !dry_run {
                    appliance.end_binned(&share, &entry).await?;
                }
                ended.push(info(&share, entry));
            }
        }
        Ok(ended)
    }
}

impl Running {
    /// Removes a snapshot: into the bin, or for good where the settings have none.
    pub(super) async fn remove_to_bin(
        &self,
        share: &str,
        snapshot: &str,
    ) -> Result<SnapshotInfo, ControlError> {
        self.refuse_in_drill()?;
        let keep = self.bin_term();
        let entry = self.snapshot(share, snapshot).await?;
        let mut removed = snapshot_info(&entry);
        if keep.is_zero() {
            self.appliance().remove_snapshot(share, entry.id).await?;
            return Ok(removed);
        }
        let until = self.appliance().bin_snapshot(share, entry.id, keep).await?;
        removed.bin_until = until.map(timestamp);
        Ok(removed)
    }

    /// How long what is removed stays in the bin.
    fn bin_term(&self) -> Duration {
        self.overview().settings().retention.bin.duration()
    }
}

/// The names of everything here that has snapshots: shares, buckets with shares of their own, and sources.
fn lines(appliance: &Appliance, settings: &Settings) -> Result<Vec<String>, ControlError> {
    let shares = settings.shares.iter().map(|share| share.name.to_string());
    let buckets = settings.buckets.iter().filter(|bucket| bucket.share.is_none());
    let buckets = buckets.map(|bucket| bucket.name.to_string());
    let mut lines: Vec<String> = shares.chain(buckets).collect();
    for source in &settings.sources {
        // One that was never saved has no line.
        if appliance.knows_source(source.name.as_str())? {
            lines.push(source.name.to_string());
        }
    }
    Ok(lines)
}

async fn find(appliance: &Appliance, share: &str, snapshot: &str) -> Result<Binned, ControlError> {
    let mut entries = appliance.bin(share).await?;
    let wanted = |entry: &Binned| entry.id.to_string() == snapshot || entry.snapshot.label == snapshot;
    let had = |entry: &Binned| entry.of.is_some_and(|of| of.to_string() == snapshot);
    let at = entries.iter().rposition(wanted).or_else(|| entries.iter().rposition(had));
    at.map(|at| entries.swap_remove(at)).ok_or_else(|| missing(share, snapshot))
}

fn missing(share: &str, snapshot: &str) -> ControlError {
    let message = format!("the bin has no snapshot {snapshot:?} of share {share:?}");
    ControlError::new(ErrorKind::NotFound, message).todo(format!("see `tidegate bin list {share}`"))
}

fn info(share: &str, entry: Binned) -> BinEntry {
    let Binned { id, since, until, snapshot, .. } = entry;
    BinEntry {
        kind: BinKind::Snapshot,
        share: share.to_owned(),
        id: id.to_string(),
        name: called(id, &snapshot.label),
        frozen: Some(timestamp(snapshot.head.frozen_at)),
        since: since.map(timestamp),
        until: until.map(timestamp),
        policy: snapshot.policy,
        files: snapshot.head.usage.inodes,
        bytes: snapshot.head.usage.bytes,
    }
}

fn share_info(removed: RemovedShare) -> BinEntry {
    let head = removed.newest.map(|newest| newest.head);
    let usage = head.as_ref().map(|head| head.usage).unwrap_or_default();
    BinEntry {
        kind: BinKind::Share,
        id: removed.id.to_string(),
        name: removed.name.clone(),
        share: removed.name,
        frozen: head.map(|head| timestamp(head.frozen_at)),
        since: None,
        until: None,
        policy: None,
        files: usage.inodes,
        bytes: usage.bytes,
    }
}

/// Adds the table that serves a share, as its head carries it.
fn add_served(
    document: &mut toml_edit::DocumentMut,
    name: &str,
    carried: &serde_json::Value,
) -> Result<(), String> {
    let text = |key: &str| carried.get(key).and_then(serde_json::Value::as_str);
    match (text(Bucket::NAME), text(Share::NAME)) {
        (Some(bucket), _) => add_text::<Bucket>(document, bucket),
        (None, Some(share)) => add_text::<Share>(document, share),
        (None, None) => add_text::<Share>(document, &format!("name = {}\n", toml_edit::value(name))),
    }
}

fn add_text<T: Table>(document: &mut toml_edit::DocumentMut, text: &str) -> Result<(), String> {
    let table: T = table_from_toml(text).map_err(|error| error.to_string())?;
    add_table::<T>(document, table.write())
}
