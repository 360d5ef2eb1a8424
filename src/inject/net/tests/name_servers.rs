//! Name servers, where the program that has the network does not tell the guest of them.

use super::compiled::{STATIC, chosen, described, ifupdown, netplan, network_manager, networkd};
use crate::guest::NetworkStack;
use crate::inject::net::Choice;
use crate::inject::testing::{assert_unchanged, exists, inject, notes, phony, text};
use imgraft_vfs::fs::mem::Builder;

/// Nothing but systemd-resolved takes name servers from systemd-networkd.
#[test]
fn of_networkd() {
    let resolv = "# Made by imgraft.\nsearch example.net\nnameserver 192.0.2.53\n";
    let resolved = |builder: Builder| {
        let unit = "/usr/lib/systemd/system/systemd-resolved.service";
        let link = "/etc/systemd/system/sysinit.target.wants/systemd-resolved.service";
        builder.file(unit, "[Service]\n").symlink(link, unit)
    };
    for guest in
        [networkd(phony()), networkd(phony()).file("/etc/resolv.conf", "nameserver 10.0.0.1\n"), netplan(phony())]
    {
        let fs = inject(&described(STATIC), guest.build().unwrap());
        assert_eq!(text(&fs, "/etc/resolv.conf"), resolv);
        assert_unchanged(&described(STATIC), &fs);
    }
    let said = notes(&described(STATIC), &networkd(phony()).build().unwrap());
    assert!(
        said.contains("/etc/resolv.conf: the name servers, as nothing in the guest takes them from systemd-networkd")
    );
    for guest in [resolved(networkd(phony())), resolved(netplan(phony())), netplan(network_manager(phony()))] {
        let fs = guest.build().unwrap();
        assert!(!notes(&described(STATIC), &fs).contains("resolv.conf"));
        assert!(!exists(&inject(&described(STATIC), fs), "/etc/resolv.conf"));
    }
    let link =
        networkd(phony()).symlink("/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf").build().unwrap();
    let said = notes(&described(STATIC), &link);
    assert!(
        said.contains("/etc/resolv.conf: a link, left alone; nothing in the guest takes the name servers from systemd")
    );
    // Those of DHCP.
    let dhcp = described("{version: 2, ethernets: {eth0: {dhcp4: true}}}");
    let alone = "nothing in the guest takes the name servers that systemd-networkd learns by DHCP";
    assert!(notes(&dhcp, &networkd(phony()).build().unwrap()).contains(alone));
    for guest in [resolved(networkd(phony())), networkd(phony()).file("/etc/resolv.conf", ""), ifupdown(phony())] {
        assert!(!notes(&dhcp, &guest.build().unwrap()).contains(alone));
    }
}

#[test]
fn of_ifupdown() {
    let resolv = "# Made by imgraft.\nsearch example.net\nnameserver 192.0.2.53\n";
    let fs = inject(&described(STATIC), ifupdown(phony()).build().unwrap());
    assert_eq!(text(&fs, "/etc/resolv.conf"), resolv);
    assert_unchanged(&described(STATIC), &fs);
    // They stay, and that is said.
    let later = "{version: 2, ethernets: {eth0: {dhcp4: true}}}";
    let stale = "/etc/resolv.conf: not changed, an earlier run had made it";
    let other = chosen(STATIC, Choice::Stack(NetworkStack::NetworkManager));
    assert!(notes(&described(later), &fs).contains(stale) && notes(&other, &fs).contains(stale));
    assert!(!notes(&described(STATIC), &fs).contains(stale));
    let taken = ifupdown(phony()).file("/usr/sbin/resolvconf", "").build().unwrap();
    assert!(!exists(&inject(&described(STATIC), taken), "/etc/resolv.conf"));
    // ifupdown's own script is there in any case, and hands them to a systemd-resolved that is enabled.
    let hook = || ifupdown(phony()).file("/etc/network/if-up.d/resolved", "");
    assert_eq!(text(&inject(&described(STATIC), hook().build().unwrap()), "/etc/resolv.conf"), resolv);
    let unit = "/usr/lib/systemd/system/systemd-resolved.service";
    let link = "/etc/systemd/system/sysinit.target.wants/systemd-resolved.service";
    let resolved = hook().file(unit, "[Service]\n").symlink(link, unit).build().unwrap();
    assert!(!exists(&inject(&described(STATIC), resolved), "/etc/resolv.conf"));
    let link = ifupdown(phony()).symlink("/etc/resolv.conf", "/run/x/resolv.conf").build().unwrap();
    assert!(notes(&described(STATIC), &link).contains("/etc/resolv.conf: a link, left alone"));
    let directory = ifupdown(phony()).dir("/etc/resolv.conf").build().unwrap();
    let said = notes(&described(STATIC), &directory);
    assert!(said.contains("/etc/resolv.conf: a directory, left alone; ") && said.contains("once the directory is"));
}
