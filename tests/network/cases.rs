//! The descriptions of testdata/network, and what they are compiled to.

use imgraft::net::config::Config;
use imgraft::net::read::{self, flags::Flags};
use imgraft::net::render::{Gateways, Ifup, NetFile, Renderer, render};
use std::path::PathBuf;

/// All programs, each by the name of its goldens.
pub const RENDERERS: [(&str, Renderer); 9] = [
    ("ifupdown", Renderer::Ifupdown(Ifup::Debian)),
    ("ifupdown-by-name", Renderer::Ifupdown(Ifup::ByName)),
    ("netplan", Renderer::Netplan),
    ("networkd", Renderer::Networkd),
    ("networkmanager", Renderer::NetworkManager),
    ("ifcfg", Renderer::Ifcfg),
    ("wicked", Renderer::Wicked),
    ("cloud-init", Renderer::CloudInit(Gateways::Routes)),
    ("cloud-init-22", Renderer::CloudInit(Gateways::Keys)),
];

/// A description.
#[derive(Clone, Debug)]
pub struct Case {
    /// The name of its file.
    pub name: String,
    /// What it says.
    pub config: Config,
}

impl Case {
    /// What a program gets; `None` where it has no words for it.
    pub fn files(&self, renderer: Renderer) -> Option<Vec<NetFile>> {
        render(&self.config, renderer).ok()
    }
}

pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/network")
}

/// All descriptions, by name.
pub fn cases() -> Vec<Case> {
    let mut paths: Vec<_> = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    let cases: Vec<_> = paths.iter().map(|path| case(path)).collect();
    assert!(cases.len() > 10);
    cases
}

fn case(path: &std::path::Path) -> Case {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let text = std::fs::read_to_string(path).unwrap();
    let config = if name.ends_with(".flags") { flags(&text) } else { read::document(&text) };
    Case { config: config.unwrap_or_else(|error| panic!("{name}: {error}")), name }
}

fn flags(text: &str) -> Result<Config, imgraft::config_drive::DocumentError> {
    let mut flags = Flags::default();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap();
        match word {
            "--ip" => flags.addresses.push(imgraft::net::Cidr::parse(value()).unwrap()),
            "--gateway" => flags.gateways.push(value().parse().unwrap()),
            "--dns" => flags.servers.push(value().parse().unwrap()),
            "--nic" => flags.device = Some(value().to_owned()),
            "--dhcp" => flags.dhcp = true,
            other => panic!("{other}"),
        }
    }
    read::flags::config(&flags)
}
