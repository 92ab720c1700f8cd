//! Which web pages may use a bucket (Amazon S3 user guide, "Using cross-origin resource sharing"; API reference,
//! "PutBucketCors"; Fetch standard, "CORS protocol").
//!
//! Owns the rules of a bucket: whether they can be used ([`check`]), and which of them answers a page
//! ([`preflight`], [`actual`]). The first rule that fits answers; what fits none gets no headers, and then the
//! browser keeps the answer from the page. Nothing is allowed or refused here that a signature or a policy decides.
//!
//! Origins and methods are compared exactly, names of headers without regard to case. A `*` stands for any
//! characters, also none.

use serde::{Deserialize, Serialize};

/// The most rules of a bucket.
pub const RULES_MAX: usize = 100;
/// The longest name of a rule, in characters.
pub const ID_CHARACTERS_MAX: usize = 255;
/// A page that asks for more headers at once fits no rule.
pub const REQUESTED_HEADERS_MAX: usize = 100;
/// What a rule may allow.
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

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

/// Why rules cannot be used. Each kind is named like its code in the API reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorsError {
    /// Something is missing, or there is too much of it.
    #[error("{0}")]
    MalformedXml(String),
    /// A value is wrong.
    #[error("{0}")]
    InvalidRequest(String),
}

/// What to answer a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsAnswer<'a> {
    /// `Access-Control-Allow-Origin`: `*` where the rule says so, or else the origin that asks.
    pub origin: &'a str,
    /// `Access-Control-Allow-Methods`.
    pub methods: &'a [String],
    /// `Access-Control-Allow-Headers`: those that were asked for, all of them.
    pub headers: Vec<&'a str>,
    /// `Access-Control-Expose-Headers`.
    pub exposed: &'a [String],
    /// `Access-Control-Max-Age`.
    pub max_age_seconds: Option<u32>,
}

impl CorsAnswer<'_> {
    /// `Access-Control-Allow-Credentials`: whether the page may send what the browser knows of the user. Not where
    /// any page is meant.
    pub fn credentials(&self) -> bool {
        self.origin != ANY
    }
}

const ANY: &str = "*";

/// Whether rules can be those of a bucket.
pub fn check(rules: &[CorsRule]) -> Result<(), CorsError> {
    if rules.is_empty() {
        return Err(CorsError::MalformedXml("a CORS configuration needs at least one CORSRule".into()));
    }
    if rules.len() > RULES_MAX {
        let why =
            format!("a CORS configuration has at most {RULES_MAX} rules, and this one has {}", rules.len());
        return Err(CorsError::MalformedXml(why));
    }
    rules.iter().try_for_each(CorsRule::check)
}

/// The names in an `Access-Control-Request-Headers`.
pub fn requested_headers(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// What to answer a page of `origin` that asks beforehand whether it may call with `method` and `headers`.
pub fn preflight<'a>(
    rules: &'a [CorsRule],
    origin: &'a str,
    method: &str,
    headers: &[&'a str],
) -> Option<CorsAnswer<'a>> {
    if headers.len() > REQUESTED_HEADERS_MAX {
        return None;
    }
    rules.iter().filter(|rule| headers.iter().all(|header| rule.allows_header(header))).find_map(|rule| {
        let answer = rule.answer(origin, method)?;
        Some(CorsAnswer { headers: headers.to_vec(), ..answer })
    })
}

/// What to add to the answer to a call of a page of `origin`.
pub fn actual<'a>(rules: &'a [CorsRule], origin: &'a str, method: &str) -> Option<CorsAnswer<'a>> {
    rules.iter().find_map(|rule| rule.answer(origin, method))
}

impl CorsRule {
    /// Whether it can be a rule of a bucket.
    pub fn check(&self) -> Result<(), CorsError> {
        let missing =
            |element| Err(CorsError::MalformedXml(format!("a CORSRule needs at least one {element}")));
        if self.origins.is_empty() {
            return missing("AllowedOrigin");
        }
        if self.methods.is_empty() {
            return missing("AllowedMethod");
        }
        self.check_values().map_err(CorsError::InvalidRequest)
    }

    fn check_values(&self) -> Result<(), String> {
        if self.id.as_ref().is_some_and(|id| id.chars().count() > ID_CHARACTERS_MAX) {
            return Err(format!("the ID of a CORSRule has at most {ID_CHARACTERS_MAX} characters"));
        }
        if let Some(method) = self.methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            let why = format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}");
            return Err(format!("{why}; allowed are {}", METHODS.join(", ")));
        }
        for origin in &self.origins {
            check_wildcard("AllowedOrigin", origin)?;
            if !origin.bytes().all(|byte| byte.is_ascii_graphic()) || origin.is_empty() {
                return Err(format!(
                    "AllowedOrigin {origin:?} is not an origin, such as https://example.com"
                ));
            }
        }
        for header in &self.headers {
            check_wildcard("AllowedHeader", header)?;
            check_header("AllowedHeader", header)?;
        }
        for header in &self.exposed {
            if header.contains('*') {
                let why = "contains wildcard. We currently do not support wildcard for ExposeHeader.";
                return Err(format!("ExposeHeader {header:?} {why}"));
            }
            check_header("ExposeHeader", header)?;
        }
        Ok(())
    }

    fn allows_header(&self, header: &str) -> bool {
        let header = header.to_ascii_lowercase();
        self.headers.iter().any(|allowed| fits(&allowed.to_ascii_lowercase(), &header))
    }

    /// What it answers, but for headers that were asked for.
    fn answer<'a>(&'a self, origin: &'a str, method: &str) -> Option<CorsAnswer<'a>> {
        let allowed = self.origins.iter().find(|allowed| fits(allowed, origin))?;
        self.methods.iter().any(|allowed| allowed == method).then(|| CorsAnswer {
            origin: if allowed == ANY { ANY } else { origin },
            methods: &self.methods,
            headers: Vec::new(),
            exposed: &self.exposed,
            max_age_seconds: self.max_age_seconds,
        })
    }
}

fn check_wildcard(element: &str, value: &str) -> Result<(), String> {
    if value.matches('*').count() > 1 {
        return Err(format!("{element} {value:?} can not have more than one wildcard."));
    }
    Ok(())
}

/// Names of headers go into headers of answers: what is none could end one.
fn check_header(element: &str, value: &str) -> Result<(), String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if value.is_empty() || !value.bytes().all(is_token) {
        return Err(format!("{element} {value:?} is not the name of a header"));
    }
    Ok(())
}

/// Whether a pattern with at most one `*` stands for a text.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((front, back)) => text.strip_prefix(front).is_some_and(|rest| rest.ends_with(back)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> CorsRule {
        CorsRule {
            origins: list(origins),
            methods: list(methods),
            headers: list(headers),
            exposed: list(&["ETag"]),
            max_age_seconds: Some(5),
            ..CorsRule::default()
        }
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("https://*.example.com", "https://www.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("aba*aba", "ababa", false),
            ("aba*aba", "abaaba", true),
            ("x-amz-*", "x-amz-date", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_answers() {
        let rules = [
            rule(&["https://a.example"], &["GET"], &["x-amz-*"]),
            rule(&["https://*.example", "*"], &["PUT", "GET"], &["*"]),
        ];
        let preflight = |origin, method, headers: &[&'static str]| preflight(&rules, origin, method, headers);
        let answer = preflight("https://a.example", "GET", &["X-Amz-Date"]).unwrap();
        assert_eq!(answer.origin, "https://a.example");
        assert_eq!(answer.methods, ["GET"]);
        assert_eq!(answer.headers, ["X-Amz-Date"]);
        assert_eq!((answer.exposed, answer.max_age_seconds), (list(&["ETag"]).as_slice(), Some(5)));
        assert!(answer.credentials());
        let by_second = preflight("https://a.example", "GET", &["x-amz-date", "if-match"]).unwrap();
        assert_eq!((by_second.origin, by_second.methods.len()), ("https://a.example", 2));
        let any = preflight("null", "PUT", &[]).unwrap();
        assert_eq!((any.origin, any.credentials()), ("*", false));
        assert_eq!(preflight("null", "DELETE", &[]), None);
        assert_eq!(preflight("null", "put", &[]), None, "methods have a case");
        assert_eq!(preflight("null", "PUT", &["a"; REQUESTED_HEADERS_MAX + 1]), None);
    }

    #[test]
    fn a_call_asks_for_no_headers() {
        let rules = [rule(&["https://a.example"], &["GET"], &[])];
        assert_eq!(preflight(&rules, "https://a.example", "GET", &["x"]), None);
        let answer = actual(&rules, "https://a.example", "GET").unwrap();
        assert_eq!(answer.headers, Vec::<&str>::new());
        assert_eq!(actual(&rules, "https://A.example", "GET"), None, "origins have a case");
        assert_eq!(actual(&[], "https://a.example", "GET"), None);
    }

    #[test]
    fn names_of_headers_are_listed() {
        let names: Vec<_> = requested_headers("a, B ,,c").collect();
        assert_eq!(names, ["a", "B", "c"]);
        assert_eq!(requested_headers("").count(), 0);
    }

    #[test]
    fn rules_are_checked() {
        assert_eq!(rule(&["http://*.a", "*"], &METHODS, &["*", "x-*"]).check(), Ok(()));
        for (wrong, word) in [
            (rule(&[], &["GET"], &[]), "needs at least one AllowedOrigin"),
            (rule(&["*"], &[], &[]), "needs at least one AllowedMethod"),
            (rule(&["*"], &["PATCH"], &[]), "Unsupported method is PATCH"),
            (rule(&["*"], &["get"], &[]), "Unsupported method is get"),
            (rule(&["http://*.*"], &["GET"], &[]), "AllowedOrigin \"http://*.*\" can not have more than one"),
            (rule(&[""], &["GET"], &[]), "is not an origin"),
            (rule(&["a b"], &["GET"], &[]), "is not an origin"),
            (rule(&["*"], &["GET"], &["*-*"]), "AllowedHeader \"*-*\" can not have more than one"),
            (rule(&["*"], &["GET"], &["a:"]), "is not the name of a header"),
            (CorsRule { exposed: list(&["x-*"]), ..rule(&["*"], &["GET"], &[]) }, "contains wildcard"),
            (CorsRule { exposed: list(&["a\r\nb"]), ..rule(&["*"], &["GET"], &[]) }, "not the name"),
            (CorsRule { id: Some("x".repeat(256)), ..rule(&["*"], &["GET"], &[]) }, "at most 255"),
        ] {
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.contains(word), "{wrong:?}: {error}");
        }
        let one = rule(&["*"], &["GET"], &[]);
        assert!(matches!(check(&[]), Err(CorsError::MalformedXml(_))));
        assert_eq!(check(&vec![one.clone(); RULES_MAX]), Ok(()));
        assert!(matches!(check(&vec![one; RULES_MAX + 1]), Err(CorsError::MalformedXml(_))));
    }
}
