//! Why a network that would be written would not be used.

use crate::guest::NetworkStack;
use crate::guest::network::unmanaged::{Broken, Elsewhere, KEYFILES};
use std::fmt;

/// When what is in the way has to go.
pub(super) const BEFORE: &str = "in a run of its own before this one";

/// What is in the way.
#[derive(Clone, Debug)]
pub enum Unused {
    /// netplan hands the network to a program that the guest does not start.
    Backend {
        /// The program.
        backend: NetworkStack,
        /// What says so; `None` where nothing says otherwise.
        said_by: Option<SaidBy>,
        /// Why it would not be started.
        obstacle: Obstacle,
    },
    /// NetworkManager leaves a device alone.
    Unmanaged {
        /// What the network calls the device.
        link: String,
        /// The file of NetworkManager's that says so.
        path: String,
    },
    /// An ifcfg file has NetworkManager leave its device alone.
    NotControlled {
        /// What the network calls the device.
        link: String,
        /// What says so.
        by: SaidBy,
    },
    /// NetworkManager reads its connections elsewhere.
    Elsewhere(Elsewhere),
    /// NetworkManager does not start.
    Broken(Broken),
}

/// What says which program it is.
#[derive(Clone, Debug)]
pub enum SaidBy {
    /// What is to be put in.
    Description,
    /// A file of the guest's.
    File(String),
}

/// Why a program would not be started.
#[derive(Clone, Debug)]
pub enum Obstacle {
    /// It is masked, by this path.
    Masked(String),
    /// Nothing starts it.
    Off,
    /// It is not in the guest.
    Missing,
}

impl fmt::Display for SaidBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Description => f.write_str("the description"),
            Self::File(path) => f.write_str(path),
        }
    }
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend { backend, said_by, obstacle } => {
                write!(f, "netplan would hand the network to {}, ", backend.name())?;
                match said_by {
                    Some(by) => write!(f, "as {by} says, ")?,
                    None => f.write_str("as no file of its own says otherwise, ")?,
                }
                match obstacle {
                    Obstacle::Masked(path) => write!(f, "which is masked: {path}"),
                    Obstacle::Off => f.write_str("which nothing in the guest starts"),
                    Obstacle::Missing => f.write_str("which is not in the guest"),
                }
            }
            Self::Unmanaged { link, path } => {
                write!(f, "the guest's NetworkManager leaves the link {link:?} alone, as {path} says")
            }
            Self::NotControlled { link, by } => {
                write!(f, "the guest's NetworkManager leaves the link {link:?} alone, as {by} says NM_CONTROLLED=no")
            }
            Self::Elsewhere(Elsewhere { directory, path, .. }) => write!(
                f,
                "the guest's NetworkManager does not read {KEYFILES}, as {path} has {directory:?} in its place (path= of [keyfile])"
            ),
            Self::Broken(Broken { path, why }) => {
                write!(f, "the guest's NetworkManager does not start with {path}: {why}")
            }
        }
    }
}

impl Unused {
    pub(in crate::inject) fn hint(&self) -> String {
        match self {
            Self::Backend { backend, said_by, obstacle } => {
                let start = match obstacle {
                    Obstacle::Masked(path) => {
                        format!("--delete {path} takes the mask away, {BEFORE}")
                    }
                    Obstacle::Off => format!("--enable-unit {}.service has it started, {BEFORE}", backend.name()),
                    Obstacle::Missing => format!("put {} into the guest first", backend.name()),
                };
                let other = match backend {
                    NetworkStack::NetworkManager => "networkd",
                    _ => "NetworkManager",
                };
                match said_by {
                    Some(by) => format!("{start}; or have {by} say renderer: {other}"),
                    None => start,
                }
            }
            Self::Unmanaged { path, .. } => without("the device", path),
            Self::Elsewhere(Elsewhere { path, .. }) => without("the path", path),
            Self::NotControlled { by: SaidBy::Description, .. } => "take NM_CONTROLLED=no out of it".to_owned(),
            Self::NotControlled { by: SaidBy::File(path), .. } => {
                format!("take NM_CONTROLLED=no out of {path}, or the whole file away by --delete {path}, {BEFORE}")
            }
            Self::Broken(Broken { path, .. }) => format!("mend it, or take it away by --delete {path}, {BEFORE}"),
        }
    }
}

/// How a file of NetworkManager's says something no more, or what does not read it.
fn without(what: &str, path: &str) -> String {
    let first = match path.rsplit_once('/') {
        Some(("/usr/lib/NetworkManager/conf.d", name)) => {
            format!("an empty file takes its place: --touch /etc/NetworkManager/conf.d/{name}")
        }
        _ => format!("take {what} out of {path}"),
    };
    format!("{first}, {BEFORE}; or have another program configure it (--network-renderer NAME)")
}
