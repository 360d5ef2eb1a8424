//! `openstack/VERSION/`: OpenStack's own documents.

use super::document::{Bus, Device};
use super::version::{EPOXY, GRIZZLY, LIBERTY, NEWTON_ONE, OCATA, ROCKY, VICTORIA, Version};
use super::{Flavour, Instance, Numbered};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// `meta_data.json`, members in Nova's order; `seed` is the random seed in base64.
pub(super) fn meta_data(
    instance: &Instance,
    flavour: Flavour,
    version: Version,
    numbered: &Numbered,
    seed: impl FnOnce() -> Result<String, getrandom::Error>,
) -> Result<Value, getrandom::Error> {
    let facts = &instance.document.instance;
    let mut data = Map::new();
    let mut put = |key: &str, value: Value| _ = data.insert(key.to_owned(), value);
    put("uuid", facts.uuid.clone().into());
    if !facts.metadata.0.is_empty() {
        put("meta", facts.metadata.to_json());
    }
    if !numbered.files.is_empty() {
        let files = numbered.files.iter().map(|(path, id)| json!({ "path": path, "content_path": content_path(*id) }));
        put("files", Value::Array(files.collect()));
    }
    for (key, value) in &instance.document.extra_md.0 {
        put(key, value.clone());
    }
    if let Some(id) = numbered.network {
        put("network_config", json!({ "name": "network_config", "content_path": content_path(id) }));
    }
    if let Some(name) = facts.key_name() {
        if flavour == Flavour::NovaGrizzly {
            put("public_keys", json!({ name: instance.key_data() }));
        } else if let Some(pair) = instance.key_pair() {
            put("public_keys", json!({ &pair.name: pair.data }));
            put("keys", json!([{ "name": pair.name, "type": pair.kind.name(), "data": pair.data }]));
        }
    }
    put("hostname", instance.hostname().into());
    put("name", facts.display_name.clone().unwrap_or_else(|| facts.hostname.clone()).into());
    put("launch_index", facts.launch_index.into());
    put("availability_zone", facts.availability_zone.clone().into());
    if version.has(GRIZZLY) {
        put("random_seed", seed()?.into());
    }
    if version.has(LIBERTY) {
        put("project_id", facts.project_id.clone().into());
    }
    if version.has(NEWTON_ONE) {
        put("devices", facts.devices.iter().filter_map(|device| self::device(device, version)).collect());
    }
    if version.has(VICTORIA) {
        let cpus: BTreeSet<u32> = facts.numa_cells.iter().flat_map(|cell| cell.pcpuset.iter().copied()).collect();
        put("dedicated_cpus", cpus.into_iter().collect());
    }
    Ok(Value::Object(data))
}

/// Where a content lies, seen from `openstack/`.
pub(super) fn content_path(id: usize) -> String {
    format!("/content/{id:04}")
}

/// The entry of a device; `None` where the version does not show it.
fn device(device: &Device, version: Version) -> Option<Value> {
    let mut entry = Map::new();
    let mut put = |key: &str, value: Value| _ = entry.insert(key.to_owned(), value);
    let (bus, address, tags): (&Option<Bus>, &Option<String>, &[String]) = match device {
        Device::Nic { mac, vlan, vf_trusted, bus, address, tags } => {
            let vlan = vlan.filter(|vlan| *vlan != 0 && version.has(OCATA));
            if tags.is_empty() && vlan.is_none() && !version.has(ROCKY) {
                return None;
            }
            if let Some(vlan) = vlan {
                put("vlan", vlan.into());
            }
            if version.has(ROCKY) {
                put("vf_trusted", (*vf_trusted).into());
            }
            put("type", "nic".into());
            put("mac", mac.clone().into());
            (bus, address, tags)
        }
        Device::Disk { serial, path, bus, address, tags } => {
            put("type", "disk".into());
            for (key, value) in [("serial", serial), ("path", path)] {
                if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                    put(key, value.into());
                }
            }
            (bus, address, tags)
        }
        Device::Share { share_id, tag } => {
            if !version.has(EPOXY) {
                return None;
            }
            put("type", "share".into());
            put("share_id", share_id.clone().into());
            put("tag", tag.clone().into());
            (&None, &None, &[])
        }
    };
    put("bus", bus.map_or("none", Bus::name).into());
    put("address", address.as_deref().unwrap_or("none").into());
    if !tags.is_empty() {
        put("tags", tags.into());
    }
    Some(Value::Object(entry))
}
