//! The files of a NoCloud drive: what cloud-init's data source of that name reads.
//!
//! `user-data` and `meta-data` are always there, since the reader asks for both. The documents are JSON, which is YAML too.

use super::document::KeyKind;
use super::{DocumentError, Documents, Instance};
use crate::net::read::network_info;
use crate::net::{Vif, render};
use crate::yaml;
use serde_json::{Map, Value};

/// What `meta-data` says, whoever it is made for.
#[derive(Debug, Default)]
pub(crate) struct MetaData {
    /// cloud-init does what is done once for each of these.
    pub instance_id: String,
    /// The host name.
    pub local_hostname: Option<String>,
    /// Keys for the default user.
    pub public_keys: Vec<String>,
    /// The availability zone.
    pub availability_zone: Option<String>,
    /// What the owner has set, in order; a later equal key wins.
    pub meta: Vec<(String, String)>,
}

impl MetaData {
    /// As an object.
    pub(crate) fn to_json(&self) -> Value {
        let mut data = Map::new();
        data.insert("instance-id".into(), self.instance_id.clone().into());
        if let Some(name) = &self.local_hostname {
            data.insert("local-hostname".into(), name.clone().into());
        }
        if !self.public_keys.is_empty() {
            data.insert("public-keys".into(), self.public_keys.clone().into());
        }
        if let Some(zone) = &self.availability_zone {
            data.insert("availability-zone".into(), zone.clone().into());
        }
        if !self.meta.is_empty() {
            let pairs = self.meta.iter().map(|(key, value)| (key.clone(), value.clone().into()));
            data.insert("meta".into(), Value::Object(pairs.collect()));
        }
        Value::Object(data)
    }
}

pub(super) fn documents(instance: &Instance) -> Result<Documents, DocumentError> {
    let facts = &instance.document.instance;
    if !instance.files.is_empty() {
        return Err(DocumentError::new("files", "a NoCloud drive has no place for files")
            .with_hint("use --layout openstack, or write_files in the user data"));
    }
    let mut documents = Documents::default();
    documents.put("user-data".into(), instance.user_data.as_ref().map(|data| data.expose()).unwrap_or_default());

    let pair = instance.key_pair().filter(|pair| pair.kind == KeyKind::Ssh);
    let data = MetaData {
        instance_id: facts.uuid.clone(),
        local_hostname: Some(instance.hostname()),
        public_keys: pair.into_iter().map(|pair| pair.data).collect(),
        availability_zone: facts.availability_zone.clone(),
        meta: facts.metadata.0.clone(),
    };
    documents.put("meta-data".into(), line(&data.to_json()));

    if let Some(vifs) = &instance.document.network_info {
        documents.put("network-config".into(), line(&network_config(vifs)?));
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

/// The networks, by the rules of Nova's documents. A gateway outside of its subnet, which OpenStack allows, is as any other: the words that
/// say so are not cloud-init's.
fn network_config(vifs: &[Vif]) -> Result<Value, DocumentError> {
    let mut config = network_info::config(vifs).map_err(|error| error.within("network_info"))?;
    for route in config.links.iter_mut().flat_map(|link| &mut link.routes) {
        route.on_link = false;
    }
    render::network_config(&config).map_err(|error| DocumentError::new("network_info", error.to_string()))
}

fn line(value: &Value) -> Vec<u8> {
    (yaml::flow(value) + "\n").into_bytes()
}
