//! From answers of AWS to what the operator is told: what was asked, what was answered, what to do.
//!
//! Codes are those of the Amazon EC2 API reference ("Error codes for the Amazon EC2 API") and of the EBS direct APIs
//! ("Common errors"). What is refused for want of a right names the action that a policy must allow.

use std::error::Error;

use aws_sdk_ebs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::query::QueryError;
use crate::machine::ProviderError;

/// An action, as a policy of IAM names it.
pub(super) type Action = &'static str;

/// What is being done for which machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doing<'a> {
    /// A verb.
    pub(super) what: &'static str,
    /// The machine.
    pub(super) name: &'a str,
}

impl Doing<'_> {
    /// Why it did not go.
    pub(super) fn failed(self, why: impl Into<String>) -> ProviderError {
        ProviderError::Failed { what: self.what, name: self.name.to_owned(), why: why.into() }
    }

    /// For `map_err` of what keeps files.
    pub(super) fn local<E: std::fmt::Display>(self) -> impl FnOnce(E) -> ProviderError {
        move |error| self.failed(format!("its folder cannot be used: {error}"))
    }

    /// For `map_err` of a call of EC2.
    pub(super) fn asking(self, action: Action) -> impl FnOnce(QueryError) -> ProviderError {
        move |error| self.failed(why(action, error))
    }

    /// For `map_err` of a call of the EBS direct APIs.
    pub(super) fn asking_ebs<E, R>(self, action: Action) -> impl FnOnce(SdkError<E, R>) -> ProviderError
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        move |error| {
            let error = match &error {
                SdkError::ServiceError(service) => QueryError::Refused {
                    code: service.err().code().unwrap_or("an error without a code").to_owned(),
                    message: service.err().message().unwrap_or("no message").to_owned(),
                },
                // The address is in the chain of causes, as is what keeps credentials from being had.
                error => QueryError::Unreached(DisplayErrorContext(error).to_string()),
            };
            self.failed(why(action, error))
        }
    }
}

/// The code of an answer that reports a failure; none if no such answer came.
pub(super) fn ebs_code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Option<&str> {
    error.as_service_error().and_then(|error| error.code())
}

fn why(action: Action, error: QueryError) -> String {
    let (code, message) = match error {
        QueryError::Unreached(why) => return format!("{action} did not reach AWS: {why}"),
        QueryError::Refused { code, message } => (code, message),
    };
    match reaction(&code) {
        Reaction::Permit => format!(
            "the credentials are not allowed {action} ({code}: {message}); allow it, as in the policy of the guide \"A machine in a \
             cloud\""
        ),
        Reaction::Identify => format!(
            "AWS does not take the credentials ({action}: {code}: {message}); look at the key credentials of its [[machine]]"
        ),
        Reaction::Wait => {
            format!("AWS asks for fewer requests ({action}: {code}: {message}); try again later")
        }
        Reaction::Read => format!("{action}: {code}: {message}"),
    }
}

/// What a code asks of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    /// To allow an action.
    Permit,
    /// To give the right credentials.
    Identify,
    /// To try again.
    Wait,
    /// To read what AWS says.
    Read,
}

fn reaction(code: &str) -> Reaction {
    match code {
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => Reaction::Permit,
        "AuthFailure"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "OptInRequired"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => Reaction::Identify,
        "RequestLimitExceeded" | "RequestThrottledException" | "Throttling" | "ThrottlingException" => {
            Reaction::Wait
        }
        _ => Reaction::Read,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ebs::error::ErrorMetadata;
    use aws_sdk_ebs::operation::start_snapshot::StartSnapshotError;

    use super::*;

    #[test]
    fn what_is_not_allowed_is_named_as_a_policy_names_it() {
        let told = |code: &str| {
            let error = QueryError::Refused { code: code.to_owned(), message: "the reason".to_owned() };
            Doing { what: "start", name: "web" }.asking("ec2:RunInstances")(error).to_string()
        };
        let denied = told("UnauthorizedOperation");
        assert!(
            denied.contains("are not allowed ec2:RunInstances") && denied.contains("the reason"),
            "{denied}"
        );
        assert!(denied.starts_with("failed to start machine \"web\""), "{denied}");
        assert!(told("AuthFailure").contains("does not take the credentials"));
        assert!(told("RequestLimitExceeded").contains("try again later"));
        let full = told("InsufficientInstanceCapacity");
        assert!(full.contains("ec2:RunInstances: InsufficientInstanceCapacity: the reason"), "{full}");
        let metadata = ErrorMetadata::builder().code("AccessDeniedException").message("of EBS").build();
        let error = SdkError::service_error(StartSnapshotError::generic(metadata), ());
        let denied = Doing { what: "copy", name: "web" }.asking_ebs("ebs:StartSnapshot")(error).to_string();
        assert!(
            denied.contains("are not allowed ebs:StartSnapshot") && denied.contains("of EBS"),
            "{denied}"
        );
    }
}
