//! The network of a machine, in no program's spelling: what readers make and renderers take.

mod check;

pub use check::Unsound;

use super::Cidr;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network of a machine. [`Config::check`] says whether it makes sense; renderers take only one that does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Its links, in the order of the document.
    pub links: Vec<Link>,
}

/// A network device and what is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What the document calls it; of a bond, a bridge or a VLAN it is the device's name.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// The MAC address that it gets.
    pub mac: Option<Mac>,
    /// The MTU in bytes.
    pub mtu: Option<u32>,
    /// Whether it asks for an IPv4 address by DHCP.
    pub dhcp4: bool,
    /// How it comes by IPv6 addresses beside those that are given.
    pub auto6: Auto6,
    /// Its addresses, each with the length of its network's prefix.
    pub addresses: Vec<Cidr>,
    /// Routes over it.
    pub routes: Vec<Route>,
    /// Name servers that are asked over it.
    pub dns: Dns,
    /// Whether booting goes on without it.
    pub optional: bool,
}

/// What a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A device that is there.
    Hardware(Hardware),
    /// Several links as one.
    Bond(Vec<String>, Bond),
    /// A switch of several links; of none, at first.
    Bridge(Vec<String>, Bridge),
    /// IEEE 802.1Q over another link, by this tag of 1 to 4094.
    Vlan(String, u16),
}

/// By what a device is known that is there: by its MAC address, by its name, or by both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// The MAC address that it has of its maker.
    pub mac: Option<Mac>,
    /// Its name, or a pattern of glob(7).
    pub name: Option<String>,
    /// The name that it gets.
    pub rename: Option<String>,
}

/// Where IPv6 addresses come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auto6 {
    /// Nothing is said: as the guest does by itself.
    #[default]
    Unsaid,
    /// Nowhere: what routers advertise is not listened to.
    Off,
    /// From what routers advertise (SLAAC).
    Slaac,
    /// The same, and DHCP gives the rest: name servers and the like.
    Stateless,
    /// From DHCP.
    Dhcp,
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to: the network's own address. `0.0.0.0/0` and `::/0` are the default routes.
    pub to: Cidr,
    /// Over which router; `None` where the network is on the link.
    pub via: Option<IpAddr>,
    /// The metric; the lower one wins.
    pub metric: Option<u32>,
    /// Whether the router is on the link, whatever the addresses say.
    pub on_link: bool,
}

/// Name servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Their addresses.
    pub servers: Vec<IpAddr>,
    /// The domains that names are looked for in.
    pub search: Vec<String>,
}

/// How a bond works, by the kernel's bonding.rst; `None` is the guest's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bond {
    /// The mode: `balance-rr`, …, `802.3ad`.
    pub mode: Option<&'static str>,
    /// How often carriers are looked at, in milliseconds.
    pub miimon: Option<u32>,
    /// How long a link has to be up before it is used, in milliseconds.
    pub up_delay: Option<u32>,
    /// How long a link has to be down before it is not used any more, in milliseconds.
    pub down_delay: Option<u32>,
    /// `slow` or `fast`: how often LACP packets are asked for.
    pub lacp_rate: Option<&'static str>,
    /// What a member is chosen by: `layer2`, `layer3+4`, …
    pub xmit_hash_policy: Option<&'static str>,
    /// `stable`, `bandwidth` or `count`: how 802.3ad chooses.
    pub ad_select: Option<&'static str>,
    /// How many members have to be up.
    pub min_links: Option<u32>,
    /// The member that is used while it is up.
    pub primary: Option<String>,
}

/// How a bridge works; `None` is the guest's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// Whether it speaks the spanning tree protocol.
    pub stp: Option<bool>,
    /// The priority, 0 to 65535.
    pub priority: Option<u32>,
    /// The forward delay in seconds.
    pub forward_delay: Option<u32>,
    /// The time between hellos in seconds.
    pub hello_time: Option<u32>,
    /// The greatest age of messages in seconds.
    pub max_age: Option<u32>,
    /// How long addresses are kept, in seconds.
    pub ageing_time: Option<u32>,
}

/// A MAC address; shown in lower case with colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac([u8; 6]);

/// The modes of bonds, in the order of their numbers.
pub const BOND_MODES: [&str; 7] =
    ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];
/// The hash policies that every renderer knows.
pub const HASH_POLICIES: [&str; 5] = ["layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4"];
/// How often LACP packets come, in the order of the numbers.
pub const LACP_RATES: [&str; 2] = ["slow", "fast"];
/// How 802.3ad chooses, in the order of the numbers.
pub const AD_SELECTS: [&str; 3] = ["stable", "bandwidth", "count"];

impl Link {
    /// A link with nothing on it.
    pub fn new(id: impl Into<String>, kind: Kind) -> Self {
        Self {
            id: id.into(),
            kind,
            mac: None,
            mtu: None,
            dhcp4: false,
            auto6: Auto6::Unsaid,
            addresses: Vec::new(),
            routes: Vec::new(),
            dns: Dns::default(),
            optional: false,
        }
    }

    /// The device's name in the guest; `None` where that is not known before it runs.
    pub fn device(&self) -> Option<&str> {
        match &self.kind {
            Kind::Hardware(hardware) => hardware.device(),
            Kind::Bond(..) | Kind::Bridge(..) | Kind::Vlan(..) => Some(&self.id),
        }
    }

    /// The addresses of a version, 4 or 6.
    pub fn addresses(&self, version: u8) -> impl Iterator<Item = Cidr> {
        self.addresses.iter().copied().filter(move |address| address.version() == version)
    }

    /// The routes of a version, 4 or 6.
    pub fn routes(&self, version: u8) -> impl Iterator<Item = Route> {
        self.routes.iter().copied().filter(move |route| route.to.version() == version)
    }

    /// The name servers of a version, 4 or 6.
    pub fn servers(&self, version: u8) -> impl Iterator<Item = IpAddr> {
        self.dns.servers.iter().copied().filter(move |server| server.is_ipv4() == (version == 4))
    }

    /// Whether a router is in a network that it has an address of, or has a route to without another router.
    pub fn reaches(&self, router: IpAddr) -> bool {
        let links = self.routes.iter().filter(|route| route.via.is_none()).map(|route| route.to);
        self.addresses.iter().copied().chain(links).any(|network| network.holds(router))
    }

    /// Whether it may get an address of this version, 4 or 6, that nobody has written down.
    pub fn is_given(&self, version: u8) -> bool {
        match version {
            4 => self.dhcp4,
            _ => !matches!(self.auto6, Auto6::Unsaid | Auto6::Off),
        }
    }

    /// Has the routers that it does not reach on the link, of the routes that this is said of.
    pub fn put_on_link(&mut self, is_meant: impl Fn(&Self, IpAddr) -> bool) {
        let outside = |route: &Route| {
            let via = route.via.filter(|via| !is_link_local(*via))?;
            let is_given = self.is_given(route.to.version());
            (!is_given && !self.reaches(via) && is_meant(self, via)).then_some(via)
        };
        let outside: Vec<IpAddr> = self.routes.iter().filter_map(outside).collect();
        for route in &mut self.routes {
            route.on_link |= route.via.is_some_and(|via| outside.contains(&via));
        }
    }

    /// Whether it has an address of its own, or gets one.
    pub fn is_configured(&self) -> bool {
        self.dhcp4 || !self.addresses.is_empty() || !matches!(self.auto6, Auto6::Unsaid | Auto6::Off)
    }

    /// The links that it is made of, or lies on.
    pub fn lower(&self) -> &[String] {
        match &self.kind {
            Kind::Hardware(_) => &[],
            Kind::Bond(members, _) | Kind::Bridge(members, _) => members,
            Kind::Vlan(parent, _) => std::slice::from_ref(parent),
        }
    }
}

impl Hardware {
    /// The device of this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// The device with this address.
    pub fn with_mac(mac: Mac) -> Self {
        Self { mac: Some(mac), ..Self::default() }
    }

    /// The pattern of names, where it is one.
    pub fn pattern(&self) -> Option<&str> {
        self.name.as_deref().filter(|name| is_pattern(name))
    }

    fn device(&self) -> Option<&str> {
        self.rename.as_deref().or_else(|| self.name.as_deref().filter(|name| !is_pattern(name)))
    }
}

/// Whether an address is one of a single link: of these every device with IPv6 has one.
pub(super) fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Whether a name is a pattern.
pub(crate) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

impl Config {
    /// The link of this id.
    pub fn link(&self, id: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.id == id)
    }

    /// The bond or bridge that a link is a member of.
    pub fn master(&self, id: &str) -> Option<&Link> {
        let has = |members: &[String]| members.iter().any(|member| member == id);
        self.links.iter().find(|link| match &link.kind {
            Kind::Bond(members, _) | Kind::Bridge(members, _) => has(members),
            Kind::Hardware(_) | Kind::Vlan(..) => false,
        })
    }

    /// The VLANs over a link.
    pub fn vlans(&self, id: &str) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(move |link| matches!(&link.kind, Kind::Vlan(parent, _) if parent == id))
    }

    /// Whether all of its links are devices that are there.
    pub fn is_hardware_only(&self) -> bool {
        self.links.iter().all(|link| matches!(link.kind, Kind::Hardware(_)))
    }
}

impl Route {
    /// The default route of the router's version.
    pub fn default_via(router: IpAddr) -> Self {
        let all = match router {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self { to: Cidr::host(all).with_prefix(0), via: Some(router), metric: None, on_link: false }
    }

    /// Whether it is a default route.
    pub fn is_default(&self) -> bool {
        self.to.prefix() == 0
    }
}

impl Mac {
    /// Reads six pairs of hexadecimal digits with colons, or with hyphens.
    pub fn parse(text: &str) -> Option<Self> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(bytes))
    }

    /// Whether it is one that a device can have: not that of a group, not all zeros.
    pub fn is_of_a_device(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
