//! Which web pages may use a bucket (Amazon S3 user guide, "Using cross-origin resource sharing").

use serde::{Deserialize, Serialize};

/// A rule of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorsRule {
    /// Its name.
    pub id: Option<String>,
    /// Origins, each with at most one `*`.
    pub origins: Vec<String>,
    /// Of `GET`, `PUT`, `POST`, `DELETE` and `HEAD`.
    pub methods: Vec<String>,
    /// Headers that a request may have, each with at most one `*`.
    pub headers: Vec<String>,
    /// Headers of an answer that the page may see.
    pub exposed: Vec<String>,
    /// How many seconds a browser may believe the answer.
    pub max_age_seconds: Option<u32>,
}
