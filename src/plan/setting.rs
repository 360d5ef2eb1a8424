//! Settings of the guest: locale, keymap, machine ID, units.

use super::items::shorten;
use crate::cli;
use crate::failure::Failure;
use crate::inject::{Injector, Locale, MachineId, SettingName, UnitName, Units};
use std::collections::BTreeSet;

/// The settings that were typed.
#[derive(Debug, Default)]
pub(super) struct Settings {
    locale: Option<Locale>,
    machine_id: Option<MachineId>,
    units: Option<Units>,
}

impl Settings {
    pub(super) fn new(typed: &cli::Setting) -> Result<Self, Failure> {
        let name = |option: &str, typed: Option<&String>, example: &str| {
            let parse = |typed: &String| {
                SettingName::parse(typed).ok_or_else(|| {
                    Failure::usage(format!("{option} {}: no such name", shorten(typed)))
                        .with_hint(format!("{option} {example}, say"))
                })
            };
            typed.map(parse).transpose()
        };
        let language = name("--locale", typed.locale.as_ref(), "de_DE.UTF-8")?;
        let keymap = name("--keymap", typed.keymap.as_ref(), "de")?;
        let parse = |typed: &String| {
            MachineId::parse(typed).ok_or_else(|| {
                Failure::usage(format!("--machine-id {}: neither empty, nor uninitialized, nor an ID", shorten(typed)))
                    .with_hint("an ID is 32 hexadecimal digits; systemd-id128 new makes one")
            })
        };
        let machine_id = typed.machine_id.as_ref().map(parse).transpose()?;
        let locale = (language.is_some() || keymap.is_some()).then_some(Locale { language, keymap });
        Ok(Self { locale, machine_id, units: units(typed)? })
    }

    /// An injector for each.
    pub(super) fn injectors(self) -> impl Iterator<Item = Box<dyn Injector>> {
        let locale = self.locale.map(|locale| Box::new(locale) as Box<dyn Injector>);
        let machine_id = self.machine_id.map(|id| Box::new(id) as Box<dyn Injector>);
        let units = self.units.map(|units| Box::new(units) as Box<dyn Injector>);
        locale.into_iter().chain(machine_id).chain(units)
    }

    /// Fails where there are any: a seed has no place for them.
    pub(super) fn check_none(&self) -> Result<(), Failure> {
        let option = match self {
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

/// What is done to units, each of which is named once.
fn units(typed: &cli::Setting) -> Result<Option<Units>, Failure> {
    let mut seen = BTreeSet::new();
    let mut names = |option: &str, typed: &[String]| -> Result<Vec<UnitName>, Failure> {
        let name = |typed: &String| {
            let usage = |reason: &str| Failure::usage(format!("{option} {}: {reason}", shorten(typed)));
            let name = UnitName::of_typed(typed).ok_or_else(|| usage("no name of a unit"))?;
            match seen.insert(name.clone()) {
                true => Ok(name),
                false => Err(usage("something was said of this unit already").with_hint("name each unit once")),
            }
        };
        typed.iter().map(name).collect()
    };
    let enable = names("--enable-unit", &typed.enable_unit)?;
    let disable = names("--disable-unit", &typed.disable_unit)?;
    let mask = names("--mask-unit", &typed.mask_unit)?;
    let is_empty = enable.is_empty() && disable.is_empty() && mask.is_empty();
    Ok((!is_empty).then_some(Units { enable, disable, mask }))
}
