//! One device, as options of the command line describe it.

use crate::config_drive::DocumentError;
use crate::net::Cidr;
use crate::net::config::{Config, Hardware, Kind, Link, Mac, Route};
use std::net::IpAddr;

/// The names that Ethernet devices have in guests of today.
const ETHERNET: &str = "e*";

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The device, by its name or by its MAC address; `None` for whichever Ethernet device there is.
    pub device: Option<String>,
    /// Its addresses, with their prefixes.
    pub addresses: Vec<Cidr>,
    /// The routers.
    pub gateways: Vec<IpAddr>,
    /// The name servers.
    pub servers: Vec<IpAddr>,
    /// Whether it asks for an IPv4 address by DHCP.
    pub dhcp: bool,
}

/// Whether a text says which device it is.
pub fn is_device(text: &str) -> bool {
    Config { links: vec![link(Some(text))] }.check().is_ok()
}

/// The configuration of these options.
pub fn config(flags: &Flags) -> Result<Config, DocumentError> {
    let mut link = link(flags.device.as_deref());
    link.dhcp4 = flags.dhcp;
    link.addresses.clone_from(&flags.addresses);
    link.routes.extend(flags.gateways.iter().copied().map(Route::default_via));
    link.dns.servers.clone_from(&flags.servers);
    super::put_hosts_routers_on_link(&mut link);
    if !link.is_configured() {
        return Err(DocumentError::new("", "no address: --ip has one, or --dhcp asks for one"));
    }
    super::checked(Config { links: vec![link] })
}

/// Why a router cannot be one for these addresses; `None` where it can, or where something else is wrong.
pub fn no_router(flags: &Flags, router: IpAddr) -> Option<String> {
    let with = |gateways| config(&Flags { gateways, ..flags.clone() });
    with(Vec::new()).ok()?;
    with(vec![router]).err()?;
    let own: Vec<Cidr> = flags.addresses.iter().copied().filter(|own| own.ip().is_ipv4() == router.is_ipv4()).collect();
    Some(match &own[..] {
        [] => format!("there is no address of IPv{} beside it", if router.is_ipv4() { 4 } else { 6 }),
        own if own.iter().any(|network| network.holds(router)) || router.is_multicast() || router.is_unspecified() => {
            "no router can have it".to_owned()
        }
        own => {
            let own: Vec<String> = own.iter().map(ToString::to_string).collect();
            format!("in none of the networks of {}", own.join(", "))
        }
    })
}

/// The device, which nothing is said of yet.
fn link(device: Option<&str>) -> Link {
    let hardware = match device {
        None => Hardware::named(ETHERNET),
        Some(text) => match Mac::parse(text) {
            Some(mac) => Hardware::with_mac(mac),
            None => Hardware::named(text),
        },
    };
    let id = match device {
        Some(name) if hardware.mac.is_none() && hardware.pattern().is_none() => name,
        _ => "ethernet",
    };
    Link::new(id, Kind::Hardware(hardware))
}
