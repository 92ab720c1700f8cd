//! Which web pages may use a bucket, as clients set it: PutBucketCors, GetBucketCors, DeleteBucketCors.
//!
//! Owns the way of rules from the wire and back. What can be a rule is said in [`crate::objects::cors`], and what
//! one means to a request is answered in [`super::cors`].

use s3s::dto::{
    CORSRule as WireRule, DeleteBucketCorsInput, DeleteBucketCorsOutput, GetBucketCorsInput,
    GetBucketCorsOutput, PutBucketCorsInput, PutBucketCorsOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::errors::s3_error;
use super::operations::Operations;
use super::unset::Unset;
use super::values::who_of;
use crate::objects::BucketChange;
use crate::objects::cors::{CorsError, CorsRule, check};

fn from_wire(rule: WireRule) -> S3Result<CorsRule> {
    let Ok(max_age_seconds) = rule.max_age_seconds.map(u32::try_from).transpose() else {
        return Err(S3ErrorCode::MalformedXML.into());
    };
    Ok(CorsRule {
        id: rule.id,
        origins: rule.allowed_origins,
        methods: rule.allowed_methods,
        headers: rule.allowed_headers.unwrap_or_default(),
        exposed: rule.expose_headers.unwrap_or_default(),
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
    let rules: Vec<CorsRule> = rules.into_iter().map(from_wire).collect::<S3Result<_>>()?;
    check(&rules).map_err(|error| match error {
        CorsError::MalformedXml(why) => S3Error::with_message(S3ErrorCode::MalformedXML, why),
        CorsError::InvalidRequest(why) => S3Error::with_message(S3ErrorCode::InvalidRequest, why),
    })?;
    Ok(rules)
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

    #[test]
    fn rules_come_back_as_they_were_set() {
        let rule = WireRule {
            allowed_methods: vec!["GET".into()],
            allowed_origins: vec!["http://*.example.com".into()],
            max_age_seconds: Some(60),
            ..WireRule::default()
        };
        assert_eq!(to_wire(&all_from_wire(vec![rule.clone()]).unwrap()[0]), rule);
        let of = |rule| all_from_wire(vec![rule]).unwrap_err().code().clone();
        assert_eq!(of(WireRule { max_age_seconds: Some(-1), ..rule.clone() }), S3ErrorCode::MalformedXML);
        let method = WireRule { allowed_methods: vec!["PATCH".into()], ..rule };
        assert_eq!(of(method), S3ErrorCode::InvalidRequest);
    }
}
