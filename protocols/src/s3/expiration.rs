//! When an object expires, said with it: `x-amz-expiration` of PutObject, GetObject and HeadObject.
//!
//! It is said of what a key leads to, not of versions that are named: what becomes of those hangs on others. That the
//! rules cannot be read now is no reason to fail: the header is then not there.

use super::listing::percent_encode;
use super::operations::Operations;
use super::values::http_date;
use crate::objects::lifecycle::{Facts, expiry};
use crate::objects::{ObjectName, Tags, Who};
use crate::view::Time;

impl Operations {
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
