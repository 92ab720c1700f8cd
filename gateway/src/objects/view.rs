//! [`ObjectView`] for the buckets of a gateway.

use async_trait::async_trait;
use tidegate_protocols::objects::{
    Body, Bucket, ChecksumAlgorithm, Completion, Conditions, CopySource, ListQuery, Listing, NewObject,
    ObjectError, ObjectName, ObjectView, OpenObject, PartCopy, PartDone, PartName, PartQuery, Parts, PutDone,
    Tags, UploadQuery, Uploads, Who,
};
use zeroize::Zeroizing;

use super::{Objects, bounded};

/// Buckets are the operator's: the settings say which there are.
const FIXED: ObjectError = ObjectError::Fixed(
    "buckets are made and removed in the settings of the gateway ([[bucket]]), not by clients",
);

#[async_trait]
impl ObjectView for Objects {
    async fn secret(&self, access_key: &str) -> Option<Zeroizing<String>> {
        self.known.read().keys.get(access_key).map(|key| key.secret.clone())
    }

    async fn buckets(&self, who: &Who) -> Result<Vec<Bucket>, ObjectError> {
        let mut buckets = Vec::new();
        for bucket in self.visible(who)? {
            let created = bounded(async { self.access(who, &bucket.name)?.created().await }).await?;
            buckets.push(Bucket { name: bucket.name.clone(), created });
        }
        Ok(buckets)
    }

    async fn bucket(&self, who: &Who, bucket: &str) -> Result<Bucket, ObjectError> {
        let access = self.access(who, bucket)?;
        Ok(Bucket { name: bucket.to_owned(), created: bounded(access.created()).await? })
    }

    async fn create_bucket(&self, who: &Who, bucket: &str) -> Result<(), ObjectError> {
        match self.access(who, bucket) {
            Ok(_) => Err(ObjectError::BucketOwned),
            Err(ObjectError::NoSuchBucket) => Err(FIXED),
            Err(error) => Err(error),
        }
    }

    async fn delete_bucket(&self, who: &Who, bucket: &str) -> Result<(), ObjectError> {
        self.access(who, bucket)?;
        Err(FIXED)
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

    async fn open(&self, who: &Who, name: &ObjectName) -> Result<Box<dyn OpenObject>, ObjectError> {
        Ok(Box::new(self.find(who, name).await?))
    }

    async fn delete(&self, who: &Who, name: &ObjectName, conditions: &Conditions) -> Result<(), ObjectError> {
        bounded(self.delete_object(who, name, conditions)).await
    }

    async fn set_tags(&self, who: &Who, name: &ObjectName, tags: Tags) -> Result<(), ObjectError> {
        bounded(self.tag_object(who, name, tags)).await
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
