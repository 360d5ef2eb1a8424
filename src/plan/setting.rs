//! Settings of the guest: host keys, locale, keymap, machine ID, units.

use super::faults::Faults;
use super::items::{ONCE, shorten, single};
use crate::cli;
use crate::failure::Failure;
use crate::inject::{HostKeys, Injector, Locale, MachineId, MadeKeys, SettingName, UnitName, Units};
use std::collections::BTreeSet;

/// The settings that were typed.
#[derive(Debug, Default)]
pub(super) struct Settings {
    host_keys: Option<Asked>,
    locale: Option<Locale>,
    machine_id: Option<MachineId>,
    units: Option<Units>,
}

/// That something was asked for which has no value.
#[derive(Clone, Copy, Debug)]
struct Asked;

impl Settings {
    /// What was typed that is right. `called` says what an option is called where it was typed.
    pub(super) fn new(typed: &cli::Setting, called: impl Fn(&str) -> String, faults: &mut Faults) -> Self {
        let mut name = |option: &str, typed: Option<&String>, example: &str| {
            let option = called(option);
            let parse = |typed: &String| {
                SettingName::parse(typed).ok_or_else(|| {
                    Failure::usage(format!("{option} {}: no such name", shorten(typed)))
                        .with_hint(format!("{example}, say"))
                })
            };
            faults.keep(&option, typed.map(parse).transpose()).flatten()
        };
        let language = name("locale", typed.locale.as_ref(), "de_DE.UTF-8");
        let keymap = name("keymap", typed.keymap.as_ref(), "de");
        let option = called("machine-id");
        let parse = |typed: &String| {
            MachineId::parse(typed).ok_or_else(|| {
                Failure::usage(format!("{option} {}: neither empty, nor uninitialized, nor an ID", shorten(typed)))
                    .with_hint("an ID is 32 hexadecimal digits; systemd-id128 new makes one")
            })
        };
        let machine_id = faults.keep(&option, typed.machine_id.as_ref().map(parse).transpose()).flatten();
        let locale = (language.is_some() || keymap.is_some()).then_some(Locale { language, keymap });
        let host_keys = typed.ssh_host_keys.then_some(Asked);
        Self { host_keys, locale, machine_id, units: units(typed, called, faults) }
    }

    /// Has these units not masked any more; `place` is where they stand, for errors.
    pub(super) fn unmask(&mut self, place: &str, typed: &[String]) -> Result<(), Failure> {
        for typed in typed {
            let wrong = || Failure::usage(format!("{place} {}: no name of a unit", shorten(typed))).with_hint(NAME);
            let name = UnitName::of_typed(typed).ok_or_else(wrong)?;
            self.units.get_or_insert_default().unmask.push(name);
        }
        Ok(())
    }

    /// All that two sources ask for.
    pub(super) fn join(self, other: Self) -> Result<Self, Failure> {
        let locale = match (self.locale, other.locale) {
            (Some(one), Some(other)) => Some(Locale {
                language: single("the locale", one.language, other.language)?,
                keymap: single("the keymap", one.keymap, other.keymap)?,
            }),
            (one, other) => one.or(other),
        };
        let machine_id = single("the machine ID", self.machine_id, other.machine_id)?;
        let units = match (self.units, other.units) {
            (Some(one), Some(other)) => Some(joined(one, other)?),
            (one, other) => one.or(other),
        };
        Ok(Self { host_keys: self.host_keys.or(other.host_keys), locale, machine_id, units })
    }

    /// An injector for each; `made` is what becomes of keys that are made.
    pub(super) fn injectors(self, made: MadeKeys) -> impl Iterator<Item = Box<dyn Injector>> {
        let locale = self.locale.map(|locale| Box::new(locale) as Box<dyn Injector>);
        let machine_id = self.machine_id.map(|id| Box::new(id) as Box<dyn Injector>);
        let units = self.units.map(|units| Box::new(units) as Box<dyn Injector>);
        let host_keys = self.host_keys.map(|Asked| Box::new(HostKeys { made }) as Box<dyn Injector>);
        host_keys.into_iter().chain(locale).chain(machine_id).chain(units)
    }

    /// Fails where there are any: a seed has no place for them.
    pub(super) fn check_none(&self) -> Result<(), Failure> {
        let option = match self {
            Self { host_keys: Some(Asked), .. } => "--ssh-host-keys",
            Self { locale: Some(Locale { language: Some(_), .. }), .. } => "--locale",
            Self { locale: Some(_), .. } => "--keymap",
            Self { machine_id: Some(_), .. } => "--machine-id",
            Self { units: Some(_), .. } => "--enable-unit, --disable-unit, --mask-unit",
            _ => return Ok(()),
        };
        Err(Failure::usage(format!("{option}: a seed has no place for it"))
            .with_hint("leave --seed out, and it goes into the guest's own files, or leave it out"))
    }
}

/// What two sources say of units.
fn joined(mut one: Units, other: Units) -> Result<Units, Failure> {
    let known: BTreeSet<_> = one.enable.iter().chain(&one.disable).chain(&one.mask).collect();
    let mut twice = other.enable.iter().chain(&other.disable).chain(&other.mask).filter(|name| known.contains(name));
    if let Some(name) = twice.next() {
        return Err(Failure::usage(format!("the unit {name} is named twice")).with_hint(ONCE));
    }
    one.enable.extend(other.enable);
    one.disable.extend(other.disable);
    one.mask.extend(other.mask);
    one.unmask.extend(other.unmask);
    match one.unmask.iter().find(|name| one.mask.contains(name)) {
        Some(name) => Err(Failure::usage(format!("the unit {name} is to be masked, and not to be")).with_hint(ONCE)),
        None => Ok(one),
    }
}

/// How a unit is named.
const NAME: &str = "ssh.service, say: a unit is named without its directory, and a name without a type is a service's";

/// What is done to units, each of which is named once.
fn units(typed: &cli::Setting, called: impl Fn(&str) -> String, faults: &mut Faults) -> Option<Units> {
    let mut seen = BTreeSet::new();
    let mut names = |option: &str, typed: &[String]| {
        let option = called(option);
        let name = |typed: &str| {
            let usage = |reason: &str| Failure::usage(format!("{option} {}: {reason}", shorten(typed)));
            let name = UnitName::of_typed(typed).ok_or_else(|| usage("no name of a unit").with_hint(NAME))?;
            match seen.insert(name.clone()) {
                true => Ok(name),
                false => Err(usage("something was said of this unit already").with_hint("name each unit once")),
            }
        };
        faults.each(&option, typed, name)
    };
    let enable = names("enable-unit", &typed.enable_unit);
    let disable = names("disable-unit", &typed.disable_unit);
    let mask = names("mask-unit", &typed.mask_unit);
    let is_empty = enable.is_empty() && disable.is_empty() && mask.is_empty();
    (!is_empty).then_some(Units { enable, disable, mask, unmask: Vec::new() })
}
