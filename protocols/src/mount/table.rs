//! What clients say that they have mounted.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;

use bytes::Bytes;
use parking_lot::Mutex;

/// The most mounts remembered; the oldest is forgotten first.
const MOUNTS_MAX: usize = 1024;

type Entry = (IpAddr, Bytes);

/// The list of mounts.
#[derive(Default)]
pub(super) struct MountTable {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    known: HashSet<Entry>,
    order: VecDeque<Entry>,
}

impl MountTable {
    /// A client mounted a path.
    pub(super) fn add(&self, client: IpAddr, path: Bytes) {
        let mut entries = self.entries.lock();
        if !entries.known.insert((client, path.clone())) {
            return;
        }
        entries.order.push_back((client, path));
        if entries.order.len() > MOUNTS_MAX
            && let Some(oldest) = entries.order.pop_front()
        {
            entries.known.remove(&oldest);
        }
    }

    /// A client unmounted a path.
    pub(super) fn remove(&self, client: IpAddr, path: &Bytes) {
        self.entries.lock().retain(|entry| entry.0 != client || entry.1 != path);
    }

    /// A client unmounted everything.
    pub(super) fn remove_all(&self, client: IpAddr) {
        self.entries.lock().retain(|entry| entry.0 != client);
    }

    /// All mounts, oldest first.
    pub(super) fn all(&self) -> Vec<Entry> {
        self.entries.lock().order.iter().cloned().collect()
    }
}

impl Entries {
    fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        self.known.retain(&keep);
        self.order.retain(&keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    #[test]
    fn a_mount_is_listed_once_until_it_is_undone() {
        let table = MountTable::default();
        for _ in 0..2 {
            table.add(client(1), Bytes::from_static(b"/a"));
        }
        table.add(client(1), Bytes::from_static(b"/b"));
        table.add(client(2), Bytes::from_static(b"/a"));
        table.remove(client(1), &Bytes::from_static(b"/a"));
        assert_eq!(table.all().len(), 2);
        table.remove_all(client(1));
        assert_eq!(table.all(), [(client(2), Bytes::from_static(b"/a"))]);
    }

    #[test]
    fn the_list_is_bounded() {
        let table = MountTable::default();
        (0..MOUNTS_MAX * 2).for_each(|number| table.add(client(1), Bytes::from(number.to_string())));
        assert_eq!(table.all().len(), MOUNTS_MAX);
        assert_eq!(table.entries.lock().known.len(), MOUNTS_MAX);
    }
}
