//! The files of a NoCloud drive: what cloud-init's data source of that name reads.
//!
//! `user-data` and `meta-data` are always there, since the reader asks for both. The documents are JSON, which is YAML too.

use super::document::KeyKind;
use super::{DocumentError, Documents, Instance};
use crate::net::network_config;
use serde_json::{Map, Value};
use std::fmt::Write as _;

pub(super) fn documents(instance: &Instance) -> Result<Documents, DocumentError> {
    let facts = &instance.document.instance;
    if !instance.files.is_empty() {
        return Err(DocumentError::new("files", "a NoCloud drive has no place for files")
            .with_hint("use --layout openstack, or write_files in the user data"));
    }
    let mut documents = Documents::default();
    documents.put("user-data".into(), instance.user_data.as_ref().map(|data| data.expose()).unwrap_or_default());

    let mut data = Map::new();
    data.insert("instance-id".into(), facts.uuid.clone().into());
    data.insert("local-hostname".into(), instance.hostname().into());
    if let Some(pair) = instance.key_pair().filter(|pair| pair.kind == KeyKind::Ssh) {
        data.insert("public-keys".into(), vec![pair.data].into());
    }
    if let Some(zone) = &facts.availability_zone {
        data.insert("availability-zone".into(), zone.clone().into());
    }
    if !facts.metadata.0.is_empty() {
        data.insert("meta".into(), facts.metadata.to_json());
    }
    documents.put("meta-data".into(), yaml(&Value::Object(data)).into_bytes());

    if let Some(vifs) = &instance.document.network_info {
        documents.put("network-config".into(), yaml(&network_config::render(vifs)).into_bytes());
    }
    match instance.static_vendor_data().and_then(|data| data.get("cloud-init")) {
        Some(Value::String(text)) => documents.put("vendor-data".into(), text.as_bytes()),
        Some(_) => {
            return Err(DocumentError::new("vendor_data.cloud-init", "expected a text, for a NoCloud drive")
                .with_hint("use --layout openstack, or put the parts together"));
        }
        None if instance.static_vendor_data().is_some() => {
            documents
                .notes
                .push("vendor data: only its member cloud-init goes onto a NoCloud drive, and there is none".into());
        }
        None => {}
    }
    if instance.admin_password().is_some() {
        documents.notes.push("admin_pass: not on a NoCloud drive, which has no place for it".into());
    }
    Ok(documents)
}

/// The value as JSON that a reader of YAML takes too: what YAML does not allow in a text is escaped.
fn yaml(value: &Value) -> String {
    let mut text = String::new();
    for char in value.to_string().chars() {
        match char {
            // Printable, as YAML 1.1 and 1.2 have it; all that is not lies in the basic plane and inside of strings.
            ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'.. => {
                text.push(char);
            }
            _ => _ = write!(text, "\\u{:04x}", u32::from(char)),
        }
    }
    text.push('\n');
    text
}
