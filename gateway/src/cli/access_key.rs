//! `tidegate access-key`: list, add, change and remove who S3 clients are.
//!
//! A secret is made here, from the system's random numbers, and written to a file that only its owner reads; the
//! settings name the file. It is shown once, when it is made: clients need it. A change of a key leaves it alone.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::exit::Failure;
use super::format::table;
use super::removing::Asking;
use super::terminal::failed;
use super::{Context, edit_offline};
use crate::admin::Applied;
use crate::cli::client::segment;
use crate::control::{ControlError, ErrorKind};
use crate::settings::{AccessKey, AccessKeyChange, ResetOfKey, add_table, table_from_json};

/// The letters of secrets and of ids that are made here.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// The length of a secret: 240 bits of chance.
const SECRET_LETTERS: usize = 40;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show all access keys of the settings, without their secrets.
    List,
    /// Make an access key and its secret.
    Add {
        /// Its id.
        id: String,
        /// The file to make for the secret, readable by its owner alone.
        #[arg(long, value_name = "FILE")]
        secret_file: PathBuf,
        #[command(flatten)]
        rights: Rights,
    },
    /// Change what an access key may do. What is not named stays as it is; so does its secret.
    Change {
        /// Its id.
        id: String,
        #[command(flatten)]
        changes: Changes,
    },
    /// Take an access key out of the settings; the file with its secret stays.
    Remove {
        /// Its id.
        id: String,
        #[command(flatten)]
        asking: Asking,
    },
}

/// What a key may do.
#[derive(Debug, Args)]
pub(super) struct Rights {
    /// A bucket that it may use; may be repeated [default: all].
    #[arg(long = "bucket")]
    buckets: Vec<String>,
    /// Refuse every change.
    #[arg(long)]
    read_only: bool,
    /// The name under which it owns the buckets that it makes; the keys that share it own them together [default: its id].
    #[arg(long)]
    owner: Option<String>,
    /// Hide buckets of another owner from it.
    #[arg(long)]
    own_buckets_only: bool,
    /// A file with a policy in the JSON language of AWS.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The user that acts in the files of a share.
    #[arg(long)]
    uid: Option<u32>,
    /// Its primary group.
    #[arg(long)]
    gid: Option<u32>,
    /// Its further groups, with commas between them.
    #[arg(long, value_delimiter = ',')]
    gids: Vec<u32>,
}

/// What becomes of a key.
#[derive(Debug, Args)]
pub(super) struct Changes {
    /// A bucket that it may use, instead of those before; may be repeated.
    #[arg(long = "bucket")]
    buckets: Vec<String>,
    /// Let it use all buckets.
    #[arg(long, conflicts_with = "buckets")]
    all_buckets: bool,
    /// Refuse every change, or with "=false" no longer.
    #[arg(long, value_name = "YES", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    read_only: Option<bool>,
    /// The name under which it owns the buckets that it makes.
    #[arg(long)]
    owner: Option<String>,
    /// Let it own buckets under its id.
    #[arg(long, conflicts_with = "owner")]
    no_owner: bool,
    /// Hide buckets of another owner from it, or with "=false" no longer.
    #[arg(long, value_name = "YES", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    own_buckets_only: Option<bool>,
    /// A file with a policy in the JSON language of AWS.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Take its policy away: then it may do everything in its buckets.
    #[arg(long, conflicts_with = "policy")]
    no_policy: bool,
    /// The user that acts in the files of a share.
    #[arg(long)]
    uid: Option<u32>,
    /// Its primary group.
    #[arg(long)]
    gid: Option<u32>,
    /// Its further groups, with commas between them, instead of those before.
    #[arg(long, value_delimiter = ',')]
    gids: Vec<u32>,
    /// Leave it its primary group alone.
    #[arg(long, conflicts_with = "gids")]
    no_gids: bool,
}

/// An access key of the settings.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    owner: String,
    buckets: Vec<String>,
    read_only: bool,
    own_buckets_only: bool,
    policy: bool,
    uid: u32,
    gid: u32,
    gids: Vec<u32>,
}

/// An access key that was made.
#[derive(Serialize)]
struct Added<'a> {
    id: &'a str,
    secret: &'a str,
    secret_file: &'a Path,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => list(context),
        Command::Add { id, secret_file, rights } => add(context, &id, &secret_file, &rights).await,
        Command::Change { id, changes } => change(context, &id, changes).await,
        Command::Remove { id, asking } => remove(context, id, asking).await,
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    let settings = context.settings()?;
    let row = |key: &AccessKey| Row {
        id: key.id.to_string(),
        owner: key.owner.as_ref().unwrap_or(&key.id).to_string(),
        buckets: key.buckets.iter().map(ToString::to_string).collect(),
        read_only: key.read_only,
        own_buckets_only: key.own_buckets_only,
        policy: key.policy.is_some(),
        uid: key.uid,
        gid: key.gid,
        gids: key.gids.clone(),
    };
    let rows: Vec<Row> = settings.access_keys.iter().map(row).collect();
    context.terminal.data(&rows, |rows| {
        let row = |row: &Row| {
            let buckets = match (row.buckets.is_empty(), row.own_buckets_only) {
                (true, true) => "its own".to_owned(),
                (true, false) => "all".to_owned(),
                (false, _) => row.buckets.join(" "),
            };
            let may = match (row.read_only, row.policy) {
                (true, _) => "read",
                (false, true) => "as its policy says",
                (false, false) => "everything",
            };
            let groups: Vec<_> = [row.gid].iter().chain(&row.gids).map(u32::to_string).collect();
            [row.id.clone(), buckets, may.to_owned(), format!("{}:{}", row.uid, groups.join(","))]
        };
        table(["ACCESS KEY", "BUCKETS", "MAY", "ACTS AS"], &rows.iter().map(row).collect::<Vec<_>>())
    })
}

impl Rights {
    /// As keys of the table [[access_key]], in JSON.
    fn to_json(&self, id: &str, secret_file: &Path) -> Result<Map<String, Value>, ControlError> {
        let mut keys = Map::new();
        keys.insert("id".to_owned(), id.into());
        keys.insert("secret".to_owned(), json!({ "file": secret_file }));
        if !self.buckets.is_empty() {
            keys.insert("buckets".to_owned(), self.buckets.clone().into());
        }
        keys.extend(self.read_only.then(|| ("read_only".to_owned(), true.into())));
        keys.extend(self.owner.iter().map(|owner| ("owner".to_owned(), owner.clone().into())));
        keys.extend(self.own_buckets_only.then(|| ("own_buckets_only".to_owned(), true.into())));
        if let Some(file) = &self.policy {
            keys.insert("policy".to_owned(), read_policy(file)?.into());
        }
        for (key, number) in [("uid", self.uid), ("gid", self.gid)] {
            keys.extend(number.map(|number| (key.to_owned(), number.into())));
        }
        if !self.gids.is_empty() {
            keys.insert("gids".to_owned(), self.gids.clone().into());
        }
        Ok(keys)
    }
}

impl Changes {
    fn into_change(self) -> Result<AccessKeyChange, ControlError> {
        let resets = [
            (self.no_owner, ResetOfKey::Owner),
            (self.all_buckets, ResetOfKey::Buckets),
            (self.no_policy, ResetOfKey::Policy),
            (self.no_gids, ResetOfKey::Gids),
        ];
        Ok(AccessKeyChange {
            reset: resets.into_iter().filter_map(|(is_asked, reset)| is_asked.then_some(reset)).collect(),
            owner: self.owner,
            buckets: (!self.buckets.is_empty()).then_some(self.buckets),
            read_only: self.read_only,
            own_buckets_only: self.own_buckets_only,
            policy: self.policy.as_deref().map(read_policy).transpose()?,
            uid: self.uid,
            gid: self.gid,
            gids: (!self.gids.is_empty()).then_some(self.gids),
        })
    }
}

fn read_policy(file: &Path) -> Result<String, ControlError> {
    std::fs::read_to_string(file)
        .map_err(|error| failed(&format!("read the policy in {}", file.display()), &error))
}

async fn add(context: &Context, id: &str, file: &Path, rights: &Rights) -> Result<(), Failure> {
    let file = std::path::absolute(file).map_err(|error| failed("find the file of the secret", &error))?;
    let json = Value::Object(rights.to_json(id, &file)?);
    // Everything is checked before a file is made.
    let (_, table) = table_from_json::<AccessKey>(&json)?;
    if context.settings()?.access_keys.iter().any(|key| key.id.as_str() == id) {
        let message = format!("the settings have an access key {id:?} already");
        return Err(ControlError::new(ErrorKind::Exists, message).todo("choose another id").into());
    }
    let secret = random_text()?;
    write_secret(&file, &secret)?;
    let client = context.client()?;
    let applied: Result<Applied, Failure> = if client.is_there().await {
        client.post("/access-keys", &json).await
    } else {
        edit_offline(context, |document| add_table::<AccessKey>(document, table)).map_err(Failure::from)
    };
    if applied.is_err() {
        // Nobody names the file.
        let _ = std::fs::remove_file(&file);
    }
    applied?;
    let added = Added { id, secret: &secret, secret_file: &file };
    context.terminal.data(&added, |added| {
        format!(
            "access key {}\nsecret     {}\nThe secret is in {} and is not shown again.",
            added.id,
            added.secret,
            added.secret_file.display()
        )
    })
}

fn random_text() -> Result<Zeroizing<String>, ControlError> {
    let mut bytes = Zeroizing::new([0; SECRET_LETTERS]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|error| {
        ControlError::new(ErrorKind::Failed, format!("failed to get random numbers for a secret: {error}"))
    })?;
    let letters = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 64)]));
    Ok(Zeroizing::new(letters.collect()))
}

fn write_secret(path: &Path, secret: &str) -> Result<(), ControlError> {
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(secret.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    write().map_err(|error| failed(&format!("write the secret to {}", path.display()), &error))
}

fn require_known(context: &Context, id: &str) -> Result<(), Failure> {
    if context.settings()?.access_keys.iter().any(|key| key.id.as_str() == id) {
        return Ok(());
    }
    let error = ControlError::new(ErrorKind::NotFound, format!("the settings have no access key {id:?}"));
    Err(error.todo("`tidegate access-key list` shows all of them").into())
}

async fn change(context: &Context, id: &str, changes: Changes) -> Result<(), Failure> {
    let change = changes.into_change()?;
    if change == AccessKeyChange::default() {
        return Err(Failure::usage("nothing is to change: name what is, such as --read-only"));
    }
    require_known(context, id)?;
    let client = context.client()?;
    let applied: Applied = if client.is_there().await {
        client.post(&format!("/access-keys/{}", segment(id)), &change).await?
    } else {
        edit_offline(context, |document| change.apply(document, id))?
    };
    context.terminal.data(&applied, |_| format!("access key {id} changed"))
}

async fn remove(context: &Context, id: String, asking: Asking) -> Result<(), Failure> {
    require_known(context, &id)?;
    asking.confirm(context, &format!("Clients with access key {id} will be refused. Remove it?"))?;
    let path = format!("/access-keys/{}", segment(&id));
    asking.remove::<AccessKey>(context, &path, ("id", &id), &format!("access key {id}")).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_differ() {
        let (one, other) = (random_text().expect("random"), random_text().expect("random"));
        assert_eq!(one.len(), SECRET_LETTERS);
        assert_ne!(one, other);
    }
}
