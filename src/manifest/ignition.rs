//! Ignition's configurations, version 3, as manifests: of what they say that which needs no disk to be made and nothing to be fetched.
//!
//! Source: Ignition's documentation, "Configuration Specification v3.6.0", and the code of Ignition 2.26.

mod passwd;
mod twice;
mod unsaid;

use super::faults::{Elements, Known, read_all};
use super::untaken::Untaken;
use super::{Manifest, Mode, Operation, Owner, Write, operation};
use crate::config_drive::{Base64, DocumentError, Hidden, Spelling, from_value, value};
use crate::inject::UnitName;
use crate::object::objects;
use crate::secret::Secret;
use base64ct::Encoding as _;
use passwd::Passwd;
use serde::Deserialize;
use serde_json::{Map, Value};

const DISKS: &str = "leave it out: the image has its partitions and filesystems already";

const LINK: &str = "leave it out: a new link is root's, and nobody asks whose a link is";

/// The keys of the specification that are not taken.
const UNTAKEN: &[Untaken] = &[
    ("storage.disks", DISKS),
    ("storage.raid", DISKS),
    ("storage.filesystems", DISKS),
    ("storage.luks", DISKS),
    ("kernelArguments", "leave it out; --edit changes the configuration of the guest's boot loader"),
    ("storage.files.append", "contents with all of it, or --append-line PATH:LINE"),
    ("storage.files.contents.verification", "leave it out: the content is in the document itself"),
    ("storage.files.contents.httpHeaders", "leave it out: nothing is fetched"),
    ("storage.links.user", LINK),
    ("storage.links.group", LINK),
    ("passwd.users.noUserGroup", "primaryGroup with a group that is there: then none of the user's own is made"),
    ("passwd.users.noLogInit", "leave it out: no log of logins is written to"),
    ("passwd.groups.passwordHash", "leave it out, and make whom it is for a member"),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct Ignition {
    ignition: Map<String, Value>,
    #[serde(default)]
    passwd: Passwd,
    #[serde(default)]
    storage: Storage,
    #[serde(default)]
    systemd: Systemd,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self", default)]
struct Storage {
    directories: Vec<Node>,
    files: Vec<FileNode>,
    links: Vec<LinkNode>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct Node {
    path: String,
    overwrite: Option<bool>,
    mode: Option<u16>,
    #[serde(default)]
    user: Account,
    #[serde(default)]
    group: Account,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct FileNode {
    path: String,
    overwrite: Option<bool>,
    #[serde(default)]
    contents: Contents,
    mode: Option<u16>,
    #[serde(default)]
    user: Account,
    #[serde(default)]
    group: Account,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct LinkNode {
    path: String,
    overwrite: Option<bool>,
    target: String,
    hard: Option<bool>,
}

/// By number or by name.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self", default)]
struct Account {
    id: Option<u32>,
    name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self", default)]
struct Contents {
    source: Option<Hidden>,
    compression: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self", default)]
struct Systemd {
    units: Vec<Unit>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct Unit {
    name: String,
    enabled: Option<bool>,
    mask: Option<bool>,
    contents: Option<Hidden>,
    #[serde(default)]
    dropins: Vec<Dropin>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct Dropin {
    name: String,
    contents: Option<Hidden>,
}

objects!(Ignition, Storage, Node, FileNode, LinkNode, Account, Contents, Systemd, Unit, Dropin);

impl Manifest {
    /// The manifest that does what a configuration of Ignition says.
    ///
    /// All that is wrong is told, each with its place in the document, what cannot be honoured too; values, which may be secret, are not
    /// repeated.
    pub fn of_ignition(text: &[u8]) -> Result<Self, Vec<DocumentError>> {
        let mut value = value(text, Spelling::Json).map_err(|error| vec![error])?;
        unsaid::leave_out(&mut value, UNTAKEN);
        let text = std::str::from_utf8(text).unwrap_or_default();
        let known = Known { untaken: UNTAKEN, elements: Elements::One };
        let found = twice::faults(&value, text);
        read_all(text, value, found, known, |value| from_value::<Ignition>(value)?.manifest())
            .map_err(|wrong| wrong.errors)
    }
}

impl Ignition {
    fn manifest(self) -> Result<Manifest, DocumentError> {
        for (key, value) in &self.ignition {
            let is_right = match key.as_str() {
                "version" => value.as_str().is_some_and(is_known),
                _ => unsaid::is_empty(value),
            };
            if !is_right {
                let hint = "version 3.0.0 to 3.6.0 is taken, and nothing that is to be fetched";
                return Err(DocumentError::new(format!("ignition.{key}"), "it cannot be honoured here").with_hint(hint));
            }
        }
        if !self.ignition.contains_key("version") {
            return Err(DocumentError::new("ignition", "missing field `version`"));
        }
        let version = self.ignition.get("version");
        let mut manifest = Manifest::default();
        self.passwd.put(&mut manifest)?;
        for (index, node) in self.storage.directories.into_iter().enumerate() {
            let at = format!("storage.directories[{index}]");
            known_bits(node.mode, version).map_err(|error| error.within(&at))?;
            manifest.put_files(&at, node.directory().map_err(|error| error.within(&at))?);
        }
        for (index, file) in self.storage.files.into_iter().enumerate() {
            let at = format!("storage.files[{index}]");
            known_bits(file.mode, version).map_err(|error| error.within(&at))?;
            manifest.put_files(&at, file.file().map_err(|error| error.within(&at))?);
        }
        for (index, link) in self.storage.links.into_iter().enumerate() {
            let at = format!("storage.links[{index}]");
            manifest.put_files(&at, link.link().map_err(|error| error.within(&at))?);
        }
        for (index, unit) in self.systemd.units.into_iter().enumerate() {
            let at = format!("systemd.units[{index}]");
            unit.put(&at, &mut manifest).map_err(|error| error.within(&at))?;
        }
        Ok(manifest)
    }
}

/// Whether a version of the specification is one of those that this follows.
fn is_known(version: &str) -> bool {
    ["3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0", "3.5.0", "3.6.0"].contains(&version)
}

fn absolute(path: &str) -> Result<(), DocumentError> {
    let Some(names) = path.strip_prefix('/') else { return Err(DocumentError::new("path", "not an absolute path")) };
    match !names.is_empty() && names.split('/').any(|name| matches!(name, "" | ".")) {
        true => Err(DocumentError::new("path", "not the shortest spelling of a path")
            .with_hint("leave out what means nothing: //, /./ and / at the end; Ignition does not take it either")),
        false => Ok(()),
    }
}

/// Which bits mean something depends on the version.
fn known_bits(mode: Option<u16>, version: Option<&Value>) -> Result<(), DocumentError> {
    let special =
        mode.filter(|mode| (0o1000..=0o7777).contains(mode) && version.is_some_and(|version| version != "3.6.0"));
    match special {
        None => Ok(()),
        Some(mode) => Err(DocumentError::new(
            "mode",
            "set-user-ID, set-group-ID and the sticky bit say nothing before version 3.6.0, though Ignition 2.14 to 2.21 set some from 3.4.0 on",
        )
        .with_hint(format!(
            "{} without them, as Ignition 2.22 and newer take it; ignition.version 3.6.0 where they are to be set",
            mode & 0o777
        ))),
    }
}

fn bits(mode: u16) -> Result<operation::Bits, DocumentError> {
    match mode {
        mode @ 0..=0o7777 => Ok(operation::Bits(mode)),
        _ => Err(DocumentError::new("mode", "not permission bits, which are at most 4095 in decimal")),
    }
}

impl Account {
    /// The name or the number, where there is one.
    fn named(self) -> Result<Option<String>, DocumentError> {
        match (self.id, self.name) {
            (Some(_), Some(_)) => Err(DocumentError::new("name", "there is an id too")),
            (Some(id), None) => Ok(Some(id.to_string())),
            (None, name) => Ok(name),
        }
    }
}

/// Whose a node is, and its permission bits, as far as the configuration says so.
struct Attributes {
    mode: Option<operation::Bits>,
    owner: Option<String>,
    group: Option<String>,
}

impl Attributes {
    fn new(mode: Option<u16>, user: Account, group: Account) -> Result<Self, DocumentError> {
        Ok(Self {
            mode: mode.map(bits).transpose()?,
            owner: user.named().map_err(|error| error.within("user"))?,
            group: group.named().map_err(|error| error.within("group"))?,
        })
    }

    /// What sets them; what is not said stays.
    fn set(self, path: &str) -> impl Iterator<Item = Operation> + use<> {
        let Self { mode, owner, group } = self;
        let is_owned = owner.is_some() || group.is_some();
        let chown = is_owned.then(|| Operation::Chown(Owner { path: path.to_owned(), owner, group }));
        // After the owner, whose change takes set-user-ID away.
        chown.into_iter().chain(mode.map(|mode| Operation::Chmod(Mode { path: path.to_owned(), mode })))
    }
}

/// The directories around a file or a link, which are root's where they are new.
fn around(path: &str) -> Operation {
    let root = || Some("0".to_owned());
    Operation::EnsureAround(Owner { path: path.to_owned(), owner: root(), group: root() })
}

/// A file in the place of what is there: of a symbolic link itself, not of the file that it leads to.
fn replaced(write: Write) -> [Operation; 3] {
    [around(&write.path), Operation::RemoveLink(write.path.clone()), Operation::Write(write)]
}

impl Node {
    fn directory(self) -> Result<Vec<Operation>, DocumentError> {
        absolute(&self.path)?;
        if self.overwrite == Some(true) {
            return Err(DocumentError::new("overwrite", "a directory that is there keeps what is in it")
                .with_hint("leave it out; --delete PATH in a run before this one removes it"));
        }
        let attributes = Attributes::new(self.mode, self.user, self.group)?;
        let set = attributes.set(&self.path);
        Ok(std::iter::once(Operation::EnsureDirectory(self.path)).chain(set).collect())
    }
}

impl FileNode {
    fn file(self) -> Result<Vec<Operation>, DocumentError> {
        absolute(&self.path)?;
        if self.contents.compression.is_some_and(|compression| !compression.is_empty()) {
            return Err(DocumentError::new("contents.compression", "the content is not unpacked here")
                .with_hint("give it as it is to be"));
        }
        let attributes = Attributes::new(self.mode, self.user, self.group)?;
        let Some(source) = &self.contents.source else {
            if self.overwrite == Some(true) {
                return Err(DocumentError::new("overwrite", "there are no contents to replace what is there")
                    .with_hint("contents with a source, which may be \"data:,\", or leave overwrite out"));
            }
            let set = attributes.set(&self.path);
            return Ok(std::iter::once(Operation::EnsureFile(self.path)).chain(set).collect());
        };
        let bytes = data(source.0.expose()).map_err(|error| error.within("contents"))?;
        let root = || "0".to_owned();
        // Without overwrite Ignition fails where something is (fileEntry.create of its filesystemEntries.go).
        let expected = (self.overwrite != Some(true))
            .then(|| Operation::ExpectFile(self.path.clone(), Base64(Secret::new(bytes.clone()))));
        let write = replaced(Write {
            path: self.path,
            content: None,
            content_base64: Some(Base64(Secret::new(bytes))),
            mode: attributes.mode.or(Some(operation::Bits(0o644))),
            owner: Some(attributes.owner.unwrap_or_else(root)),
            group: Some(attributes.group.unwrap_or_else(root)),
        });
        Ok(expected.into_iter().chain(write).collect())
    }
}

impl LinkNode {
    fn link(self) -> Result<Vec<Operation>, DocumentError> {
        absolute(&self.path)?;
        match self.hard {
            Some(true) => {
                Err(DocumentError::new("hard", "hard links are not made")
                    .with_hint("a symbolic link, or the file twice"))
            }
            _ => {
                let link = super::Link { target: self.target, path: self.path };
                // As for files (linkEntry.create).
                let expected = (self.overwrite != Some(true)).then(|| Operation::ExpectLink(link.clone()));
                Ok(expected.into_iter().chain([around(&link.path), Operation::Link(link)]).collect())
            }
        }
    }
}

impl Unit {
    fn put(self, at: &str, manifest: &mut Manifest) -> Result<(), DocumentError> {
        let is_name = |name: &str| !name.is_empty() && !name.contains('/');
        if UnitName::parse(&self.name).is_none() {
            return Err(DocumentError::new("name", "no name of a unit"));
        }
        let file = |path: String, contents: Hidden| {
            replaced(Write {
                path,
                content: Some(contents),
                content_base64: None,
                mode: Some(operation::Bits(0o644)),
                owner: Some("0".to_owned()),
                group: Some("0".to_owned()),
            })
        };
        // What is empty is not written: as a file it would mask the unit.
        let is_said = |contents: &Hidden| !contents.0.expose().is_empty();
        let place = format!("/etc/systemd/system/{}", self.name);
        if let Some(contents) = self.contents.filter(is_said) {
            // The mask is a link in their place.
            if self.mask == Some(true) {
                return Err(DocumentError::new("contents", "of a unit that is masked nothing is left of them")
                    .with_hint("leave out mask, or the contents; a unit that is not to start has enabled: false"));
            }
            manifest.put_files(at, file(place.clone(), contents));
        }
        for (index, dropin) in self.dropins.into_iter().enumerate() {
            if !is_name(&dropin.name) || !dropin.name.ends_with(".conf") {
                return Err(DocumentError::new(format!("dropins[{index}].name"), "no name of a drop-in, NAME.conf"));
            }
            if let Some(contents) = dropin.contents.filter(is_said) {
                manifest.put_files(at, file(format!("{place}.d/{}", dropin.name), contents));
            }
        }
        if self.mask == Some(false) {
            manifest.units.unmask.push(self.name.clone());
        }
        match (self.mask, self.enabled) {
            (Some(true), _) => manifest.units.mask.push(self.name),
            (_, Some(true)) => manifest.units.enable.push(self.name),
            (_, Some(false)) => manifest.units.disable.push(self.name),
            _ => {}
        }
        Ok(())
    }
}

/// What a data URL holds (RFC 2397).
fn data(url: &[u8]) -> Result<Vec<u8>, DocumentError> {
    let wrong = |reason: &str| DocumentError::new("source", reason);
    let Some(rest) = url.strip_prefix(b"data:") else {
        return Err(
            wrong("not a data: URL, and nothing is fetched").with_hint("fetch it, and give what it is: data:;base64,…")
        );
    };
    let comma = rest.iter().position(|byte| *byte == b',').ok_or_else(|| wrong("a data: URL without a comma"))?;
    let (kind, data) =
        (&rest[..comma], unescaped(&rest[comma + 1..]).ok_or_else(|| wrong("a % without two hexadecimal digits"))?);
    match kind.ends_with(b";base64") {
        false => Ok(data),
        true => {
            let text = String::from_utf8(data).map_err(|_| wrong("not base64"))?;
            base64ct::Base64::decode_vec(&text).map_err(|_| wrong("not base64"))
        }
    }
}

fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let mut digit = || char::from(*rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high << 4 | low).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_urls() {
        for (url, expected) in [
            ("data:,", &b""[..]),
            ("data:,a%20b%2Cc,d", b"a b,c,d"),
            ("data:text/plain;charset=utf-8,%C3%A9", "é".as_bytes()),
            ("data:;base64,AAEC", b"\0\x01\x02"),
            ("data:text/plain;base64,YQ%3D%3D", b"a"),
        ] {
            assert_eq!(data(url.as_bytes()).unwrap(), expected, "{url}");
        }
        for url in ["https://example.org", "data:", "data:,%", "data:,%4", "data:,%zz", "data:;base64,Y", "", "DATA:,"]
        {
            assert!(data(url.as_bytes()).is_err(), "{url}");
        }
    }
}
