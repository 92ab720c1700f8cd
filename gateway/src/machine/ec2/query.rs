//! Calls of EC2: a form that is signed, and an answer in XML (Amazon EC2 API reference, "Making API requests").
//!
//! The SDK of EC2 is more than a million lines for what are eleven calls of ours (decision 0035). What it would do besides is
//! here: signing (`aws-sigv4`, as in the SDK), credentials and connections (those of the S3 store), and repetitions, of which
//! there are no more than a budget allows.

use std::fmt::{self, Display};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use parking_lot::Mutex;
use tidegate_replicator::store::{AwsAccess, RetryBudget};

use super::xml::Element;

/// The version of the API.
const VERSION: &str = "2016-11-15";
/// Attempts at a call, and the pause between the first two, which doubles.
const ATTEMPTS_MAX: u32 = 6;
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// How many of the calls of a minute may be repetitions, in percent.
const RETRY_PERCENT: u32 = 20;
/// How long one attempt may take.
const ATTEMPT_TIME_MAX: Duration = Duration::from_mins(1);

/// What a call is given: names and values as the API reference has them.
#[derive(Clone, Debug, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// With a value more.
    pub(super) fn with(mut self, name: impl Into<String>, value: impl Display) -> Self {
        self.0.push((name.into(), value.to_string()));
        self
    }

    /// With a value more, if there is one.
    pub(super) fn with_some(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Only what has this value.
    pub(super) fn filter(self, name: &str, value: &str) -> Self {
        let at =
            self.0.iter().filter(|(name, _)| name.starts_with("Filter.") && name.ends_with(".Name")).count()
                + 1;
        self.with(format!("Filter.{at}.Name"), name).with(format!("Filter.{at}.Value.1"), value)
    }

    /// With tags for what the call makes of a kind: the `at`th such.
    pub(super) fn tags(self, at: usize, kind: &str, tags: &[(String, String)]) -> Self {
        let place = format!("TagSpecification.{at}");
        let form = self.with(format!("{place}.ResourceType"), kind);
        (1..).zip(tags).fold(form, |form, (number, (key, value))| {
            form.with(format!("{place}.Tag.{number}.Key"), key)
                .with(format!("{place}.Tag.{number}.Value"), value)
        })
    }

    fn encoded(&self, action: &str) -> String {
        let mut encoder = form_urlencoded::Serializer::new(String::new());
        encoder.append_pair("Action", action).append_pair("Version", VERSION);
        encoder.extend_pairs(&self.0).finish()
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum QueryError {
    /// EC2 says so, with a code.
    Refused { code: String, message: String },
    /// It was not asked, or what it says cannot be read.
    Unreached(String),
}

impl QueryError {
    /// The code of an answer.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Unreached(_) => None,
        }
    }

    /// Whether nothing came of the call, nor will: EC2 says so, and not because of how it is at the moment.
    pub(super) fn is_for_good(&self) -> bool {
        let passes = |code: &str| {
            let codes = [
                "InternalError",
                "InternalFailure",
                // Something else was asked with the same token before, and may have been made.
                "IdempotentParameterMismatch",
                "RequestLimitExceeded",
                "ServiceUnavailable",
                "Unavailable",
            ];
            codes.contains(&code) || code.starts_with("status ") || code.starts_with("Throttling")
        };
        self.code().is_some_and(|code| !passes(code))
    }

    fn because(error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        Self::Unreached(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
    }
}

/// A client of EC2.
pub(super) struct Query {
    connector: SharedHttpConnector,
    credentials: Option<SharedCredentialsProvider>,
    region: String,
    endpoint: String,
    budget: Mutex<RetryBudget>,
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Query({})", self.endpoint)
    }
}

impl Query {
    /// In the region and at the endpoint of an access.
    pub(super) fn new(access: &AwsAccess) -> Self {
        let region = access.config.region().map_or("", |region| region.as_ref()).to_owned();
        let own = access.config.endpoint_url().map(str::to_owned);
        Self {
            connector: access.connector.clone(),
            credentials: access.config.credentials_provider(),
            endpoint: own.unwrap_or_else(|| endpoint_of(&region)),
            region,
            budget: Mutex::new(RetryBudget::new(RETRY_PERCENT)),
        }
    }

    /// Of tests, which answer themselves.
    #[cfg(test)]
    pub(super) fn through(connector: SharedHttpConnector) -> Self {
        let keys = aws_credential_types::Credentials::new("id", "secret", None, None, "test");
        Self {
            connector,
            credentials: Some(SharedCredentialsProvider::new(keys)),
            region: "us-east-1".to_owned(),
            endpoint: "http://door".to_owned(),
            budget: Mutex::new(RetryBudget::new(RETRY_PERCENT)),
        }
    }

    /// Makes a call that may be made twice.
    pub(super) async fn call(&self, action: &str, form: &Form) -> Result<Element, QueryError> {
        let body = form.encoded(action);
        self.budget.lock().note_request();
        let mut attempt = 1;
        loop {
            let tried = tokio::time::timeout(ATTEMPT_TIME_MAX, self.attempt(&body)).await;
            let late = || (true, QueryError::Unreached(format!("no answer within {ATTEMPT_TIME_MAX:?}")));
            let (passes, error) = match tried.unwrap_or_else(|_| Err(late())) {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if !passes || attempt == ATTEMPTS_MAX || !self.budget.lock().take_retry() {
                return Err(error);
            }
            tracing::debug!(action, ?error, "a call of EC2 is made again");
            tokio::time::sleep(PAUSE_FIRST * 2u32.pow(attempt - 1)).await;
            attempt += 1;
        }
    }

    /// One attempt; a failure with whether it may pass.
    async fn attempt(&self, body: &str) -> Result<Element, (bool, QueryError)> {
        let lasting = |error: &dyn std::error::Error| (false, QueryError::because(error));
        let request = self.request(body).await.map_err(|error| (false, error))?;
        let response = self.connector.call(request).await;
        let response = response.map_err(|error| (!error.is_user(), QueryError::because(&error)))?;
        let status = response.status();
        let answer = ByteStream::new(response.into_body()).collect().await;
        let answer = answer.map_err(|error| (true, QueryError::because(&error)))?.into_bytes();
        let answer = String::from_utf8(answer.to_vec()).map_err(|error| lasting(&error))?;
        let parsed = Element::parse(&answer);
        if status.is_success() {
            let strange = || (false, QueryError::Unreached("the answer is no XML".to_owned()));
            return parsed.ok_or_else(strange);
        }
        let part = |name: &str| {
            let error =
                parsed.as_ref()?.at(&["Errors", "Error"]).or_else(|| parsed.as_ref()?.at(&["Error"]))?;
            error.text(&[name]).map(str::to_owned)
        };
        let code = part("Code").unwrap_or_else(|| format!("status {}", status.as_u16()));
        let passes = status.is_server_error()
            || matches!(code.as_str(), "RequestLimitExceeded" | "Throttling" | "ThrottlingException");
        let message = part("Message").unwrap_or_else(|| "no message".to_owned());
        Err((passes, QueryError::Refused { code, message }))
    }

    async fn request(&self, body: &str) -> Result<HttpRequest, QueryError> {
        let none = || QueryError::Unreached("there are no credentials".to_owned());
        let keys = self.credentials.as_ref().ok_or_else(none)?.provide_credentials().await;
        let identity = keys.map_err(|error| QueryError::because(&error))?.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("ec2")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| QueryError::because(&error))?
            .into();
        let uri = format!("{}/", self.endpoint.trim_end_matches('/'));
        let own = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let signable =
            SignableRequest::new("POST", uri.as_str(), own.into_iter(), SignableBody::Bytes(body.as_bytes()));
        let signed = signable.and_then(|request| sign(request, &parameters));
        let (instructions, _) = signed.map_err(|error| QueryError::because(&error))?.into_parts();
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST").map_err(|error| QueryError::because(&error))?;
        request.set_uri(uri).map_err(|error| QueryError::because(&error))?;
        for (name, value) in own {
            request.headers_mut().insert(name, value);
        }
        for (name, value) in instructions.headers() {
            request.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        Ok(request)
    }
}

/// Where EC2 is in a region (AWS general reference, "Amazon EC2 endpoints and quotas").
fn endpoint_of(region: &str) -> String {
    let china = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://ec2.{region}.amazonaws.com{china}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_its_filters_and_tags_in_order() {
        let tags = [("a".to_owned(), "1 2".to_owned()), ("b".to_owned(), "é".to_owned())];
        let form = Form::default().filter("x", "y").with("Z", 3).filter("tag:v", "w").tags(2, "image", &tags);
        let form = form.with_some("No", None::<u32>);
        assert_eq!(
            form.encoded("Do"),
            "Action=Do&Version=2016-11-15&Filter.1.Name=x&Filter.1.Value.1=y&Z=3&Filter.2.Name=tag%3Av&Filter.2.Value.1=w\
             &TagSpecification.2.ResourceType=image&TagSpecification.2.Tag.1.Key=a&TagSpecification.2.Tag.1.Value=1+2\
             &TagSpecification.2.Tag.2.Key=b&TagSpecification.2.Tag.2.Value=%C3%A9"
        );
    }

    #[test]
    fn regions_of_china_have_another_domain() {
        assert_eq!(endpoint_of("eu-central-1"), "https://ec2.eu-central-1.amazonaws.com");
        assert_eq!(endpoint_of("cn-north-1"), "https://ec2.cn-north-1.amazonaws.com.cn");
    }
}
