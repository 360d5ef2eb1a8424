//! Why something cannot be done to a unit.

use super::InjectError;
use imgraft_vfs::path::GuestPath;
use std::fmt;

/// Why something cannot be done to a unit of systemd's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields' names say it")]
pub enum UnitError {
    /// The guest does not have it; `verb` is what systemctl(1) calls what was asked for.
    NoSuchUnit { unit: String, verb: &'static str, is_script: bool },
    /// It is masked.
    Masked { unit: String, path: GuestPath },
    /// It is another name of another unit.
    Alias { unit: String, real: String },
    /// It says nothing of how it is enabled.
    NothingToInstall { unit: String, path: GuestPath },
    /// It is a template without a default instance.
    NoInstance { unit: String },
    /// Its `[Install]` section says something that is no name of a unit.
    BadName { unit: String, name: String },
    /// Its `[Install]` section has another name for it that is of another kind.
    BadAlias { unit: String, alias: String },
    /// Something else is where a link is to be.
    InTheWay { path: GuestPath },
}

impl UnitError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoSuchUnit { unit, verb, is_script: true } => format!(
                "it is a script of System V's: --firstboot-command 'systemctl {verb} --now {unit}' has the guest do it as it boots"
            ),
            Self::NoSuchUnit { unit, verb, .. } => format!(
                "`imgraft ls IMAGE /usr/lib/systemd/system` shows what the guest has; one that --firstboot-install brings, \
                 --firstboot-command 'systemctl {verb} --now {unit}' after it {verb}s"
            ),
            Self::Masked { path, .. } => format!("--delete {path} unmasks it"),
            Self::Alias { real, .. } => format!("name {real}"),
            Self::NothingToInstall { .. } => {
                "something else starts it; --link makes a link in a directory of /etc/systemd/system".to_owned()
            }
            Self::NoInstance { unit } => match unit.split_once('@') {
                Some((before, after)) => format!("name an instance: {before}@INSTANCE{after}"),
                None => return None,
            },
            Self::BadName { .. } | Self::BadAlias { .. } => "make the links with --link".to_owned(),
            Self::InTheWay { path } => format!("--delete {path} in a run before this one"),
        })
    }
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchUnit { unit, .. } => write!(f, "the guest has no unit {unit}"),
            Self::Masked { unit, path } => write!(f, "{unit} is masked, by {path}"),
            Self::Alias { unit, real } => write!(f, "{unit} is another name of {real}"),
            Self::NothingToInstall { unit, path } => {
                write!(f, "{unit} cannot be enabled: {path} has nothing in [Install]")
            }
            Self::NoInstance { unit } => write!(f, "{unit} is a template, and names no default instance"),
            Self::BadName { unit, name } => write!(f, "[Install] of {unit} has '{name}', which is no name of a unit"),
            Self::BadAlias { unit, alias } => {
                write!(f, "{unit} cannot have {alias} for another name, as its [Install] wants")
            }
            Self::InTheWay { path } => write!(f, "{path} is there already, and is no such link"),
        }
    }
}

impl From<UnitError> for InjectError {
    fn from(error: UnitError) -> Self {
        Self::Unit(error)
    }
}
