//! `[api]`, `[audit]` and `[[token]]`: the admin API on the network, who may do what there, and where that is written down.
//!
//! A token is never in the file, nor anywhere else here: only its hash is. Tokens are made with so much chance that no
//! slow hash is needed to keep them from being guessed.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use jiff::Timestamp;

use super::names::{LocalPath, Name};
use super::network::Listen;
use super::oidc::providers_fit;
use super::policy::ShareName;
use super::problems::Problems;
use super::schema::table;
use super::secret::SecretReference;
use super::values::{Span, choice, text_setting};
use super::{Settings, check};

/// The most tokens of one gateway: each call compares with all of them.
const TOKENS_MAX: usize = 1_000;

table! {
    /// The admin API and the console on the network, over TLS. It is off while it listens nowhere; the Unix socket serves in
    /// any case. Who calls has a token (`[[token]]`).
    pub struct Api("api", once) {
        /// Where it listens, such as `0.0.0.0:8443`. Changing it needs a restart.
        listen: Vec<Listen>, default(Vec::new());
        /// The certificate chain in PEM. Read again whenever the settings are loaded (`systemctl reload tidegate`).
        certificate: LocalPath, optional;
        /// The key of the certificate, in PEM. Read again with it.
        private_key: SecretReference, optional;
        /// Most connections at once. Changing it needs a restart.
        connections: u32, default(256) in 1, 10_000;
        /// Most calls a minute with one token.
        calls_per_minute: u32, default(1_200) in 10, 1_000_000;
        /// Most failed logins and calls with a wrong token a minute from one address; further ones are told to come later.
        failures_per_minute: u32, default(10) in 1, 1_000_000;
        /// After how long without a call a session of the console ends.
        session_idle: Span, default(Span::seconds(1_800)) in Span::seconds(60), Span::days(1);
        /// How long a session of the console lasts at most.
        session_max: Span, default(Span::seconds(43_200)) in Span::seconds(300), Span::days(7);
    }
}

table! {
    /// The audit log: every change through the admin API, and every call that was refused. It lies below `gateway.data`; each
    /// record holds the digest of the one before.
    pub struct AuditLog("audit", once) {
        /// How many files of 16 MiB are kept; the oldest goes when another begins, and a record says so.
        files: u32, default(64) in 2, 10_000;
        /// Where records go besides, as syslog (RFC 5424): the socket of this machine (`/dev/log`), `udp://10.0.0.5:514` or
        /// `tcp://10.0.0.5:601`. What a call said beyond its path stays here. Changing it needs a restart.
        syslog: SyslogPlace, optional;
    }
}

choice! {
    /// What a token may do.
    pub enum Role {
        /// Look at everything but the contents of files and the audit log.
        Viewer = "viewer",
        /// Besides, whatever destroys nothing: commits, snapshots, restores, runs.
        Operator = "operator",
        /// Everything.
        Admin = "admin",
        /// Look at states and at the audit log, and at no name of a file.
        Auditor = "auditor",
    }
}

table! {
    /// Who may use the admin API on the network. `tidegate token add` makes one.
    pub struct Token("token", repeated) {
        /// What it is called, here and in the audit log.
        name: Name, required;
        /// What it may do.
        role: Role, required;
        /// The shares and buckets that it may do it to. Without this key: all, and the gateway as a whole. An empty list is
        /// refused; a name that no share has yet opens nothing.
        shares: Vec<ShareName>, optional;
        /// The hash of the token.
        hash: TokenHash, required;
        /// When it is valid no more.
        expires: Expiry, optional;
    }
}

/// The hash of a token (BLAKE3). Compared in constant time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHash(blake3::Hash);

impl TokenHash {
    /// That of a token.
    pub fn of(token: &[u8]) -> Self {
        Self(blake3::hash(token))
    }
}

impl FromStr for TokenHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = text.strip_prefix("blake3:").ok_or("does not begin with blake3:")?;
        blake3::Hash::from_hex(hex).map(Self).map_err(|_| "has not 64 hexadecimal digits".to_owned())
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blake3:{}", self.0.to_hex())
    }
}

text_setting!(TokenHash, "\"blake3:\" and 64 hexadecimal digits, as `tidegate token add` does");

/// A time at which something ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry(pub Timestamp);

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "is no time".to_owned())
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_setting!(Expiry, "a time such as \"2027-01-31T00:00:00Z\"");

/// Where syslog records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogPlace {
    /// A datagram socket of this machine.
    Socket(LocalPath),
    /// Datagrams, one a record (RFC 5426).
    Udp(SocketAddr),
    /// A stream, records with their length before them (RFC 6587 section 3.4.1).
    Tcp(SocketAddr),
}

impl FromStr for SyslogPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |text: &str| text.parse().map_err(|_| "has no address and port".to_owned());
        if let Some(text) = text.strip_prefix("udp://") {
            return address(text).map(Self::Udp);
        }
        match text.strip_prefix("tcp://") {
            Some(text) => address(text).map(Self::Tcp),
            None => text.parse().map(Self::Socket),
        }
    }
}

impl fmt::Display for SyslogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.fmt(f),
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

text_setting!(SyslogPlace, "\"/dev/log\", \"udp://10.0.0.5:514\" or \"tcp://10.0.0.5:601\"");

/// What must hold between these tables.
pub(super) fn api_fits(settings: &Settings, problems: &mut Problems<'_>) {
    let api = &settings.api;
    if !api.listen.is_empty() && api.certificate.is_none() {
        problems.add("api.certificate", None, "is missing; the admin API is on the network over TLS alone");
    }
    if api.certificate.is_some() != api.private_key.is_some() {
        problems.add("api.certificate", None, "and api.private_key belong together; set both or none");
    }
    if settings.tokens.len() > TOKENS_MAX {
        let message = format!("stands {} times; write at most {TOKENS_MAX}", settings.tokens.len());
        problems.add("token", None, message);
    }
    for token in settings.tokens.iter().filter(|token| token.shares.as_ref().is_some_and(Vec::is_empty)) {
        let key = format!("token.{}.shares", token.name);
        problems.add(
            &key,
            None,
            "is empty; name at least one share, or leave the key out for the whole gateway",
        );
    }
    providers_fit(&settings.oidc, problems);
    check::distinct("token", "name", settings.tokens.iter().map(|token| &token.name), problems);
    check::distinct("token", "hash", settings.tokens.iter().map(|token| token.hash.to_string()), problems);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_whose_last_share_was_taken_out_is_refused_and_not_for_everything() {
        let token = |shares: &str| {
            let hash = TokenHash::of(b"a token");
            let text = format!(
                "[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"main\"\naddress = \"file:///srv/r\"\n[[token]]\nname = \"ops\"\nrole = \"admin\"\nhash = \"{hash}\"\n{shares}"
            );
            Settings::parse(&text)
        };
        let refused = token("shares = []").expect_err("an empty list").to_string();
        assert!(refused.contains("token.ops.shares: is empty"), "{refused}");
        let whole = token("").expect("correct");
        assert_eq!(
            (&whole.tokens[0].shares, Settings::parse(&whole.to_toml()).as_ref()),
            (&None, Ok(&whole))
        );
        let of_one = token("shares = [\"docs\"]").expect("correct");
        assert_eq!(of_one.tokens[0].shares.as_ref().map(Vec::len), Some(1));
    }

    #[test]
    fn what_is_written_reads_as_the_same_value() {
        for text in ["/dev/log", "udp://10.0.0.5:514", "tcp://[fd00::1]:601"] {
            assert_eq!(text.parse::<SyslogPlace>().expect(text).to_string(), text);
        }
        for text in ["dev/log", "udp://loghost:514", "tls://10.0.0.5:6514", "tcp://10.0.0.5"] {
            assert!(text.parse::<SyslogPlace>().is_err(), "{text}");
        }
        let hash = TokenHash::of(b"a token");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_ne!(hash, TokenHash::of(b"another"));
        assert!("sha1:00".parse::<TokenHash>().is_err() && "blake3:00".parse::<TokenHash>().is_err());
        assert!("tomorrow".parse::<Expiry>().is_err());
    }
}
