//! How fast a store is from here: told once, so that nobody is surprised later.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use serde::Serialize;
use tidegate_replicator::store::{Body, ObjectName, PutMode, Store, StoreError};

use super::super::exit::Failure;
use super::super::terminal::failed;
use crate::amounts::bytes;
use crate::assembly::{AssemblyError, contact_store};
use crate::settings::Target;

/// Objects that travel at once, and the length of each.
const OBJECTS: usize = 4;
const OBJECT_BYTES: usize = 2 << 20;
/// Small questions, one after the other.
const QUESTIONS: u32 = 5;

/// What was measured, on a handful of objects.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Speed {
    /// From a question to its answer, in milliseconds.
    round_trip_ms: f64,
    /// To the store.
    upload_bytes_per_second: f64,
    /// From it.
    download_bytes_per_second: f64,
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |per_second: f64| format!("{}/s", bytes(per_second as u64));
        let (up, down) = (rate(self.upload_bytes_per_second), rate(self.download_bytes_per_second));
        write!(f, "{up} to the store, {down} from it, {:.1} ms a question", self.round_trip_ms)
    }
}

/// Stores, reads and removes a few objects beside those of the probe, which removes what a killed one leaves.
pub(super) async fn measure(target: &Target) -> Result<Speed, Failure> {
    let store = contact_store(target).await?.store;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| failed("get random numbers", &error))?;
    let names: Vec<ObjectName> = (0..OBJECTS)
        .map(|number| {
            let id: String = seed.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            ObjectName::new(format!("probe/{id}-speed-{number}")).expect("the parts are legal")
        })
        .collect();
    let measured = travel(&*store, &names, &noise(&seed)).await;
    for name in &names {
        store.delete(name).await.map_err(AssemblyError::at(target))?;
    }
    Ok(measured.map_err(AssemblyError::at(target))?)
}

async fn travel(store: &dyn Store, names: &[ObjectName], body: &Bytes) -> Result<Speed, StoreError> {
    let all = (OBJECTS * OBJECT_BYTES) as f64;
    let start = Instant::now();
    let put = |name| store.put(name, Body::Bytes(body.clone()), PutMode::Overwrite);
    futures::future::try_join_all(names.iter().map(put)).await?;
    let up = start.elapsed();
    let start = Instant::now();
    futures::future::try_join_all(names.iter().map(|name| store.get(name, None))).await?;
    let down = start.elapsed();
    let start = Instant::now();
    for _ in 0..QUESTIONS {
        store.head(&names[0]).await?;
    }
    Ok(Speed {
        round_trip_ms: (start.elapsed() / QUESTIONS).as_secs_f64() * 1000.0,
        upload_bytes_per_second: all / up.as_secs_f64(),
        download_bytes_per_second: all / down.as_secs_f64(),
    })
}

/// Bytes that nothing on the way can compress.
fn noise(seed: &[u8; 32]) -> Bytes {
    let mut state = u64::from_le_bytes(seed[..8].try_into().expect("eight bytes"));
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 33)).to_le_bytes()
    });
    words.take(OBJECT_BYTES / 8).flatten().collect::<Vec<u8>>().into()
}
