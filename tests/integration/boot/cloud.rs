//! Guests in which cloud-init runs, with a seed, and NetworkManager has the network.

use super::{BOND_AND_VLAN, BOOTED};
use crate::support::machine::{Machine, PASSWORD, Said, inject, key_pair, modules};
use crate::support::{expect, text};

/// What cloud-init says of itself and has made of its seed; and why, where it has not run.
const SEED: &str = "echo \"SAID booted $(systemctl is-system-running)\"
systemctl --failed --plain --no-legend | sed 's/^/SAID failed /'
cloud-init status --wait --long | sed -n '/^\\(status\\|detail\\|errors\\): /s/^/SAID cloud-init /p'
cloud-init status --long | sed -n '/^recoverable_errors/,$p' | sed 's/^/SAID cloud-init /' | cut -c1-70 | uniq
echo \"SAID hostname $(hostname)\"
[ -e /run/cloud-init/result.json ] || { cat /run/cloud-init/*.log; journalctl -b -o short-monotonic | grep -i 'cloud\\|blkid\\|segfault\\|trap\\|dumped'; }
";
/// What NetworkManager has made of its connections.
const NETWORK_MANAGER: &str = "stat -c 'SAID file %a %U %n' /etc/NetworkManager/system-connections/*
nmcli -t -f NAME,DEVICE connection show | grep -v '^lo:' | sort | sed 's/^/SAID connection /'
ip -br address show scope global | grep / | while read name state addresses; do echo \"SAID address $name $addresses\"; done
{ ip route show; ip -6 route show default; } | grep -v 'proto kernel' | sed 's/ metric [0-9]*//; s/ *$//; s/^/SAID route /'
sed -n '/^[^#]/s/^/SAID resolv.conf /p' /etc/resolv.conf
";

/// Has cloud-init wait for the modules of User Mode Linux's kernel: FAT is one.
const AFTER_MODULES: &str =
    "--write=/etc/systemd/system/cloud-init-local.service.d/uml.conf:[Unit]\nAfter=systemd-modules-load.service\n";

/// Boots the machine, and once more from the same disk where cloud-init was not started: in one boot of thirty none of it is, as if
/// one of the programs that look for its seed had died, and nothing of that is written down.
fn boot(machine: &Machine, devices: &[&str], dialogue: &[(&str, &str)]) -> Said {
    let first = machine.scratch.copy(&machine.disk, "first.raw");
    let said = machine.boot(devices, dialogue);
    if !["not run", "not started", "disabled"].iter().any(|status| said.has(&format!("cloud-init status: {status}"))) {
        return said;
    }
    machine.scratch.copy(&first, "disk.raw");
    machine.boot(devices, dialogue)
}

/// Puts a seed without a network onto the guest's FAT partition.
fn seed(machine: &Machine, words: &[String]) {
    let place = ["--partition=15".to_owned(), "--seed=nocloud".to_owned()];
    let all = [&place, words].concat();
    let mut line = vec!["inject", text(&machine.disk)];
    line.extend(all.iter().map(String::as_str));
    expect(0, &line);
}

#[test]
fn network_manager_brings_a_compiled_network_up_and_cloud_init_leaves_it_alone() {
    const QUESTIONS: &str =
        "echo \"SAID it says: $(grep -o 'network config is disabled by [a-z_]*' /var/log/cloud-init.log | sort -u)\"
echo \"SAID bond $(cat /sys/class/net/bond0/bonding/mode) of $(cat /sys/class/net/bond0/bonding/slaves | xargs -n 1 | sort | xargs)\"
echo \"SAID mtu $(cat /sys/class/net/bond0/mtu)\"
ip -d link show bond0.20 | sed -n 's/^ *\\(vlan .* id [0-9]*\\) .*/SAID \\1/p'
";

    let Some(machine) = Machine::with_cloud_init() else { return };
    seed(&machine, &["--hostname=web".to_owned()]);
    let words = [machine.with_file("--network=", "network_data.json", BOND_AND_VLAN), AFTER_MODULES.to_owned()];
    let modules = modules(&["ipv6", "bonding", "8021q", "vfat"]);
    let console = machine.console(&format!("{BOOTED}{SEED}{QUESTIONS}{NETWORK_MANAGER}"));
    let told = inject(&machine, &[&words[..], &modules, &console].concat());
    assert!(told.contains("for NetworkManager, /etc/") && told.contains("leave the network alone"), "{told}");
    boot(&machine, &["52:54:00:12:34:00", "52:54:00:12:34:01", "52:54:00:12:34:02"], &[]).is(&[
        "booted running",
        "cloud-init status: done",
        "cloud-init detail: DataSourceNoCloud [seed=/dev/ubda15]",
        "cloud-init errors: []",
        "cloud-init recoverable_errors: {}",
        "hostname web",
        "it says: network config is disabled by system_cfg",
        "bond active-backup 1 of vec0 vec1",
        "mtu 1400",
        "vlan protocol 802.1Q id 20",
        "file 600 root /etc/NetworkManager/system-connections/imgraft-bond0.20.nmconnection",
        "file 600 root /etc/NetworkManager/system-connections/imgraft-bond0.nmconnection",
        "file 600 root /etc/NetworkManager/system-connections/imgraft-port0.nmconnection",
        "file 600 root /etc/NetworkManager/system-connections/imgraft-port1.nmconnection",
        "file 600 root /etc/NetworkManager/system-connections/imgraft-port2.nmconnection",
        "connection imgraft-bond0.20:bond0.20",
        "connection imgraft-bond0:bond0",
        "connection imgraft-port0:vec0",
        "connection imgraft-port1:vec1",
        "connection imgraft-port2:vec2",
        "address vec2 2001:db8::7/64",
        "address bond0 192.0.2.7/24",
        "address bond0.20@bond0 198.51.100.7/24",
        "route default via 192.0.2.1 dev bond0 proto static",
        "route 10.0.0.0/8 via 198.51.100.1 dev bond0.20 proto static",
        "route default via 2001:db8::1 dev vec2 proto static pref medium",
        "resolv.conf nameserver 2001:db8::53",
        "resolv.conf nameserver 192.0.2.53",
    ]);
}

#[test]
fn cloud_init_brings_up_a_network_that_is_for_it_and_takes_its_seed() {
    const QUESTIONS: &str = "echo \"SAID it says: $(grep -o 'Applying network configuration from [a-z_]*' /var/log/cloud-init.log)\"
echo \"SAID it says: $(grep -o \"Selected renderer '[a-z-]*'\" /var/log/cloud-init.log | sort -u)\"
ip -d link show vec0.20 | sed -n 's/^ *\\(vlan .* id [0-9]*\\) .*/SAID \\1/p'
echo \"SAID mtu $(cat /sys/class/net/storage/mtu)\"
echo \"SAID zone $(date -d @0 +%Z)\"
echo \"SAID hosts $(hostname -f)\"
cat /srv/first /srv/second | sed 's/^/SAID ran /'
for user in debian alice; do ssh -o StrictHostKeyChecking=no -o BatchMode=yes -i /root/id $user@127.0.0.1 'echo \"SAID by-key $(id -un)\"'; done
ssh-keyscan -t ecdsa,ed25519 127.0.0.1 | ssh-keygen -l -f - | sort -r | sed 's/^[0-9]* \\(.*\\) 127.*/SAID host-key \\1/'
";
    const NETWORK: &str = "network:
  version: 2
  ethernets:
    vec0:
      addresses: [192.0.2.7/24]
      routes: [{to: default, via: 192.0.2.1}]
      nameservers: {addresses: [192.0.2.53], search: [example.org]}
    port:
      match: {macaddress: '52:54:00:12:34:01'}
      set-name: storage
      mtu: 1400
      addresses: ['2001:db8::7/64']
      routes: [{to: '::/0', via: '2001:db8::1'}]
  vlans:
    vec0.20:
      id: 20
      link: vec0
      addresses: [198.51.100.7/24]
      routes: [{to: 10.0.0.0/8, via: 198.51.100.1}]
";

    let Some(machine) = Machine::with_cloud_init() else { return };
    let key = key_pair(machine.scratch.path());
    let key_of = |user: &str| format!("--ssh-inject={user}:file:{}.pub", text(&key));
    seed(
        &machine,
        &[
            key_of("debian"),
            key_of("alice"),
            machine.with_file("--password=alice:file:", "alice", "her password\n"),
            "--hostname=web.example.org".to_owned(),
            "--timezone=Europe/Berlin".to_owned(),
            "--firstboot-command=echo first by $(id -un) >/srv/first; exit 3".to_owned(),
            "--firstboot-command=echo second on $(hostname) >/srv/second".to_owned(),
        ],
    );
    let words = [
        machine.with_file("--network=", "network.yaml", NETWORK),
        "--network-renderer=cloud-init".to_owned(),
        format!("--upload={}:/root/id", text(&key)),
        "--ssh-host-keys".to_owned(),
        AFTER_MODULES.to_owned(),
    ];
    let modules = modules(&["ipv6", "8021q", "vfat"]);
    let console = machine.console(&format!("{BOOTED}{SEED}{QUESTIONS}{NETWORK_MANAGER}"));
    expect(0, &["sysprep", text(&machine.disk), "--operations", "ssh-hostkeys"]);
    let told = inject(&machine, &[&words[..], &modules, &console].concat());
    // To cloud-init it is a new machine, which it gives new keys unless it is told to keep them.
    let fingerprints = told.lines().filter_map(|line| line.split_once("_key is new: ")?.1.split_once(' '));
    let mut fingerprints: Vec<String> = fingerprints.map(|(_, hash)| format!("host-key {hash}")).collect();
    fingerprints.sort_by(|one, other| other.cmp(one));
    assert_eq!(fingerprints.len(), 2, "{told}");
    assert!(told.contains("for cloud-init, /usr/bin/cloud-init shows it"), "{told}");
    // There is a prompt before there is her password.
    let dialogue = [
        ("login: ", "root"),
        ("assword: ", PASSWORD),
        ("# ", "cloud-init status --wait; exit"),
        ("web login: ", "alice"),
        ("assword: ", "her password"),
        ("$ ", "exit"),
    ];
    boot(&machine, &["52:54:00:12:34:00", "52:54:00:12:34:01"], &dialogue).is(&[
        "booted running",
        "cloud-init status: done",
        "cloud-init detail: DataSourceNoCloud [seed=/dev/ubda15]",
        "cloud-init errors: []",
        "cloud-init recoverable_errors: {}",
        "hostname web",
        "it says: Applying network configuration from system_cfg",
        "it says: Selected renderer 'network-manager'",
        "vlan protocol 802.1Q id 20",
        "mtu 1400",
        "zone CET",
        "hosts web.example.org",
        "ran first by root",
        "ran second on web",
        "by-key debian",
        "by-key alice",
        &fingerprints[0],
        &fingerprints[1],
        "file 600 root /etc/NetworkManager/system-connections/cloud-init-storage.nmconnection",
        "file 600 root /etc/NetworkManager/system-connections/cloud-init-vec0.20.nmconnection",
        "file 600 root /etc/NetworkManager/system-connections/cloud-init-vec0.nmconnection",
        "connection cloud-init storage:storage",
        "connection cloud-init vec0.20:vec0.20",
        "connection cloud-init vec0:vec0",
        "address vec0 192.0.2.7/24",
        "address storage 2001:db8::7/64",
        "address vec0.20@vec0 198.51.100.7/24",
        "route default via 192.0.2.1 dev vec0 proto static",
        "route 10.0.0.0/8 via 198.51.100.1 dev vec0.20 proto static",
        "route default via 2001:db8::1 dev storage proto static pref medium",
        "resolv.conf search example.org",
        "resolv.conf nameserver 192.0.2.53",
    ]);
}
