use super::*;
use crate::guest::Guest;
use imgraft_vfs::fs::mem::{Builder, MemFs};

const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";
const ALIAS: &str = "/etc/systemd/system/network.service";

/// A guest with systemd, that has been booted, with these services enabled.
fn systemd(id: &str, enabled: &[&str]) -> Builder {
    never_booted(id, enabled).file("/etc/machine-id", "6fb1e8c0c9c84a0c8b6d2f6a3c1d7e55\n")
}

/// The same without a machine id.
fn never_booted(id: &str, enabled: &[&str]) -> Builder {
    let mut builder = MemFs::builder()
        .file("/etc/os-release", format!("ID={id}\n"))
        .file("/usr/lib/systemd/systemd", "elf")
        .file("/usr/lib/systemd/systemd-udevd", "elf")
        .symlink("/lib", "usr/lib")
        .dir(WANTS);
    for unit in enabled {
        builder = builder
            .file(format!("/usr/lib/systemd/system/{unit}"), "[Install]\nWantedBy=multi-user.target\n")
            .symlink(format!("{WANTS}/{unit}"), format!("/usr/lib/systemd/system/{unit}"));
    }
    builder
}

/// Debian's ifupdown as it is installed; `networking.service` is another matter.
fn ifupdown(builder: Builder) -> Builder {
    builder
        .file("/usr/sbin/ifup", "elf")
        .dir("/usr/lib/ifupdown")
        .file("/etc/network/interfaces", "source /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n")
        .dir("/etc/network/interfaces.d")
}

fn networkd(builder: Builder) -> Builder {
    builder.file("/usr/lib/systemd/systemd-networkd", "elf")
}

fn netplan(builder: Builder) -> Builder {
    builder
        .file("/usr/libexec/netplan/generate", "elf")
        .symlink("/usr/sbin/netplan", "../share/netplan/netplan.script")
        .symlink("/usr/lib/systemd/system-generators/netplan", "../../../libexec/netplan/generate")
}

fn network_manager(builder: Builder) -> Builder {
    builder.file("/usr/sbin/NetworkManager", "elf").dir("/etc/NetworkManager/system-connections")
}

fn network_scripts(builder: Builder) -> Builder {
    builder
        .file("/etc/sysconfig/network-scripts/ifcfg-lo", "DEVICE=lo\n")
        .file("/etc/rc.d/init.d/network", "#!/bin/bash\n")
}

fn wicked(builder: Builder) -> Builder {
    builder.file("/usr/sbin/wicked", "elf").file("/usr/sbin/wickedd", "elf")
}

fn cloud(builder: Builder) -> Builder {
    builder.file("/usr/bin/cloud-init", "#!/usr/bin/python3\n").file("/etc/cloud/cloud.cfg", "users: [default]\n")
}

fn inspect(builder: Builder) -> Network {
    Guest::inspect(&builder.build().unwrap()).unwrap().network
}

/// The stack that the guest listens to with what shows it, or why there is none.
fn listener(builder: Builder) -> String {
    match inspect(builder).listener() {
        Ok(state) => format!("{}: {}", state.stack.name(), state.shown_by()),
        Err(NoListener::NoneEnabled) => "none".to_owned(),
        Err(NoListener::Several(several)) => {
            several.iter().map(|(stack, by)| format!("{} by {by}", stack.name())).collect::<Vec<_>>().join(", ")
        }
    }
}

#[test]
fn distributions_listen_to() {
    let cases: [(&str, Builder, &str); 16] = [
        (
            "Debian 12, minimal",
            networkd(ifupdown(systemd("debian", &["networking.service"]))),
            "ifupdown: /etc/systemd/system/multi-user.target.wants/networking.service shows it",
        ),
        (
            "Debian 12, cloud image",
            cloud(netplan(networkd(systemd("debian", &["systemd-networkd.service"]))))
                .file("/etc/netplan/90-default.yaml", "network: {version: 2}\n"),
            "netplan: /usr/lib/systemd/system-generators/netplan and /etc/netplan/90-default.yaml show it",
        ),
        (
            "Debian 13, systemd-networkd",
            networkd(systemd("debian", &["systemd-networkd.service"])),
            "systemd-networkd: /etc/systemd/system/multi-user.target.wants/systemd-networkd.service shows it",
        ),
        (
            "Debian 12, desktop: ifupdown has nothing but lo",
            network_manager(networkd(ifupdown(systemd("debian", &["networking.service", "NetworkManager.service"])))),
            "NetworkManager: /etc/systemd/system/multi-user.target.wants/NetworkManager.service shows it",
        ),
        (
            "Ubuntu 22.04 and 24.04, server, never booted",
            cloud(netplan(networkd(systemd("ubuntu", &["systemd-networkd.service"])))),
            "netplan: /usr/lib/systemd/system-generators/netplan shows it",
        ),
        (
            "Ubuntu 24.04, desktop",
            netplan(network_manager(networkd(systemd("ubuntu", &["NetworkManager.service"]))))
                .file("/etc/netplan/01-network-manager-all.yaml", "network: {version: 2, renderer: NetworkManager}\n"),
            "netplan: /usr/lib/systemd/system-generators/netplan and /etc/netplan/01-network-manager-all.yaml show it",
        ),
        (
            "CentOS 7",
            network_manager(network_scripts(systemd("centos", &["NetworkManager.service"])))
                .file("/etc/sysconfig/network-scripts/ifcfg-eth0", "DEVICE=eth0\n")
                .symlink("/etc/rc.d/rc3.d/S10network", "../init.d/network"),
            "ifcfg: /etc/rc.d/rc3.d/S10network and /etc/sysconfig/network-scripts/ifcfg-eth0 show it",
        ),
        (
            "Rocky 8",
            network_manager(systemd("rocky", &["NetworkManager.service"]))
                .file("/etc/sysconfig/network-scripts/ifcfg-ens3", "DEVICE=ens3\n"),
            "NetworkManager: /etc/systemd/system/multi-user.target.wants/NetworkManager.service shows it",
        ),
        (
            "Rocky 9",
            cloud(network_manager(systemd("rocky", &["NetworkManager.service"])))
                .file("/etc/sysconfig/network-scripts/readme-ifcfg-rh.txt", ""),
            "NetworkManager: /etc/systemd/system/multi-user.target.wants/NetworkManager.service shows it",
        ),
        (
            "Rocky 10 and Fedora",
            cloud(networkd(network_manager(systemd("fedora", &["NetworkManager.service"])))),
            "NetworkManager: /etc/systemd/system/multi-user.target.wants/NetworkManager.service shows it",
        ),
        (
            "Fedora, never booted: by the presets",
            networkd(network_manager(never_booted("fedora", &[])))
                .file("/etc/machine-id", "uninitialized\n")
                .file("/usr/lib/systemd/system/NetworkManager.service", "[Install]\nWantedBy=multi-user.target\n")
                .file("/usr/lib/systemd/system/systemd-networkd.service", "[Install]\nWantedBy=multi-user.target\n")
                .file("/usr/lib/systemd/system-preset/90-default.preset", "# x\nenable NetworkManager.service\n")
                .file("/usr/lib/systemd/system-preset/99-default-disable.preset", "disable *\n"),
            "NetworkManager: /usr/lib/systemd/system-preset/90-default.preset shows it",
        ),
        (
            "openSUSE Tumbleweed",
            network_manager(systemd("opensuse-tumbleweed", &["NetworkManager.service"]))
                .symlink("/etc/systemd/system/network.service", "/usr/lib/systemd/system/NetworkManager.service"),
            "NetworkManager: /etc/systemd/system/multi-user.target.wants/NetworkManager.service shows it",
        ),
        (
            "openSUSE Leap 15 and SLES 15",
            wicked(systemd("opensuse-leap", &["wicked.service"]))
                .symlink(ALIAS, "/usr/lib/systemd/system/wicked.service"),
            "wicked: /etc/systemd/system/multi-user.target.wants/wicked.service shows it",
        ),
        (
            "Alpine",
            MemFs::builder()
                .file("/etc/os-release", "ID=alpine\n")
                .file("/sbin/openrc", "elf")
                .symlink("/sbin/ifup", "../usr/libexec/ifupdown-ng/ifup")
                .file("/etc/network/interfaces", "auto lo\niface lo inet loopback\n")
                .symlink("/etc/runlevels/boot/networking", "/etc/init.d/networking"),
            "ifupdown: /etc/runlevels/boot/networking shows it",
        ),
        (
            "Arch, cloud image",
            networkd(systemd("arch", &["systemd-networkd.service"]))
                .file("/etc/systemd/network/80-dhcp.network", "[Match]\nName=en*\n"),
            "systemd-networkd: /etc/systemd/system/multi-user.target.wants/systemd-networkd.service and \
             /etc/systemd/network/80-dhcp.network show it",
        ),
        (
            "a guest with System V's init",
            ifupdown(MemFs::builder()).symlink("/etc/rcS.d/S12networking", "../init.d/networking"),
            "ifupdown: /etc/rcS.d/S12networking shows it",
        ),
    ];
    for (name, builder, expected) in cases {
        assert_eq!(listener(builder), expected, "{name}");
    }
}

#[test]
fn none_is_none() {
    assert_eq!(listener(MemFs::builder()), "none");
    // It is there, and nothing starts it.
    assert_eq!(listener(networkd(ifupdown(systemd("debian", &[])))), "none");
    // A unit of the name keeps systemd from starting the script.
    let script = || ifupdown(systemd("debian", &[])).symlink("/etc/rcS.d/S01networking", "../init.d/networking");
    assert!(listener(script()).starts_with("ifupdown"));
    assert_eq!(listener(script().file("/usr/lib/systemd/system/networking.service", "[Unit]\n")), "none");
    // A package's links stay when its files go; in the unit's place a script of its name counts, if the program is there.
    let left = |builder: Builder, unit: &str| builder.symlink(format!("{WANTS}/{unit}"), "/gone");
    for (guest, unit) in [
        (ifupdown(systemd("debian", &[])), "networking.service"),
        (networkd(systemd("debian", &[])), "systemd-networkd.service"),
        (network_manager(systemd("debian", &[])), "NetworkManager.service"),
    ] {
        assert_eq!(listener(left(guest, unit)), "none", "{unit}");
    }
    let script =
        left(ifupdown(systemd("debian", &[])), "networking.service").file("/etc/init.d/networking", "#!/bin/sh\n");
    assert!(listener(script).starts_with("ifupdown"));
    let interfaces = systemd("debian", &["networking.service"]).file("/etc/network/interfaces", "auto lo\n");
    assert_eq!(listener(interfaces), "none");
    // Masked, by a link or by an empty file.
    let masked = || network_manager(systemd("fedora", &["NetworkManager.service"]));
    assert!(listener(masked()).starts_with("NetworkManager"));
    let path = "/etc/systemd/system/NetworkManager.service";
    assert_eq!(listener(masked().symlink(path, "/dev/null")), "none");
    assert_eq!(listener(masked().file(path, "")), "none");
    let generator = || netplan(systemd("ubuntu", &[]));
    assert!(listener(generator()).starts_with("netplan"));
    assert_eq!(listener(generator().symlink("/etc/systemd/system-generators/netplan", "/dev/null")), "none");
    // Presets are for the first boot, are overridden by name, and the first rule counts.
    let unit = "/usr/lib/systemd/system/systemd-networkd.service";
    let presets = |guest: Builder| {
        networkd(guest)
            .file(unit, "[Install]\nWantedBy=multi-user.target\n")
            .file("/usr/lib/systemd/system-preset/90-systemd.preset", "enable systemd-networkd.service\n")
    };
    assert_eq!(listener(presets(systemd("debian", &[]))), "none");
    let new = || presets(never_booted("debian", &[]));
    assert!(listener(new()).contains("90-systemd.preset"));
    assert_eq!(listener(new().file("/etc/systemd/system-preset/90-systemd.preset", "")), "none");
    assert_eq!(listener(new().file("/etc/systemd/system-preset/10-off.preset", "disable systemd-*\n")), "none");
    // What is enabled outright goes before what presets would enable.
    let networking = "/usr/lib/systemd/system/networking.service";
    let both = ifupdown(new()).file(networking, "[Unit]\n").symlink(format!("{WANTS}/networking.service"), networking);
    assert!(listener(both).starts_with("ifupdown"));
    // connman's spelling is none of ours.
    let network = inspect(systemd("gentoo", &["connman.service"]));
    assert_eq!(network.listener(), Err(NoListener::NoneEnabled));
    assert_eq!(network.others[0].name, "connman");
    let gentoo = MemFs::builder().symlink("/etc/runlevels/default/net.eth0", "/etc/init.d/net.eth0");
    assert_eq!(inspect(gentoo).others[0].name, "netifrc");
}

/// Packages leave links for other inits than the one that starts the guest.
#[test]
fn links_count_where_the_init_is_that_reads_them() {
    let sysv = |builder: Builder| builder.file("/sbin/init", "elf");
    let both = || networkd(ifupdown(systemd("debian", &["networking.service", "systemd-networkd.service"])));
    assert_eq!(listener(sysv(both())), "none");
    let script = "/etc/rcS.d/S10networking";
    let mask = "/etc/systemd/system/networking.service";
    let started = both().symlink(script, "../init.d/networking").symlink(mask, "/dev/null");
    assert_eq!(listener(sysv(started)), "ifupdown: /etc/rcS.d/S10networking shows it");
    let runlevel = "/etc/runlevels/boot/networking";
    let openrc = |builder: Builder| builder.symlink(runlevel, "/etc/init.d/networking");
    assert_eq!(listener(openrc(ifupdown(systemd("debian", &[])))), "none");
    assert_eq!(listener(sysv(openrc(both()))), "ifupdown: /etc/runlevels/boot/networking shows it");
}

#[test]
fn several_are_told_apart_by_what_they_have_to_do() {
    let both = || networkd(ifupdown(systemd("debian", &["networking.service", "systemd-networkd.service"])));
    // Debian's own ifupdown that nobody has used.
    assert!(listener(both()).starts_with("systemd-networkd"));
    let used = || both().file("/etc/network/interfaces.d/eth0", "iface eth0 inet dhcp\n");
    assert_eq!(
        listener(used()),
        "ifupdown: /etc/systemd/system/multi-user.target.wants/networking.service and \
         /etc/network/interfaces.d/eth0 show it"
    );
    let fight = used().file("/etc/systemd/network/a.network", "[Match]\n");
    assert_eq!(
        listener(fight),
        format!("ifupdown by {WANTS}/networking.service, systemd-networkd by {WANTS}/systemd-networkd.service")
    );
    let managers = networkd(network_manager(systemd("arch", &["NetworkManager.service", "systemd-networkd.service"])));
    assert!(listener(managers).contains(", "));
    // netplan is installed, and what is configured is elsewhere.
    let planned = || netplan(ifupdown(systemd("debian", &["networking.service"])));
    assert!(listener(planned()).starts_with("netplan"));
    assert!(listener(planned().file("/etc/network/interfaces.d/a", "iface eth0 inet dhcp\n")).starts_with("ifupdown"));
}

/// openSUSE's way of choosing between the two that it has.
#[test]
fn network_service_is_one_of_both() {
    let unit = |name: &str| format!("/usr/lib/systemd/system/{name}.service");
    let both = || wicked(network_manager(systemd("sles", &["wicked.service", "NetworkManager.service"])));
    assert!(listener(both()).contains(", wicked by /"));
    assert!(listener(both().symlink(ALIAS, unit("wicked"))).starts_with("wicked: "));
    assert!(listener(both().symlink(ALIAS, unit("NetworkManager"))).starts_with("NetworkManager: "));
    assert!(listener(both().symlink(ALIAS, "wicked.service")).starts_with("wicked: "));
    // What is configured does not outweigh it.
    let used = || both().file("/etc/sysconfig/network/ifcfg-lo", "").file("/etc/sysconfig/network/ifcfg-eth0", "");
    assert_eq!(
        listener(used()),
        format!("wicked: {WANTS}/wicked.service and /etc/sysconfig/network/ifcfg-eth0 show it")
    );
    assert!(listener(used().symlink(ALIAS, unit("NetworkManager"))).starts_with("NetworkManager: "));
    // An alias of something that is not started, or of nothing that is known, or none at all.
    let one = || wicked(network_manager(systemd("sles", &["wicked.service"])));
    assert!(listener(one().symlink(ALIAS, unit("NetworkManager"))).starts_with("wicked: "));
    for target in ["/dev/null", "/gone/x.service", "/", ".service"] {
        assert!(listener(both().symlink(ALIAS, target)).contains(", wicked by /"), "{target}");
    }
    assert!(listener(both().file(ALIAS, "[Service]\n")).contains(", wicked by /"));
}

#[test]
fn cloud_init_is_there_or_not() {
    let state = |builder: Builder| {
        let network = inspect(builder);
        let config = network.cloud_init_config();
        let aside = config.filter(|says| says.network == CloudInitNetwork::Disabled);
        (network.cloud_init, aside.map(|says| says.path.clone()))
    };
    let there = || cloud(systemd("debian", &[]));
    assert_eq!(state(systemd("debian", &[])), (None, None));
    assert_eq!(state(there()), (Some("/usr/bin/cloud-init"), None));
    assert_eq!(state(there().file("/etc/cloud/cloud-init.disabled", "")), (None, None));
    let aside = "/etc/cloud/cloud.cfg.d/99-disable-network-config.cfg";
    let disabled = || there().file(aside, "network: {config: disabled}\n");
    assert_eq!(state(disabled()).1.as_deref(), Some(aside));
    // The files are merged: only what has the key takes it back.
    let later = |text: &str| state(disabled().file("/etc/cloud/cloud.cfg.d/99-more.cfg", text)).1;
    for other in ["network:\n  version: 2\n", "network: {}\n", "users: []\n"] {
        assert_eq!(later(other).as_deref(), Some(aside), "{other}");
    }
    for config in ["network: {version: 1, config: []}\n", "network: {config: null}\n", "network: null\n"] {
        assert_eq!(later(config), None, "{config}");
    }
    let broken = there()
        .file("/etc/cloud/cloud.cfg.d/a.cfg", "network: [\n")
        .file("/etc/cloud/cloud.cfg.d/b", "network: {config: disabled}\n");
    assert_eq!(state(broken), (Some("/usr/bin/cloud-init"), None));
}

#[test]
fn what_is_looked_at_is_bounded() {
    // Presets: the first 256 files by their names, 4096 rules, patterns of 255 bytes.
    let unit = "/usr/lib/systemd/system/systemd-networkd.service";
    let new = || networkd(never_booted("debian", &[])).file(unit, "[Install]\n");
    let preset = |builder: Builder, name: &str, text: &str| {
        builder.file(format!("/usr/lib/systemd/system-preset/{name}.preset"), text)
    };
    let enable = "enable systemd-networkd.service\n";
    let files = |number: usize| (0..number).fold(new(), |builder, file| preset(builder, &format!("{file:03}"), ""));
    assert!(listener(preset(files(255), "999", enable)).contains("999.preset"));
    assert_eq!(listener(preset(files(256), "999", enable)), "none");
    let rules = |number: usize| preset(new(), "50", &("disable x\n".repeat(number) + enable));
    assert!(listener(rules(4095)).contains("50.preset"));
    assert_eq!(listener(rules(4096)), "none");
    let long = |length: usize| preset(new(), "50", &format!("enable systemd-networkd*{}\n", "*".repeat(length - 17)));
    assert!(listener(long(255)).contains("50.preset"));
    assert_eq!(listener(long(256)), "none");
    // A file of the same name takes the place of another, and counts once.
    let same = (0..256).fold(files(255), |builder, file| {
        builder.file(format!("/etc/systemd/system-preset/{file:03}.preset"), if file == 255 { enable } else { "" })
    });
    assert!(listener(same).contains("/etc/systemd/system-preset/255.preset"));

    // Directories of links.
    let wants = |number: usize| {
        let directory = |directory: usize| format!("/etc/systemd/system/{directory:03}.target.wants");
        (0..number)
            .fold(networkd(systemd("debian", &[])), |builder, number| builder.dir(directory(number)))
            .file(unit, "[Unit]\n")
            .symlink(format!("{}/systemd-networkd.service", directory(number - 1)), unit)
    };
    // Before them is multi-user.target's.
    assert!(listener(wants(255)).contains("254.target.wants"));
    assert_eq!(listener(wants(256)), "none");

    // interfaces.d, and cloud.cfg.d, of which the last ones count.
    let interfaces = |number: usize| {
        let path = |file: usize| format!("/etc/network/interfaces.d/{file:03}");
        let builder = ifupdown(systemd("debian", &["networking.service"]));
        (0..number)
            .fold(builder, |builder, file| builder.file(path(file), ""))
            .file(path(999), "iface eth0 inet dhcp\n")
    };
    let configured = |builder: Builder| inspect(builder).state(NetworkStack::Ifupdown).unwrap().configured_by.is_some();
    assert!(configured(interfaces(255)) && !configured(interfaces(256)));
    let says = |number: usize| {
        let path = |file: usize| format!("/etc/cloud/cloud.cfg.d/{file:03}.cfg");
        let text = "network: {config: disabled}\n";
        let builder = cloud(systemd("debian", &[])).file("/etc/cloud/cloud.cfg.d/zzz", text);
        inspect((0..number).fold(builder, |builder, file| builder.file(path(file), text))).cloud_init_says
    };
    assert_eq!(says(300).len(), 256);
    assert_eq!(says(300)[0].path, "/etc/cloud/cloud.cfg.d/044.cfg");
    assert_eq!(says(3).len(), 3);
}

#[test]
fn a_guest_bent_out_of_shape() {
    let bent = MemFs::builder()
        .file("/etc/systemd/system", "")
        .symlink("/usr/lib/systemd/system", "/usr/lib/systemd/system")
        .file("/usr/lib/systemd/systemd", "elf")
        .file("/usr/lib/systemd/system-preset/a.preset", b"enable\nenable \xff*\ndisable\n")
        .dir("/usr/sbin/ifup")
        .dir("/etc/network/interfaces")
        .symlink("/etc/network/interfaces.d", "/gone")
        .dir("/etc/netplan/a.yaml")
        .dir("/etc/runlevels/default/networking")
        .file("/usr/bin/cloud-init", "")
        .file("/etc/cloud/cloud.cfg", b"\xff")
        .dir("/etc/cloud/cloud.cfg.d/x.cfg");
    let network = inspect(bent);
    assert_eq!(network.cloud_init, Some("/usr/bin/cloud-init"));
    assert!(network.state(NetworkStack::Ifupdown).is_some());
}
