//! Which web pages may use a bucket, as clients set it: PutBucketCors, GetBucketCors, DeleteBucketCors.
//!
//! Owns the bounds of rules (Amazon S3 user guide, "Elements of a CORS configuration"). What a rule means to a
//! request is in [`super::cors`].

use s3s::dto::{
    CORSRule as WireRule, DeleteBucketCorsInput, DeleteBucketCorsOutput, GetBucketCorsInput,
    GetBucketCorsOutput, PutBucketCorsInput, PutBucketCorsOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::errors::{invalid_request, s3_error};
use super::operations::Operations;
use super::unset::Unset;
use super::values::who_of;
use crate::objects::BucketChange;
use crate::objects::cors::CorsRule;

/// The most rules of a bucket.
const RULES_MAX: usize = 100;
/// The longest name of a rule in characters.
const ID_CHARACTERS_MAX: usize = 255;
/// The methods that a rule may allow.
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

fn has_one_star_at_most(text: &str) -> bool {
    text.matches('*').count() <= 1
}

fn from_wire(rule: WireRule) -> S3Result<CorsRule> {
    if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    if let Some(method) = rule.allowed_methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
        let why = format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}");
        return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, why));
    }
    let (headers, exposed) =
        (rule.allowed_headers.unwrap_or_default(), rule.expose_headers.unwrap_or_default());
    if !rule.allowed_origins.iter().all(|origin| has_one_star_at_most(origin)) {
        return Err(invalid_request("AllowedOrigin can not have more than one wildcard."));
    }
    if !headers.iter().all(|header| has_one_star_at_most(header)) {
        return Err(invalid_request("AllowedHeader can not have more than one wildcard."));
    }
    if exposed.iter().any(|header| header.contains('*')) {
        return Err(invalid_request("ExposeHeader contains wildcard. Wildcards are not supported there."));
    }
    if rule.id.as_ref().is_some_and(|id| id.chars().count() > ID_CHARACTERS_MAX) {
        return Err(invalid_request("The ID of a rule has at most 255 characters."));
    }
    let Ok(max_age_seconds) = rule.max_age_seconds.map(u32::try_from).transpose() else {
        return Err(S3ErrorCode::MalformedXML.into());
    };
    Ok(CorsRule {
        id: rule.id,
        origins: rule.allowed_origins,
        methods: rule.allowed_methods,
        headers,
        exposed,
        max_age_seconds,
    })
}

fn to_wire(rule: &CorsRule) -> WireRule {
    let filled = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    WireRule {
        allowed_headers: filled(&rule.headers),
        allowed_methods: rule.methods.clone(),
        allowed_origins: rule.origins.clone(),
        expose_headers: filled(&rule.exposed),
        id: rule.id.clone(),
        max_age_seconds: rule.max_age_seconds.map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX)),
    }
}

fn all_from_wire(rules: Vec<WireRule>) -> S3Result<Vec<CorsRule>> {
    if rules.is_empty() {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    if rules.len() > RULES_MAX {
        return Err(invalid_request(
            "The number of CORS rules should not exceed allowed limit of 100 rules.",
        ));
    }
    rules.into_iter().map(from_wire).collect()
}

impl Operations {
    /// PutBucketCors.
    pub(super) async fn set_cors(
        &self,
        request: S3Request<PutBucketCorsInput>,
    ) -> S3Result<S3Response<PutBucketCorsOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        let change = BucketChange::Cors(Some(all_from_wire(input.cors_configuration.cors_rules)?));
        self.view().change_settings(&who, &input.bucket, change).await.map_err(s3_error)?;
        Ok(S3Response::new(PutBucketCorsOutput::default()))
    }

    /// GetBucketCors.
    pub(super) async fn cors(
        &self,
        request: S3Request<GetBucketCorsInput>,
    ) -> S3Result<S3Response<GetBucketCorsOutput>> {
        let who = who_of(&request)?;
        let settings = self.view().settings(&who, &request.input.bucket).await.map_err(s3_error)?;
        let rules = settings.cors.as_ref().ok_or_else(|| Unset::Cors.error())?;
        let cors_rules = Some(rules.iter().map(to_wire).collect());
        Ok(S3Response::new(GetBucketCorsOutput { cors_rules }))
    }

    /// DeleteBucketCors.
    pub(super) async fn delete_cors(
        &self,
        request: S3Request<DeleteBucketCorsInput>,
    ) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
        let who = who_of(&request)?;
        let change = BucketChange::Cors(None);
        self.view().change_settings(&who, &request.input.bucket, change).await.map_err(s3_error)?;
        Ok(S3Response::new(DeleteBucketCorsOutput::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> WireRule {
        WireRule {
            allowed_methods: vec!["GET".into()],
            allowed_origins: vec!["http://*.example.com".into()],
            ..WireRule::default()
        }
    }

    fn code(change: impl FnOnce(&mut WireRule)) -> Result<(), S3ErrorCode> {
        let mut rule = rule();
        change(&mut rule);
        from_wire(rule).map(|_| ()).map_err(|error| error.code().clone())
    }

    #[test]
    fn rules_have_the_bounds_of_s3() {
        let wrong = Err(S3ErrorCode::InvalidRequest);
        assert_eq!(code(|_| {}), Ok(()));
        assert_eq!(code(|rule| rule.allowed_methods.push("PATCH".into())), wrong);
        assert_eq!(code(|rule| rule.allowed_origins.push("http://*.*".into())), wrong);
        assert_eq!(code(|rule| rule.allowed_headers = Some(vec!["x-*-*".into()])), wrong);
        assert_eq!(code(|rule| rule.expose_headers = Some(vec!["*".into()])), wrong);
        assert_eq!(code(|rule| rule.id = Some("i".repeat(256))), wrong);
        assert_eq!(code(|rule| rule.allowed_origins.clear()), Err(S3ErrorCode::MalformedXML));
        assert!(all_from_wire(vec![rule(); 100]).is_ok());
        assert!(all_from_wire(vec![rule(); 101]).is_err());
        assert!(all_from_wire(Vec::new()).is_err());
    }

    #[test]
    fn rules_come_back_as_they_were_set() {
        let rules = all_from_wire(vec![rule()]).unwrap();
        assert_eq!(to_wire(&rules[0]), rule());
    }
}
