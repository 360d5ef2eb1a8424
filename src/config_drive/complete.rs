//! A document made complete: base64 decoded, files found, contradictions refused.

use super::bytes;
use super::document::{Document, Facts, File, KeyPair, Provider};
use super::verbatim::Members;
use super::{DocumentError, Flavour};
use crate::net::Vif;
use crate::secret::Secret;
use imgraft_vfs::fs::Content;
use imgraft_vfs::path::{NAME_MAX, PATH_MAX};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

/// The largest file of user data or vendor data, in bytes.
const TEXT_MAX: u64 = 16 << 20;

/// The number of bytes of a random seed, as Nova has it.
const SEED: usize = 512;

/// Where the random seeds come from.
#[derive(Clone, Debug, Default)]
pub enum Seed {
    /// From the operating system, another one for each version.
    #[default]
    Random,
    /// These bytes for all versions.
    Given(Secret),
}

impl Seed {
    pub(super) fn in_base64(&self) -> Result<String, getrandom::Error> {
        match self {
            Self::Given(bytes) => Ok(bytes::encode(bytes.expose())),
            Self::Random => {
                let mut seed = zeroize::Zeroizing::new([0; SEED]);
                getrandom::fill(&mut seed[..])?;
                Ok(bytes::encode(&seed[..]))
            }
        }
    }
}

/// Where the files are that a document names.
#[derive(Clone, Debug)]
pub enum Place {
    /// In this directory or below.
    Below(PathBuf),
    /// Nowhere: the document may not name any.
    Nowhere,
}

/// An instance of which all is known.
#[derive(Debug)]
pub struct Instance {
    pub(super) document: Document,
    /// User data, byte for byte.
    pub user_data: Option<Secret>,
    /// Files for the guest: their paths as they were given, and contents.
    pub files: Vec<(String, Content)>,
    /// Where the random seeds come from.
    pub seed: Seed,
    /// The static vendor data; `None` where there is to be none.
    vendor_data: Option<Map<String, Value>>,
}

impl Instance {
    /// Checks the document, and reads the files that it names.
    pub fn new(mut document: Document, flavour: Flavour, place: &Place) -> Result<Self, DocumentError> {
        let user_data = user_data(&mut document.instance, place)?;
        let mut files = Vec::new();
        for (number, file) in std::mem::take(&mut document.files).into_iter().enumerate() {
            let at = format!("files[{number}]");
            files.push((file.path.clone(), content(&at, file, place)?));
        }
        let seed = match document.random_seed_hex.take() {
            None => Seed::Random,
            Some(bytes::Hex(pattern)) => {
                Seed::Given(Secret::new(pattern.expose().iter().copied().cycle().take(SEED).collect()))
            }
        };
        let vendor_data = vendor_data(&mut document, place)?;
        let instance = Self { document, user_data, files, seed, vendor_data };
        instance.check(flavour)?;
        Ok(instance)
    }

    /// Adds a file for the guest after those that are there.
    pub fn add_file(&mut self, path: String, content: Content) -> Result<(), DocumentError> {
        self.files.push((path, content));
        self.check_files()
    }

    /// The document, without what is kept beside it.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The network interfaces.
    pub fn vifs(&self) -> &[Vif] {
        self.document.network_info.as_deref().unwrap_or_default()
    }

    /// The host name with the domain.
    pub fn hostname(&self) -> String {
        let domain = self.document.conf.dhcp_domain.as_deref().unwrap_or("novalocal");
        match (self.document.instance.hostname.as_str(), domain) {
            (hostname, "") => hostname.to_owned(),
            (hostname, domain) => format!("{hostname}.{domain}"),
        }
    }

    /// The key pair that the guest gets.
    pub fn key_pair(&self) -> Option<KeyPair> {
        let facts = &self.document.instance;
        let name = facts.key_name()?;
        match (&facts.keypairs, &facts.key_data) {
            (Some(pairs), _) => pairs.first().cloned(),
            (None, Some(data)) => {
                Some(KeyPair { name: name.to_owned(), kind: super::document::KeyKind::Ssh, data: data.clone() })
            }
            (None, None) => None,
        }
    }

    /// The public key.
    pub fn key_data(&self) -> Option<&str> {
        let facts = &self.document.instance;
        let first = facts.keypairs.as_ref().and_then(|pairs| pairs.first()).map(|pair| pair.data.as_str());
        facts.key_data.as_deref().or(first)
    }

    /// The administrator's password.
    pub fn admin_password(&self) -> Option<&str> {
        self.document.extra_md.0.get(ADMIN_PASSWORD)?.as_str()
    }

    /// The static vendor data, where there is any.
    pub fn static_vendor_data(&self) -> Option<&Map<String, Value>> {
        self.vendor_data.as_ref().filter(|data| !data.is_empty())
    }

    pub(super) fn vendor_data(&self, flavour: Flavour) -> Result<Value, DocumentError> {
        match &self.vendor_data {
            Some(data) => Ok(Value::Object(data.clone())),
            None if flavour == Flavour::Imgraft => Ok(json!({})),
            None => Err(DocumentError::new(
                "conf.api.vendordata_providers",
                "without StaticJSON Nova cannot make a drive (it looks for vendor_data.json and finds none)",
            )
            .with_hint("add StaticJSON, or leave --compat out")),
        }
    }

    /// What vendor data there is, by the service that it is from.
    pub(super) fn vendor_data2(&self, notes: &mut Vec<String>) -> Value {
        let mut all = Map::new();
        for provider in providers(&self.document) {
            match provider {
                Provider::Static => {
                    _ = all.insert("static".to_owned(), Value::Object(self.vendor_data.clone().unwrap_or_default()));
                }
                Provider::Dynamic => {
                    for (name, answer) in &self.document.vendor_data_dynamic {
                        if all.contains_key(name) {
                            let note = format!("vendor_data_dynamic.{name}: left out, there is one of this name");
                            if !notes.contains(&note) {
                                notes.push(note);
                            }
                        } else {
                            all.insert(name.clone(), answer.clone());
                        }
                    }
                }
            }
        }
        Value::Object(all)
    }

    fn check(&self, flavour: Flavour) -> Result<(), DocumentError> {
        let facts = &self.document.instance;
        for (at, value) in [("instance.uuid", &facts.uuid), ("instance.hostname", &facts.hostname)] {
            if value.is_empty() || value.chars().any(char::is_control) {
                return Err(DocumentError::new(at, "expected a text of one line that is not empty"));
            }
        }
        for (number, vif) in self.vifs().iter().enumerate() {
            check_interface(&format!("network_info[{number}]"), vif, flavour)?;
        }
        if flavour == Flavour::Imgraft { self.check_files() } else { Ok(()) }
    }

    /// Guest paths that name one file each, and no file that `..` leads to.
    fn check_files(&self) -> Result<(), DocumentError> {
        let mut seen = HashSet::new();
        for (number, (path, _)) in self.files.iter().enumerate() {
            let refuse = |reason: &str| Err(DocumentError::new(format!("files[{number}].path"), reason));
            let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
            if names.is_empty() || path.ends_with('/') || path.ends_with("/.") {
                return refuse("expected the path of a file in the guest");
            }
            if names.contains(&"..") {
                return refuse("it leads up with '..'; expected the path that the file is to have");
            }
            if path.contains('\0') || path.len() >= PATH_MAX || names.iter().any(|name| name.len() > NAME_MAX) {
                return refuse(
                    "no file can have this path (a NUL, a name of more than 255 bytes, or 4096 bytes in all)",
                );
            }
            if !seen.insert(names) {
                return refuse("a file before it has the same path; expected each path once");
            }
        }
        Ok(())
    }
}

/// The member of `extra_md` with the administrator's password.
pub(super) const ADMIN_PASSWORD: &str = "admin_pass";

impl Facts {
    /// The name of the key pair; an empty one is none.
    pub(super) fn key_name(&self) -> Option<&str> {
        self.key_name.as_deref().filter(|name| !name.is_empty())
    }
}

fn check_interface(at: &str, vif: &Vif, flavour: Flavour) -> Result<(), DocumentError> {
    let is_mac = |mac: &str| {
        let pairs: Vec<&str> = mac.split(':').collect();
        pairs.len() == 6 && pairs.iter().all(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    if flavour == Flavour::Imgraft && !vif.address.as_deref().is_some_and(is_mac) {
        return Err(DocumentError::new(format!("{at}.address"), "expected a MAC address, 52:54:00:12:34:56 say"));
    }
    let subnets = vif.network.iter().flat_map(|network| &network.subnets).enumerate();
    for (number, subnet) in subnets {
        let at = format!("{at}.network.subnets[{number}]");
        let version = subnet.cidr.version();
        if subnet.version() != version {
            return Err(DocumentError::new(format!("{at}.version"), format!("expected {version}, as cidr is")));
        }
        for (index, ip) in subnet.ips.iter().enumerate() {
            if ip.address.version() != version {
                let reason = format!("expected an IPv{version} address, as cidr is");
                return Err(DocumentError::new(format!("{at}.ips[{index}].address"), reason));
            }
        }
    }
    Ok(())
}

fn user_data(facts: &mut Facts, place: &Place) -> Result<Option<Secret>, DocumentError> {
    let text = facts.user_data.take().map(|text| text.0);
    let decoded = facts.user_data_b64.take().map(|bytes| bytes.0);
    match (text, decoded, facts.user_data_file.take()) {
        (None, None, None) => Ok(None),
        (Some(data), None, None) | (None, Some(data), None) => Ok(Some(data)),
        (None, None, Some(path)) => {
            let at = "instance.user_data_file";
            bounded(at, &found(at, &path, place)?).map(Some)
        }
        _ => {
            Err(DocumentError::new("instance", "expected one of user_data, user_data_b64 and user_data_file, not more"))
        }
    }
}

fn content(at: &str, file: File, place: &Place) -> Result<Content, DocumentError> {
    match (file.contents, file.contents_b64, file.contents_file) {
        (Some(text), None, None) => Ok(Content::bytes(text.0.expose())),
        (None, Some(bytes), None) => Ok(Content::bytes(bytes.0.expose())),
        (None, None, Some(path)) => found(&format!("{at}.contents_file"), &path, place),
        _ => Err(DocumentError::new(at, "expected exactly one of contents, contents_b64 and contents_file")),
    }
}

fn vendor_data(document: &mut Document, place: &Place) -> Result<Option<Map<String, Value>>, DocumentError> {
    let inline = document.vendor_data.take();
    let path = document.conf.vendordata_jsonfile_path.take().filter(|path| !path.is_empty());
    let wanted = providers(document).contains(&Provider::Static);
    let at = "conf.api.vendordata_jsonfile_path";
    let data = match (inline, path) {
        (Some(_), Some(_)) => return Err(DocumentError::new(at, "expected this or vendor_data, not both")),
        (Some(data), None) => data,
        (None, None) => Map::new(),
        (None, Some(_)) if !wanted => Map::new(),
        (None, Some(path)) => object(at, bounded(at, &found(at, &path, place)?)?.expose())?,
    };
    Ok(wanted.then_some(data))
}

/// A JSON object from its text.
pub(crate) fn object(at: &str, text: &[u8]) -> Result<Map<String, Value>, DocumentError> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let none = |error: &serde_json::Error| {
        let place = format!("line {} column {}", error.line(), error.column());
        DocumentError::new(at, format!("expected a JSON object; it is none at {place}"))
    };
    let members = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let below = error.path().to_string();
        if !error.inner().is_data() || below == "." {
            return none(error.inner());
        }
        DocumentError::new(at, format!("{below}: {}", error.inner()))
    });
    let Members(members) = members?;
    json.end().map_err(|error| none(&error))?;
    Ok(members)
}

fn providers(document: &Document) -> Vec<Provider> {
    match &document.conf.vendordata_providers {
        Some(providers) => providers.clone(),
        None if document.vendor_data_dynamic.is_empty() => vec![Provider::Static],
        None => vec![Provider::Static, Provider::Dynamic],
    }
}

/// The file that a document names: beside it or below, also when links are followed.
fn found(at: &str, path: &str, place: &Place) -> Result<Content, DocumentError> {
    let refuse = |reason: String| DocumentError::new(at, reason);
    let Place::Below(directory) = place else {
        return Err(refuse("a file cannot be named here".to_owned()).with_hint("put its content into the document"));
    };
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if path.is_empty() || !inside {
        return Err(refuse(format!("{path:?}: expected a relative path without '..', beside the document or below"))
            .with_hint("copy the file there, or name it with an option (--user-data, --vendor-data, --file)"));
    }
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let full = directory.join(path);
    let real = |path: &Path| path.canonicalize().map_err(|error| refuse(format!("{}: {error}", full.display())));
    if !real(&full)?.starts_with(real(directory)?) {
        return Err(refuse(format!("{}: a link leads out of the document's directory", full.display())));
    }
    Content::open(&full).map_err(|error| refuse(format!("{}: {error}", full.display())))
}

/// The bytes of a file that is read whole.
fn bounded(at: &str, content: &Content) -> Result<Secret, DocumentError> {
    if content.len() > TEXT_MAX {
        return Err(DocumentError::new(at, "expected a file of 16 MiB at most"));
    }
    let mut bytes = vec![0; content.len() as usize];
    content.read_at(&mut bytes, 0).map_err(|error| DocumentError::new(at, error.to_string()))?;
    Ok(Secret::new(bytes))
}
