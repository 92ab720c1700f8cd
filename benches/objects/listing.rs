//! A listing from its first page to its last, as clients go through it.

use std::net::SocketAddr;
use std::time::Instant;

use tidegate_benches::{Outcome, Run};

use crate::client::Client;
use crate::sign::{Signer, encoded};
use crate::store::LISTED;

/// Keys before the same slash.
pub(crate) const KEYS_OF_A_FOLDER: usize = 20;
/// Entries of a page, as many as S3 allows.
const PAGE_ENTRIES: usize = 1000;

/// One of the keys that are listed; they come in order.
pub(crate) fn key(number: usize) -> String {
    format!("dir{:04}/key{number:06}", number / KEYS_OF_A_FOLDER)
}

/// Lists everything, or until a moment; counts entries, and says whether it came to the end.
pub(crate) async fn list(
    client: &mut Client,
    address: SocketAddr,
    delimiter: bool,
    end: Instant,
) -> Outcome<(Run, bool)> {
    let (mut run, mut token) = (Run::default(), None);
    loop {
        let query = query(delimiter, token.as_deref());
        let request = Signer::new(address).request("GET", &format!("/{LISTED}"), &query)?;
        let begun = Instant::now();
        let page = client.text(request).await?;
        run.taken.add(begun.elapsed().as_secs_f64());
        let mark = if delimiter { "<CommonPrefixes>" } else { "<Key>" };
        let entries = page.matches(mark).count();
        run.units += entries as u64;
        if !page.contains("<IsTruncated>true</IsTruncated>") {
            return Ok((run, true));
        }
        // A page may be short: some stores look at so many keys for it, whatever it then shows.
        if entries == 0 || entries > PAGE_ENTRIES {
            return Err(format!("a page of {entries} entries that is not the last").into());
        }
        token = Some(next(&page)?);
        if Instant::now() > end {
            return Ok((run, false));
        }
    }
}

/// The names of a query are signed in order.
fn query(delimiter: bool, token: Option<&str>) -> String {
    let token = token.map(|token| format!("continuation-token={}&", encoded(token))).unwrap_or_default();
    let delimiter = if delimiter { "delimiter=%2F&" } else { "" };
    format!("{token}{delimiter}list-type=2&max-keys={PAGE_ENTRIES}")
}

fn next(page: &str) -> Outcome<String> {
    let after = page.split_once("<NextContinuationToken>").ok_or("a page that does not say how to go on")?.1;
    let token = after.split_once('<').ok_or("a page that ends early")?.0;
    // What XML may have written in other words, the ampersand last.
    let words =
        [("&quot;", "\""), ("&#34;", "\""), ("&apos;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    Ok(words.into_iter().fold(token.to_owned(), |token, (word, sign)| token.replace(word, sign)))
}
