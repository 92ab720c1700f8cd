//! `move-address`: gives this machine an address by `ip`, and tells its neighbours by `arping`, where there is one.
//!
//! It does not take the address from the other machine: that is lost, or its leadership was taken before. IPv6 neighbours are
//! told by the kernel itself.

use super::child::Child;
use super::{find_program, key};
use crate::runbook::site::Site;
use crate::runbook::world::{Done, StepFailure};
use crate::settings::{Argument, Step};

fn address<'s>(site: &Site, step: &'s Step) -> Result<&'s Argument, StepFailure> {
    if site.run.mode.is_drill() {
        return key(step.drill_address.as_ref(), "drill_address");
    }
    key(step.address.as_ref(), "address")
}

pub(in super::super) async fn move_address(site: &Site, step: &Step) -> Result<Done, StepFailure> {
    let (address, interface) =
        (address(site, step)?.as_str(), key(step.interface.as_ref(), "interface")?.as_str());
    let arguments = ["address", "replace", address, "dev", interface];
    Child::new(&find_program("ip")?, arguments, Vec::new()).run().await?.succeeded()?;
    let plain = address.split('/').next().unwrap_or_default();
    let told = match find_program("arping") {
        Ok(arping) if !plain.contains(':') => {
            let arguments = ["-q", "-U", "-c", "2", "-I", interface, plain];
            // The neighbours learn of it by themselves too, only later.
            Child::new(&arping, arguments, Vec::new()).run().await.is_ok()
        }
        _ => false,
    };
    let told = if told { ", and its neighbours were told" } else { "" };
    Ok(Done::saying(format!("{interface} has {address}{told}")))
}

pub(in super::super) async fn take_address_back(site: &Site, step: &Step) -> Result<String, StepFailure> {
    let (address, interface) =
        (address(site, step)?.as_str(), key(step.interface.as_ref(), "interface")?.as_str());
    let ip = find_program("ip")?;
    let shown =
        Child::new(&ip, ["-o", "address", "show", "dev", interface], Vec::new()).run().await?.succeeded()?;
    let text = String::from_utf8_lossy(&shown.output).into_owned();
    if !text.split_whitespace().any(|word| word == address) {
        return Ok(format!("{interface} does not have {address}"));
    }
    let arguments = ["address", "delete", address, "dev", interface];
    Child::new(&ip, arguments, Vec::new()).run().await?.succeeded()?;
    Ok(format!("{interface} has {address} no more"))
}
