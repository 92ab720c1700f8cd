//! What stands in for AWS in unit tests: each request is answered by the test, which sees afterwards what was asked. For what moto does
//! not do: to know nothing yet of what it has just made, to lose an answer, to refuse.

use std::fmt;
use std::sync::Arc;

use aws_sdk_ebs::config::retry::RetryConfig;
use aws_sdk_ebs::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use parking_lot::Mutex;

use super::client::Clients;
use super::query::Query;

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Of EC2 the action, of EBS `PUT /snapshots/...`.
    pub(super) what: String,
    /// How many such were before it; all blocks are one kind.
    pub(super) nth: usize,
    pub(super) body: String,
}

impl Asked {
    fn kind(what: &str) -> &str {
        if what.starts_with("PUT ") { "PUT" } else { what }
    }
}

/// What it is answered.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// A status, headers, and a body.
    Said(u16, Vec<(&'static str, String)>, String),
    /// Nothing: the connection is lost.
    Lost,
}

impl Answer {
    /// EC2 has done it.
    pub(super) fn xml(body: &str) -> Self {
        Self::Said(200, Vec::new(), body.to_owned())
    }

    /// EC2 refuses it.
    pub(super) fn refused(code: &str) -> Self {
        let error = format!("<Error><Code>{code}</Code><Message>m</Message></Error>");
        Self::Said(400, Vec::new(), format!("<Response><Errors>{error}</Errors></Response>"))
    }

    /// EBS has done it.
    pub(super) fn json(body: &str) -> Self {
        Self::Said(202, vec![("content-type", "application/json".to_owned())], body.to_owned())
    }

    /// EBS has taken a block.
    pub(super) fn taken() -> Self {
        let headers = [("x-amz-Checksum", "s"), ("x-amz-Checksum-Algorithm", "SHA256")];
        Self::Said(201, headers.map(|(name, value)| (name, value.to_owned())).to_vec(), String::new())
    }

    /// EBS refuses it.
    pub(super) fn ebs_refused(code: &str) -> Self {
        let headers = vec![("x-amzn-errortype", code.to_owned())];
        Self::Said(400, headers, "{\"Message\":\"m\"}".to_owned())
    }
}

type Answers = Box<dyn Fn(&Asked) -> Answer + Send + Sync>;

/// See the head of this module.
#[derive(Clone)]
pub(super) struct Door(Arc<(Answers, Mutex<Vec<Asked>>)>);

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.1.lock().iter()).finish()
    }
}

impl Door {
    pub(super) fn new(answers: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self(Arc::new((Box::new(answers), Mutex::default())))
    }

    /// What was asked so far and begins so.
    pub(super) fn asked(&self, what: &str) -> Vec<Asked> {
        self.0.1.lock().iter().filter(|asked| asked.what.starts_with(what)).cloned().collect()
    }
}

impl HttpConnector for Door {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let path = request.uri().splitn(4, '/').nth(3).unwrap_or_default();
        let action = body.strip_prefix("Action=").and_then(|rest| rest.split('&').next());
        let what = action.map_or_else(|| format!("{} /{path}", request.method()), str::to_owned);
        let mut all = self.0.1.lock();
        let nth = all.iter().filter(|asked| Asked::kind(&asked.what) == Asked::kind(&what)).count();
        let asked = Asked { what, nth, body };
        all.push(asked.clone());
        drop(all);
        let Answer::Said(status, headers, body) = self.0.0(&asked) else {
            return HttpConnectorFuture::ready(Err(ConnectorError::io("the answer is lost".into())));
        };
        let mut response = HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body));
        for (name, value) in headers {
            response.headers_mut().insert(name.to_lowercase(), value);
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}

/// Clients that ask it. Nothing is asked twice of EBS.
pub(super) fn clients(door: &Door) -> Clients {
    let connector = SharedHttpConnector::new(door.clone());
    let of_ebs = connector.clone();
    let config = aws_sdk_ebs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url("http://door")
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .http_client(http_client_fn(move |_settings, _components| of_ebs.clone()))
        .build();
    Clients { ec2: Query::through(connector), ebs: aws_sdk_ebs::Client::from_conf(config) }
}
