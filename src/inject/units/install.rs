//! The `[Install]` section of a unit, with its drop-ins: systemd.unit(5).

use super::{InjectError, UnitError, UnitName};
use crate::inject::files::below::there;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use std::collections::BTreeMap;

/// The largest unit file, how many drop-ins of one, and how many names a setting has.
const LIMIT: u64 = 1 << 20;
const DROP_INS_MAX: usize = 256;
const NAMES_MAX: usize = 1024;

/// What a unit says of how it is enabled.
#[derive(Debug, Default)]
pub(super) struct Install {
    unit: String,
    pub(super) wanted_by: Vec<String>,
    pub(super) required_by: Vec<String>,
    pub(super) upheld_by: Vec<String>,
    pub(super) alias: Vec<String>,
    pub(super) also: Vec<String>,
    pub(super) default_instance: Option<String>,
}

impl Install {
    /// Reads the file of a unit and its drop-ins.
    pub(super) fn read(
        unit: &UnitName,
        file: &GuestPath,
        directories: &[&str],
        stage: &Stage<'_>,
    ) -> Result<Self, InjectError> {
        let mut install = Self { unit: unit.to_string(), ..Self::default() };
        install.add(&stage.read(file, LIMIT)?.unwrap_or_default());
        // A file takes the place of those of its name in the directories behind.
        let mut drop_ins: BTreeMap<Vec<u8>, GuestPath> = BTreeMap::new();
        for directory in directories {
            for name in std::iter::once(unit.clone()).chain(unit.template()) {
                let place = GuestPath::parse(directory)?.join(format!("{name}.d"));
                let Ok(place) = place else { continue };
                if there(stage.metadata(&place))? != Some(FileType::Directory) {
                    continue;
                }
                for entry in stage.read_dir(&place)?.unwrap_or_default() {
                    if entry.name.ends_with(b".conf") {
                        let path = place.join(&entry.name)?;
                        drop_ins.entry(entry.name).or_insert(path);
                    }
                }
            }
        }
        for path in drop_ins.values().take(DROP_INS_MAX) {
            if there(stage.metadata(path))? == Some(FileType::Regular) {
                install.add(&stage.read(path, LIMIT)?.unwrap_or_default());
            }
        }
        Ok(install)
    }

    fn add(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let mut is_install = false;
        let mut continued = String::new();
        for line in text.lines() {
            let line = line.trim();
            if line.starts_with(['#', ';']) || (line.is_empty() && continued.is_empty()) {
                continue;
            }
            if let Some(line) = line.strip_suffix('\\') {
                continued.push_str(line);
                continued.push(' ');
                continue;
            }
            let whole = std::mem::take(&mut continued) + line;
            if let Some(section) = whole.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                is_install = section == "Install";
            } else if let Some((key, value)) = whole.split_once('=').filter(|_| is_install) {
                self.set(key.trim(), value.trim());
            }
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        let list = match key {
            "WantedBy" => &mut self.wanted_by,
            "RequiredBy" => &mut self.required_by,
            "UpheldBy" => &mut self.upheld_by,
            "Alias" => &mut self.alias,
            "Also" => &mut self.also,
            "DefaultInstance" => {
                self.default_instance = Some(value.to_owned()).filter(|value| !value.is_empty());
                return;
            }
            _ => return,
        };
        if value.is_empty() {
            list.clear();
        }
        let names = value.split_whitespace().map(|name| name.trim_matches(['"', '\'']).to_owned());
        list.extend(names.take(NAMES_MAX.saturating_sub(list.len())));
    }

    /// Whether it says nothing by which anything is enabled.
    pub(super) fn is_empty(&self) -> bool {
        [&self.wanted_by, &self.required_by, &self.upheld_by, &self.alias, &self.also]
            .iter()
            .all(|list| list.is_empty())
    }

    /// The names of a setting, as they are for this instance.
    pub(super) fn names(&self, list: &[String], instance: &UnitName) -> Result<Vec<UnitName>, UnitError> {
        let name = |text: &String| {
            let name = instance.expand(text).and_then(|name| UnitName::parse(&name));
            name.ok_or_else(|| UnitError::BadName { unit: self.unit.clone(), name: text.escape_debug().to_string() })
        };
        list.iter().map(name).collect()
    }
}
