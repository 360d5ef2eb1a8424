//! Readers: from what describes a machine's network to its [`Config`].

pub mod flags;
mod netmask;
pub mod network_data;
pub mod network_info;
mod typed;
pub mod v1;
pub mod v2;

use super::config::{Config, Link};
use crate::config_drive::{DocumentError, Spelling, from_value};
use serde::Deserialize;
use serde_json::Value;

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Version 1 of cloud-init's network configuration.
    V1,
    /// Version 2 of it, without the `network:` around it that makes it netplan's.
    V2,
    /// The same with it: what netplan(5) reads.
    Netplan,
    /// OpenStack's network_data.json.
    NetworkData,
    /// Nova's list of virtual interfaces.
    NetworkInfo,
}

impl Kind {
    /// The name that messages use.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "network-config version 1",
            Self::V2 => "network-config version 2",
            Self::Netplan => "netplan",
            Self::NetworkData => "network_data.json",
            Self::NetworkInfo => "network_info",
        }
    }
}

/// What a text is that may be JSON or YAML; `None` where it is none of the documents, or neither JSON nor YAML.
pub fn kind(text: &str) -> Option<Kind> {
    kind_of(&value(text).ok()?)
}

/// Fails where a text is neither JSON nor YAML.
pub fn check(text: &str) -> Result<(), DocumentError> {
    value(text).map(drop)
}

/// The configuration of a document. Errors name the place of what is wrong.
pub fn document(text: &str) -> Result<Config, DocumentError> {
    let value = value(text)?;
    let config = match kind_of(&value) {
        Some(Kind::V1) => v1::config(from_value(within(value))?),
        Some(Kind::V2 | Kind::Netplan) => v2::config(from_value(within(value))?),
        Some(Kind::NetworkData) => network_data::config(from_value(value)?),
        Some(Kind::NetworkInfo) => network_info::config(&from_value::<Vec<_>>(value)?),
        None => Err(DocumentError::new("", "no network configuration")),
    }?;
    checked(config)
}

/// The configuration, if it makes sense.
pub fn checked(config: Config) -> Result<Config, DocumentError> {
    match config.check() {
        Ok(()) => Ok(config),
        Err(unsound) => Err(DocumentError::new("", unsound.to_string())),
    }
}

/// A machine whose addresses are all its own networks has its routers on the link, whether its description has a word for it or not.
fn put_hosts_routers_on_link(link: &mut Link) {
    link.put_on_link(|link, via| {
        let mut addresses = link.addresses.iter().filter(|address| address.ip().is_ipv4() == via.is_ipv4()).peekable();
        addresses.peek().is_some() && addresses.all(|address| address.is_host())
    });
}

fn value(text: &str) -> Result<Value, DocumentError> {
    // Most of JSON is YAML, but not all of it; what begins like it and is YAML only is read as that.
    let read = |spelling| crate::config_drive::value(text.as_bytes(), spelling);
    if !text.trim_start().starts_with(['{', '[']) {
        return read(Spelling::Yaml);
    }
    read(Spelling::Json).or_else(|error| {
        // Whoever writes a key without quotes means YAML.
        let is_json = text.trim_start_matches(['{', '[', ' ', '\t', '\r', '\n']).starts_with(['"', '}', ']']);
        read(Spelling::Yaml).map_err(|other| if is_json { error } else { other })
    })
}

fn kind_of(value: &Value) -> Option<Kind> {
    let version = |value: &Value| match value.get("version")? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    match value {
        // A section's name in brackets begins other spellings, and is a list to YAML.
        Value::Array(list) => list.iter().all(Value::is_object).then_some(Kind::NetworkInfo),
        Value::Object(object) => match object.get("network") {
            Some(network) => match version(network) {
                Some(1) => Some(Kind::V1),
                _ => Some(Kind::Netplan),
            },
            None if object.contains_key("links") => Some(Kind::NetworkData),
            None => match version(value) {
                Some(1) => Some(Kind::V1),
                Some(2) => Some(Kind::V2),
                _ => None,
            },
        },
        _ => None,
    }
}

/// What is in `network`, where there is one.
fn within(mut value: Value) -> Value {
    match value.as_object_mut().and_then(|object| (object.len() == 1).then(|| object.remove("network")).flatten()) {
        Some(network) => network,
        None => value,
    }
}

/// A list, or the one that it has, as YAML's writers put it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T> OneOrMore<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}
