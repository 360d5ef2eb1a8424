//! A network configuration in one of the guests' own spellings, put where its reader looks.

use super::{Compat, InjectError, Injector, Item, Outcome, ROOT_DIR, ROOT_FILE, label};
use crate::guest::{Guest, NetworkStack};
use imgraft_vfs::fs::{Attrs, Content, SetAttrs};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// A network configuration as a text in one of the guests' own spellings.
#[derive(Clone, Debug)]
pub struct Net {
    /// The text.
    pub text: Vec<u8>,
    /// Whose behaviour.
    pub compat: Compat,
}

/// A way to write a network configuration, known by the stack that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelling(pub NetworkStack);

impl Spelling {
    /// All of them.
    pub const ALL: [Self; 5] = {
        let [a, b, c, d, e] = NetworkStack::ALL;
        [Self(a), Self(b), Self(c), Self(d), Self(e)]
    };

    /// What it looks like and whose it is.
    pub fn name(self) -> &'static str {
        match self.0 {
            NetworkStack::Ifupdown => "ifupdown (iface …)",
            NetworkStack::Netplan => "netplan (network: …)",
            NetworkStack::Networkd => "systemd-networkd ([Match], [Network])",
            NetworkStack::NetworkManager => "NetworkManager ([connection])",
            NetworkStack::Ifcfg => "ifcfg (DEVICE=…)",
        }
    }

    /// The spelling of a text; `None` where it is none of them.
    pub fn detect(text: &str) -> Option<Self> {
        let mut lines = significant(text).peekable();
        let first = lines.peek()?.trim_start();
        if first.starts_with('[') {
            return lines.find_map(|line| match line.trim() {
                "[connection]" => Some(Some(Self(NetworkStack::NetworkManager))),
                "[Match]" | "[Network]" => Some(Some(Self(NetworkStack::Networkd))),
                // A .netdev file may have a [Match] too, and goes elsewhere.
                "[NetDev]" => Some(None),
                _ => None,
            })?;
        }
        // A YAML document may begin with its marker, and JSON is YAML.
        if lines.clone().any(|line| line == "network:" || line.starts_with("network: "))
            || first.starts_with("{\"network\"")
            || first.starts_with("{network")
        {
            return Some(Self(NetworkStack::Netplan));
        }
        let word = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
        if lines.clone().any(|line| matches!(word(line).as_str(), "iface" | "source" | "source-directory")) {
            return Some(Self(NetworkStack::Ifupdown));
        }
        let is_ifcfg = lines.clone().all(|line| assignment(line).is_some())
            && lines.filter_map(assignment).any(|(key, _)| matches!(key, "DEVICE" | "BOOTPROTO"));
        is_ifcfg.then_some(Self(NetworkStack::Ifcfg))
    }

    /// Where a text of this spelling goes, and the mode of the file.
    fn destination(self, text: &str) -> Result<(GuestPath, u16), InjectError> {
        let named = |name: Option<&str>, missing| match name {
            Some(name) if is_file_name(name) => Ok(name.to_owned()),
            Some(_) => Err(self.bad("its name holds a character that no file of it may have")),
            None => Err(self.bad(missing)),
        };
        let (path, mode) = match self.0 {
            NetworkStack::Ifupdown => ("/etc/network/interfaces".to_owned(), 0o644),
            NetworkStack::Netplan => ("/etc/netplan/50-imgraft.yaml".to_owned(), 0o600),
            NetworkStack::Networkd => ("/etc/systemd/network/10-imgraft.network".to_owned(), 0o644),
            NetworkStack::NetworkManager => {
                let id = named(connection_id(text), "there is no id= in its [connection]")?;
                (format!("/etc/NetworkManager/system-connections/{id}.nmconnection"), 0o600)
            }
            NetworkStack::Ifcfg => {
                let device = significant(text).filter_map(assignment).filter(|(key, _)| *key == "DEVICE").last();
                let device = named(device.map(|(_, value)| value), "there is no DEVICE= in it")?;
                (format!("/etc/sysconfig/network-scripts/ifcfg-{device}"), 0o644)
            }
        };
        Ok((GuestPath::parse(path)?, mode))
    }

    fn bad(self, reason: &'static str) -> InjectError {
        InjectError::BadNetwork { spelling: Some(self), reason }
    }
}

impl Injector for Net {
    fn item(&self) -> Item {
        Item::Net
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        let before = stage.savepoint();
        let mut outcome = Outcome::default();
        if self.compat == Compat::Nova {
            self.stage_as_nova(stage)?;
            return Ok(outcome);
        }
        let text = std::str::from_utf8(&self.text).ok().filter(|text| !text.contains('\0'));
        let text = text.ok_or(InjectError::BadNetwork { spelling: None, reason: "it is not a text in UTF-8" })?;
        let spelling = Spelling::detect(text).ok_or(InjectError::UnknownNetwork)?;
        let (path, mode) = spelling.destination(text)?;
        let Some(state) = guest.network.iter().find(|state| state.stack == spelling.0) else {
            let found = guest.network.iter().map(|state| state.stack.name()).collect();
            return Err(InjectError::NoNetworkStack { spelling, found });
        };
        match state.enabled_by {
            Some(_) => outcome.notes.push(format!("{path}: for {}, as {} shows", state.stack.name(), state.evidence)),
            None => outcome.notes.push(format!(
                "{path}: for {}, as {} shows, but nothing shows that the guest starts it at boot",
                state.stack.name(),
                state.evidence
            )),
        }
        if let Some(parent) = path.parent() {
            stage.create_dirs(&parent, ROOT_DIR)?;
        }
        stage.write(&path, Content::bytes(&self.text[..]), Attrs { mode, uid: 0, gid: 0 })?;
        if spelling.0 == NetworkStack::NetworkManager
            && let Some(metadata) = stage.metadata(&path)?
            && (metadata.mode & 0o077 != 0 || metadata.uid != 0)
        {
            outcome.notes.push(format!("{path}: NetworkManager ignores a file that others than root can read"));
        }
        label::label_new(guest, stage, &before, &mut outcome)?;
        Ok(outcome)
    }
}

impl Net {
    /// As `_inject_net_into_fs` of Nova, with the mode that keeps everybody but root out of the directory.
    fn stage_as_nova(&self, stage: &mut Stage<'_>) -> Result<(), InjectError> {
        let directory = GuestPath::parse("/etc/network")?;
        stage.create_dirs(&directory, ROOT_DIR)?;
        stage.set_attrs(&directory, SetAttrs { mode: Some(0o744), uid: Some(0), gid: Some(0), mtime: None })?;
        Ok(stage.write(&directory.join("interfaces")?, Content::bytes(&self.text[..]), ROOT_FILE)?)
    }
}

/// The lines that are neither blank nor comments nor YAML's marker.
fn significant(text: &str) -> impl Iterator<Item = &str> + Clone {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().map(str::trim_end).filter(|line| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with(['#', ';']) && line != "---"
    })
}

/// `KEY=value` of a shell, the value without its quotes.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.trim().split_once('=')?;
    let is_name = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then(|| (key, value.trim().trim_matches(['"', '\''])))
}

fn connection_id(text: &str) -> Option<&str> {
    let lines = significant(text).skip_while(|line| line.trim() != "[connection]").skip(1);
    let mut lines = lines.take_while(|line| !line.trim_start().starts_with('['));
    lines.find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "id").then_some(value.trim())
    })
}

/// What may stand in the name of a file that programs read: no slash, no leading dot, nothing unprintable.
fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with('.')
        && name.chars().all(|char| char != '/' && !char.is_control())
}

#[cfg(test)]
mod tests;
