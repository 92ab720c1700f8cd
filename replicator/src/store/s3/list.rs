//! Listing the objects and folders of a bucket.
//!
//! Keys that are no object names are other people's and skipped; a page that holds nothing else is
//! followed by the next within the same call, so that `more` always comes with something to go on from.

use std::time::SystemTime;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::Object;

use super::S3Store;
use super::error::store_error;
use crate::store::deadline::within;
use crate::store::{ErrorKind, LIST_LIMIT_MAX, ListPage, ObjectInfo, ObjectName, StorageClass, StoreError};

/// How many pages one call goes through: of folders, or past keys that are not ours.
const PAGES_MAX: usize = 1_000;

/// Where a page of a listing begins.
enum Start {
    Beginning,
    /// After this key.
    After(String),
    /// Where the store said that the last page ended.
    Token(String),
}

impl S3Store {
    pub(super) async fn list_page(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        let mut start = after.map_or(Start::Beginning, |after| Start::After(self.key(after)));
        for _ in 0..PAGES_MAX {
            let page = self.ask_for_page(prefix, start, limit, None).await?;
            let objects: Vec<_> = page.contents().iter().filter_map(|object| self.info_of(object)).collect();
            let more = page.is_truncated() == Some(true);
            if !more || !objects.is_empty() {
                return Ok(ListPage { objects, more });
            }
            start = next(&page).ok_or_else(|| stuck(prefix))?;
        }
        Err(stuck(prefix))
    }

    pub(super) async fn list_prefixes(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let skipped = self.prefix.len() + prefix.len();
        let mut folders = Vec::new();
        let mut start = Start::Beginning;
        for _ in 0..PAGES_MAX {
            let page = self.ask_for_page(prefix, start, LIST_LIMIT_MAX, Some("/")).await?;
            let shown = page.common_prefixes().iter().filter_map(|common| common.prefix()?.get(skipped..));
            folders.extend(shown.filter_map(legal_folder));
            if page.is_truncated() != Some(true) {
                return Ok(folders);
            }
            start = next(&page).ok_or_else(|| stuck(prefix))?;
        }
        Err(stuck(prefix))
    }

    async fn ask_for_page(
        &self,
        prefix: &str,
        start: Start,
        limit: usize,
        delimiter: Option<&str>,
    ) -> Result<ListObjectsV2Output, StoreError> {
        let doing = || format!("list {prefix:?}");
        let mut request = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(format!("{}{prefix}", self.prefix))
            .max_keys(limit as i32)
            .set_delimiter(delimiter.map(str::to_owned));
        request = match start {
            Start::Beginning => request,
            Start::After(key) => request.start_after(key),
            Start::Token(token) => request.continuation_token(token),
        };
        let asked = async { request.send().await.map_err(|error| store_error(doing(), error)) };
        within(self.answer_timeout, doing, asked).await
    }

    fn info_of(&self, object: &Object) -> Option<ObjectInfo> {
        Some(ObjectInfo {
            name: self.name_of(object.key()?)?,
            bytes: u64::try_from(object.size()?).ok()?,
            modified: SystemTime::try_from(*object.last_modified()?).ok()?,
            class: object.storage_class().and_then(|class| StorageClass::said(class.as_str())),
        })
    }
}

fn next(page: &ListObjectsV2Output) -> Option<Start> {
    page.next_continuation_token().map(|token| Start::Token(token.to_owned()))
}

fn legal_folder(common: &str) -> Option<String> {
    let folder = common.strip_suffix('/')?;
    ObjectName::new(folder).ok().map(|_legal| folder.to_owned())
}

fn stuck(prefix: &str) -> StoreError {
    StoreError::new(ErrorKind::Misconfigured, format!("list {prefix:?}")).caused_by(format!(
        "the listing does not end within {PAGES_MAX} pages; is the prefix shared with others?"
    ))
}
