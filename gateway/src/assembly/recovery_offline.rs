//! How long recovery would take, asked from another machine: with the repository and its key alone.
//!
//! The newest heads are read, and the first path of each tree. The link from here is measured, or what it is like is given;
//! objectives are those that the heads carry.

use std::time::Duration;

use jiff::Timestamp;
use tidegate_replicator::frozen::DomainReader;
use tidegate_replicator::repository::{Head, Heat};
use tidegate_replicator::warm::{MeasureOptions, PackRange, hot_ranges};

use super::recovery::{Planned, list_sleepers, measure_link, prices, requests_max, shown, unlisted};
use super::{AssemblyError, OfflineRepository};
use crate::control::{ControlError, ErrorKind, RecoveryLink, RecoveryPlan};
use crate::recovery::{Amounts, FirstByte, Machine, Opening, Sleepers, Way, asked_of, first_byte};
use crate::settings::{Settings, Share, table_from_toml};
use crate::share::ShareError;

/// Memory of the reader of a tree's first path, in bytes.
const READER_BYTES: u64 = 64 << 20;
/// Packs whose frames a measurement asks for where no head says what is hot.
const PACKS_MAX: usize = 16;

/// What is known of the link, before it is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct GivenLink {
    /// Bytes per second; none: measured.
    pub bytes_per_s: Option<u64>,
    /// The time of an answer; none: measured.
    pub latency: Option<Duration>,
    /// Whether it is asked at all.
    pub measure: bool,
}

impl OfflineRepository {
    /// How long recovery of all shares, or of one, would take on this machine.
    pub async fn recovery_plan(
        &self,
        settings: &Settings,
        wanted: Option<&str>,
        given: GivenLink,
    ) -> Result<RecoveryPlan, ControlError> {
        let repository = &self.repository;
        let mut found = Vec::new();
        let shares = repository.share_ids().await.map_err(AssemblyError::from)?.len() as u64;
        for state in repository.shares().await.map_err(AssemblyError::from)? {
            let newest = match state.newest {
                Ok(Some(newest)) => newest,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(share = %state.share, %error, "the newest head of a share cannot be read: left out");
                    continue;
                }
            };
            let head = newest.head;
            let is_wanted =
                wanted.is_none_or(|wanted| wanted == head.share.name || wanted == head.share.id.to_string());
            if is_wanted && !is_source(&head) {
                let heat = repository.heat_of(&head).await.map_err(AssemblyError::from)?;
                found.push((head, heat));
            }
        }
        if let Some(wanted) = wanted.filter(|_| found.is_empty()) {
            return Err(ControlError::new(
                ErrorKind::NotFound,
                format!("the repository has no share {wanted:?} that can be read"),
            ));
        }
        let link = self.link(settings, &found, given).await?;
        let target = settings.lead().name.as_str();
        let prices = prices(settings, target);
        let opening =
            Opening { shares, domains: repository.domains().len() as u64, slots: 1, by_command: true };
        let mut firsts = Vec::new();
        for (head, _) in &found {
            firsts.push(self.first(head).await?);
        }
        let asked = found.iter().zip(&firsts).flat_map(|((_, heat), first)| asked_of(first, heat)).collect();
        let (sleepers, unproven) = match list_sleepers(repository, settings, &asked).await {
            Ok(sleepers) => (sleepers, None),
            Err(error) => (Sleepers::default(), Some(unlisted(&error))),
        };
        let known = link.as_ref().filter(|_| unproven.is_none());
        let mut shares = Vec::new();
        for ((head, heat), first) in found.iter().zip(&firsts) {
            let share = share_of(head);
            let planned = Planned {
                name: head.share.name.clone(),
                head,
                amounts: Amounts::of(head, heat, first, opening).with_sleepers(&sleepers, first, heat),
                share: share.as_ref(),
            };
            shares.push(planned.against(known, prices.as_ref(), &|_| None));
        }
        shares.sort_by(|one, other| one.share.cmp(&other.share));
        Ok(RecoveryPlan { link: link.map(|(link, _, _)| link), shares, unproven })
    }

    async fn first(&self, head: &Head) -> Result<FirstByte, ControlError> {
        let reader = DomainReader::open(&self.repository, head.share.domain, READER_BYTES)
            .map_err(AssemblyError::from)?;
        let first = first_byte(&head.root, reader.nodes).await;
        Ok(first.map_err(|error: ShareError| {
            AssemblyError::from(crate::appliance::ApplianceError::from(error))
        })?)
    }

    async fn link(
        &self,
        settings: &Settings,
        found: &[(Head, Heat)],
        given: GivenLink,
    ) -> Result<Option<(RecoveryLink, Way, Machine)>, ControlError> {
        let target = settings.lead().name.as_str();
        let (mut latency, mut rate, mut measured_at) =
            (given.latency, given.bytes_per_s.map(|rate| rate as f64), None);
        if given.measure && (latency.is_none() || rate.is_none()) {
            let options = MeasureOptions {
                requests_max: requests_max(settings),
                bytes_max: settings.recovery.measure_bytes.bytes(),
                ..MeasureOptions::default()
            };
            let ranges = self.some_ranges(found).await?;
            let store = self.repository.store();
            let measured = measure_link(&**store, &ranges, options).await.map_err(AssemblyError::from)?;
            latency = latency.or(Some(measured.latency));
            rate = rate.or(measured.bytes_per_s);
            measured_at = Some(Timestamp::now());
        }
        let Some((latency, bytes_per_s)) = latency.zip(rate) else { return Ok(None) };
        let way = Way { latency, bytes_per_s, requests_max: requests_max(settings) };
        let machine = Machine::this();
        Ok(Some((shown(target, &way, &machine, measured_at), way, machine)))
    }

    /// What can be asked for: what is hot, or the beginnings of some packs.
    async fn some_ranges(&self, found: &[(Head, Heat)]) -> Result<Vec<PackRange>, ControlError> {
        let hot: Vec<PackRange> = found.iter().flat_map(|(_, heat)| hot_ranges(heat)).collect();
        if !hot.is_empty() {
            return Ok(hot);
        }
        let listed = self.repository.list_pack_objects(None, PACKS_MAX).await;
        let (packs, _) = listed.map_err(AssemblyError::from)?;
        // What is of another class than usual may sleep, or cost to be read.
        let warm = packs.into_iter().filter(|pack| pack.class.is_none());
        Ok(warm.map(|pack| PackRange { pack: pack.id, range: 0..pack.bytes }).collect())
    }
}

/// A source of backup is read, not served.
fn is_source(head: &Head) -> bool {
    head.settings.get("source").is_some()
}

/// How the share was served, as its head says.
fn share_of(head: &Head) -> Option<Share> {
    let text = head.settings.get("share").and_then(serde_json::Value::as_str)?;
    table_from_toml(text).ok()
}
