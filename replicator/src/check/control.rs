//! The small objects: key slots, domains, leases, heads, snapshots, heartbeats; and what roots they name.

use std::collections::BTreeSet;

use tidegate_chunker::{DomainId, ShareId};

use super::finding::Finding;
use super::run::{CheckError, Run};
use crate::repository::{Head, HeadName, ListedHeartbeat, RepositoryError};
use crate::tree::Root;

/// A root that a head or a snapshot keeps.
#[derive(Clone, Debug)]
pub(super) struct KeptRoot {
    pub(super) share: String,
    /// `head NAME` or `snapshot ID`.
    pub(super) moment: String,
    /// The object that keeps it.
    pub(super) object: String,
    pub(super) domain: DomainId,
    pub(super) root: Root,
}

/// An error that says nothing about the object.
pub(super) type Away = RepositoryError;

impl Run<'_> {
    pub(super) async fn slots_and_domains(&mut self) -> Result<(), Away> {
        for (id, slot) in self.repository.slots().await? {
            self.report.counts.slots += 1;
            if let Err(error) = slot {
                self.report.add(Finding::of_error(format!("keys/{id}"), &error));
            }
        }
        self.repository.reload_domains().await.or_else(|error| self.note("domains/", None, error))?;
        for error in self.repository.unreadable_domains() {
            self.report.add(Finding::damage(error.object.clone(), error.why.clone()));
        }
        self.report.counts.domains = self.repository.domains().len() as u64;
        Ok(())
    }

    /// Reads all heartbeats. No data hangs on one, so one that cannot be read is a notice.
    pub(super) async fn heartbeats(&mut self) -> Result<(), Away> {
        let listed = match self.repository.heartbeats().await {
            Ok(listed) => listed,
            Err(error) => return self.note("heartbeats/", None, error),
        };
        for ListedHeartbeat { instance, name, .. } in listed {
            self.report.counts.heartbeats += 1;
            match self.repository.read_heartbeat(instance, &name).await {
                // Gone since it was listed: a newer one has taken its place.
                Ok(_) | Err(RepositoryError::Missing { .. }) => {}
                Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                    return Err(error);
                }
                Err(error) => {
                    let object = name.object(instance).to_string();
                    self.report.add(Finding::notice(object, format!("a heartbeat cannot be read: {error}")));
                }
            }
        }
        Ok(())
    }

    /// All roots of the shares that were asked for, the newest of each share first.
    pub(super) async fn roots(&mut self) -> Result<Vec<KeptRoot>, CheckError> {
        let mut roots = Vec::new();
        let mut found = BTreeSet::new();
        for share in self.repository.share_ids().await? {
            let first = roots.len();
            let name = self.share(share, &mut roots).await?;
            let wanted = self.options.shares.is_empty()
                || self.options.shares.iter().any(|wanted| *wanted == name || *wanted == share.to_string());
            if wanted {
                self.report.counts.shares += 1;
                found.extend([name, share.to_string()]);
            } else {
                roots.truncate(first);
            }
        }
        for wanted in &self.options.shares {
            if !found.contains(wanted) {
                return Err(CheckError::NoShare { share: wanted.clone() });
            }
        }
        Ok(roots)
    }

    /// Reads everything that there is of one share; answers its name, or else its id.
    async fn share(&mut self, share: ShareId, roots: &mut Vec<KeptRoot>) -> Result<String, Away> {
        let mut name = share.to_string();
        let heads = self.heads(share, roots, &mut name).await?;
        self.snapshots(share, roots, &mut name).await?;
        for root in roots.iter_mut().filter(|root| root.share == share.to_string()) {
            root.share.clone_from(&name);
        }
        for (object, error) in self.repository.check_claims(share).await? {
            self.report.add(Finding::of_error(object, &error).in_share(&name));
        }
        if heads > 0
            && let Err(error) = self.repository.newest_head_name(share).await
        {
            self.note(format!("leases/{share}/"), Some(&name), error)?;
        }
        Ok(name)
    }

    /// Reads all heads, newest first; those on the line keep roots.
    async fn heads(
        &mut self,
        share: ShareId,
        roots: &mut Vec<KeptRoot>,
        name: &mut String,
    ) -> Result<usize, Away> {
        let folder = format!("heads/{share}/");
        let names = match self.repository.head_names(share).await {
            Ok(names) => names,
            Err(error) => {
                self.note(folder, Some(name), error)?;
                return Ok(0);
            }
        };
        let newest = self.repository.newest_head_name(share).await.ok().flatten();
        let mut next = newest;
        let count = names.len();
        for head_name in names {
            self.report.counts.heads += 1;
            let head = match self.repository.read_head(share, &head_name).await {
                Ok(head) => head,
                Err(error) => {
                    // What lies below an unreadable head of the line is looked at as if it were on it.
                    if next == Some(head_name) {
                        next = None;
                    }
                    // Gone since it was listed: somebody removed it.
                    if matches!(error, RepositoryError::Missing { .. }) {
                        continue;
                    }
                    self.note(head_name.object(share).as_str(), Some(name), error)?;
                    continue;
                }
            };
            let on_line = next.is_none_or(|next| next == head_name);
            if on_line {
                if Some(head_name) == newest || *name == share.to_string() {
                    name.clone_from(&head.share.name);
                }
                next = head.parent;
                roots.push(kept_by_head(share, head_name, &head));
            }
        }
        Ok(count)
    }

    async fn snapshots(
        &mut self,
        share: ShareId,
        roots: &mut Vec<KeptRoot>,
        name: &mut String,
    ) -> Result<(), Away> {
        let ids = match self.repository.snapshot_ids(share).await {
            Ok(ids) => ids,
            Err(error) => return self.note(format!("snapshots/{share}/"), Some(name), error),
        };
        for id in ids.into_iter().rev() {
            self.report.counts.snapshots += 1;
            let object = id.object(share).to_string();
            match self.repository.read_snapshot(share, id).await {
                Ok(snapshot) => {
                    if *name == share.to_string() {
                        name.clone_from(&snapshot.head.share.name);
                    }
                    let (domain, root) = (snapshot.head.share.domain, snapshot.head.root);
                    let moment = format!("snapshot {id}");
                    roots.push(KeptRoot { share: share.to_string(), moment, object, domain, root });
                }
                Err(RepositoryError::Missing { .. }) => {}
                Err(error) => self.note(object, Some(name), error)?,
            }
        }
        Ok(())
    }

    /// A finding, unless the error says nothing about the object.
    pub(super) fn note(
        &mut self,
        object: impl Into<String>,
        share: Option<&str>,
        error: RepositoryError,
    ) -> Result<(), Away> {
        if matches!(error, RepositoryError::Store(_) | RepositoryError::Local { .. }) {
            return Err(error);
        }
        let mut finding = Finding::of_error(object, &error);
        finding.share = share.map(str::to_owned);
        self.report.add(finding);
        Ok(())
    }
}

fn kept_by_head(share: ShareId, name: HeadName, head: &Head) -> KeptRoot {
    KeptRoot {
        share: share.to_string(),
        moment: format!("head {name}"),
        object: name.object(share).to_string(),
        domain: head.share.domain,
        root: head.root,
    }
}
