//! A text for ifupdown, held against what the guest has for it.

use super::compiled::RESOLVER;
use super::rivals;
use crate::guest::{Guest, NetworkStack};
use crate::inject::{InjectError, Outcome};
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use std::collections::BTreeSet;

/// What an interfaces(5) says.
#[derive(Debug, Default)]
struct Interfaces {
    /// Its `iface` lines, but for those of the loopback device.
    ifaces: Vec<Iface>,
    /// What is brought up at boot, by the names of `iface` lines.
    started: BTreeSet<String>,
    /// Whether it has options that resolvconf(8) takes.
    has_dns: bool,
}

#[derive(Debug)]
struct Iface {
    name: String,
    /// `inet` or `inet6`.
    family: String,
    method: String,
    /// Whether it needs a program to ask for an address with.
    asks: bool,
}

/// Fails where ifup would stop at a device that the text brings up at boot, for want of a DHCP client; says so where nothing in the guest
/// takes its name servers, and where a file that it includes is about a device of its own, too.
pub(super) fn check(text: &str, guest: &Guest, stage: &Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let own = Interfaces::of(text);
    let ifup = guest.network.ifup;
    // Of an ifupdown that is not there nothing is known.
    let is_there = guest.network.state(NetworkStack::Ifupdown).is_some();
    let has_client = |iface: &Iface| if iface.family == "inet6" { ifup.dhcp6 } else { ifup.dhcp };
    let mut asking = own.ifaces.iter().filter(|iface| iface.asks && own.started.contains(&iface.name));
    if let Some(iface) = asking.find(|iface| is_there && !has_client(iface)) {
        return Err(InjectError::NoDhcpClient { link: iface.name.clone(), has_one: ifup.dhcp });
    }
    if own.has_dns && is_there && !ifup.dns {
        let there = stage.symlink_metadata(&GuestPath::parse(RESOLVER)?)?;
        let is_file = there.is_none_or(|metadata| metadata.file_type == FileType::Regular);
        let first = if is_file { String::new() } else { format!("--delete {RESOLVER} ") };
        outcome.notes.push(format!(
            "{}: nothing in the guest takes the name servers of its dns- lines from ifupdown ({first}--write '{RESOLVER}:nameserver \
             ADDRESS' has one written)",
            rivals::INTERFACES
        ));
    }
    let included = rivals::sourced::included(text, stage)?;
    rivals::check_total(included.iter(), stage)?;
    for path in included.iter().filter(|path| *path != rivals::INTERFACES) {
        let Some(theirs) = rivals::read(&GuestPath::parse(path.as_str())?, stage)? else { continue };
        let theirs = Interfaces::of(&String::from_utf8_lossy(&theirs)).ifaces;
        let is_both = |own: &&Iface| theirs.iter().any(|it| (&it.name, &it.family) == (&own.name, &own.family));
        if let Some(Iface { name, family, .. }) = own.ifaces.iter().find(is_both) {
            outcome.notes.push(format!(
                "{path}: included by this text, and about {name} ({family}) too: ifup does what both say (imgraft inject --delete {path} \
                 takes it away)"
            ));
        }
    }
    Ok(())
}

impl Interfaces {
    fn of(text: &str) -> Self {
        let mut found = Self::default();
        for line in lines(text) {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["auto" | "allow-auto" | "allow-hotplug", ref names @ ..] => {
                    // `DEVICE=NAME` is the device by the lines of that name.
                    let names = names.iter().map(|name| name.rsplit_once('=').map_or(*name, |(_, name)| name));
                    found.started.extend(names.map(str::to_owned));
                }
                ["iface", name, family @ ("inet" | "inet6"), method, ..] if name != "lo" => {
                    let [name, family, method] = [name, family, method].map(str::to_owned);
                    found.ifaces.push(Iface { name, family, asks: method == "dhcp", method });
                }
                ["dhcp", value] => {
                    let auto = found.ifaces.last_mut().filter(|iface| iface.method == "auto");
                    auto.into_iter().for_each(|iface| iface.asks = ["1", "yes", "on", "true"].contains(&value));
                }
                [option, _, ..] => found.has_dns |= option.starts_with("dns-") || option.starts_with("dns_"),
                _ => {}
            }
        }
        found
    }
}

/// The lines as ifupdown has them (`get_line` of its `config.c`): without comments, and one that ends in a backslash with the next one.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        if !goes_on && line.trim_start().starts_with('#') {
            continue;
        }
        let part = line.strip_suffix('\\');
        match lines.last_mut().filter(|_| goes_on) {
            Some(last) => last.push_str(part.unwrap_or(line)),
            None => lines.push(part.unwrap_or(line).to_owned()),
        }
        goes_on = part.is_some();
    }
    lines
}
