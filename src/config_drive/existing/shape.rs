//! Types of members that cloud-init fails at (`read_v2` and `convert_net_json` of its `sources/helpers/openstack.py`).

use serde_json::{Map, Value};

/// Says what of meta_data.json has another type than cloud-init reads it with.
pub(super) fn metadata(data: &Map<String, Value>, say: &mut dyn FnMut(&str)) {
    match data.get("files") {
        None => {}
        Some(Value::Array(files)) => {
            for file in files {
                if !file.is_object() {
                    say("an entry of files is no object");
                } else if file.get("path").is_some_and(|path| !path.is_string()) {
                    say("the path of an entry of files is no text");
                }
            }
        }
        Some(_) => say("files is no list"),
    }
    match data.get("random_seed") {
        None => {}
        Some(Value::String(seed)) if is_decoded(seed) => {}
        Some(Value::String(_)) => say("random_seed is not base64: it is cut off, or its padding is"),
        Some(_) => say("random_seed is no text"),
    }
    if data.get("meta").is_some_and(|meta| !meta.is_object()) {
        say("meta is no object");
    }
}

/// Whether Python's `b64decode` takes a text: characters that are none of base64's are skipped.
pub(super) fn is_decoded(text: &str) -> bool {
    let digits = text.bytes().filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')).count();
    let padding = text.bytes().filter(|byte| *byte == b'=').count();
    match digits % 4 {
        0 => true,
        2 => padding >= 2,
        3 => padding >= 1,
        _ => false,
    }
}

/// Says what of network_data.json has another type than cloud-init reads it with, or is missing.
pub(super) fn network_data(data: &Value, say: &mut dyn FnMut(&str)) {
    let Value::Object(data) = data else {
        say("it is no JSON object");
        return;
    };
    let mut each = |name: &str, none: &str, check: &mut dyn FnMut(&Value) -> Option<&'static str>| match data.get(name)
    {
        None => {}
        Some(Value::Array(entries)) => entries.iter().filter_map(check).for_each(&mut *say),
        Some(_) => say(none),
    };
    each("links", "links is no list", &mut link);
    each("networks", "networks is no list", &mut |network| {
        let Value::Object(network) = network else { return Some("a network is no object") };
        (!network.contains_key("link") || !network.contains_key("type")).then_some("a network has no link or no type")
    });
    each("services", "services is no list", &mut |service| (!service.is_object()).then_some("a service is no object"));
}

fn link(link: &Value) -> Option<&'static str> {
    let Value::Object(link) = link else { return Some("a link is no object") };
    let has = |key: &str| link.contains_key(key);
    let text = |key: &str| link.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if !has("id") || !has("type") {
        return Some("a link has no id or no type");
    }
    match link.get("type").and_then(Value::as_str) {
        Some("bond") => (!link.get("bond_links").is_some_and(Value::is_array)).then_some("a bond has no bond_links"),
        Some("vlan") => (!["vlan_link", "vlan_id", "vlan_mac_address"].into_iter().all(has))
            .then_some("a vlan has no vlan_link, vlan_id or vlan_mac_address"),
        _ => (!text("ethernet_mac_address") && !has("name")).then_some("a link has neither an address nor a name"),
    }
}
