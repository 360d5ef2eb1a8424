//! Programs that configure the network in spellings that imgraft does not have.

use super::Reader;
use crate::guest::units::{Service, Units};
use imgraft_vfs::Result;

/// Such a program that is started at boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its name.
    pub name: &'static str,
    /// What shows that it is started, a path.
    pub enabled_by: String,
}

const SERVICES: [(&str, Service); 3] = [
    ("dhcpcd", Service { unit: "dhcpcd.service", openrc: "dhcpcd", script: "dhcpcd" }),
    ("connman", Service { unit: "connman.service", openrc: "connman", script: "connman" }),
    ("netctl", Service { unit: "netctl.service", openrc: "", script: "" }),
];

pub(super) fn inspect(reader: &Reader<'_>, units: &Units<'_>) -> Result<Vec<Other>> {
    let mut others = Vec::new();
    for (name, service) in SERVICES {
        if let Some(enabled_by) = units.started(service)? {
            others.push(Other { name, enabled_by });
        }
    }
    // netifrc has a service of each device.
    let runlevel = "/etc/runlevels/default";
    let is_device = |name: &String| name.starts_with("net.") && name != "net.lo";
    if let Some(name) = reader.names(runlevel)?.into_iter().find(is_device) {
        others.push(Other { name: "netifrc", enabled_by: format!("{runlevel}/{name}") });
    }
    Ok(others)
}
