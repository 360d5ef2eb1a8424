//! The keys of netplan(5), and what each may have.

use Shape::{
    Addresses, AnyCaseOf, Definitions, Ip, Ip4, Ip6, ListOf, Mac, MacOr, Name, Number, NumberTo, Object, ObjectOf,
    OneOf, OneOfSince, Ports, Reference, References, Route, Rule, Text, TextOr, Texts, Truth, TruthOr, Version,
};

/// A key.
#[derive(Debug)]
pub(super) struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it may have.
    pub shape: Shape,
    /// The version of netplan that was the first to know it.
    pub since: Since,
}

/// A version of netplan, its first two numbers.
pub(super) type Since = (u32, u32);

/// Older than the oldest that guests of today have: 0.104 of Ubuntu 22.04.
const ALWAYS: Since = (0, 0);

/// What a value may be.
#[derive(Debug)]
pub(super) enum Shape {
    /// Any text.
    Text,
    /// A truth value.
    Truth,
    /// A truth value, or this.
    TruthOr(&'static str),
    /// A number of 32 bits.
    Number,
    /// A number up to this one.
    NumberTo(u32),
    /// A name without blanks.
    Name,
    /// The version of the format.
    Version,
    /// A MAC address, of a network card or of InfiniBand.
    Mac,
    /// The same, or one of these.
    MacOr(&'static [&'static str]),
    /// An address of IPv4.
    Ip4,
    /// An address of IPv6.
    Ip6,
    /// An address.
    Ip,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// One of these, each with the version that was the first to know it.
    OneOfSince(&'static [(&'static str, Since)]),
    /// One of these, in capitals or not.
    AnyCaseOf(&'static [&'static str]),
    /// A list.
    ListOf(&'static Shape),
    /// A text without blanks, or what the other shape says.
    TextOr(&'static Shape),
    /// An object with these keys.
    Object(&'static [&'static [Key]]),
    /// An object of any keys with texts.
    Texts,
    /// An object of any keys.
    ObjectOf(&'static Shape),
    /// An object whose keys are names of other definitions.
    References(&'static Shape),
    /// The name of another definition.
    Reference,
    /// A list of addresses with their prefixes; each may have options, where there are some.
    Addresses(Labelled),
    /// A route.
    Route,
    /// A rule of routing.
    Rule,
    /// Two ports of Open vSwitch that are each other's.
    Ports,
    /// Definitions of devices of one type, by their names.
    Definitions(&'static [&'static [Key]]),
}

/// Whether addresses have a prefix other than none, and options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Labelled {
    /// Those of a device.
    Device,
    /// Those that a peer may have.
    Peer,
}

const fn key(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, since: ALWAYS }
}

const fn since(major: u32, minor: u32, name: &'static str, shape: Shape) -> Key {
    Key { name, shape, since: (major, minor) }
}

/// What is outermost.
pub(super) const ROOT: Shape = Object(&[&[key("network", Object(&[NETWORK]))]]);

const NETWORK: &[Key] = &[
    key("version", Version),
    key("renderer", RENDERER),
    key("ethernets", Definitions(&[COMMON, BACKENDS, PHYSICAL, ETHERNET])),
    key("wifis", Definitions(&[COMMON, BACKENDS, PHYSICAL, WIFI])),
    key("modems", Definitions(&[COMMON, BACKENDS, PHYSICAL, MODEM])),
    key("bonds", Definitions(&[COMMON, BACKENDS, BOND])),
    key("bridges", Definitions(&[COMMON, BACKENDS, BRIDGE])),
    key("vlans", Definitions(&[VLAN, COMMON, BACKENDS])),
    since(0, 105, "vrfs", Definitions(&[COMMON, BACKENDS, VRF])),
    key("tunnels", Definitions(&[COMMON, BACKENDS, TUNNEL])),
    since(0, 107, "dummy-devices", Definitions(&[COMMON, BACKENDS])),
    since(0, 107, "virtual-ethernets", Definitions(&[COMMON, BACKENDS, VETH])),
    key("nm-devices", Definitions(&[COMMON, BACKENDS, PHYSICAL, ETHERNET])),
    key("openvswitch", Object(&[OPENVSWITCH])),
];

/// What a renderer may be.
pub(super) const RENDERER: Shape = OneOf(&["networkd", "NetworkManager"]);
const NAMES: Shape = ListOf(&Reference);

const COMMON: &[Key] = &[
    key("accept-ra", Truth),
    key("activation-mode", OneOf(&["manual", "off"])),
    key("addresses", Addresses(Labelled::Device)),
    key("critical", Truth),
    key("ignore-carrier", Truth),
    key("dhcp4", Truth),
    key("dhcp6", Truth),
    key("dhcp-identifier", AnyCaseOf(&["duid", "mac"])),
    key("dhcp4-overrides", Object(&[DHCP])),
    key("dhcp6-overrides", Object(&[DHCP])),
    since(1, 1, "ra-overrides", Object(&[ADVERTISED])),
    key("gateway4", Ip4),
    key("gateway6", Ip6),
    key("ipv6-address-generation", OneOf(&["eui64", "stable-privacy"])),
    key("ipv6-address-token", Ip6),
    key("ipv6-mtu", Number),
    key("ipv6-privacy", Truth),
    key("link-local", ListOf(&AnyCaseOf(&["ipv4", "ipv6"]))),
    key("macaddress", MacOr(&["permanent", "random", "stable", "preserve", "stable-ssid"])),
    key("mtu", Number),
    key("nameservers", Object(&[&[key("search", ListOf(&Text)), key("addresses", ListOf(&Ip))]])),
    key("optional", Truth),
    key("optional-addresses", ListOf(&AnyCaseOf(&["ipv4-ll", "ipv6-ra", "dhcp4", "dhcp6", "static"]))),
    key("renderer", RENDERER),
    key("routes", ListOf(&Route)),
    key("routing-policy", ListOf(&Rule)),
    since(1, 0, "hairpin", Truth),
    since(1, 0, "port-mac-learning", Truth),
    since(0, 105, "neigh-suppress", Truth),
];

const BACKENDS: &[Key] = &[key("networkmanager", Object(&[NETWORK_MANAGER])), key("openvswitch", Object(&[SWITCHED]))];

const PHYSICAL: &[Key] = &[
    key("match", Object(&[&[key("driver", TextOr(&ListOf(&Text))), key("macaddress", Mac), key("name", Name)]])),
    key("set-name", Text),
    key("wakeonlan", Truth),
    key("wakeonwlan", ListOf(&AnyCaseOf(WAKING))),
    key("emit-lldp", Truth),
    key("receive-checksum-offload", Truth),
    key("transmit-checksum-offload", Truth),
    key("tcp-segmentation-offload", Truth),
    key("tcp6-segmentation-offload", Truth),
    key("generic-segmentation-offload", Truth),
    key("generic-receive-offload", Truth),
    key("large-receive-offload", Truth),
];

const WAKING: &[&str] = &[
    "default",
    "any",
    "disconnect",
    "magic_pkt",
    "gtk_rekey_failure",
    "eap_identity_req",
    "four_way_handshake",
    "rfkill_release",
    "tcp",
];

const ETHERNET: &[Key] = &[
    key("auth", Object(&[AUTH])),
    key("link", Reference),
    key("virtual-function-count", Number),
    key("embedded-switch-mode", OneOf(&["switchdev", "legacy"])),
    key("delay-virtual-functions-rebind", Truth),
    since(0, 105, "infiniband-mode", OneOf(&["datagram", "connected"])),
];

const WIFI: &[Key] = &[
    key("access-points", ObjectOf(&Object(&[ACCESS_POINT]))),
    key("auth", Object(&[AUTH])),
    since(0, 105, "regulatory-domain", Text),
];

const ACCESS_POINT: &[Key] = &[
    key("band", OneOf(&["5GHz", "5G", "2.4GHz", "2.4G"])),
    key("bssid", Mac),
    key("hidden", Truth),
    key("channel", Number),
    key("mode", OneOf(&["infrastructure", "adhoc", "ap"])),
    key("password", Text),
    key("auth", Object(&[AUTH])),
    key("networkmanager", Object(&[NETWORK_MANAGER])),
];

const AUTH: &[Key] = &[
    key(
        "key-management",
        OneOfSince(&[
            ("none", ALWAYS),
            ("psk", ALWAYS),
            ("psk-sha256", (1, 2)),
            ("eap", ALWAYS),
            ("eap-sha256", (1, 0)),
            ("eap-suite-b-192", (1, 0)),
            ("sae", (1, 0)),
            ("802.1x", ALWAYS),
        ]),
    ),
    key("method", OneOf(&["tls", "peap", "ttls", "leap", "pwd"])),
    key("identity", Text),
    key("anonymous-identity", Text),
    key("password", Text),
    key("ca-certificate", Text),
    key("client-certificate", Text),
    key("client-key", Text),
    key("client-key-password", Text),
    key("phase2-auth", Text),
];

const MODEM: &[Key] = &[
    key("apn", Text),
    key("auto-config", Truth),
    key("device-id", Text),
    key("network-id", Text),
    key("number", Text),
    key("password", Text),
    key("pin", Text),
    key("sim-id", Text),
    key("sim-operator-id", Text),
    key("username", Text),
];

const BOND: &[Key] = &[key("interfaces", NAMES), key("parameters", Object(&[BOND_PARAMETERS]))];

const BOND_PARAMETERS: &[Key] = &[
    key(
        "mode",
        OneOf(&[
            "balance-rr",
            "active-backup",
            "balance-xor",
            "broadcast",
            "802.3ad",
            "balance-tlb",
            "balance-alb",
            "balance-tcp",
            "balance-slb",
        ]),
    ),
    key("lacp-rate", OneOf(&["slow", "fast"])),
    key("mii-monitor-interval", Text),
    key("min-links", Number),
    key("transmit-hash-policy", Text),
    key("ad-select", Text),
    key("all-slaves-active", Truth),
    since(0, 106, "all-members-active", Truth),
    key("arp-interval", Text),
    key("arp-ip-targets", ListOf(&Ip4)),
    key("arp-validate", Text),
    key("arp-all-targets", Text),
    key("up-delay", Text),
    key("down-delay", Text),
    key("fail-over-mac-policy", Text),
    key("gratuitous-arp", Number),
    key("gratuitious-arp", Number),
    key("packets-per-slave", Number),
    since(0, 106, "packets-per-member", Number),
    key("primary-reselect-policy", Text),
    key("resend-igmp", Number),
    key("learn-packet-interval", Text),
    key("primary", Reference),
];

const BRIDGE: &[Key] = &[key("interfaces", NAMES), key("parameters", Object(&[BRIDGE_PARAMETERS]))];

const BRIDGE_PARAMETERS: &[Key] = &[
    key("ageing-time", Text),
    since(0, 105, "aging-time", Text),
    key("forward-delay", Text),
    key("hello-time", Text),
    key("max-age", Text),
    key("path-cost", References(&Number)),
    key("port-priority", References(&NumberTo(63))),
    key("priority", Number),
    key("stp", Truth),
];

const VLAN: &[Key] =
    &[key("id", Number), key("link", Reference), key("renderer", OneOf(&["networkd", "NetworkManager", "sriov"]))];

const VRF: &[Key] = &[key("interfaces", NAMES), key("table", Number)];

const VETH: &[Key] = &[key("peer", Reference)];

const TUNNEL: &[Key] = &[
    key(
        "mode",
        OneOf(&[
            "ipip",
            "gre",
            "sit",
            "isatap",
            "vti",
            "ip6ip6",
            "ipip6",
            "ip6gre",
            "vti6",
            "gretap",
            "ip6gretap",
            "vxlan",
            "wireguard",
        ]),
    ),
    key("local", Ip),
    key("remote", Ip),
    key("ttl", NumberTo(255)),
    key("key", TextOr(&Object(&[TUNNEL_KEYS]))),
    key("keys", TextOr(&Object(&[TUNNEL_KEYS]))),
    key("mark", Number),
    key("port", Number),
    key("peers", ListOf(&Object(&[PEER]))),
    since(0, 105, "link", Reference),
    since(0, 105, "ageing", Number),
    since(0, 105, "aging", Number),
    since(0, 105, "id", Number),
    since(0, 105, "limit", Number),
    since(0, 105, "type-of-service", Number),
    since(0, 105, "flow-label", NumberTo(1_048_575)),
    since(0, 105, "do-not-fragment", Truth),
    since(0, 105, "short-circuit", Truth),
    since(0, 105, "arp-proxy", Truth),
    since(0, 105, "mac-learning", Truth),
    since(0, 105, "notifications", ListOf(&AnyCaseOf(&["l2-miss", "l3-miss"]))),
    since(
        0,
        105,
        "checksums",
        ListOf(&AnyCaseOf(&["udp", "zero-udp-6-tx", "zero-udp-6-rx", "remote-tx", "remote-rx"])),
    ),
    since(0, 105, "extensions", ListOf(&AnyCaseOf(&["group-policy", "generic-protocol"]))),
    since(0, 105, "port-range", ListOf(&Number)),
];

const TUNNEL_KEYS: &[Key] = &[
    key("input", Text),
    key("output", Text),
    key("private", Text),
    since(0, 107, "private-key-flags", ListOf(&AnyCaseOf(&["agent-owned", "not-saved", "not-required"]))),
];

const PEER: &[Key] = &[
    key("keys", Object(&[&[key("public", Text), key("shared", Text)]])),
    key("keepalive", NumberTo(65_535)),
    key("endpoint", Text),
    key("allowed-ips", Addresses(Labelled::Peer)),
];

const DHCP: &[Key] = &[
    key("hostname", Text),
    key("route-metric", Number),
    key("send-hostname", Truth),
    key("use-dns", Truth),
    key("use-domains", Text),
    key("use-hostname", Truth),
    key("use-mtu", Truth),
    key("use-ntp", Truth),
    key("use-routes", Truth),
];

const ADVERTISED: &[Key] = &[key("use-dns", Truth), key("use-domains", TruthOr("route")), key("table", Number)];

const NETWORK_MANAGER: &[Key] =
    &[key("name", Text), key("uuid", Text), key("stable-id", Text), key("device", Text), key("passthrough", Texts)];

const SWITCHED: &[Key] = &[
    key("external-ids", Texts),
    key("other-config", Texts),
    key("lacp", OneOf(&["active", "passive", "off"])),
    key("fail-mode", OneOf(&["standalone", "secure"])),
    key("mcast-snooping", Truth),
    key("rstp", Truth),
    key("protocols", PROTOCOLS),
    key(
        "controller",
        Object(&[&[key("addresses", ListOf(&Text)), key("connection-mode", OneOf(&["in-band", "out-of-band"]))]]),
    ),
];

const OPENVSWITCH: &[Key] = &[
    key("external-ids", Texts),
    key("other-config", Texts),
    key("protocols", PROTOCOLS),
    key("ports", ListOf(&Ports)),
    key("ssl", Object(&[&[key("ca-cert", Text), key("certificate", Text), key("private-key", Text)]])),
];

const PROTOCOLS: Shape =
    ListOf(&OneOf(&["OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14", "OpenFlow15", "OpenFlow16"]));

/// What a route may have.
pub(super) const ROUTE: &[Key] = &[
    key("from", Text),
    key("on-link", Truth),
    key("scope", AnyCaseOf(&["global", "link", "host"])),
    key("table", Number),
    key("to", Text),
    key(
        "type",
        AnyCaseOf(&[
            "unicast",
            "anycast",
            "blackhole",
            "broadcast",
            "local",
            "multicast",
            "nat",
            "prohibit",
            "throw",
            "unreachable",
            "xresolve",
        ]),
    ),
    key("via", Text),
    key("metric", Number),
    key("mtu", Number),
    key("congestion-window", Number),
    key("advertised-receive-window", Number),
    since(1, 1, "advertised-mss", Number),
];

/// What a rule of routing may have.
pub(super) const RULE: &[Key] = &[
    key("from", Text),
    key("mark", Number),
    key("priority", Number),
    key("table", Number),
    key("to", Text),
    key("type-of-service", NumberTo(255)),
];

/// What an address may have.
pub(super) const ADDRESS: &[Key] = &[key("lifetime", AnyCaseOf(&["0", "forever"])), key("label", Text)];
