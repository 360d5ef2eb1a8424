//! Texts for ifupdown, held against the guest.

use super::net;
use crate::inject::testing::{inject, notes, phony, refusal, text};
use imgraft_vfs::fs::mem::Builder;

fn guest() -> Builder {
    phony().file("/usr/sbin/ifup", "")
}

/// What is brought up at boot and asks for its address needs a program for that.
#[test]
fn without_a_client_of_dhcp() {
    for (text, is_refused) in [
        ("auto eth0\niface eth0 inet dhcp\n", true),
        ("auto lo \\\n  eth0\niface \\\n eth0 inet dhcp\n", true),
        ("allow-hotplug eth0\niface eth0 inet6 dhcp\n", true),
        ("allow-auto eth1 eth0\n\tiface eth0 inet static\n\taddress 192.0.2.1/24\niface eth0 inet6 dhcp\n", true),
        ("auto eth0=home\niface home inet dhcp inherits other\n", true),
        ("auto eth0\niface eth0 inet6 auto\n  dhcp 1\n", true),
        ("auto eth0\niface eth0 inet6 auto\n  dhcp 0\n", false),
        ("auto eth0\niface eth0 inet6 auto\n", false),
        ("auto eth0\niface eth0 inet static\n  address 192.0.2.1/24\n  dhcp 1\n", false),
        ("auto eth0=home\niface eth0 inet dhcp\niface home inet manual\n", false),
        ("auto lo\niface lo inet loopback\niface eth0 inet dhcp\n", false),
        ("# auto eth0 \\\niface eth0 inet dhcp\n", false),
        ("auto eth0\n#iface eth0 inet dhcp\niface eth0 inet manual\n", false),
    ] {
        let fs = guest().file("/usr/sbin/dhclient", "").build().unwrap();
        assert_eq!(self::text(&inject(&net(text), fs), "/etc/network/interfaces"), text);
        if is_refused {
            let why = refusal(&net(text), guest().build().unwrap());
            assert!(
                why.contains("asks for its address by DHCP, and the guest's ifupdown has no program"),
                "{text}: {why}"
            );
        } else {
            inject(&net(text), guest().build().unwrap());
        }
    }
}

/// Debian's ifupdown has dhclient ask by DHCPv6, and no other.
#[test]
fn without_a_client_of_dhcp_for_ipv6() {
    let with = |client: &str| guest().file(client, "").build().unwrap();
    let debians = |client: &str| guest().dir("/usr/lib/ifupdown").file(client, "").build().unwrap();
    for (text, is_refused) in [
        ("auto eth0\niface eth0 inet dhcp\niface eth0 inet6 dhcp\n", true),
        ("auto eth0\niface eth0 inet6 auto\n  dhcp 1\n", true),
        ("auto eth0\niface eth0 inet dhcp\niface eth0 inet6 auto\n", false),
    ] {
        inject(&net(text), debians("/sbin/dhclient"));
        inject(&net(text), with("/sbin/udhcpc"));
        if is_refused {
            let why = refusal(&net(text), debians("/usr/sbin/dhcpcd"));
            assert!(why.contains("by DHCPv6") && why.contains("dhclient only"), "{text}: {why}");
        } else {
            inject(&net(text), debians("/usr/sbin/dhcpcd"));
        }
    }
}

/// What nothing takes from ifupdown is told of, and what is done about that helps.
#[test]
fn without_a_taker_of_name_servers() {
    let taken = || guest().file("/usr/sbin/resolvconf", "");
    let stanza = |option: &str| format!("auto eth0\niface eth0 inet static\n  address 192.0.2.1/24\n  {option}\n");
    for (option, is_told) in [
        ("dns-nameservers 192.0.2.53", true),
        ("dns_search example.net", true),
        ("dns-domain example.net", true),
        ("dns-nameservers", false),
        ("#dns-nameservers 192.0.2.53", false),
        ("up echo dns-nameservers 192.0.2.53", false),
    ] {
        let text = stanza(option);
        let said = notes(&net(&text), &guest().build().unwrap());
        assert_eq!(said.contains("nothing in the guest takes the name servers of its dns- lines"), is_told, "{said}");
        assert!(!notes(&net(&text), &taken().build().unwrap()).contains("dns-"));
    }
    let link = guest().symlink("/etc/resolv.conf", "../run/resolv.conf").build().unwrap();
    let said = notes(&net(&stanza("dns-search a")), &link);
    assert!(said.contains("(--delete /etc/resolv.conf --write '/etc/resolv.conf:nameserver ADDRESS' has"), "{said}");
}

/// ifup does what all lines about a device say.
#[test]
fn what_a_text_includes_of_its_own_devices() {
    let path = "/etc/network/interfaces.d/own";
    let source = "source /etc/network/interfaces.d/*\n";
    let own = "auto eth0\niface eth0 inet static\n  address 192.0.2.1/24\n";
    for (text, theirs, told) in [
        (format!("{source}{own}"), "iface eth0 inet dhcp\n", Some("eth0 (inet)")),
        (
            format!("{own}source-directory interfaces.d\n"),
            "auto eth0\niface eth0 \\\n inet manual\n",
            Some("eth0 (inet)"),
        ),
        (format!("{source}{own}iface eth0 inet6 auto\n"), "iface eth0 inet6 auto\n", Some("eth0 (inet6)")),
        (format!("{source}{own}"), "iface eth0 inet6 auto\n", None),
        (format!("{source}{own}"), "iface eth1 inet dhcp\n", None),
        (format!("{source}{own}"), "#iface eth0 inet dhcp\n", None),
        (format!("{source}auto lo\niface lo inet loopback\n{own}"), "iface lo inet loopback\n", None),
        (own.to_owned(), "iface eth0 inet dhcp\n", None),
    ] {
        let fs = guest().file("/etc/network/interfaces", source).file(path, theirs).build().unwrap();
        let said = notes(&net(&text), &fs);
        let note = |about: &str| {
            format!(
                "{path}: included by this text, and about {about} too: ifup does what both say (imgraft inject --delete {path} takes"
            )
        };
        assert_eq!(said.contains("included by this text"), told.is_some(), "{text}: {said}");
        assert!(told.is_none_or(|about| said.contains(&note(about))), "{text}: {said}");
    }
}
