//! Options that name a repository and local state, for machines that have no settings file yet.

use std::path::{Path, PathBuf};

use clap::Args;
use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table, value};

use super::Context;
use super::exit::Failure;
use super::terminal::failed;
use crate::control::ControlError;
use crate::settings::{Listen, LockMode, Region, RepositoryAddress, Settings, Url};

/// The first lines of a settings file that is made here.
const HEAD: &str = "# Settings of a Tidegate gateway; docs/settings.md explains every key.\n\n";

/// Where a repository lies and what opens it. When there are settings already, none of these may be given.
#[derive(Debug, Args)]
pub(super) struct RepositoryPlace {
    /// Where the repository lies: file:///path or s3://bucket/prefix.
    #[arg(long)]
    address: Option<RepositoryAddress>,
    /// The S3 service; without it AWS.
    #[arg(long)]
    endpoint: Option<Url>,
    /// The region of the bucket.
    #[arg(long)]
    region: Option<Region>,
    /// A file (mode 0600) with access key id and secret access key, each on a line.
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
    /// Object lock: compliance or governance; for a bucket that has it enabled.
    #[arg(long)]
    lock: Option<LockMode>,
    /// For how many days what is needed is locked at least [default: 30].
    #[arg(long, value_name = "DAYS", requires = "lock")]
    lock_days: Option<u32>,
    /// The file with the repository's key [default: repository.key beside the settings].
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// What a settings file is made from. When there is one already, none of these may be given.
#[derive(Debug, Args)]
pub(super) struct Place {
    #[command(flatten)]
    repository: RepositoryPlace,
    /// The folder of the local state [default: /var/lib/tidegate].
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The admin socket [default: /run/tidegate/admin.sock].
    #[arg(long, value_name = "FILE")]
    socket: Option<PathBuf>,
    /// Where NFS listens [default: 0.0.0.0:2049].
    #[arg(long)]
    listen: Option<Listen>,
}

/// Settings, and the text to be written when there is no file yet.
pub(super) struct Prepared {
    pub(super) settings: Settings,
    text: Option<String>,
}

impl Prepared {
    /// Changes what a new settings file will hold, or the one that there is.
    pub(super) fn edit(
        &mut self,
        context: &Context,
        change: impl FnOnce(&mut DocumentMut) -> Result<(), String>,
    ) -> Result<(), Failure> {
        let Some(text) = &self.text else { return Ok(context.file.edit(change).map(drop)?) };
        let mut document: DocumentMut = text.parse().expect("what was just written is TOML");
        change(&mut document).map_err(Failure::usage)?;
        self.text = Some(document.to_string());
        Ok(())
    }

    /// Writes the settings file, if it is a new one; says whether.
    pub(super) fn write(&self, context: &Context) -> Result<bool, Failure> {
        if let Some(text) = &self.text {
            context.file.create(text)?;
        }
        Ok(self.text.is_some())
    }
}

impl RepositoryPlace {
    /// The settings: those in the file, or what the options say. Nothing is to be written.
    pub(super) fn settings(&self, context: &Context) -> Result<Settings, Failure> {
        let text = self
            .text(context, self.is_given(), |address, path| Ok(self.to_toml(address, path)?.to_string()))?;
        text.map_or_else(|| Ok(context.settings()?), |text| Ok(Settings::parse(&text)?))
    }

    /// The text of settings; `None` if there is a file.
    fn text(
        &self,
        context: &Context,
        is_given: bool,
        make: impl FnOnce(&RepositoryAddress, &Path) -> Result<String, Failure>,
    ) -> Result<Option<String>, Failure> {
        let path = context.file.path();
        let place = path.display();
        match &self.address {
            _ if path.exists() && is_given => Err(Failure::usage(format!(
                "{place} exists: change it there, or name another file with --settings."
            ))),
            _ if path.exists() => Ok(None),
            Some(address) => make(address, path).map(Some),
            None => Err(Failure::usage(format!(
                "{place} does not exist: say with --address where the repository lies."
            ))),
        }
    }

    fn is_given(&self) -> bool {
        let Self { address, endpoint, region, credentials_file, lock, lock_days, key_file } = self;
        let paths = [credentials_file, key_file];
        let is_locked = lock.is_some() || lock_days.is_some();
        let is_there = address.is_some() || endpoint.is_some() || region.is_some();
        is_there || is_locked || paths.iter().any(|path| path.is_some())
    }

    fn to_toml(&self, address: &RepositoryAddress, settings: &Path) -> Result<DocumentMut, Failure> {
        let mut repository = Table::new();
        let beside = settings.with_file_name("repository.key");
        repository.insert("key", file_reference(self.key_file.as_ref().unwrap_or(&beside))?);

        let mut target = Table::new();
        target.insert("name", value("main"));
        target.insert("address", value(address.to_string()));
        let texts = [
            ("endpoint", self.endpoint.as_ref().map(ToString::to_string)),
            ("region", self.region.as_ref().map(ToString::to_string)),
        ];
        for (key, text) in texts {
            target.extend(text.map(|text| (key, value(text))));
        }
        target.extend(self.lock.map(|lock| ("lock", value(lock.as_str()))));
        target.extend(self.lock_days.map(|days| ("lock_days", value(i64::from(days)))));
        if let Some(path) = &self.credentials_file {
            target.insert("credentials", file_reference(path)?);
        }

        let mut document = DocumentMut::new();
        document.insert("gateway", Item::Table(Table::new()));
        document.insert("repository", Item::Table(repository));
        document.insert("target", Item::ArrayOfTables(ArrayOfTables::from_iter([target])));
        Ok(document)
    }
}

impl Place {
    /// Asks where the repository is to lie, unless that was said. `ask` is given a question and what an empty
    /// answer means, and answers none for that.
    pub(super) fn ask(
        &mut self,
        ask: impl Fn(&str, &str) -> Result<Option<String>, Failure>,
    ) -> Result<(), Failure> {
        let repository = &mut self.repository;
        if repository.address.is_some() {
            return Ok(());
        }
        let wrong = |answer: &str, why: String| Failure::usage(format!("{answer:?} {why}"));
        let default = "file:///var/lib/tidegate-repository";
        let question =
            "Where shall the repository lie: s3://BUCKET/PREFIX, or file:///FOLDER on another disk?";
        let address = ask(question, default)?.unwrap_or_else(|| default.to_owned());
        repository.address = Some(address.parse().map_err(|why| wrong(&address, why))?);
        if !matches!(repository.address, Some(RepositoryAddress::S3 { .. })) {
            return Ok(());
        }
        if let Some(endpoint) = ask("Which S3 service (https://...)?", "AWS")? {
            repository.endpoint = Some(endpoint.parse().map_err(|why| wrong(&endpoint, why))?);
        }
        if let Some(region) = ask("In which region is the bucket?", "us-east-1")? {
            repository.region = Some(region.parse().map_err(|why| wrong(&region, why))?);
        }
        let question = "Which file (mode 0600) has access key id and secret access key, each on a line?";
        let credentials = ask(question, "none: from the environment or the machine's role")?;
        repository.credentials_file = credentials.map(PathBuf::from);
        Ok(())
    }

    /// The settings: those in the file, or what the options say. Writes nothing.
    pub(super) fn prepare(&self, context: &Context) -> Result<Prepared, Failure> {
        let Self { repository, data, socket, listen } = self;
        let is_given = repository.is_given() || data.is_some() || socket.is_some() || listen.is_some();
        let text = repository.text(context, is_given, |address, path| self.to_toml(address, path))?;
        let settings = match &text {
            Some(text) => Settings::parse(text)?,
            None => context.settings()?,
        };
        Ok(Prepared { settings, text })
    }

    fn to_toml(&self, address: &RepositoryAddress, settings: &Path) -> Result<String, Failure> {
        let mut gateway = Table::new();
        for (key, path) in [("data", &self.data), ("socket", &self.socket)] {
            if let Some(path) = path {
                gateway.insert(key, value(absolute(path)?));
            }
        }
        let mut document = self.repository.to_toml(address, settings)?;
        document.insert("gateway", Item::Table(gateway));
        if let Some(listen) = &self.listen {
            let mut nfs = Table::new();
            nfs.insert("listen", value(toml_edit::Array::from_iter([listen.to_string()])));
            document.insert("nfs", Item::Table(nfs));
        }
        Ok(format!("{HEAD}{document}"))
    }
}

fn file_reference(path: &Path) -> Result<Item, Failure> {
    Ok(value(InlineTable::from_iter([("file", absolute(path)?)])))
}

/// The path from the root of the file system, as text.
fn absolute(path: &Path) -> Result<String, ControlError> {
    let path = std::path::absolute(path).map_err(|error| failed("find the working folder", &error))?;
    Ok(path.to_string_lossy().into_owned())
}
