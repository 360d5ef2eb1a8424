//! A network, and what else a run does to the programs that would configure it.

use crate::guests::{image, trees};
use crate::support::{Scratch, expect, oracle, run, text};

const DHCP: [&str; 3] = ["--dhcp", "--nic", "eth0"];

/// What keeps the guest from using it is found wherever in the run it stands, and nothing is half-applied.
#[test]
fn what_undoes_it_is_refused() {
    if !oracle::have("mke2fs") {
        return;
    }
    let insists =
        "/etc/cloud/cloud.cfg.d/99-zz.cfg:network: {config: {version: 2, ethernets: {eth0: {dhcp4: true}}}}\n";
    for (guest, options, told) in [
        ("debian-12", &["--mask-unit", "systemd-networkd"][..], "systemd-networkd"),
        ("debian-12", &["--link", "/dev/null:/etc/systemd/system/systemd-networkd.service"], "systemd-networkd"),
        ("rocky-9", &["--mask-unit", "NetworkManager"], "nothing shows which program"),
        ("arch", &["--disable-unit", "systemd-networkd"], "nothing shows which program"),
        // The link that starts it stays.
        ("arch", &["--delete", "/usr/lib/systemd/system/systemd-networkd.service"], "nothing shows which program"),
        ("debian-13", &["--delete", "/usr/lib/systemd/system/networking.service"], "nothing shows which program"),
        ("debian-13", &["--delete", "/usr/sbin/ifup"], "nothing shows which program"),
        ("ubuntu-24.04", &["--write", insists], "99-zz.cfg"),
    ] {
        let scratch = Scratch::new();
        let disk = image(&scratch, &trees()[guest]);
        let before = std::fs::read(&disk).expect("it is read");
        for words in [[&DHCP[..], options].concat(), [options, &DHCP].concat()] {
            let output = run(&[&["inject", text(&disk)], &words[..]].concat());
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{guest} {words:?}: {stderr}");
            assert!(stderr.contains("item net") && stderr.contains(told), "{guest} {words:?}: {stderr}");
            assert!(std::fs::read(&disk).expect("it is read") == before);
        }
    }
}

/// What was in the way may go in the same run; what is mixed with it is told of.
#[test]
fn what_stands_before_it_counts_and_what_comes_after_it_is_told() {
    if !oracle::have("mke2fs") {
        return;
    }
    let scratch = Scratch::new();
    let disk = image(&scratch, &trees()["debian-12"]);
    expect(0, &["inject", text(&disk), "--mask-unit", "systemd-networkd"]);
    let mask = "/etc/systemd/system/systemd-networkd.service";
    expect(0, &[&["inject", text(&disk), "--delete", mask][..], &DHCP].concat());
    oracle::e2fsck(&disk, 0);
    let other = "/etc/netplan/60-x.yaml:network: {version: 2, ethernets: {eth1: {dhcp4: true}}}\n";
    let told = expect(0, &[&["inject", text(&disk)][..], &DHCP, &["--write", other]].concat());
    let note =
        "/etc/netplan/60-x.yaml: with what comes after the network in this run, the same run again would change that";
    assert!(told.contains(note), "{told}");
    let optional =
        [&["inject", text(&disk), "--optional", "net"][..], &DHCP, &["--mask-unit", "systemd-networkd"]].concat();
    let output = run(&optional);
    assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stdout));
    oracle::e2fsck(&disk, 0);
}

/// What is said of a program that was chosen goes by what the run leaves.
#[test]
fn that_a_chosen_program_is_not_started_any_more_is_told() {
    if !oracle::have("mke2fs") {
        return;
    }
    let wants = "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service";
    let mask = "/dev/null:/etc/systemd/system/systemd-networkd.service";
    for (guest, renderer, off) in [
        ("arch", "networkd", ["--disable-unit", "systemd-networkd"]),
        ("arch", "networkd", ["--delete", wants]),
        ("arch", "networkd", ["--link", mask]),
        ("fedora", "NetworkManager", ["--mask-unit", "NetworkManager"]),
        ("ubuntu-24.04", "cloud-init", ["--write", "/etc/cloud/cloud-init.disabled:off\n"]),
    ] {
        let chosen = [&DHCP[..], &["--network-renderer", renderer]].concat();
        for words in [[&chosen[..], &off].concat(), [&off[..], &chosen].concat()] {
            let scratch = Scratch::new();
            let disk = image(&scratch, &trees()[guest]);
            let told = expect(0, &[&["inject", text(&disk)], &words[..]].concat());
            let not = ["nothing that the guest starts it", "as asked, though nothing shows that the guest runs it"];
            assert!(not.iter().any(|not| told.contains(not)), "{words:?}: {told}");
            assert!(!told.contains(" shows it") && !told.contains(" show it"), "{words:?}: {told}");
            oracle::e2fsck(&disk, 0);
            let again = expect(0, &[&["inject", text(&disk)], &words[..]].concat());
            assert!(again.contains("unchanged: everything is in place already"), "{words:?}: {again}");
        }
    }
}

/// What shows that a program is started is there when the run is done.
#[test]
fn what_shows_it_is_what_stays() {
    if !oracle::have("mke2fs") {
        return;
    }
    let scratch = Scratch::new();
    let disk = image(&scratch, &trees()["debian-13"]);
    let wants = "/etc/systemd/system/network-online.target.wants";
    let unit = format!("/usr/lib/systemd/system/networking.service:{wants}/networking.service");
    let words = ["--ip", "192.0.2.10/24", "--gateway", "192.0.2.1", "--nic", "eth0", "--mkdir", wants, "--link", &unit];
    let gone = ["--delete", "/etc/systemd/system/multi-user.target.wants"];
    let told = expect(0, &[&["inject", text(&disk)], &words[..], &gone].concat());
    assert!(told.contains(&format!("for ifupdown, {wants}/networking.service")), "{told}");
    let left = oracle::debugfs(&disk, 0, &format!("stat {wants}/networking.service"));
    assert!(left.contains("symlink"), "{left}");
    oracle::e2fsck(&disk, 0);
}

/// Also where that one's file is there already.
#[test]
fn another_program_whose_file_is_there_gets_it() {
    if !oracle::have("mke2fs") {
        return;
    }
    let scratch = Scratch::new();
    let disk = image(&scratch, &trees()["debian-12"]);
    let words = ["--write", "/etc/network/interfaces:auto lo\niface lo inet loopback\n"];
    let unit = ["--write", "/usr/lib/systemd/system/networking.service:[Install]\nWantedBy=multi-user.target\n"];
    let program = ["--write", "/usr/sbin/ifup:elf", "--chmod", "0755:/usr/sbin/ifup", "--mkdir", "/usr/lib/ifupdown"];
    let netplan =
        ["/usr/lib/systemd/system-generators/netplan", "/usr/libexec/netplan", "/usr/sbin/netplan", "/etc/netplan"];
    let gone = netplan.map(|path| ["--delete", path]).concat();
    let enabled = ["--enable-unit", "systemd-networkd"];
    expect(0, &[&["inject", text(&disk)][..], &words, &unit, &program, &gone, &enabled].concat());
    let static_net = ["--ip", "192.0.2.10/24", "--gateway", "192.0.2.1", "--nic", "eth0"];
    let switch = ["--enable-unit", "networking.service", "--disable-unit", "systemd-networkd.service"];
    let words = [&["inject", text(&disk)], &static_net[..], &switch].concat();
    let told = expect(0, &words);
    assert!(told.contains("modify   /etc/network/interfaces") && !told.contains("/etc/systemd/network/"), "{told}");
    oracle::e2fsck(&disk, 0);
    let again = expect(0, &words);
    assert!(again.contains("unchanged: everything is in place already"), "{again}");
}

/// What has the guest use it may stand after it, too; where another item fails as well, the network's own reason is told.
#[test]
fn what_comes_after_it_counts() {
    if !oracle::have("mke2fs") {
        return;
    }
    let mask = "/etc/systemd/system/systemd-networkd.service";
    for (guest, off, on) in [
        ("arch", ["--disable-unit", "systemd-networkd"], ["--enable-unit", "systemd-networkd"]),
        ("rocky-9", ["--disable-unit", "NetworkManager"], ["--enable-unit", "NetworkManager"]),
        ("debian-12", ["--mask-unit", "systemd-networkd"], ["--delete", mask]),
    ] {
        let scratch = Scratch::new();
        let disk = image(&scratch, &trees()[guest]);
        expect(0, &[&["inject", text(&disk)][..], &off].concat());
        let alone = run(&[&["inject", text(&disk)][..], &DHCP].concat());
        let alone = String::from_utf8_lossy(&alone.stderr).into_owned();
        let with_fault =
            run(&[&["inject", text(&disk)][..], &DHCP, &["--enable-unit", "none-of-this.service"]].concat());
        assert_eq!(with_fault.status.code(), Some(3), "{guest}");
        assert_eq!(String::from_utf8_lossy(&with_fault.stderr), alone, "{guest}");
        let other = scratch.path().join("other.img");
        std::fs::copy(&disk, &other).expect("it is copied");
        expect(0, &[&["inject", text(&disk)][..], &DHCP, &on].concat());
        expect(0, &[&["inject", text(&other)][..], &on, &DHCP].concat());
        oracle::e2fsck(&disk, 0);
        for words in [[&DHCP[..], &on].concat(), [&on[..], &DHCP].concat()] {
            for disk in [&disk, &other] {
                let again = expect(0, &[&["inject", text(disk)], &words[..]].concat());
                assert!(again.contains("unchanged: everything is in place already"), "{guest} {words:?}: {again}");
            }
        }
    }
}

/// Where a run has the guest listen to another program, it is that program that gets it, wherever the units stand.
#[test]
fn another_program_gets_it() {
    if !oracle::have("mke2fs") {
        return;
    }
    let unit = "/usr/lib/systemd/system/systemd-networkd.service:[Install]\nWantedBy=multi-user.target\n";
    for (guest, options, old, new) in [
        (
            "fedora",
            &["--enable-unit", "systemd-networkd.service", "--disable-unit", "NetworkManager.service"][..],
            "/etc/NetworkManager/system-connections/imgraft-eth0.nmconnection",
            "/etc/systemd/network/05-imgraft-eth0.network",
        ),
        (
            "debian-12",
            &["--delete", "/usr/lib/systemd/system-generators/netplan", "--enable-unit", "systemd-networkd.service"],
            "/etc/netplan/50-imgraft.yaml",
            "/etc/systemd/network/05-imgraft-eth0.network",
        ),
    ] {
        let scratch = Scratch::new();
        let disk = image(&scratch, &trees()[guest]);
        if guest == "fedora" {
            let networkd =
                ["--mkdir", "/usr/lib/systemd/system", "--write", unit, "--touch", NETWORKD, "--chmod", MODE];
            expect(0, &[&["inject", text(&disk)][..], &networkd].concat());
        }
        let static_net = ["--ip", "192.0.2.10/24", "--gateway", "192.0.2.1", "--nic", "eth0"];
        let words = [&["inject", text(&disk)], &static_net[..], options].concat();
        let told = expect(0, &words);
        assert!(told.contains(new) && !told.contains(old), "{guest}: {told}");
        let aside = "create   /etc/cloud/cloud.cfg.d/99-disable-network-config.cfg";
        assert_eq!(told.contains(aside), guest == "debian-12", "{guest}: {told}");
        oracle::e2fsck(&disk, 0);
        let again = expect(0, &words);
        assert!(again.contains("unchanged: everything is in place already"), "{guest}: {again}");
    }
}

const NETWORKD: &str = "/usr/lib/systemd/systemd-networkd";
const MODE: &str = "0755:/usr/lib/systemd/systemd-networkd";
