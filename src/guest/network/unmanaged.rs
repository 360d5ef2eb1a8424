//! Which devices NetworkManager's own configuration has it leave alone, and where it has the connections: NetworkManager.conf(5).
//!
//! What `/run` and udev's rules say is not known before the guest runs.

use super::device_spec::{Device, is_about, matches, specs};
use super::key_file::{Sections, entries, sections};
use super::{FILES_MAX, LIMIT, Reader, interfaces};
use crate::guest::mounts::is_never_seen;
use imgraft_vfs::Result;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::resolve::Follow;
use std::collections::{BTreeMap, BTreeSet};

const MAIN: &str = "/etc/NetworkManager/NetworkManager.conf";
/// Of two files of a name the one of the first directory counts.
const ETC: &str = "/etc/NetworkManager/conf.d";
const USR: &str = "/usr/lib/NetworkManager/conf.d";
/// Where it reads the guest's connections, unless told otherwise.
pub const KEYFILES: &str = "/etc/NetworkManager/system-connections";
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
    /// The first file with which NetworkManager does not start.
    broken: Option<Broken>,
}

/// A file with which NetworkManager does not start: `read_entire_config` of its sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The file.
    pub path: String,
    /// What is wrong with it, for people.
    pub why: String,
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
    /// Whether there is the plugin for ifcfg files, where that is said.
    has_ifcfg: Option<bool>,
    /// What it reads in the place of [`KEYFILES`], if that is so.
    elsewhere: Option<Elsewhere>,
}

/// A directory other than the usual one, or none, where that is empty; and what says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The directory as it is said.
    pub directory: String,
    /// The file that says it.
    pub path: String,
    /// Whether that counts only if something holds that is known when the guest runs.
    pub is_conditional: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Section {
    name: String,
    specs: Option<Vec<String>>,
    /// What it says, and in which file.
    managed: Option<(bool, String)>,
    stops: bool,
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
            } else if let Some(why) = fault(reader, &path)? {
                found.is_broken_by(&path, why.to_owned());
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
        let sections = match sections(text) {
            Ok(sections) => sections,
            Err(bad) => return self.is_broken_by(path, bad.to_string()),
        };
        // The main one counts, whatever it says of that.
        let mut enable = entries(&sections, ".config").filter(|_| path != MAIN);
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

    fn is_broken_by(&mut self, path: &str, why: String) {
        self.broken.get_or_insert_with(|| Broken { path: path.to_owned(), why });
    }

    /// The file with which NetworkManager does not start, if there is one.
    pub fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// The directory that it reads in the place of [`KEYFILES`], if it does or may do so.
    pub fn elsewhere(&self) -> Option<Elsewhere> {
        let (sure, all) = (self.sure.elsewhere.as_ref(), self.all.elsewhere.as_ref());
        let is_conditional = sure.is_some() != all.is_some();
        sure.or(all).map(|elsewhere| Elsewhere { is_conditional, ..elsewhere.clone() })
    }

    /// Whether NetworkManager has its plugin for ifcfg files, where that is installed.
    pub(super) fn has_ifcfg(&self) -> bool {
        // Where nothing is said, it has all that are installed.
        [&self.sure, &self.all].into_iter().any(|rules| rules.has_ifcfg != Some(false))
    }

    /// Whether NetworkManager sees to a device, were it not for the list of devices in the file `but_for`.
    pub fn verdict(&self, device: Device<'_>, but_for: Option<&str>) -> Verdict<'_> {
        match (self.sure.verdict(device, but_for), self.all.verdict(device, but_for)) {
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
            let has = |name| specs(value).any(|plugin| plugin == name);
            let (ifupdown, ifcfg) = (has("ifupdown"), has("ifcfg-rh"));
            match key {
                "plugins" => (self.has_ifupdown, self.has_ifcfg) = (ifupdown, Some(ifcfg)),
                "plugins+" => {
                    self.has_ifupdown |= ifupdown;
                    self.has_ifcfg = if ifcfg { Some(true) } else { self.has_ifcfg };
                }
                "plugins-" => {
                    self.has_ifupdown &= !ifupdown;
                    self.has_ifcfg = if ifcfg { Some(false) } else { self.has_ifcfg };
                }
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
                "path" => {
                    let (directory, path) = (value.to_owned(), path.to_owned());
                    let elsewhere = Elsewhere { directory, path, is_conditional: false };
                    self.elsewhere = Some(elsewhere).filter(|_| !is_usual(value));
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
                    "match-device-" => {
                        let taken: BTreeSet<&str> = specs(value).collect();
                        section.specs.get_or_insert_default().retain(|spec| !taken.contains(spec.as_str()));
                    }
                    "match-device" | "match-device+" => {
                        if !key.ends_with('+') {
                            section.specs = None;
                        }
                        let room = ENTRIES_MAX.saturating_sub(self.matched);
                        let specs: Vec<String> = specs(value).take(room).map(str::to_owned).collect();
                        self.matched = self.matched.saturating_add(specs.len());
                        section.specs.get_or_insert_default().extend(specs);
                    }
                    // What is neither is taken for a yes.
                    "managed" => section.managed = Some((boolean(value).unwrap_or(true), path.to_owned())),
                    "stop-match" => section.stops = boolean(value) == Some(true),
                    _ => {}
                }
            }
        }
    }

    fn verdict(&self, device: Device<'_>, but_for: Option<&str>) -> Verdict<'_> {
        let mut specs = self.specs.iter().filter(|(_, path)| Some(path.as_str()) != but_for);
        let is_match = matches(specs.clone().map(|(spec, _)| spec.as_str()), device);
        if is_match != Some(false) {
            // Where there are exceptions only, none is about it.
            let last = specs.clone().next_back();
            let by = specs.rfind(|(spec, _)| is_about(spec, device) == is_match).or(last);
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

/// Whether a `path=` is where it reads the connections anyhow (`nms_keyfile_plugin_init` of its sources): one that is no path from the root
/// it passes over, and an empty one is none at all.
fn is_usual(path: &str) -> bool {
    let names = path.split('/').filter(|name| !matches!(*name, "" | "."));
    !path.is_empty() && (!path.starts_with('/') || names.eq(KEYFILES.split('/').skip(1)))
}

/// What is wrong with what is at the path of a file; systemd's way of switching a file off is an error to NetworkManager. Without the main file
/// it starts (`read_base_config` of its sources), and what a link to `/run` leads to is there when it does.
fn fault(reader: &Reader<'_>, path: &str) -> Result<Option<&'static str>> {
    let place = reader.place(path, Follow::All)?;
    let is_off = place.as_ref().is_some_and(|at| at.as_bytes() == b"/dev/null");
    Ok(match reader.find(path, Follow::All)? {
        Some((_, file_type)) if file_type != FileType::Regular => Some("it is no regular file"),
        Some(_) => None,
        None if is_off => Some("it is no regular file"),
        None if path == MAIN || place.is_some_and(|at| is_never_seen(at.as_bytes())) => None,
        None => Some("it is a link that leads to nothing"),
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::mem::MemFs;

    const NAMED: Device<'_> = Device { name: Some("eth0"), pattern: None, mac: None, kind: Some("ethernet") };

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
            assert_eq!(found.verdict(NAMED, None), Verdict::Managed);
        }
        // What is beyond the bound counts as missing.
        let filled = |bytes: usize| {
            let filler = |number: usize| (format!("{USR}/{number}.conf"), "#".repeat(bytes));
            let files = (0..4).map(filler).chain([(MAIN.to_owned(), "[keyfile]\nunmanaged-devices=eth0\n".to_owned())]);
            of(&files.collect::<Vec<_>>()).verdict(NAMED, None) == Verdict::Unmanaged(MAIN)
        };
        assert!(filled(200_000) && !filled(usize::try_from(LIMIT).unwrap()));
    }
}
