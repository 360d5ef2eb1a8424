//! What the guest's cloud-init is told to leave as it is.

mod users;

pub(super) use users::keep_passwords;

use super::files::below::there;
use super::{InjectError, Outcome, Premise, ROOT_DIR, ROOT_FILE};
use crate::guest::cloud_config::{Configuration, DIRECTORY, FILES_MAX, MAIN, NODES, Reading, TOTAL, is_nothing};
use crate::guest::network::{CLOUD_INIT, CLOUD_INIT_OFF};
use imgraft_vfs::fs::{Content, FileType};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::shell;
use imgraft_vfs::stage::Stage;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// What it runs, in the order in which it does.
const MODULES: [&str; 3] = ["cloud_init_modules", "cloud_config_modules", "cloud_final_modules"];

/// A key of cloud-init's configuration, and what it has to say for what was put in to stay.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The key.
    pub(super) key: &'static str,
    /// What it has to say.
    pub(super) wanted: Wanted,
}

/// What a key of cloud-init's configuration has to say.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// That something is so (util.is_true).
    True,
    /// That something is not so; where nothing is said, it is.
    False,
    /// That /etc/hosts is not made by cloud-init (cc_update_etc_hosts.py).
    HostsAreLeft,
    /// That none of these is among its own keys. cloud-init adds those of several files up, so that no line of ours takes one away.
    Without(Vec<String>),
    /// This setting, or none.
    Setting {
        /// The value.
        value: String,
        /// What comes of it where nothing is said.
        unsaid: Unsaid,
    },
}

/// What cloud-init does about a setting that its configuration does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsaid {
    /// It leaves the guest's.
    Left,
    /// It sets one of its own.
    Set,
}

impl Rule {
    /// As a line of cloud-init's configuration.
    fn line(&self) -> String {
        let key = self.key;
        match &self.wanted {
            Wanted::True => format!("{key}: true\n"),
            Wanted::False | Wanted::HostsAreLeft => format!("{key}: false\n"),
            Wanted::Without(_) => String::new(),
            Wanted::Setting { value, .. } => format!("{key}: \"{value}\"\n"),
        }
    }

    fn is_kept_by(&self, said: Option<&Value>) -> bool {
        match (&self.wanted, said) {
            (Wanted::True, said) => said.is_some_and(|value| is_one_of(value, &TRUE)),
            // Python's own notion, in cc_ssh.py, for which the text "no" is something.
            (Wanted::False, said) => said.is_some_and(is_nothing),
            (Wanted::HostsAreLeft, said) => {
                !said.is_some_and(|value| is_one_of(value, &TRUE) || is_one_of(value, &["template", "localhost"]))
            }
            (Wanted::Without(_), said) => said.is_none(),
            (Wanted::Setting { unsaid, .. }, None | Some(Value::Null)) => *unsaid == Unsaid::Left,
            // No zone is none that is set (cc_timezone.py); where a locale is empty, that is what some guests get (distros/rhel.py).
            (Wanted::Setting { .. }, Some(Value::String(text))) if text.is_empty() => self.key == "timezone",
            // What is false is not set (cc_locale.py), or is no zone that there is (distros/__init__.py).
            (Wanted::Setting { value: wanted, .. }, Some(value)) => {
                value.as_str() == Some(wanted) || is_one_of(value, &FALSE)
            }
        }
    }
}

/// What cloud-init takes for true, and for false (TRUE_STRINGS and FALSE_STRINGS of its util.py).
const TRUE: [&str; 4] = ["true", "1", "on", "yes"];
const FALSE: [&str; 4] = ["off", "0", "no", "false"];

/// Whether a value is one of some words, in whichever case.
fn is_one_of(value: &Value, words: &[&str]) -> bool {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    words.contains(&text.trim().to_lowercase().as_str())
}

/// Why cloud-init does not leave what was put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undoing {
    key: &'static str,
    /// The file that has the last word, where one says anything.
    path: Option<GuestPath>,
    /// What is not read, as it is too much, a clause.
    cut: Option<String>,
}

impl fmt::Display for Undoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => {
                write!(
                    f,
                    "the guest's cloud-init would undo it: {path} has the last word on {}, and says otherwise",
                    self.key
                )
            }
            None => {
                write!(
                    f,
                    "the guest's cloud-init would undo it: no file in {DIRECTORY} that it reads has {}",
                    self.key
                )?;
                self.cut.iter().try_for_each(|cut| write!(f, ", as far as they are read here: {cut}"))
            }
        }
    }
}

impl Undoing {
    /// That there is no place for what cloud-init would have to be told by a key.
    pub(super) fn nowhere(key: &'static str) -> Self {
        Self { key, path: None, cut: None }
    }

    /// What the user can do about it.
    pub(super) fn hint(&self) -> String {
        match &self.path {
            Some(path) if path.to_string() == MAIN => format!(
                "take {} out of that file first, with an --edit of it that stands before this option or is a run of its own; or leave the \
                 option out",
                self.key
            ),
            Some(path) => format!(
                "take {} out of that file first: --delete {}, or an --edit of it, that stands before this option or is a run of its own; or \
                 leave the option out",
                self.key,
                shell::word(path.to_string().as_ref())
            ),
            None if self.cut.is_some() => format!(
                "{FILES_MAX} files are read, and of all together {} MiB with {NODES} values: take out what nothing needs, with a --delete that \
                 stands before this option or is a run of its own; or leave the option out",
                TOTAL / (1024 * 1024)
            ),
            None => format!(
                "{MAIN} may name another directory, or none, as conf_d: take that out first, with an --edit of it; or leave the option out"
            ),
        }
    }
}

/// What keeps cloud-init from leaving what was put in, with all that its configuration says.
pub(super) fn undoing(rules: &[Rule], stage: &Stage<'_>) -> Result<Option<Undoing>, InjectError> {
    let configuration = Configuration::staged(stage)?;
    let keys: Vec<_> = rules.iter().map(|rule| rule.key).collect();
    let mut all = said("", &keys, &configuration);
    for rule in rules {
        let found = match &rule.wanted {
            Wanted::Without(members) => {
                let members: Vec<_> = members.iter().map(String::as_str).collect();
                said(&format!("/{}", rule.key), &members, &configuration).into_values().next()
            }
            _ => all.remove(rule.key),
        };
        if !rule.is_kept_by(found.as_ref().map(|(_, value)| value)) {
            let cut = if found.is_none() && configuration.is_cut() { configuration.unread() } else { None };
            return Ok(Some(Undoing { key: rule.key, path: found.map(|(path, _)| path), cut }));
        }
    }
    Ok(None)
}

/// A sentence on what of its configuration cannot be read as cloud-init reads it, the first such file.
pub(super) fn unread(stage: &Stage<'_>) -> Result<Option<String>, InjectError> {
    Ok(not_known(&Configuration::staged(stage)?))
}

fn not_known(configuration: &Configuration) -> Option<String> {
    let reason = configuration.unread()?;
    Some(format!("what the guest's cloud-init is told is not all known, and it may undo what is put in: {reason}"))
}

/// Puts a text for cloud-init past what distributions and installers put there, and says where. `subject` is a part of the file's name.
fn tell(subject: &str, text: &str, stage: &mut Stage<'_>) -> Result<GuestPath, InjectError> {
    let directory = match Configuration::staged(stage)?.directory.path() {
        Some(directory) => directory,
        None => GuestPath::parse(DIRECTORY)?,
    };
    let path = directory.join(format!("99-imgraft-{subject}.cfg"))?;
    stage.create_dirs(&directory, ROOT_DIR)?;
    stage.write(&path, Content::bytes(text.as_bytes()), ROOT_FILE)?;
    Ok(path)
}

/// Has cloud-init leave what was put in, and says where it is told that; fails where a file that comes later says otherwise. Where it does
/// not run, it is told where there is a place for that, for the day on which it does.
pub(super) fn keep(
    subject: &str,
    why: &str,
    rules: Vec<Rule>,
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<Option<GuestPath>, InjectError> {
    let runs = runs(stage)?;
    let directory = stage.metadata(&GuestPath::parse(DIRECTORY)?)?;
    if !runs && directory.is_none_or(|metadata| metadata.file_type != FileType::Directory) {
        return Ok(None);
    }
    let lines: String = rules.iter().map(Rule::line).collect();
    let path = tell(subject, &format!("# {why}\n{lines}"), stage)?;
    if let Some(undoing) = undoing(&rules, stage)?.filter(|_| runs) {
        return Err(InjectError::CloudInitUndoes(undoing));
    }
    outcome.premises.push(Premise::CloudInit(rules));
    Ok(Some(path))
}

/// Whether cloud-init is in the guest and is not switched off, with what is staged.
pub(super) fn runs(stage: &Stage<'_>) -> Result<bool, InjectError> {
    let is_there = |path| Ok::<_, InjectError>(there(stage.metadata(&GuestPath::parse(path)?))?.is_some());
    Ok(is_there(CLOUD_INIT)? && !is_there(CLOUD_INIT_OFF)?)
}

/// Has a setting of the guest's outlive its first boot, at which cloud-init makes it what its own configuration says.
pub(super) fn keep_setting(
    key: &'static str,
    wanted: &str,
    unsaid: Unsaid,
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    let rules = vec![Rule { key, wanted: Wanted::Setting { value: wanted.to_owned(), unsaid } }];
    if !runs(stage)? || undoing(&rules, stage)?.is_none() {
        outcome.premises.push(Premise::CloudInit(rules));
        return Ok(());
    }
    if let Some(path) = keep(key, "What the guest was given.", rules, stage, outcome)? {
        outcome.notes.push(format!(
            "{path}: cloud-init is told of the {key}, which it would set to another one at the first boot"
        ));
    }
    Ok(())
}

/// Why cloud-init makes no host keys of a new instance's own, a clause (cc_ssh.py): where it is told to make none, or has some.
pub(super) fn makes_no_host_keys(stage: &Stage<'_>) -> Result<Option<String>, InjectError> {
    let keys = ["ssh_genkeytypes", "ssh_keys", MODULES[0], MODULES[1], MODULES[2]];
    let said = said("", &keys, &Configuration::staged(stage)?);
    if let Some((path, _)) = said.get("ssh_keys") {
        return Ok(Some(format!("{path} has ssh_keys, which are those of every clone")));
    }
    let makes_none = |types: &Value| types.is_null() || types.as_array().is_some_and(Vec::is_empty);
    if let Some((path, _)) = said.get("ssh_genkeytypes").filter(|(_, types)| makes_none(types)) {
        return Ok(Some(format!("{path} has ssh_genkeytypes with nothing in it")));
    }
    // In the order in which they are run; distributions have the module in the first one.
    let lists: Vec<_> = MODULES.iter().filter_map(|name| said.get(*name)).collect();
    let has_it = lists.iter().any(|(_, modules)| modules.as_array().is_some_and(|modules| modules.iter().any(is_ssh)));
    Ok(lists.first().filter(|_| !has_it).map(|(path, _)| format!("{path} has it run no module 'ssh'")))
}

/// Whether an entry of a list of modules is that for ssh (form_module_name of config/modules.py).
fn is_ssh(entry: &Value) -> bool {
    let name = entry.get(0).or_else(|| entry.get("name")).unwrap_or(entry).as_str().unwrap_or_default();
    let name = name.trim().to_lowercase().replace('-', "_");
    let name = name.strip_suffix(".py").unwrap_or(&name);
    name.strip_prefix("cc_").unwrap_or(name) == "ssh"
}

/// What cloud-init's configuration says of some keys at a place (keys with a slash before each), each with the file that has the last word on it.
fn said(place: &str, wanted: &[&str], configuration: &Configuration) -> BTreeMap<String, (GuestPath, Value)> {
    let mut said = BTreeMap::new();
    for (path, reading) in &configuration.files {
        let Reading::Keys(keys) = reading else { continue };
        let mut place = place.split('/').filter(|key| !key.is_empty());
        let found = place.try_fold(keys, |keys, key| keys.get(key).and_then(Value::as_object));
        let keys = found.into_iter().flatten().filter(|(key, _)| wanted.contains(&key.as_str()));
        said.extend(keys.map(|(key, value)| (key.clone(), (path.clone(), value.clone()))));
    }
    said
}

#[cfg(test)]
mod tests;
