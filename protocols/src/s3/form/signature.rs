//! Who signed a form: the signature of its policy (Amazon S3 API reference, "Authenticating requests in
//! browser-based uploads using POST (AWS Signature Version 4)"; Amazon S3 developer guide of 2006, "Browser-based
//! uploads using POST", for version 2).
//!
//! The text that is signed is the policy as it was sent. When it was signed does not matter: the policy says until
//! when it is good, and all that the form may say. So both versions cover the same, and version 2, which is refused
//! elsewhere as it covers no body, is taken here: HMAC-SHA1 with the secret itself. A form is signed in one of
//! them. Signatures are compared in constant time.

use aws_lc_rs::hmac;
use s3s::{S3Error, S3ErrorCode, S3Result};
use zeroize::Zeroizing;

use super::policy::{ACCESS_KEY_V2, Fields, SIGNATURE, SIGNATURE_V2};
use crate::objects::ObjectView;
use crate::s3::facts::Shown;

/// The one algorithm.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The length of a day in a credential.
const DATE_BYTES: usize = 8;
/// The end of the scope of a key.
const SCOPE_END: &str = "aws4_request";

/// What a credential says: `key/date/region/service/aws4_request`.
struct Credential<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
}

impl<'a> Credential<'a> {
    /// An access key may hold a slash, what follows it does not.
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.rsplitn(5, '/');
        let (end, service, region) = (parts.next()?, parts.next()?, parts.next()?);
        let (date, access_key) = (parts.next()?, parts.next()?);
        let is_one = end == SCOPE_END && service == "s3" && !access_key.is_empty();
        is_one.then_some(Self { access_key, date, region, service })
    }
}

/// Checks the signature of a policy; gives the access key, and how it was shown.
pub(super) async fn check(view: &dyn ObjectView, policy: &str, fields: &Fields) -> S3Result<(String, Shown)> {
    if [ACCESS_KEY_V2, SIGNATURE_V2].iter().any(|name| fields.contains_key(*name)) {
        return Ok((check_version_two(view, policy, fields).await?, Shown::FormV2));
    }
    Ok((check_version_four(view, policy, fields).await?, Shown::Form))
}

async fn check_version_two(view: &dyn ObjectView, policy: &str, fields: &Fields) -> S3Result<String> {
    if fields.contains_key(SIGNATURE) {
        return Err(invalid(SIGNATURE_V2));
    }
    let access_key = field(fields, ACCESS_KEY_V2)?;
    let signature = field(fields, SIGNATURE_V2)?;
    let signature = base64_simd::STANDARD.decode_to_vec(signature).map_err(|_| mismatch())?;
    let secret = view.secret(access_key).await.ok_or_else(unknown_key)?;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    hmac::verify(&key, policy.as_bytes(), &signature).map_err(|_| mismatch())?;
    Ok(access_key.to_owned())
}

async fn check_version_four(view: &dyn ObjectView, policy: &str, fields: &Fields) -> S3Result<String> {
    if field(fields, "x-amz-algorithm")? != ALGORITHM {
        return Err(invalid("x-amz-algorithm"));
    }
    let credential =
        Credential::read(field(fields, "x-amz-credential")?).ok_or_else(|| invalid("x-amz-credential"))?;
    let date = field(fields, "x-amz-date")?;
    if credential.date.len() != DATE_BYTES || !date.starts_with(credential.date) {
        return Err(invalid("x-amz-date"));
    }
    let signature = from_hex(field(fields, SIGNATURE)?).ok_or_else(mismatch)?;
    let secret = view.secret(credential.access_key).await.ok_or_else(unknown_key)?;
    let key = signing_key(&secret, &credential);
    hmac::verify(&key, policy.as_bytes(), &signature).map_err(|_| mismatch())?;
    Ok(credential.access_key.to_owned())
}

fn signing_key(secret: &str, credential: &Credential<'_>) -> hmac::Key {
    let first = Zeroizing::new(format!("AWS4{secret}"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
    [credential.date, credential.region, credential.service, SCOPE_END]
        .iter()
        .fold(key, |key, part| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref()))
}

fn field<'a>(fields: &'a Fields, name: &'static str) -> S3Result<&'a str> {
    fields.get(name).map(String::as_str).ok_or_else(|| missing(name))
}

/// The error of a form without a field that it needs.
pub(super) fn missing(name: &str) -> S3Error {
    let why = format!(
        "Bucket POST must contain a field named '{name}'. If it is specified, please check the order of the fields."
    );
    S3Error::with_message(S3ErrorCode::InvalidArgument, why)
}

fn invalid(name: &str) -> S3Error {
    S3Error::with_message(
        S3ErrorCode::InvalidArgument,
        format!("The value of the field '{name}' is not valid"),
    )
}

fn unknown_key() -> S3Error {
    let why = "The AWS Access Key Id you provided does not exist in our records.";
    S3Error::with_message(S3ErrorCode::InvalidAccessKeyId, why)
}

fn mismatch() -> S3Error {
    let why = "The request signature we calculated does not match the signature you provided.";
    S3Error::with_message(S3ErrorCode::SignatureDoesNotMatch, why)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the API reference, "Signature calculation" of signature version 4: its signing key.
    #[test]
    fn the_signing_key_is_that_of_the_reference() {
        let credential = Credential::read("AKIDEXAMPLE/20120215/us-east-1/s3/aws4_request").unwrap();
        let credential = Credential { service: "iam", ..credential };
        let key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", &credential);
        let expected = "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d";
        let same = hmac::Key::new(hmac::HMAC_SHA256, &from_hex(expected).unwrap());
        assert_eq!(hmac::sign(&key, b"text").as_ref(), hmac::sign(&same, b"text").as_ref());
    }

    #[test]
    fn credentials_have_five_parts() {
        assert_eq!(Credential::read("a/b/20120215/r/s3/aws4_request").unwrap().access_key, "a/b");
        for wrong in ["", "a/20120215/r/s3", "a/20120215/r/iam/aws4_request", "/20120215/r/s3/aws4_request"] {
            assert!(Credential::read(wrong).is_none(), "{wrong}");
        }
        assert_eq!(from_hex("0aFf"), Some(vec![10, 255]));
        assert_eq!(from_hex("abc"), None);
        assert_eq!(from_hex("zz"), None);
    }
}
