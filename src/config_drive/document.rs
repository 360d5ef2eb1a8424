//! The instance document: all that is known of an instance, as JSON or YAML. Its schema is made from these types.

use super::bytes::{self, Base64, Hidden};
pub use super::extra::ExtraMetadata;
use super::verbatim::{self, Twice};
use crate::net::Vif;
use crate::object::objects;
use schemars::JsonSchema;
use serde::{Deserialize, de::Error as _};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// An instance: what its config drive, or its image, is to tell it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Document", title = "imgraft instance document")]
pub struct Document {
    /// Nova's options by name. Default: Nova's defaults.
    #[serde(default)]
    pub conf: Conf,
    /// The instance.
    pub instance: Facts,
    /// Names of its security groups, in order. Default `["default"]`.
    #[serde(default = "default_groups")]
    pub security_groups: Vec<String>,
    /// Its block devices, for the EC2 block device mapping. Default none.
    #[serde(default)]
    pub bdms: Vec<BlockDevice>,
    /// Its network interfaces, as Nova keeps them. Default null: nothing is said about the network, and the guest does what
    /// it does on its own. An empty list says that there are none.
    #[serde(default)]
    pub network_info: Option<Vec<Vif>>,
    /// Files for the guest, in order. Default none.
    #[serde(default)]
    pub files: Vec<File>,
    /// What else goes into meta_data.json; `admin_pass` is the administrator's password. Default nothing.
    #[serde(default)]
    pub extra_md: ExtraMetadata,
    /// The static vendor data, an object. Default that of `conf`, else empty.
    #[serde(default, deserialize_with = "verbatim::optional")]
    pub vendor_data: Option<Map<String, Value>>,
    /// What dynamic vendor data services answered, by the name of the target. Default none.
    #[serde(default, deserialize_with = "verbatim::object")]
    pub vendor_data_dynamic: Map<String, Value>,
    /// Bytes in hexadecimal that are repeated to 512 bytes in place of a random seed, for drives that can be compared.
    /// Default null: a fresh seed from the operating system for each version.
    #[serde(default)]
    pub random_seed_hex: Option<bytes::Hex>,
}

fn default_groups() -> Vec<String> {
    vec!["default".to_owned()]
}

/// Options of Nova.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Conf")]
pub struct Conf {
    /// The drive's format. Default `iso9660`; the command line goes before it.
    #[serde(default)]
    pub config_drive_format: Option<DriveFormat>,
    /// What is added to the hostname, after a dot; empty for nothing. Default `novalocal`.
    #[serde(default, rename = "api.dhcp_domain")]
    pub dhcp_domain: Option<String>,
    /// EC2 versions that are left out, with spaces between them. Default `1.0 2007-01-19 2007-03-01 2007-08-29 2007-10-10
    /// 2007-12-15 2008-02-01 2008-09-01`.
    #[serde(default, rename = "api.config_drive_skip_versions")]
    pub skip_versions: Option<String>,
    /// A JSON file with the static vendor data, beside the document or below. Default null.
    #[serde(default, rename = "api.vendordata_jsonfile_path")]
    pub vendordata_jsonfile_path: Option<String>,
    /// Where vendor data comes from. Default `["StaticJSON"]`, with `DynamicJSON` where `vendor_data_dynamic` has any.
    #[serde(default, rename = "api.vendordata_providers")]
    pub vendordata_providers: Option<Vec<Provider>>,
    /// Whether the interfaces text has IPv6; of Nova's Grizzly release only. Default false.
    #[serde(default)]
    pub use_ipv6: Option<bool>,
    /// Whether `inject --compat nova` injects the key. Default false.
    #[serde(default, rename = "libvirt.inject_key")]
    pub inject_key: Option<bool>,
    /// Whether `inject --compat nova` injects the password. Default false.
    #[serde(default, rename = "libvirt.inject_password")]
    pub inject_password: Option<bool>,
}

/// A format of drives.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum DriveFormat {
    /// A CD image with Joliet and Rock Ridge names.
    Iso9660,
    /// A FAT filesystem of 64 MiB.
    Vfat,
}

/// Where vendor data comes from.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
pub enum Provider {
    /// `vendor_data`, or the file of `conf`.
    #[serde(rename = "StaticJSON")]
    Static,
    /// `vendor_data_dynamic`.
    #[serde(rename = "DynamicJSON")]
    Dynamic,
}

/// Facts of the instance.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Facts")]
pub struct Facts {
    /// Its UUID: cloud-init's instance-id.
    pub uuid: String,
    /// Its host name, without a domain.
    pub hostname: String,
    /// Its name for people. Default the host name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Its project. Default null.
    #[serde(default)]
    pub project_id: Option<String>,
    /// Which one it is of those that were started together. Default 0.
    #[serde(default)]
    pub launch_index: u32,
    /// Its availability zone. Default null.
    #[serde(default)]
    pub availability_zone: Option<String>,
    /// The name of its key pair; without it no key is given to the guest. Default null.
    #[serde(default)]
    pub key_name: Option<String>,
    /// The public key, as the EC2 documents have it. Default the first of `keypairs`.
    #[serde(default)]
    pub key_data: Option<String>,
    /// Its key pairs; the first one counts. Default that of `key_name` and `key_data`.
    #[serde(default)]
    pub keypairs: Option<Vec<KeyPair>>,
    /// Its reservation. Default `r-` and the first eight digits of the UUID.
    #[serde(default)]
    pub reservation_id: Option<String>,
    /// The image that it is of. Default null.
    #[serde(default)]
    pub image_ref: Option<String>,
    /// The name of its flavor. Default null.
    #[serde(default)]
    pub flavor: Option<String>,
    /// The name of its root device (`/dev/vda`). Default null.
    #[serde(default)]
    pub root_device_name: Option<String>,
    /// The name of its ephemeral device. Default null.
    #[serde(default)]
    pub default_ephemeral_device: Option<String>,
    /// The name of its swap device. Default null.
    #[serde(default)]
    pub default_swap_device: Option<String>,
    /// User data as a text; the empty text makes an empty file. Default null: no user data.
    #[serde(default)]
    pub user_data: Option<Hidden>,
    /// User data in base64, instead of `user_data`. Default null.
    #[serde(default)]
    pub user_data_b64: Option<Base64>,
    /// User data in a file beside the document or below, instead of `user_data`. Default null.
    #[serde(default)]
    pub user_data_file: Option<String>,
    /// Metadata: keys and values that the owner has set, all strings; no key is empty. Default none.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>", extend("propertyNames" = { "minLength": 1 }))]
    pub metadata: Pairs,
    /// Its ids in EC2's spelling. Default: made from the UUIDs.
    #[serde(default)]
    pub ec2_ids: Ec2Ids,
    /// Its NUMA cells, for the list of dedicated CPUs. Default none.
    #[serde(default)]
    pub numa_cells: Vec<NumaCell>,
    /// Its devices with tags. Default none.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Whether it has a config drive; where it has, `inject` leaves its image alone. Default null.
    #[serde(default)]
    pub config_drive: Option<bool>,
}

/// Strings by name, in the order given; no name is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(pub Vec<(String, String)>);

/// A key pair.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "KeyPair")]
pub struct KeyPair {
    /// Its name.
    pub name: String,
    /// What it is. Default `ssh`.
    #[serde(default, rename = "type")]
    pub kind: KeyKind,
    /// The public key, or the certificate.
    pub data: String,
}

/// A kind of key pair.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// A public key of OpenSSH.
    #[default]
    Ssh,
    /// An X.509 certificate, for Windows.
    X509,
}

impl KeyKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::X509 => "x509",
        }
    }
}

/// Ids in EC2's spelling.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Ec2Ids")]
pub struct Ec2Ids {
    /// Of the instance (`i-0000001a`). Default `i-` and the first eight digits of the UUID.
    #[serde(default)]
    pub instance_id: Option<String>,
    /// Of the image (`ami-00000003`). Default `ami-` and the first eight digits of `image_ref`, else null.
    #[serde(default)]
    pub ami_id: Option<String>,
    /// Of the kernel (`aki-…`), where it boots one of its own. Default null.
    #[serde(default)]
    pub kernel_id: Option<String>,
    /// Of the RAM disk (`ari-…`). Default null.
    #[serde(default)]
    pub ramdisk_id: Option<String>,
}

/// A NUMA cell.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "NumaCell")]
pub struct NumaCell {
    /// Shared CPUs; taken and not used. Default none.
    #[serde(default)]
    pub cpuset: Vec<u32>,
    /// CPUs of the instance alone. Default none.
    #[serde(default)]
    pub pcpuset: Vec<u32>,
}

/// A device with its place on a bus, and tags.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Device")]
pub enum Device {
    /// A network interface.
    Nic {
        /// Its MAC address. Default null.
        #[serde(default)]
        mac: Option<String>,
        /// Its VLAN. Default null.
        #[serde(default)]
        vlan: Option<u32>,
        /// Whether it is a trusted virtual function. Default false.
        #[serde(default)]
        vf_trusted: bool,
        /// Its bus. Default null.
        #[serde(default)]
        bus: Option<Bus>,
        /// Its address on the bus. Default null.
        #[serde(default)]
        address: Option<String>,
        /// Its tags. Default none.
        #[serde(default)]
        tags: Vec<String>,
    },
    /// A disk.
    Disk {
        /// Its serial number. Default null.
        #[serde(default)]
        serial: Option<String>,
        /// Its path in the guest. Default null.
        #[serde(default)]
        path: Option<String>,
        /// Its bus. Default null.
        #[serde(default)]
        bus: Option<Bus>,
        /// Its address on the bus. Default null.
        #[serde(default)]
        address: Option<String>,
        /// Its tags. Default none.
        #[serde(default)]
        tags: Vec<String>,
    },
    /// A shared directory.
    Share {
        /// Its id.
        share_id: String,
        /// The tag that it is mounted by.
        tag: String,
    },
}

/// A bus that devices with tags are on.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Bus {
    Pci,
    Usb,
    Scsi,
    Ide,
    Xen,
}

impl Bus {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pci => "pci",
            Self::Usb => "usb",
            Self::Scsi => "scsi",
            Self::Ide => "ide",
            Self::Xen => "xen",
        }
    }
}

/// A block device.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "BlockDevice")]
pub struct BlockDevice {
    /// `volume` or `local`. Default null.
    #[serde(default)]
    pub destination_type: Option<String>,
    /// `volume`, `snapshot`, `image` or `blank`. Default null.
    #[serde(default)]
    pub source_type: Option<String>,
    /// Its name in the guest. Default null.
    #[serde(default)]
    pub device_name: Option<String>,
    /// `swap`, or the filesystem that it is made with. Default null.
    #[serde(default)]
    pub guest_format: Option<String>,
}

/// A file for the guest: exactly one of `contents`, `contents_b64` and `contents_file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "File")]
pub struct File {
    /// Where it goes in the guest.
    pub path: String,
    /// What it holds, a text. Default null.
    #[serde(default)]
    pub contents: Option<Hidden>,
    /// What it holds, in base64. Default null.
    #[serde(default)]
    pub contents_b64: Option<Base64>,
    /// A file beside the document or below that has it. Default null.
    #[serde(default)]
    pub contents_file: Option<String>,
}

objects!(Document, Conf, Facts, KeyPair, Ec2Ids, NumaCell, Device, BlockDevice, File);

impl Document {
    /// The document of an instance of which no more is known.
    pub fn new(uuid: String, hostname: String) -> Self {
        Self {
            conf: Conf::default(),
            instance: Facts { uuid, hostname, ..Facts::default() },
            security_groups: default_groups(),
            bdms: Vec::new(),
            network_info: None,
            files: Vec::new(),
            extra_md: ExtraMetadata::default(),
            vendor_data: None,
            vendor_data_dynamic: Map::new(),
            random_seed_hex: None,
        }
    }
}

impl Pairs {
    /// As an object.
    pub(super) fn to_json(&self) -> Value {
        Value::Object(self.0.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect())
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs: Vec<(String, String)> = Vec::new();
                let mut seen = HashSet::new();
                while let Some(key) = map.next_key::<String>()? {
                    if key.is_empty() {
                        return Err(A::Error::custom("a key is empty"));
                    }
                    if !seen.insert(key.clone()) {
                        map.next_value_seed(Twice)?;
                    }
                    pairs.push((key, map.next_value()?));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
