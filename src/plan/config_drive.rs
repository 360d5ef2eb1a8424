//! A validated run of `config-drive create`.

use super::instance::{self, DOCUMENT_MAX};
use super::{Output, now};
use crate::cli;
use crate::config_drive::document::{self, DriveFormat};
use crate::config_drive::{Flavour, Instance, Layout, Spelling, read};
use crate::failure::Failure;
use crate::inject::Revealed;
use imgraft_vfs::fs::Timestamp;
use imgraft_vfs::transaction::Existing;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A run of `config-drive create`.
#[derive(Debug)]
pub struct CreateDrives {
    /// Of which instances, and where to.
    pub drives: Drives,
    /// How every drive is made.
    pub manner: Manner,
    /// How to report.
    pub output: Output,
}

/// Which drives.
#[derive(Debug)]
pub enum Drives {
    /// One.
    One {
        /// Of this instance.
        instance: Box<Instance>,
        /// The new file.
        path: PathBuf,
        /// A password that was made up for it.
        revealed: Option<Revealed>,
    },
    /// One of each line of a file, all of which are right.
    Many {
        /// The file.
        lines: JsonLines,
        /// How many they are.
        count: usize,
        /// What the drives are called.
        name: Name,
    },
}

/// How a drive is made.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Its format; `None` for what the document says.
    pub format: Option<Format>,
    /// The size of a vfat drive, in bytes.
    pub size: u64,
    /// Its layout.
    pub layout: Layout,
    /// Whose.
    pub flavour: Flavour,
    /// What happens to a file that is there.
    pub existing: Existing,
    /// The time of the drive and of its files.
    pub now: Timestamp,
}

/// The formats of drives.
pub type Format = DriveFormat;

impl CreateDrives {
    /// Validates what was typed, and reads the host files that it names.
    pub fn new(typed: cli::Create) -> Result<Self, Failure> {
        let flavour = match typed.compat {
            None => Flavour::Imgraft,
            Some(cli::DriveCompat::Nova) => Flavour::Nova,
            Some(cli::DriveCompat::NovaGrizzly) => Flavour::NovaGrizzly,
        };
        let layout = match typed.layout {
            cli::DriveLayout::OpenStack => Layout::OpenStack,
            cli::DriveLayout::NoCloud => Layout::NoCloud,
        };
        if layout == Layout::NoCloud && flavour != Flavour::Imgraft {
            return Err(Failure::usage("--compat nova goes with --layout openstack: Nova makes no NoCloud drives"));
        }
        let format = typed.format.map(|format| match format {
            cli::DriveFormat::Iso9660 => document::DriveFormat::Iso9660,
            cli::DriveFormat::Vfat => document::DriveFormat::Vfat,
        });
        let existing = if typed.force { Existing::Replace } else { Existing::Refuse };
        let manner = Manner { format, size: typed.size << 20, layout, flavour, existing, now: now()? };
        let drives = match typed.instances {
            None => {
                let seed = typed.random_seed.as_deref();
                let (instance, revealed) = instance::instance(typed.instance.as_deref(), typed.facts, seed, flavour)?;
                Drives::One { instance: Box::new(instance), path: typed.output, revealed }
            }
            Some(_) if typed.random_seed.is_some() => {
                return Err(Failure::usage("--random-seed: instances do not share one")
                    .with_hint("random_seed_hex in each document gives it one of its own"));
            }
            Some(path) => {
                let lines = JsonLines { path, flavour };
                let name = Name::new(&typed.output)?;
                let count = check(&lines, &name)?;
                Drives::Many { lines, count, name }
            }
        };
        let output = match (typed.json, typed.quiet) {
            (true, _) => Output::Json,
            (false, true) => Output::Quiet,
            (false, false) => Output::Text,
        };
        Ok(Self { drives, manner, output })
    }
}

/// Looks at all lines before the first drive is made; gives their number.
fn check(lines: &JsonLines, name: &Name) -> Result<usize, Failure> {
    let mut seen = HashSet::new();
    for line in lines.instances()? {
        let (number, instance) = line?;
        let path = name.of(&instance).map_err(|failure| lines.at(number, failure))?;
        if !seen.insert(path) {
            return Err(lines.at(number, Failure::usage("instance.uuid: a line before it has the same")));
        }
    }
    if seen.is_empty() {
        return Err(Failure::usage(format!("--instances: {}: no instance in it", lines.path.display())));
    }
    Ok(seen.len())
}

/// What drives are called: a path with `{uuid}` in its last component.
#[derive(Clone, Debug)]
pub struct Name {
    directory: PathBuf,
    before: String,
    after: String,
}

impl Name {
    fn new(path: &Path) -> Result<Self, Failure> {
        let parts = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once("{uuid}"));
        let Some((before, after)) = parts else {
            return Err(Failure::usage(format!("--output {}: no {{uuid}} in the file's name", path.display()))
                .with_hint("--output 'DIR/{uuid}.iso' gives every instance a drive of its own"));
        };
        let directory = path.parent().unwrap_or(Path::new("")).to_path_buf();
        if after.contains("{uuid}") || directory.to_string_lossy().contains("{uuid}") {
            return Err(Failure::usage(format!("--output {}: more than one {{uuid}}", path.display()))
                .with_hint("it stands once, in the file's name; directories are not made"));
        }
        Ok(Self { directory, before: before.to_owned(), after: after.to_owned() })
    }

    /// The path of an instance's drive; a UUID that is no part of a file's name is refused.
    pub fn of(&self, instance: &Instance) -> Result<PathBuf, Failure> {
        let uuid = &instance.document().instance.uuid;
        let is_plain = uuid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !is_plain || uuid.len() > 100 {
            return Err(Failure::usage(
                "instance.uuid: expected letters, digits and '-', since the drive is called by it",
            ));
        }
        Ok(self.directory.join(format!("{}{uuid}{}", self.before, self.after)))
    }
}

/// A file with an instance document in JSON on each line; blank lines count for nothing.
#[derive(Clone, Debug)]
pub struct JsonLines {
    path: PathBuf,
    flavour: Flavour,
}

impl JsonLines {
    /// The instances, one after the other, with the numbers of their lines.
    pub fn instances(&self) -> Result<impl Iterator<Item = Result<(usize, Instance), Failure>> + use<'_>, Failure> {
        let failed = |error| Failure::usage(format!("--instances: {}: {error}", self.path.display()));
        // It is read twice, and opening a pipe waits.
        if !std::fs::metadata(&self.path).map_err(failed)?.is_file() {
            return Err(Failure::usage(format!("--instances: {}: no regular file", self.path.display())).with_hint(
                "save what comes from a pipe into a file first: all of it is looked at before the first drive",
            ));
        }
        let mut reader = BufReader::new(File::open(&self.path).map_err(failed)?);
        let mut number = 0;
        Ok(std::iter::from_fn(move || {
            loop {
                let mut line = Zeroizing::new(Vec::new());
                number += 1;
                match (&mut reader).take(DOCUMENT_MAX + 1).read_until(b'\n', &mut line) {
                    Ok(0) => return None,
                    Ok(_) if line.trim_ascii().is_empty() => {}
                    Ok(_) => return Some(self.instance(number, &line).map(|instance| (number, instance))),
                    Err(error) => return Some(Err(failed(error))),
                }
            }
        }))
    }

    fn instance(&self, number: usize, line: &[u8]) -> Result<Instance, Failure> {
        if line.len() as u64 > DOCUMENT_MAX {
            return Err(self.at(number, Failure::usage("larger than 16 MiB")));
        }
        read(line, Spelling::Json)
            .and_then(|document| Instance::new(document, self.flavour, &instance::beside(&self.path)))
            .map_err(|error| {
                // The line is the document's first and only one.
                let message = error.to_string().replace(" at line 1 column ", " at column ");
                let failure = Failure::usage(message);
                self.at(number, error.hint().into_iter().fold(failure, |failure, hint| failure.with_hint(hint)))
            })
    }

    /// The failure with the number of the line, from 1.
    pub fn at(&self, number: usize, failure: Failure) -> Failure {
        Failure { message: format!("{}: line {number}: {}", self.path.display(), failure.message), ..failure }
    }
}
