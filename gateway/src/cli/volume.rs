//! `tidegate volume`: list, create, remove, resize, export, record, boot-order.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::client::segment;
use super::exit::Failure;
use super::format::{bytes, table};
use super::removing::Asking;
use super::{Context, edit_offline};
use crate::control::{ControlError, ErrorKind, Moment, ResizeRequest, TemporaryRequest, VolumeStatus};
use crate::settings::{Settings, Size, Volume, add_table, table_from_json};
use crate::volumes::BootOrder;

/// Ranges that are listed for people.
const LISTED_MAX: usize = 20;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show all volumes.
    List,
    /// Add a volume to the settings, make its file, and serve it.
    Create {
        /// What clients call it.
        volume: String,
        /// The share that its file is in.
        #[arg(long)]
        share: String,
        /// Where in the share the file is, such as /disks/web.img.
        #[arg(long)]
        path: String,
        /// How large the disk is, such as 20GiB; not needed for a file that is there.
        #[arg(long)]
        size: Option<String>,
        /// Refuse every change.
        #[arg(long)]
        read_only: bool,
        /// Show the file as it was: head, head:NAME, snapshot:NAME or at:TIME.
        #[arg(long)]
        moment: Option<String>,
        /// Take changes, and throw them away when the volume is served no more.
        #[arg(long)]
        scratch: bool,
        /// A network whose machines may use it; may be repeated. Without any: this machine alone.
        #[arg(long = "client", value_name = "NETWORK")]
        clients: Vec<String>,
    },
    /// Take a volume out of the settings; its file stays.
    Remove {
        /// The volume.
        volume: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Make a volume longer, or shorter. Clients see it when they connect again.
    Resize {
        /// The volume.
        volume: String,
        /// Its new size, such as 40GiB.
        size: String,
        /// Allow it to become shorter: what lies beyond the new end is gone.
        #[arg(long)]
        shrink: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Write a volume to a file, with holes where it has them. Needs `qemu-img`.
    Export {
        /// The volume.
        volume: String,
        /// The file; one that is there is written over.
        file: PathBuf,
        /// What the file is.
        #[arg(long, value_enum, default_value_t = Format::Raw)]
        format: Format,
        /// Of when: live (as it is now, published first), head, head:NAME, snapshot:NAME or at:TIME.
        #[arg(long, default_value = "live")]
        moment: Moment,
    },
    /// Begin to note which parts of a volume are read, in order: start a machine from it then. With `--end`, record it
    /// with the file; it is fetched first whenever the volume is opened somewhere.
    Record {
        /// The volume.
        volume: String,
        /// End it, and record what was noted.
        #[arg(long)]
        end: bool,
    },
    /// Show what is recorded; as JSON it can be recorded elsewhere with `--set`.
    BootOrder {
        /// The volume.
        volume: String,
        /// Record what this file says.
        #[arg(long, value_name = "FILE", conflicts_with = "forget")]
        set: Option<PathBuf>,
        /// Record nothing.
        #[arg(long)]
        forget: bool,
    },
}

/// What a volume is exported as.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// The bytes of the disk.
    Raw,
    /// QEMU's own format.
    Qcow2,
}

impl Format {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => {
            let volumes: Vec<VolumeStatus> = context.client()?.get("/volumes").await?;
            context.terminal.data(&volumes, |volumes| list(volumes))
        }
        Command::Create { .. } => create(context, &command).await,
        Command::Remove { volume, asking } => remove(context, volume, asking).await,
        Command::Resize { volume, size, shrink, yes } => resize(context, &volume, &size, (shrink, yes)).await,
        Command::Export { volume, file, format, moment } => {
            export(context, &volume, &file, format, moment).await
        }
        Command::Record { volume, end: false } => {
            let path = format!("/volumes/{}/record", segment(&volume));
            let () = context.client()?.post(&path, &json!({})).await?;
            context.terminal.data(&(), |()| {
                format!("what is read of volume {volume} is noted; end it with `tidegate volume record {volume} --end`")
            })
        }
        Command::Record { volume, end: true } => {
            let path = format!("/volumes/{}/record-end", segment(&volume));
            let order: BootOrder = context.client()?.post(&path, &json!({})).await?;
            context.terminal.data(&order, said)
        }
        Command::BootOrder { volume, set, forget } => boot_order(context, &volume, set, forget).await,
    }
}

fn list(volumes: &[VolumeStatus]) -> String {
    let row = |volume: &VolumeStatus| {
        let changes = match (volume.scratch, volume.read_only) {
            (true, _) => "thrown away",
            (false, true) => "refused",
            (false, false) => "kept",
        };
        let moment = volume.moment.clone().unwrap_or_else(|| "live".to_owned());
        let warmed = volume.warmed.filter(|(_, all)| *all > 0);
        [
            volume.name.clone(),
            format!("{}:{}", volume.share, volume.path),
            moment,
            volume.bytes.map_or_else(|| "-".to_owned(), bytes),
            changes.to_owned(),
            volume.connections.to_string(),
            warmed.map_or_else(|| "-".to_owned(), |(done, all)| format!("{} of {}", bytes(done), bytes(all))),
        ]
    };
    let heading = ["VOLUME", "FILE", "AS OF", "SIZE", "CHANGES", "CONNECTIONS", "WARMED"];
    table(heading, &volumes.iter().map(row).collect::<Vec<_>>())
}

/// As the table [[volume]], in JSON.
fn to_json(command: &Command) -> Map<String, Value> {
    let mut keys = Map::new();
    let Command::Create { volume, share, path, size, read_only, moment, scratch, clients } = command else {
        return keys;
    };
    keys.insert("name".to_owned(), volume.clone().into());
    keys.insert("share".to_owned(), share.clone().into());
    keys.insert("path".to_owned(), path.clone().into());
    for (key, value) in [("size", size), ("moment", moment)] {
        keys.extend(value.as_ref().map(|value| (key.to_owned(), value.clone().into())));
    }
    for (key, value) in [("read_only", read_only), ("scratch", scratch)] {
        keys.extend(value.then(|| (key.to_owned(), true.into())));
    }
    keys.extend((!clients.is_empty()).then(|| ("clients".to_owned(), clients.clone().into())));
    keys
}

async fn create(context: &Context, command: &Command) -> Result<(), Failure> {
    let json = Value::Object(to_json(command));
    let (volume, table) = table_from_json::<Volume>(&json)?;
    let client = context.client()?;
    if client.is_there().await {
        let status: VolumeStatus = client.post("/volumes", &json).await?;
        let size = status.bytes.map_or_else(String::new, |size| format!(", {}", bytes(size)));
        return context.terminal.data(&status, |status| format!("volume {} created{size}", status.name));
    }
    let applied = edit_offline(context, |document| add_table::<Volume>(document, table))?;
    context.terminal.data(&applied, |_| format!("volume {} created", volume.name))
}

async fn remove(context: &Context, volume: String, asking: Asking) -> Result<(), Failure> {
    if context.settings()?.volume(&volume).is_none() {
        return Err(unknown(&volume).into());
    }
    let question = format!("Clients of volume {volume} will lose it; its file stays. Remove it?");
    asking.confirm(context, &question)?;
    let path = format!("/volumes/{}", segment(&volume));
    asking.remove::<Volume>(context, &path, ("name", &volume), &format!("volume {volume}")).await
}

fn unknown(volume: &str) -> ControlError {
    ControlError::new(ErrorKind::NotFound, format!("the settings have no volume {volume:?}"))
        .todo("`tidegate volume list` shows all volumes")
}

async fn resize(
    context: &Context,
    volume: &str,
    size: &str,
    (shrink, yes): (bool, bool),
) -> Result<(), Failure> {
    let size: Size = size.parse().map_err(|reason| {
        ControlError::new(ErrorKind::Invalid, format!("{size:?} {reason}")).todo("write a size such as 40GiB")
    })?;
    if shrink {
        let question = format!("What lies beyond {size} in volume {volume} will be gone. Resize it?");
        context.terminal.confirm(yes, &question)?;
    }
    let request = ResizeRequest { bytes: size.bytes(), shrink };
    let path = format!("/volumes/{}/resize", segment(volume));
    let status: VolumeStatus = context.client()?.post(&path, &request).await?;
    context.terminal.data(&status, |_| format!("volume {volume} has {size} now"))
}

/// Where this machine reaches the NBD server of the settings.
fn server(settings: &Settings) -> Result<String, ControlError> {
    let nowhere = |what: &str| {
        ControlError::new(ErrorKind::Invalid, what.to_owned()).todo("set nbd.listen to an address and a port")
    };
    let listen =
        settings.nbd.listen.first().ok_or_else(|| nowhere("nbd.listen is empty: there is no server"))?.0;
    if listen.port() == 0 {
        return Err(nowhere("nbd.listen names no port"));
    }
    if settings.nbd.certificate.is_some() && !settings.nbd.plain_too {
        let error = ControlError::new(ErrorKind::Invalid, "the NBD server serves nobody without TLS");
        return Err(error.todo("set nbd.plain_too, or use qemu-img with its own options for TLS"));
    }
    Ok(match listen.ip() {
        ip if ip.is_unspecified() && listen.is_ipv4() => format!("127.0.0.1:{}", listen.port()),
        ip if ip.is_unspecified() => format!("[::1]:{}", listen.port()),
        _ => listen.to_string(),
    })
}

async fn export(
    context: &Context,
    volume: &str,
    file: &Path,
    format: Format,
    moment: Moment,
) -> Result<(), Failure> {
    let server = server(&context.settings()?)?;
    let client = context.client()?;
    // What is exported must not change meanwhile.
    let name = format!("{volume}.export-{}", std::process::id());
    let request = TemporaryRequest { name: name.clone(), moment, scratch: false };
    let shown: VolumeStatus = client.post(&format!("/volumes/{}/show", segment(volume)), &request).await?;
    let converted = convert(context, &format!("nbd://{server}/{name}"), file, format).await;
    let hidden: Result<(), Failure> =
        client.post(&format!("/volumes/{}/hide", segment(&name)), &json!({})).await;
    converted?;
    hidden?;
    let report = json!({ "volume": volume, "file": file, "format": format.as_str(), "bytes": shown.bytes });
    context.terminal.data(&report, |_| format!("volume {volume} is in {}", file.display()))
}

async fn convert(context: &Context, from: &str, file: &Path, format: Format) -> Result<(), Failure> {
    let mut command = tokio::process::Command::new("qemu-img");
    command.args(["convert", "-f", "raw", "-O", format.as_str(), "-W", from]).arg(file);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    context.terminal.say("converting with qemu-img");
    let ended = command.output().await.map_err(|error| {
        ControlError::new(ErrorKind::Failed, format!("qemu-img cannot be started: {error}"))
            .todo("install it: it is in the package qemu-utils")
    })?;
    if ended.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    Err(ControlError::new(ErrorKind::Failed, format!("qemu-img ended with {}: {words}", ended.status)).into())
}

async fn boot_order(
    context: &Context,
    volume: &str,
    set: Option<PathBuf>,
    forget: bool,
) -> Result<(), Failure> {
    let (client, path) = (context.client()?, format!("/volumes/{}/boot-order", segment(volume)));
    if forget {
        let () = client.delete(&path).await?;
        return context.terminal.data(&(), |()| format!("nothing is recorded of volume {volume} any more"));
    }
    if let Some(file) = set {
        let invalid =
            |why: String| ControlError::new(ErrorKind::Invalid, format!("{}: {why}", file.display()));
        let text = std::fs::read(&file).map_err(|error| invalid(error.to_string()))?;
        let order: BootOrder = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
        let () = client.post(&path, &order).await?;
        return context.terminal.data(&order, said);
    }
    let order: BootOrder = client.get(&path).await?;
    context.terminal.data(&order, said)
}

fn said(order: &BootOrder) -> String {
    let ranges: Vec<_> = order.ranges().collect();
    let mut lines = vec![format!("{} in {} ranges, in this order:", bytes(order.bytes()), ranges.len())];
    lines.extend(
        ranges.iter().take(LISTED_MAX).map(|range| format!("{:#012x}-{:#012x}", range.start, range.end)),
    );
    let more = ranges.len().saturating_sub(LISTED_MAX);
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_reached_here() {
        let settings = |nbd: &str| {
            let text = format!(
                "[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n[nbd]\n{nbd}\n"
            );
            server(&Settings::parse(&text).expect("correct"))
        };
        assert_eq!(settings("listen = [\"0.0.0.0:10809\"]").ok().as_deref(), Some("127.0.0.1:10809"));
        assert_eq!(settings("listen = [\"[::]:7\"]").ok().as_deref(), Some("[::1]:7"));
        assert_eq!(settings("listen = [\"10.0.0.1:7\"]").ok().as_deref(), Some("10.0.0.1:7"));
        for nbd in ["", "listen = [\"127.0.0.1:0\"]"] {
            assert!(settings(nbd).is_err());
        }
    }
}
