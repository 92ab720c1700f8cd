//! [`ObjectView`] for the buckets of a gateway.

use std::sync::Arc;

use async_trait::async_trait;
use tidegate_protocols::objects::cors::CorsRule;
use tidegate_protocols::objects::{
    Asked, Body, Bucket, BucketChange, BucketSettings, Changed, ChecksumAlgorithm, Completion, Conditions,
    CopySource, Deletion, ListQuery, Listing, NewBucket, NewObject, ObjectError, ObjectName, ObjectView,
    OpenObject, PartCopy, PartDone, PartName, PartQuery, Parts, PutDone, Retention, Tags, UploadQuery,
    Uploads, VersionId, VersionListing, VersionQuery, Who,
};
use zeroize::Zeroizing;

use super::{Objects, bounded, disguised};

#[async_trait]
impl ObjectView for Objects {
    async fn secret(&self, access_key: &str) -> Option<Zeroizing<String>> {
        self.known.read().keys.get(access_key).map(|key| key.secret.clone())
    }

    async fn authorize(&self, who: &Who, asked: &Asked<'_>) -> Result<(), ObjectError> {
        bounded(self.permit(who, asked)).await
    }

    async fn buckets(&self, who: &Who) -> Result<Vec<Bucket>, ObjectError> {
        let mut buckets = Vec::new();
        for bucket in self.visible(who)? {
            let access = bounded(self.access(who, &bucket.name)).await?;
            if access.is_seen() {
                buckets.push(bounded(access.described()).await?);
            }
        }
        Ok(buckets)
    }

    async fn bucket(&self, who: &Who, bucket: &str) -> Result<Bucket, ObjectError> {
        bounded(async { self.access(who, bucket).await?.described().await }).await
    }

    async fn create_bucket(&self, who: &Who, bucket: &str, new: NewBucket) -> Result<(), ObjectError> {
        self.make_bucket(who, bucket, new).await
    }

    async fn delete_bucket(&self, who: &Who, bucket: &str) -> Result<(), ObjectError> {
        self.remove_bucket(who, bucket).await
    }

    fn owner_name(&self, who: &Who) -> String {
        self.name_of(who)
    }

    async fn settings(&self, who: &Who, bucket: &str) -> Result<Arc<BucketSettings>, ObjectError> {
        bounded(async {
            let settings = self.access(who, bucket).await?.loaded.settings.clone();
            // Whoever shows no key need not learn one's id; that all is one owner's it may.
            let hidden =
                settings.owner.as_ref().filter(|_| who.access_key.is_none()).map(|name| disguised(name));
            Ok(match hidden {
                Some(owner) => Arc::new(BucketSettings { owner: Some(owner), ..(*settings).clone() }),
                None => settings,
            })
        })
        .await
    }

    async fn change_settings(
        &self,
        who: &Who,
        bucket: &str,
        change: BucketChange,
    ) -> Result<(), ObjectError> {
        bounded(self.change_parts(who, bucket, change)).await
    }

    async fn cors(&self, bucket: &str) -> Vec<CorsRule> {
        let Some(found) = self.known.read().buckets.get(bucket).cloned() else { return Vec::new() };
        let Some(served) = self.files.share(found.share) else { return Vec::new() };
        match bounded(self.loaded(&found, &served)).await {
            Ok(loaded) => loaded.settings.cors.clone().unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    async fn put(
        &self,
        who: &Who,
        name: &ObjectName,
        new: NewObject,
        body: &mut dyn Body,
    ) -> Result<PutDone, ObjectError> {
        self.put_object(who, name, new, body).await
    }

    async fn copy(
        &self,
        who: &Who,
        source: &CopySource,
        name: &ObjectName,
        new: NewObject,
        keep_metadata: bool,
        keep_tags: bool,
    ) -> Result<PutDone, ObjectError> {
        self.copy_object(who, source, name, (new, keep_metadata, keep_tags)).await
    }

    async fn open(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
    ) -> Result<Box<dyn OpenObject>, ObjectError> {
        Ok(Box::new(self.find(who, name, version).await?))
    }

    async fn delete(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        conditions: &Conditions,
        bypass: bool,
    ) -> Result<Deletion, ObjectError> {
        bounded(self.delete_object(who, name, version, conditions, bypass)).await
    }

    async fn set_tags(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        tags: Tags,
    ) -> Result<Changed, ObjectError> {
        bounded(self.tag_object(who, name, version, tags)).await
    }

    async fn set_retention(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        retention: Option<Retention>,
        bypass: bool,
    ) -> Result<Changed, ObjectError> {
        self.retain(who, name, version, retention, bypass).await
    }

    async fn set_legal_hold(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        held: bool,
    ) -> Result<Changed, ObjectError> {
        self.hold(who, name, version, held).await
    }

    async fn versions(
        &self,
        who: &Who,
        bucket: &str,
        query: &VersionQuery,
    ) -> Result<VersionListing, ObjectError> {
        self.list_versions(who, bucket, query).await
    }

    async fn list(&self, who: &Who, bucket: &str, query: &ListQuery) -> Result<Listing, ObjectError> {
        self.list_objects(who, bucket, query).await
    }

    async fn create_upload(
        &self,
        who: &Who,
        name: &ObjectName,
        new: NewObject,
    ) -> Result<String, ObjectError> {
        bounded(self.begin_upload(who, name, &new)).await
    }

    async fn put_part(
        &self,
        who: &Who,
        part: &PartName,
        algorithm: Option<ChecksumAlgorithm>,
        body: &mut dyn Body,
    ) -> Result<PartDone, ObjectError> {
        self.put_upload_part(who, part, algorithm, body).await
    }

    async fn copy_part(&self, who: &Who, part: &PartName, copy: &PartCopy) -> Result<PartDone, ObjectError> {
        self.copy_upload_part(who, part, copy).await
    }

    async fn parts(
        &self,
        who: &Who,
        name: &ObjectName,
        upload: &str,
        query: &PartQuery,
    ) -> Result<Parts, ObjectError> {
        bounded(self.list_parts(who, name, upload, query)).await
    }

    async fn uploads(&self, who: &Who, bucket: &str, query: &UploadQuery) -> Result<Uploads, ObjectError> {
        bounded(self.list_uploads(who, bucket, query)).await
    }

    async fn complete_upload(
        &self,
        who: &Who,
        name: &ObjectName,
        upload: &str,
        completion: &Completion,
    ) -> Result<PutDone, ObjectError> {
        self.finish_upload(who, name, upload, completion).await
    }

    async fn abort_upload(&self, who: &Who, name: &ObjectName, upload: &str) -> Result<(), ObjectError> {
        bounded(self.drop_upload(who, name, upload)).await
    }
}
