//! Where the credentials for a bucket come from.
//!
//! Secrets arrive here as values that the caller resolved from references; they are never printed and are wiped
//! from memory when dropped (the SDK keeps copies of its own while it signs).

use std::fmt;

use aws_config::credential_process::CredentialProcessProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::config::Region;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use zeroize::Zeroizing;

/// A source of credentials for S3.
#[derive(Clone)]
pub enum Credentials {
    /// Keys at hand.
    Static {
        /// The access key id, which is no secret.
        access_key: String,
        /// The secret key.
        secret_key: Zeroizing<String>,
        /// The token that comes with temporary keys.
        session_token: Option<Zeroizing<String>>,
    },
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    Environment,
    /// A profile of the shared configuration files, in any way that they describe. Where these lie,
    /// `AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE` may say.
    Profile {
        /// Its name.
        name: String,
    },
    /// The role of the virtual machine that this runs on, from its metadata service.
    InstanceRole,
    /// What a command prints, in the form of the AWS CLI's `credential_process`.
    Command {
        /// The command line, run by a shell.
        command: String,
    },
}

impl Credentials {
    /// The SDK's provider for this source. Asks for nothing yet.
    pub(super) fn provider(&self, region: &Region, http: &SharedHttpClient) -> SharedCredentialsProvider {
        let surroundings = || {
            ProviderConfig::without_region().with_region(Some(region.clone())).with_http_client(http.clone())
        };
        match self {
            Self::Static { access_key, secret_key, session_token } => {
                SharedCredentialsProvider::new(Keys::new(
                    access_key.as_str(),
                    secret_key.as_str(),
                    session_token.as_ref().map(|token| token.to_string()),
                    None,
                    "settings",
                ))
            }
            Self::Environment => {
                SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new())
            }
            Self::Profile { name } => SharedCredentialsProvider::new(
                ProfileFileCredentialsProvider::builder()
                    .configure(&surroundings())
                    .profile_name(name.as_str())
                    .build(),
            ),
            Self::InstanceRole => SharedCredentialsProvider::new(
                ImdsCredentialsProvider::builder().configure(&surroundings()).build(),
            ),
            Self::Command { command } => {
                SharedCredentialsProvider::new(CredentialProcessProvider::new(command.clone()))
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static { access_key, .. } => write!(f, "Static({access_key:?}, secret not shown)"),
            Self::Environment => f.write_str("Environment"),
            Self::Profile { name } => write!(f, "Profile({name:?})"),
            Self::InstanceRole => f.write_str("InstanceRole"),
            Self::Command { .. } => f.write_str("Command"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials::Static {
            access_key: "AKIA".to_owned(),
            secret_key: Zeroizing::new("hush".to_owned()),
            session_token: Some(Zeroizing::new("whisper".to_owned())),
        };
        let shown = format!("{credentials:?}");
        assert!(shown.contains("AKIA") && !shown.contains("hush") && !shown.contains("whisper"), "{shown}");
    }
}
