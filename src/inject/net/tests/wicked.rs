//! What wicked's guests get beside the files of their devices.

use super::compiled::{STATIC, chosen, described, scripts, wicked};
use crate::guest::NetworkStack;
use crate::inject::net::Choice;
use crate::inject::testing::{assert_unchanged, describe, exists, inject, notes, phony, refusal, text};

#[test]
fn name_servers_of_wicked() {
    const CONFIG: &str = "/etc/sysconfig/network/config";
    let before = "# x\nNETCONFIG_DNS_POLICY=\"auto\"\nNETCONFIG_DNS_STATIC_SERVERS=\"198.51.100.1 198.51.100.2\"\nA='b c'\n\
                  NETCONFIG_DNS_STATIC_SEARCHLIST=\"old.example\"\n# y";
    let after = "# x\nNETCONFIG_DNS_POLICY=\"auto\"\nNETCONFIG_DNS_STATIC_SERVERS=192.0.2.53\nA='b c'\n\
                 NETCONFIG_DNS_STATIC_SEARCHLIST=example.net\n# y";
    let guest = || wicked(phony()).file(CONFIG, before).mode(0o640);
    let fs = guest().build().unwrap();
    assert!(notes(&described(STATIC), &fs).contains("config: the name servers, which netconfig takes from there"));
    let fs = inject(&described(STATIC), fs);
    assert_eq!(text(&fs, CONFIG), after);
    assert_eq!(describe(&fs, CONFIG), "0640 0:0");
    assert!(!exists(&fs, "/etc/resolv.conf"));
    assert_unchanged(&described(STATIC), &fs);
    // Each of several links has its own; netconfig has all of them. Domains of a description before are not left over.
    let two = "{version: 2, ethernets: {eth0: {dhcp4: true, nameservers: {addresses: [192.0.2.53, 192.0.2.54]}}, \
               eth1: {dhcp4: true, nameservers: {addresses: [192.0.2.53, '2001:db8::53']}}}}";
    let fs = inject(&described(two), fs);
    let config = text(&fs, CONFIG);
    assert!(config.contains("NETCONFIG_DNS_STATIC_SERVERS=\"192.0.2.53 192.0.2.54 2001:db8::53\"\n"), "{config}");
    assert!(config.contains("NETCONFIG_DNS_STATIC_SEARCHLIST=\"\"\n"), "{config}");
    // None are asked for: those that are there stay, and that is said.
    let none = described("{version: 2, ethernets: {eth0: {dhcp4: true}}}");
    assert!(notes(&none, &fs).contains("config: not changed, it has a NETCONFIG_DNS_STATIC_SERVERS"));
    assert_eq!(text(&inject(&none, fs), CONFIG), config);
    // Where netconfig is told to leave resolv.conf alone, or nothing at all.
    let off = wicked(phony()).file(CONFIG, "NETCONFIG_DNS_POLICY=''\n").build().unwrap();
    assert!(notes(&described(STATIC), &off).contains("NETCONFIG_DNS_POLICY was empty"));
    assert!(text(&inject(&described(STATIC), off), CONFIG).starts_with("NETCONFIG_DNS_POLICY=auto\n"));
    let fs = inject(&described(STATIC), wicked(phony()).build().unwrap());
    assert!(text(&fs, CONFIG).ends_with("NETCONFIG_DNS_STATIC_SEARCHLIST=example.net\nNETCONFIG_DNS_POLICY=auto\n"));
    assert_unchanged(&described(STATIC), &fs);
    // Nobody else has netconfig.
    let fs = inject(&described(STATIC), scripts(phony()).build().unwrap());
    assert!(!exists(&fs, CONFIG));
}

#[test]
fn what_wicked_would_mix() {
    let directory = "/etc/sysconfig/network";
    let guest = || {
        wicked(phony())
            .file(format!("{directory}/ifcfg-lo"), "IPADDR=127.0.0.1/8\n")
            .file(format!("{directory}/ifcfg-eth0"), "BOOTPROTO=dhcp\n")
            .file(format!("{directory}/ifroute-eth0"), "default 198.51.100.1 - -\n")
            .file(format!("{directory}/ifcfg-eth1"), "BOOTPROTO=dhcp\n")
            .file(format!("{directory}/ifroute-eth1"), "10.0.0.0/8 198.51.100.1 - -\n")
            .file(format!("{directory}/ifcfg.template"), "x\n")
            .file(format!("{directory}/routes"), "default 198.51.100.1 - -\n")
    };
    let dhcp = described("{version: 2, ethernets: {eth0: {dhcp4: true}}}");
    let fs = guest().build().unwrap();
    let said = notes(&dhcp, &fs);
    assert!(said.contains("ifroute-eth0: removed, as wicked would mix its routes with these"), "{said}");
    let beside = ["ifcfg-eth1", "ifroute-eth1", "routes"].map(|name| format!("{directory}/{name}")).join(", ");
    assert!(said.contains(&format!("read beside it, and not changed: {beside}")), "{said}");
    let fs = inject(&dhcp, fs);
    assert!(!exists(&fs, &format!("{directory}/ifroute-eth0")) && exists(&fs, &format!("{directory}/ifroute-eth1")));
    assert_unchanged(&dhcp, &fs);
    // Routes of ours take the place of the guest's; and what one run made the next one takes back.
    let off = "{version: 2, ethernets: {eth0: {match: {macaddress: '52:54:00:12:34:56'}, set-name: eth0, addresses: \
               [192.0.2.10/24, '2001:db8::10/64'], accept-ra: false, gateway4: 192.0.2.1}}}";
    let fs = inject(&described(off), guest().file("/usr/lib/systemd/systemd-udevd", "").build().unwrap());
    let routes = format!("{directory}/ifroute-eth0");
    assert_eq!(text(&fs, &routes), "# Made by imgraft.\ndefault 192.0.2.1 - eth0\n");
    let rules = "/etc/udev/rules.d/71-imgraft-net.rules";
    assert!(exists(&fs, rules) && exists(&fs, &format!("{directory}/ifsysctl-eth0")));
    let fs = inject(&dhcp, fs);
    assert!(!exists(&fs, &routes) && !exists(&fs, rules) && !exists(&fs, &format!("{directory}/ifsysctl-eth0")));
    assert!(text(&fs, &format!("{directory}/ifcfg-eth0")).contains("BOOTPROTO='dhcp4'"));
    // For another program of the guest's they go too; the loopback device's and what is not ours stay.
    let fs = inject(&chosen(STATIC, Choice::Stack(NetworkStack::NetworkManager)), fs);
    assert!(!exists(&fs, &format!("{directory}/ifcfg-eth0")) && exists(&fs, &format!("{directory}/ifcfg-eth1")));
    assert!(exists(&fs, &format!("{directory}/ifcfg-lo")) && exists(&fs, &format!("{directory}/routes")));
}

#[test]
fn wicked_has_names_for_all_devices() {
    let mac = "{version: 2, ethernets: {lan: {match: {macaddress: '52:54:00:12:34:56'}, dhcp4: true}}}";
    let why = refusal(&described(mac), wicked(phony()).build().unwrap());
    assert!(why.contains("\"lan\" is a new name for a device, and the guest's wicked cannot make it"), "{why}");
    let fs = inject(&described(mac), wicked(phony()).file("/usr/lib/systemd/systemd-udevd", "").build().unwrap());
    assert!(exists(&fs, "/etc/sysconfig/network/ifcfg-lan"));
    let rule =
        "SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", ATTR{address}==\"52:54:00:12:34:56\", NAME:=\"lan\"\n";
    assert!(text(&fs, "/etc/udev/rules.d/71-imgraft-net.rules").ends_with(rule));
}
