//! systemd's units enabled, disabled and masked, by the symbolic links that systemctl(1) makes of their `[Install]` sections.

mod error;
mod install;
mod name;
#[cfg(test)]
mod tests;

pub use error::UnitError;
pub use name::UnitName;

use super::files::below::{Walk, below, there};
use super::presets::{self, Preset};
use super::{InjectError, Injector, Item, Outcome, ROOT_DIR, ROOT_FILE, label};
use crate::guest::{Guest, Init};
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use install::Install;
use std::collections::{BTreeSet, VecDeque};

/// Where an administrator's units and links are.
const CONFIG: &str = "/etc/systemd/system";
/// Where units are, the ones that win first (systemd.unit(5)).
const UNITS: [&str; 4] = [CONFIG, "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// How another init starts a service.
const OTHER_INIT: &str = "by OpenRC a service starts with --link /etc/init.d/NAME:/etc/runlevels/default/NAME, and no more with --delete of that \
                          link; by any other with --firstboot-command and what the guest itself has for that (update-rc.d NAME defaults, say)";
/// How many units one `Also=` leads to.
const ALSO_MAX: usize = 64;

/// What is done to units; none is named twice in `enable`, `disable` and `mask`.
#[derive(Clone, Debug, Default)]
pub struct Units {
    /// Those that are enabled.
    pub enable: Vec<UnitName>,
    /// Those that are disabled.
    pub disable: Vec<UnitName>,
    /// Those that are masked.
    pub mask: Vec<UnitName>,
    /// Those that lose an administrator's mask, where they have one, before anything else is done to them.
    pub unmask: Vec<UnitName>,
}

impl Injector for Units {
    fn item(&self) -> Item {
        Item::Units
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        if guest.init == Init::Other {
            return Err(InjectError::OnlySystemd { what: "a unit", way: OTHER_INIT });
        }
        let before = stage.savepoint();
        let mut outcome = Outcome::default();
        let mut presets = Vec::new();
        for unit in &self.unmask {
            unmask(unit, stage, &mut outcome)?;
        }
        for unit in &self.disable {
            presets.extend(disable(unit, stage)?.into_iter().map(|unit| (unit, Preset::Disable)));
        }
        for unit in &self.mask {
            mask(unit, stage, &mut outcome)?;
        }
        for unit in &self.enable {
            presets.push((enable(unit, &self.disable, stage, &mut outcome)?, Preset::Enable));
        }
        presets::keep(&presets, stage)?;
        label::label_new(guest, stage, &before, &mut outcome)?;
        Ok(outcome)
    }
}

/// A unit as it is found.
#[derive(Debug)]
enum Found {
    /// Its file, which for an instance may be that of its template.
    File(GuestPath),
    /// Nothing is to start it.
    Masked(GuestPath),
    /// A link to a unit of another name.
    Alias(String),
    Missing,
}

fn find(unit: &UnitName, stage: &Stage<'_>) -> Result<Found, InjectError> {
    for name in std::iter::once(unit.clone()).chain(unit.template()) {
        for directory in UNITS {
            let path = GuestPath::parse(directory)?.join(name.as_str())?;
            let size = match there(stage.symlink_metadata(&path))? {
                None | Some(FileType::Directory) => continue,
                Some(FileType::Symlink) => {
                    let target = stage.symlink_target(&path)?.unwrap_or_default();
                    let last = target.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                    if target == b"/dev/null" {
                        return Ok(Found::Masked(path));
                    }
                    if last != name.as_str().as_bytes() {
                        return Ok(Found::Alias(String::from_utf8_lossy(last).into_owned()));
                    }
                    stage.metadata(&path)?.map(|metadata| metadata.size)
                }
                Some(_) => stage.metadata(&path)?.map(|metadata| metadata.size),
            };
            return Ok(match size {
                Some(0) => Found::Masked(path),
                Some(_) => Found::File(path),
                None => Found::Missing,
            });
        }
    }
    Ok(Found::Missing)
}

/// Makes the links of a unit's `[Install]` section, and of those that this names, but for the `disabled`. The unit, of a template the
/// instance.
fn enable(
    unit: &UnitName,
    disabled: &[UnitName],
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<UnitName, InjectError> {
    let mut enabled = unit.clone();
    let mut seen = BTreeSet::from([unit.clone()]);
    let mut queue = VecDeque::from([unit.clone()]);
    while let Some(next) = queue.pop_front() {
        let is_asked_for = next == *unit;
        let found = match find(&next, stage)? {
            Found::File(path) => path,
            // What another names only is passed over, and that is said.
            _ if !is_asked_for => {
                outcome.notes.push(format!("{unit} names {next}, which the guest does not have, or has masked"));
                continue;
            }
            Found::Masked(path) => return Err(UnitError::Masked { unit: next.to_string(), path }.into()),
            Found::Alias(real) => return Err(UnitError::Alias { unit: next.to_string(), real }.into()),
            Found::Missing => return Err(missing(&next, "enable", stage)?.into()),
        };
        let install = Install::read(&next, &found, &UNITS, stage)?;
        let instance = next.with_default(install.default_instance.as_deref());
        if install.is_empty() && is_asked_for {
            return Err(UnitError::NothingToInstall { unit: next.to_string(), path: found }.into());
        }
        let Some(instance) = instance else { return Err(UnitError::NoInstance { unit: next.to_string() }.into()) };
        if is_asked_for {
            enabled = instance.clone();
        }
        for alias in install.names(&install.alias, &instance)? {
            // That of a template is one, and that of an instance of its name.
            let alias = alias.instance_like(&next);
            if !instance.can_be_called(&alias) {
                return Err(UnitError::BadAlias { unit: next.to_string(), alias: alias.to_string() }.into());
            }
            if alias != instance {
                link(&GuestPath::parse(CONFIG)?.join(alias.as_str())?, &found, stage)?;
            }
        }
        for (by, suffix) in
            [(&install.wanted_by, "wants"), (&install.required_by, "requires"), (&install.upheld_by, "upholds")]
        {
            for target in install.names(by, &instance)? {
                let directory = GuestPath::parse(CONFIG)?.join(format!("{target}.{suffix}"))?;
                stage.create_dirs(&directory, ROOT_DIR)?;
                link(&directory.join(instance.as_str())?, &found, stage)?;
            }
        }
        for also in install.names(&install.also, &instance)? {
            if seen.len() >= ALSO_MAX || !seen.insert(also.clone()) {
                continue;
            }
            if disabled.contains(&also) {
                outcome.notes.push(format!("{next} is enabled with {also} (Also=), which is disabled as asked"));
            } else {
                queue.push_back(also);
            }
        }
    }
    Ok(enabled)
}

fn link(at: &GuestPath, target: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    if let Some(kind) = there(stage.symlink_metadata(at))? {
        // By another name of the same directory, /lib, it is the same file.
        let same = kind == FileType::Symlink && stage.resolve(at).ok() == Some(stage.resolve(target)?);
        return if same { Ok(()) } else { Err(UnitError::InTheWay { path: at.clone() }.into()) };
    }
    Ok(stage.symlink(at, target.as_bytes(), ROOT_FILE)?)
}

/// Removes all links of an administrator's to a unit, whoever made them, and those of the units that its `Also=` leads to. All of them, but
/// nothing where the unit is masked.
fn disable(unit: &UnitName, stage: &mut Stage<'_>) -> Result<BTreeSet<UnitName>, InjectError> {
    let mut gone = BTreeSet::from([unit.clone()]);
    let mut queue = VecDeque::from([unit.clone()]);
    while let Some(next) = queue.pop_front() {
        let path = match find(&next, stage)? {
            Found::File(path) => path,
            _ if next != *unit => continue,
            Found::Masked(_) => return Ok(BTreeSet::new()),
            Found::Alias(real) => return Err(UnitError::Alias { unit: unit.to_string(), real }.into()),
            Found::Missing => return Err(missing(unit, "disable", stage)?.into()),
        };
        let install = Install::read(&next, &path, &UNITS, stage)?;
        let instance = next.with_default(install.default_instance.as_deref()).unwrap_or_else(|| next.clone());
        for also in install.names(&install.also, &instance)? {
            if gone.len() < ALSO_MAX && gone.insert(also.clone()) {
                queue.push_back(also);
            }
        }
        gone.insert(instance);
    }
    let mut links = Vec::new();
    for (path, kind) in below(&GuestPath::parse(CONFIG)?, stage, &mut Walk::default())? {
        if kind == FileType::Symlink {
            links.push((path.clone(), stage.symlink_target(&path)?.unwrap_or_default()));
        }
    }
    let is_named =
        |name: &[u8]| UnitName::parse(&String::from_utf8_lossy(name)).is_some_and(|name| gone.contains(&name));
    let is_instance = |name: &[u8]| {
        let template = UnitName::parse(&String::from_utf8_lossy(name)).and_then(|name| name.template());
        template.is_some_and(|template| gone.contains(&template))
    };
    let last = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
    for (path, target) in links {
        let names = [last(path.as_bytes()), last(&target)];
        // A mask of a unit's own stays; those of a template's instances go with it, as systemctl(1) has it.
        let is_mask = target == b"/dev/null";
        if !names.iter().any(|name| is_instance(name) || (!is_mask && is_named(name))) {
            continue;
        }
        stage.remove(&path)?;
        let directory = path.parent().filter(|directory| directory.as_bytes() != CONFIG.as_bytes());
        if let Some(directory) = directory
            && stage.read_dir(&directory)?.is_some_and(|entries| entries.is_empty())
        {
            stage.remove(&directory)?;
        }
    }
    Ok(gone)
}

/// Keeps a unit from being started by whatever.
fn mask(unit: &UnitName, stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let path = GuestPath::parse(CONFIG)?.join(unit.as_str())?;
    match there(stage.symlink_metadata(&path))? {
        None => {
            if matches!(find(unit, stage)?, Found::Missing) {
                outcome.notes.push(format!("the guest has no unit {unit}: it is masked for when there is one"));
            }
            stage.create_dirs(&GuestPath::parse(CONFIG)?, ROOT_DIR)?;
            Ok(stage.symlink(&path, b"/dev/null", ROOT_FILE)?)
        }
        Some(FileType::Symlink) if stage.symlink_target(&path)?.as_deref() == Some(b"/dev/null") => Ok(()),
        Some(_) => Err(UnitError::InTheWay { path }.into()),
    }
}

/// Takes away an administrator's link to /dev/null. What else masks the unit stays.
fn unmask(unit: &UnitName, stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let path = GuestPath::parse(CONFIG)?.join(unit.as_str())?;
    let is_link = there(stage.symlink_metadata(&path))? == Some(FileType::Symlink);
    if is_link && stage.symlink_target(&path)?.as_deref() == Some(b"/dev/null") {
        stage.remove(&path)?;
    }
    if let Found::Masked(path) = find(unit, stage)? {
        outcome.notes.push(format!("{unit} is masked all the same, by {path}"));
    }
    Ok(())
}

fn missing(unit: &UnitName, verb: &'static str, stage: &Stage<'_>) -> Result<UnitError, InjectError> {
    let script = unit.as_str().strip_suffix(".service").unwrap_or_default();
    let script = GuestPath::parse("/etc/init.d")?.join(script);
    let is_script = match script {
        Ok(script) => there(stage.metadata(&script))? == Some(FileType::Regular),
        Err(_) => false,
    };
    Ok(UnitError::NoSuchUnit { unit: unit.to_string(), verb, is_script })
}
