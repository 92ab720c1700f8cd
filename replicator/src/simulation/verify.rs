//! What must hold, looked at from outside: everything retained restores to what the model says, byte for byte; one line of
//! heads goes on; what was acknowledged is on it, or beside it where somebody else had begun to lead.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_chunker::ShareId;

use super::oracle::Publication;
use super::share::{Contents, block};
use super::site::Site;
use super::world::World;
use crate::check::{self, CheckOptions, Sample, check};
use crate::frozen::{DomainReader, Frozen, ReadError};
use crate::map::{InodeNumber, Source};
use crate::repository::{HeadName, HeadStanding, Opened, Repository};
use crate::tree::Root;

/// Everything that a site retains is whole.
pub(super) async fn is_whole(world: &World, site: &Site, when: &str) {
    let store = Arc::new(site.as_it_is().await);
    if Repository::locate(store.clone()).await.is_err() {
        return;
    }
    let repository = match Repository::open(store, &super::key()).await {
        Ok(repository) => Arc::new(repository),
        Err(error) => return world.violation(format!("{when}: {} does not open: {error}", site.name)),
    };
    let mut looks = Looks { world, site, when, repository, whole: BTreeMap::new() };
    for share in looks.repository.share_ids().await.expect("memory answers") {
        looks.share(share).await;
    }
}

struct Looks<'a> {
    world: &'a World,
    site: &'a Site,
    when: &'a str,
    repository: Arc<Repository<Opened>>,
    /// Roots that were read.
    whole: BTreeMap<[u8; 32], ()>,
}

impl Looks<'_> {
    async fn share(&mut self, share: ShareId) {
        let heads = match self.repository.list_heads(share, usize::MAX).await {
            Ok(heads) => heads,
            Err(error) => return self.broken(&format!("the heads of {share}"), &error.to_string()),
        };
        for listed in heads {
            let what = format!("head {} of {share} ({:?})", listed.name, listed.standing);
            match listed.standing {
                // What was passed may be gone; who made a fork may have known no plan.
                HeadStanding::Passed | HeadStanding::Fork | HeadStanding::Unclaimed => {}
                HeadStanding::Newest | HeadStanding::Ancestor | HeadStanding::Detached => match listed.head {
                    Ok(head) => self.root(&what, (share, listed.name), &head.root).await,
                    Err(error) => self.broken(&what, &error.to_string()),
                },
            }
        }
        for (id, snapshot) in self.repository.list_snapshots(share).await.expect("memory answers") {
            let what = format!("snapshot {id} of {share}");
            match snapshot {
                Ok(snapshot) => self.root(&what, (share, snapshot.head_name), &snapshot.head.root).await,
                Err(error) => self.broken(&what, &error.to_string()),
            }
        }
    }

    async fn root(&mut self, what: &str, of: (ShareId, HeadName), root: &Root) {
        let prepared = self.world.oracle.lock().prepared.get(&of).cloned();
        let Some(prepared) = prepared else { return self.broken(what, "nobody made it") };
        if self.whole.contains_key(root.id.as_bytes()) {
            return;
        }
        let domain = self.repository.default_domain();
        let reader = DomainReader::open(&self.repository, domain, 16 << 20).expect("keys are at hand");
        match compare(&reader.frozen(root), &prepared.contents).await {
            Ok(None) => drop(self.whole.insert(*root.id.as_bytes(), ())),
            Ok(Some(difference)) => self.broken(what, &difference),
            Err(error) => self.broken(what, &format!("{error:?}")),
        }
    }

    fn broken(&self, what: &str, why: &str) {
        self.world.violation(format!("{}: {what} on {}: {why}", self.when, self.site.name));
    }
}

/// Reads a frozen share, and holds it against the model; gives the first difference.
async fn compare(frozen: &Frozen, contents: &Contents) -> Result<Option<String>, ReadError> {
    let mut expected = contents.live.data();
    for (name, entry) in frozen.entries_after(InodeNumber::ROOT, None).await? {
        let name = String::from_utf8_lossy(&name).into_owned();
        let Some(blocks) = expected.remove(&name[..]) else { return Ok(Some(format!("{name} is too much"))) };
        let Some(inode) = frozen.inode(entry.inode).await? else {
            return Ok(Some(format!("{name} has no inode")));
        };
        let (mut bytes, mut extents) = (Vec::new(), frozen.extents(entry.inode).await?);
        while let Some(extent) = extents.next(inode.size).await? {
            if let Source::Chunk { chunk, .. } = &extent.source {
                bytes.extend_from_slice(&frozen.chunk(chunk).await?);
            }
        }
        if bytes != blocks.iter().flat_map(|number| block(*number)).collect::<Vec<u8>>() {
            return Ok(Some(format!("{name} has other bytes")));
        }
    }
    Ok(expected.keys().next().map(|name| format!("{name} is missing")))
}

/// The check of the repository finds nothing either.
pub(super) async fn is_clean(world: &World, site: &Site) {
    let store = Arc::new(site.as_it_is().await);
    let Ok(repository) = Repository::open(store, &super::key()).await else { return };
    let read_data = Some(Sample { per_million: Sample::ALL, seed: 0 });
    let options = CheckOptions { read_data, memory_bytes_max: 4 << 20, ..CheckOptions::default() };
    match check(&Arc::new(repository), &options, &check::Silent).await {
        Ok(report) if report.is_clean() => {}
        Ok(report) => world.violation(format!("a check of {} finds {:#?}", site.name, report.findings)),
        Err(error) => world.violation(format!("a check of {} fails: {error}", site.name)),
    }
}

/// One line of heads goes on for each share; what was acknowledged is on it or visible beside it.
pub(super) async fn lines_go_on(world: &World, sites: &[Arc<Site>]) {
    let mut newest: BTreeMap<ShareId, HeadName> = BTreeMap::new();
    for site in sites {
        let Ok(repository) = Repository::open(Arc::new(site.as_it_is().await), &super::key()).await else {
            continue;
        };
        for share in repository.share_ids().await.expect("memory answers") {
            if let Ok(Some(name)) = repository.newest_head_name(share).await {
                let best = newest.entry(share).or_insert(name);
                if name.is_newer_than(best) {
                    *best = name;
                }
            }
        }
    }
    let oracle = world.oracle.lock();
    let mut broken = Vec::new();
    for published in &oracle.published {
        let Some(newest) = newest.get(&published.share) else {
            broken.push(format!("{published:?} was acknowledged, and the share has no head"));
            continue;
        };
        if oracle.line(published.share, *newest).contains(&published.name) {
            continue;
        }
        let raced = oracle.claims.iter().any(|claim| {
            // Who serves a copy by itself, or takes the lead for lost, has what the copy has.
            let is_elsewhere = claim.site != published.site && !claim.loses_nothing;
            let is_above = claim.epoch > published.name.epoch;
            claim.share == published.share
                && ((is_above && claim.begun < published.at)
                    || (is_elsewhere && claim.epoch >= published.name.epoch))
        });
        if !raced {
            broken.push(format!("{published:?} was acknowledged, and {newest} does not descend from it"));
        }
        // It, or what came after it in its own line.
        let is_seen = |later: &Publication| {
            let object = later.name.object(later.share);
            later.share == published.share
                && oracle.line(later.share, later.name).contains(&published.name)
                && sites.iter().any(|site| site.has(&object))
        };
        if !oracle.published.iter().rev().any(is_seen) {
            broken.push(format!("{published:?} was acknowledged, is a fork, and is not to be seen"));
        }
    }
    for (share, id) in oracle.kept.difference(&oracle.removed) {
        if !sites.iter().any(|site| site.has(&id.object(*share))) {
            broken.push(format!("snapshot {id} of {share} was kept, and is gone"));
        }
    }
    drop(oracle);
    for text in broken {
        world.violation(text);
    }
}
