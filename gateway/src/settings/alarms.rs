//! `[alarms]` and `[[notify]]`: what counts as wrong, and who is told.
//!
//! What the values do is in [`crate::alarm`]; here they are only checked.

use std::fmt;
use std::str::FromStr;

use lettre::message::Mailbox;
use toml_edit::Value;

use super::names::{LocalPath, Name};
use super::policy::Argument;
use super::problems::Problems;
use super::schema::{Setting, table};
use super::secret::{SecretError, SecretReference};
use super::values::{Span, choice, text_setting};
use super::{Settings, check};
use crate::alarm::Recipient;
use crate::control::Severity;

/// The most notifiers of one gateway.
const NOTIFIERS_MAX: usize = 32;
/// The longest address of a webhook, in bytes.
const WEBHOOK_BYTES_MAX: usize = 2_048;

table! {
    /// What counts as wrong, and how long before it is said. `tidegate alarms` shows what is wrong now. `tidegate watch`
    /// goes by the same keys.
    pub struct Alarms("alarms", once) {
        /// How many times its `rpo` the newest head of a share that changes may be old.
        rpo_multiple: u32, default(3) in 1, 1_000;
        /// How long a store may fail.
        store_away_after: Span, default(Span::seconds(300)) in Span::seconds(10), Span::days(30);
        /// How long after its time a run of a policy may still be missing.
        policy_late_after: Span, default(Span::seconds(3_600)) in Span::seconds(60), Span::days(30);
        /// How long what waits for a store may not become less.
        backlog_after: Span, default(Span::seconds(3_600)) in Span::seconds(600), Span::days(30);
        /// How old the newest head of a share on a copy may be that is not its newest.
        copy_behind_after: Span, default(Span::seconds(3_600)) in Span::seconds(60), Span::days(30);
        /// How much of what may wait for the store may be used, in percent. Writers are slowed down from 70 on, and
        /// wait at 100.
        dirty_percent: u32, default(80) in 10, 100;
        /// How far the clocks of this machine and of a store may differ.
        clock_apart_max: Span, default(Span::seconds(60)) in Span::seconds(10), Span::days(1);
        /// How long a thing must be wrong before it is an alarm, where no other key says so.
        raise_after: Span, default(Span::seconds(30)) in Span::seconds(0), Span::days(1);
        /// How long a thing must be right before its alarm is over.
        clear_after: Span, default(Span::seconds(120)) in Span::seconds(0), Span::days(1);
        /// How often the gateway writes to the repository that it lives, and how it is: what `tidegate watch` goes by.
        heartbeat_every: Span, default(Span::seconds(300)) in Span::seconds(10), Span::days(1);
        /// How many heartbeats may be missing before `tidegate watch` calls a gateway silent.
        heartbeats_missed_max: u32, default(3) in 1, 100;
    }
}

choice! {
    /// The least urgent alarms that a notifier hears of.
    pub enum Least {
        /// All.
        Warning = "warning",
        /// Only those that cannot wait for working hours.
        Critical = "critical",
    }
}

table! {
    /// Somebody who is told of alarms, by a command, a webhook or mail: write one of `command`, `webhook` and `smtp`.
    /// `tidegate alarms test NAME` tries it. What cannot be delivered is tried again for some minutes, and then given up;
    /// nothing waits for it.
    pub struct Notify("notify", repeated) {
        /// What it is called.
        name: Name, required;
        /// A program and its arguments, run without a shell and with the variables `TIDEGATE_EVENT` (`raised`, `worse`,
        /// `lasting`, `cleared`, `test`), `TIDEGATE_CODE`, `TIDEGATE_SUBJECT`, `TIDEGATE_SEVERITY`, `TIDEGATE_SINCE`,
        /// `TIDEGATE_AT`, `TIDEGATE_MESSAGE`, `TIDEGATE_TODO`, `TIDEGATE_HOST` and `TIDEGATE_REPOSITORY`.
        command: Vec<Argument>, default(Vec::new());
        /// Where a POST with JSON goes: the same as above as `event`, `code` and so on, and all of it as `text`.
        webhook: WebhookAddress, optional;
        /// The header of that request that carries `secret`.
        header: HeaderText, default(HeaderText::authorization());
        /// The secret of a webhook (the whole value of the header, such as `Bearer abc`), or the password of `smtp_user`.
        secret: SecretReference, optional;
        /// The server that takes mail.
        smtp: SmtpServer, optional;
        /// Who logs in there. Nobody if it is absent.
        smtp_user: Argument, optional;
        /// Who sends mail.
        mail_from: MailAddress, optional;
        /// Who gets mail.
        mail_to: Vec<MailAddress>, default(Vec::new());
        /// A PEM file with the certificates by which the server is trusted, instead of those of the system.
        ca_file: LocalPath, optional;
        /// The least urgent alarms that it hears of.
        least: Least, default(Least::Warning);
        /// How often it hears again of an alarm that lasts; `0s` for never.
        remind_every: Span, default(Span::days(1)) in Span::seconds(0), Span::days(366);
        /// Whether it hears that an alarm is over.
        cleared: bool, default(true);
        /// How long one delivery may take.
        timeout: Span, default(Span::seconds(30)) in Span::seconds(1), Span::seconds(600);
    }
}

/// An address of a webhook: HTTPS, or HTTP on this machine itself. Often a secret is a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookAddress {
    /// As it stands in the settings.
    Plain(String),
    /// Where it is to be found.
    Secret(SecretReference),
}

impl WebhookAddress {
    /// The address; or what is wrong with the one that was found.
    pub async fn resolve(&self) -> Result<Result<String, String>, SecretError> {
        match self {
            Self::Plain(address) => Ok(Ok(address.clone())),
            Self::Secret(reference) => {
                let secret = reference.resolve().await?;
                let address = secret.expose_text().map(str::trim).unwrap_or_default();
                let checked = check_webhook(address).map(|()| address.to_owned());
                Ok(checked.map_err(|why| format!("the address of the webhook, from {reference}, {why}")))
            }
        }
    }
}

fn check_webhook(address: &str) -> Result<(), String> {
    let (scheme, rest) = address.split_once("://").ok_or("is no URL")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("has a user name in it".to_owned());
    }
    if !address.bytes().all(|byte| byte.is_ascii_graphic()) || address.len() > WEBHOOK_BYTES_MAX {
        return Err("has letters that no URL has, or too many".to_owned());
    }
    let (host, _) = host_and_port(authority).ok_or("has no host")?;
    match scheme {
        "https" => Ok(()),
        "http" if is_local(host) => Ok(()),
        "http" => Err("is plain HTTP to another machine".to_owned()),
        _ => Err("does not begin with https://".to_owned()),
    }
}

impl Setting for WebhookAddress {
    const SHOWN: bool = false; // Its path may be a secret.

    fn form() -> String {
        format!(
            "a URL such as \"https://hooks.example.net/tidegate\" (http:// for this machine itself only), or, where it \
             is a secret, {}",
            SecretReference::form()
        )
    }

    fn parse(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some(address) => check_webhook(address).map(|()| Self::Plain(address.to_owned())),
            None => SecretReference::parse(value).map(Self::Secret),
        }
    }

    fn write(&self) -> Value {
        match self {
            Self::Plain(address) => address.into(),
            Self::Secret(reference) => reference.write(),
        }
    }
}

/// The name of an HTTP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderText(String);

impl HeaderText {
    /// The one that HTTP itself has for secrets (RFC 9110 section 11.6.2).
    pub(super) fn authorization() -> Self {
        Self("authorization".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HeaderText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let taken = ["host", "content-length", "content-type", "transfer-encoding", "connection"];
        let name = text.to_ascii_lowercase();
        if text.is_empty() || text.len() > 128 || !text.bytes().all(legal) || taken.contains(&&*name) {
            return Err("is no header that can carry a secret".to_owned());
        }
        Ok(Self(name))
    }
}

impl fmt::Display for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(HeaderText, "the name of an HTTP header, such as \"authorization\" or \"x-api-key\"");

/// A server that takes mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpServer {
    wrapped: bool,
    host: String,
    port: u16,
}

impl SmtpServer {
    /// Its name or IP address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether TLS begins with the connection; else it is asked for (STARTTLS).
    pub fn is_wrapped(&self) -> bool {
        self.wrapped
    }

    /// Whether it is this machine itself.
    pub fn is_local(&self) -> bool {
        is_local(&self.host)
    }
}

impl FromStr for SmtpServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (wrapped, port, rest) = match text.split_once("://") {
            Some(("smtps", rest)) => (true, 465, rest),
            Some(("smtp", rest)) => (false, 587, rest),
            Some(_) | None => return Err("does not begin with smtps:// or smtp://".to_owned()),
        };
        let (host, given) = host_and_port(rest).ok_or("has no host and port alone after the scheme")?;
        Ok(Self { wrapped, host: host.to_owned(), port: given.unwrap_or(port) })
    }
}

impl fmt::Display for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.wrapped { "smtps" } else { "smtp" };
        let is_v6 = self.host.contains(':');
        let (open, close) = if is_v6 { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

text_setting!(
    SmtpServer,
    "\"smtps://host\" (TLS, port 465) or \"smtp://host\" (STARTTLS, port 587; without TLS for this machine itself \
     only), and a port if it is another one"
);

/// Splits `host:port`, where the port may be absent and an IPv6 address stands in brackets.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host.parse::<std::net::Ipv6Addr>().ok().map(|_| host)?, rest)
        }
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    let legal = |letter: char| letter.is_ascii_alphanumeric() || "-._:".contains(letter);
    if host.is_empty() || host.len() > 255 || !host.chars().all(legal) {
        return None;
    }
    match port.strip_prefix(':') {
        Some(port) => Some((host, Some(port.parse().ok().filter(|port| *port > 0)?))),
        None => port.is_empty().then_some((host, None)),
    }
}

/// Whether a host is this machine itself.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Somebody's mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailAddress(Mailbox);

impl MailAddress {
    /// As mail has it.
    pub fn mailbox(&self) -> &Mailbox {
        &self.0
    }
}

impl FromStr for MailAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "is no mail address".to_owned())
    }
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_setting!(MailAddress, "a mail address such as \"ops@example.net\" or \"Operators <ops@example.net>\"");

impl Notify {
    /// What it wants to hear.
    pub fn recipient(&self) -> Recipient {
        Recipient {
            name: self.name.to_string(),
            least: match self.least {
                Least::Warning => Severity::Warning,
                Least::Critical => Severity::Critical,
            },
            remind_every: self.remind_every.duration(),
            cleared: self.cleared,
        }
    }
}

impl Settings {
    /// The notifier of that name.
    pub fn notifier(&self, name: &str) -> Option<&Notify> {
        self.notify.iter().find(|notify| notify.name.as_str() == name)
    }
}

/// Notes what does not fit together within notifiers, and between them.
pub(super) fn notifiers_fit(settings: &Settings, problems: &mut Problems<'_>) {
    if settings.notify.len() > NOTIFIERS_MAX {
        let message = format!("stands {} times; write at most {NOTIFIERS_MAX}", settings.notify.len());
        problems.add("notify", None, message);
    }
    check::distinct("notify", "name", settings.notify.iter().map(|notify| &notify.name), problems);
    for notify in &settings.notify {
        let mut note =
            |key: &str, what: &str| problems.add(&format!("notify.{}.{key}", notify.name), None, what);
        way_fits(notify, &mut note);
    }
}

fn way_fits(notify: &Notify, note: &mut impl FnMut(&str, &str)) {
    let ways = [!notify.command.is_empty(), notify.webhook.is_some(), notify.smtp.is_some()];
    match ways.iter().filter(|way| **way).count() {
        0 => note("command", "is missing, and so are webhook and smtp; write one of them"),
        1 => {}
        _ => note(
            "command",
            "and webhook and smtp exclude each other; write one of them, each under its own name",
        ),
    }
    let by_mail = notify.smtp.is_some();
    if by_mail && notify.mail_from.is_none() {
        note("mail_from", "is missing; write who sends the mail");
    }
    if by_mail && notify.mail_to.is_empty() {
        note("mail_to", "is missing; write who gets the mail");
    }
    if by_mail && notify.smtp_user.is_some() != notify.secret.is_some() {
        note("smtp_user", "and secret belong together; set both or none");
    }
    if !by_mail && (notify.mail_from.is_some() || !notify.mail_to.is_empty() || notify.smtp_user.is_some()) {
        note("smtp", "is missing, but keys of mail are set; write the server, or leave them out");
    }
    if !notify.command.is_empty() && (notify.secret.is_some() || notify.ca_file.is_some()) {
        note("secret", "and ca_file are for webhooks and mail; leave them out, the command finds its own");
    }
    if notify.command.first().is_some_and(|program| !program.as_str().starts_with('/')) {
        note("command", "does not begin with the absolute path of a program");
    }
}
