//! Guests that are booted with what was put into them: what they say of themselves at their consoles.

mod cloud;
mod other_inits;

use crate::support::machine::{Machine, inject, key_pair, modules};
use crate::support::{expect, image, oracle, text};

/// Waits for what is started at boot, and for the network.
const BOOTED: &str = "systemctl is-system-running --wait >/dev/null
for turn in $(seq 60); do ip route | grep -q default && break; sleep 1; done
";

/// A bond of two devices with a VLAN on it, and a third device with IPv6 alone.
const BOND_AND_VLAN: &str = r#"{
  "links": [
    {"id": "port0", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:00"},
    {"id": "port1", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:01"},
    {"id": "port2", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:02"},
    {"id": "bond0", "type": "bond", "bond_links": ["port0", "port1"], "bond_mode": "active-backup", "bond_miimon": 100,
     "mtu": 1400, "ethernet_mac_address": "52:54:00:12:34:00"},
    {"id": "bond0.20", "type": "vlan", "vlan_link": "bond0", "vlan_id": 20, "vlan_mac_address": "52:54:00:12:34:00"}
  ],
  "networks": [
    {"id": "network0", "type": "ipv4", "link": "bond0", "ip_address": "192.0.2.7", "netmask": "255.255.255.0",
     "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}]},
    {"id": "network1", "type": "ipv4", "link": "bond0.20", "ip_address": "198.51.100.7", "netmask": "255.255.255.0",
     "routes": [{"network": "10.0.0.0", "netmask": "255.0.0.0", "gateway": "198.51.100.1"}]},
    {"id": "network2", "type": "ipv6", "link": "port2", "ip_address": "2001:db8::7", "netmask": "ffff:ffff:ffff:ffff::",
     "routes": [{"network": "::", "netmask": "::", "gateway": "2001:db8::1"}],
     "services": [{"type": "dns", "address": "2001:db8::53"}]}
  ],
  "services": [{"type": "dns", "address": "192.0.2.53"}]
}"#;

#[test]
fn a_booted_guest_has_it_all_in_effect() {
    const QUESTIONS: &str = "echo \"SAID user $(id -un)\"
echo \"SAID hostname $(hostname) $(hostname -f)\"
echo \"SAID zone $(date -d @0 +%Z)\"
echo \"SAID motd $(cat /etc/motd)\"
echo \"SAID metadata $(cat /meta.js)\"
ip -br -4 address show vec0 | while read name state address; do echo \"SAID address $name $address\"; done
ip route show default | while read default via gateway rest; do echo \"SAID gateway $gateway\"; done
for turn in $(seq 60); do [ -e /var/log/imgraft-firstboot.log ] && ! [ -e /etc/systemd/system/multi-user.target.wants/imgraft-firstboot.service ] && break; sleep 1; done
grep -e === -e '^by ' -e already /var/log/imgraft-firstboot.log | sed 's/^/SAID firstboot /; s/ version (.*/ version/'
ssh -o StrictHostKeyChecking=no -o BatchMode=yes -i /root/id debian@127.0.0.1 'echo \"SAID by-key $(id -un)\"'
";
    const NETWORK: &str = "[Match]\nName=vec0\n\n[Network]\nAddress=192.0.2.7/24\nGateway=192.0.2.1\n";

    let Some(machine) = Machine::of("trixie-gpt") else { return };
    let key = key_pair(machine.scratch.path());
    let words = [
        format!("--ssh-inject=debian:file:{}.pub", text(&key)),
        machine.with_file("--network=", "net", NETWORK),
        "--hostname=web.example.org".to_owned(),
        "--timezone=Europe/Berlin".to_owned(),
        "--metadata=role=web".to_owned(),
        machine.with_file(
            "--firstboot=",
            "set-up.sh",
            "#!/bin/sh\necho by $(id -un) after $(ip route show default | wc -l) route\n",
        ),
        "--firstboot-command=exit 3".to_owned(),
        // There is no network to fetch another one from.
        "--firstboot-install=passwd".to_owned(),
        "--write=/etc/motd:put here".to_owned(),
        format!("--upload={}:/root/id", text(&key)),
    ];
    inject(&machine, &[&words[..], &machine.console(&format!("{BOOTED}{QUESTIONS}"))].concat());
    machine.boot(&["52:54:00:12:34:00"], &[]).is(&[
        "user root",
        "hostname web.example.org web.example.org",
        "zone CET",
        "motd put here",
        "metadata {\"role\": \"web\"}",
        "address vec0 192.0.2.7/24",
        "gateway 192.0.2.1",
        "firstboot === 0001-set-up.sh",
        "firstboot by root after 1 route",
        "firstboot === 0001-set-up.sh: exit status 0",
        "firstboot === 0002-command",
        "firstboot === 0002-command: exit status 3",
        "firstboot === 0003-install",
        "firstboot passwd is already the newest version",
        "firstboot === 0003-install: exit status 0",
        "by-key debian",
    ]);
    // The machine was put out hard: its journal is replayed.
    assert!(expect(0, &["cat", text(&machine.disk), "/etc/machine-id"]).len() > 1, "it has been running");
}

/// A service that does nothing, and is started by the guest where it is enabled.
fn service(name: &str, condition: &str) -> String {
    format!(
        "--write=/usr/lib/systemd/system/{name}.service:[Unit]\n{condition}\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
    )
}

#[test]
fn users_units_and_a_language_are_in_effect() {
    const HERS: &str = "echo \"SAID id $(id -un) $(id -gn) $(id -Gn)\"
echo \"SAID home $PWD $(stat -c '%U:%G %a' .)\"
cmp .bashrc /etc/skel/.bashrc && echo \"SAID skeleton\"
echo \"SAID sudo $(sudo -n id -un)\"
echo \"SAID language $LANG $(date -d 2026-01-05 +%A)\"
";
    const QUESTIONS: &str = "echo \"SAID login $(id -un)\"
for user in alice bob; do sudo -l -U $user | sed -n '$s/^ */SAID sudo /p'; done
for unit in on off never first; do echo \"SAID unit $unit $(systemctl is-enabled $unit.service) $(systemctl is-active $unit.service)\"; done
localectl status | sed -n 's/^ *\\(System Locale\\|X11 Layout\\): /SAID &/p' | tr -s ' '
echo \"SAID machine $(grep -cxE '[0-9a-f]{32}' /etc/machine-id) $(grep -c 0123456789abcdef /etc/machine-id)\"
ip -br -4 address show vec0 | while read name state address; do echo \"SAID address $name $address\"; done
echo \"SAID route $(ip route show default)\"
echo \"SAID dns $(resolvectl dns vec0 | sed 's/.*(//; s/)//')\"
echo \"SAID resolver $(readlink -f /etc/resolv.conf)\"
for user in alice bob; do ssh -o StrictHostKeyChecking=no -o BatchMode=yes -i /root/id $user@127.0.0.1 'echo \"SAID by-key $(id -un)\"' || echo \"SAID shut-out $user\"; done
";

    if !oracle::have("localedef") {
        return;
    }
    let Some(machine) = Machine::of("trixie-gpt") else { return };
    let key = key_pair(machine.scratch.path());
    // The guest as it was before: with a language to choose, units that are on, a user who is locked, and an ID.
    let prefix = machine.scratch.path().join("locales");
    std::fs::create_dir_all(prefix.join("usr/lib/locale")).expect("it is made");
    let prefixed = format!("--prefix={}", text(&prefix));
    oracle::succeed("localedef", &["-i", "de_DE", "-f", "UTF-8", &prefixed, "de_DE.UTF-8"]);
    let units =
        [service("on", ""), service("off", ""), service("never", ""), service("first", "ConditionFirstBoot=yes")];
    let before = [
        format!("--upload={}/usr/lib/locale/locale-archive:/usr/lib/locale/locale-archive", text(&prefix)),
        "--enable-unit=off".to_owned(),
        "--enable-unit=never".to_owned(),
        "--enable-unit=first".to_owned(),
        machine.with_file("--password=debian:locked:file:", "locked", "battery staple\n"),
        "--machine-id=0123456789abcdef0123456789abcdef".to_owned(),
    ];
    inject(&machine, &[&before[..], &units[..]].concat());

    let words = [
        "--hostname=web".to_owned(),
        "--add-group=web:gid=1700".to_owned(),
        "--add-user=alice:groups=web+adm,shell=/bin/bash".to_owned(),
        "--add-user=bob:shell=/bin/bash".to_owned(),
        machine.with_file("--password=alice:file:", "alice", "her password\n"),
        machine.with_file("--password=bob:file:", "bob", "his password\n"),
        "--sudo=alice:nopasswd".to_owned(),
        "--expire=bob:now".to_owned(),
        "--unlock=debian".to_owned(),
        format!("--ssh-inject=alice:file:{}.pub", text(&key)),
        format!("--ssh-inject=bob:file:{}.pub", text(&key)),
        format!("--upload={}:/root/id", text(&key)),
        machine.with_file("--upload=", "hers", HERS) + ":/srv/hers",
        "--chmod=0644:/srv/hers".to_owned(),
        "--enable-unit=on".to_owned(),
        "--disable-unit=off".to_owned(),
        "--mask-unit=never".to_owned(),
        "--locale=de_DE.UTF-8".to_owned(),
        "--keymap=de".to_owned(),
        "--machine-id=empty".to_owned(),
        "--nic=vec0".to_owned(),
        "--ip=192.0.2.7/24".to_owned(),
        "--gateway=192.0.2.1".to_owned(),
        "--dns=192.0.2.53".to_owned(),
        "--dns=192.0.2.54".to_owned(),
    ];
    inject(&machine, &[&words[..], &machine.console(&format!("{BOOTED}{QUESTIONS}"))].concat());
    let dialogue = [
        ("web login: ", "alice"),
        ("assword: ", "her password"),
        // The prompt is that of the skeleton's .bashrc.
        ("alice@web:~$ ", "sh /srv/hers"),
        ("alice@web:~$ ", "exit"),
        ("web login: ", "debian"),
        ("assword: ", "battery staple"),
        ("debian@web:~$ ", "exit"),
        ("web login: ", "bob"),
        ("assword: ", "his password"),
    ];
    let said = machine.boot(&["52:54:00:12:34:00"], &dialogue);
    said.is(&[
        "id alice alice alice adm web",
        "home /home/alice alice:alice 700",
        "skeleton",
        "sudo root",
        "language de_DE.UTF-8 Montag",
        "login root",
        "sudo (ALL : ALL) NOPASSWD: ALL",
        "sudo User bob is not allowed to run sudo on web.",
        "unit on enabled active",
        "unit off disabled inactive",
        "unit never masked inactive",
        "unit first enabled inactive",
        "System Locale: LANG=de_DE.UTF-8",
        "X11 Layout: de",
        "machine 1 0",
        "address vec0 192.0.2.7/24",
        "route default via 192.0.2.1 dev vec0 proto static",
        "dns vec0: 192.0.2.53 192.0.2.54",
        "resolver /run/systemd/resolve/stub-resolv.conf",
        "by-key alice",
        "shut-out bob",
    ]);
    assert!(said.console.contains("account has expired"), "{}", said.console);
}

#[test]
fn a_guest_made_ready_for_cloning_makes_itself_anew() {
    const QUESTIONS: &str = "echo \"SAID booted $(systemctl is-system-running)\"
systemctl --failed --plain --no-legend | sed 's/^/SAID failed /'
for kind in ecdsa ed25519 rsa; do echo \"SAID host-key $kind $(ssh-keygen -l -f /etc/ssh/ssh_host_${kind}_key | wc -l)\"; done
echo \"SAID machine $(grep -cxE '[0-9a-f]{32}' /etc/machine-id) $(grep -c 0123456789abcdef /etc/machine-id)\"
echo \"SAID sshd $(systemctl is-active ssh.service)\"
for unit in on off first; do echo \"SAID unit $unit $(systemctl is-enabled $unit.service) $(systemctl is-active $unit.service)\"; done
echo \"SAID bond $(cat /sys/class/net/bond0/bonding/mode) of $(cat /sys/class/net/bond0/bonding/slaves | xargs -n 1 | sort | xargs)\"
echo \"SAID mtu $(cat /sys/class/net/bond0/mtu)\"
ip -d link show bond0.20 | sed -n 's/^ *\\(vlan .* id [0-9]*\\) .*/SAID \\1/p'
ip -br address show scope global | grep / | while read name state addresses; do echo \"SAID address $name $addresses\"; done
ip route show | grep -v 'proto kernel' | sed 's/^/SAID route /'
ip -6 route show default | sed 's/^/SAID route /'
resolvectl dns | grep -v ': *$' | sed 's/.*(/SAID dns /; s/)//' | sort
";

    let Some(machine) = Machine::of("trixie-gpt") else { return };
    let units = [service("on", ""), service("off", ""), service("first", "ConditionFirstBoot=yes")];
    let before = ["--enable-unit=off", "--enable-unit=first", "--machine-id=0123456789abcdef0123456789abcdef"];
    inject(&machine, &[&before.map(str::to_owned)[..], &units].concat());
    let keys = || expect(0, &["cat", text(&machine.disk), "/etc/ssh/ssh_host_ed25519_key.pub"]);
    let key = keys();
    let told = expect(0, &["sysprep", text(&machine.disk)]);
    assert!(told.contains("sshd-keygen.service makes host keys again at a first boot only"), "{told}");
    oracle::e2fsck(&machine.disk, machine.offset());
    // At a first boot systemd enables what no preset speaks of.
    let words = [
        machine.with_file("--network=", "network_data.json", BOND_AND_VLAN),
        "--machine-id=uninitialized".to_owned(),
        "--enable-unit=on".to_owned(),
        "--disable-unit=off".to_owned(),
    ];
    let modules = modules(&["ipv6", "bonding", "8021q"]);
    inject(&machine, &[&words[..], &modules, &machine.console(&format!("{BOOTED}{QUESTIONS}"))].concat());
    machine.boot(&["52:54:00:12:34:00", "52:54:00:12:34:01", "52:54:00:12:34:02"], &[]).is(&[
        "booted running",
        "host-key ecdsa 1",
        "host-key ed25519 1",
        "host-key rsa 1",
        "machine 1 0",
        "sshd active",
        "unit on enabled active",
        "unit off disabled inactive",
        "unit first enabled active",
        "bond active-backup 1 of vec0 vec1",
        "mtu 1400",
        "vlan protocol 802.1Q id 20",
        "address vec2 2001:db8::7/64",
        "address bond0 192.0.2.7/24",
        "address bond0.20@bond0 198.51.100.7/24",
        "route default via 192.0.2.1 dev bond0 proto static",
        "route 10.0.0.0/8 via 198.51.100.1 dev bond0.20 proto static",
        "route default via 2001:db8::1 dev vec2 proto static metric 1024 pref medium",
        "dns bond0.20: 192.0.2.53",
        "dns bond0: 192.0.2.53",
        "dns vec2: 2001:db8::53 192.0.2.53",
    ]);
    assert_ne!(keys(), key, "it is another machine's");
}

#[test]
fn ifupdown_brings_a_compiled_network_up() {
    const QUESTIONS: &str = "echo \"SAID booted $(systemctl is-system-running)\"
systemctl --failed --plain --no-legend | sed 's/^/SAID failed /'
echo \"SAID networking $(systemctl is-active networking.service)\"
echo \"SAID sshd $(systemctl is-active ssh.service)\"
echo \"SAID bond $(cat /sys/class/net/bond0/bonding/mode) of $(cat /sys/class/net/bond0/bonding/slaves | xargs -n 1 | sort | xargs)\"
echo \"SAID mtu $(cat /sys/class/net/bond0/mtu)\"
ip -d link show bond0.20 | sed -n 's/^ *\\(vlan .* id [0-9]*\\) .*/SAID \\1/p'
ip -br address show scope global | grep / | while read name state addresses; do echo \"SAID address $name $addresses\"; done
ip route show | grep -v 'proto kernel' | sed 's/^/SAID route /'
ip -6 route show default | sed 's/^/SAID route /'
sed 's/^/SAID resolv.conf /' /etc/resolv.conf
";
    const NETWORK: &str = "network:
  version: 2
  ethernets:
    vec0: {}
    vec1: {}
    vec2:
      addresses: [192.0.2.7/24, '2001:db8::7/64']
      routes:
      - {to: default, via: 192.0.2.1}
      - {to: 10.0.0.0/8, via: 192.0.2.254, metric: 50}
      - {to: '::/0', via: '2001:db8::1'}
      nameservers: {addresses: [192.0.2.53, '2001:db8::53'], search: [example.org]}
  bonds:
    bond0:
      interfaces: [vec0, vec1]
      mtu: 1400
      parameters: {mode: active-backup, mii-monitor-interval: 100}
  vlans:
    bond0.20: {id: 20, link: bond0, addresses: [198.51.100.7/24]}
    storage: {id: 30, link: bond0, addresses: [203.0.113.7/24]}
";
    let Some(machine) = Machine::of("bookworm-gpt") else { return };
    expect(0, &["sysprep", text(&machine.disk)]);
    let words = [
        machine.with_file("--network=", "network.yaml", NETWORK),
        "--firstboot-command=ssh-keygen -A && systemctl reset-failed ssh && systemctl restart ssh".to_owned(),
    ];
    let modules = modules(&["ipv6", "bonding", "8021q"]);
    inject(&machine, &[&words[..], &modules, &machine.console(&format!("{BOOTED}{QUESTIONS}"))].concat());
    machine.boot(&["52:54:00:12:34:00", "52:54:00:12:34:01", "52:54:00:12:34:02"], &[]).is(&[
        "booted running",
        "networking active",
        "sshd active",
        "bond active-backup 1 of vec0 vec1",
        "mtu 1400",
        "vlan protocol 802.1Q id 20",
        "address vec2 192.0.2.7/24 2001:db8::7/64",
        "address bond0.20@bond0 198.51.100.7/24",
        "address storage@bond0 203.0.113.7/24",
        "route default via 192.0.2.1 dev vec2 onlink",
        "route 10.0.0.0/8 via 192.0.2.254 dev vec2 metric 50",
        "route default via 2001:db8::1 dev vec2 metric 1024 onlink pref medium",
        "resolv.conf # Made by imgraft.",
        "resolv.conf search example.org",
        "resolv.conf nameserver 192.0.2.53",
        "resolv.conf nameserver 2001:db8::53",
    ]);
}

#[test]
fn netplan_brings_a_compiled_network_up() {
    const QUESTIONS: &str = "echo \"SAID booted $(systemctl is-system-running)\"
systemctl --failed --plain --no-legend | sed 's/^/SAID failed /'
echo \"SAID made $(ls /run/systemd/network | grep -c netplan)\"
echo \"SAID bond $(cat /sys/class/net/bond0/bonding/mode) of $(cat /sys/class/net/bond0/bonding/slaves | xargs -n 1 | sort | xargs)\"
echo \"SAID mtu $(cat /sys/class/net/bond0/mtu)\"
ip -d link show bond0.20 | sed -n 's/^ *\\(vlan .* id [0-9]*\\) .*/SAID \\1/p'
ip -br address show scope global | grep / | while read name state addresses; do echo \"SAID address $name $addresses\"; done
ip route show | grep -v 'proto kernel' | sed 's/^/SAID route /'
resolvectl dns | grep -v ': *$' | sed 's/.*(/SAID dns /; s/)//' | sort
";
    const NETWORK: &str = "version: 1
config:
- {type: physical, name: vec0}
- {type: physical, name: vec1}
- type: physical
  name: vec2
  subnets: [{type: static, address: 192.0.2.7/24, gateway: 192.0.2.1, dns_nameservers: [192.0.2.53]}]
- type: bond
  name: bond0
  bond_interfaces: [vec0, vec1]
  mtu: 1400
  params: {bond-mode: active-backup, bond-miimon: 100}
- type: vlan
  name: bond0.20
  vlan_link: bond0
  vlan_id: 20
  subnets:
  - type: static
    address: 198.51.100.7/24
    routes: [{network: 10.0.0.0, netmask: 255.0.0.0, gateway: 198.51.100.1}]
";
    /// netplan's program and what it needs, of the packages that are unpacked for the tests.
    const NETPLAN: [&str; 8] = [
        "usr/libexec/netplan/generate",
        "usr/lib/x86_64-linux-gnu/libnetplan.so.0.0",
        "usr/lib/x86_64-linux-gnu/libglib-2.0.so.0",
        "usr/lib/x86_64-linux-gnu/libgio-2.0.so.0",
        "usr/lib/x86_64-linux-gnu/libgobject-2.0.so.0",
        "usr/lib/x86_64-linux-gnu/libgmodule-2.0.so.0",
        "usr/lib/x86_64-linux-gnu/libyaml-0.so.2",
        "usr/lib/x86_64-linux-gnu/libffi.so.8",
    ];

    let Some(machine) = Machine::of("trixie-gpt") else { return };
    let unpacked = image::built().join("network");
    if !unpacked.join(NETPLAN[0]).exists() {
        return oracle::skip("netplan is not unpacked; `make testdata` does it");
    }
    let mut netplan: Vec<String> =
        NETPLAN.iter().map(|path| format!("--upload={}:/{path}", text(&unpacked.join(path)))).collect();
    netplan.push("--link=/usr/libexec/netplan/generate:/usr/lib/systemd/system-generators/netplan".to_owned());
    inject(&machine, &netplan);
    let words = [machine.with_file("--network=", "network-config", NETWORK)];
    let modules = modules(&["ipv6", "bonding", "8021q"]);
    let told = inject(&machine, &[&words[..], &modules, &machine.console(&format!("{BOOTED}{QUESTIONS}"))].concat());
    assert!(told.contains("for netplan"), "{told}");
    machine.boot(&["52:54:00:12:34:00", "52:54:00:12:34:01", "52:54:00:12:34:02"], &[]).is(&[
        "booted running",
        "made 7",
        "bond active-backup 1 of vec0 vec1",
        "mtu 1400",
        "vlan protocol 802.1Q id 20",
        "address vec2 192.0.2.7/24",
        "address bond0.20@bond0 198.51.100.7/24",
        "route default via 192.0.2.1 dev vec2 proto static",
        "route 10.0.0.0/8 via 198.51.100.1 dev bond0.20 proto static",
        "dns vec2: 192.0.2.53",
    ]);
}
