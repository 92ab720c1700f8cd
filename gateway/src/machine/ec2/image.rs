//! The image that an instance boots from: the snapshots of its disks, and how it boots.

use aws_sdk_ec2::types::{
    ArchitectureValues, BlockDeviceMapping, BootModeValues, EbsBlockDevice, Filter, ResourceType, VolumeType,
};

use super::client::Clients;
use super::error::{Doing, code};
use super::note::Note;
use super::tags;
use crate::machine::ProviderError;
use crate::settings::{self, Architecture, BootMode};

/// The first disk.
const ROOT_DEVICE: &str = "/dev/sda1";

/// The image of what is noted, made of snapshots if it is not there.
pub(super) async fn ensure(
    clients: &Clients,
    doing: Doing<'_>,
    machine: &settings::Machine,
    note: &Note,
    snapshots: &[String],
) -> Result<String, ProviderError> {
    if let Some(there) = find(clients, doing, note).await? {
        return Ok(there);
    }
    let architecture = match machine.architecture {
        Architecture::X86 => ArchitectureValues::X8664,
        Architecture::Arm => ArchitectureValues::Arm64,
    };
    let boot_mode = match machine.boot_mode {
        BootMode::Bios => BootModeValues::LegacyBios,
        BootMode::Uefi => BootModeValues::Uefi,
        BootMode::Either => BootModeValues::UefiPreferred,
    };
    let devices = snapshots.iter().enumerate().map(|(at, snapshot)| device(at, snapshot, machine.keep_disks));
    let own = tags::common(machine, doing.name, &note.owner);
    let registered = clients
        .ec2
        .register_image()
        .name(note.image_name())
        .description(tags::value(&format!("machine {}, by Tidegate", doing.name)))
        .architecture(architecture)
        .boot_mode(boot_mode)
        .virtualization_type("hvm")
        .ena_support(true)
        .root_device_name(ROOT_DEVICE)
        .set_block_device_mappings(Some(devices.collect()))
        .tag_specifications(tags::specification(ResourceType::Image, &own))
        .send()
        .await;
    match registered {
        Ok(image) => Ok(image.image_id().unwrap_or_default().to_owned()),
        // The answer to an earlier attempt was lost, and the list did not show it yet.
        Err(error) if code(&error) == Some("InvalidAMIName.Duplicate") => {
            let there = find(clients, doing, note).await?;
            there.ok_or_else(|| doing.asking("ec2:RegisterImage")(error))
        }
        Err(error) => Err(doing.asking("ec2:RegisterImage")(error)),
    }
}

fn device(at: usize, snapshot: &str, keep: bool) -> BlockDeviceMapping {
    // The others are b to p: a machine has at most 16.
    let name = match at {
        0 => ROOT_DEVICE.to_owned(),
        _ => format!("/dev/sd{}", char::from(b'a' + at as u8)),
    };
    let volume = EbsBlockDevice::builder()
        .snapshot_id(snapshot)
        .volume_type(VolumeType::Gp3)
        .delete_on_termination(!keep)
        .build();
    BlockDeviceMapping::builder().device_name(name).ebs(volume).build()
}

async fn find(clients: &Clients, doing: Doing<'_>, note: &Note) -> Result<Option<String>, ProviderError> {
    let named = Filter::builder().name("name").values(note.image_name()).build();
    let found = clients.ec2.describe_images().owners("self").filters(named).send().await;
    let found = found.map_err(doing.asking("ec2:DescribeImages"))?;
    Ok(found.images().first().and_then(|image| image.image_id()).map(str::to_owned))
}

/// Takes the image away; its snapshots stay. That there is none is no error.
pub(super) async fn remove(clients: &Clients, doing: Doing<'_>, note: &Note) -> Result<(), ProviderError> {
    let Some(image) = find(clients, doing, note).await? else { return Ok(()) };
    match clients.ec2.deregister_image().image_id(image).send().await {
        Err(error)
            if !matches!(code(&error), Some("InvalidAMIID.NotFound" | "InvalidAMIID.Unavailable")) =>
        {
            Err(doing.asking("ec2:DeregisterImage")(error))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_attached_in_order_and_kept_as_the_settings_say() {
        let devices: Vec<_> = (0..16).map(|at| device(at, &format!("snap-{at}"), at > 0)).collect();
        let names: Vec<&str> = devices.iter().filter_map(BlockDeviceMapping::device_name).collect();
        assert_eq!((names[0], names[1], names[15]), ("/dev/sda1", "/dev/sdb", "/dev/sdp"));
        let volumes: Vec<_> = devices.iter().filter_map(BlockDeviceMapping::ebs).collect();
        assert_eq!((volumes[0].delete_on_termination(), volumes[1].delete_on_termination()), (Some(true), Some(false)));
        assert_eq!(volumes[3].snapshot_id(), Some("snap-3"));
    }
}
