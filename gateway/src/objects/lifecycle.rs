//! Lifecycle rules carried out: what is due is hidden, removed or dropped, a bucket at a time.
//!
//! A run walks what the rules of a bucket are about (everything that begins as all of them say) in pages, decides
//! by this machine's clock, and changes in small groups. Each change looks again whether what it is about is still
//! what was decided on: an object that was written anew meanwhile stays, and so does a version that too few are newer than by then. What is locked stays. A run that is stopped
//! has done a part; the next one does the rest. A dry run changes nothing and says what would be done.

use futures::StreamExt;
use tidegate_protocols::objects::lifecycle::{
    Facts, LifecycleAction, LifecycleRule, aborts, evaluate, newer_needed,
};
use tidegate_protocols::objects::{ListEntry, ListQuery, ObjectError, PAGE_ENTRIES_MAX};
use tidegate_protocols::view::Time;
use tidegate_replicator::map::InodeNumber;

use super::versions::{Merge, Next};
use super::{Access, Objects, describe};
use crate::control::{JobHandle, LifecycleReport, LifecycleStep};
use crate::namespace::objects::{Found, Held, HeldUpload, Place, Removal, Which};

/// Changes that are carried out at the same time.
const AT_ONCE: usize = 16;
/// Changes that are decided before they are carried out.
const GROUP: usize = 256;
/// Uploads that one look at the map brings.
const SCAN: usize = 256;
/// Steps that a report names.
const STEPS_MAX: usize = 1_000;

/// A change that is due.
enum Due {
    /// What a key leads to, as long as it is this file and has not changed.
    Expire(String, (InodeNumber, u64)),
    /// A version that its key does not lead to, for ever, as long as this file holds it, none for a marker, and so many are
    /// newer without the newest.
    Remove(String, Which, Option<InodeNumber>, u32),
    /// An upload.
    Abort(String, Box<HeldUpload>),
}

impl Due {
    fn step(&self) -> LifecycleStep {
        let (action, key, version) = match self {
            Self::Expire(key, _) => ("expire", key, None),
            Self::Remove(key, which, ..) => {
                ("remove", key, Some(describe::version_id(*which).as_str().to_owned()))
            }
            Self::Abort(key, _) => ("abort-upload", key, None),
        };
        LifecycleStep { action: action.to_owned(), key: key.clone(), version }
    }
}

/// A run over one bucket.
struct Run<'a> {
    objects: &'a Objects,
    access: &'a Access,
    rules: &'a [LifecycleRule],
    now: Time,
    is_dry: bool,
    job: &'a JobHandle,
    due: Vec<Due>,
    report: LifecycleReport,
}

impl Objects {
    /// Carries out the rules of a bucket that are due; with `dry_run` only says what would be done. A bucket without
    /// rules, and one that takes no changes here, has nothing to do.
    pub async fn carry_out_lifecycle(
        &self,
        bucket: &str,
        dry_run: bool,
        job: &JobHandle,
    ) -> Result<LifecycleReport, ObjectError> {
        let found = self.known.read().buckets.get(bucket).cloned().ok_or(ObjectError::NoSuchBucket)?;
        let served = self.files.share(found.share).ok_or(ObjectError::SlowDown)?;
        let loaded = self.loaded(&found, &served).await?;
        let rules = loaded.settings.lifecycle.clone().unwrap_or_default();
        if rules.is_empty() || !dry_run && (found.read_only || served.rules.read_only) {
            return Ok(LifecycleReport::default());
        }
        let access = self.access_as_root(&found, &served, &loaded);
        let now = access.namespace().time();
        let report = LifecycleReport::default();
        let mut run = Run {
            objects: self,
            access: &access,
            rules: &rules,
            now,
            is_dry: dry_run,
            job,
            due: Vec::new(),
            report,
        };
        if found.flat {
            run.versions().await?;
        } else {
            run.files().await?;
        }
        run.uploads().await?;
        run.carry_out().await?;
        Ok(run.report)
    }

    /// The buckets that have rules, with them.
    pub async fn lifecycle_rules(&self) -> Vec<(String, Vec<LifecycleRule>)> {
        let buckets: Vec<_> = self.known.read().buckets.values().cloned().collect();
        let mut found = Vec::new();
        for bucket in buckets {
            let Some(served) = self.files.share(bucket.share) else { continue };
            let Ok(loaded) = self.loaded(&bucket, &served).await else { continue };
            let rules = loaded.settings.lifecycle.clone().unwrap_or_default();
            if !rules.is_empty() {
                found.push((bucket.name.clone(), rules));
            }
        }
        found
    }
}

/// What all rules that are in force begin with.
fn common_prefix(rules: &[LifecycleRule]) -> String {
    let mut prefixes = rules.iter().filter(|rule| rule.enabled).map(|rule| rule.filter.prefix.as_str());
    let Some(mut common) = prefixes.next() else { return String::new() };
    for prefix in prefixes {
        let same = common.char_indices().zip(prefix.chars()).take_while(|((_, a), b)| a == b);
        let end = same.last().map_or(0, |((at, letter), _)| at + letter.len_utf8());
        common = &common[..end];
    }
    common.to_owned()
}

/// What is known of the key whose versions pass.
#[derive(Default)]
struct Passing {
    key: Option<bytes::Bytes>,
    newer_noncurrent: u32,
}

impl Run<'_> {
    /// Ends a run that was stopped, and one whose share takes no changes any more or is served otherwise: whoever
    /// changes how it is served waits for those who use it.
    async fn checkpoint(&self) -> Result<(), ObjectError> {
        if self.job.is_cancelled() {
            return Err(ObjectError::SlowDown);
        }
        if self.is_dry {
            return self.objects.require_current(self.access);
        }
        self.objects.room(self.access, 0).await
    }

    /// A bucket of objects: everything that has a key, version by version.
    async fn versions(&mut self) -> Result<(), ObjectError> {
        let prefix = common_prefix(self.rules);
        let from = prefix.as_bytes().to_vec();
        let mut merge = Merge::new(self.access, from.clone(), from);
        let mut passing = Passing::default();
        let mut next = merge.next().await?;
        while let Some(version) = next {
            self.checkpoint().await?;
            next = merge.next().await?;
            let key = version.key().clone();
            if !key.starts_with(prefix.as_bytes()) {
                return Ok(());
            }
            let is_newest = passing.key.as_ref() != Some(&key);
            let is_alone = is_newest && next.as_ref().is_none_or(|next| *next.key() != key);
            if is_newest {
                passing = Passing { key: Some(key.clone()), newer_noncurrent: 0 };
            }
            if let Ok(text) = std::str::from_utf8(&key) {
                self.version(text, &version, (is_newest, is_alone), passing.newer_noncurrent).await?;
            }
            passing.newer_noncurrent += u32::from(!is_newest);
        }
        Ok(())
    }

    async fn version(
        &mut self,
        key: &str,
        version: &Next,
        (is_newest, is_alone): (bool, bool),
        newer_noncurrent: u32,
    ) -> Result<(), ObjectError> {
        self.report.looked_at += 1;
        self.job.advance(1);
        let mut beneath = None;
        let (held, made, replaced) = match version {
            Next::Leading(_, held) => (Some(&**held), None, None),
            Next::Beneath(_, found) => {
                let record = &found.record;
                if let Some(file) = record.inode {
                    beneath = self.access.reader().held(file).await.ok();
                }
                let times = [record.made, record.replaced].map(|time| Some(describe::time(time)));
                (beneath.as_ref(), times[0], times[1])
            }
        };
        let is_marker = matches!(version, Next::Beneath(_, found) if found.record.inode.is_none());
        if held.is_none() && !is_marker {
            return Ok(());
        }
        let flat = self.access.bucket.flat;
        let info = held.map(|held| describe::tagged(held, flat)).unwrap_or_default();
        let facts = Facts {
            size: info.size,
            modified: made.unwrap_or(info.modified),
            tags: &info.tags,
            is_newest,
            is_marker,
            is_alone,
            noncurrent_since: replaced.filter(|_| !is_newest),
            newer_noncurrent,
        };
        let action = evaluate(self.rules, key, &facts, self.access.keeps_versions(), self.now);
        match (action, held) {
            (LifecycleAction::Keep, _) | (LifecycleAction::Expire, None) => Ok(()),
            (LifecycleAction::Expire, Some(held)) => self.push(Due::Expire(key.to_owned(), seen(held))).await,
            (LifecycleAction::Remove, _) => {
                let Next::Beneath(_, found) = version else { return Ok(()) };
                let newer = newer_needed(self.rules, key, &facts, self.now);
                self.push(Due::Remove(key.to_owned(), found.which(), found.record.inode, newer)).await
            }
        }
    }

    /// A share: each file.
    async fn files(&mut self) -> Result<(), ObjectError> {
        let mut query =
            ListQuery { prefix: common_prefix(self.rules), limit: PAGE_ENTRIES_MAX, ..ListQuery::default() };
        loop {
            self.checkpoint().await?;
            let page = self.access.list_page_with_tags(&query).await?;
            for entry in &page.entries {
                let ListEntry::Object { key, info } = entry else { continue };
                self.report.looked_at += 1;
                self.job.advance(1);
                let facts = Facts {
                    size: info.size,
                    modified: info.modified,
                    tags: &info.tags,
                    is_newest: true,
                    is_marker: false,
                    is_alone: true,
                    noncurrent_since: None,
                    newer_noncurrent: 0,
                };
                if evaluate(self.rules, key, &facts, false, self.now) == LifecycleAction::Expire
                    && let Ok(held) = self.access.held(key).await
                {
                    // What was listed is decided on again: it may have changed since.
                    let info = describe::tagged(&held, false);
                    let facts = Facts { size: info.size, modified: info.modified, tags: &info.tags, ..facts };
                    if evaluate(self.rules, key, &facts, false, self.now) == LifecycleAction::Expire {
                        self.push(Due::Expire(key.clone(), seen(&held))).await?;
                    }
                }
            }
            query.after = page.entries.last().map(|entry| entry.name().to_owned());
            if !page.more {
                return Ok(());
            }
        }
    }

    async fn uploads(&mut self) -> Result<(), ObjectError> {
        let mut from = Vec::new();
        loop {
            self.checkpoint().await?;
            let found = self.access.reader().uploads(&from, SCAN).await?;
            let last = found.len() < SCAN;
            for upload in found {
                from = [&upload.key[..], &[0], &upload.number.0.to_be_bytes(), &[0]].concat();
                let Ok(key) = std::str::from_utf8(&upload.key).map(str::to_owned) else { continue };
                if aborts(self.rules, &key, describe::time(upload.record.begun), self.now) {
                    self.push(Due::Abort(key, Box::new(upload))).await?;
                }
            }
            if last {
                return Ok(());
            }
        }
    }

    async fn push(&mut self, due: Due) -> Result<(), ObjectError> {
        self.due.push(due);
        if self.due.len() < GROUP { Ok(()) } else { self.carry_out().await }
    }

    /// Carries out what was decided.
    async fn carry_out(&mut self) -> Result<(), ObjectError> {
        self.checkpoint().await?;
        let mut due = std::mem::take(&mut self.due);
        // What makes room comes first: a marker needs some.
        due.sort_by_key(|due| matches!(due, Due::Expire(..)));
        let (access, dry_run) = (self.access, self.is_dry);
        let changes = due.into_iter().map(|due| async move {
            let outcome = if dry_run { Ok(true) } else { access.carry_out(&due).await };
            (due, outcome)
        });
        let mut outcomes = futures::stream::iter(changes).buffered(AT_ONCE);
        while let Some((due, outcome)) = outcomes.next().await {
            match outcome {
                Ok(true) => self.report.count(due.step(), STEPS_MAX),
                // It was changed meanwhile.
                Ok(false)
                | Err(ObjectError::NoSuchKey | ObjectError::NoSuchUpload | ObjectError::Conflict) => {}
                Err(ObjectError::Locked) => self.report.locked += 1,
                Err(error @ (ObjectError::SlowDown | ObjectError::NoSuchBucket)) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "a lifecycle rule could not be carried out on an object");
                    self.report.failed += 1;
                }
            }
        }
        Ok(())
    }
}

/// What tells a file from another one, and from itself before a change.
fn seen(held: &Held) -> (InodeNumber, u64) {
    (held.node.number, held.node.inode.change)
}

impl Access {
    /// Whether it was done: not when something else stands there by now.
    async fn carry_out(&self, due: &Due) -> Result<bool, ObjectError> {
        match due {
            Due::Abort(_, upload) => self.namespace().drop_upload(upload).await.map(|()| true),
            Due::Remove(key, which, file, newer) => {
                let place = Place { directory: InodeNumber::ROOT, name: key.as_bytes(), flat: true };
                let how = Removal { which: *which, bypass: false, only_beneath: true, newer_needed: *newer };
                let is_it = |found: Found<'_>| {
                    let holds = match found {
                        Found::Object(held) => Some(held.node.number),
                        Found::Marker(_) | Found::Nothing => None,
                    };
                    if holds == *file { Ok(()) } else { Err(ObjectError::NoSuchKey) }
                };
                let removed = self.namespace().remove_version(&self.credentials, place, how, is_it).await?;
                Ok(removed.is_some())
            }
            Due::Expire(key, file) => {
                let is_it = |held: &Held| {
                    if seen(held) == *file { Ok(()) } else { Err(ObjectError::NoSuchKey) }
                };
                self.expire(key, is_it).await.map(|()| true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_protocols::objects::lifecycle::LifecycleFilter;

    use super::*;

    fn rule(prefix: &str, enabled: bool) -> LifecycleRule {
        let filter = LifecycleFilter { prefix: prefix.into(), ..LifecycleFilter::default() };
        LifecycleRule { filter, enabled, ..LifecycleRule::default() }
    }

    #[test]
    fn a_run_looks_only_at_what_its_rules_are_about() {
        let of = |prefixes: &[&str]| {
            common_prefix(&prefixes.iter().map(|prefix| rule(prefix, true)).collect::<Vec<_>>())
        };
        assert_eq!(of(&["logs/a", "logs/b"]), "logs/");
        assert_eq!(of(&["logs/", ""]), "");
        assert_eq!(of(&["ü1", "ü2"]), "ü");
        assert_eq!(of(&[]), "");
        assert_eq!(common_prefix(&[rule("a/b", true), rule("z", false)]), "a/b");
    }
}
