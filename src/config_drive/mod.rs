//! Config drives: an instance document becomes metadata documents, and these the files of a drive.
//!
//! What the documents hold, and in which order, is that of OpenStack Nova's `InstanceMetadata` and `ConfigDriveBuilder`;
//! the layout and the documents are described in Nova's user guide ("Metadata", "Config drive").

mod bytes;
mod complete;
pub mod document;
mod ec2;
mod error;
pub mod existing;
mod extra;
mod limits;
mod nocloud;
mod openstack;
mod python2_dict;
mod python_json;
mod read;
mod verbatim;
mod version;

pub(crate) use bytes::{Base64, Hidden};
pub(crate) use complete::object;
pub use complete::{Instance, Place, Seed};
pub use document::Document;
pub use error::DocumentError;
pub(crate) use nocloud::MetaData;
pub(crate) use read::{NODES_MAX, from_value, value, yaml_of};
pub use read::{Spelling, read, read_network, schema};

use crate::net::interfaces::{self, Style};
use crate::net::network_data;
use imgraft_vfs::fs::Content;
use python_json::Order;
use serde_json::{Value, json};
use version::{HAVANA, LIBERTY, NEWTON_TWO};

/// Whose drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavour {
    /// Nova's of today, without what harms: no `network_data.json` where nothing is known of the network (an empty one keeps
    /// cloud-init from asking for an address by DHCP), and one that Nova's own schema accepts where there is no interface;
    /// an interfaces text that knows DHCP however the model says it; vendor data without its static part.
    #[default]
    Imgraft,
    /// Nova's of today, byte for byte.
    Nova,
    /// That of Nova's Grizzly release (2013.1), byte for byte: two versions, and the members of objects in the order of
    /// Python 2.7's dictionaries.
    NovaGrizzly,
}

/// Which files a drive has, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// OpenStack's config drive, label `config-2`.
    #[default]
    OpenStack,
    /// That of cloud-init's NoCloud data source, label `cidata`.
    NoCloud,
}

impl Layout {
    /// The label that readers look for.
    pub fn label(self) -> &'static str {
        match self {
            Self::OpenStack => "config-2",
            Self::NoCloud => "cidata",
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenStack => "openstack",
            Self::NoCloud => "nocloud",
        }
    }
}

/// The files of a drive: relative paths and contents, in the order in which Nova writes them.
#[derive(Debug, Default)]
pub struct Documents {
    /// The files.
    pub files: Vec<(String, Content)>,
    /// What the user should know, a sentence each.
    pub notes: Vec<String>,
}

impl Documents {
    /// The files of the instance's drive.
    pub fn new(instance: &Instance, flavour: Flavour, layout: Layout) -> Result<Self, DocumentError> {
        match layout {
            Layout::OpenStack => {
                let mut documents = Self::default();
                documents.openstack(instance, flavour)?;
                Ok(documents)
            }
            Layout::NoCloud => nocloud::documents(instance),
        }
    }

    fn put(&mut self, path: String, content: impl Into<std::sync::Arc<[u8]>>) {
        self.files.push((path, Content::bytes(content)));
    }

    fn openstack(&mut self, instance: &Instance, flavour: Flavour) -> Result<(), DocumentError> {
        if flavour != Flavour::Imgraft {
            self.notes.extend(limits::exceeded(instance));
        }
        let order = if flavour == Flavour::NovaGrizzly { Order::Python2 } else { Order::Insertion };
        let json = |value: &Value| python_json::write(value, order);
        let interfaces = interfaces_text(instance, flavour)?;
        let numbered = Numbered::new(instance, interfaces.is_some());
        let user_data = instance.user_data.as_ref().map(|data| data.expose());

        let skip = instance.document.conf.skip_versions.as_deref().unwrap_or(version::SKIPPED);
        for word in version::unknown(skip) {
            self.notes.push(format!("api.config_drive_skip_versions: {word} is no EC2 version, and skips nothing"));
        }
        for version in version::ec2(skip) {
            if let Some(data) = user_data {
                self.put(format!("ec2/{}/user-data", version.directory), data);
            }
            let data = ec2::meta_data(instance, flavour, version);
            self.put(format!("ec2/{}/meta-data.json", version.directory), json(&data));
        }
        for version in version::openstack(flavour) {
            let path = |name: &str| format!("openstack/{}/{name}", version.directory);
            let seed = || instance.seed.in_base64();
            let data = openstack::meta_data(instance, flavour, version, &numbered, seed);
            self.put(path("meta_data.json"), json(&data.map_err(|error| DocumentError::seed(&error))?));
            if let Some(data) = user_data {
                self.put(path("user_data"), data);
            }
            if version.has(HAVANA) {
                self.put(path("vendor_data.json"), json(&instance.vendor_data(flavour)?));
            }
            if version.has(LIBERTY)
                && let Some(network) = network(instance, flavour)
            {
                self.put(path("network_data.json"), json(&network));
            }
            if version.has(NEWTON_TWO) {
                let data = instance.vendor_data2(&mut self.notes);
                self.put(path("vendor_data2.json"), json(&data));
            }
        }
        if let (Some(text), Some(id)) = (interfaces, numbered.network) {
            self.put(format!("openstack{}", openstack::content_path(id)), text.into_bytes());
        }
        for ((_, id), (_, content)) in numbered.files.iter().zip(&instance.files) {
            self.files.push((format!("openstack{}", openstack::content_path(*id)), content.clone()));
        }
        Ok(())
    }
}

/// The numbers of the contents: the interfaces text first, then the files.
struct Numbered {
    network: Option<usize>,
    files: Vec<(String, usize)>,
}

impl Numbered {
    fn new(instance: &Instance, interfaces: bool) -> Self {
        let network = interfaces.then_some(0);
        let first = usize::from(interfaces);
        let paths = instance.files.iter().map(|(path, _)| path.clone());
        Self { network, files: paths.zip(first..).collect() }
    }
}

/// The interfaces text of an instance; `None` where no interface is in it.
pub fn interfaces_text(instance: &Instance, flavour: Flavour) -> Result<Option<String>, DocumentError> {
    let style = match flavour {
        Flavour::Imgraft => Style::Imgraft,
        Flavour::Nova => Style::Nova,
        Flavour::NovaGrizzly => Style::Grizzly { use_ipv6: instance.document.conf.use_ipv6.unwrap_or(false) },
    };
    interfaces::render(instance.vifs(), style).map_err(|missing| {
        let at = format!("network_info[{}]", missing.vif);
        DocumentError::new(at, format!("its network is injected, and it does not have {}", missing.what))
            .with_hint("Nova's Grizzly release fails at it; leave --compat out, or say injected: false")
    })
}

fn network(instance: &Instance, flavour: Flavour) -> Option<Value> {
    match (&instance.document.network_info, flavour) {
        (None, Flavour::Imgraft) => None,
        (Some(vifs), Flavour::Imgraft) => Some(network_data::render(vifs)),
        (Some(vifs), _) if !vifs.is_empty() => Some(network_data::render(vifs)),
        // As Nova has it, though its schema asks for three lists.
        _ => Some(json!({})),
    }
}

#[cfg(test)]
mod tests;
