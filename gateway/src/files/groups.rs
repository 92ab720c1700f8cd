//! Groups of users as this machine knows them.
//!
//! A call can carry sixteen groups; people are in more. When the settings say so, the groups of a call
//! are replaced by those that the name service of this machine (its files, LDAP, whatever it asks) has
//! for the user. The primary group stays that of the call. A user who is not known here, or whom
//! nobody could be asked about in time, keeps the groups of the call.
//!
//! The name service is asked by a program of the system, `id`: it may hang, crash or leak without harm to
//! this process, and can be ended.
//!
//! Bounds: [`USERS_MAX`] users are remembered with [`GROUPS_MAX`] groups each, for [`FOUND_FOR`]; that
//! one was not found, for [`MISSED_FOR`]. The user who came first is forgotten first. Calls of one user
//! share one look-up; [`LOOK_UPS_MAX`] run at a time; a call waits [`LOOK_UP_TIME_MAX`] for one, which is
//! then ended.

use std::collections::{HashMap, VecDeque};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::process::Command;
use tokio::sync::{OnceCell, Semaphore};

/// The most users whose groups are remembered.
const USERS_MAX: usize = 4096;
/// The most groups of one user; a Windows domain gives at most 1,015.
const GROUPS_MAX: usize = 4096;
/// How long the groups of a user are remembered.
const FOUND_FOR: Duration = Duration::from_mins(10);
/// How long it is remembered that a user was not found.
const MISSED_FOR: Duration = Duration::from_mins(1);
/// The most look-ups under way.
const LOOK_UPS_MAX: usize = 8;
/// How long a call waits for a look-up.
const LOOK_UP_TIME_MAX: Duration = Duration::from_secs(5);

/// Where `id` is on Debian, and wherever else /bin is a part of /usr.
const ID: &str = "/usr/bin/id";

/// Who knows the groups of users.
#[async_trait]
pub trait GroupSource: Send + Sync + 'static {
    /// All groups of a user; none when there is no such user, or nobody can be asked. Ends when it is
    /// dropped.
    async fn groups_of(&self, uid: u32) -> Option<Vec<u32>>;
}

/// The name service of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemGroups;

#[async_trait]
impl GroupSource for SystemGroups {
    async fn groups_of(&self, uid: u32) -> Option<Vec<u32>> {
        // The sign keeps a user whose name is a number from being taken for the one of that number.
        let mut id = Command::new(ID);
        id.args(["-G", &format!("+{uid}")]).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        let asked = id.output().await.inspect_err(|error| {
            tracing::warn!(%error, program = ID, "groups cannot be looked up; those of the calls stand");
        });
        let asked = asked.ok().filter(|asked| asked.status.success())?;
        let groups = String::from_utf8(asked.stdout).ok()?;
        groups.split_whitespace().map(|gid| gid.parse().ok()).collect()
    }
}

/// See the head of this module.
pub struct Groups {
    source: Arc<dyn GroupSource>,
    known: Mutex<Known>,
    look_ups: Semaphore,
    patience: Duration,
}

/// What is known of a user, once it is.
type Found = Option<Arc<[u32]>>;

#[derive(Default)]
struct Known {
    users: HashMap<u32, Entry>,
    /// Each user once, the first first.
    order: VecDeque<u32>,
}

struct Entry {
    groups: Arc<OnceCell<Found>>,
    since: Instant,
}

impl Groups {
    /// Asks `source`, and remembers.
    pub fn new(source: Arc<dyn GroupSource>) -> Self {
        let look_ups = Semaphore::new(LOOK_UPS_MAX);
        Self { source, known: Mutex::default(), look_ups, patience: LOOK_UP_TIME_MAX }
    }

    /// The groups of a user, if they are known or can be found out in time.
    pub async fn of(&self, uid: u32) -> Option<Arc<[u32]>> {
        let groups = self.known.lock().user(uid, Instant::now());
        groups.get_or_init(|| self.look_up(uid)).await.clone()
    }

    async fn look_up(&self, uid: u32) -> Found {
        let asked = async {
            let _turn = self.look_ups.acquire().await.ok()?;
            self.source.groups_of(uid).await
        };
        let Ok(found) = tokio::time::timeout(self.patience, asked).await else {
            tracing::warn!(uid, "the groups of a user were not found out in time; those of his calls stand");
            return None;
        };
        let mut groups = found?;
        if groups.len() > GROUPS_MAX {
            tracing::warn!(uid, most = GROUPS_MAX, "a user is in more groups than are looked at");
            groups.truncate(GROUPS_MAX);
        }
        Some(groups.into())
    }
}

impl Entry {
    fn is_old(&self, now: Instant) -> bool {
        let kept_for = match self.groups.get() {
            Some(Some(_)) => FOUND_FOR,
            Some(None) => MISSED_FOR,
            None => return false,
        };
        now.duration_since(self.since) >= kept_for
    }
}

impl Known {
    /// What is known of a user, or will be.
    fn user(&mut self, uid: u32, now: Instant) -> Arc<OnceCell<Found>> {
        if let Some(entry) = self.users.get_mut(&uid) {
            if entry.is_old(now) {
                *entry = Entry { groups: Arc::default(), since: now };
            }
            return Arc::clone(&entry.groups);
        }
        if self.order.len() >= USERS_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.users.remove(&first);
        }
        self.order.push_back(uid);
        let entry = self.users.entry(uid).or_insert(Entry { groups: Arc::default(), since: now });
        Arc::clone(&entry.groups)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    /// Knows users below 100, who are in the groups 1 to their id; counts how often it was asked, and how
    /// many questions it has at a time.
    #[derive(Default)]
    struct Fake {
        asked: AtomicUsize,
        inside: AtomicUsize,
        inside_most: AtomicUsize,
        hangs: AtomicBool,
    }

    struct Inside<'a>(&'a AtomicUsize);

    impl Drop for Inside<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[async_trait]
    impl GroupSource for Fake {
        async fn groups_of(&self, uid: u32) -> Option<Vec<u32>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.inside_most.fetch_max(self.inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _inside = Inside(&self.inside);
            if self.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            tokio::task::yield_now().await;
            (uid < 100).then(|| (1..=uid).collect())
        }
    }

    fn groups() -> (Arc<Fake>, Groups) {
        let fake = Arc::new(Fake::default());
        (fake.clone(), Groups::new(fake))
    }

    fn initialised(found: Found) -> Arc<OnceCell<Found>> {
        Arc::new(OnceCell::new_with(Some(found)))
    }

    #[tokio::test]
    async fn a_user_is_looked_up_once_and_so_is_one_who_is_not_known() {
        let (fake, groups) = groups();
        for _ in 0..3 {
            assert_eq!(groups.of(20).await, Some((1..=20).collect()));
            assert_eq!(groups.of(100).await, None);
        }
        assert_eq!(fake.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn calls_of_one_user_share_a_look_up() {
        let (fake, groups) = groups();
        let all = futures::future::join_all((0..50).map(|_| groups.of(7))).await;
        assert!(all.iter().all(Option::is_some));
        assert_eq!(fake.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_name_service_that_hangs_costs_its_callers_a_bounded_time_and_is_let_go() {
        let (fake, mut groups) = groups();
        groups.patience = Duration::from_millis(50);
        fake.hangs.store(true, Ordering::SeqCst);
        let users = 0..3 * LOOK_UPS_MAX as u32;
        let all = futures::future::join_all(users.map(|uid| groups.of(uid))).await;
        assert!(all.iter().all(Option::is_none), "nobody was told groups");
        assert_eq!(fake.inside_most.load(Ordering::SeqCst), LOOK_UPS_MAX);
        assert_eq!(fake.inside.load(Ordering::SeqCst), 0, "no question is left behind");
        let asked = fake.asked.load(Ordering::SeqCst);
        assert_eq!(groups.of(0).await, None);
        assert_eq!(fake.asked.load(Ordering::SeqCst), asked, "it is not asked again at once");
        fake.hangs.store(false, Ordering::SeqCst);
        assert!(groups.of(99).await.is_some(), "others are looked up as soon as it answers");
    }

    #[test]
    fn what_is_known_is_asked_anew_after_its_time() {
        let (mut known, now) = (Known::default(), Instant::now());
        for (uid, found, kept_for) in [(1, Some([5].into()), FOUND_FOR), (2, None, MISSED_FOR)] {
            known.user(uid, now);
            known.users.insert(uid, Entry { groups: initialised(found), since: now });
            let just_before = now + (kept_for.saturating_sub(Duration::from_millis(1)));
            assert!(known.user(uid, just_before).initialized(), "user {uid} is known yet");
            assert!(!known.user(uid, now + kept_for).initialized(), "user {uid} is asked about again");
        }
    }

    #[test]
    fn users_are_bounded_and_the_first_is_forgotten_first() {
        let (mut known, now) = (Known::default(), Instant::now());
        for uid in 0..=USERS_MAX as u32 {
            known.user(uid, now);
        }
        assert_eq!((known.users.len(), known.order.len()), (USERS_MAX, USERS_MAX));
        assert!(!known.users.contains_key(&0) && known.users.contains_key(&1));
    }

    #[tokio::test]
    async fn the_name_service_of_this_machine_knows_root_and_not_everybody() {
        assert!(SystemGroups.groups_of(0).await.is_some_and(|groups| groups.contains(&0)));
        assert_eq!(SystemGroups.groups_of(u32::MAX - 7).await, None);
    }
}
