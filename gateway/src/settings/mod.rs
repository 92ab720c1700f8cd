//! The settings: one TOML file, the only source of truth about what the gateway should do.
//!
//! One plain struct a table; see `docs/settings.md`, which is generated from them. Promises:
//!
//! * Every value is checked when the text is read, without I/O; unknown keys are refused; all
//!   problems come at once, each with key, line, value and what is allowed.
//! * A secret is never in the file: only a [`SecretReference`] to it is.
//! * The file is changed atomically and keeps its comments ([`SettingsFile`]).
//!
//! Not here: what the values do, and whether what they name exists (the parts that use them see).

mod alarms;
mod api;
mod archive;
mod bandwidth;
mod bucket;
mod check;
mod docs;
mod file;
mod gateway;
mod json;
mod key_change;
mod machine;
mod names;
mod network;
mod oidc;
mod otlp;
mod policy;
mod problems;
mod quota;
mod recovery;
mod repository;
mod retention;
mod runbook;
mod schema;
mod scrub;
mod secret;
mod share;
mod source;
#[cfg(test)]
mod tests;
mod values;
mod volume;

use toml_edit::{Document, DocumentMut, Item, TableLike};

pub use alarms::{Alarms, HeaderText, Least, MailAddress, Notify, SmtpServer, WebhookAddress};
pub use api::{Api, AuditLog, Expiry, Role, SyslogPlace, Token, TokenHash};
pub use archive::{Archive, ThawTier, usual_thaw};
pub use bandwidth::{Bandwidth, Days, TimeOfDay};
pub use bucket::{AccessKey, Bucket, Durable, PolicyText, S3};
pub use docs::settings_page;
pub use file::{Edit, SettingsFile, add_table, remove_table, remove_table_by};
pub use gateway::{Cache, Gateway, LogFormat, LogLevel};
pub use json::table_from_json;
pub use key_change::{AccessKeyChange, ResetOfKey};
pub use machine::{Architecture, BootMode, Machine, ProviderKind};
pub use names::{
    AccessKeyId, BucketName, CloudWord, ExportPath, HostName, LocalPath, Name, Region, RepositoryAddress,
};
pub use network::{Listen, Network, Url};
pub use oidc::{Grant, Issuer, Oidc, TokenText};
pub use otlp::Otlp;
pub use policy::{Argument, Calendar, OnHookFailure, Policy, ShareName, TagPattern, Zone};
pub use problems::{Problem, SettingsError};
pub use quota::{Count, Limits, Quota};
pub use recovery::{Currency, Price, PriceTable, Recovery};
pub use repository::{Credentials, CredentialsError, LockMode, Repository, Target, UrlStyle};
pub use retention::{HeadRung, Retention};
pub use runbook::{
    Action, InDrill, MomentText, OnStepFailure, RecordKind, Runbook, RunbookRules, Step, TsigAlgorithm,
    add_runbook, runbooks_from_toml, runbooks_to_toml,
};
pub use schema::{KeyDescription, Setting, Table, TableDescription};
pub use scrub::Scrub;
pub use secret::{SECRET_BYTES_MAX, Secret, SecretError, SecretReference};
pub use share::{Nfs, OnStoreLost, Share, Squash, Warm};
pub use source::{FileName, Source, SourceKind, SshHost};
pub use values::{Rate, Size, Span};
pub use volume::{Nbd, SECTOR_BYTES, Volume, VolumePath};

use problems::Problems;
use schema::Reader;

/// Where the settings are when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/tidegate/tidegate.toml";

/// The longest settings file, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Everything that the settings file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[repository]`
    pub repository: Repository,
    /// `[[target]]`, at least one.
    pub targets: Vec<Target>,
    /// `[[bandwidth]]`
    pub bandwidth: Vec<Bandwidth>,
    /// `[cache]`
    pub cache: Cache,
    /// `[retention]`
    pub retention: Retention,
    /// `[scrub]`
    pub scrub: Scrub,
    /// `[recovery]`
    pub recovery: Recovery,
    /// `[[prices]]`
    pub prices: Vec<PriceTable>,
    /// `[[archive]]`
    pub archives: Vec<Archive>,
    /// `[nfs]`
    pub nfs: Nfs,
    /// `[[share]]`
    pub shares: Vec<Share>,
    /// `[s3]`
    pub s3: S3,
    /// `[[bucket]]`
    pub buckets: Vec<Bucket>,
    /// `[[access_key]]`
    pub access_keys: Vec<AccessKey>,
    /// `[nbd]`
    pub nbd: Nbd,
    /// `[[volume]]`
    pub volumes: Vec<Volume>,
    /// `[[machine]]`
    pub machines: Vec<Machine>,
    /// `[[source]]`
    pub sources: Vec<Source>,
    /// `[[policy]]`
    pub policies: Vec<Policy>,
    /// `[alarms]`
    pub alarms: Alarms,
    /// `[[notify]]`
    pub notify: Vec<Notify>,
    /// `[otlp]`
    pub otlp: Otlp,
    /// `[api]`
    pub api: Api,
    /// `[audit]`
    pub audit: AuditLog,
    /// `[[token]]`
    pub tokens: Vec<Token>,
    /// `[[oidc]]`
    pub oidc: Vec<Oidc>,
    /// `[runbook.NAME]`
    pub runbooks: Vec<Runbook>,
}

/// The tables of the file.
const TABLES: [&str; 28] = [
    Gateway::NAME,
    Repository::NAME,
    Target::NAME,
    Bandwidth::NAME,
    Cache::NAME,
    Retention::NAME,
    Scrub::NAME,
    Recovery::NAME,
    PriceTable::NAME,
    Archive::NAME,
    Nfs::NAME,
    Share::NAME,
    S3::NAME,
    Bucket::NAME,
    AccessKey::NAME,
    Nbd::NAME,
    Volume::NAME,
    Machine::NAME,
    Source::NAME,
    Policy::NAME,
    Alarms::NAME,
    Notify::NAME,
    Otlp::NAME,
    Api::NAME,
    AuditLog::NAME,
    Token::NAME,
    Oidc::NAME,
    runbook::RUNBOOK,
];

impl Settings {
    /// Reads and checks a text.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let mut problems = Problems::new(text);
        let document = match Document::parse(text) {
            Ok(document) => document,
            Err(error) => {
                problems.add("", error.span(), format!("this is not TOML: {}", error.message()));
                return Err(problems.into_error());
            }
        };
        let settings = read_tables(document.as_table(), &mut problems);
        if let Some(settings) = &settings {
            check::across_tables(settings, &mut problems);
        }
        match settings {
            Some(settings) if problems.is_empty() => Ok(settings),
            Some(_) | None => Err(problems.into_error()),
        }
    }

    /// The target from which the repository is led.
    pub fn lead(&self) -> &Target {
        let named = self.repository.lead.as_ref().and_then(|name| self.target(name.as_str()));
        named.unwrap_or(&self.targets[0])
    }

    /// The other targets.
    pub fn copies(&self) -> impl Iterator<Item = &Target> {
        let lead = &self.lead().name;
        self.targets.iter().filter(move |target| target.name != *lead)
    }

    /// The target of that name.
    pub fn target(&self, name: &str) -> Option<&Target> {
        self.targets.iter().find(|target| target.name.as_str() == name)
    }

    /// The share of that name.
    pub fn share(&self, name: &str) -> Option<&Share> {
        self.shares.iter().find(|share| share.name.as_str() == name)
    }

    /// The bucket of that name.
    pub fn bucket(&self, name: &str) -> Option<&Bucket> {
        self.buckets.iter().find(|bucket| bucket.name.as_str() == name)
    }

    /// The settings as a text that [`Settings::parse`] reads as the same settings; every key is
    /// written out.
    pub fn to_toml(&self) -> String {
        let mut document = DocumentMut::new();
        document.insert(Gateway::NAME, Item::Table(self.gateway.write()));
        document.insert(Repository::NAME, Item::Table(self.repository.write()));
        document.insert(Target::NAME, Item::ArrayOfTables(self.targets.iter().map(Table::write).collect()));
        document
            .insert(Bandwidth::NAME, Item::ArrayOfTables(self.bandwidth.iter().map(Table::write).collect()));
        document.insert(Cache::NAME, Item::Table(self.cache.write()));
        document.insert(Retention::NAME, Item::Table(self.retention.write()));
        document.insert(Scrub::NAME, Item::Table(self.scrub.write()));
        document.insert(Recovery::NAME, Item::Table(self.recovery.write()));
        document
            .insert(PriceTable::NAME, Item::ArrayOfTables(self.prices.iter().map(Table::write).collect()));
        document.insert(Archive::NAME, Item::ArrayOfTables(self.archives.iter().map(Table::write).collect()));
        document.insert(Nfs::NAME, Item::Table(self.nfs.write()));
        document.insert(Share::NAME, Item::ArrayOfTables(self.shares.iter().map(Table::write).collect()));
        document.insert(S3::NAME, Item::Table(self.s3.write()));
        document.insert(Bucket::NAME, Item::ArrayOfTables(self.buckets.iter().map(Table::write).collect()));
        document.insert(
            AccessKey::NAME,
            Item::ArrayOfTables(self.access_keys.iter().map(Table::write).collect()),
        );
        document.insert(Nbd::NAME, Item::Table(self.nbd.write()));
        document.insert(Volume::NAME, Item::ArrayOfTables(self.volumes.iter().map(Table::write).collect()));
        document.insert(Machine::NAME, Item::ArrayOfTables(self.machines.iter().map(Table::write).collect()));
        document.insert(Source::NAME, Item::ArrayOfTables(self.sources.iter().map(Table::write).collect()));
        document.insert(Policy::NAME, Item::ArrayOfTables(self.policies.iter().map(Table::write).collect()));
        document.insert(Alarms::NAME, Item::Table(self.alarms.write()));
        document.insert(Notify::NAME, Item::ArrayOfTables(self.notify.iter().map(Table::write).collect()));
        document.insert(Otlp::NAME, Item::Table(self.otlp.write()));
        document.insert(Api::NAME, Item::Table(self.api.write()));
        document.insert(AuditLog::NAME, Item::Table(self.audit.write()));
        document.insert(Token::NAME, Item::ArrayOfTables(self.tokens.iter().map(Table::write).collect()));
        document.insert(Oidc::NAME, Item::ArrayOfTables(self.oidc.iter().map(Table::write).collect()));
        runbook::write_runbooks(document.as_table_mut(), &self.runbooks);
        document.to_string()
    }
}

/// The text form of one table alone, every key written out: what a head carries about its share.
pub fn table_to_toml<T: Table>(table: &T) -> String {
    table.write().to_string()
}

/// Reads what [`table_to_toml`] wrote.
pub fn table_from_toml<T: Table>(text: &str) -> Result<T, SettingsError> {
    let mut problems = Problems::new(text);
    match Document::parse(text) {
        Ok(document) => read_one(T::NAME.to_owned(), document.as_table(), problems),
        Err(error) => {
            problems.add("", error.span(), format!("this is not TOML: {}", error.message()));
            Err(problems.into_error())
        }
    }
}

/// Reads one table by itself.
fn read_one<T: Table>(
    path: String,
    table: &dyn TableLike,
    mut problems: Problems<'_>,
) -> Result<T, SettingsError> {
    match T::read(&mut Reader::new(path, table, &mut problems)) {
        Some(read) if problems.is_empty() => Ok(read),
        Some(_) | None => Err(problems.into_error()),
    }
}

fn read_tables(root: &toml_edit::Table, problems: &mut Problems<'_>) -> Option<Settings> {
    for (name, item) in root.iter().filter(|(name, _)| !TABLES.contains(name)) {
        let place = root.key(name).and_then(toml_edit::Key::span).or(item.span());
        problems.add(name, place, format!("is no table here; there are {}", TABLES.join(", ")));
    }
    let gateway = table(root, problems);
    let repository = table(root, problems);
    let targets = tables(root, problems);
    let bandwidth = tables(root, problems);
    let cache = table(root, problems);
    let retention = table(root, problems);
    let scrub = table(root, problems);
    let recovery = table(root, problems);
    let prices = tables(root, problems);
    let archives = tables(root, problems);
    let nfs = table(root, problems);
    let shares = tables(root, problems);
    let s3 = table(root, problems);
    let buckets = tables(root, problems);
    let access_keys = tables(root, problems);
    let nbd = table(root, problems);
    let volumes = tables(root, problems);
    let machines = tables(root, problems);
    let sources = tables(root, problems);
    let policies = tables(root, problems);
    let alarms = table(root, problems);
    let notify = tables(root, problems);
    let otlp = table(root, problems);
    let api = table(root, problems);
    let audit = table(root, problems);
    let tokens = tables(root, problems);
    let oidc = tables(root, problems);
    let runbooks = runbook::read_runbooks(root, problems);
    Some(Settings {
        gateway: gateway?,
        repository: repository?,
        targets: targets?,
        bandwidth: bandwidth?,
        cache: cache?,
        retention: retention?,
        scrub: scrub?,
        recovery: recovery?,
        prices: prices?,
        archives: archives?,
        nfs: nfs?,
        shares: shares?,
        s3: s3?,
        buckets: buckets?,
        access_keys: access_keys?,
        nbd: nbd?,
        volumes: volumes?,
        machines: machines?,
        sources: sources?,
        policies: policies?,
        alarms: alarms?,
        notify: notify?,
        otlp: otlp?,
        api: api?,
        audit: audit?,
        tokens: tokens?,
        oidc: oidc?,
        runbooks: runbooks?,
    })
}

/// Reads a table that stands at most once; a missing one counts as empty.
fn table<T: Table>(root: &toml_edit::Table, problems: &mut Problems<'_>) -> Option<T> {
    let empty = toml_edit::Table::new();
    let item = root.get(T::NAME);
    let Some(found) = item.map_or(Some(&empty as &dyn TableLike), Item::as_table_like) else {
        let place = item.and_then(Item::span);
        problems.add(T::NAME, place, format!("is no table; write it under the heading [{}]", T::NAME));
        return None;
    };
    T::read(&mut Reader::new(T::NAME.to_owned(), found, problems))
}

/// Reads a table that may stand several times.
fn tables<T: Table>(root: &toml_edit::Table, problems: &mut Problems<'_>) -> Option<Vec<T>> {
    let Some(item) = root.get(T::NAME) else { return Some(Vec::new()) };
    let found: Option<Vec<&dyn TableLike>> = match item {
        Item::ArrayOfTables(list) => Some(list.iter().map(|table| table as &dyn TableLike).collect()),
        Item::Value(toml_edit::Value::Array(list)) => {
            list.iter().map(|value| value.as_inline_table().map(|table| table as &dyn TableLike)).collect()
        }
        Item::None | Item::Value(_) | Item::Table(_) => None,
    };
    let Some(found) = found else {
        problems.add(T::NAME, item.span(), format!("is no list of tables; write each under [[{}]]", T::NAME));
        return None;
    };
    let read: Vec<Option<T>> = found
        .into_iter()
        .enumerate()
        .map(|(at, table)| T::read(&mut Reader::new(path_of::<T>(table, at), table, problems)))
        .collect();
    read.into_iter().collect()
}

/// `share.docs` if the table has a usable name, else `share[0]`.
fn path_of<T: Table>(table: &dyn TableLike, at: usize) -> String {
    let name = table.get("name").and_then(Item::as_str).and_then(|name| name.parse::<Name>().ok());
    name.map_or_else(|| format!("{}[{at}]", T::NAME), |name| format!("{}.{name}", T::NAME))
}
