use super::*;
use crate::inject::testing::*;

const INTERFACES: &str = "# lo\nauto lo\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet dhcp\n";
const NETPLAN: &str = "# x\n---\nnetwork:\n  version: 2\n  ethernets: {eth0: {dhcp4: true}}\n";
const NETWORKD: &str = "[Match]\nName=en*\n\n[Network]\nDHCP=yes\n";
const KEYFILE: &str = "[connection]\nid = eth 0\ntype=ethernet\n\n[ipv4]\nmethod=auto\nid=no\n";
const IFCFG: &str = "DEVICE=\"eth0\"\nBOOTPROTO=dhcp\nONBOOT=yes\n";
const WICKED: &str = "DEVICE='eth0'\nBOOTPROTO='dhcp'\nSTARTMODE='auto'\n";

fn net(text: &str) -> Net {
    Net { network: Described::Text(text.into()), renderer: None, compat: Compat::Imgraft }
}

fn everything() -> imgraft_vfs::fs::mem::Builder {
    fedora()
        .file("/usr/sbin/ifup", "")
        .file("/usr/sbin/dhclient", "")
        .symlink("/sbin", "usr/sbin")
        .file("/usr/sbin/netplan", "")
        .file("/usr/lib/systemd/systemd-networkd", "")
        .file("/usr/sbin/NetworkManager", "")
        .dir("/etc/sysconfig/network-scripts")
        .file("/usr/sbin/wicked", "")
        .file("/usr/lib/systemd/system/NetworkManager.service", "[Unit]\n")
        .symlink("/etc/systemd/system/multi-user.target.wants/NetworkManager.service", "/gone")
}

#[test]
fn each_spelling_has_its_place() {
    for (text, path, mode) in [
        (INTERFACES, "/etc/network/interfaces", "0644 0:0"),
        (NETPLAN, "/etc/netplan/50-imgraft.yaml", "0600 0:0"),
        ("{\"network\": {}}", "/etc/netplan/50-imgraft.yaml", "0600 0:0"),
        (NETWORKD, "/etc/systemd/network/10-imgraft.network", "0644 0:0"),
        (KEYFILE, "/etc/NetworkManager/system-connections/eth 0.nmconnection", "0600 0:0"),
        (IFCFG, "/etc/sysconfig/network-scripts/ifcfg-eth0", "0644 0:0"),
        (WICKED, "/etc/sysconfig/network/ifcfg-eth0", "0644 0:0"),
    ] {
        let stack = Spelling::detect(text).unwrap().0;
        let chosen = Net { renderer: Some(Choice::Stack(stack)), ..net(text) };
        let fs = inject(&chosen, everything().build().unwrap());
        assert_eq!(self::text(&fs, path), text);
        assert_eq!(describe(&fs, path), mode);
        assert_eq!(label(&fs, path).unwrap(), "system_u:object_r:etc_t:s0");
        assert_unchanged(&chosen, &fs);
        // Unasked it is put where it is read only.
        if stack == NetworkStack::NetworkManager {
            assert_eq!(self::text(&inject(&net(text), everything().build().unwrap()), path), text);
            continue;
        }
        let Described::Text(_) = chosen.network else { panic!("{text}") };
        let why = refusal(&net(text), everything().build().unwrap());
        let started =
            "the guest starts NetworkManager (/etc/systemd/system/multi-user.target.wants/NetworkManager.service)";
        assert!(why.starts_with("nothing that the guest starts reads") && why.contains(started), "{text}: {why}");
        assert!(why.contains(&format!("--network-renderer {} puts", stack.choice())), "{text}: {why}");
    }
}

/// A link that has a name of ours gives way; one that has the distribution's is followed.
#[test]
fn links_of_our_names_give_way() {
    for (text, path, follows) in [
        (NETPLAN, "/etc/netplan/50-imgraft.yaml", false),
        (NETWORKD, "/etc/systemd/network/10-imgraft.network", false),
        (INTERFACES, "/etc/network/interfaces", true),
        (IFCFG, "/etc/sysconfig/network-scripts/ifcfg-eth0", true),
    ] {
        for target in ["/srv/shared", "/dev/null"].into_iter().filter(|target| !follows || *target != "/dev/null") {
            let stack = Spelling::detect(text).unwrap().0;
            let chosen = Net { renderer: Some(Choice::Stack(stack)), ..net(text) };
            let fs = everything().file("/srv/shared", "theirs\n").symlink(path, target).build().unwrap();
            let fs = inject(&chosen, fs);
            assert_eq!(self::text(&fs, path), text);
            let theirs = self::text(&fs, "/srv/shared");
            assert_eq!(theirs, if follows { text } else { "theirs\n" }, "{path} -> {target}");
            assert_unchanged(&chosen, &fs);
        }
    }
}

#[test]
fn texts_of_no_spelling_are_refused() {
    for text in [
        "",
        "\n# x\n",
        "hello",
        "[Unit]\nx=y\n",
        "[NetDev]\nName=a\n[Match]\n",
        "ONBOOT=yes\n",
        "interface eth0\n",
        "a: b\n",
        "DEVICE=x\nhello\n",
        "networks: 1",
    ] {
        let why = refusal(&net(text), everything().build().unwrap());
        assert!(why.starts_with("the network configuration is in no known spelling (known"), "{text}: {why}");
    }
    for (text, reason) in [
        ("[connection]\ntype=ethernet\n", "no id="),
        ("[connection]\nid=a/../b\n", "character"),
        ("[connection]\nid=.a\n", "character"),
        ("BOOTPROTO=dhcp\n", "no DEVICE="),
        ("STARTMODE=auto\n", "no DEVICE= in it, by which the file could be named"),
        ("BOOTPROTO=dhcp\nDEVICE=\n", "character"),
        ("BOOTPROTO=dhcp\nDEVICE=../x\n", "character"),
    ] {
        let why = refusal(&net(text), everything().build().unwrap());
        assert!(why.contains(reason), "{text}: {why}");
    }
    let why = refusal(
        &Net { network: Described::Text(b"iface \xff".to_vec()), renderer: None, compat: Compat::Imgraft },
        everything().build().unwrap(),
    );
    assert!(why.contains("UTF-8"));
}

/// systemd-networkd ignores a text that is for no device; before 245 such a one was for all.
#[test]
fn a_text_for_no_device_is_refused() {
    let with = |version: &str| {
        let status = format!("Package: systemd\nStatus: install ok installed\nVersion: {version}\n\n");
        everything().file("/var/lib/dpkg/status", status).build().unwrap()
    };
    let chosen = |text| Net { renderer: Some(Choice::Stack(NetworkStack::Networkd)), ..net(text) };
    for text in ["[Network]\nDHCP=yes\n", "[Match]\n# Name=eth0\nName=\n\n[Network]\nDHCP=yes\n"] {
        for guest in [everything().build().unwrap(), with("252.39-1~deb12u1"), with("245.4-4ubuntu3.24")] {
            let why = refusal(&chosen(text), guest);
            assert!(why.contains("nothing in its [Match] says which devices it is for"), "{why}");
            assert!(why.contains("(Name=* there is for all of them)"), "{why}");
        }
        assert!(!notes(&chosen(text), &with("241-7~deb10u10")).contains("[Match]"));
        let fs = inject(&chosen(text), with("241-7~deb10u10"));
        assert_eq!(self::text(&fs, "/etc/systemd/network/10-imgraft.network"), text);
    }
    inject(&chosen("[Match]\nName=*\n\n[Network]\nDHCP=yes\n"), with("252.39-1~deb12u1"));
    // What an older one takes for all devices has no note.
    let misspelt = chosen("[Match]\nname=eth0\n\n[Network]\nDHCP=yes\n");
    for (version, is_told) in [("241-7~deb10u10", false), ("252.39-1~deb12u1", true)] {
        assert_eq!(notes(&misspelt, &with(version)).contains("knows none of the keys of its [Match]"), is_told);
    }
}

#[test]
fn a_stack_that_the_guest_does_not_have_is_refused() {
    let guest = phony().file("/usr/sbin/NetworkManager", "").build().unwrap();
    let why = refusal(&net(INTERFACES), guest.clone());
    assert_eq!(
        why,
        "nothing in the guest reads a network configuration of ifupdown (iface …) (the guest has NetworkManager; a description of the \
         network, in netplan's words say, is compiled for what it has; --network-renderer ifupdown puts this text there all the same)"
    );
    assert!(refusal(&net(NETPLAN), phony().build().unwrap()).contains("--upload"));
    assert!(notes(&net(KEYFILE), &guest).contains("nothing that the guest starts it"));
    assert!(!notes(&net(KEYFILE), &everything().build().unwrap()).contains("nothing that the guest"));
}

/// RHEL 9 has the plugin by which NetworkManager reads ifcfg files; a netplan may start networkd.
#[test]
fn some_texts_are_read_by_a_program_of_another_name() {
    let plugin = "/usr/lib64/NetworkManager/1.46.0-1.el9/libnm-settings-plugin-ifcfg-rh.so";
    for guest in [
        everything(),
        phony()
            .file("/usr/sbin/NetworkManager", "")
            .file("/usr/lib/systemd/system/NetworkManager.service", "[Unit]\n")
            .symlink("/etc/systemd/system/multi-user.target.wants/NetworkManager.service", "/gone"),
    ] {
        let fs = guest.file(plugin, "").build().unwrap();
        let notes = notes(&net(IFCFG), &fs);
        let path = "/etc/sysconfig/network-scripts/ifcfg-eth0";
        assert!(notes.contains(&format!("{path}: for NetworkManager, whose plugin {plugin} reads it")), "{notes}");
        assert_eq!(text(&inject(&net(IFCFG), fs), path), IFCFG);
    }
    let stopped = phony().file("/usr/sbin/NetworkManager", "").file(plugin, "").build().unwrap();
    assert!(refusal(&net(IFCFG), stopped).contains("nothing in the guest reads"));
    let generator = "/usr/lib/systemd/system-generators/netplan";
    let behind =
        phony().file("/usr/lib/systemd/systemd-networkd", "").file("/usr/sbin/netplan", "").file(generator, "");
    let own = behind.file("/etc/systemd/network/05-own.network", "[Match]\nName=*\n").build().unwrap();
    let notes = notes(&net(NETWORKD), &own);
    assert!(notes.contains("/etc/systemd/network/05-own.network: removed, as by its name it comes first"), "{notes}");
    assert!(exists(&inject(&net(NETWORKD), own), "/etc/systemd/network/10-imgraft.network"));
}

/// What may be for a device of a text, and comes before it, stays; what has its name or its MAC address goes.
#[test]
fn what_may_go_before_a_text_is_told() {
    let (networkd, keyfiles) = ("/etc/systemd/network", "/etc/NetworkManager/system-connections");
    let own = format!("{networkd}/05-own.network");
    let wired = format!("{keyfiles}/eth0.nmconnection");
    let guest = || {
        everything()
            .file(&*own, "[Match]\nName=eth0\n")
            .file(format!("{networkd}/05-other.network"), "[Match]\nType=wlan\n")
            .file(format!("{networkd}/50-other.network"), "[Match]\nName=eth1\n")
            .file(&*wired, "[connection]\nid=eth0\ntype=ethernet\ninterface-name=eth0\n")
            .file(format!("{keyfiles}/wifi.nmconnection"), "[connection]\nid=wifi\ntype=wifi\n")
    };
    for (text, first, is_sure) in [
        ("[Match]\nType=ether\n\n[Network]\nDHCP=yes\n", &own, false),
        ("[Match]\nName=e*\n\n[Network]\nDHCP=yes\n", &own, false),
        ("[Match]\nMACAddress=52:54:00:12:34:56\n\n[Network]\nDHCP=yes\n", &own, false),
        ("[Match]\nName=eth0\n\n[Network]\nDHCP=yes\n", &own, true),
        (KEYFILE, &wired, false),
        ("[connection]\nid=x\n[ethernet]\nmac-address=52:54:00:12:34:56\n", &wired, false),
        ("[connection]\nid=x\n[match]\ninterface-name=e*\n", &wired, false),
        ("[connection]\nid=x\n[match]\ninterface-name=eth7;eth0\n", &wired, false),
        ("[connection]\nid=x\n[match]\ninterface-name=eth0;\n", &wired, true),
        ("[connection]\nid=x\ninterface-name=eth0\n", &wired, true),
    ] {
        let stack = Spelling::detect(text).unwrap().0;
        let chosen = Net { renderer: Some(Choice::Stack(stack)), ..net(text) };
        let fs = guest().build().unwrap();
        let said = notes(&chosen, &fs);
        let notes: Vec<_> = said.lines().filter(|note| note.contains("goes before")).collect();
        let told = format!(
            "{first}: not changed, as it may be for other devices, though it goes before this network for those that both are for (imgraft \
             inject --delete {first} takes it away)"
        );
        assert_eq!(notes, Vec::from_iter(Some(told).filter(|_| !is_sure)), "{said}");
        assert_eq!(exists(&inject(&chosen, fs), first), !is_sure, "{text}");
    }
}

/// What the guest's interfaces(5) includes would not be read any more.
#[test]
fn what_was_included_is_not_left_behind() {
    let eth1 = "auto eth1\niface eth1 inet static\n    address 192.0.2.9/24\n";
    let tree = |line: &str| {
        let interfaces = format!("auto lo\niface lo inet loopback\n{line}\n");
        phony()
            .file("/usr/sbin/ifup", "")
            .file("/usr/sbin/dhclient", "")
            .file("/etc/network/interfaces", interfaces)
            .file("/etc/network/interfaces.d/eth1", eth1)
            .file("/etc/network/interfaces.d/lo.cfg", "iface lo inet6 loopback\n")
            .file("/etc/network/more/eth.2", eth1)
            .file("/srv/net/eth3", eth1)
            .build()
            .unwrap()
    };
    let paths = ["/etc/network/interfaces.d/eth1", "/etc/network/interfaces.d/lo.cfg", "/etc/network/more/eth.2"];
    for (line, gone) in [
        ("source /etc/network/interfaces.d/*", Some(paths[0])),
        ("source interfaces.d/eth?", Some(paths[0])),
        ("source /etc/network/interfaces.d", Some(paths[0])),
        ("source-directory /etc/network/interfaces.d/", Some(paths[0])),
        ("source /etc/network/more/*.2 /gone/*", Some(paths[2])),
        // A name with a dot is none of such a directory.
        ("source-directory more", None),
        ("#source /etc/network/interfaces.d/*", None),
        ("source /etc/network/interfaces.d/eth2*", None),
        ("source ../../..", None),
    ] {
        let fs = inject(&net(INTERFACES), tree(line));
        for path in paths {
            assert_eq!(!exists(&fs, path), gone == Some(path), "{line}: {path}");
        }
        assert_unchanged(&net(INTERFACES), &fs);
        let notes = notes(&net(INTERFACES), &tree(line));
        let told =
            gone.is_none_or(|gone| notes.contains(&format!("{gone}: removed, as /etc/network/interfaces included")));
        assert!(told && notes.contains("included it") == gone.is_some(), "{line}: {notes}");
    }
    let elsewhere = tree("source /srv/net/*");
    assert!(notes(&net(INTERFACES), &elsewhere).contains("/srv/net/eth3: not read any more, and not changed"));
    assert!(exists(&inject(&net(INTERFACES), elsewhere), "/srv/net/eth3"));
    // A text that includes it itself.
    let own = format!("{INTERFACES}source /etc/network/interfaces.d/*\n");
    assert!(exists(&inject(&net(&own), tree("source /etc/network/interfaces.d/*")), paths[0]));
}

#[test]
fn existing_files_keep_mode_and_owner() {
    let tree = phony().file("/usr/sbin/ifup", "").file("/usr/sbin/dhclient", "");
    let tree = tree.file("/etc/network/interfaces", "old").mode(0o600).owner(1, 2).build().unwrap();
    let fs = inject(&net(INTERFACES), tree);
    assert_eq!(describe(&fs, "/etc/network/interfaces"), "0600 1:2");
    assert_eq!(text(&fs, "/etc/network/interfaces"), INTERFACES);
    let path = "/etc/NetworkManager/system-connections/eth 0.nmconnection";
    let tree = everything().file(path, "").mode(0o644).build().unwrap();
    assert!(notes(&net(KEYFILE), &tree).contains("NetworkManager ignores"));
}

#[test]
fn nova_golden() {
    let nova = Net { network: Described::Text(b"anything \xff".to_vec()), renderer: None, compat: Compat::Nova };
    let fs = inject(&nova, phony().build().unwrap());
    assert_eq!(describe(&fs, "/etc/network"), "0744 0:0");
    assert_eq!(describe(&fs, "/etc/network/interfaces"), "0644 0:0");
    assert_eq!(bytes(&fs, "/etc/network/interfaces"), b"anything \xff");
    let tree = phony().file("/usr/sbin/ifup", "").dir("/etc/network").owner(1, 1);
    let tree = tree.file("/etc/network/interfaces", "").mode(0o600).build().unwrap();
    let fs = inject(&nova, tree);
    assert_eq!(describe(&fs, "/etc/network"), "0744 0:0");
    assert_eq!(describe(&fs, "/etc/network/interfaces"), "0600 0:0");
}

mod compiled;
mod interfaces;
mod name_servers;
mod wicked;
