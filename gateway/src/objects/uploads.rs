//! Listing uploads that are under way, a page at a time: by key in byte order, and then by their numbers.
//!
//! A page costs what it shows, and what its caller may not see: what a delimiter rolls up is jumped over as soon as its prefix
//! stands in the page, or stood in one before.

use tidegate_protocols::objects::{ObjectError, PAGE_ENTRIES_MAX, Upload, UploadQuery, Uploads, Who};
use tidegate_replicator::map::InodeNumber;

use super::list::past;
use super::upload::{id_of, parse_id};
use super::{Objects, bounded, describe, disguised};
use crate::namespace::objects::HeldUpload;

/// Uploads that one look at the map brings: few after a jump, then ever more.
const SCAN_FIRST: usize = 8;
const SCAN_MAX: usize = 256;

impl Objects {
    pub(super) async fn list_uploads(
        &self,
        who: &Who,
        bucket: &str,
        query: &UploadQuery,
    ) -> Result<Uploads, ObjectError> {
        let access = self.access(who, bucket).await?;
        let mut page = Page::new(query, who)?;
        while !page.has_ended {
            let found = bounded(access.reader().uploads(&page.from, page.wanted)).await?;
            page.take(&found, |upload| access.may_see(upload));
        }
        Ok(page.shown)
    }
}

/// A page that is being filled.
struct Page<'q> {
    query: &'q UploadQuery,
    who: &'q Who,
    limit: usize,
    /// Where the next look begins.
    from: Vec<u8>,
    /// How many uploads it is to bring.
    wanted: usize,
    /// Whether the page is full, or nothing more begins as it asks for.
    has_ended: bool,
    shown: Uploads,
}

impl<'q> Page<'q> {
    fn new(query: &'q UploadQuery, who: &'q Who) -> Result<Self, ObjectError> {
        Ok(Self {
            query,
            who,
            limit: query.limit.min(PAGE_ENTRIES_MAX),
            from: first_upload(query)?,
            wanted: SCAN_FIRST,
            has_ended: false,
            shown: Uploads::default(),
        })
    }

    /// Takes what a look brought, up to where the next one goes elsewhere.
    fn take(&mut self, found: &[HeldUpload], may_see: impl Fn(&HeldUpload) -> bool) {
        let is_all = found.len() < self.wanted;
        self.wanted = (self.wanted * 2).min(SCAN_MAX);
        for upload in found {
            self.from = [&upload.key[..], &[0], &upload.number.0.to_be_bytes(), &[0]].concat();
            // Keys come from requests, which are UTF-8.
            let Ok(key) = std::str::from_utf8(&upload.key) else { continue };
            if !key.starts_with(&self.query.prefix) {
                self.has_ended = true;
                return;
            }
            let rolled_up = self.rolled_up(key);
            if let Some(prefix) = rolled_up.filter(|prefix| self.has_passed(prefix)) {
                return self.jump_over(prefix);
            }
            if !may_see(upload) {
                continue;
            }
            if self.shown.uploads.len() + self.shown.prefixes.len() == self.limit {
                (self.shown.more, self.has_ended) = (true, true);
                return;
            }
            if let Some(prefix) = rolled_up {
                self.shown.prefixes.push(prefix.to_owned());
                return self.jump_over(prefix);
            }
            self.shown.uploads.push(upload_of(key, upload, self.who));
        }
        self.has_ended = is_all;
    }

    /// What a key is rolled up to.
    fn rolled_up<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
        let from = self.query.prefix.len();
        let at = key.get(from..)?.find(delimiter)?;
        Some(&key[..from + at + delimiter.len()])
    }

    /// Whether a prefix stood in a page before.
    fn has_passed(&self, prefix: &str) -> bool {
        self.query.after_key.as_deref().is_some_and(|after| prefix <= after)
    }

    fn jump_over(&mut self, prefix: &str) {
        (self.from, self.wanted) = (past(prefix), SCAN_FIRST);
    }
}

fn upload_of(key: &str, upload: &HeldUpload, who: &Who) -> Upload {
    let owner = &upload.record.owner;
    Upload {
        key: key.to_owned(),
        id: id_of(upload),
        begun: describe::time(upload.record.begun),
        owner: if who.access_key.is_none() { disguised(owner) } else { owner.clone() },
        algorithm: describe::algorithm(upload.record.algorithm),
        kind: describe::kind(upload.record.composite),
        storage_class: upload.record.metadata.storage_class.clone(),
    }
}

/// Where a page of uploads begins.
fn first_upload(query: &UploadQuery) -> Result<Vec<u8>, ObjectError> {
    let Some(key) = &query.after_key else { return Ok(query.prefix.as_bytes().to_vec()) };
    let after = match &query.after_upload {
        Some(id) if !id.is_empty() => {
            parse_id(id)
                .map_err(|_| ObjectError::InvalidArgument("upload-id-marker is no id of an upload".into()))?
                .0
        }
        _ => InodeNumber(u64::MAX),
    };
    let first = [key.as_bytes(), &[0], &after.0.to_be_bytes(), &[0]].concat();
    Ok(first.max(query.prefix.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidegate_replicator::map::{ObjectMetadata, Timestamp, UploadRecord};

    use super::*;

    fn held(key: &str, number: u64) -> HeldUpload {
        let record = UploadRecord {
            tag: number,
            begun: Timestamp::default(),
            owner: "owner".into(),
            algorithm: 0,
            composite: false,
            metadata: ObjectMetadata::default(),
        };
        HeldUpload { key: Bytes::copy_from_slice(key.as_bytes()), number: InodeNumber(number), record }
    }

    /// A page of uploads that stand in their order, and how many were looked at for it.
    fn page(all: &[HeldUpload], query: &UploadQuery) -> (Uploads, usize) {
        let who = Who { access_key: Some("key".into()), address: [127, 0, 0, 1].into(), secure: false };
        let (mut page, mut looked_at) = (Page::new(query, &who).expect("a page"), 0);
        let place = |upload: &HeldUpload| [&upload.key[..], &[0], &upload.number.0.to_be_bytes()].concat();
        while !page.has_ended {
            let rest = all.iter().filter(|upload| place(upload) >= page.from);
            let found: Vec<HeldUpload> = rest.take(page.wanted).cloned().collect();
            looked_at += found.len();
            page.take(&found, |_| true);
        }
        (page.shown, looked_at)
    }

    /// The names in a page in their order, each with the id of an upload where it is one.
    fn names(page: &Uploads) -> Vec<(String, Option<String>)> {
        let uploads = page.uploads.iter().map(|upload| (upload.key.clone(), Some(upload.id.clone())));
        let prefixes = page.prefixes.iter().map(|prefix| (prefix.clone(), None));
        let mut names: Vec<_> = uploads.chain(prefixes).collect();
        names.sort();
        names
    }

    #[test]
    fn a_delimiter_jumps_over_what_it_rolls_up() {
        let keys = (0..20).flat_map(|folder| (0..500).map(move |key| format!("{folder:02}/{key:03}")));
        let all: Vec<HeldUpload> = keys.zip(1..).map(|(key, number)| held(&key, number)).collect();
        let query = UploadQuery { delimiter: Some("/".into()), limit: 1000, ..UploadQuery::default() };
        let (shown, looked_at) = page(&all, &query);
        assert_eq!((shown.prefixes.len(), shown.uploads.len(), shown.more), (20, 0, false));
        assert!(looked_at <= 20 * SCAN_FIRST, "{looked_at} of {} were looked at", all.len());
        let after = UploadQuery { after_key: Some("17/".into()), ..query };
        let (shown, looked_at) = page(&all, &after);
        assert_eq!(shown.prefixes, ["18/", "19/"]);
        assert!(looked_at <= 3 * SCAN_FIRST, "{looked_at} of {} were looked at", all.len());
        let within = UploadQuery { prefix: "03/".into(), limit: 1000, ..UploadQuery::default() };
        assert_eq!(page(&all, &within).0.uploads.len(), 500);
    }

    #[test]
    fn pages_of_any_size_show_the_same_as_a_walk_over_everything() {
        let mut keys = ["a", "a!", "a/1", "a/2", "a0", "b/x/1", "b/x/2", "b/y", "c"].repeat(2);
        keys.sort_unstable();
        let all: Vec<HeldUpload> = keys.into_iter().zip(1..).map(|(key, number)| held(key, number)).collect();
        for prefix in ["", "a", "a/", "b/", "d"] {
            for delimiter in [None, Some("/"), Some("x/"), Some("")] {
                let query = |limit| UploadQuery {
                    prefix: prefix.into(),
                    delimiter: delimiter.map(str::to_owned),
                    limit,
                    ..UploadQuery::default()
                };
                let mut wanted: Vec<(String, Option<String>)> = Vec::new();
                for upload in &all {
                    let key = std::str::from_utf8(&upload.key).expect("text");
                    let Some(rest) = key.strip_prefix(prefix) else { continue };
                    let cut = delimiter
                        .filter(|cut| !cut.is_empty())
                        .and_then(|cut| Some(rest.find(cut)? + cut.len()));
                    match cut {
                        None => wanted.push((key.to_owned(), Some(id_of(upload)))),
                        Some(cut) => wanted.push((key[..prefix.len() + cut].to_owned(), None)),
                    }
                }
                wanted.dedup();
                for limit in 1..=wanted.len() + 1 {
                    let (mut seen, mut query) = (Vec::new(), query(limit));
                    loop {
                        let (shown, _) = page(&all, &query);
                        seen.extend(names(&shown));
                        if !shown.more {
                            break;
                        }
                        let (key, id) = seen.last().cloned().expect("a full page has something");
                        (query.after_key, query.after_upload) = (Some(key), id);
                    }
                    assert_eq!(seen, wanted, "{prefix:?} {delimiter:?} in pages of {limit}");
                }
            }
        }
    }
}
