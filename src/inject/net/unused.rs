//! Why a network that would be written would not be used.

use crate::guest::NetworkStack;
use std::fmt;

/// What is in the way.
#[derive(Clone, Debug)]
pub enum Unused {
    /// netplan hands the network to a program that the guest does not start.
    Backend {
        /// The program.
        backend: NetworkStack,
        /// The file that says so; `None` where none says otherwise.
        said_by: Option<String>,
        /// Where it is masked.
        masked_by: Option<String>,
    },
    /// NetworkManager leaves a device alone.
    Unmanaged {
        /// What the network calls the device.
        link: String,
        /// The file of NetworkManager's that says so.
        path: String,
    },
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend { backend, said_by, masked_by } => {
                write!(f, "netplan would hand the network to {}, ", backend.name())?;
                match said_by {
                    Some(path) => write!(f, "as {path} says, ")?,
                    None => f.write_str("as no file of its own says otherwise, ")?,
                }
                match masked_by {
                    Some(path) => write!(f, "which is masked: {path}"),
                    None => f.write_str("which nothing in the guest starts"),
                }
            }
            Self::Unmanaged { link, path } => {
                write!(f, "the guest's NetworkManager leaves the link {link:?} alone, as {path} says")
            }
        }
    }
}

impl Unused {
    pub(in crate::inject) fn hint(&self) -> String {
        match self {
            Self::Backend { backend, said_by, masked_by } => {
                let start = match masked_by {
                    Some(path) => format!("--delete {path} takes the mask away"),
                    None => format!("--enable-unit {}.service has it started", backend.name()),
                };
                let other = match backend {
                    NetworkStack::NetworkManager => "networkd",
                    _ => "NetworkManager",
                };
                match said_by {
                    Some(path) => {
                        format!("{start}, in a run of its own before this one; or have {path} say renderer: {other}")
                    }
                    None => format!("{start}, in a run of its own before this one"),
                }
            }
            Self::Unmanaged { path, .. } => {
                let first = match path.rsplit_once('/') {
                    Some(("/usr/lib/NetworkManager/conf.d", name)) => {
                        format!("an empty file takes its place: --touch /etc/NetworkManager/conf.d/{name}")
                    }
                    _ => format!("take the device out of {path}"),
                };
                format!(
                    "{first}, in a run of its own before this one; or have another program configure it (--network-renderer NAME)"
                )
            }
        }
    }
}
