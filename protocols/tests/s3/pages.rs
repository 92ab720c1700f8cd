//! Pages of listings made the slow way: roll up everything, then cut. The model of the listing tests too.

use std::collections::BTreeMap;

use tidegate_protocols::objects::{
    ListEntry, ListQuery, Listing, ObjectInfo, Upload, UploadQuery, Uploads, VersionEntry, VersionListing,
    VersionQuery,
};

/// The prefix that a key is rolled up to.
fn rolled_up(key: &str, prefix: &str, delimiter: Option<&str>) -> Option<String> {
    let (rest, delimiter) = (key.strip_prefix(prefix)?, delimiter?);
    let end = rest.find(delimiter)? + delimiter.len();
    Some(format!("{prefix}{}", &rest[..end]))
}

/// A page of objects.
pub(crate) fn objects(all: impl Iterator<Item = (String, ObjectInfo)>, query: &ListQuery) -> Listing {
    let mut entries = BTreeMap::new();
    for (key, info) in all.filter(|(key, _)| key.starts_with(&query.prefix)) {
        let entry = match rolled_up(&key, &query.prefix, query.delimiter.as_deref()) {
            Some(prefix) => ListEntry::Prefix(prefix),
            None => ListEntry::Object { key, info: Box::new(info) },
        };
        entries.insert(entry.name().to_owned(), entry);
    }
    let after = query.after.clone().unwrap_or_default();
    let rest: Vec<ListEntry> = entries.into_values().filter(|entry| entry.name() > after.as_str()).collect();
    Listing { more: rest.len() > query.limit, entries: rest.into_iter().take(query.limit).collect() }
}

/// A page of uploads.
pub(crate) fn uploads(all: impl Iterator<Item = Upload>, query: &UploadQuery) -> Uploads {
    let mut entries: BTreeMap<(String, String), Option<Upload>> = BTreeMap::new();
    for upload in all.filter(|upload| upload.key.starts_with(&query.prefix)) {
        match rolled_up(&upload.key, &query.prefix, query.delimiter.as_deref()) {
            Some(prefix) => _ = entries.insert((prefix, String::new()), None),
            None => _ = entries.insert((upload.key.clone(), upload.id.clone()), Some(upload)),
        }
    }
    let is_after = |(key, id): &(String, String)| match (&query.after_key, &query.after_upload) {
        (None, _) => true,
        (Some(after), None) => key > after,
        (Some(after), Some(upload)) => key > after || (key == after && id > upload),
    };
    entries.retain(|name, _| is_after(name));
    let mut page = Uploads { more: entries.len() > query.limit, ..Uploads::default() };
    for ((name, _), upload) in entries.into_iter().take(query.limit) {
        match upload {
            Some(upload) => page.uploads.push(upload),
            None => page.prefixes.push(name),
        }
    }
    page
}

/// The key and the version of an entry; a prefix has none.
fn names(entry: &VersionEntry) -> (&str, Option<&str>) {
    match entry {
        VersionEntry::Object { key, version, .. } | VersionEntry::Marker { key, version, .. } => {
            (key, Some(version.as_str()))
        }
        VersionEntry::Prefix(prefix) => (prefix, None),
    }
}

/// A page of versions, which come by key and from the newest on.
pub(crate) fn versions(all: Vec<VersionEntry>, query: &VersionQuery) -> VersionListing {
    let mut entries: Vec<VersionEntry> = Vec::new();
    for entry in all.into_iter().filter(|entry| names(entry).0.starts_with(&query.prefix)) {
        let prefix = rolled_up(names(&entry).0, &query.prefix, query.delimiter.as_deref());
        let entry = prefix.map_or(entry, VersionEntry::Prefix);
        if entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    let after = query.after_key.clone().unwrap_or_default();
    let marker = query.after_version.as_ref().map(|version| version.as_str().to_owned());
    let place =
        |entry: &VersionEntry| marker.is_some() && names(entry) == (after.as_str(), marker.as_deref());
    let rest: Vec<VersionEntry> = match entries.iter().position(place) {
        Some(place) => entries.split_off(place + 1),
        None => entries.into_iter().filter(|entry| names(entry).0 > after.as_str()).collect(),
    };
    VersionListing { more: rest.len() > query.limit, entries: rest.into_iter().take(query.limit).collect() }
}
