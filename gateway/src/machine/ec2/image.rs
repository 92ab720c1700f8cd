//! The image that an instance boots from: the snapshots of its disks, and how it boots. All of that is in its name, as a digest: one that
//! is found by its name is the one that is wanted, and never one of older snapshots.

use super::client::Clients;
use super::error::Doing;
use super::note::Note;
use super::query::Form;
use super::tags;
use crate::machine::ProviderError;
use crate::settings;

/// The first disk.
const ROOT_DEVICE: &str = "/dev/sda1";
/// The volumes that are made of the snapshots.
const VOLUME_TYPE: &str = "gp3";

/// The image of what is noted, made of snapshots if it is not there.
pub(super) async fn ensure(
    clients: &Clients,
    doing: Doing<'_>,
    machine: &settings::Machine,
    note: &Note,
    snapshots: &[String],
) -> Result<String, ProviderError> {
    let keep = machine.keep_disks && !note.is_trial;
    let how = [machine.architecture.to_string(), machine.boot_mode.to_string(), keep.to_string()];
    let made_of: Vec<&str> = how.iter().chain(snapshots).map(String::as_str).collect();
    let name = note.image_name(&made_of);
    if let Some(there) = find(clients, doing, &name).await?.into_iter().next() {
        return Ok(there);
    }
    let own = tags::common(machine, doing.name, &note.owner);
    let form = Form::default()
        .with("Name", &name)
        .with("Description", tags::value(&format!("machine {}, by Tidegate", doing.name)))
        .with("Architecture", machine.architecture)
        .with("BootMode", machine.boot_mode)
        .with("VirtualizationType", "hvm")
        .with("EnaSupport", true)
        .with("RootDeviceName", ROOT_DEVICE)
        .tags(1, "image", &own);
    let form =
        snapshots.iter().enumerate().fold(form, |form, (at, snapshot)| with_disk(form, at, snapshot, keep));
    let registered = clients.ec2.call("RegisterImage", &form).await;
    match registered {
        Ok(answer) => {
            let image = answer.text(&["imageId"]).map(str::to_owned);
            image.ok_or_else(|| doing.failed("ec2:RegisterImage answered without an image"))
        }
        // The answer to an earlier attempt was lost, and the list did not show it yet.
        Err(error) if error.code() == Some("InvalidAMIName.Duplicate") => {
            let there = find(clients, doing, &name).await?.into_iter().next();
            there.ok_or_else(|| doing.asking("ec2:RegisterImage")(error))
        }
        Err(error) => Err(doing.asking("ec2:RegisterImage")(error)),
    }
}

/// With a disk more: the first is what it boots from, the others are b to p, for a machine has at most 16.
fn with_disk(form: Form, at: usize, snapshot: &str, keep: bool) -> Form {
    let name = match at {
        0 => ROOT_DEVICE.to_owned(),
        _ => format!("/dev/sd{}", char::from(b'a' + at as u8)),
    };
    let place = format!("BlockDeviceMapping.{}", at + 1);
    form.with(format!("{place}.DeviceName"), name)
        .with(format!("{place}.Ebs.SnapshotId"), snapshot)
        .with(format!("{place}.Ebs.VolumeType"), VOLUME_TYPE)
        .with(format!("{place}.Ebs.DeleteOnTermination"), !keep)
}

/// Images of a name, which may have an asterisk in it.
async fn find(clients: &Clients, doing: Doing<'_>, name: &str) -> Result<Vec<String>, ProviderError> {
    let form = Form::default().with("Owner.1", "self").filter("name", name);
    let found =
        clients.ec2.call("DescribeImages", &form).await.map_err(doing.asking("ec2:DescribeImages"))?;
    let images = found.list(&["imagesSet"]).filter_map(|image| image.text(&["imageId"]));
    Ok(images.map(str::to_owned).collect())
}

/// Takes all images of what is noted away, also one that is not listed yet; their snapshots stay. That there is none is no error.
pub(super) async fn remove_all(
    clients: &Clients,
    doing: Doing<'_>,
    note: &Note,
) -> Result<(), ProviderError> {
    let listed = find(clients, doing, &note.image_names()).await?;
    let unlisted = note.image.iter().filter(|image| !listed.contains(image));
    for image in listed.iter().chain(unlisted) {
        remove(clients, doing, image).await?;
    }
    Ok(())
}

async fn remove(clients: &Clients, doing: Doing<'_>, image: &str) -> Result<(), ProviderError> {
    match clients.ec2.call("DeregisterImage", &Form::default().with("ImageId", image)).await {
        Err(error) if !matches!(error.code(), Some("InvalidAMIID.NotFound" | "InvalidAMIID.Unavailable")) => {
            Err(doing.asking("ec2:DeregisterImage")(error))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}
