//! `[s3]`, `[[bucket]]` and `[[access_key]]`: what S3 clients see.

use super::names::{AccessKeyId, BucketName, HostName, LocalPath, Name};
use super::network::Listen;
use super::quota::Quota;
use super::schema::table;
use super::secret::SecretReference;
use super::share::OnStoreLost;
use super::values::Span;

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
        /// Most connections at once.
        connections: u32, default(10_000) in 1, 1_000_000;
    }
}

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
        /// Recovery point objective: how old the newest published head may become.
        rpo: Span, default(Span::seconds(30)) in Span::seconds(1), Span::days(1);
        /// Serve, read-only, what another gateway publishes, and follow it.
        follow: bool, default(false);
        /// How much its objects may use, as for a share.
        quota: Quota, optional;
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
        /// The buckets that it may use. Without any: all.
        buckets: Vec<BucketName>, default(Vec::new());
        /// Refuse every change.
        read_only: bool, default(false);
        /// The user that acts in the files of a share.
        uid: u32, default(65534);
        /// Its primary group.
        gid: u32, default(65534);
        /// Its further groups.
        gids: Vec<u32>, default(Vec::new());
    }
}
