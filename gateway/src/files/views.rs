//! The views of a share: which state of it a handle leads to.
//!
//! * *live*: what clients change;
//! * *the moments of a directory*, `.snapshot` in it: one name for each retained head or snapshot;
//! * *a moment*: the share as it was, read-only. A name in `.snapshot` leads to the same directory (the
//!   same inode) as it was then.
//!
//! `.snapshot` stands in every live directory and in no listing of one, also where a file has that name. It costs
//! nothing to be there: it is the directory's own inode, seen through another view. Each view has its own file system
//! number.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_protocols::view::{Attributes, DirectoryEntry, DirectoryPage, FileKind, FsError, Handle, Time};
use tidegate_replicator::map::{Kind, Timestamp};

use super::moments::Moment;
use super::{Admitted, FileHandle, Served, convert};
use crate::namespace::data::read_ahead;
use crate::namespace::{Credentials, EXECUTE, Listed, ListedEntry, Node, Reader};

/// The name of the moments in each directory.
pub(super) const MOMENTS_NAME: &[u8] = b".snapshot";
/// Read and search, for everybody: who may search the directory itself is asked first.
const MOMENTS_MODE: u32 = 0o555;
/// Spreads numbers of views over numbers of file systems (the golden ratio, made odd).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// See the head of this module.
#[derive(Clone)]
pub(super) enum View {
    Live,
    Moments,
    Moment(Arc<Moment>),
}

impl View {
    fn number(&self) -> u64 {
        match self {
            Self::Live => FileHandle::LIVE,
            Self::Moments => FileHandle::MOMENTS,
            Self::Moment(moment) => moment.view,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self, Self::Live)
    }

    /// Questions about files of this view; the moments of a directory are a view of the live one.
    pub(super) fn reader<'a>(&'a self, served: &'a Served) -> Reader<'a> {
        match self {
            Self::Live | Self::Moments => served.namespace.reader(),
            Self::Moment(moment) => Reader { map: &moment.map },
        }
    }
}

impl Served {
    /// The view of a number that a handle names. Where the export shows no retained states, no handle leads to one, however
    /// old it is.
    pub(super) async fn view(&self, number: u64) -> Result<View, FsError> {
        if number != FileHandle::LIVE && !self.rules.snapshot_folder {
            return Err(FsError::Stale);
        }
        match number {
            FileHandle::LIVE => Ok(View::Live),
            FileHandle::MOMENTS => Ok(View::Moments),
            number => {
                if let Some(moment) = self.moments.seen().of_view(number) {
                    return Ok(View::Moment(moment.clone()));
                }
                // Of before a restart, say.
                let list = self.moments.list().await?;
                list.of_view(number).cloned().map(View::Moment).ok_or(FsError::Stale)
            }
        }
    }

    pub(super) fn handle(&self, view: &View, node: &Node) -> Handle {
        let handle = FileHandle {
            share: self.namespace.share().id(),
            view: view.number(),
            inode: node.number,
            generation: node.inode.generation,
        };
        handle.encode(&self.handle_key)
    }

    pub(super) fn attributes(&self, view: &View, node: &Node) -> Attributes {
        let fsid = self.fsid() ^ view.number().wrapping_mul(SPREAD);
        let attributes = convert::attributes(node, fsid);
        if !matches!(view, View::Moments) {
            return attributes;
        }
        let list = self.moments.seen();
        let time = |at: Timestamp| Time { seconds: at.seconds, nanos: at.nanos };
        let changed = list.newest().map_or(attributes.born, time);
        Attributes {
            mode: MOMENTS_MODE,
            links: 2,
            size: 4096,
            used: 0,
            change: list.len() as u64,
            modified: changed,
            changed,
            ..attributes
        }
    }

    /// Follows a name of a directory; gives the view and the file that it leads to.
    pub(super) async fn find(
        &self,
        view: &View,
        directory: &Node,
        name: &[u8],
        credentials: &Credentials,
    ) -> Result<(View, Node), FsError> {
        match view {
            View::Live if self.is_moments(view, name) && directory.inode.kind == Kind::Directory => {
                credentials.require(&directory.inode, EXECUTE)?;
                Ok((View::Moments, directory.clone()))
            }
            View::Live => {
                let node = self.namespace.lookup(directory, name, credentials).await?;
                Ok((View::Live, node))
            }
            View::Moment(_) => {
                let node = view.reader(self).lookup(directory, name, credentials).await?;
                Ok((view.clone(), node))
            }
            View::Moments => match name {
                b"." => Ok((View::Moments, directory.clone())),
                b".." => Ok((View::Live, directory.clone())),
                name => {
                    credentials.require(&directory.inode, EXECUTE)?;
                    let list = self.moments.list().await?;
                    let moment = list.named(name).cloned().ok_or(FsError::NotFound)?;
                    self.as_it_was(moment, directory).await
                }
            },
        }
    }

    /// A live directory as it was at a moment.
    async fn as_it_was(&self, moment: Arc<Moment>, directory: &Node) -> Result<(View, Node), FsError> {
        let view = View::Moment(moment);
        let node = match view.reader(self).node(directory.number).await {
            Err(FsError::Stale) => Err(FsError::NotFound),
            node => node,
        }?;
        // A number is never used twice; but what a client may see hangs on it, so this is looked at.
        let same = node.inode.generation == directory.inode.generation && node.inode.kind == Kind::Directory;
        if same { Ok((view, node)) } else { Err(FsError::NotFound) }
    }

    /// Whether a name of a directory is that of its moments.
    pub(super) fn is_moments(&self, view: &View, name: &[u8]) -> bool {
        view.is_live() && self.rules.snapshot_folder && name == MOMENTS_NAME
    }
}

impl Admitted {
    /// Questions about files of the call's view.
    pub(super) fn reader(&self) -> Reader<'_> {
        self.view.reader(&self.served)
    }

    pub(super) fn handle(&self, node: &Node) -> Handle {
        self.served.handle(&self.view, node)
    }

    pub(super) fn attributes(&self, node: &Node) -> Attributes {
        self.served.attributes(&self.view, node)
    }

    /// Takes note of a read of the call's file: see [`read_ahead`].
    pub(super) fn read_ahead(&self, range: &Range<u64>) {
        let frozen = match &self.view {
            View::Live | View::Moments => None,
            View::Moment(moment) => Some((moment.view, moment.map.clone())),
        };
        read_ahead(self.served.namespace.share(), frozen, self.node.number, range);
    }

    /// Refuses to give a file the name of the moments.
    pub(super) fn refuse_new(&self, name: &[u8]) -> Result<(), FsError> {
        if self.served.is_moments(&self.view, name) { Err(FsError::Exists) } else { Ok(()) }
    }

    /// Refuses to take the name of the moments away.
    pub(super) fn refuse_taken(&self, name: &[u8]) -> Result<(), FsError> {
        if self.served.is_moments(&self.view, name) { Err(FsError::Access) } else { Ok(()) }
    }

    /// A page of the call's directory. What has the name of the moments is left out: nobody can look it up.
    pub(super) async fn list(&self, cookie: u64, limit: usize) -> Result<Listed, FsError> {
        let reader = self.reader();
        let mut listed = reader.list(&self.node, cookie, limit).await?;
        let is_hidden = |entry: &ListedEntry| self.served.is_moments(&self.view, &entry.name);
        if let Some(place) = listed.entries.iter().position(is_hidden) {
            let hidden = listed.entries.remove(place);
            // After an empty page that is not the last a client would ask for the same one for ever.
            if listed.entries.is_empty() && !listed.end {
                return reader.list(&self.node, hidden.cookie, limit).await;
            }
        }
        Ok(listed)
    }

    /// A page of the moments of a directory: those since it was made.
    pub(super) async fn list_moments(&self, cookie: u64, limit: usize) -> Result<DirectoryPage, FsError> {
        let list = self.served.moments.list().await?;
        let entry = |cookie, name| DirectoryEntry { file_id: self.node.number.0, name, cookie, object: None };
        let dots = [(1, Bytes::from_static(b".")), (2, Bytes::from_static(b".."))];
        let dots = dots.into_iter().filter(|(dot, _)| *dot > cookie);
        let born = self.node.inode.times.born;
        let moments = list.after(cookie.max(2)).filter(|moment| moment.frozen_at >= born);
        let moments = moments.map(|moment| (moment.view, moment.name.clone()));
        let mut all = dots.chain(moments).map(|(cookie, name)| entry(cookie, name));
        let entries: Vec<_> = all.by_ref().take(limit).collect();
        let end = all.next().is_none();
        let directory = self.attributes(&self.node);
        debug_assert_eq!(directory.kind, FileKind::Directory);
        Ok(DirectoryPage { entries, end, verifier: [0; 8], directory })
    }
}
