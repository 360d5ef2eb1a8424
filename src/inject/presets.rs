//! Presets of systemd's units: systemd.preset(5).
//!
//! At its first boot (machine-id(5)) a guest's systemd enables what presets say; Fedora's also disables what they do not enable. Links that
//! were made before are gone then, and those that were removed are back, unless a preset says otherwise.

use super::machine_id::is_first_boot;
use super::units::UnitName;
use super::{InjectError, READ_LIMIT, ROOT_DIR, ROOT_FILE};
use imgraft_vfs::fs::Content;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

const DIRECTORY: &str = "/etc/systemd/system-preset";
/// The first one of all: the first line that names a unit counts.
const NAME: &str = "00-imgraft.preset";

/// What is to be of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preset {
    /// It is started.
    Enable,
    /// It is not.
    Disable,
}

/// Has the guest's first boot leave units as they are, where it has that still before it.
pub(super) fn keep(units: &[(UnitName, Preset)], stage: &mut Stage<'_>) -> Result<(), InjectError> {
    if units.is_empty() || !is_first_boot(stage)? {
        return Ok(());
    }
    let directory = GuestPath::parse(DIRECTORY)?;
    let path = directory.join(NAME)?;
    let before = stage.read(&path, READ_LIMIT)?.unwrap_or_default();
    let mut lines: Vec<String> = String::from_utf8_lossy(&before).lines().map(str::to_owned).collect();
    units.iter().for_each(|(unit, preset)| set(&mut lines, unit, *preset));
    stage.create_dirs(&directory, ROOT_DIR)?;
    let text: String = lines.into_iter().map(|line| line + "\n").collect();
    Ok(stage.write(&path, Content::bytes(text.into_bytes()), ROOT_FILE)?)
}

/// Makes the lines say this of a unit, and of a template's other instances what they said.
fn set(lines: &mut Vec<String>, unit: &UnitName, preset: Preset) {
    let template = unit.template();
    let name = template.as_ref().unwrap_or(unit).as_str();
    let mut instances = Vec::new();
    lines.retain(|line| {
        let mut words = line.split_whitespace();
        let (verb, is_of_it) = (words.next(), words.next() == Some(name));
        if is_of_it && verb == Some("enable") {
            instances.extend(words.map(str::to_owned));
        }
        !is_of_it
    });
    let instance = template.as_ref().map(|_| unit.instance());
    instances.retain(|other| Some(other.as_str()) != instance);
    let verb = match preset {
        Preset::Enable => {
            instances.extend(instance.map(str::to_owned));
            "enable"
        }
        Preset::Disable if instances.is_empty() || template.is_none() => {
            instances.clear();
            "disable"
        }
        Preset::Disable => "enable",
    };
    lines.push([&[verb.to_owned(), name.to_owned()][..], &instances].concat().join(" "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_each_unit() {
        let mut lines = vec!["# by hand".to_owned(), "disable a.service".to_owned()];
        for (unit, preset, expected) in [
            ("a.service", Preset::Enable, "# by hand|enable a.service"),
            ("b.timer", Preset::Disable, "# by hand|enable a.service|disable b.timer"),
            ("t@one.service", Preset::Enable, "# by hand|enable a.service|disable b.timer|enable t@.service one"),
            ("a.service", Preset::Disable, "# by hand|disable b.timer|enable t@.service one|disable a.service"),
            ("t@two.service", Preset::Enable, "# by hand|disable b.timer|disable a.service|enable t@.service one two"),
            ("t@two.service", Preset::Enable, "# by hand|disable b.timer|disable a.service|enable t@.service one two"),
            ("t@one.service", Preset::Disable, "# by hand|disable b.timer|disable a.service|enable t@.service two"),
            ("t@.service", Preset::Disable, "# by hand|disable b.timer|disable a.service|disable t@.service"),
        ] {
            set(&mut lines, &UnitName::parse(unit).expect("a name"), preset);
            assert_eq!(lines.join("|"), expected, "{unit} {preset:?}");
        }
    }
}
