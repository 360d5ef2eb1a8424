//! Devices that the guest's NetworkManager leaves alone: a connection of one is never up.

use super::rivals::devices::entries;
use super::{Outcome, Unused};
use crate::guest::network::unmanaged::{Device, Verdict};
use crate::guest::{Guest, NetworkStack};
use crate::inject::InjectError;
use crate::net::config::{Config, Kind, Mac};

/// Ubuntu's file about all that is neither Wi-Fi nor mobile. Where netplan is to have NetworkManager do it, its generator puts an empty
/// one in its place, in `/run`.
const BUT_FOR_NETPLAN: &str = "/usr/lib/NetworkManager/conf.d/10-globally-managed-devices.conf";

/// Fails where one of the links is such a device, and says so where it may be.
pub(super) fn check(config: &Config, guest: &Guest, outcome: &mut Outcome) -> Result<(), InjectError> {
    for link in &config.links {
        let (kind, mac) = match &link.kind {
            Kind::Hardware(hardware) => ("ethernet", hardware.mac),
            Kind::Bond(..) => ("bond", link.mac),
            Kind::Bridge(..) => ("bridge", link.mac),
            Kind::Vlan(..) => ("vlan", link.mac),
        };
        judge(&link.id, Device { name: link.device(), mac, kind: Some(kind) }, guest, outcome)?;
    }
    Ok(())
}

/// The same of the device of a keyfile.
pub(super) fn check_text(text: &str, guest: &Guest, outcome: &mut Outcome) -> Result<(), InjectError> {
    let value = |section, key| entries(text, section).filter(|(found, _)| *found == key).last().map(|(_, value)| value);
    let kind = value("connection", "type").map(|kind| if kind == "802-3-ethernet" { "ethernet" } else { kind });
    let name = value("connection", "interface-name");
    let mac = value("ethernet", "mac-address").or_else(|| value("802-3-ethernet", "mac-address")).and_then(Mac::parse);
    let id = value("connection", "id").unwrap_or_default();
    judge(name.unwrap_or(id), Device { name, mac, kind }, guest, outcome)
}

fn judge(link: &str, device: Device<'_>, guest: &Guest, outcome: &mut Outcome) -> Result<(), InjectError> {
    let has_netplan = guest.network.state(NetworkStack::Netplan).is_some_and(|state| state.enabled_by.is_some());
    match guest.network.unmanaged.verdict(device) {
        Verdict::Managed => {}
        Verdict::Unmanaged(path) if !(path == BUT_FOR_NETPLAN && has_netplan) => {
            return Err(InjectError::Unused(Unused::Unmanaged { link: link.to_owned(), path: path.to_owned() }));
        }
        Verdict::Unmanaged(path) | Verdict::Unknown(path) => outcome.notes.push(format!(
            "{link}: whether NetworkManager leaves it alone depends on what is known only when the guest runs, by {path}"
        )),
    }
    Ok(())
}
