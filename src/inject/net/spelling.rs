//! The guests' own spellings of a network configuration: which one a text has, and where it goes.

use super::super::InjectError;
use crate::guest::NetworkStack;
use imgraft_vfs::path::GuestPath;

/// A way to write a network configuration, known by the stack that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelling(pub NetworkStack);

impl Spelling {
    /// All of them.
    pub const ALL: [Self; 6] = {
        let [a, b, c, d, e, f] = NetworkStack::ALL;
        [Self(a), Self(b), Self(c), Self(d), Self(e), Self(f)]
    };

    /// What it looks like and whose it is.
    pub fn name(self) -> &'static str {
        match self.0 {
            NetworkStack::Ifupdown => "ifupdown (iface …)",
            NetworkStack::Netplan => "netplan (network: …)",
            NetworkStack::Networkd => "systemd-networkd ([Match], [Network])",
            NetworkStack::NetworkManager => "NetworkManager ([connection])",
            NetworkStack::Ifcfg => "ifcfg (DEVICE=…)",
            NetworkStack::Wicked => "wicked (STARTMODE=…)",
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
        if !lines.clone().all(|line| assignment(line).is_some()) {
            return None;
        }
        let has = |keys: &[&str]| lines.clone().filter_map(assignment).any(|(key, _)| keys.contains(&key));
        match (has(&["STARTMODE"]), has(&["DEVICE", "BOOTPROTO"])) {
            (true, _) => Some(Self(NetworkStack::Wicked)),
            (false, true) => Some(Self(NetworkStack::Ifcfg)),
            (false, false) => None,
        }
    }

    /// Where a text of this spelling goes, and the mode of the file.
    pub(super) fn destination(self, text: &str) -> Result<(GuestPath, u16), InjectError> {
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
                let device = named(device(text), "there is no DEVICE= in it")?;
                (format!("/etc/sysconfig/network-scripts/ifcfg-{device}"), 0o644)
            }
            NetworkStack::Wicked => {
                // wicked itself does not look at it.
                let device = named(device(text), "there is no DEVICE= in it, by which the file could be named")?;
                (format!("/etc/sysconfig/network/ifcfg-{device}"), 0o644)
            }
        };
        Ok((GuestPath::parse(path)?, mode))
    }

    pub(super) fn bad(self, reason: &'static str) -> InjectError {
        InjectError::BadNetwork { spelling: Some(self), reason }
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

/// The variables of an ifcfg file.
pub(super) fn variables(text: &str) -> impl Iterator<Item = (&str, &str)> {
    significant(text).filter_map(assignment)
}

/// What an ifcfg file says that its device is.
fn device(text: &str) -> Option<&str> {
    variables(text).filter(|(key, _)| *key == "DEVICE").last().map(|(_, value)| value)
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
