//! Which devices NetworkManager's own configuration has it leave alone: NetworkManager.conf(5).
//!
//! What `/run` and udev's rules say is not known before the guest runs.

use super::{FILES_MAX, LIMIT, Reader, glob, interfaces};
use crate::net::config::Mac;
use imgraft_vfs::Result;
use std::collections::{BTreeMap, BTreeSet};

const MAIN: &str = "/etc/NetworkManager/NetworkManager.conf";
/// Of two files of a name the one of the first directory counts.
const ETC: &str = "/etc/NetworkManager/conf.d";
const USR: &str = "/usr/lib/NetworkManager/conf.d";
/// The section that holds for all devices, and is asked last.
const EVERY: &str = "device";
/// The most that is read of all files together, in bytes; a file that is beyond it counts as missing.
const BYTES_MAX: u64 = 1024 * 1024;
/// The most sections of devices that are looked at, the most specs in all of them, and the most specs of `[keyfile]`.
const ENTRIES_MAX: usize = 4096;

/// What is said of devices, as far as that has NetworkManager leave some alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unmanaged {
    /// By the files that count in any case.
    sure: Rules,
    /// By these, and by those that count only if something holds that is known when the guest runs.
    all: Rules,
    /// One of the latter.
    conditional: Option<String>,
}

/// What files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rules {
    /// `unmanaged-devices` of `[keyfile]`, and what the plugin for interfaces(5) adds to it: each spec, and the file that has it.
    specs: Vec<(String, String)>,
    /// The `[device…]` sections, in the order of their first files, those of a file from below.
    sections: Vec<Section>,
    /// The place of each of them by its name.
    places: BTreeMap<String, usize>,
    /// How many specs were read of them.
    matched: usize,
    /// Whether there is the plugin for interfaces(5).
    has_ifupdown: bool,
    /// Whether it sees to the devices that stand there.
    manages_ifupdown: bool,
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
        let mut left = BYTES_MAX;
        for path in usr.chain([MAIN.to_owned()]).chain(etc.values().cloned()) {
            if let Some(text) = reader.file_lenient(&path, LIMIT.min(left))? {
                left = left.saturating_sub(u64::try_from(text.len()).unwrap_or(u64::MAX));
                found.read(&path, &String::from_utf8_lossy(&text));
            }
        }
        let rules = [&mut found.sure, &mut found.all];
        let leaving: Vec<_> = rules.into_iter().filter(|rules| rules.has_ifupdown && !rules.manages_ifupdown).collect();
        if !leaving.is_empty() {
            let names = interfaces::names(reader)?;
            for rules in leaving {
                let named = names.iter().map(|(name, path)| (format!("interface-name:={name}"), path.clone()));
                rules.specs.extend(named.take(ENTRIES_MAX));
            }
        }
        Ok(found)
    }

    /// Adds a file, of which what it says goes before what is there.
    fn read(&mut self, path: &str, text: &str) {
        let sections = sections(text);
        let mut enable = entries(&sections, ".config");
        match enable.find(|(key, _)| *key == "enable").map(|(_, value)| boolean(value)) {
            None | Some(Some(true)) => {
                self.sure.read(path, &sections);
                self.all.read(path, &sections);
            }
            Some(Some(false)) => {}
            Some(None) => {
                let before = self.all.clone();
                self.all.read(path, &sections);
                if self.all != before {
                    self.conditional = Some(path.to_owned());
                }
            }
        }
    }

    /// Whether NetworkManager sees to a device.
    pub fn verdict(&self, device: Device<'_>) -> Verdict<'_> {
        match (self.sure.verdict(device), self.all.verdict(device)) {
            (Verdict::Managed, Verdict::Managed) => Verdict::Managed,
            (Verdict::Unmanaged(path), Verdict::Unmanaged(_)) => Verdict::Unmanaged(path),
            (Verdict::Unknown(path), _) | (_, Verdict::Unknown(path)) => Verdict::Unknown(path),
            (Verdict::Managed, Verdict::Unmanaged(path)) | (Verdict::Unmanaged(path), Verdict::Managed) => {
                Verdict::Unknown(self.conditional.as_deref().unwrap_or(path))
            }
        }
    }
}

impl Rules {
    /// Adds a file, of which what it says goes before what is there.
    fn read(&mut self, path: &str, found: &Sections<'_>) {
        for (key, value) in entries(found, "main") {
            let is_there = specs(value).any(|plugin| plugin == "ifupdown");
            match key {
                "plugins" => self.has_ifupdown = is_there,
                "plugins+" => self.has_ifupdown |= is_there,
                "plugins-" => self.has_ifupdown &= !is_there,
                _ => {}
            }
        }
        for (_, value) in entries(found, "ifupdown").filter(|(key, _)| *key == "managed") {
            self.manages_ifupdown = boolean(value) == Some(true);
        }
        for (key, value) in entries(found, "keyfile") {
            match key {
                "unmanaged-devices-" => {
                    let specs: BTreeSet<&str> = specs(value).collect();
                    self.specs.retain(|(spec, _)| !specs.contains(spec.as_str()));
                }
                "unmanaged-devices" | "unmanaged-devices+" => {
                    if !key.ends_with('+') {
                        self.specs.clear();
                    }
                    let room = ENTRIES_MAX.saturating_sub(self.specs.len());
                    self.specs.extend(specs(value).take(room).map(|spec| (spec.to_owned(), path.to_owned())));
                }
                _ => {}
            }
        }
        for (name, entries) in found.iter().rev().filter(|(name, _)| name.starts_with(EVERY)) {
            let place = match self.places.get(*name) {
                Some(place) => *place,
                None if self.sections.len() < ENTRIES_MAX => {
                    self.places.insert((*name).to_owned(), self.sections.len());
                    self.sections.push(Section { name: (*name).to_owned(), ..Section::default() });
                    self.sections.len().saturating_sub(1)
                }
                None => continue,
            };
            let Some(section) = self.sections.get_mut(place) else { continue };
            for (key, value) in entries {
                match *key {
                    "match-device" => {
                        let room = ENTRIES_MAX.saturating_sub(self.matched);
                        let specs: Vec<String> = specs(value).take(room).map(str::to_owned).collect();
                        self.matched = self.matched.saturating_add(specs.len());
                        section.specs = Some(specs);
                    }
                    "managed" => section.managed = boolean(value).map(|managed| (managed, path.to_owned())),
                    "stop-match" => section.stops = boolean(value) == Some(true),
                    _ => {}
                }
            }
        }
    }

    fn verdict(&self, device: Device<'_>) -> Verdict<'_> {
        let is_match = matches(self.specs.iter().map(|(spec, _)| spec.as_str()), device);
        if is_match != Some(false) {
            // Where there are exceptions only, none is about it.
            let by = self.specs.iter().rfind(|(spec, _)| is_about(spec, device) == is_match).or(self.specs.last());
            let by = by.map_or("", |(_, path)| path.as_str());
            return if is_match.is_some() { Verdict::Unmanaged(by) } else { Verdict::Unknown(by) };
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
        match exception(spec) {
            // Without a tag it is none of a device (`match_device_eval` of its sources).
            Some(spec) => excepted = or(excepted, tagged(spec, device).unwrap_or(Some(false))),
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

/// What a spec excepts, if it does.
fn exception(spec: &str) -> Option<&str> {
    spec.split_once(':').filter(|(tag, _)| tag.eq_ignore_ascii_case("except")).map(|(_, spec)| spec)
}

/// Whether one spec is about a device, be it one of an exception.
fn is_about(spec: &str, device: Device<'_>) -> Option<bool> {
    let spec = exception(spec).unwrap_or(spec);
    tagged(spec, device).unwrap_or_else(|| match Mac::parse(spec) {
        Some(mac) => Some(device.mac? == mac),
        None => Some(device.name? == spec),
    })
}

/// The same of one that says what it goes by; `None` of a bare name or MAC address.
fn tagged(spec: &str, device: Device<'_>) -> Option<Option<bool>> {
    let is_name = |is_it: &dyn Fn(&str) -> bool| device.name.map(is_it);
    // An escape may be of anything.
    if spec.contains('\\') {
        return Some(None);
    }
    if spec == "*" {
        return Some(Some(true));
    }
    let (tag, value) = spec.split_once(':')?;
    Some(match tag.to_ascii_lowercase().as_str() {
        "interface-name" => match value.strip_prefix('=') {
            Some(name) => is_name(&|found| found == name),
            None => match value.strip_prefix('~').unwrap_or(value) {
                "*" => Some(true),
                pattern => is_name(&|found| glob(pattern.as_bytes(), found.as_bytes())),
            },
        },
        "mac" => match Mac::parse(value) {
            Some(mac) => device.mac.map(|found| found == mac),
            None => Some(false),
        },
        "type" => device.kind.map(|kind| kind == value),
        "driver" | "s390-subchannels" | "dhcp-plugin" => None,
        _ => return None,
    })
}

fn specs(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', ';']).map(str::trim).filter(|spec| !spec.is_empty())
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

/// The sections of a file in the order in which they begin, each with its entries.
type Sections<'a> = Vec<(&'a str, Vec<(&'a str, &'a str)>)>;

/// The entries of one of them.
fn entries<'a>(sections: &Sections<'a>, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    sections.iter().find(|(found, _)| *found == name).into_iter().flat_map(|(_, entries)| entries.iter().copied())
}

/// The sections of a text: one that is there already goes on, and of an entry that is there twice the last value counts.
fn sections(text: &str) -> Sections<'_> {
    let mut sections: Sections<'_> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut keys: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    let mut current = None;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let place = *places.entry(name).or_insert(sections.len());
            if place == sections.len() {
                sections.push((name, Vec::new()));
            }
            current = Some(place);
        } else if let Some((key, value)) = line.split_once('=')
            && let Some(place) = current
            && let Some((_, entries)) = sections.get_mut(place)
        {
            let (key, value) = (key.trim(), value.trim());
            match keys.get(&(place, key)).and_then(|at| entries.get_mut(*at)) {
                Some(entry) => entry.1 = value,
                None => {
                    keys.insert((place, key), entries.len());
                    entries.push((key, value));
                }
            }
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::mem::MemFs;

    const NAMED: Device<'_> = Device { name: Some("eth0"), mac: None, kind: Some("ethernet") };

    fn of(files: &[(String, String)]) -> Unmanaged {
        let guest = files.iter().fold(MemFs::builder(), |guest, (path, text)| guest.file(path, text.as_str()));
        Unmanaged::inspect(&Reader::new(&guest.build().unwrap())).unwrap()
    }

    /// As many files as are looked at, each as large as one may be.
    fn many(text: &dyn Fn(usize) -> String) -> Unmanaged {
        let limit = usize::try_from(LIMIT).unwrap();
        let file = |number: usize| {
            let mut text = text(number);
            text.truncate(limit);
            let directory = if number.is_multiple_of(2) { ETC } else { USR };
            (format!("{directory}/{number:04}.conf"), text)
        };
        of(&(0..FILES_MAX * 2).map(file).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let list = "a,".repeat(200_000);
        let sections = |number: usize| (0..20_000).map(|n| format!("[device-{number}-{n}]\n")).collect::<String>();
        for found in [
            many(&|number| format!("[device-{number}]\nmanaged=0\nmatch-device={list}")),
            many(&|_| format!("[keyfile]\nunmanaged-devices+={list}")),
            many(&|number| {
                format!("[.config]\nenable=x\n[keyfile]\nunmanaged-devices-={number}\nunmanaged-devices+={list}")
            }),
            many(&|_| "[keyfile]\n".to_owned() + &"unmanaged-devices-=a,b\nunmanaged-devices+=a\n".repeat(8000)),
            many(&sections),
        ] {
            for rules in [&found.sure, &found.all] {
                assert!(rules.specs.len() <= ENTRIES_MAX && rules.sections.len() <= ENTRIES_MAX);
                assert!(rules.sections.iter().flat_map(|section| &section.specs).flatten().count() <= ENTRIES_MAX);
            }
            assert_eq!(found.verdict(NAMED), Verdict::Managed);
        }
        // What is beyond the bound counts as missing.
        let filled = |bytes: usize| {
            let filler = |number: usize| (format!("{USR}/{number}.conf"), "#".repeat(bytes));
            let files = (0..4).map(filler).chain([(MAIN.to_owned(), "[keyfile]\nunmanaged-devices=eth0\n".to_owned())]);
            of(&files.collect::<Vec<_>>()).verdict(NAMED) == Verdict::Unmanaged(MAIN)
        };
        assert!(filled(200_000) && !filled(usize::try_from(LIMIT).unwrap()));
    }
}
