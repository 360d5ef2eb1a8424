//! The scripts of earlier runs, which no boot has run yet.

use super::{COMMAND, INSTALL, NUMBER_MAX, PLACE, PROGRAM, Script};
use crate::inject::InjectError;
use imgraft_vfs::fs::{FileType, SetAttrs};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// A permission bit (inode(7)).
const OWNER_EXECUTES: u16 = 0o100;
/// How many scripts of one name and length that are there are compared with one that is put in.
pub(super) const COMPARED_MAX: usize = 64;

/// What waits for the first boot already.
pub(super) struct Waiting {
    /// The names of the scripts, each with its number.
    names: BTreeSet<String>,
    /// The last number that anything has, be it a link, which is not to be written through.
    pub(super) last: u16,
}

impl Waiting {
    pub(super) fn inspect(stage: &Stage<'_>, place: &GuestPath) -> Result<Self, InjectError> {
        let (mut names, mut last) = (BTreeSet::new(), 0);
        for entry in stage.read_dir(place)?.unwrap_or_default() {
            let Ok(name) = String::from_utf8(entry.name) else { continue };
            let Some((number, _)) = parts(&name) else { continue };
            last = last.max(number);
            if entry.file_type == FileType::Regular {
                names.insert(name);
            }
        }
        Ok(Self { names, last })
    }

    /// A sentence on one of the name of a file, which is another one.
    pub(super) fn namesake(&self, script: &Script) -> Option<String> {
        let is_file = !matches!(&*script.name, COMMAND | INSTALL);
        let other =
            self.names.iter().find(|name| is_file && parts(name).is_some_and(|(_, rest)| rest == script.name))?;
        Some(format!(
            "{PLACE}/{other} of an earlier run is another one of this name, and runs too: --delete takes it away"
        ))
    }

    /// Takes the first one that is the same to the byte and has a number past `done`, and has it run: its number.
    pub(super) fn take(
        &mut self,
        script: &Script,
        done: u16,
        stage: &mut Stage<'_>,
    ) -> Result<Option<u16>, InjectError> {
        let Some((number, name)) = self.find(script, done.saturating_add(1)..=NUMBER_MAX, stage)? else {
            return Ok(None);
        };
        let path = GuestPath::parse(format!("{PLACE}/{name}"))?;
        if stage.metadata(&path)?.is_some_and(|metadata| metadata.mode & OWNER_EXECUTES == 0) {
            stage.set_attrs(&path, SetAttrs { mode: Some(PROGRAM.mode), ..SetAttrs::default() })?;
        }
        self.names.remove(&name);
        Ok(Some(number))
    }

    /// A sentence on one that is the same and comes too early to be taken.
    pub(super) fn twin(&self, script: &Script, done: u16, stage: &Stage<'_>) -> Result<Option<String>, InjectError> {
        let found = self.find(script, 0..=done, stage)?;
        Ok(found.map(|(_, name)| {
            format!(
                "{PLACE}/{name} of an earlier run is the same, and runs too, before what this run has put in: --delete takes it away"
            )
        }))
    }

    /// The first one of these numbers that is the same to the byte.
    fn find(
        &self,
        script: &Script,
        numbers: RangeInclusive<u16>,
        stage: &Stage<'_>,
    ) -> Result<Option<(u16, String)>, InjectError> {
        let size = u64::try_from(script.text.len()).unwrap_or(u64::MAX);
        let mut compared = 0;
        for name in &self.names {
            let Some((number, rest)) = parts(name) else { continue };
            let path = GuestPath::parse(format!("{PLACE}/{name}"))?;
            if rest != script.name
                || !numbers.contains(&number)
                || stage.metadata(&path)?.is_none_or(|metadata| metadata.size != size)
            {
                continue;
            }
            if stage.read(&path, size)?.is_some_and(|text| text == script.text) {
                return Ok(Some((number, name.clone())));
            }
            compared += 1;
            if compared == COMPARED_MAX {
                break;
            }
        }
        Ok(None)
    }
}

/// `0001-name` in its parts.
fn parts(name: &str) -> Option<(u16, &str)> {
    let (number, rest) = name.split_at_checked(4)?;
    let number = number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some((number, rest.strip_prefix('-')?))
}
