//! A store of a simulation: what is there, what was there, and the rule that nothing is ever overwritten by anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;

use super::world::World;
use crate::store::{
    Body, ErrorKind, LIST_LIMIT_MAX, ListPage, MemoryStore, ObjectInfo, ObjectName, PutMode, Store,
    StoreError,
};

#[derive(Clone, Debug)]
struct Object {
    bytes: Bytes,
    modified: SystemTime,
    /// Spoiled from outside: it may be put right.
    spoiled: bool,
}

/// See the head of this module.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) name: &'static str,
    pub(super) number: usize,
    /// Whether names are given to one only. Where not, a put that asks for that overwrites.
    pub(super) create_new: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<ObjectName, Object>,
    /// Every change, with what was there before.
    changes: Vec<(ObjectName, Option<Object>)>,
}

impl State {
    fn set(&mut self, name: &ObjectName, object: Option<Object>) {
        let before = match object {
            Some(object) => self.objects.insert(name.clone(), object),
            None => self.objects.remove(name),
        };
        self.changes.push((name.clone(), before));
    }
}

pub(super) fn missing(name: &ObjectName) -> StoreError {
    StoreError::new(ErrorKind::Missing, format!("find {name}"))
}

impl Site {
    pub(super) fn new(number: usize, name: &'static str, create_new: bool) -> Self {
        Self { name, number, create_new, state: Mutex::default() }
    }

    /// How many changes there have been.
    pub(super) fn version(&self) -> usize {
        self.state.lock().changes.len()
    }

    pub(super) fn put(
        &self,
        world: &World,
        name: &ObjectName,
        bytes: Bytes,
        mode: PutMode,
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if let Some(there) = state.objects.get(name) {
            if mode == PutMode::CreateNew && self.create_new {
                return Err(StoreError::new(ErrorKind::Exists, format!("create {name}")));
            }
            // Each of two gateways that carry out one plan says how it ended.
            let is_outcome = name.as_str().starts_with("plans/") && name.as_str().ends_with("-done");
            if there.bytes != bytes && !there.spoiled && !is_outcome {
                world.violation(format!("{name} on {} was overwritten", self.name));
            }
        }
        let modified = UNIX_EPOCH + Duration::from_nanos(world.now().as_nanos() as u64);
        state.set(name, Some(Object { bytes, modified, spoiled: false }));
        Ok(())
    }

    pub(super) fn delete(&self, name: &ObjectName) {
        let mut state = self.state.lock();
        if state.objects.contains_key(name) {
            state.set(name, None);
        }
    }

    pub(super) fn bytes(&self, name: &ObjectName) -> Result<Bytes, StoreError> {
        self.state.lock().objects.get(name).map(|object| object.bytes.clone()).ok_or_else(|| missing(name))
    }

    pub(super) fn info(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        let state = self.state.lock();
        let object = state.objects.get(name).ok_or_else(|| missing(name))?;
        let bytes = object.bytes.len() as u64;
        Ok(ObjectInfo { name: name.clone(), bytes, modified: object.modified, class: None })
    }

    pub(super) fn has(&self, name: &ObjectName) -> bool {
        self.state.lock().objects.contains_key(name)
    }

    /// The names below a prefix.
    pub(super) fn names(&self, prefix: &str) -> Vec<ObjectName> {
        self.state.lock().objects.keys().filter(|name| name.as_str().starts_with(prefix)).cloned().collect()
    }

    /// Flips a bit.
    pub(super) fn spoil(&self, name: &ObjectName, at: usize) {
        let mut state = self.state.lock();
        let Some(object) = state.objects.get(name).cloned() else { return };
        let mut bytes = object.bytes.to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 4;
        state.set(name, Some(Object { bytes: bytes.into(), spoiled: true, ..object }));
    }

    /// A page of a listing that was begun at version `since`: of what has changed since, each object as it was at
    /// some moment in between.
    pub(super) fn list(
        &self,
        world: &World,
        since: usize,
        (prefix, after, limit): (&str, Option<&ObjectName>, usize),
    ) -> ListPage {
        let state = self.state.lock();
        let wanted =
            |name: &ObjectName| name.as_str().starts_with(prefix) && after.is_none_or(|after| name > after);
        let mut seen: BTreeMap<&ObjectName, Vec<Option<&Object>>> = BTreeMap::new();
        for (name, before) in state.changes[since..].iter().filter(|(name, _)| wanted(name)) {
            seen.entry(name).or_default().push(before.as_ref());
        }
        let mut shown: BTreeMap<&ObjectName, &Object> =
            state.objects.iter().filter(|(name, _)| wanted(name)).collect();
        for (name, mut moments) in seen {
            moments.push(state.objects.get(name));
            let moment = world.below(moments.len() as u64) as usize;
            match moments[moment] {
                Some(object) => drop(shown.insert(name, object)),
                None => drop(shown.remove(name)),
            }
        }
        let limit = limit.clamp(1, LIST_LIMIT_MAX);
        let more = shown.len() > limit;
        let info = |(name, object): (&ObjectName, &Object)| ObjectInfo {
            name: name.clone(),
            bytes: object.bytes.len() as u64,
            modified: object.modified,
            class: None,
        };
        ListPage { objects: shown.into_iter().take(limit).map(info).collect(), more }
    }

    pub(super) fn folders(&self, prefix: &str) -> Vec<String> {
        let state = self.state.lock();
        let below =
            state.objects.keys().filter_map(|name| name.as_str().strip_prefix(prefix)?.split_once('/'));
        let folders: BTreeSet<&str> = below.map(|(folder, _)| folder).collect();
        folders.into_iter().map(str::to_owned).collect()
    }

    /// Everything as it is now, in a store that answers at once.
    pub(super) async fn as_it_is(&self) -> MemoryStore {
        let objects = self.state.lock().objects.clone();
        let store = MemoryStore::new();
        for (name, object) in objects {
            store.put(&name, Body::Bytes(object.bytes), PutMode::Overwrite).await.expect("memory takes it");
        }
        store
    }
}
