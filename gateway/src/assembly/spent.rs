//! What a target has charged, by the prices of the settings.
//!
//! Stores charge by classes of requests. Reads are GET and HEAD; writes are PUT and COPY, and listings cost as much as
//! they do; what deletes is free. That is how S3 counts (<https://aws.amazon.com/s3/pricing/>). An upload in parts counts
//! as one request here: it is a little dearer than that.

use tidegate_replicator::store::{Operation, RequestCounts};

use crate::control::SpentStatus;
use crate::settings::{PriceTable, Settings};

/// Bytes of the unit that stores charge by.
const GB: u128 = 1_000_000_000;
/// Requests of the unit that stores charge by.
const THOUSAND: u128 = 1_000;

/// None where the settings have no prices of it.
pub(super) fn spent(settings: &Settings, target: &str, counts: &RequestCounts) -> Option<SpentStatus> {
    let table = settings.prices.iter().find(|table| table.target.as_str() == target)?;
    Some(of(table, counts))
}

fn of(table: &PriceTable, counts: &RequestCounts) -> SpentStatus {
    let (mut reads, mut writes) = (0, 0);
    for operation in Operation::ALL {
        let requests = u128::from(counts.requests(operation));
        match operation {
            Operation::Get | Operation::GetTail | Operation::Head | Operation::Ask => reads += requests,
            Operation::Put | Operation::List | Operation::ListFolders | Operation::Change => {
                writes += requests
            }
            Operation::Delete => {}
        }
    }
    let (read, write) = (table.per_thousand_requests.millionths(), table.per_thousand_writes.millionths());
    let requests = (reads * u128::from(read) + writes * u128::from(write)) / THOUSAND;
    let bytes = u128::from(counts.bytes_down()) * u128::from(table.per_gb_out.millionths()) / GB;
    let shown = |millionths| u64::try_from(millionths).unwrap_or(u64::MAX);
    SpentStatus {
        requests_millionths: shown(requests),
        bytes_millionths: shown(bytes),
        currency: table.currency.to_string(),
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
        let spent = spent(&settings, "t", &counts).expect("it has prices");
        assert_eq!(spent.requests_millionths, 5_000 + 2 * 400);
        assert_eq!(spent.bytes_millionths, 90);
        assert_eq!(spent.currency, "EUR");
        assert!(super::spent(&settings, "other", &counts).is_none());
    }
}
