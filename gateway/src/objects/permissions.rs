//! Who may do what: the settings of an access key, its policy, and the policy of a bucket.
//!
//! 1. An access key that is bound to some buckets, or to reading, can do nothing else, whatever a policy says.
//! 2. What any policy denies is denied.
//! 3. What the key's policy or the bucket's allows is allowed; a key without a policy may do everything. For a key that
//!    is bound to its own buckets only the bucket's policy counts where another key made the bucket.
//! 4. Who shows no key may do what the bucket's policy allows, unless the bucket blocks that.
//!
//! A bucket's policy cannot keep keys without a policy from reading, replacing and removing it: nobody is locked
//! out for ever. What owner, group and mode of a share's file say is asked besides, where the file is used.

use std::sync::Arc;

use tidegate_protocols::objects::policy::{Policy, Request, Verdict};
use tidegate_protocols::objects::{Asked, ObjectError, ObjectName, Tags, Who};

use super::parts::Loaded;
use super::{AccessKeyConfig, BucketConfig, Objects};
use crate::files::Served;

/// Actions about a bucket's policy, from which nobody is kept whose key has no policy.
const POLICY_ACTIONS: [&str; 3] = ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"];
/// Actions that a request to make a bucket needs; in one that is there they do nothing but find the name taken.
const NAMING_ACTIONS: [&str; 1] = ["s3:CreateBucket"];
/// How actions begin that change nothing.
const READING: [&str; 3] = ["s3:Get", "s3:List", "s3:Head"];
/// How the condition key of a tag of the object begins that is there.
const EXISTING_TAG: &str = "s3:existingobjecttag/";

impl Objects {
    pub(super) async fn permit(&self, who: &Who, asked: &Asked<'_>) -> Result<(), ObjectError> {
        let key = self.key_of(who)?;
        let Some(bucket) = asked.bucket else {
            let own = own_verdict(key.as_ref(), who, asked, "*", None);
            return if own == Verdict::Allow { Ok(()) } else { Err(ObjectError::AccessDenied) };
        };
        if let Some(key) = &key
            && !(key.may_use(bucket) && (!key.read_only || is_reading(asked.action)))
        {
            return Err(ObjectError::AccessDenied);
        }
        let name = asked.key.map_or_else(|| bucket.to_owned(), |key| format!("{bucket}/{key}"));
        let resource = format!("arn:aws:s3:::{name}");
        let found = self.known.read().buckets.get(bucket).cloned();
        let Some(found) = found else {
            return match own_verdict(key.as_ref(), who, asked, &resource, None) {
                Verdict::Allow if asked.action == "s3:CreateBucket" => Ok(()),
                Verdict::Allow => Err(ObjectError::NoSuchBucket),
                Verdict::Deny | Verdict::Silent => Err(ObjectError::AccessDenied),
            };
        };
        let served = self.files.share(found.share).ok_or(ObjectError::SlowDown)?;
        let loaded = self.loaded(&found, &served).await?;
        let tags = self.tags_for(key.as_ref(), &found, &served, &loaded, asked).await?;
        let own = match own_verdict(key.as_ref(), who, asked, &resource, tags.as_ref()) {
            Verdict::Allow if is_kept_out(key.as_ref(), who, asked, &loaded) => Verdict::Silent,
            own => own,
        };
        let theirs = bucket_verdict(&loaded, key.as_ref(), who, asked, &resource, tags.as_ref());
        match (own, theirs) {
            (Verdict::Allow, Verdict::Allow | Verdict::Silent) | (Verdict::Silent, Verdict::Allow) => Ok(()),
            (Verdict::Deny, _) | (_, Verdict::Deny) | (Verdict::Silent, Verdict::Silent) => {
                Err(ObjectError::AccessDenied)
            }
        }
    }

    /// The caller's key; none for who shows none.
    fn key_of(&self, who: &Who) -> Result<Option<AccessKeyConfig>, ObjectError> {
        let Some(id) = &who.access_key else { return Ok(None) };
        let key = self.known.read().keys.get(id).cloned();
        key.map(Some).ok_or(ObjectError::AccessDenied)
    }

    /// The tags of the object that is asked for, if a policy wants to know them.
    async fn tags_for(
        &self,
        key: Option<&AccessKeyConfig>,
        bucket: &Arc<BucketConfig>,
        served: &Arc<Served>,
        loaded: &Arc<Loaded>,
        asked: &Asked<'_>,
    ) -> Result<Option<Tags>, ObjectError> {
        let own = key.and_then(|key| key.policy.as_deref());
        let wanted = own.into_iter().chain(&loaded.policy).any(Policy::asks_for_tags);
        let Some(name) = asked.key.filter(|_| wanted) else { return Ok(None) };
        let access = self.access_as_root(bucket, served, loaded);
        let name = ObjectName { bucket: bucket.name.clone(), key: name.to_owned() };
        match access.version_of(&name.key, asked.version).await {
            Ok(held) => Ok(Some(held.record.map(|record| record.metadata.tags).unwrap_or_default())),
            Err(
                ObjectError::NoSuchKey
                | ObjectError::NoSuchVersion
                | ObjectError::DeleteMarker { .. }
                | ObjectError::InvalidArgument(_),
            ) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_reading(action: &str) -> bool {
    READING.iter().any(|start| action.starts_with(start))
}

/// Whether the bucket is another's, and the caller's key is bound to its own. That the name is taken is told.
fn is_kept_out(key: Option<&AccessKeyConfig>, who: &Who, asked: &Asked<'_>, loaded: &Loaded) -> bool {
    let owner = loaded.settings.owner.as_deref();
    let is_others = key.is_some_and(|key| key.keeps_out_of(owner, who.name()));
    is_others && !NAMING_ACTIONS.contains(&asked.action)
}

/// What the key's own policy says.
fn own_verdict(
    key: Option<&AccessKeyConfig>,
    who: &Who,
    asked: &Asked<'_>,
    resource: &str,
    tags: Option<&Tags>,
) -> Verdict {
    match key {
        None => Verdict::Silent,
        Some(AccessKeyConfig { policy: None, .. }) => Verdict::Allow,
        Some(AccessKeyConfig { policy: Some(policy), .. }) => verdict(policy, who, asked, resource, tags),
    }
}

/// What the bucket's policy says.
fn bucket_verdict(
    loaded: &Loaded,
    key: Option<&AccessKeyConfig>,
    who: &Who,
    asked: &Asked<'_>,
    resource: &str,
    tags: Option<&Tags>,
) -> Verdict {
    let said = match &loaded.policy {
        Some(policy) => verdict(policy, who, asked, resource, tags),
        None if loaded.policy_is_unreadable => Verdict::Deny,
        None => return Verdict::Silent,
    };
    let is_free = key.is_some_and(|key| key.policy.is_none());
    let restricted = loaded.settings.public_access.is_some_and(|block| block.restrict);
    match said {
        Verdict::Deny if is_free && POLICY_ACTIONS.contains(&asked.action) => Verdict::Silent,
        Verdict::Allow if key.is_none() && restricted => Verdict::Silent,
        said => said,
    }
}

fn verdict(policy: &Policy, who: &Who, asked: &Asked<'_>, resource: &str, tags: Option<&Tags>) -> Verdict {
    let value = |name: &str| value_of(name, who, asked, tags);
    let access_key = who.access_key.as_deref();
    policy.verdict(&Request { access_key, action: asked.action, resource, value: &value })
}

/// What is known of a condition key; every one that a policy may ask for has its value here or from the request.
fn value_of(name: &str, who: &Who, asked: &Asked<'_>, tags: Option<&Tags>) -> Option<Vec<String>> {
    let lower = name.to_ascii_lowercase();
    let now = jiff::Timestamp::now();
    let one = match lower.as_str() {
        "aws:sourceip" => Some(who.address.to_canonical().to_string()),
        "aws:securetransport" => Some(who.secure.to_string()),
        "aws:currenttime" => Some(now.to_string()),
        "aws:epochtime" => Some(now.as_second().to_string()),
        "aws:username" | "aws:userid" => who.access_key.clone(),
        "aws:principaltype" => Some(if who.access_key.is_some() { "User" } else { "Anonymous" }.to_owned()),
        _ => None,
    };
    if one.is_some() {
        return one.map(|value| vec![value]);
    }
    if lower.starts_with(EXISTING_TAG) {
        return tags?.get(name.get(EXISTING_TAG.len()..)?).map(|value| vec![value.clone()]);
    }
    asked.conditions.iter().find(|(known, _)| is_same(known, name)).map(|(_, values)| values.clone())
}

/// Whether two names are of one condition key: what follows a slash, as the name of a tag does, is told apart by case.
fn is_same(one: &str, other: &str) -> bool {
    let split = |name: &str| name.find('/').unwrap_or(name.len());
    let (one, other) = (one.split_at(split(one)), other.split_at(split(other)));
    one.0.eq_ignore_ascii_case(other.0) && one.1 == other.1
}

#[cfg(test)]
mod tests {
    use tidegate_protocols::objects::policy::VIEW_KEYS;

    use super::*;

    #[test]
    fn what_a_policy_may_ask_for_is_found_in_any_case_of_letters() {
        let who = Who { access_key: Some("k".into()), address: [10, 0, 0, 7].into(), secure: true };
        let conditions = [("s3:prefix".to_owned(), vec!["a/".to_owned()])];
        let asked = Asked {
            action: "s3:ListBucket",
            bucket: Some("b"),
            key: None,
            version: None,
            conditions: &conditions,
        };
        let tags = Tags::from([("Team".to_owned(), "red".to_owned())]);
        let value = |name: &str| value_of(name, &who, &asked, Some(&tags)).map(|values| values.join(","));
        assert_eq!(value("aws:SourceIp").as_deref(), Some("10.0.0.7"));
        assert_eq!(value("AWS:SecureTransport").as_deref(), Some("true"));
        assert_eq!(value("S3:Prefix").as_deref(), Some("a/"));
        assert_eq!(value("s3:ExistingObjectTag/Team").as_deref(), Some("red"));
        assert_eq!(value("s3:ExistingObjectTag/team"), None);
        assert_eq!(value("s3:delimiter"), None);
        for known in VIEW_KEYS {
            let tag = if known.ends_with('/') { "Team" } else { "" };
            assert!(value(&format!("{known}{tag}")).is_some(), "{known}");
        }
    }

    #[test]
    fn reading_changes_nothing() {
        for action in ["s3:GetObject", "s3:ListBucket", "s3:ListAllMyBuckets"] {
            assert!(is_reading(action), "{action}");
        }
        for action in ["s3:PutObject", "s3:DeleteObject", "s3:BypassGovernanceRetention", "s3:CreateBucket"] {
            assert!(!is_reading(action), "{action}");
        }
    }
}
