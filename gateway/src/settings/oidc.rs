//! `[[oidc]]`: OpenID providers whose bearer tokens the admin API takes on the network, and what their holders may do.

use std::fmt;
use std::str::FromStr;

use toml_edit::{InlineTable, Value};

use super::api::Role;
use super::check;
use super::names::{LocalPath, Name};
use super::policy::ShareName;
use super::problems::Problems;
use super::quota::{braces, part};
use super::schema::{Setting, table};
use super::values::{Span, text_setting};

/// The most providers of one gateway.
const PROVIDERS_MAX: usize = 16;
/// The longest text of a token that is compared with one of the settings, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;
/// The most steps to a claim.
const STEPS_MAX: usize = 8;

table! {
    /// An OpenID provider. Who has one of its bearer tokens (JSON web tokens, signed by RS256, ES256 or EdDSA) may use the admin
    /// API on the network; the console is entered by a `[[token]]` alone. Its keys are fetched over TLS from its discovery
    /// document and kept; while it is away those at hand count for a day.
    pub struct Oidc("oidc", repeated) {
        /// What it is called, here and in the audit log: who calls is `oidc:NAME:` and the subject of the token.
        name: Name, required;
        /// Who issues its tokens, exactly as `iss` in them says. The discovery document lies below it, at
        /// `/.well-known/openid-configuration`.
        issuer: Issuer, required;
        /// Whom a token must be for: this must be among its `aud`. Let it be the gateway's own, since every token for it counts,
        /// whatever it was made for.
        audience: TokenText, required;
        /// The claim that says what somebody is, as the steps to it: `["groups"]`, or `["realm_access", "roles"]` for a claim
        /// within another. It is a text, or a list of them.
        claim: Vec<TokenText>, default(vec![TokenText::usual()]);
        /// What who has a value of that claim may do: `value`, `role`, and `shares` where it is not all of them and the gateway as
        /// a whole. The first that fits counts; where none does, nothing is allowed.
        grants: Vec<Grant>, required;
        /// How far the provider's clock may be from this machine's.
        leeway: Span, default(Span::seconds(60)) in Span::seconds(0), Span::seconds(300);
        /// Certificates in PEM by which the provider is trusted, instead of those of the system.
        ca_file: LocalPath, optional;
    }
}

/// The address of an issuer (OpenID Connect Core 1.0, section 2, `iss`): https, without query, fragment or user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Issuer(String);

impl Issuer {
    /// As it is written, and as tokens say it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where its discovery document lies (OpenID Connect Discovery 1.0, section 4.1: without a slash at its end, if there is one).
    pub fn discovery(&self) -> String {
        let place = self.0.strip_suffix('/').unwrap_or(&self.0);
        format!("{place}/.well-known/openid-configuration")
    }
}

impl FromStr for Issuer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.strip_prefix("https://").ok_or("does not begin with https://")?;
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        let is_host = |host: &str| {
            let legal = |letter: char| letter.is_ascii_alphanumeric() || "-._:[]".contains(letter);
            !host.is_empty() && host.chars().all(legal)
        };
        let is_place = match authority.rsplit_once(':') {
            // Within an address of IPv6.
            Some((_, end)) if end.ends_with(']') => is_host(authority),
            Some((host, port)) => is_host(host) && port.parse::<u16>().is_ok(),
            None => is_host(authority),
        };
        let is_in_path = |letter: char| letter.is_ascii_alphanumeric() || "-._~:/%@+".contains(letter);
        if !is_place || !path.chars().all(is_in_path) || text.len() > TEXT_BYTES_MAX {
            return Err("is no host, and perhaps a port and a path, after the scheme".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(Issuer, "an address such as \"https://login.example.net/realms/staff\"");

/// A text that is compared with one of a token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenText(String);

impl TokenText {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn usual() -> Self {
        Self("groups".to_owned())
    }
}

impl FromStr for TokenText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(format!("is empty, longer than {TEXT_BYTES_MAX} bytes, or has control characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(TokenText, "a text as tokens have it");

/// What who has a value of a claim may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The value.
    pub value: TokenText,
    /// What they may do.
    pub role: Role,
    /// The shares and buckets that they may do it to; none: all, and the gateway as a whole.
    pub shares: Option<Vec<ShareName>>,
}

impl Setting for Grant {
    fn form() -> String {
        "{ value = \"storage-admins\", role = \"admin\" }, with shares = [\"documents\"] where it is for some alone".to_owned()
    }

    fn parse(value: &Value) -> Result<Self, String> {
        let table = braces(value, &["value", "role", "shares"])?;
        let missing = |name: &str| format!("has no part {name:?}");
        let shares: Option<Vec<ShareName>> = part(table, "shares")?;
        if shares.as_ref().is_some_and(Vec::is_empty) {
            return Err("has an empty list of shares; leave it out for the whole gateway".to_owned());
        }
        Ok(Self {
            value: part(table, "value")?.ok_or_else(|| missing("value"))?,
            role: part(table, "role")?.ok_or_else(|| missing("role"))?,
            shares,
        })
    }

    fn write(&self) -> Value {
        let shares = self.shares.as_ref().map(Setting::write);
        let parts =
            [("value", Some(self.value.write())), ("role", Some(self.role.write())), ("shares", shares)];
        let written: InlineTable = parts.into_iter().filter_map(|(name, part)| Some((name, part?))).collect();
        Value::InlineTable(written)
    }
}

/// What must hold between providers.
pub(super) fn providers_fit(providers: &[Oidc], problems: &mut Problems<'_>) {
    if providers.len() > PROVIDERS_MAX {
        let message = format!("stands {} times; write at most {PROVIDERS_MAX}", providers.len());
        problems.add("oidc", None, message);
    }
    for provider in providers {
        let mut note = |key: &str, what: String| {
            problems.add(&format!("oidc.{}.{key}", provider.name), None, what);
        };
        if provider.claim.is_empty() || provider.claim.len() > STEPS_MAX {
            note("claim", format!("has not from 1 to {STEPS_MAX} steps"));
        }
        if provider.grants.is_empty() {
            note("grants", "is empty, so nobody could do anything; write at least one".to_owned());
        }
    }
    check::distinct("oidc", "name", providers.iter().map(|provider| &provider.name), problems);
    check::distinct("oidc", "issuer", providers.iter().map(|provider| &provider.issuer), problems);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn settings(more: &str) -> Result<Settings, String> {
        let text = format!(
            "[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"main\"\naddress = \"file:///srv/r\"\n[[oidc]]\nname = \"staff\"\naudience = \"tidegate\"\n{more}"
        );
        Settings::parse(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_reads_as_the_same_value() {
        let text = "issuer = \"https://login.example.net/realms/staff\"\nclaim = [\"realm_access\", \"roles\"]\n\
                    grants = [{ value = \"ops\", role = \"admin\" }, { value = \"docs\", role = \"viewer\", shares = [\"docs\"] }]";
        let read = settings(text).expect("correct");
        assert_eq!(Settings::parse(&read.to_toml()).as_ref(), Ok(&read));
        let provider = &read.oidc[0];
        assert_eq!(provider.grants[1].shares.as_ref().map(Vec::len), Some(1));
        assert_eq!(
            provider.issuer.discovery(),
            "https://login.example.net/realms/staff/.well-known/openid-configuration"
        );
        let usual = settings("issuer = \"https://a\"\ngrants = [{ value = \"ops\", role = \"admin\" }]")
            .expect("correct");
        assert_eq!(usual.oidc[0].claim, [TokenText::usual()]);
    }

    #[test]
    fn an_issuer_is_a_host_perhaps_with_a_port_and_a_path_and_is_kept_to_the_letter() {
        for good in
            ["https://a", "https://A.example:8443/realms/x", "https://[2001:db8::1]", "https://[::1]:8443/"]
        {
            let issuer: Issuer = good.parse().expect(good);
            assert_eq!(issuer.as_str(), good);
            let place = issuer.discovery();
            assert!(place.starts_with(good.trim_end_matches('/')) && !place[8..].contains("//"), "{place}");
        }
        for bad in
            ["https://", "https:///a", "https://a:", "https://a:x", "https://a b", "HTTPS://a", "a", ""]
        {
            assert!(bad.parse::<Issuer>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_could_let_in_nobody_or_everybody_is_refused() {
        let grants = "grants = [{ value = \"ops\", role = \"admin\" }]";
        for (text, part) in [
            (format!("issuer = \"http://a\"\n{grants}"), "https://"),
            (format!("issuer = \"https://\"\n{grants}"), "no host"),
            (format!("issuer = \"https://a:99999/b\"\n{grants}"), "no host"),
            (format!("issuer = \"https://a?x=1\"\n{grants}"), "no host"),
            (format!("issuer = \"https://a/b#c\"\n{grants}"), "no host"),
            (format!("issuer = \"https://user@a\"\n{grants}"), "no host"),
            ("issuer = \"https://a\"".to_owned(), "grants"),
            ("issuer = \"https://a\"\ngrants = []".to_owned(), "nobody could do anything"),
            ("issuer = \"https://a\"\ngrants = [{ role = \"admin\" }]".to_owned(), "no part \"value\""),
            ("issuer = \"https://a\"\ngrants = [{ value = \"x\", role = \"root\" }]".to_owned(), "role"),
            (
                "issuer = \"https://a\"\ngrants = [{ value = \"x\", role = \"admin\", shares = [] }]"
                    .to_owned(),
                "empty list of shares",
            ),
            (format!("issuer = \"https://a\"\nclaim = []\n{grants}"), "steps"),
            (
                format!(
                    "issuer = \"https://a\"\n{grants}\n[[oidc]]\nname = \"b\"\naudience = \"x\"\nissuer = \"https://a\"\n{grants}"
                ),
                "stands twice",
            ),
        ] {
            let refused = settings(&text).expect_err(&text);
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }
}
