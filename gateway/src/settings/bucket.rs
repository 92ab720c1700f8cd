//! `[s3]`, `[[bucket]]` and `[[access_key]]`: what S3 clients see.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tidegate_protocols::objects::policy::Policy;

use super::names::{AccessKeyId, BucketName, HostName, LocalPath, Name};
use super::network::Listen;
use super::quota::Quota;
use super::schema::table;
use super::secret::SecretReference;
use super::share::OnStoreLost;
use super::values::{Span, choice, text_setting};

table! {
    /// The S3 server. It is off while it listens nowhere.
    pub struct S3("s3", once) {
        /// Where it listens, such as `0.0.0.0:9000`.
        listen: Vec<Listen>, default(Vec::new());
        /// The certificate chain in PEM, for TLS; `private_key` then too. Without both: plain HTTP, for
        /// networks that are trusted.
        certificate: LocalPath, optional;
        /// The key of the certificate, in PEM.
        private_key: SecretReference, optional;
        /// The domain below which buckets are hosts: `data.s3.example.net` is bucket `data` when this is
        /// `s3.example.net`. Without it clients address buckets by path.
        domain: HostName, optional;
        /// Most connections at once. What bodies of all of them take on their way is about an eighth of `gateway.memory` at
        /// most; each has its own buffers beside, and where the client sends in chunks with signatures of their own the chunk that is
        /// under way, of up to 16 MiB.
        connections: u32, default(10_000) in 1, 1_000_000;
        /// Most buckets; a client that would make another is refused.
        buckets: u32, default(1_000) in 0, 10_000;
    }
}

choice! {
    /// When a change of a bucket is answered.
    pub enum Durable {
        /// It is in the journal, on this machine's disk.
        Local = "local",
        /// It is in the repository too.
        Repository = "repository",
    }
}

/// A policy in the JSON language of AWS, as a text.
#[derive(Clone, Debug)]
pub struct PolicyText {
    text: String,
    policy: Arc<Policy>,
}

impl PolicyText {
    /// What it says.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }
}

impl PartialEq for PolicyText {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl FromStr for PolicyText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Policy::of_key(text) {
            Ok(policy) => Ok(Self { text: text.to_owned(), policy: Arc::new(policy) }),
            Err(error) => Err(format!("is no policy of an access key: {error}")),
        }
    }
}

impl fmt::Display for PolicyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

text_setting!(PolicyText, "a policy in the JSON language of AWS, between \'\'\' and \'\'\'");

table! {
    /// A bucket. With `share` it is that share seen through S3: key `a/b/c` is the file `/a/b/c`, and both
    /// doors see every change at once. Without, it is a bucket of objects: any key, no NFS; it is kept in the
    /// repository under its own name as a share is.
    pub struct Bucket("bucket", repeated) {
        /// What clients call it.
        name: BucketName, required;
        /// The share that it shows. The keys below are then the share's, and not set here.
        share: Name, optional;
        /// Refuse every change by clients.
        read_only: bool, default(false);
        /// When a change by an S3 client is answered. With `repository` the answer waits for the head that
        /// contains it: it is as safe as the repository, and as slow.
        durable: Durable, default(Durable::Local);
        /// Recovery point objective: how old the newest published head may become.
        rpo: Span, default(Span::seconds(30)) in Span::seconds(1), Span::days(1);
        /// Serve, read-only, what another gateway publishes, and follow it.
        follow: bool, default(false);
        /// Whose it is: the `owner` of the access key that made it. Keys with `own_buckets_only` of another owner do not see it.
        /// Without it: nobody's, and so everybody's.
        owner: AccessKeyId, optional;
        /// How much its objects may use, as for a share.
        quota: Quota, optional;
        /// Ask the store for packs that sleep in its archive when somebody reads an object in them, as for a share.
        thaw_on_read: bool, default(false);
        /// What happens to writes while the store does not answer.
        on_store_lost: OnStoreLost, default(OnStoreLost::Continue);
        /// Keep the bucket in a key domain of its own, as for a share. Fixed when the bucket is made.
        own_key: bool, default(false);
    }
}

table! {
    /// An access key: who S3 clients are. It does not travel with heads; another site has its own.
    pub struct AccessKey("access_key", repeated) {
        /// Its id.
        id: AccessKeyId, required;
        /// Its secret.
        secret: SecretReference, required;
        /// The name under which it owns the buckets that it makes. Keys with the same one own them together, so that a key can
        /// be replaced by another. Without it: its id.
        owner: AccessKeyId, optional;
        /// The buckets that it may use. Without any: all.
        buckets: Vec<BucketName>, default(Vec::new());
        /// Refuse every change.
        read_only: bool, default(false);
        /// Hide buckets of another `owner` from it, unless their policy lets it in. Buckets without an owner are not hidden.
        own_buckets_only: bool, default(false);
        /// What it may do besides, in the JSON language of AWS: `{"Statement": [{"Effect": "Allow", ...}]}`.
        /// Without it: everything. What the policy of a bucket allows or denies counts too.
        policy: PolicyText, optional;
        /// The user that acts in the files of a share.
        uid: u32, default(65534);
        /// Its primary group.
        gid: u32, default(65534);
        /// Its further groups.
        gids: Vec<u32>, default(Vec::new());
    }
}
