//! Bearer tokens of OpenID providers: JSON web tokens (RFC 7519) of issuers that the settings name.
//!
//! A token says who issued it, and is held against that provider alone, by keys that were fetched from it over TLS. Nothing
//! that a token names is ever fetched, and no key that comes in one is used (RFC 8725, sections 3.1 to 3.12).
//!
//! | checked | how |
//! |---|---|
//! | signature | RS256, ES256 or EdDSA, by a key of that very kind whose id the token names; never `none`, never HS* |
//! | `iss`, `aud` | the issuer to the letter; the audience among those of the token |
//! | `exp`, `nbf` | `exp` must be there; both with the leeway of the settings |
//! | `typ`, `crit`, `events` | a token for something else than access is refused, and one with an extension that is not known here |
//! | `sub` | must be there, as OpenID Connect has it: it is who calls, in the audit log |
//!
//! Bounds: [`TOKEN_BYTES_MAX`], and those of [`fetch`] and [`provider`]. A provider that is away is no concern of those who
//! have a `[[token]]`: those are looked up first, and wait for nobody. No token, and no part of one but the subject of one that
//! is valid, ever comes into a log or an answer.

mod fetch;
mod keys;
mod provider;
mod verify;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Validation, decode, decode_header};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::settings::{Grant, Oidc, Role};
use keys::Wanted;
use provider::Provider;

/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// The longest subject, in bytes (OpenID Connect Core 1.0, section 2: 255 characters of ASCII).
const SUBJECT_BYTES_MAX: usize = 255;
/// Types of tokens that are taken (RFC 7519 section 5.1, RFC 9068 section 2.1), in lower case.
const TYPES: [&str; 4] = ["jwt", "application/jwt", "at+jwt", "application/at+jwt"];
/// The claim of tokens that tell of something that happened, such as a logout (RFC 8417 section 2.2); its holder is not its
/// subject.
const EVENTS: &str = "events";

type Claims = Map<String, Value>;

/// Who a token says calls, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claimed {
    /// `oidc:PROVIDER:SUBJECT`.
    pub(super) who: String,
    pub(super) role: Role,
    /// None: all, and the gateway as a whole.
    pub(super) shares: Option<BTreeSet<String>>,
}

/// Why a token is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// It is none that is valid; why, for the log.
    Invalid(&'static str),
    /// It is valid, and its holder, called as in [`Claimed::who`], may do nothing here.
    GrantsNothing(String),
    /// The keys of its provider cannot be had now.
    Away,
}

impl From<Error> for Denied {
    /// Without what such an error repeats of the token.
    fn from(error: Error) -> Self {
        Self::Invalid(match error.kind() {
            ErrorKind::InvalidSignature => "its signature is not of that key",
            ErrorKind::ExpiredSignature => "it has expired",
            ErrorKind::ImmatureSignature => "it is not valid yet",
            ErrorKind::InvalidIssuer => "it is of another issuer",
            ErrorKind::InvalidAudience => "it is for another audience",
            ErrorKind::MissingRequiredClaim(_) => "one of iss, aud, sub and exp is missing, or no such claim",
            ErrorKind::InvalidClaimFormat(_) => "its exp or nbf is no time",
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => "its key is for another algorithm",
            ErrorKind::Base64(_) | ErrorKind::Json(_) | ErrorKind::Utf8(_) => "a part of it cannot be read",
            _ => "it is no JSON web token that could be valid",
        })
    }
}

/// The providers of the settings, by issuer, with the keys that are known of them.
#[derive(Default)]
pub(super) struct Providers(Mutex<HashMap<String, Arc<Provider<Oidc>>>>);

impl Providers {
    /// Who shows a token.
    pub(super) async fn claimed(&self, settings: &[Oidc], token: &str) -> Result<Claimed, Denied> {
        let (wanted, issuer) = look_into(token)?;
        let named = settings.iter().find(|oidc| oidc.issuer.as_str() == issuer);
        let oidc = named.ok_or(Denied::Invalid("no provider of the settings has issued it"))?;
        let key = self.provider(settings, oidc).key(&wanted).await?;
        verify::set_up();
        let claims = decode::<Claims>(token, &key, &validation(oidc, &wanted))?.claims;
        let who = format!("oidc:{}:{}", oidc.name, subject(oidc, &claims)?);
        let Some(grant) = granted(oidc, &claims) else { return Err(Denied::GrantsNothing(who)) };
        let shares = grant.shares.as_ref().map(|shares| shares.iter().map(ToString::to_string).collect());
        Ok(Claimed { who, role: grant.role, shares })
    }

    /// What is known of a provider; one whose settings have changed is another. Those that are gone are forgotten.
    fn provider(&self, settings: &[Oidc], oidc: &Oidc) -> Arc<Provider<Oidc>> {
        let mut providers = self.0.lock();
        providers.retain(|_, known| settings.contains(known.source()));
        let key = oidc.issuer.as_str().to_owned();
        providers.entry(key).or_insert_with(|| Arc::new(Provider::new(oidc.clone()))).clone()
    }
}

/// Whether what somebody shows could be such a token: three parts, the first of which begins as a JSON object does.
pub(super) fn is_like_one(shown: &str) -> bool {
    shown.len() <= TOKEN_BYTES_MAX && shown.starts_with("ey") && shown.split('.').count() == 3
}

/// What a token says of the key that signed it and of its issuer. Nothing of it is believed yet: it only chooses among
/// what the settings name.
fn look_into(token: &str) -> Result<(Wanted, String), Denied> {
    if !is_like_one(token) {
        return Err(Denied::Invalid("it is no JSON web token, or too long"));
    }
    let header = decode_header(token)?;
    if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
        return Err(Denied::Invalid("it has an extension that is not known here"));
    }
    let is_for_access = |kind: &String| TYPES.iter().any(|known| kind.eq_ignore_ascii_case(known));
    if header.typ.as_ref().is_some_and(|kind| !is_for_access(kind)) {
        return Err(Denied::Invalid("its typ is not that of a token for access"));
    }
    let wanted = Wanted::new(header.alg, header.kid);
    let wanted = wanted.ok_or(Denied::Invalid("it is signed by another algorithm"))?;
    let unverified: Claims = jsonwebtoken::dangerous::insecure_decode_claims(token)?;
    let issuer = unverified.get("iss").and_then(Value::as_str);
    Ok((wanted, issuer.ok_or(Denied::Invalid("it has no iss"))?.to_owned()))
}

fn validation(oidc: &Oidc, wanted: &Wanted) -> Validation {
    let mut validation = Validation::new(wanted.algorithm());
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[oidc.issuer.as_str()]);
    validation.set_audience(&[oidc.audience.as_str()]);
    validation.leeway = oidc.leeway.duration().as_secs();
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (true, true, true);
    validation
}

/// Whom verified claims are about, if they are those of a token for access.
fn subject<'c>(oidc: &Oidc, claims: &'c Claims) -> Result<&'c str, Denied> {
    // The crate takes a list with the issuer in it, too.
    if claims.get("iss").and_then(Value::as_str) != Some(oidc.issuer.as_str()) {
        return Err(Denied::Invalid("its iss is not a text"));
    }
    if claims.contains_key(EVENTS) {
        return Err(Denied::Invalid("it tells of an event, and is not for access"));
    }
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
    let is_legal = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX || !subject.bytes().all(is_legal) {
        return Err(Denied::Invalid("its sub is missing, too long, or not printable ASCII"));
    }
    Ok(subject)
}

/// The first grant of which the token has the value.
fn granted<'o>(oidc: &'o Oidc, claims: &Claims) -> Option<&'o Grant> {
    let mut steps = oidc.claim.iter();
    let mut claim = claims.get(steps.next()?.as_str())?;
    for step in steps {
        claim = claim.get(step.as_str())?;
    }
    let has = |value: &str| match claim {
        Value::String(one) => one == value,
        Value::Array(list) => list.iter().any(|one| one.as_str() == Some(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    };
    oidc.grants.iter().find(|grant| has(grant.value.as_str()))
}
