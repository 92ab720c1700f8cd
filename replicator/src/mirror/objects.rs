//! Small objects: copied as they are, once they have been found to be sound.

use std::collections::BTreeSet;

use tidegate_chunker::ObjectKind;

use super::deleted::Plans;
use super::{Mirror, MirrorError, PassReport};
use crate::repository::envelope::{fetch, list_all, store_object};
use crate::repository::names::{DOMAINS, KEYS, SHREDDED};
use crate::repository::{HEAD_BYTES_MAX, Opened, Repository};
use crate::store::{ObjectName, PutMode};

/// Greatest length of an object that is no pack, in bytes.
const SMALL_BYTES_MAX: u64 = HEAD_BYTES_MAX;

/// Copies an object without looking into it.
pub(super) async fn copy_raw(
    from: &Repository<Opened>,
    to: &Repository<Opened>,
    name: &ObjectName,
) -> Result<(), MirrorError> {
    let bytes = fetch(&**from.store(), name, SMALL_BYTES_MAX).await?;
    Ok(store_object(&**to.store(), name, bytes, PutMode::Overwrite).await?)
}

/// Copies a control object that opens.
pub(super) async fn copy_control(
    from: &Repository<Opened>,
    to: &Repository<Opened>,
    kind: ObjectKind,
    name: &ObjectName,
) -> Result<(), MirrorError> {
    let bytes = from.sound_control(kind, name, SMALL_BYTES_MAX).await?;
    Ok(store_object(&**to.store(), name, bytes, PutMode::Overwrite).await?)
}

impl Mirror {
    /// Key slots. One that was removed from the lead goes from the copy as well: whoever knew its key shall not open the
    /// copy with it. Order: what is new comes first.
    pub(super) async fn copy_slots(&self) -> Result<u64, MirrorError> {
        let mut copied = 0;
        let there = self.names_on_copy(KEYS).await?;
        let wanted = list_all(&**self.lead.store(), KEYS).await?;
        for name in wanted.iter().filter(|name| !there.contains(name)) {
            copy_raw(&self.lead, &self.copy, name).await?;
            copied += 1;
        }
        if !wanted.is_empty() {
            for name in there.iter().filter(|name| !wanted.contains(name)) {
                self.copy.store().delete(name).await?;
            }
        }
        Ok(copied)
    }

    /// Domains and their seal epochs, which are never removed. To be called after a listing of what is about to be copied:
    /// whatever was listed is sealed under an epoch that was there before it.
    pub(super) async fn copy_domains(&mut self) -> Result<u64, MirrorError> {
        if self.domains.is_empty() {
            self.domains = self.names_on_copy(DOMAINS).await?;
        }
        let mut copied = 0;
        for name in list_all(&**self.lead.store(), DOMAINS).await? {
            if !self.domains.contains(&name) {
                copy_raw(&self.lead, &self.copy, &name).await?;
                self.domains.insert(name);
                copied += 1;
            }
        }
        Ok(copied)
    }

    /// That keys of domains were destroyed on purpose.
    pub(super) async fn copy_shreddings(&self, report: &mut PassReport) -> Result<(), MirrorError> {
        let there = self.names_on_copy(SHREDDED).await?;
        for name in list_all(&**self.lead.store(), SHREDDED).await? {
            if !there.contains(&name) {
                self.bring(ObjectKind::Shredding, &name, report).await?;
            }
        }
        Ok(())
    }

    /// Every plan that the copy lacks, without outcomes: those follow when they have been carried out there.
    pub(super) async fn copy_plans(&mut self, there: &Plans) -> Result<u64, MirrorError> {
        let mut coming = self.lead.plans().await?;
        coming.retain(|plan| !there.has(&plan.id));
        if coming.is_empty() {
            return Ok(0);
        }
        let mut copied = self.copy_domains().await?;
        for plan in coming {
            copy_control(&self.lead, &self.copy, ObjectKind::Plan, &plan.id.object()).await?;
            copied += 1;
        }
        Ok(copied)
    }

    pub(super) async fn names_on_copy(&self, folder: &str) -> Result<BTreeSet<ObjectName>, MirrorError> {
        Ok(list_all(&**self.copy.store(), folder).await?.into_iter().collect())
    }
}
