//! `tidegate token`: list, add and remove who may use the admin API on the network.
//!
//! A token is made here, from the system's random numbers, and shown once. The settings have its hash; nobody has the token
//! but whoever it is given to.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::exit::Failure;
use super::format::table;
use super::removing::Asking;
use super::{Context, edit_offline};
use crate::admin::{Applied, TokenInfo};
use crate::cli::client::segment;
use crate::control::{ControlError, ErrorKind};
use crate::settings::{Expiry, Role, ShareName, Span, Token, TokenHash, add_table, table_from_json};

/// What tokens begin with, so that one that leaks is known for what it is.
const PREFIX: &str = "tidegate_";
/// The letters of tokens.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// The length of a token after its beginning: 200 bits of chance.
const TOKEN_LETTERS: usize = 40;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show all tokens of the settings, without what they are.
    List,
    /// Make a token, and show it once.
    Add {
        /// What to call it, in the settings and in the audit log.
        name: String,
        #[command(flatten)]
        rights: Rights,
    },
    /// Take a token out of the settings: whoever has it, and every session that was begun with it, is refused from then on.
    Remove {
        /// Its name.
        name: String,
        #[command(flatten)]
        asking: Asking,
    },
}

/// What a token may do.
#[derive(Debug, Args)]
pub(super) struct Rights {
    /// What it may do: viewer, operator, admin or auditor.
    #[arg(long, default_value = "viewer")]
    role: Role,
    /// A share or bucket that it may do it to; may be repeated [default: all, and the gateway].
    #[arg(long = "share", value_name = "SHARE")]
    shares: Vec<ShareName>,
    /// For how long it is valid, such as 90d [default: until it is removed].
    #[arg(long = "for", value_name = "SPAN")]
    valid_for: Option<Span>,
}

/// A token that was made.
#[derive(Serialize)]
struct Added<'a> {
    name: &'a str,
    role: &'static str,
    token: &'a str,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => list(context),
        Command::Add { name, rights } => add(context, &name, &rights).await,
        Command::Remove { name, asking } => remove(context, &name, asking).await,
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    let settings = context.settings()?;
    let rows: Vec<TokenInfo> = settings.tokens.iter().map(TokenInfo::from).collect();
    context.terminal.data(&rows, |rows| {
        let row = |row: &TokenInfo| {
            let shares = if row.shares.is_empty() { "all".to_owned() } else { row.shares.join(" ") };
            let expires = row.expires.map_or_else(|| "never".to_owned(), |expires| expires.to_string());
            [row.name.clone(), row.role.clone(), shares, expires]
        };
        table(["TOKEN", "ROLE", "SHARES", "EXPIRES"], &rows.iter().map(row).collect::<Vec<_>>())
    })
}

impl Rights {
    /// As the table [[token]] of that name, in JSON.
    fn to_json(&self, name: &str, token: &str) -> Result<Value, ControlError> {
        let mut keys = Map::new();
        keys.insert("name".to_owned(), name.into());
        keys.insert("role".to_owned(), self.role.as_str().into());
        if !self.shares.is_empty() {
            let shares: Vec<String> = self.shares.iter().map(ToString::to_string).collect();
            keys.insert("shares".to_owned(), shares.into());
        }
        keys.insert("hash".to_owned(), TokenHash::of(token.as_bytes()).to_string().into());
        if let Some(span) = self.valid_for {
            let expires = Timestamp::now().checked_add(span.duration()).map_err(|_| {
                ControlError::new(ErrorKind::Invalid, format!("a token cannot be valid for {span}"))
            })?;
            keys.insert("expires".to_owned(), Expiry(expires).to_string().into());
        }
        Ok(Value::Object(keys))
    }
}

async fn add(context: &Context, name: &str, rights: &Rights) -> Result<(), Failure> {
    if context.settings()?.tokens.iter().any(|token| token.name.as_str() == name) {
        let message = format!("the settings have a token {name:?} already");
        return Err(ControlError::new(ErrorKind::Exists, message).todo("choose another name").into());
    }
    let token = new_token()?;
    let json = rights.to_json(name, &token)?;
    let (_, table) = table_from_json::<Token>(&json)?;
    let client = context.client()?;
    let _: Applied = if client.is_there().await {
        client.post("/tokens", &json).await?
    } else {
        edit_offline(context, |document| add_table::<Token>(document, table))?
    };
    let added = Added { name, role: rights.role.as_str(), token: &token };
    context.terminal.data(&added, |added| {
        format!("token {}, role {}\n\n  {}\n\nIt is not shown again.", added.name, added.role, added.token)
    })
}

async fn remove(context: &Context, name: &str, asking: Asking) -> Result<(), Failure> {
    if !context.settings()?.tokens.iter().any(|token| token.name.as_str() == name) {
        let error = ControlError::new(ErrorKind::NotFound, format!("the settings have no token {name:?}"));
        return Err(error.todo("`tidegate token list` shows all of them").into());
    }
    asking.confirm(context, &format!("Whoever has token {name} will be refused. Remove it?"))?;
    let path = format!("/tokens/{}", segment(name));
    asking.remove::<Token>(context, &path, ("name", name), &format!("token {name}")).await
}

fn new_token() -> Result<Zeroizing<String>, ControlError> {
    let mut bytes = Zeroizing::new([0; TOKEN_LETTERS]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|error| {
        ControlError::new(ErrorKind::Failed, format!("failed to get random numbers for a token: {error}"))
    })?;
    let letters = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    Ok(Zeroizing::new(PREFIX.chars().chain(letters).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, other) = (new_token().expect("random"), new_token().expect("random"));
        assert_eq!(one.len(), PREFIX.len() + TOKEN_LETTERS);
        assert_ne!(one, other);
    }
}
