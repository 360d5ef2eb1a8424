//! Devices that the guest's NetworkManager leaves alone: a connection of one is never up.

use super::backend::Handed;
use super::rivals::{self, devices::entries};
use super::spelling::variables;
use super::unused::SaidBy;
use super::{Outcome, Unused};
use crate::guest::network::device_spec::{Device, is_about};
use crate::guest::network::unmanaged::{KEYFILES, Verdict};
use crate::guest::{Guest, NetworkStack};
use crate::inject::InjectError;
use crate::net::config::{Config, Kind, Link, Mac, is_pattern};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use serde_json::Value;

/// Ubuntu's file about all that is neither Wi-Fi nor mobile. Where netplan hands NetworkManager anything, its generator puts an empty
/// one in its place, in `/run`.
const BUT_FOR_NETPLAN: &str = "/usr/lib/NetworkManager/conf.d/10-globally-managed-devices.conf";
/// Where the files of its plugin for ifcfg are.
const IFCFG: &str = "/etc/sysconfig/network-scripts";

/// What the guest's NetworkManager goes by.
#[derive(Debug)]
pub(super) struct Manager<'a> {
    guest: &'a Guest,
    /// The devices of ifcfg files that have it leave them alone, in its words, and the files.
    not_controlled: Vec<(String, String)>,
}

impl<'a> Manager<'a> {
    /// The one of the guest, once the files `new` are in it; fails where it does not start.
    pub(super) fn new(guest: &'a Guest, new: &[&str], stage: &Stage<'_>) -> Result<Self, InjectError> {
        if let Some(broken) = guest.network.unmanaged.broken() {
            return Err(InjectError::Unused(Unused::Broken(broken.clone())));
        }
        let mut not_controlled = Vec::new();
        if guest.network.ifcfg_plugin.is_some() {
            let mut paths = rivals::paths(&[IFCFG], stage)?;
            let is_read = |path: &str| path.strip_prefix(IFCFG).is_some_and(|name| name.starts_with("/ifcfg-"));
            paths.retain(|path| is_read(path) && !new.contains(&path.as_str()));
            rivals::check_total(paths.iter(), stage)?;
            for path in paths {
                let text = rivals::read(&GuestPath::parse(path.as_str())?, stage)?;
                let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
                not_controlled.extend(not_controlled_by(&text).map(|spec| (spec, path)));
            }
        }
        Ok(Self { guest, not_controlled })
    }

    /// Fails where it does not read keyfiles where these are to be, and says so where it may not.
    pub(super) fn check_place(&self, outcome: &mut Outcome) -> Result<(), InjectError> {
        match self.guest.network.unmanaged.elsewhere() {
            None => Ok(()),
            Some(elsewhere) if elsewhere.is_conditional => {
                outcome.notes.push(format!(
                    "{KEYFILES}: whether NetworkManager reads it depends on what is known only when the guest runs, by {}",
                    elsewhere.path
                ));
                Ok(())
            }
            Some(elsewhere) => Err(InjectError::Unused(Unused::Elsewhere(elsewhere))),
        }
    }

    /// Fails where it leaves one of the links alone, and says so where it may.
    pub(super) fn check(&self, config: &Config, outcome: &mut Outcome) -> Result<(), InjectError> {
        config.links.iter().try_for_each(|link| self.judge(&link.id, device(link, config), None, outcome))
    }

    /// The same of the device of a keyfile.
    pub(super) fn check_keyfile(&self, text: &str, outcome: &mut Outcome) -> Result<(), InjectError> {
        self.check_place(outcome)?;
        let value =
            |section, key| entries(text, section).filter(|(found, _)| *found == key).last().map(|(_, value)| value);
        let kind = value("connection", "type").map(|kind| if kind == "802-3-ethernet" { "ethernet" } else { kind });
        let name = value("connection", "interface-name");
        let mac =
            value("ethernet", "mac-address").or_else(|| value("802-3-ethernet", "mac-address")).and_then(Mac::parse);
        let id = value("connection", "id").unwrap_or_default();
        self.judge(name.unwrap_or(id), Device { name, mac, kind, ..Device::default() }, None, outcome)
    }

    /// The same of the device of an ifcfg file.
    pub(super) fn check_ifcfg(&self, text: &str, outcome: &mut Outcome) -> Result<(), InjectError> {
        let value = |key| variables(text).filter(|(found, _)| *found == key).last().map(|(_, value)| value);
        let name = value("DEVICE");
        let link = name.or_else(|| value("NAME")).unwrap_or_default();
        if not_controlled_by(text).is_some() {
            let by = SaidBy::Description;
            return Err(InjectError::Unused(Unused::NotControlled { link: link.to_owned(), by }));
        }
        let kind = value("TYPE").map(str::to_ascii_lowercase);
        let mac = value("HWADDR").and_then(Mac::parse);
        self.judge(link, Device { name, mac, kind: kind.as_deref(), ..Device::default() }, None, outcome)
    }

    /// The same of what netplan hands on to it.
    pub(super) fn check_handed(&self, handed: &[Handed], outcome: &mut Outcome) -> Result<(), InjectError> {
        for Handed { section, id, device, .. } in handed {
            let text = |key| device.get(key).and_then(Value::as_str);
            let matched = device.get("match").and_then(Value::as_object);
            let matches = |key| matched.and_then(|matched| matched.get(key)).and_then(Value::as_str);
            let name = match matched {
                Some(_) => text("set-name").or(matches("name")),
                None => Some(id.as_str()),
            };
            let device = Device {
                name: name.filter(|name| !is_pattern(name)),
                pattern: name.filter(|name| is_pattern(name)),
                mac: matches("macaddress").and_then(Mac::parse),
                kind: match section.as_str() {
                    "ethernets" => Some("ethernet"),
                    "wifis" => Some("wifi"),
                    "modems" => Some("gsm"),
                    "bonds" => Some("bond"),
                    "bridges" => Some("bridge"),
                    "vlans" => Some("vlan"),
                    _ => None,
                },
            };
            self.judge(id, device, Some(BUT_FOR_NETPLAN), outcome)?;
        }
        Ok(())
    }

    /// Fails where it leaves a device alone, and says so where it may, whatever the list in the file `but_for`.
    fn judge(
        &self,
        link: &str,
        device: Device<'_>,
        but_for: Option<&str>,
        outcome: &mut Outcome,
    ) -> Result<(), InjectError> {
        let network = &self.guest.network;
        for (spec, path) in &self.not_controlled {
            match is_about(spec, device) {
                Some(false) => {}
                Some(true) => {
                    let by = SaidBy::File(path.clone());
                    return Err(InjectError::Unused(Unused::NotControlled { link: link.to_owned(), by }));
                }
                None => outcome.notes.push(depends(link, path)),
            }
        }
        let has_netplan = network.state(NetworkStack::Netplan).is_some_and(|state| state.enabled_by.is_some());
        match network.unmanaged.verdict(device, but_for) {
            Verdict::Managed => {}
            Verdict::Unmanaged(path) if !(path == BUT_FOR_NETPLAN && has_netplan) => {
                return Err(InjectError::Unused(Unused::Unmanaged { link: link.to_owned(), path: path.to_owned() }));
            }
            Verdict::Unmanaged(path) | Verdict::Unknown(path) => outcome.notes.push(depends(link, path)),
        }
        Ok(())
    }
}

fn depends(link: &str, path: &str) -> String {
    format!(
        "{link}: whether NetworkManager leaves it alone depends on what is known only when the guest runs, by {path}"
    )
}

/// What is known of the device of a link.
fn device<'a>(link: &'a Link, config: &'a Config) -> Device<'a> {
    let (kind, pattern, mac) = match &link.kind {
        Kind::Hardware(hardware) => ("ethernet", hardware.pattern(), hardware.mac),
        // The kernel makes up what these have at first, which is what NetworkManager goes by.
        Kind::Bond(..) => ("bond", None, None),
        Kind::Bridge(..) => ("bridge", None, None),
        // A VLAN begins with what it lies on.
        Kind::Vlan(parent, _) => match config.link(parent).map(|parent| &parent.kind) {
            Some(Kind::Hardware(hardware)) => ("vlan", None, hardware.mac),
            _ => ("vlan", None, None),
        },
    };
    Device { name: link.device(), pattern, mac, kind: Some(kind) }
}

/// The device of an ifcfg file that has NetworkManager leave it alone, in its words (`create_unhandled_connection` of its plugin).
fn not_controlled_by(text: &str) -> Option<String> {
    let value = |key| variables(text).filter(|(found, _)| *found == key).last().map(|(_, value)| value);
    let is_no = |value: &str| ["no", "n", "false", "f", "0"].iter().any(|no| value.eq_ignore_ascii_case(no));
    value("NM_CONTROLLED").filter(|value| is_no(value))?;
    match (value("HWADDR"), value("SUBCHANNELS"), value("DEVICE")) {
        (Some(mac), ..) => Some(format!("mac:{mac}")),
        (None, Some(channels), _) => Some(format!("s390-subchannels:{channels}")),
        (None, None, device) => device.map(|name| format!("interface-name:={name}")),
    }
}
