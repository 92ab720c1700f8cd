//! `check-tcp`, `check-file`, `check-command` and `warm`: what looks whether it works.

use std::path::Path;

use nfs3_types::nfs3::{cookieverf3, fattr3, ftype3, nfs_fh3};
use tokio::net::TcpStream;

use super::child::Child;
use super::nfs::{Mounted, Refused};
use super::{contains, key};
use crate::control::WarmDone;
use crate::runbook::site::Site;
use crate::runbook::world::{Done, StepFailure};
use crate::settings::Step;

/// The most of a file in which a text is looked for, in bytes.
const CONTENT_BYTES_MAX: usize = 16 << 20;
/// How much is read at once.
const PIECE_BYTES: u32 = 512 << 10;
/// The deepest folder that is warmed.
const DEPTH_MAX: usize = 256;

pub(in super::super) async fn check_tcp(site: &Site, step: &Step) -> Result<Done, StepFailure> {
    let address = site.words().fill(key(step.address.as_ref(), "address")?.as_str());
    let connected = TcpStream::connect(&address).await;
    connected
        .map_err(|error| StepFailure::passing(format!("{address} does not take a connection: {error}")))?;
    Ok(Done::saying(format!("{address} takes connections")))
}

pub(in super::super) async fn check_command(site: &Site, step: &Step) -> Result<Done, StepFailure> {
    let command = site.words().fill_all(&step.command);
    let (program, arguments) =
        command.split_first().ok_or_else(|| StepFailure::lasting("there is no command"))?;
    let child = Child::new(Path::new(program), arguments, site.words().variables());
    let ended = child.run().await?.succeeded()?;
    contains(&ended.output, step.contains.as_ref(), "the output")?;
    Ok(Done::saying(ended.said()))
}

/// Mounts the share of a step.
async fn mount(site: &Site, step: &Step) -> Result<Mounted, StepFailure> {
    let name = key(step.share.as_ref(), "share")?.as_str();
    let status = site.status().await?;
    let share = status.shares.iter().find(|share| share.name == name);
    let share =
        share.ok_or_else(|| StepFailure::passing(format!("the gateway does not serve share {name}")))?;
    if !share.export.starts_with('/') {
        let why = format!(
            "{name} is a bucket of objects, which NFS does not serve: use check-http or check-command"
        );
        return Err(StepFailure::lasting(why));
    }
    Ok(Mounted::connect(site.nfs_address()?, &share.export).await?)
}

pub(in super::super) async fn check_file(site: &Site, step: &Step) -> Result<Done, StepFailure> {
    let path = key(step.path.as_ref(), "path")?.as_str();
    let mut mounted = mount(site, step).await?;
    let handle = mounted.find(path).await?;
    let attributes = mounted.attributes(&handle).await?;
    if !matches!(attributes.type_, ftype3::NF3REG) {
        return Err(StepFailure::passing(format!("{path} is no regular file")));
    }
    let read = if step.contains.is_some() {
        let content = content(&mut mounted, &handle).await?;
        contains(&content, step.contains.as_ref(), path)?;
        content.len() as u64
    } else {
        // The last byte: of a file that was cut short it is not there.
        let last = attributes.size.saturating_sub(1);
        let (byte, _) = mounted.read(&handle, last, 1).await?;
        if byte.len() as u64 != attributes.size.min(1) {
            return Err(StepFailure::passing(format!("the last byte of {path} does not come")));
        }
        byte.len() as u64
    };
    is_recent(site, step, &attributes)?;
    let note = format!("{path}: {} bytes long, {read} read", attributes.size);
    Ok(Done { note, first_byte: true })
}

async fn content(mounted: &mut Mounted, file: &nfs_fh3) -> Result<Vec<u8>, StepFailure> {
    let mut content = Vec::new();
    while content.len() < CONTENT_BYTES_MAX {
        let (piece, ended) = mounted.read(file, content.len() as u64, PIECE_BYTES).await?;
        let empty = piece.is_empty();
        content.extend(piece);
        if ended || empty {
            break;
        }
    }
    Ok(content)
}

/// Whether it had changed shortly before the head from which the share goes on.
fn is_recent(site: &Site, step: &Step, attributes: &fattr3) -> Result<(), StepFailure> {
    let (Some(max), Some(share)) = (step.max_age, &step.share) else { return Ok(()) };
    let Some(frozen) = site.frozen(share.as_str()) else { return Ok(()) };
    let age = frozen.as_second().saturating_sub(i64::from(attributes.mtime.seconds));
    if u64::try_from(age).is_ok_and(|age| age > max.duration().as_secs()) {
        return Err(StepFailure::lasting(format!(
            "it had last changed {age} s before the head froze; allowed: {max}"
        )));
    }
    Ok(())
}

/// Brings what will be read first to this machine: by the heat of the share, or a path of it.
pub(in super::super) async fn warm(site: &Site, step: &Step) -> Result<Done, StepFailure> {
    let Some(path) = &step.path else {
        let mut line = vec!["warm", key(step.share.as_ref(), "share")?.as_str()];
        line.extend(step.all.then_some("--all"));
        let done: WarmDone = serde_json::from_value(site.tidegate(&line).await?)
            .map_err(|error| StepFailure::passing(format!("what was warmed cannot be read: {error}")))?;
        let WarmDone { bytes, here, asleep, .. } = done;
        let full = if done.is_full { "; the cache has no more room" } else { "" };
        let asleep =
            if asleep > 0 { format!("; {asleep} ranges sleep, and did not come") } else { String::new() };
        return Ok(Done::saying(format!("{bytes} bytes came, {here} ranges were here{asleep}{full}")));
    };
    let mut mounted = mount(site, step).await?;
    let top = mounted.find(path.as_str()).await?;
    let attributes = mounted.attributes(&top).await?;
    let (mut files, mut bytes) = (0u64, 0u64);
    let mut open = vec![(top, attributes, 0)];
    while let Some((handle, attributes, depth)) = open.pop() {
        match attributes.type_ {
            ftype3::NF3DIR if depth < DEPTH_MAX => {
                let mut from = Some((0, cookieverf3::default()));
                while let Some(cookie) = from {
                    let (names, more) = mounted.names(&handle, cookie).await?;
                    for name in names {
                        match mounted.open(&handle, &name).await {
                            Ok((child, attributes)) => match attributes.type_ {
                                ftype3::NF3DIR => open.push((child, attributes, depth + 1)),
                                _ => {
                                    warm_file(&mut mounted, &child, &attributes, (&mut files, &mut bytes))
                                        .await?
                                }
                            },
                            Err(Refused::ToUs(_)) => {}
                            Err(failed) => return Err(failed.into()),
                        }
                    }
                    from = more;
                }
            }
            _ => warm_file(&mut mounted, &handle, &attributes, (&mut files, &mut bytes)).await?,
        }
    }
    Ok(Done { note: format!("{files} files with {bytes} bytes read"), first_byte: bytes > 0 })
}

async fn warm_file(
    mounted: &mut Mounted,
    file: &nfs_fh3,
    attributes: &fattr3,
    (files, bytes): (&mut u64, &mut u64),
) -> Result<(), StepFailure> {
    if !matches!(attributes.type_, ftype3::NF3REG) {
        return Ok(());
    }
    let mut at = 0;
    while at < attributes.size {
        match mounted.read(file, at, PIECE_BYTES).await {
            Ok((piece, _)) if piece.is_empty() => break,
            Ok((piece, _)) => at += piece.len() as u64,
            Err(Refused::ToUs(_)) => return Ok(()),
            Err(failed) => return Err(failed.into()),
        }
    }
    (*files, *bytes) = (*files + 1, *bytes + at);
    Ok(())
}
