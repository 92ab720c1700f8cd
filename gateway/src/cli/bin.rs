//! `tidegate bin`: list, restore, empty.

use clap::Subcommand;

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::format::{bytes, table};
use super::removing::Asking;
use crate::control::{BinEntry, BinKind, BinRestoreRequest, BroughtBack, SnapshotInfo};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what was removed and can still be brought back, what ends first before the rest.
    List {
        /// Only snapshots of this share.
        share: Option<String>,
    },
    /// Bring a snapshot back; or, without one, a share that was taken out of the settings.
    Restore {
        /// The share.
        share: String,
        /// The snapshot, by name or id.
        snapshot: Option<String>,
        /// Call it so from now on.
        #[arg(long = "as", value_name = "NAME", requires = "snapshot")]
        name: Option<String>,
    },
    /// End what is in the bin before its time. Shares that were taken out of the settings stay.
    Empty {
        /// Only snapshots of this share.
        share: Option<String>,
        /// Only this snapshot, by name or id.
        snapshot: Option<String>,
        #[command(flatten)]
        asking: Asking,
    },
}

fn bin_of(share: Option<&str>, snapshot: Option<&str>) -> String {
    let share = share.map(|share| format!("/shares/{}", segment(share))).unwrap_or_default();
    let snapshot = snapshot.map(|snapshot| format!("/{}", segment(snapshot))).unwrap_or_default();
    format!("{share}/bin{snapshot}")
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List { share } => {
            let entries: Vec<BinEntry> = context.client()?.get(&bin_of(share.as_deref(), None)).await?;
            context.terminal.data(&entries, |entries| list(entries))
        }
        Command::Restore { share, snapshot: Some(snapshot), name } => {
            let path = format!("{}/restore", bin_of(Some(&share), Some(&snapshot)));
            let back: SnapshotInfo = context.client()?.post(&path, &BinRestoreRequest { name }).await?;
            context.terminal.data(&back, |back| format!("snapshot {} ({}) is back", back.name, back.id))
        }
        Command::Restore { share, snapshot: None, .. } => {
            let path = format!("/bin/{}/restore", segment(&share));
            let back: BroughtBack = context.client()?.post(&path, &serde_json::json!({})).await?;
            context.terminal.data(&back, |back| {
                let first = format!("share {} is served again", back.share);
                std::iter::once(first).chain(back.adopted.iter().cloned()).collect::<Vec<_>>().join("\n")
            })
        }
        Command::Empty { share, snapshot, asking } => {
            let question = match (&share, &snapshot) {
                (Some(share), Some(snapshot)) => {
                    format!("What only snapshot {snapshot} of share {share} still has will be gone. End it?")
                }
                (Some(share), None) => {
                    format!(
                        "What only snapshots of share {share} in the bin still have will be gone. End them?"
                    )
                }
                (None, _) => "What only snapshots in the bin still have will be gone. End them?".to_owned(),
            };
            asking.confirm(context, &question)?;
            let path = format!("{}{}", bin_of(share.as_deref(), snapshot.as_deref()), asking.query());
            let ended: Vec<BinEntry> = context.client()?.delete(&path).await?;
            context.terminal.data(&ended, |ended| {
                let line = |entry: &BinEntry| {
                    format!(
                        "snapshot {} ({}) of share {} {}",
                        entry.name,
                        entry.id,
                        entry.share,
                        asking.verb()
                    )
                };
                if ended.is_empty() {
                    "nothing is in the bin".to_owned()
                } else {
                    ended.iter().map(line).collect::<Vec<_>>().join("\n")
                }
            })
        }
    }
}

fn list(entries: &[BinEntry]) -> String {
    let row = |entry: &BinEntry| {
        let kind = match entry.kind {
            BinKind::Snapshot => "snapshot",
            BinKind::Share => "share",
        };
        [
            entry.share.clone(),
            kind.to_owned(),
            entry.name.clone(),
            entry.frozen.map_or_else(|| "-".to_owned(), |frozen| frozen.to_string()),
            entry.until.map_or_else(|| "(stays)".to_owned(), |until| until.to_string()),
            entry.files.to_string(),
            bytes(entry.bytes),
            entry.id.clone(),
        ]
    };
    table(
        ["SHARE", "KIND", "NAME", "FROZEN", "UNTIL", "FILES", "SIZE", "ID"],
        &entries.iter().map(row).collect::<Vec<_>>(),
    )
}
