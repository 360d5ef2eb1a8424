//! Networks that are compiled for the program that a guest listens to.

use super::{NETPLAN, NETWORKD};
use crate::guest::NetworkStack;
use crate::inject::Compat;
use crate::inject::net::{Choice, Described, Net};
use crate::inject::testing::{assert_unchanged, describe, exists, inject, label, notes, phony, refusal, text};
use crate::net::read;
use imgraft_vfs::fs::GuestFs;
use imgraft_vfs::fs::mem::Builder;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::resolve::{Follow, resolve};

pub(super) const STATIC: &str = "{version: 2, ethernets: {eth0: {addresses: [192.0.2.10/24], gateway4: 192.0.2.1, nameservers: \
                      {addresses: [192.0.2.53], search: [example.net]}}}}";
const ASIDE: &str = "/etc/cloud/cloud.cfg.d/99-disable-network-config.cfg";

pub(super) fn described(document: &str) -> Net {
    let network = Described::Config(read::document(document).unwrap());
    Net { network, renderer: None, compat: Compat::Imgraft }
}

pub(super) fn chosen(document: &str, choice: Choice) -> Net {
    Net { renderer: Some(choice), ..described(document) }
}

fn wants(builder: Builder, unit: &str) -> Builder {
    let path = format!("/usr/lib/systemd/system/{unit}");
    let link = format!("/etc/systemd/system/multi-user.target.wants/{unit}");
    builder.file(&path, "[Unit]\n").symlink(link, path)
}

pub(super) fn netplan(builder: Builder) -> Builder {
    let builder = builder.file("/lib/systemd/system/systemd-networkd.service", "[Unit]\n");
    builder.file("/usr/sbin/netplan", "").symlink("/usr/lib/systemd/system-generators/netplan", "/gone")
}

pub(super) fn networkd(builder: Builder) -> Builder {
    wants(builder.file("/usr/lib/systemd/systemd-networkd", ""), "systemd-networkd.service")
}

pub(super) fn network_manager(builder: Builder) -> Builder {
    wants(builder.file("/usr/sbin/NetworkManager", ""), "NetworkManager.service")
}

pub(super) fn ifupdown(builder: Builder) -> Builder {
    let builder = builder.file("/usr/sbin/ifup", "").dir("/usr/lib/ifupdown").file("/usr/sbin/dhclient", "");
    wants(builder, "networking.service")
}

pub(super) fn scripts(builder: Builder) -> Builder {
    let script = "/etc/rc.d/rc3.d/S10network";
    builder.file("/etc/sysconfig/network-scripts/ifcfg-eth0", "BOOTPROTO=dhcp\n").symlink(script, "../init.d/network")
}

pub(super) fn wicked(builder: Builder) -> Builder {
    wants(builder.file("/usr/sbin/wicked", ""), "wicked.service")
}

fn cloud(builder: Builder) -> Builder {
    builder.file("/usr/bin/cloud-init", "").dir("/etc/cloud/cloud.cfg.d")
}

#[test]
fn it_goes_to_whom_the_guest_listens_to() {
    for (builder, path, mode, name) in [
        (netplan(networkd(phony())), "/etc/netplan/50-imgraft.yaml", "0600 0:0", "netplan"),
        (networkd(phony()), "/etc/systemd/network/05-imgraft-eth0.network", "0644 0:0", "systemd-networkd"),
        (
            network_manager(phony()),
            "/etc/NetworkManager/system-connections/imgraft-eth0.nmconnection",
            "0600 0:0",
            "NetworkManager",
        ),
        (scripts(phony()), "/etc/sysconfig/network-scripts/ifcfg-eth0", "0644 0:0", "ifcfg"),
        (ifupdown(phony()), "/etc/network/interfaces", "0644 0:0", "ifupdown"),
        (wicked(phony()), "/etc/sysconfig/network/ifcfg-eth0", "0644 0:0", "wicked"),
    ] {
        let fs = builder.build().unwrap();
        let notes = notes(&described(STATIC), &fs);
        // The first of its files, or the only one.
        let files = notes.split(&format!(": for {name}, /")).next().unwrap();
        assert!(files.starts_with(path) && files != notes && notes.contains("show"), "{notes}");
        let fs = inject(&described(STATIC), fs);
        assert_eq!(describe(&fs, path), mode);
        assert!(
            text(&fs, path).starts_with("# Made by imgraft.\n") && text(&fs, path).contains("192.0.2.10"),
            "{path}"
        );
        assert!(!exists(&fs, ASIDE));
        assert_unchanged(&described(STATIC), &fs);
    }
}

#[test]
fn without_a_listener_it_is_refused() {
    let why = refusal(&described(STATIC), phony().file("/usr/sbin/NetworkManager", "").build().unwrap());
    assert!(why.starts_with("nothing shows which program configures the guest's network (looked for"), "{why}");
    assert!(why.contains("there, but not started: NetworkManager; choose with --network-renderer NAME"), "{why}");
    let why = refusal(&described(STATIC), cloud(wants(phony(), "connman.service")).build().unwrap());
    assert!(why.contains("does not have its spelling: connman (/etc/systemd/system/multi-user"), "{why}");
    assert!(why.ends_with("for example cloud-init, which runs in the guest)"), "{why}");
    let why = refusal(&described(STATIC), networkd(network_manager(phony())).build().unwrap());
    assert!(
        why.starts_with("several programs configure the guest's network") && why.contains("NetworkManager (/etc"),
        "{why}"
    );
    // Whoever chooses is taken at their word.
    let choice = chosen(STATIC, Choice::Stack(NetworkStack::NetworkManager));
    let fs = networkd(network_manager(phony())).build().unwrap();
    assert!(notes(&choice, &fs).contains("imgraft-eth0.nmconnection: for NetworkManager, /etc"));
    let fs = phony().build().unwrap();
    assert!(notes(&choice, &fs).contains("as asked, though nothing shows that the guest has it"));
    assert!(exists(&inject(&choice, fs), "/etc/NetworkManager/system-connections/imgraft-eth0.nmconnection"));
}

#[test]
fn what_is_not_to_be_had_is_named() {
    let bond = "{version: 2, ethernets: {eth0: {}}, bonds: {bond0: {interfaces: [eth0], dhcp4: true}}}";
    let why = refusal(&described(bond), ifupdown(phony()).build().unwrap());
    assert_eq!(
        why,
        "the link \"bond0\" is a bond, and the guest's ifupdown cannot make it (the guest needs ifenslave for it)"
    );
    let with = ifupdown(phony()).file("/etc/network/if-pre-up.d/ifenslave", "");
    assert!(
        text(&inject(&described(bond), with.build().unwrap()), "/etc/network/interfaces").contains("bond-master bond0")
    );
    let bridge = "{version: 2, bridges: {br0: {dhcp4: true}}}";
    assert!(refusal(&described(bridge), ifupdown(phony()).build().unwrap()).contains("needs bridge-utils"));
    let rename = "{version: 2, ethernets: {a: {match: {macaddress: '52:54:00:12:34:56'}, set-name: lan0, dhcp4: on}}}";
    assert!(refusal(&described(rename), network_manager(phony()).build().unwrap()).contains("a new name for a device"));
    let fs = network_manager(phony()).file("/usr/lib/systemd/systemd-udevd", "").build().unwrap();
    let link = text(&inject(&described(rename), fs), "/etc/systemd/network/05-imgraft-a.link");
    assert!(link.ends_with("[Match]\nMACAddress=52:54:00:12:34:56\n\n[Link]\nName=lan0\n"), "{link}");
    let optional = "{version: 2, ethernets: {eth0: {dhcp4: true, optional: true}}}";
    let why = refusal(&described(optional), network_manager(phony()).build().unwrap());
    assert!(
        why.starts_with("NetworkManager cannot express this of the link \"eth0\": optional: true (name the device where that is what is missing"),
        "{why}"
    );
    // By MAC address: Debian's ifupdown can, Alpine's cannot.
    let mac = "{version: 2, ethernets: {a: {match: {macaddress: '52:54:00:12:34:56'}, dhcp4: on}}}";
    let fs = inject(&described(mac), ifupdown(phony()).build().unwrap());
    assert!(text(&fs, "/etc/network/interfaces").contains("auto mac/52:54:00:12:34:56=a\n"));
    let alpine = phony().file("/sbin/ifup", "").symlink("/etc/runlevels/boot/networking", "/etc/init.d/networking");
    assert!(refusal(&described(mac), alpine.build().unwrap()).contains("known by its MAC address only"));
}

#[test]
fn cloud_init_stands_aside() {
    let fs = inject(&described(STATIC), cloud(networkd(phony())).build().unwrap());
    assert_eq!(text(&fs, ASIDE), "network: {config: disabled}\n");
    assert_eq!(describe(&fs, ASIDE), "0644 0:0");
    assert_unchanged(&described(STATIC), &fs);
    assert!(
        notes(&described(STATIC), &fs)
            .contains("leaves the network alone already, as /etc/cloud/cloud.cfg.d/99-disable")
    );
    let elsewhere = "/etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg";
    let installed = || cloud(networkd(phony())).file(elsewhere, "network: {config: disabled}\n");
    assert!(!exists(&inject(&described(STATIC), installed().build().unwrap()), ASIDE));
    // A text of the guest's own is a network of ours too.
    let verbatim = Net { network: Described::Text(NETWORKD.into()), renderer: None, compat: Compat::Imgraft };
    assert!(exists(&inject(&verbatim, cloud(networkd(phony())).build().unwrap()), ASIDE));

    // And back.
    let choice = chosen(STATIC, Choice::CloudInit);
    let after = inject(&choice, fs);
    assert!(!exists(&after, ASIDE));
    let own = text(&after, "/etc/cloud/cloud.cfg.d/99-imgraft-network.cfg");
    assert!(own.starts_with("# Made by imgraft.\nnetwork:\n  version: 2\n  ethernets:\n    eth0:\n"), "{own}");
    assert_unchanged(&choice, &after);
    let why = refusal(&choice, installed().build().unwrap());
    assert!(why.starts_with("/etc/cloud/cloud.cfg.d/subiquity") && why.contains("and that holds"), "{why}");
    // Wherever it stands: cloud-init would ignore ours.
    for path in ["/etc/cloud/cloud.cfg.d/50-off.cfg", "/etc/cloud/cloud.cfg"] {
        let off = cloud(networkd(phony())).file(path, "network: {config: disabled}\n").build().unwrap();
        let why = refusal(&choice, off);
        assert!(why.starts_with(path) && why.ends_with(&format!("(take network: out of {path} first)")), "{why}");
    }
    let last = "/etc/cloud/cloud.cfg.d/99-more.cfg";
    let beside = |path: &str, text: &str| cloud(networkd(phony())).file(path, text).build().unwrap();
    let keys = "network: {version: 2, ethernets: {}}\n";
    assert!(refusal(&choice, beside(last, keys)).starts_with(last));
    let first = "/etc/cloud/cloud.cfg.d/50-more.cfg";
    assert!(notes(&choice, &beside(first, keys)).contains("not changed: /etc/cloud/cloud.cfg.d/50-more.cfg, which"));
    // What has no such key is merged with what has cloud-init leave the network alone.
    assert!(exists(&inject(&described(STATIC), beside(last, keys)), ASIDE));
    let config = "network: {version: 1, config: []}\n";
    assert!(refusal(&described(STATIC), beside(last, config)).starts_with(last));
    assert!(exists(&inject(&described(STATIC), beside(first, config)), ASIDE));
    assert!(refusal(&choice, beside(first, config)).starts_with(first));
    // The other way around it has the last word, and then none.
    let again = inject(&described(STATIC), after);
    assert!(exists(&again, ASIDE) && !exists(&again, "/etc/cloud/cloud.cfg.d/99-imgraft-network.cfg"));
    assert_unchanged(&described(STATIC), &again);
}

/// The name of the file is one that administrators give theirs, too: what else it says stays.
#[test]
fn what_else_is_said_to_cloud_init_stays() {
    let own = "/etc/cloud/cloud.cfg.d/99-imgraft-network.cfg";
    for (theirs, aside) in [
        ("datasource_list: [NoCloud]\n", own),
        ("network: {config: []}\ndatasource_list: [NoCloud]\n", own),
        ("a: !!binary aGk=\nb: [\n", own),
        ("network: {version: 2}\n", ASIDE),
        ("# nothing\n", ASIDE),
    ] {
        let fs = inject(&described(STATIC), cloud(networkd(phony())).file(ASIDE, theirs).build().unwrap());
        assert_eq!(text(&fs, aside), "network: {config: disabled}\n", "{theirs}");
        assert!(aside == ASIDE || text(&fs, ASIDE) == theirs, "{theirs}");
        assert_unchanged(&described(STATIC), &fs);
    }
    let unread =
        cloud(networkd(phony())).file("/etc/cloud/cloud.cfg.d/99-z.cfg", "network: {config: []}\na: !!binary aGk=\n");
    assert!(
        notes(&described(STATIC), &unread.build().unwrap()).contains("99-z.cfg: what it tells cloud-init is not known")
    );
    let both = "network: {config: disabled}\ndatasource_list: [NoCloud]\n";
    let theirs = || cloud(networkd(phony())).file(ASIDE, both).build().unwrap();
    let why = refusal(&chosen(STATIC, Choice::CloudInit), theirs());
    assert!(why.starts_with(ASIDE) && why.ends_with(&format!("(take network: out of {ASIDE} first)")), "{why}");
    assert_eq!(text(&inject(&described(STATIC), theirs()), ASIDE), both);
}

#[test]
fn nothing_is_mixed_with_it() {
    let all = "network: {version: 2, ethernets: {all-en: {match: {name: 'en*'}, dhcp4: true}}}\n";
    let fs = netplan(network_manager(phony()))
        .file("/etc/netplan/90-default.yaml", all)
        .file("/etc/netplan/01-nm.yaml", "network: {version: 2, renderer: NetworkManager}\n")
        .file("/etc/netplan/readme", all)
        .file("/usr/lib/netplan/00-x.yaml", all);
    let fs = fs.build().unwrap();
    let said = notes(&described(STATIC), &fs);
    assert!(said.contains("/etc/netplan/90-default.yaml: removed, as netplan would mix"), "{said}");
    assert!(
        said.contains("/etc/netplan/00-x.yaml: an empty file, in the place of /usr/lib/netplan/00-x.yaml"),
        "{said}"
    );
    let fs = inject(&described(STATIC), fs);
    assert!(!exists(&fs, "/etc/netplan/90-default.yaml"));
    assert_eq!(
        (text(&fs, "/etc/netplan/00-x.yaml"), text(&fs, "/usr/lib/netplan/00-x.yaml")),
        (String::new(), all.to_owned())
    );
    assert!(exists(&fs, "/etc/netplan/01-nm.yaml") && exists(&fs, "/etc/netplan/readme"));
    assert_unchanged(&described(STATIC), &fs);

    // What an earlier run made for a link that is not there any more.
    let two = "{version: 2, ethernets: {eth0: {dhcp4: true}, eth1: {dhcp4: true}}}";
    for builder in [networkd(phony()), network_manager(phony()), scripts(phony()), wicked(phony())] {
        let fs = inject(&described(two), builder.build().unwrap());
        let said = notes(&described(STATIC), &fs);
        assert!(said.contains("eth1") && said.contains("removed, an earlier run had made it"), "{said}");
        let fs = inject(&described(STATIC), fs);
        for path in [
            "/etc/systemd/network/05-imgraft-eth1.network",
            "/etc/NetworkManager/system-connections/imgraft-eth1.nmconnection",
            "/etc/sysconfig/network-scripts/ifcfg-eth1",
            "/etc/sysconfig/network/ifcfg-eth1",
        ] {
            assert!(!exists(&fs, path), "{path}");
        }
        assert_unchanged(&described(STATIC), &fs);
    }
}

/// What comes before ours and may be for the same device would be taken in its place.
#[test]
fn nothing_comes_before_it() {
    let early = networkd(phony())
        .file("/etc/systemd/network/00-mine.network", "[Match]\nName=*\n")
        .file("/etc/systemd/network/05-a.network", "[Match]\nName=eth1\n")
        .file("/etc/systemd/network/00-mine.netdev", "[NetDev]\n")
        .file("/etc/systemd/network/50-mine.network", "[Match]\nName=*\n")
        .file("/usr/lib/systemd/network/01-a.network", "[Match]\nName=eth0\n")
        .file("/usr/lib/systemd/network/02-b.network", "[Match]\nName=eth1\n")
        .build()
        .unwrap();
    let said = notes(&described(STATIC), &early);
    assert!(said.contains("/etc/systemd/network/00-mine.network: removed, as by its name it comes first"), "{said}");
    let masked =
        "/etc/systemd/network/01-a.network: a link to /dev/null, in the place of /usr/lib/systemd/network/01-a.network";
    assert!(said.contains(masked), "{said}");
    assert!(!said.contains("05-a") && !said.contains("50-mine") && !said.contains("02-b"), "{said}");
    let fs = inject(&described(STATIC), early);
    assert!(!exists(&fs, "/etc/systemd/network/00-mine.network"));
    for kept in ["05-a.network", "00-mine.netdev", "50-mine.network"] {
        assert!(exists(&fs, &format!("/etc/systemd/network/{kept}")), "{kept}");
    }
    assert_unchanged(&described(STATIC), &fs);

    let keyfile = |priority: &str| format!("[connection]\nid=own\ntype=ethernet\ninterface-name=eth0\n{priority}");
    let directory = "/etc/NetworkManager/system-connections";
    let first = "/usr/lib/NetworkManager/system-connections/first.nmconnection";
    let fs = network_manager(phony())
        .file(format!("{directory}/first.nmconnection"), keyfile("autoconnect-priority=999\n"))
        .file(format!("{directory}/last.nmconnection"), keyfile(""))
        .file(first, keyfile("autoconnect-priority=200\n"))
        .build()
        .unwrap();
    let said = notes(&described(STATIC), &fs);
    assert!(said.contains("first.nmconnection: removed, as by its priority NetworkManager would take it"), "{said}");
    assert!(said.contains(&format!(".nmmeta: a link to /dev/null, in the place of {first}")), "{said}");
    assert!(!said.contains("last"), "{said}");
    let fs = inject(&described(STATIC), fs);
    assert!(!exists(&fs, &format!("{directory}/first.nmconnection")) && exists(&fs, first));
    assert!(exists(&fs, &format!("{directory}/last.nmconnection")));
    assert_unchanged(&described(STATIC), &fs);
}

#[test]
fn ifupdown_needs_a_program_for_dhcp() {
    let without = || wants(phony().file("/usr/sbin/ifup", "").dir("/usr/lib/ifupdown"), "networking.service");
    for document in ["{dhcp4: true}", "{dhcp6: true}"] {
        let net = described(&format!("{{version: 2, ethernets: {{eth0: {document}}}}}"));
        let why = refusal(&net, without().build().unwrap());
        assert!(
            why.starts_with("the link \"eth0\" asks for its address by DHCP, and the guest's ifupdown has no"),
            "{why}"
        );
        assert!(why.contains("none of dhclient, dhcpcd, udhcpc and pump") && why.contains("--ip"), "{why}");
        for client in ["/usr/sbin/dhclient", "/sbin/udhcpc", "/usr/bin/dhcpcd"] {
            let guest = without().file(client, "").build().unwrap();
            // What asks by DHCPv6 is dhclient only.
            if document.contains("dhcp6") && !client.contains("dhclient") {
                let why = refusal(&net, guest);
                assert!(why.starts_with("the link \"eth0\" asks for its address by DHCPv6, and the guest's"), "{why}");
                assert!(why.contains("it asks dhclient only") && why.contains("isc-dhcp-client"), "{why}");
                continue;
            }
            assert!(text(&inject(&net, guest), "/etc/network/interfaces").contains(" dhcp\n"), "{client}");
        }
    }
    inject(&described(STATIC), without().build().unwrap());
}

#[test]
fn nothing_is_left_of_an_earlier_run_for_another_program() {
    let stack = |stack| Choice::Stack(stack);
    let bare = || cloud(phony()).file("/usr/lib/systemd/systemd-udevd", "").build().unwrap();
    let renamed = "{version: 2, ethernets: {a: {match: {macaddress: '52:54:00:12:34:56'}, set-name: lan0, dhcp4: on}}}";
    let choices = NetworkStack::ALL.into_iter().map(stack).chain([Choice::CloudInit]);
    let made = [
        "/etc/systemd/network/05-imgraft-a.network",
        "/etc/systemd/network/05-imgraft-a.link",
        "/etc/netplan/50-imgraft.yaml",
        "/etc/NetworkManager/system-connections/imgraft-a.nmconnection",
        "/etc/sysconfig/network-scripts/ifcfg-lan0",
        "/etc/sysconfig/network/ifcfg-lan0",
        "/etc/udev/rules.d/71-imgraft-net.rules",
        "/etc/cloud/cloud.cfg.d/99-imgraft-network.cfg",
    ];
    for first in choices.clone() {
        for second in choices.clone().filter(|second| *second != first) {
            let fs = inject(&chosen(renamed, first), bare());
            assert!(made.iter().any(|path| exists(&fs, path)), "{first:?}");
            let fs = inject(&chosen(STATIC, second), fs);
            // What both have is the second one's.
            let left: Vec<_> = made.iter().filter(|path| exists(&fs, path)).collect();
            assert!(left.iter().all(|path| text(&fs, path).contains("192.0.2.10")), "{first:?} {second:?} {left:?}");
            if first == stack(NetworkStack::Ifupdown) {
                let lo = "# Made by imgraft.\nauto lo\niface lo inet loopback\n";
                assert_eq!(text(&fs, "/etc/network/interfaces"), lo, "{second:?}");
            }
            assert_unchanged(&chosen(STATIC, second), &fs);
        }
    }
    // Texts that were put in as they stood, in a place of ours; not those of others, whatever they look like.
    let others = [
        ("/etc/network/interfaces", super::INTERFACES),
        ("/etc/systemd/network/05-imgraft-b.network", "[Match]\n"),
        ("/etc/cloud/cloud.cfg.d/99-imgraft-hostname.cfg", "# Made by imgraft.\n"),
        ("/etc/sysconfig/network-scripts/ifcfg-b", "DEVICE=b\n"),
    ];
    let mut builder = networkd(phony()).file("/etc/systemd/network/10-imgraft.network", NETWORKD);
    builder = builder.file("/etc/netplan/50-imgraft.yaml", NETPLAN);
    for (path, text) in others {
        builder = builder.file(path, text);
    }
    let fs = inject(&described(STATIC), builder.build().unwrap());
    assert!(!exists(&fs, "/etc/systemd/network/10-imgraft.network") && !exists(&fs, "/etc/netplan/50-imgraft.yaml"));
    for (path, content) in others {
        assert_eq!(text(&fs, path), content, "{path}");
    }
    // A directory that is none is nobody's place.
    let bent = networkd(phony()).file("/etc/NetworkManager", "").symlink("/etc/netplan", "netplan");
    inject(&described(STATIC), bent.build().unwrap());
}

#[test]
fn what_is_looked_through_is_bounded() {
    let many = |number: usize| {
        let name = |number: usize| format!("/etc/sysconfig/network-scripts/{number}");
        (0..number).fold(networkd(phony()), |builder, number| builder.file(name(number), "")).build().unwrap()
    };
    inject(&described(STATIC), many(4096));
    let why = refusal(&described(STATIC), many(4097));
    assert!(why.contains("more than 4096 files") && why.contains("/etc/sysconfig/network-scripts"), "{why}");
    // What is too large to be ours stays; what is too large for us is not for netplan.
    let large = "# Made by imgraft.\n".repeat(60_000);
    let path = "/etc/systemd/network/05-imgraft-large.network";
    let fs = netplan(phony()).file(path, large.as_str()).file("/etc/netplan/90-large.yaml", large.as_str());
    let fs = inject(&described(STATIC), fs.build().unwrap());
    assert!(exists(&fs, path) && !exists(&fs, "/etc/netplan/90-large.yaml"));
}

#[test]
fn links_are_files_to_netplan() {
    let all = "network: {version: 2, ethernets: {all-en: {match: {name: 'en*'}, dhcp4: true}}}\n";
    let fs = netplan(phony())
        .file("/srv/all.yaml", all)
        .symlink("/etc/netplan/90-link.yaml", "../../srv/all.yaml")
        .symlink("/etc/netplan/91-gone.yaml", "/gone.yaml")
        .symlink("/etc/netplan/92-loop.yaml", "92-loop.yaml")
        .symlink("/etc/netplan/93-directory.yaml", "/srv")
        .symlink("/usr/lib/netplan/00-x.yaml", "/srv/all.yaml")
        .build()
        .unwrap();
    assert!(notes(&described(STATIC), &fs).contains("an empty file, in the place of /usr/lib/netplan/00-x.yaml"));
    let fs = inject(&described(STATIC), fs);
    let names = fs.read_dir(&resolve(&fs, &GuestPath::parse("/etc/netplan").unwrap(), Follow::All).unwrap()).unwrap();
    let names: Vec<_> = names.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()).collect();
    // netplan would make nothing where one of them leads to no file.
    assert_eq!(names, ["00-x.yaml", "50-imgraft.yaml"]);
    assert_eq!(text(&fs, "/srv/all.yaml"), all);
    assert_unchanged(&described(STATIC), &fs);
}

/// A text of netplan's says what the network is, as every other description does; what is no more than a choice of renderer stays.
#[test]
fn a_text_is_not_mixed_with_others() {
    let other = "/etc/netplan/90-default.yaml";
    let tree = |text: &str| {
        let chosen = "network: {version: 2, renderer: networkd}";
        netplan(phony()).file(other, text).file("/etc/netplan/01-renderer.yaml", chosen).build().unwrap()
    };
    let devices = "network: {version: 2, ethernets: {all: {match: {name: 'e*'}, dhcp4: true}}}";
    let net = |text: &str| Net {
        network: Described::Either { text: text.into(), newest: None, config: read::document(text) },
        renderer: None,
        compat: Compat::Imgraft,
    };
    let fs = inject(&net(NETPLAN), tree(devices));
    assert!(!exists(&fs, other) && exists(&fs, "/etc/netplan/01-renderer.yaml"));
    assert_unchanged(&net(NETPLAN), &fs);
    let said = notes(&net(NETPLAN), &tree(devices));
    assert!(
        said.contains("/etc/netplan/90-default.yaml: removed, as netplan would mix its devices with these"),
        "{said}"
    );
    let fs = inject(&net("network: {version: 2, renderer: NetworkManager}"), tree(devices));
    assert!(exists(&fs, other));
}

/// What the guest's netplan is too old for is refused; where nothing says how old it is, the report says what it should be.
#[test]
fn a_text_is_not_for_an_older_netplan() {
    let tree = |version: &str| {
        let status = format!("Package: netplan.io\nStatus: install ok installed\nVersion: {version}\n");
        netplan(phony()).file("/var/lib/dpkg/status", status).build().unwrap()
    };
    let text = "network: {version: 2, tunnels: {wg0: {mode: wireguard, key: /etc/key}}}";
    let newest = crate::net::netplan::check(text, crate::net::netplan::Lines::Told).unwrap();
    let config = read::document(text);
    let net = Net {
        network: Described::Either { text: text.into(), newest, config },
        renderer: None,
        compat: Compat::Imgraft,
    };
    let needs = "network.tunnels.wg0 (WireGuard without peers): netplan knows it since version 0.107";
    let why = refusal(&net, tree("0.106-2+deb12u1"));
    assert!(why.starts_with(&format!("{needs}, and the guest has 0.106 (leave it out, or upgrade")), "{why}");
    for version in ["0.107.1-3ubuntu0.22.04.1", "1.1.2-7"] {
        let notes = notes(&net, &tree(version));
        assert!(!notes.contains("knows it since"), "{notes}");
    }
    for unknown in [tree("new"), netplan(phony()).build().unwrap()] {
        let notes = notes(&net, &unknown);
        assert!(notes.contains(needs), "{notes}");
    }
}

#[test]
fn a_text_for_some_is_a_description_for_others() {
    let text_of = |config| Net {
        network: Described::Either { text: NETPLAN.into(), newest: None, config },
        renderer: None,
        compat: Compat::Imgraft,
    };
    let both = || text_of(read::document(NETPLAN));
    let fs = inject(&both(), netplan(phony()).build().unwrap());
    assert_eq!(text(&fs, "/etc/netplan/50-imgraft.yaml"), NETPLAN);
    let fs = inject(&both(), network_manager(phony()).build().unwrap());
    assert!(exists(&fs, "/etc/NetworkManager/system-connections/imgraft-eth0.nmconnection"));
    // It is there, though nothing starts it: as with any other text.
    let unit = "/usr/lib/systemd/system/systemd-networkd.service";
    let fs = inject(&both(), phony().file("/usr/sbin/netplan", "").file(unit, "").build().unwrap());
    assert!(exists(&fs, "/etc/netplan/50-imgraft.yaml"));
    let chosen = Net { renderer: Some(Choice::Stack(NetworkStack::Networkd)), ..both() };
    let fs = inject(&chosen, netplan(phony()).build().unwrap());
    assert!(exists(&fs, "/etc/systemd/network/05-imgraft-eth0.network"));
    // What only netplan understands is for guests with netplan only.
    let wifi = "network: {version: 2, wifis: {w: {}}}";
    let wifi = text_of(read::document(wifi));
    assert!(exists(&inject(&wifi, netplan(phony()).build().unwrap()), "/etc/netplan/50-imgraft.yaml"));
    let why = refusal(&wifi, network_manager(phony()).build().unwrap());
    assert!(why.starts_with("the network configuration cannot be understood: wifis: unknown field `wifis`"), "{why}");
    // A text in a spelling that was not chosen.
    let other =
        Net { network: Described::Text(NETWORKD.into()), renderer: Some(Choice::CloudInit), compat: Compat::Imgraft };
    assert!(refusal(&other, networkd(phony()).build().unwrap()).contains("not of cloud-init"));
}

#[test]
fn what_is_made_is_labelled() {
    let fs = network_manager(crate::inject::testing::fedora()).build().unwrap();
    let fs = inject(&described(STATIC), fs);
    let path = "/etc/NetworkManager/system-connections/imgraft-eth0.nmconnection";
    assert_eq!(label(&fs, path).unwrap(), "system_u:object_r:etc_t:s0");
}
