//! Renderers: from a [`Config`] to the files that a program of the guest reads. Pure: no I/O.
//!
//! The configuration has been [checked](Config::check). What a program's spelling cannot say is an error that names it.

mod bonding;
mod ifcfg;
mod ifupdown;
mod keyfile;
mod networkd;
mod v1;
mod v2;
mod wicked;

pub(crate) use ifupdown::{dhcp_metric, in_order};
pub(crate) use keyfile::{PRIORITY, hashed_uuid};
pub(crate) use v2::for_network_manager;

use super::config::{Bond, Config, Kind, Link};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;

/// What reads the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Renderer {
    /// ifupdown: interfaces(5).
    Ifupdown(Ifup),
    /// netplan(5).
    Netplan,
    /// systemd.network(5).
    Networkd,
    /// NetworkManager: nm-settings-keyfile(5).
    NetworkManager,
    /// The ifcfg files of Red Hat.
    Ifcfg,
    /// wicked, of SUSE: ifcfg(5).
    Wicked,
    /// cloud-init, which hands it on to what it finds in the guest.
    CloudInit(Gateways),
}

/// How cloud-init is told of a default route of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gateways {
    /// By `gateway6`, as 22.4 and older have to be, which make `::/64` of `::/0`.
    Keys,
    /// By a route, as 23.1 and newer can be, to which the key is deprecated: their status is degraded by it.
    Routes,
}

impl Gateways {
    /// What a version of cloud-init, by its first two numbers, understands; one that is not known is taken for an old one, which
    /// would lose the route.
    pub fn of(version: Option<(u32, u32)>) -> Self {
        if version.is_some_and(|version| version >= (23, 1)) { Self::Routes } else { Self::Keys }
    }
}

/// Which ifupdown it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ifup {
    /// Debian's, which can know a device by its MAC address.
    Debian,
    /// Alpine's ifupdown-ng or busybox's, which go by names only.
    ByName,
}

/// A file of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetFile {
    /// Its absolute path.
    pub path: String,
    /// Its permission bits.
    pub mode: u16,
    /// Its text.
    pub text: String,
}

/// Something that a program's spelling cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inexpressible {
    /// The program.
    pub program: &'static str,
    /// The id of the link.
    pub link: String,
    /// What cannot be said, a noun or a clause.
    pub what: String,
}

impl Inexpressible {
    fn new(program: &'static str, link: &Link, what: impl Into<String>) -> Self {
        Self { program, link: link.id.clone(), what: what.into() }
    }
}

impl fmt::Display for Inexpressible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot express this of the link {:?}: {}", self.program, self.link, self.what)
    }
}

impl std::error::Error for Inexpressible {}

impl Renderer {
    /// The program's usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ifupdown(_) => "ifupdown",
            Self::Netplan => "netplan",
            Self::Networkd => "systemd-networkd",
            Self::NetworkManager => "NetworkManager",
            Self::Ifcfg => "ifcfg",
            Self::Wicked => "wicked",
            Self::CloudInit(_) => "cloud-init",
        }
    }
}

/// The files for a program, sorted by nothing but the order of the links. No two have the same path.
pub fn render(config: &Config, renderer: Renderer) -> Result<Vec<NetFile>, Inexpressible> {
    distinct(config, renderer)?;
    let mut files = match renderer {
        Renderer::Ifupdown(ifup) => ifupdown::render(config, ifup),
        Renderer::Netplan => v2::netplan(config),
        Renderer::Networkd => networkd::render(config),
        Renderer::NetworkManager => keyfile::render(config),
        Renderer::Ifcfg => ifcfg::render(config),
        Renderer::Wicked => wicked::render(&wicked::named(config)),
        Renderer::CloudInit(gateways) => v2::cloud_init(config, gateways),
    }?;
    // netplan and cloud-init see to names themselves, and wicked has rules for udev; for the others udev does it by its own files.
    if !matches!(renderer, Renderer::Netplan | Renderer::Wicked | Renderer::CloudInit(_)) {
        files.extend(config.links.iter().filter_map(|link| networkd::rename(config, link)));
    }
    Ok(files)
}

/// `network-config` of cloud-init's NoCloud, for whichever cloud-init reads it: version 1 where that says what only some of them take from
/// version 2, and version 2 else, by what [`render`] makes for one that is not known.
pub fn network_config(config: &Config) -> Result<Value, Inexpressible> {
    let gateways = Gateways::of(None);
    distinct(config, Renderer::CloudInit(gateways))?;
    let document = v2::network_config(config, gateways)?;
    Ok(if v1::is_better(config) { v1::document(config) } else { document })
}

/// Fails where two links have one name, for programs that go by names of devices, and call one whose name is not known by its id.
fn distinct(config: &Config, renderer: Renderer) -> Result<(), Inexpressible> {
    if !matches!(renderer, Renderer::Ifupdown(_) | Renderer::Ifcfg | Renderer::Wicked | Renderer::CloudInit(_)) {
        return Ok(());
    }
    let mut names = HashSet::new();
    match config.links.iter().find(|link| !names.insert(name(link))) {
        Some(link) => {
            let what = format!("the name {:?}, by which another link goes already", name(link));
            Err(Inexpressible::new(renderer.name(), link, what))
        }
        None => Ok(()),
    }
}

/// Whether a text has [`HEAD`] as its first line, or as its second one, below a line that says of what kind the text is.
pub(crate) fn is_ours(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').take(2).any(|line| line.trim_ascii_end() == HEAD.trim_end().as_bytes())
}

/// The first line of every file that can have a comment.
pub(crate) const HEAD: &str = "# Made by imgraft.\n";

/// Ids in names of files: `@` has a meaning to systemd, and nothing else has. No id has what stands for it.
fn file_name(link: &Link) -> String {
    link.id.replace('@', "=")
}

/// A device's name, or its id where that is not known.
fn name(link: &Link) -> &str {
    link.device().unwrap_or(&link.id)
}

/// Words with a space between them.
fn words<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}

/// Whether a bond is what this link is a member of.
fn is_in_bond(config: &Config, link: &Link) -> bool {
    config.master(&link.id).is_some_and(|master| matches!(master.kind, Kind::Bond(..)))
}

#[cfg(test)]
mod tests {
    use super::Gateways;

    #[test]
    fn routes_are_for_whom_they_are_known_to() {
        for version in [None, Some((20, 4)), Some((22, 4))] {
            assert_eq!(Gateways::of(version), Gateways::Keys, "{version:?}");
        }
        for version in [(23, 1), (23, 4), (25, 1)] {
            assert_eq!(Gateways::of(Some(version)), Gateways::Routes, "{version:?}");
        }
    }
}
