//! Which devices NetworkManager's own configuration has it leave alone: NetworkManager.conf(5).
//!
//! What `/run` and udev's rules say is not known before the guest runs.

use super::{FILES_MAX, LIMIT, Reader, glob};
use crate::net::config::Mac;
use imgraft_vfs::Result;
use std::collections::BTreeMap;

const MAIN: &str = "/etc/NetworkManager/NetworkManager.conf";
/// Of two files of a name the one of the first directory counts.
const ETC: &str = "/etc/NetworkManager/conf.d";
const USR: &str = "/usr/lib/NetworkManager/conf.d";
/// The section that holds for all devices, and is asked last.
const EVERY: &str = "device";
/// The most specs and sections that are looked at.
const ENTRIES_MAX: usize = 4096;

/// What is said of devices, as far as that has NetworkManager leave some alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unmanaged {
    /// `unmanaged-devices` of `[keyfile]`: each spec, and the file that has it.
    specs: Vec<(String, String)>,
    /// The `[device…]` sections, in the order of their first files, those of a file from below.
    sections: Vec<Section>,
    /// A file that counts only if something holds that is known when the guest runs.
    conditional: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Section {
    name: String,
    specs: Option<Vec<String>>,
    /// What it says, and in which file.
    managed: Option<(bool, String)>,
    stops: bool,
}

/// A device, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// The MAC address of its maker.
    pub mac: Option<Mac>,
    /// Its type, as connections have it.
    pub kind: Option<&'a str>,
}

/// What becomes of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// NetworkManager sees to it.
    Managed,
    /// It leaves it alone, as this file says.
    Unmanaged(&'a str),
    /// It may leave it alone: this file goes by what is not known here.
    Unknown(&'a str),
}

impl Unmanaged {
    pub(super) fn inspect(reader: &Reader<'_>) -> Result<Self> {
        let names = |directory: &str| -> Result<BTreeMap<String, String>> {
            let names = reader.names(directory)?.into_iter().filter(|name| name.ends_with(".conf")).take(FILES_MAX);
            Ok(names.map(|name| (name.clone(), format!("{directory}/{name}"))).collect())
        };
        let etc = names(ETC)?;
        let usr = names(USR)?.into_iter().filter(|(name, _)| !etc.contains_key(name)).map(|(_, path)| path);
        let mut found = Self::default();
        for path in usr.chain([MAIN.to_owned()]).chain(etc.values().cloned()) {
            if let Some(text) = reader.file_lenient(&path, LIMIT)? {
                found.read(&path, &String::from_utf8_lossy(&text));
            }
        }
        Ok(found)
    }

    /// Adds a file, of which what it says goes before what is there.
    fn read(&mut self, path: &str, text: &str) {
        let sections = sections(text);
        let mut enable = sections.iter().filter(|(name, _)| *name == ".config").flat_map(|(_, entries)| entries);
        match enable.rfind(|(key, _)| *key == "enable").map(|(_, value)| boolean(value)) {
            None | Some(Some(true)) => {}
            Some(Some(false)) => return,
            Some(None) => {
                let is_about = |(section, entries): &(&str, Vec<(&str, &str)>)| {
                    let mut keys = entries.iter().map(|(key, _)| *key);
                    section.starts_with(EVERY) || *section == "keyfile" && keys.any(|key| key.starts_with("unmanaged"))
                };
                if sections.iter().any(is_about) {
                    self.conditional = Some(path.to_owned());
                }
                return;
            }
        }
        for (key, value) in sections.iter().filter(|(name, _)| *name == "keyfile").flat_map(|(_, entries)| entries) {
            let specs = specs(value);
            match *key {
                "unmanaged-devices-" => self.specs.retain(|(spec, _)| !specs.contains(spec)),
                "unmanaged-devices" | "unmanaged-devices+" => {
                    if !key.ends_with('+') {
                        self.specs.clear();
                    }
                    self.specs.extend(specs.into_iter().map(|spec| (spec, path.to_owned())));
                    self.specs.truncate(ENTRIES_MAX);
                }
                _ => {}
            }
        }
        for (name, entries) in sections.into_iter().rev().filter(|(name, _)| name.starts_with(EVERY)) {
            if !self.sections.iter().any(|section| section.name == name) && self.sections.len() < ENTRIES_MAX {
                self.sections.push(Section { name: name.to_owned(), ..Section::default() });
            }
            let Some(section) = self.sections.iter_mut().find(|section| section.name == name) else { continue };
            for (key, value) in entries {
                match key {
                    "match-device" => section.specs = Some(specs(value)),
                    "managed" => section.managed = boolean(value).map(|managed| (managed, path.to_owned())),
                    "stop-match" => section.stops = boolean(value) == Some(true),
                    _ => {}
                }
            }
        }
    }

    /// Whether NetworkManager sees to a device.
    pub fn verdict(&self, device: Device<'_>) -> Verdict<'_> {
        let known = self.known(device);
        match &self.conditional {
            Some(path) => Verdict::Unknown(path),
            None => known,
        }
    }

    /// The same without the files that may not count.
    fn known(&self, device: Device<'_>) -> Verdict<'_> {
        let words = self.specs.iter().map(|(spec, _)| spec.as_str());
        // Of several files it is the last one that has added to it.
        let by = self.specs.last().map_or("", |(_, path)| path.as_str());
        match matches(words, device) {
            Some(true) => return Verdict::Unmanaged(by),
            None => return Verdict::Unknown(by),
            Some(false) => {}
        }
        let (every, others): (Vec<&Section>, Vec<&Section>) =
            self.sections.iter().partition(|section| section.name == EVERY);
        let mut doubt = None;
        for section in others.into_iter().rev().chain(every) {
            let is_match = match &section.specs {
                _ if section.managed.is_none() && !section.stops => continue,
                Some(specs) => matches(specs.iter().map(String::as_str), device),
                None => Some(true),
            };
            match (is_match, &section.managed) {
                (Some(false), _) => {}
                (Some(true), Some((false, path))) => return doubt.map_or(Verdict::Unmanaged(path), Verdict::Unknown),
                (Some(true), _) => return doubt.map_or(Verdict::Managed, Verdict::Unknown),
                (None, Some((_, path))) => doubt = Some(path.as_str()),
                (None, None) => {}
            }
        }
        doubt.map_or(Verdict::Managed, Verdict::Unknown)
    }
}

/// Whether a list of specs is about a device; `None` where that is not known.
fn matches<'a>(specs: impl Iterator<Item = &'a str>, device: Device<'_>) -> Option<bool> {
    let (mut excepted, mut matched) = (Some(false), None);
    // What is true of one is true of all; what is not known of one is not known, unless another is true.
    let or = |all: Option<bool>, one: Option<bool>| match (all, one) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (None, _) | (_, None) => None,
        (Some(false), Some(false)) => Some(false),
    };
    let mut is_empty = true;
    for spec in specs {
        is_empty = false;
        let except = spec.split_once(':').filter(|(tag, _)| tag.eq_ignore_ascii_case("except"));
        match except.map(|(_, spec)| spec) {
            Some(spec) => excepted = or(excepted, is_about(spec, device)),
            None => matched = Some(or(matched.unwrap_or(Some(false)), is_about(spec, device))),
        }
    }
    // Where there are exceptions only, all others match.
    let matched = matched.unwrap_or(Some(!is_empty));
    match (excepted, matched) {
        (Some(true), _) | (_, Some(false)) => Some(false),
        (Some(false), matched) => matched,
        (None, _) => None,
    }
}

/// Whether one spec, without an exception, is about a device.
fn is_about(spec: &str, device: Device<'_>) -> Option<bool> {
    let by_mac = |mac: Mac| Some(device.mac? == mac);
    // An escape may be of anything.
    if spec.contains('\\') {
        return None;
    }
    let mac = |text: &str| Mac::parse(text).map_or(Some(false), by_mac);
    let Some((tag, value)) = spec.split_once(':') else {
        return if spec == "*" { Some(true) } else { Some(device.name? == spec) };
    };
    match tag.to_ascii_lowercase().as_str() {
        "interface-name" => match value.strip_prefix('=') {
            Some(name) => Some(device.name? == name),
            None => {
                let pattern = value.strip_prefix('~').unwrap_or(value);
                if pattern == "*" { Some(true) } else { Some(glob(pattern.as_bytes(), device.name?.as_bytes())) }
            }
        },
        "mac" => mac(value),
        "type" => Some(device.kind? == value),
        "driver" | "s390-subchannels" | "dhcp-plugin" => None,
        _ => mac(spec),
    }
}

fn specs(value: &str) -> Vec<String> {
    value.split([',', ';']).map(str::trim).filter(|spec| !spec.is_empty()).map(str::to_owned).collect()
}

/// As NetworkManager reads it (`_nm_utils_ascii_str_to_bool`); `None` for anything else.
fn boolean(value: &str) -> Option<bool> {
    let is = |words: [&str; 4]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    match () {
        () if is(["true", "yes", "on", "1"]) => Some(true),
        () if is(["false", "no", "off", "0"]) => Some(false),
        () => None,
    }
}

/// The sections in the order in which they begin, each with its entries.
fn sections(text: &str) -> Vec<(&str, Vec<(&str, &str)>)> {
    let mut sections: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
    let mut current = None;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            // One that is there already goes on.
            current = sections.iter().position(|(found, _)| *found == name).or(Some(sections.len()));
            if current == Some(sections.len()) {
                sections.push((name, Vec::new()));
            }
        } else if let Some((key, value)) = line.split_once('=')
            && let Some((_, entries)) = current.and_then(|current| sections.get_mut(current))
        {
            entries.push((key.trim(), value.trim()));
        }
    }
    sections
}
