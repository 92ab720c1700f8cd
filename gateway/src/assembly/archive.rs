//! `[[archive]]` of the settings, as the parts that archive and thaw take it.

use std::collections::HashMap;
use std::time::Duration;

use tidegate_replicator::archive::ArchiveRule;
use tidegate_replicator::store::{Classes, StorageClass, ThawRequest, ThawTier};

use super::COLLECT_PART;
use crate::appliance::{ArchiveConfig, TargetRules, ThawRule};
use crate::settings::{self, Archive, Settings, usual_thaw};

/// What is known of the classes of all targets.
pub(crate) fn classes(settings: &Settings) -> Classes {
    let known = settings.archives.iter();
    known.fold(Classes::default(), |classes, archive| classes.with(archive.class.clone(), archive.traits()))
}

/// The rules of a target.
pub(crate) fn archive_rules(settings: &Settings, target: &str) -> Vec<ArchiveRule> {
    let ours = settings.archives.iter().filter(|archive| archive.target.as_str() == target);
    let rule = |archive: &Archive| ArchiveRule {
        class: archive.class.clone(),
        after: archive.after.duration(),
        unread_for: archive.unread_for.duration(),
        bytes_min: archive.smallest.bytes(),
    };
    ours.map(rule).collect()
}

/// Packs that come to colder classes of a target on a day.
pub(crate) fn packs_daily(settings: &Settings, target: &str) -> usize {
    let ours = settings.archives.iter().filter(|archive| archive.target.as_str() == target);
    ours.map(|archive| archive.packs_daily as usize).max().unwrap_or_default()
}

/// How packs of a class of the target that leads are thawed, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThawTerms {
    /// For how long, and how fast.
    pub(crate) request: ThawRequest,
    /// How long it takes.
    pub(crate) takes: Duration,
    /// What it costs, if the settings say.
    pub(crate) price: Option<ThawPrice>,
}

/// What thawing costs, in units of the target's currency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ThawPrice {
    /// For each GB.
    pub(crate) per_gb: f64,
    /// For a thousand requests.
    pub(crate) per_thousand: f64,
}

/// The terms of a class of the target that leads; `tier` and `days` instead of those of the settings, if given.
pub(crate) fn thaw_terms(
    settings: &Settings,
    class: &StorageClass,
    (tier, days): (Option<settings::ThawTier>, Option<u32>),
) -> ThawTerms {
    let lead = &settings.lead().name;
    let known = settings.archives.iter().find(|archive| archive.target == *lead && archive.class == *class);
    let usual = known.map_or(settings::ThawTier::Standard, |archive| archive.thaw_tier);
    let wanted = tier.unwrap_or(usual);
    let takes = match known {
        Some(archive) if wanted == archive.thaw_tier => archive.thaw_takes(),
        Some(_) | None => usual_thaw(class, wanted),
    };
    let days = days.or(known.map(|archive| archive.thaw_days)).unwrap_or(ThawRule::default().request.days);
    // A price is that of the tier of the settings.
    let price = known.filter(|archive| wanted == archive.thaw_tier).map(|archive| ThawPrice {
        per_gb: archive.price_per_gb_thawed.units(),
        per_thousand: archive.price_per_thousand_thaws.units(),
    });
    ThawTerms { request: ThawRequest { days, tier: tier_of(wanted) }, takes, price }
}

fn tier_of(tier: settings::ThawTier) -> ThawTier {
    match tier {
        settings::ThawTier::Expedited => ThawTier::Expedited,
        settings::ThawTier::Standard => ThawTier::Standard,
        settings::ThawTier::Bulk => ThawTier::Bulk,
    }
}

/// Everything that a gateway archives and thaws by.
pub(super) fn archive_config(settings: &Settings) -> ArchiveConfig {
    let rules = settings.targets.iter().map(|target| TargetRules {
        target: target.name.as_str().to_owned(),
        address: super::store_settings(target).address.to_string(),
        rules: archive_rules(settings, target.name.as_str()),
        packs_max: packs_daily(settings, target.name.as_str()),
    });
    let lead = &settings.lead().name;
    let of_lead = settings.archives.iter().filter(|archive| archive.target == *lead);
    let thaw = of_lead.map(|archive| {
        let request = ThawRequest { days: archive.thaw_days, tier: tier_of(archive.thaw_tier) };
        (archive.class.clone(), ThawRule { request, daily_bytes: archive.thaw_daily.bytes() })
    });
    ArchiveConfig {
        targets: rules.filter(|target| !target.rules.is_empty()).collect(),
        classes: classes(settings),
        thaw: thaw.collect::<HashMap<_, _>>(),
        repack_below_percent: u8::try_from(settings.retention.repack_below_percent).unwrap_or(0),
        memory_bytes_max: settings.gateway.memory.bytes() / COLLECT_PART,
        scratch: settings.gateway.data.as_path().to_path_buf(),
    }
}
