//! A configuration, compiled for the program that the guest listens to.

use super::{Choice, Net, cloud_init, netconfig, not_there, put, rivals};
use crate::guest::{Guest, NetworkStack};
use crate::inject::{InjectError, Outcome};
use crate::net::config::{Config, Kind, Link};
use crate::net::render::{self, Gateways, Ifup, Renderer};
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

impl Net {
    pub(super) fn compile(
        &self,
        config: &Config,
        guest: &Guest,
        stage: &mut Stage<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), InjectError> {
        let choice = match self.renderer {
            Some(choice) => choice,
            None => {
                Choice::Stack(guest.network.listener().map_err(|none| InjectError::no_listener(&none, guest))?.stack)
            }
        };
        let renderer = renderer(choice, guest);
        check_parts(config, renderer, guest)?;
        let files = render::render(config, renderer).map_err(InjectError::Inexpressible)?;
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        outcome.notes.push(why(choice, guest, &paths.join(", ")));
        rivals::clear(renderer, &paths, stage, outcome)?;
        for file in &files {
            put(&GuestPath::parse(file.path.as_str())?, file.mode, file.text.as_bytes(), stage, outcome)?;
        }
        if matches!(renderer, Renderer::CloudInit(_)) {
            return cloud_init::step_in(guest, stage, outcome);
        }
        let (servers, search) = name_servers(config);
        if renderer == Renderer::Wicked {
            for link in config.links.iter().filter(|link| link.device().is_none()) {
                let note = format!(
                    "{}: the name that udev gives this device, which wicked would not know by its MAC address",
                    link.id
                );
                outcome.notes.push(note);
            }
            netconfig::stage(&servers, &search, stage, outcome)?;
        }
        let is_resolver_ours = matches!(renderer, Renderer::Ifupdown(_)) && !guest.network.ifup.dns;
        if !is_resolver_ours || !resolver(&servers, &search, stage, outcome)? {
            rivals::resolver(stage, outcome)?;
        }
        cloud_init::stand_aside(guest, stage, outcome)
    }
}

/// The renderer for a program of a guest.
fn renderer(choice: Choice, guest: &Guest) -> Renderer {
    match choice {
        Choice::CloudInit => Renderer::CloudInit(Gateways::of(guest.network.cloud_init_version)),
        Choice::Stack(NetworkStack::Netplan) => Renderer::Netplan,
        Choice::Stack(NetworkStack::Networkd) => Renderer::Networkd,
        Choice::Stack(NetworkStack::NetworkManager) => Renderer::NetworkManager,
        Choice::Stack(NetworkStack::Ifcfg) => Renderer::Ifcfg,
        Choice::Stack(NetworkStack::Wicked) => Renderer::Wicked,
        Choice::Stack(NetworkStack::Ifupdown) if guest.network.ifup.is_debians => Renderer::Ifupdown(Ifup::Debian),
        Choice::Stack(NetworkStack::Ifupdown) => Renderer::Ifupdown(Ifup::ByName),
    }
}

/// Why the files are for whom they are for.
fn why(choice: Choice, guest: &Guest, paths: &str) -> String {
    match choice {
        Choice::CloudInit => match guest.network.cloud_init {
            Some(evidence) => format!("{paths}: for cloud-init, {evidence} shows it"),
            None => format!("{paths}: for cloud-init, as asked, though nothing shows that the guest runs it"),
        },
        Choice::Stack(stack) => match guest.network.state(stack) {
            Some(state) => format!("{paths}: for {}, {}", stack.name(), state.shown_by()),
            None => not_there(paths, stack),
        },
    }
}

/// Fails where the configuration needs a part of a program that the guest does not have.
fn check_parts(config: &Config, renderer: Renderer, guest: &Guest) -> Result<(), InjectError> {
    let ifup = guest.network.ifup;
    let missing = |link: &Link, what, package| {
        Err(InjectError::MissingPart { program: renderer.name(), link: link.id.clone(), what, package })
    };
    for link in &config.links {
        match (&link.kind, renderer) {
            (Kind::Bond(..), Renderer::Ifupdown(_)) if !ifup.bonds => return missing(link, "a bond", "ifenslave"),
            (Kind::Bridge(..), Renderer::Ifupdown(_)) if !ifup.bridges => {
                return missing(link, "a bridge", "bridge-utils");
            }
            // netplan and cloud-init rename devices themselves where udev does not. wicked's have all to have a name.
            (Kind::Hardware(hardware), renderer)
                if (hardware.rename.is_some() || (renderer == Renderer::Wicked && link.device().is_none()))
                    && !guest.network.names
                    && !matches!(renderer, Renderer::Netplan | Renderer::CloudInit(_)) =>
            {
                return missing(link, "a new name for a device", "systemd's udev");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where a resolver looks for its servers.
pub(super) const RESOLVER: &str = "/etc/resolv.conf";
/// The most name servers that a resolver asks (resolv.conf(5), `MAXNS`).
const SERVERS_MAX: usize = 3;

/// The name servers of all links, and the domains that names are looked for in: each once.
fn name_servers(config: &Config) -> (Vec<String>, Vec<&str>) {
    let mut servers: Vec<String> = Vec::new();
    let mut search: Vec<&str> = Vec::new();
    for dns in config.links.iter().map(|link| &link.dns) {
        for server in dns.servers.iter().map(ToString::to_string) {
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
        for domain in &dns.search {
            if !search.contains(&domain.as_str()) {
                search.push(domain);
            }
        }
    }
    (servers, search)
}

/// Puts the name servers into resolv.conf(5), where no other program takes them from the configuration; gives whether there are any.
fn resolver(
    servers: &[String],
    search: &[&str],
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<bool, InjectError> {
    if servers.is_empty() && search.is_empty() {
        return Ok(false);
    }
    let path = GuestPath::parse(RESOLVER)?;
    if stage.symlink_metadata(&path)?.is_some_and(|metadata| metadata.file_type != FileType::Regular) {
        outcome
            .notes
            .push(format!("{path}: a link, left alone; nothing in the guest takes the name servers from ifupdown"));
        return Ok(true);
    }
    if servers.len() > SERVERS_MAX {
        outcome
            .notes
            .push(format!("{path}: the first three of {} name servers, as a resolver asks no more", servers.len()));
    }
    let mut text = String::from("# Made by imgraft.\n");
    if !search.is_empty() {
        text += &format!("search {}\n", search.join(" "));
    }
    servers.iter().take(SERVERS_MAX).for_each(|server| text += &format!("nameserver {server}\n"));
    put(&path, 0o644, text.as_bytes(), stage, outcome)?;
    outcome.notes.push(format!("{path}: the name servers, as nothing in the guest takes them from ifupdown"));
    Ok(true)
}
