//! A configuration, compiled for the program that the guest listens to.

use super::rivals::devices::Own;
use super::{Choice, Net, backend, cloud_init, defaults, netconfig, not_there, plugin, put, rivals, unmanaged};
use crate::guest::{Guest, NetworkStack};
use crate::inject::{InjectError, Outcome};
use crate::net::config::{Auto6, Config, Kind, Link};
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
        let mut files = render::render(config, renderer).map_err(InjectError::Inexpressible)?;
        if let (Renderer::CloudInit(_), [file]) = (renderer, &mut files[..]) {
            // Where the guest's cloud-init reads it.
            file.path = cloud_init::place(file.path.rsplit('/').next().unwrap_or_default(), guest)?;
        }
        check_dhcp(config, renderer, guest)?;
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        if renderer == Renderer::NetworkManager || renderer == Renderer::Ifcfg && plugin(guest).is_some() {
            let manager = unmanaged::Manager::new(guest, &paths, stage)?;
            if renderer == Renderer::NetworkManager {
                manager.check_place(outcome)?;
            }
            manager.check(config, outcome)?;
        }
        outcome.notes.push(why(choice, guest, &paths.join(", ")));
        defaults::tell(config, renderer, outcome);
        rivals::clear(renderer, &paths, &Own::of(config), stage, outcome)?;
        if let (Renderer::Ifupdown(_), [file, ..]) = (renderer, &files[..]) {
            rivals::sourced::clear(&file.text, stage, outcome)?;
        }
        if let (Renderer::Netplan, [file, ..]) = (renderer, &mut files[..]) {
            backend::choose(file, guest, stage, outcome)?;
        }
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
        let is_ours = match without_resolver(renderer, guest) {
            Some(program) if servers.is_empty() && search.is_empty() => {
                no_servers(program, config, stage, outcome)?;
                false
            }
            Some(program) => {
                resolver(program, &servers, &search, stage, outcome)?;
                true
            }
            None => false,
        };
        if !is_ours {
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

/// Fails where ifupdown has no program to ask for an address with: it would not bring the device up at all.
fn check_dhcp(config: &Config, renderer: Renderer, guest: &Guest) -> Result<(), InjectError> {
    let ifup = guest.network.ifup;
    let is_without =
        |link: &&Link| link.dhcp4 && !ifup.dhcp || matches!(link.auto6, Auto6::Stateless | Auto6::Dhcp) && !ifup.dhcp6;
    // Of an ifupdown that is not there nothing is known.
    let is_there = guest.network.state(NetworkStack::Ifupdown).is_some();
    match config.links.iter().find(is_without) {
        Some(link) if matches!(renderer, Renderer::Ifupdown(_)) && is_there => {
            Err(InjectError::NoDhcpClient { link: link.id.clone(), has_one: ifup.dhcp })
        }
        _ => Ok(()),
    }
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

/// The program from which nothing in the guest takes name servers; `None` where something does.
fn without_resolver(renderer: Renderer, guest: &Guest) -> Option<&'static str> {
    let network = &guest.network;
    let is_started = |stack| network.state(stack).is_some_and(|state| state.enabled_by.is_some());
    let is_taken = match renderer {
        Renderer::Ifupdown(_) => network.ifup.dns,
        Renderer::Networkd => network.resolved,
        // It hands them to one of these, and NetworkManager writes resolv.conf(5) itself.
        Renderer::Netplan => network.resolved || is_started(NetworkStack::NetworkManager),
        Renderer::NetworkManager | Renderer::Ifcfg | Renderer::Wicked | Renderer::CloudInit(_) => true,
    };
    let program = if renderer == Renderer::Netplan { NetworkStack::Networkd.name() } else { renderer.name() };
    (!is_taken).then_some(program)
}

/// Says so where systemd-networkd would keep the name servers of DHCP to itself, and the guest has no others.
fn no_servers(program: &str, config: &Config, stage: &Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let has_dhcp =
        config.links.iter().any(|link| link.dhcp4 || link.auto6 != Auto6::Unsaid && link.auto6 != Auto6::Off);
    // A DHCP client of ifupdown's writes the file itself.
    if program == NetworkStack::Networkd.name()
        && has_dhcp
        && rivals::file_type(&GuestPath::parse(RESOLVER)?, stage)?.is_none()
    {
        outcome.notes.push(format!(
            "{RESOLVER}: there is none, and nothing in the guest takes the name servers that {program} learns by DHCP: \
             systemd-resolved is not started (--dns has them written into it)"
        ));
    }
    Ok(())
}

/// Puts the name servers into resolv.conf(5), as no other program takes them from the configuration.
fn resolver(
    program: &str,
    servers: &[String],
    search: &[&str],
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    let path = GuestPath::parse(RESOLVER)?;
    let there = stage.symlink_metadata(&path)?.map(|metadata| metadata.file_type);
    if let Some(there) = there.filter(|there| *there != FileType::Regular) {
        let what = match there {
            FileType::Symlink => "link",
            FileType::Directory => "directory",
            _ => "special file",
        };
        outcome.notes.push(format!(
            "{path}: a {what}, left alone; nothing in the guest takes the name servers from {program} (once the {what} is removed, by \
             imgraft inject --delete {path}, a run writes the file)"
        ));
        return Ok(());
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
    outcome.notes.push(format!("{path}: the name servers, as nothing in the guest takes them from {program}"));
    Ok(())
}
