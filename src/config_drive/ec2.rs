//! `ec2/VERSION/meta-data.json`: the metadata that Amazon EC2 knows.

use super::document::{BlockDevice, Facts};
use super::version::Version;
use super::{Flavour, Instance};
use crate::net::Address;
use serde_json::{Map, Value, json};

/// What Nova says of an image's manifest (`ami-manifest-path`): the word is Nova's own, at every version.
const NO_MANIFEST: &str = "FIXME";

/// The document, members in Nova's order.
pub(super) fn meta_data(instance: &Instance, flavour: Flavour, version: Version) -> Value {
    let facts = &instance.document.instance;
    let hostname = instance.hostname();
    let addresses = || instance.vifs().iter().flat_map(crate::net::Vif::fixed_ips);
    let private = addresses().map(|ip| &ip.address).find(|address| address.version() == 4);
    let public = addresses().flat_map(|ip| &ip.floating_ips).map(|ip| &ip.address).next();
    // Grizzly knew the address from the request only, and for a drive there is none.
    let private = private.filter(|_| flavour != Flavour::NovaGrizzly);
    let short = |prefix: &str, uuid: &str| {
        let digits: String = uuid.chars().filter(char::is_ascii_hexdigit).take(8).collect();
        format!("{prefix}-{}", digits.to_ascii_lowercase())
    };
    let ids = &facts.ec2_ids;
    let mut data = Map::new();
    let mut put = |key: &str, value: Value| _ = data.insert(key.to_owned(), value);
    let ami = ids.ami_id.clone().or_else(|| facts.image_ref.as_deref().map(|image| short("ami", image)));
    put("ami-id", ami.into());
    put("ami-launch-index", facts.launch_index.into());
    put("ami-manifest-path", NO_MANIFEST.into());
    put("instance-id", ids.instance_id.clone().unwrap_or_else(|| short("i", &facts.uuid)).into());
    put("hostname", hostname.clone().into());
    put("local-ipv4", private.map(Address::as_str).into());
    put("reservation-id", facts.reservation_id.clone().unwrap_or_else(|| short("r", &facts.uuid)).into());
    put("security-groups", instance.document.security_groups.clone().into());
    if let Some(name) = facts.key_name() {
        // Nova means to leave `_name` out of drives and does not.
        let key = json!({ "_name": format!("0={name}"), "openssh-key": instance.key_data() });
        put("public-keys", json!({ "0": key }));
    }
    if version.has("2007-01-19") {
        put("local-hostname", hostname.clone().into());
        put("public-hostname", hostname.into());
        put("public-ipv4", public.map_or("", Address::as_str).into());
    }
    if version.has("2007-08-29") {
        put("instance-type", facts.flavor.clone().into());
    }
    if version.has("2007-12-15") {
        put("block-device-mapping", mapping(facts, &instance.document.bdms));
        for (key, id) in [("kernel-id", &ids.kernel_id), ("ramdisk-id", &ids.ramdisk_id)] {
            if let Some(id) = id {
                put(key, id.clone().into());
            }
        }
    }
    if version.has("2008-02-01") {
        put("placement", json!({ "availability-zone": facts.availability_zone }));
    }
    if version.has("2008-09-01") {
        put("instance-action", "none".into());
    }
    Value::Object(data)
}

/// Which device is what.
fn mapping(facts: &Facts, devices: &[BlockDevice]) -> Value {
    let Some(root) = facts.root_device_name.as_deref().filter(|root| !root.is_empty()) else {
        return json!({ "ami": "sda1", "ephemeral0": "sda2", "root": "/dev/sda1", "swap": "sda3" });
    };
    let mut mapping = Map::new();
    mapping.insert("ami".into(), root.strip_prefix("/dev/").unwrap_or(root).into());
    mapping.insert("root".into(), root.into());
    for (key, device) in [("ephemeral0", &facts.default_ephemeral_device), ("swap", &facts.default_swap_device)] {
        if let Some(device) = device.as_deref().filter(|device| !device.is_empty()) {
            mapping.insert(key.into(), device.into());
        }
    }
    let is_volume = |device: &&BlockDevice| device.destination_type.as_deref() == Some("volume");
    let mut volumes: Vec<Option<&str>> =
        devices.iter().filter(is_volume).map(|device| device.device_name.as_deref()).collect();
    volumes.sort_unstable();
    for (number, name) in volumes.into_iter().enumerate() {
        mapping.insert(format!("ebs{number}"), name.into());
    }
    let blanks = devices.iter().filter(|device| !is_volume(device) && device.source_type.as_deref() == Some("blank"));
    let (swap, others): (Vec<_>, Vec<_>) = blanks.partition(|device| device.guest_format.as_deref() == Some("swap"));
    if let Some(last) = swap.last() {
        mapping.insert("swap".into(), last.device_name.clone().into());
    }
    for (number, device) in others.into_iter().enumerate() {
        mapping.insert(format!("ephemeral{number}"), device.device_name.clone().into());
    }
    Value::Object(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_devices_as_novas_own_test_has_them() {
        let device = |json: Value| serde_json::from_value::<BlockDevice>(json).unwrap();
        let devices = [
            device(json!({ "destination_type": "volume", "source_type": "volume", "device_name": "sdh" })),
            device(json!({ "destination_type": "local", "source_type": "blank", "guest_format": "swap",
                           "device_name": "/dev/sdc" })),
            device(json!({ "destination_type": "local", "source_type": "blank", "device_name": "/dev/sdb" })),
            device(json!({ "destination_type": "volume", "source_type": "snapshot" })),
            device(json!({ "destination_type": "local", "source_type": "image", "device_name": "/dev/sda1" })),
        ];
        let facts = Facts { root_device_name: Some("/dev/sda1".into()), ..Facts::default() };
        let expected = json!({ "ami": "sda1", "root": "/dev/sda1", "ephemeral0": "/dev/sdb", "swap": "/dev/sdc",
                               "ebs0": null, "ebs1": "sdh" });
        assert_eq!(mapping(&facts, &devices), expected);
        let facts = Facts {
            root_device_name: Some("vda".into()),
            default_swap_device: Some("vdc".into()),
            default_ephemeral_device: Some("vdb".into()),
            ..Facts::default()
        };
        let expected = r#"{"ami":"vda","root":"vda","ephemeral0":"vdb","swap":"vdc"}"#;
        assert_eq!(mapping(&facts, &[]).to_string(), expected);
    }
}
