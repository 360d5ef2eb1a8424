//! Whether a guest starts a service at boot: by systemd's units and presets, OpenRC's runlevels, or System V's links.

use super::Reader;
use super::init::{Init, has_systemd};
use imgraft_vfs::Result;
use std::collections::BTreeMap;

/// Where units are, the ones that win first (systemd.unit(5)).
pub(super) const UNITS: [&str; 4] =
    ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// Where presets are, the ones that win first (systemd.preset(5)).
const PRESETS: [&str; 4] = [
    "/etc/systemd/system-preset",
    "/usr/local/lib/systemd/system-preset",
    "/usr/lib/systemd/system-preset",
    "/lib/systemd/system-preset",
];
/// The program of OpenRC's, which does not look at System V's links.
const OPENRC: [&str; 3] = ["/sbin/openrc", "/usr/sbin/openrc", "/usr/bin/openrc"];
/// OpenRC's runlevels of a boot.
const RUNLEVELS: [&str; 3] = ["/etc/runlevels/sysinit", "/etc/runlevels/boot", "/etc/runlevels/default"];
/// System V's directories of a boot.
pub(super) const SCRIPTS: [&str; 7] =
    ["/etc/rcS.d", "/etc/rc2.d", "/etc/rc3.d", "/etc/rc5.d", "/etc/rc.d/rc2.d", "/etc/rc.d/rc3.d", "/etc/rc.d/rc5.d"];
/// The most rules of presets that are looked at, the longest pattern of them in bytes (no name of a unit is longer), and the largest
/// file in bytes.
const RULES_MAX: usize = 4096;
const PATTERN_MAX: usize = 255;
const PRESET_LIMIT: u64 = 256 * 1024;
/// The largest unit that is looked at, in bytes.
const TEXT_LIMIT: u64 = 64 * 1024;

/// How many files of presets are looked at, and how many of OpenRC's runlevels.
const FILES_MAX: usize = 256;
/// How many directories of links are looked at, and how many of these are read through ahead.
const WANTS_MAX: usize = 256;
const LISTED_MAX: usize = 64;

/// A service by the names that init systems have for it; empty where one knows it not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    pub(super) unit: &'static str,
    pub(super) openrc: &'static str,
    pub(super) script: &'static str,
}

/// Whether a service is started at boot.
#[derive(Debug)]
pub(super) enum Start {
    /// It is not there.
    Missing,
    /// It is, or may be.
    Possible,
    /// It is not.
    Never(Idle),
}

/// Why a service that is there is not started at boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// This file masks its unit; `is_behind`, where the unit is there without it.
    Masked {
        /// The path.
        path: String,
        /// Whether a unit is behind it.
        is_behind: bool,
    },
    /// Nothing enables its unit.
    Disabled,
    /// It is in none of OpenRC's runlevels.
    InNoRunlevel,
    /// None of System V's links starts its script.
    NotLinked,
}

/// What a guest starts.
#[derive(Debug)]
pub(super) struct Units<'a> {
    reader: &'a Reader<'a>,
    /// The directories of links to units that a target wants.
    wants: Vec<String>,
    init: Init,
    has_systemd: bool,
    /// Of a guest that has not been booted: the rules for what is enabled then, and the file of each.
    presets: Option<Vec<(Rule, String)>>,
}

#[derive(Clone, Debug)]
struct Rule {
    enable: bool,
    pattern: String,
}

impl<'a> Units<'a> {
    pub(super) fn new(reader: &'a Reader<'a>) -> Result<Self> {
        let init = Init::inspect(reader)?;
        let mut wants = Vec::new();
        // Packages leave them there for a systemd that is to come.
        for directory in UNITS.iter().filter(|_| init != Init::Other) {
            let names = reader.names(directory)?;
            let is_link_directory = |name: &String| name.ends_with(".wants") || name.ends_with(".requires");
            let mut found: Vec<_> = names.into_iter().filter(is_link_directory).collect();
            // What is shown is the usual one, where it is one of several.
            found.sort_by_key(|name| name != "multi-user.target.wants");
            wants.extend(found.into_iter().map(|name| format!("{directory}/{name}")));
            wants.truncate(WANTS_MAX);
        }
        for directory in wants.iter().take(LISTED_MAX) {
            // One question for each instead of one for each service.
            reader.names(directory)?;
        }
        let has_systemd = init != Init::Other && has_systemd(reader)?;
        let presets = if has_systemd && is_first_boot(reader)? { Some(presets(reader)?) } else { None };
        Ok(Self { reader, wants, init, has_systemd, presets })
    }

    /// What shows that a service is started at boot: the link that has it started.
    pub(super) fn started(&self, service: Service) -> Result<Option<String>> {
        if !service.unit.is_empty() {
            if self.masked(service.unit)?.is_some() {
                return Ok(None);
            }
            let wants = if self.is_there(service.unit)? { &self.wants[..] } else { &[] };
            for directory in wants {
                let path = format!("{directory}/{}", service.unit);
                if self.reader.exists(&path)? {
                    return Ok(Some(path));
                }
            }
        }
        if !service.openrc.is_empty() && self.init != Init::Systemd {
            for runlevel in RUNLEVELS {
                let path = format!("{runlevel}/{}", service.openrc);
                if self.reader.exists(&path)? {
                    return Ok(Some(path));
                }
            }
        }
        // systemd starts a script only where there is no unit of its name.
        let has_unit = self.has_systemd && !service.unit.is_empty() && self.unit(service.unit)?.is_some();
        if service.script.is_empty() || has_unit {
            return Ok(None);
        }
        for directory in SCRIPTS {
            let is_start = |name: &String| {
                let rest = name.strip_prefix('S').and_then(|rest| rest.strip_suffix(service.script));
                rest.is_some_and(|number| number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit()))
            };
            if let Some(name) = self.reader.names(directory)?.into_iter().find(is_start) {
                return Ok(Some(format!("{directory}/{name}")));
            }
        }
        Ok(None)
    }

    /// Whether a service is started at boot, be it by a preset.
    pub(super) fn is_enabled(&self, service: Service) -> Result<bool> {
        Ok(self.started(service)?.is_some() || self.preset(service.unit)?.is_some())
    }

    /// The file of presets by which systemd enables a unit at the first boot; `None` also where the guest has been booted.
    pub(super) fn preset(&self, unit: &str) -> Result<Option<String>> {
        if unit.is_empty() || self.masked(unit)?.is_some() {
            return Ok(None);
        }
        // What no rule speaks of is enabled, but nobody has said so: it counts for nothing here.
        let Some((Rule { enable: true, .. }, file)) = self.rule(unit) else { return Ok(None) };
        Ok(self.unit(unit)?.is_some().then(|| file.clone()))
    }

    /// The rule of presets for a unit, with its file.
    fn rule(&self, unit: &str) -> Option<&(Rule, String)> {
        self.presets.iter().flatten().find(|(rule, _)| glob(rule.pattern.as_bytes(), unit.as_bytes()))
    }

    /// Whether a service is started at boot, where that is known for certain.
    pub(super) fn start(&self, service: Service) -> Result<Start> {
        if self.init == Init::Other {
            // An older Gentoo has both, and chooses by the kernel's command line.
            if has_systemd(self.reader)? {
                return Ok(Start::Possible);
            }
            for program in OPENRC {
                if self.reader.exists(program)? {
                    return self.start_by_openrc(service.openrc);
                }
            }
        }
        if self.started(service)?.is_some() || self.wants.len() >= WANTS_MAX {
            return Ok(Start::Possible);
        }
        match self.init {
            Init::Unknown => Ok(Start::Possible),
            Init::Systemd => self.start_of_unit(service.unit),
            Init::Other => self.start_of_script(service.script),
        }
    }

    fn start_of_unit(&self, unit: &str) -> Result<Start> {
        let Some(path) = self.unit(unit)?.filter(|_| !unit.is_empty()) else { return Ok(Start::Missing) };
        if self.reader.is_masked(&path)? {
            let mut is_behind = false;
            for other in UNITS.map(|directory| format!("{directory}/{unit}")) {
                is_behind |= self.reader.exists(&other)? && !self.reader.is_masked(&other)?;
            }
            return Ok(Start::Never(Idle::Masked { path, is_behind }));
        }
        // One that has no such section is started by something else, or by nobody.
        let text = self.reader.file_lenient(&path, TEXT_LIMIT)?.unwrap_or_default();
        let can_be_enabled = String::from_utf8_lossy(&text).lines().any(|line| line.trim() == "[Install]");
        // What no rule speaks of is enabled at the first boot.
        let is_enabled = self.presets.is_some() && self.rule(unit).is_none_or(|(rule, _)| rule.enable);
        Ok(if is_enabled || !can_be_enabled { Start::Possible } else { Start::Never(Idle::Disabled) })
    }

    /// Whether a unit is there, and not masked.
    pub(super) fn can_start(&self, unit: &str) -> Result<bool> {
        Ok(self.unit(unit)?.is_some() && self.masked(unit)?.is_none())
    }

    /// The paths of what systemd reads at a boot: of the units that others want, and of what is added to targets.
    pub(super) fn texts_of_a_boot(&self) -> Result<Vec<String>> {
        let mut directories = self.wants.clone();
        for directory in UNITS.iter().filter(|_| self.init != Init::Other) {
            let names = self.reader.names(directory)?.into_iter().filter(|name| name.ends_with(".target.d"));
            directories.extend(names.take(WANTS_MAX).map(|name| format!("{directory}/{name}")));
        }
        let mut paths = Vec::new();
        for directory in directories {
            paths.extend(self.reader.names(&directory)?.into_iter().map(|name| format!("{directory}/{name}")));
        }
        Ok(paths)
    }

    fn start_by_openrc(&self, script: &str) -> Result<Start> {
        if !self.has_script(script)? {
            return Ok(Start::Missing);
        }
        let runlevels = self.reader.names("/etc/runlevels")?;
        let mut may_start = runlevels.len() > FILES_MAX;
        for runlevel in runlevels.iter().take(FILES_MAX) {
            let names = self.reader.names(&format!("/etc/runlevels/{runlevel}"))?;
            // Or an instance, `sshd.NAME`.
            may_start |= names.iter().any(|name| name.split('.').next() == Some(script));
        }
        Ok(if may_start { Start::Possible } else { Start::Never(Idle::InNoRunlevel) })
    }

    fn start_of_script(&self, script: &str) -> Result<Start> {
        if !self.has_script(script)? {
            return Ok(Start::Missing);
        }
        // Links are of no matter to an init that has no inittab(5).
        let are_followed = self.reader.exists("/etc/inittab")? && !self.reader.names("/etc/rc2.d")?.is_empty();
        Ok(if are_followed { Start::Never(Idle::NotLinked) } else { Start::Possible })
    }

    fn has_script(&self, script: &str) -> Result<bool> {
        Ok(!script.is_empty() && self.reader.exists(&format!("/etc/init.d/{script}"))?)
    }

    /// Whether there is what a link to a unit starts: links stay behind when a package goes. Where there is no unit, a script of its
    /// name stands in (systemd-sysv-generator(8)).
    fn is_there(&self, unit: &str) -> Result<bool> {
        if self.unit(unit)?.is_some() {
            return Ok(true);
        }
        match unit.strip_suffix(".service") {
            Some(script) => self.reader.exists(&format!("/etc/init.d/{script}")),
            None => Ok(false),
        }
    }

    /// The file of a unit.
    fn unit(&self, unit: &str) -> Result<Option<String>> {
        for directory in UNITS {
            let path = format!("{directory}/{unit}");
            if self.reader.exists(&path)? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Where a unit is masked; `None` where it is not.
    pub(super) fn masked(&self, unit: &str) -> Result<Option<String>> {
        if unit.is_empty() || self.init == Init::Other {
            return Ok(None);
        }
        match self.unit(unit)? {
            Some(path) if self.reader.is_masked(&path)? => Ok(Some(path)),
            _ => Ok(None),
        }
    }
}

/// Whether systemd takes the next boot for the first one: machine-id(5).
fn is_first_boot(reader: &Reader<'_>) -> Result<bool> {
    Ok(match reader.file_lenient("/etc/machine-id", 4096)? {
        None => true,
        Some(text) => text.trim_ascii() == b"uninitialized",
    })
}

/// The rules in the order in which they are looked at.
fn presets(reader: &Reader<'_>) -> Result<Vec<(Rule, String)>> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for directory in PRESETS {
        for name in reader.names(directory)?.into_iter().filter(|name| name.ends_with(".preset")) {
            // A file takes the place of those of its name in the directories behind.
            let path = format!("{directory}/{name}");
            files.entry(name).or_insert(path);
        }
    }
    let mut rules = Vec::new();
    for path in files.into_values().take(FILES_MAX) {
        let text = reader.file_lenient(&path, PRESET_LIMIT)?.unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            let mut words = line.split_whitespace();
            let enable = match words.next() {
                Some("enable") => true,
                Some("disable") => false,
                _ => continue,
            };
            if let Some(pattern) = words.next().filter(|pattern| pattern.len() <= PATTERN_MAX) {
                rules.push((Rule { enable, pattern: pattern.to_owned() }, path.clone()));
            }
            if rules.len() >= RULES_MAX {
                return Ok(rules);
            }
        }
    }
    Ok(rules)
}

/// Whether a pattern of glob(7), of which only `*` and `?` are known, matches a name. Its steps are bounded by the product of
/// both lengths.
pub(crate) fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // The last star, and how far the name was eaten by it.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, eaten)) => {
                    star = Some((at, eaten + 1));
                    p = at + 1;
                    n = eaten + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, is_match) in [
            ("*", "a", true),
            ("systemd-networkd.service", "systemd-networkd.service", true),
            ("systemd-*.service", "systemd-networkd.service", true),
            ("systemd-*d.*", "systemd-networkd.service", true),
            ("*?", "", false),
            ("?", "a", true),
            ("a*b*c", "axxbxxb", false),
            ("a*b*c", "axxbxxbc", true),
            ("", "", true),
            ("", "a", false),
            ("*.socket", "a.service", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), is_match, "{pattern} {name}");
        }
    }
}
