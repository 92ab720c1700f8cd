//! When an object expires, said with it: `x-amz-expiration` of what makes and what reads an object, and
//! `x-amz-abort-date` of CreateMultipartUpload.
//!
//! It is said of what a key leads to, not of versions that are named: what becomes of those hangs on others. That the
//! rules cannot be read now is no reason to fail: the header is then not there.

use super::listing::percent_encode;
use super::operations::Operations;
use super::values::{http_date, now};
use crate::objects::lifecycle::{Facts, abort_due, expiry};
use crate::objects::{ObjectName, PutDone, Tags, Who};
use crate::view::Time;

impl Operations {
    /// What is said of an object that was just made of others, whose size and tags the request does not say.
    pub(super) async fn expiration_of_new(
        &self,
        who: &Who,
        name: &ObjectName,
        done: &PutDone,
    ) -> Option<String> {
        self.view().settings(who, &name.bucket).await.ok()?.lifecycle.as_ref()?;
        let object = self.view().open(who, name, None).await.ok()?;
        let info = object.info();
        // Another may be in its place by now.
        if info.etag != done.etag || info.version != done.version {
            return None;
        }
        self.expiration_of(who, name, info.size, info.modified, &info.tags).await
    }

    /// When an upload in parts that begins now is dropped if nobody completes it, and by which rule.
    pub(super) async fn abort_of(&self, who: &Who, name: &ObjectName) -> Option<(Time, String)> {
        let settings = self.view().settings(who, &name.bucket).await.ok()?;
        let (due, rule) = abort_due(settings.lifecycle.as_deref()?, &name.key, now())?;
        Some((due, rule.to_owned()))
    }

    /// What is said of the newest object of a key.
    pub(super) async fn expiration_of(
        &self,
        who: &Who,
        name: &ObjectName,
        size: u64,
        modified: Time,
        tags: &Tags,
    ) -> Option<String> {
        let settings = self.view().settings(who, &name.bucket).await.ok()?;
        let facts = Facts {
            size,
            modified,
            tags,
            is_newest: true,
            is_marker: false,
            is_alone: false,
            noncurrent_since: None,
            newer_noncurrent: 0,
        };
        let (due, rule) = expiry(settings.lifecycle.as_deref()?, &name.key, &facts)?;
        Some(format!("expiry-date=\"{}\", rule-id=\"{}\"", http_date(due)?, percent_encode(rule)))
    }
}
