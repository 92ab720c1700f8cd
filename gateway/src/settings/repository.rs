//! `[repository]` and `[[target]]`: how the repository is unlocked, and where it lies.

use tidegate_replicator::store::{self, LockRule};
use toml_edit::Value;
use zeroize::Zeroizing;

use super::names::{LocalPath, Name, Region, RepositoryAddress};
use super::network::Url;
use super::schema::{Setting, table};
use super::secret::{SecretError, SecretReference};
use super::values::{Rate, choice};

table! {
    /// The repository: everything that is kept, encrypted, on the targets.
    pub struct Repository("repository", once) {
        /// The secret that opens one of the repository's key slots: the content of a key file, a
        /// passphrase, or a recovery key. Without it nothing can be read, ever: keep a copy away
        /// from this machine.
        key: SecretReference, required;
        /// The name of the target from which the repository is led: shares are claimed there, and heads are
        /// published there first. All other targets are copies, which follow. Without it: the first
        /// target. `tidegate target promote` changes it.
        lead: Name, optional;
        /// How many targets must have what was written before its local copy may be evicted, the lead among
        /// them. Until then it counts towards `cache.dirty`.
        required: u32, default(1) in 1, 8;
    }
}

choice! {
    /// Where the bucket's name stands in requests.
    pub enum UrlStyle {
        /// In the path: `https://endpoint/bucket/key`. What most self-hosted stores want.
        Path = "path",
        /// In the host: `https://bucket.endpoint/key`. What AWS wants.
        VirtualHost = "virtual-host",
    }
}

choice! {
    /// Who can delete what is locked before its lock ends.
    pub enum LockMode {
        /// Nobody, not even the owner of the account.
        Compliance = "compliance",
        /// Whoever has the right to bypass it.
        Governance = "governance",
    }
}

/// Where the credentials of a store come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// From the surroundings: the usual AWS environment variables, the ECS or EC2 instance role.
    Ambient,
    /// From a secret of two or three lines: access key id, secret access key, session token.
    Secret(SecretReference),
}

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The secret cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// It is something else.
    #[error("expected the access key id and the secret access key, each on a line")]
    Unusable,
}

impl Credentials {
    /// What a client signs with. A secret has two or three lines: access key id, secret access key, session token.
    pub async fn resolve(&self) -> Result<store::Credentials, CredentialsError> {
        let Self::Secret(reference) = self else {
            let environment = std::env::var_os("AWS_ACCESS_KEY_ID").is_some();
            let (of_environment, of_machine) =
                (store::Credentials::Environment, store::Credentials::InstanceRole);
            return Ok(if environment { of_environment } else { of_machine });
        };
        let secret = reference.resolve().await?;
        let mut lines = secret.expose_text().ok_or(CredentialsError::Unusable)?.lines().map(str::trim);
        let mut line = || lines.next().filter(|line| !line.is_empty());
        let (access_key, secret_key) = line().zip(line()).ok_or(CredentialsError::Unusable)?;
        let access_key = access_key.to_owned();
        let secret_key = Zeroizing::new(secret_key.to_owned());
        let session_token = line().map(|token| Zeroizing::new(token.to_owned()));
        Ok(store::Credentials::Static { access_key, secret_key, session_token })
    }
}

/// How [`Credentials::Ambient`] is written.
const AMBIENT: &str = "ambient";

impl Setting for Credentials {
    const SHOWN: bool = false; // Somebody may have written the secret itself.

    fn form() -> String {
        format!(
            "\"{AMBIENT}\" (environment or instance role), or {}, whose content is the access key id, \
             the secret access key and, if there is one, the session token, each on a line",
            SecretReference::form()
        )
    }

    fn parse(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some(AMBIENT) => Ok(Self::Ambient),
            Some(_) => Err("is another word".to_owned()),
            None => SecretReference::parse(value).map(Self::Secret),
        }
    }

    fn write(&self) -> Value {
        match self {
            Self::Ambient => AMBIENT.into(),
            Self::Secret(reference) => reference.write(),
        }
    }
}

table! {
    /// A store that the repository is kept on. One of them leads (`repository.lead`); each of the others is a
    /// complete copy, which another gateway can serve when the lead is lost.
    pub struct Target("target", repeated) {
        /// What it is called in messages and commands.
        name: Name, required;
        /// Where the repository lies: a local directory, or a bucket and a prefix in it.
        address: RepositoryAddress, required;
        /// The S3 service, for `s3://` addresses. Without it: AWS, in the given region.
        endpoint: Url, optional;
        /// The region that requests are signed for. AWS needs it; for most other services the
        /// default `us-east-1` will do.
        region: Region, optional;
        /// Where the bucket's name stands in requests. Without it: `path` when there is an
        /// `endpoint`, else `virtual-host`.
        style: UrlStyle, optional;
        /// Where the access key comes from, for `s3://` addresses.
        credentials: Credentials, default(Credentials::Ambient);
        /// Object lock: for as long as something retained needs an object, nobody can delete it, whoever has the credentials.
        /// Only in a bucket that has object lock enabled, without a default retention. Without it: nothing is
        /// locked. Objects that were stored before it was set are locked by the next round.
        lock: LockMode, optional;
        /// What is needed is locked for at least so many days from every moment on, and for at most a third (two days at
        /// least) more. What is needed no more takes room for as long.
        lock_days: u32, default(30) in 1, 36_500;
        /// The credentials only add: they may not delete versions of objects. Garbage is then planned here, and deleted
        /// by `tidegate gc --delete-credentials` from another machine. Only with `lock`.
        append_only: bool, default(false);
        /// An HTTP proxy between here and the store.
        proxy: Url, optional;
        /// A PEM file with the certificates to trust instead of the system's.
        ca_file: LocalPath, optional;
        /// The most that is sent to it, where no row of `[[bandwidth]]` says otherwise. Without it: as fast as it goes.
        upload_rate: Rate, optional;
        /// The most that is fetched from it, where no row of `[[bandwidth]]` says otherwise. Without it: as fast as it
        /// goes.
        download_rate: Rate, optional;
        /// Requests in flight at once in each direction at most. How many are best for the link is found out while
        /// it is used; this is the bound.
        connections: u32, default(32) in 1, 256;
        /// How many of the requests of a minute may be repetitions of failed ones, in percent.
        retry_percent: u32, default(20) in 1, 100;
    }
}

impl Target {
    /// The rule by which objects are locked there.
    pub fn lock_rule(&self) -> Option<LockRule> {
        let mode = match self.lock? {
            LockMode::Compliance => store::LockMode::Compliance,
            LockMode::Governance => store::LockMode::Governance,
        };
        Some(LockRule { mode, days: self.lock_days })
    }
}
