//! Buckets and access keys of the settings, turned into what serves them.

use std::collections::HashMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{AssemblyError, share_quota};
use crate::appliance::{Appliance, ShareConfig, WarmWhat};
use crate::files::{ExportRules, Squash};
use crate::namespace::Credentials;
use crate::objects::{AccessKeyConfig, BucketConfig, Objects};
use crate::settings::{self, Settings};

/// How the share of a bucket of objects is served: to no NFS client.
pub fn bucket_share(bucket: &settings::Bucket) -> ShareConfig {
    ShareConfig {
        name: bucket.name.as_str().to_owned(),
        rules: ExportRules {
            path: format!("s3://{}", bucket.name),
            exported: false,
            clients: Vec::new(),
            secure_ports: false,
            read_only: bucket.read_only,
            squash: Squash::None,
            anonymous_uid: 0,
            anonymous_gid: 0,
            snapshot_folder: false,
        },
        rpo: bucket.rpo.duration(),
        follow: bucket.follow,
        stop_without_store: bucket.on_store_lost == settings::OnStoreLost::Stop,
        own_key: bucket.own_key,
        keep_handles: false,
        warm: WarmWhat::Hot,
        thaw_on_read: bucket.thaw_on_read,
        quota: bucket.quota.as_ref().map(share_quota).unwrap_or_default(),
        settings: serde_json::json!({ "bucket": settings::table_to_toml(bucket) }),
    }
}

/// Whether the settings of a bucket's own share differ, so that it must be served anew.
pub(super) fn is_served_differently(before: Option<&settings::Bucket>, now: &settings::Bucket) -> bool {
    now.share.is_none() && before != Some(now)
}

/// Lets the object view know the buckets and the access keys of the settings, whose shares are served already.
pub async fn set_objects(
    objects: &Objects,
    appliance: &Arc<Appliance>,
    settings: &Settings,
) -> Result<(), AssemblyError> {
    let mut buckets = Vec::with_capacity(settings.buckets.len());
    for bucket in &settings.buckets {
        let share = bucket.share.as_ref().map_or(bucket.name.as_str(), |share| share.as_str());
        buckets.push(BucketConfig {
            name: bucket.name.as_str().to_owned(),
            owner: bucket.owner.as_ref().map(ToString::to_string),
            share: appliance.share_id(share)?,
            flat: bucket.share.is_none(),
            read_only: bucket.read_only,
            in_repository: bucket.durable == settings::Durable::Repository,
        });
    }
    let mut keys = HashMap::new();
    for key in &settings.access_keys {
        keys.insert(key.id.as_str().to_owned(), access_key(key).await?);
    }
    objects.set(buckets, keys);
    Ok(())
}

async fn access_key(key: &settings::AccessKey) -> Result<AccessKeyConfig, AssemblyError> {
    let secret = key.secret.resolve().await?;
    let text =
        secret.expose_text().filter(|text| !text.is_empty()).ok_or_else(|| AssemblyError::Unusable {
            what: format!("the secret of access key {}", key.id),
            why: "it is empty, or no text".into(),
        })?;
    let buckets: Vec<_> = key.buckets.iter().map(|name| name.as_str().to_owned()).collect();
    Ok(AccessKeyConfig {
        secret: Zeroizing::new(text.to_owned()),
        buckets: (!buckets.is_empty()).then_some(buckets),
        read_only: key.read_only,
        owner: key.owner.as_ref().map(ToString::to_string),
        own_buckets_only: key.own_buckets_only,
        policy: key.policy.as_ref().map(|text| text.policy().clone()),
        credentials: Credentials { uid: key.uid, gid: key.gid, gids: key.gids.clone() },
    })
}
