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
        .symlink("/sbin", "usr/sbin")
        .file("/usr/sbin/netplan", "")
        .file("/usr/lib/systemd/systemd-networkd", "")
        .file("/usr/sbin/NetworkManager", "")
        .dir("/etc/sysconfig/network-scripts")
        .file("/usr/sbin/wicked", "")
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
        let fs = inject(&net(text), everything().build().unwrap());
        assert_eq!(self::text(&fs, path), text);
        assert_eq!(describe(&fs, path), mode);
        assert_eq!(label(&fs, path).unwrap(), "system_u:object_r:etc_t:s0");
        assert_unchanged(&net(text), &fs);
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

#[test]
fn a_stack_that_the_guest_does_not_have_is_refused() {
    let guest = phony().file("/usr/sbin/NetworkManager", "").build().unwrap();
    let why = refusal(&net(INTERFACES), guest.clone());
    assert_eq!(
        why,
        "nothing in the guest reads a network configuration of ifupdown (iface …) (the guest has NetworkManager)"
    );
    assert!(refusal(&net(NETPLAN), phony().build().unwrap()).contains("--upload"));
    assert!(notes(&net(KEYFILE), &guest).contains("nothing that the guest starts it"));
    assert!(!notes(&net(KEYFILE), &everything().build().unwrap()).contains("nothing that the guest"));
}

#[test]
fn existing_files_keep_mode_and_owner() {
    let tree = phony().file("/etc/network/interfaces", "old").mode(0o600).owner(1, 2).build().unwrap();
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
    let tree = phony().dir("/etc/network").owner(1, 1).file("/etc/network/interfaces", "").mode(0o600).build().unwrap();
    let fs = inject(&nova, tree);
    assert_eq!(describe(&fs, "/etc/network"), "0744 0:0");
    assert_eq!(describe(&fs, "/etc/network/interfaces"), "0600 0:0");
}

mod compiled;
mod wicked;
