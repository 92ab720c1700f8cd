//! One provider, and the keys that are known of it.
//!
//! Keys are fetched when the first token comes, when a token names one that is not known (the provider may have new ones), and
//! beside a call when what is known is older than [`FRESH_FOR`]. One fetch at a time, of which all who wait have the outcome,
//! and which ends as it ends though they hang up; at most [`FETCHES_PER_MINUTE`], whoever asks. So nobody has this machine
//! flood a provider, keeps others from newer keys, or waits long for a provider that is away. What is known counts for
//! [`KEYS_AGE_MAX`] without it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jsonwebtoken::DecodingKey;
use parking_lot::RwLock;
use tokio::time::Instant;

use super::Denied;
use super::keys::{KeySet, Wanted};
use crate::admin::access::Limit;

/// How often keys are fetched at the most.
const FETCHES_PER_MINUTE: u32 = 4;
/// How old keys are that are fetched again.
const FRESH_FOR: Duration = Duration::from_hours(1);
/// How long keys at hand are used before a provider that was away is asked again beside a call.
const AWAY_FOR: Duration = Duration::from_mins(1);
/// How old keys may become.
const KEYS_AGE_MAX: Duration = Duration::from_hours(24);

/// Where keys come from.
#[async_trait]
pub(super) trait Source: Send + Sync + 'static {
    /// What the settings call it.
    fn name(&self) -> &str;

    /// Its keys, as it says now, within a bound of time; an error says why they cannot be had.
    async fn keys(&self) -> Result<KeySet, String>;
}

/// See the head of this module.
pub(super) struct Provider<S> {
    source: S,
    known: RwLock<Option<Arc<Known>>>,
    /// Held through a fetch: when the last of those that failed ended.
    failed: tokio::sync::Mutex<Option<Instant>>,
    fetches: Limit<()>,
}

struct Known {
    keys: KeySet,
    fetched: Instant,
}

impl Known {
    fn counts(&self) -> bool {
        self.fetched.elapsed() < KEYS_AGE_MAX
    }

    fn find(&self, wanted: &Wanted) -> Option<DecodingKey> {
        self.counts().then(|| self.keys.find(wanted).cloned()).flatten()
    }
}

/// How a look for newer keys ended.
enum Looked {
    /// These are known now.
    Known(Arc<Known>),
    /// Nothing newer: too many looks.
    TooOften,
    /// Nothing newer: the provider is away, or says nothing that can be used.
    Away,
}

impl<S: Source> Provider<S> {
    /// One of which nothing is known yet.
    pub(super) fn new(source: S) -> Self {
        Self {
            source,
            known: RwLock::default(),
            failed: tokio::sync::Mutex::default(),
            fetches: Limit::default(),
        }
    }

    /// What its keys come from.
    pub(super) fn source(&self) -> &S {
        &self.source
    }

    /// The key that a token wants.
    pub(super) async fn key(self: &Arc<Self>, wanted: &Wanted) -> Result<DecodingKey, Denied> {
        let known = self.known.read().clone();
        if let Some(known) = &known
            && let Some(key) = known.find(wanted)
        {
            self.refresh(known);
            return Ok(key);
        }
        let counts = known.as_ref().is_some_and(|known| known.counts());
        let this = self.clone();
        // In a task of its own: whoever hangs up does not end a fetch that counts for all.
        let looked = tokio::spawn(async move { this.look(known).await }).await;
        match looked.unwrap_or(Looked::Away) {
            Looked::Known(newer) => newer.find(wanted).ok_or(Denied::Invalid("its provider has no such key")),
            Looked::TooOften if counts => Err(Denied::Invalid("its provider had no such key a moment ago")),
            Looked::TooOften | Looked::Away => Err(Denied::Away),
        }
    }

    /// Has keys fetched that are no longer fresh, unless somebody does so already. Nobody waits for it.
    fn refresh(self: &Arc<Self>, known: &Arc<Known>) {
        let may_ask = |failed: &Option<Instant>| failed.is_none_or(|ended| ended.elapsed() > AWAY_FOR);
        if known.fetched.elapsed() > FRESH_FOR && self.failed.try_lock().is_ok_and(|failed| may_ask(&failed))
        {
            let (this, seen) = (self.clone(), Some(known.clone()));
            tokio::spawn(async move { this.look(seen).await });
        }
    }

    /// Fetches keys, unless somebody has since these were seen.
    async fn look(&self, seen: Option<Arc<Known>>) -> Looked {
        let asked = Instant::now();
        let mut failed = self.failed.lock().await;
        let now = self.known.read().clone();
        if let Some(now) = now
            && seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &now))
        {
            return Looked::Known(now);
        }
        if failed.is_some_and(|ended| ended > asked) {
            return Looked::Away;
        }
        // By what it said last it is away: whose key is not known is no guess then.
        let was_away = failed.is_some_and(|ended| seen.as_ref().is_none_or(|seen| ended > seen.fetched));
        if self.fetches.take((), FETCHES_PER_MINUTE, Instant::now()).is_err() {
            return if was_away { Looked::Away } else { Looked::TooOften };
        }
        match self.source.keys().await {
            Ok(keys) => {
                let known = Arc::new(Known { keys, fetched: Instant::now() });
                *self.known.write() = Some(known.clone());
                Looked::Known(known)
            }
            Err(why) => {
                *failed = Some(Instant::now());
                tracing::warn!(
                    provider = self.source.name(),
                    why,
                    "the keys of an OpenID provider cannot be had; they are tried again when somebody calls"
                );
                Looked::Away
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use jsonwebtoken::Algorithm;
    use serde_json::json;

    use super::*;

    /// How long a fetch takes.
    const TAKES: Duration = Duration::from_secs(5);

    /// One whose key's id says how often keys were asked for.
    #[derive(Default)]
    struct Slow {
        is_away: AtomicBool,
        asked: AtomicU32,
    }

    #[async_trait]
    impl Source for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }

        async fn keys(&self) -> Result<KeySet, String> {
            let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::time::sleep(TAKES).await;
            if self.is_away.load(Ordering::Relaxed) {
                return Err("it is away".to_owned());
            }
            let key =
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": number.to_string(), "x": "A".repeat(43) });
            KeySet::of(&json!({ "keys": [key] })).ok_or_else(|| "no set".to_owned())
        }
    }

    fn wanted(id: &str) -> Wanted {
        Wanted::new(Algorithm::EdDSA, Some(id.to_owned())).expect("one that is taken")
    }

    impl Provider<Slow> {
        fn asked(&self) -> u32 {
            self.source.asked.load(Ordering::Relaxed)
        }

        fn is_away(&self, is_away: bool) {
            self.source.is_away.store(is_away, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn keys_at_hand_count_for_a_day_while_the_provider_is_away_and_then_no_more() {
        let provider = Arc::new(Provider::new(Slow::default()));
        provider.key(&wanted("1")).await.expect("fetched");
        provider.is_away(true);
        for _ in 0..23 {
            tokio::time::advance(Duration::from_hours(1)).await;
            let before = Instant::now();
            provider.key(&wanted("1")).await.expect("known");
            assert_eq!(before.elapsed(), Duration::ZERO, "nobody waits");
            // The fetch beside it has ended by then.
            tokio::time::sleep(2 * TAKES).await;
        }
        assert!((20..=23).contains(&provider.asked()), "asked {} times", provider.asked());
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(provider.key(&wanted("1")).await.err(), Some(Denied::Away));
        provider.is_away(false);
        let next = (provider.asked() + 1).to_string();
        provider.key(&wanted(&next)).await.expect("it is back");
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_are_an_hour_old_are_fetched_beside_a_call_and_those_that_are_gone_end() {
        let provider = Arc::new(Provider::new(Slow::default()));
        provider.key(&wanted("1")).await.expect("fetched");
        tokio::time::advance(FRESH_FOR + TAKES).await;
        for _ in 0..100 {
            provider.key(&wanted("1")).await.expect("known");
        }
        tokio::time::sleep(2 * TAKES).await;
        provider.key(&wanted("2")).await.expect("fetched beside those");
        assert_eq!(provider.asked(), 2);
        let gone = provider.key(&wanted("1")).await.err();
        assert_eq!(gone, Some(Denied::Invalid("its provider has no such key")));
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_have_the_outcome_of_one_fetch_and_nobody_waits_longer_than_it_takes() {
        let provider = Arc::new(Provider::new(Slow::default()));
        provider.is_away(true);
        for asked in 1..=2 {
            let began = Instant::now();
            let all: Vec<_> = (0..50)
                .map(|_| {
                    let provider = provider.clone();
                    tokio::spawn(async move { provider.key(&wanted("2")).await.err() })
                })
                .collect();
            for one in all {
                assert_eq!(one.await.expect("it ended"), Some(Denied::Away));
            }
            assert_eq!((began.elapsed(), provider.asked()), (TAKES, asked));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_key_of_a_provider_that_is_away_is_no_guess_and_keys_at_hand_leave_it_alone() {
        let provider = Arc::new(Provider::new(Slow::default()));
        provider.key(&wanted("1")).await.expect("fetched");
        provider.is_away(true);
        tokio::time::advance(FRESH_FOR + TAKES).await;
        let began = Instant::now();
        while began.elapsed() < 3 * AWAY_FOR {
            provider.key(&wanted("1")).await.expect("known");
            tokio::time::sleep(TAKES / 5).await;
        }
        assert!((2..=5).contains(&provider.asked()), "asked {} times", provider.asked());
        for _ in 0..10 {
            assert_eq!(provider.key(&wanted("newer")).await.err(), Some(Denied::Away));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_hangs_up_ends_no_fetch() {
        let provider = Arc::new(Provider::new(Slow::default()));
        let hung_up = tokio::time::timeout(TAKES / 2, provider.key(&wanted("1"))).await;
        assert!(hung_up.is_err(), "it takes longer");
        provider.key(&wanted("1")).await.expect("the same fetch went on");
        assert_eq!(provider.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_of_strange_keys_have_keys_fetched_so_often_and_no_more() {
        let provider = Arc::new(Provider::new(Slow::default()));
        let began = Instant::now();
        for number in 0..1_000 {
            let strange = provider.key(&wanted(&format!("strange {number}"))).await.err();
            assert!(matches!(strange, Some(Denied::Invalid(_))), "{strange:?}");
        }
        let minutes = began.elapsed().as_secs_f64() / 60.0;
        let most = f64::from(FETCHES_PER_MINUTE) * (minutes + 1.0);
        assert!(f64::from(provider.asked()) <= most, "{} in {minutes} minutes", provider.asked());
    }
}
