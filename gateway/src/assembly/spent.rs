//! What a target has charged, by the prices of the settings.
//!
//! Stores charge by classes of requests. Reads are GET and HEAD; writes are PUT and COPY, and listings cost as much as
//! they do; what deletes is free. That is how S3 counts (<https://aws.amazon.com/s3/pricing/>). An upload in parts counts
//! as one request here: it is a little dearer than that.

use parking_lot::Mutex;
use tidegate_replicator::store::{Operation, RequestCounts};

use crate::control::SpentStatus;
use crate::settings::{Price, Settings};

/// Bytes of the unit that stores charge by.
const GB: u128 = 1_000_000_000;
/// Requests of the unit that stores charge by.
const THOUSAND: u128 = 1_000;

/// What a target has charged since its store was opened, each request by the price that stood when it was first counted:
/// a price that changes changes nothing of before.
#[derive(Debug, Default)]
pub(super) struct Charged(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    counted: Counted,
    /// In millionths for [`THOUSAND`] requests.
    requests: u128,
    /// In millionths for [`GB`].
    bytes: u128,
}

/// What is charged for.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    reads: u64,
    writes: u64,
    bytes: u64,
}

impl Counted {
    fn of(counts: &RequestCounts) -> Self {
        let mut counted = Self { bytes: counts.bytes_down(), ..Self::default() };
        for operation in Operation::ALL {
            let requests = counts.requests(operation);
            match operation {
                Operation::Get | Operation::GetTail | Operation::Head | Operation::Ask => {
                    counted.reads += requests;
                }
                Operation::Put | Operation::List | Operation::ListFolders | Operation::Change => {
                    counted.writes += requests;
                }
                Operation::Delete => {}
            }
        }
        counted
    }
}

impl Charged {
    /// Adds what was counted since; none where the settings have no prices of the target: then it is charged nothing.
    pub(super) fn count(
        &self,
        settings: &Settings,
        target: &str,
        counts: &RequestCounts,
    ) -> Option<SpentStatus> {
        let mut sums = self.0.lock();
        let now = Counted::of(counts);
        let before = std::mem::replace(&mut sums.counted, now);
        let table = settings.prices.iter().find(|table| table.target.as_str() == target)?;
        let price = |money: Price| u128::from(money.millionths());
        let since = |now: u64, before: u64| u128::from(now.saturating_sub(before));
        sums.requests += since(now.reads, before.reads) * price(table.per_thousand_requests)
            + since(now.writes, before.writes) * price(table.per_thousand_writes);
        sums.bytes += since(now.bytes, before.bytes) * price(table.per_gb_out);
        let shown = |millionths| u64::try_from(millionths).unwrap_or(u64::MAX);
        Some(SpentStatus {
            requests_millionths: shown(sums.requests / THOUSAND),
            bytes_millionths: shown(sums.bytes / GB),
            currency: table.currency.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_replicator::store::{Body, MemoryStore, MeteredStore, ObjectName, PutMode, Store};

    use super::*;

    #[tokio::test]
    async fn reads_writes_and_bytes_out_are_charged_by_the_prices_of_the_target() {
        let text = "[repository]\nkey = { env = \"K\" }\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n\
                    [[prices]]\ntarget = \"t\"\nper_gb_out = \"90\"\nper_thousand_requests = \"0.4\"\n\
                    per_thousand_writes = \"5\"\ncurrency = \"EUR\"\n";
        let settings = Settings::parse(text).expect("correct");
        let store = MeteredStore::new(Arc::new(MemoryStore::new()), "t");
        let counts = store.counts();
        let name = ObjectName::new("config").expect("a name");
        store.put(&name, Body::Bytes(vec![7; 1_000].into()), PutMode::CreateNew).await.expect("stored");
        store.get(&name, None).await.expect("read");
        store.head(&name).await.expect("there");
        store.delete(&name).await.expect("gone");
        let charged = Charged::default();
        let spent = charged.count(&settings, "t", &counts).expect("it has prices");
        assert_eq!(spent.requests_millionths, 5_000 + 2 * 400);
        assert_eq!(spent.bytes_millionths, 90);
        assert_eq!(spent.currency, "EUR");
        assert!(Charged::default().count(&settings, "other", &counts).is_none());

        // Dearer from now on, and free: what was charged stays.
        let dearer = Settings::parse(&text.replace("0.4", "1")).expect("correct");
        let again = charged.count(&dearer, "t", &counts).expect("it has prices");
        assert_eq!(again, spent);
        store.get_tail(&name, 10).await.expect_err("it is gone");
        let more = charged.count(&dearer, "t", &counts).expect("it has prices");
        assert_eq!(
            more.requests_millionths,
            spent.requests_millionths + 1_000,
            "the request after it is dear"
        );
    }
}
