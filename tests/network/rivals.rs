//! Files of the guest's own that would win over ours: the programs' word on them before and after.

use crate::oracle::{command, skip, succeed, unpacked};
use imgraft::guest::{Guest, NetworkStack};
use imgraft::inject::{Choice, Compat, Described, Injector, Net};
use imgraft::net::read;
use imgraft::net::render::{Ifup, NetFile, Renderer, render};
use imgraft_vfs::fs::mem::{Builder, MemFs};
use imgraft_vfs::fs::{GuestFs, Lookup as _, read_file};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::stage::Stage;
use std::path::Path;

const OURS: &str = "{version: 2, ethernets: {eth0: {addresses: [192.0.2.10/24, '2001:db8::10/64'], routes: [{to: default, via: 192.0.2.1}, \
    {to: '::/0', via: '2001:db8::1'}]}}}";
const OWN: &str = " 192.0.2.10/24 ";
const THEIRS: &str = " 203.0.113.77/24 ";

/// How the text begins that stands for a link.
const LINK: &str = "-> ";
/// The text that stands for a directory.
const DIRECTORY: &str = "/";

/// The files below a root of their own, the links and directories among them too.
fn put(root: &Path, files: &[NetFile]) {
    let (directories, files): (Vec<_>, Vec<_>) = files.iter().cloned().partition(|file| file.text == DIRECTORY);
    for NetFile { path, .. } in directories {
        std::fs::create_dir_all(root.join(&path[1..])).unwrap();
    }
    let (links, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.text.starts_with(LINK));
    crate::oracle::put(root, &files);
    for NetFile { path, text, .. } in links {
        let at = root.join(&path[1..]);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&text[LINK.len()..], at).unwrap();
    }
}

/// The guest's files in a directory.
fn there(fs: &MemFs, directory: &str) -> Vec<NetFile> {
    let at = |path: &str| resolve(fs, &GuestPath::parse(path).unwrap(), Follow::All);
    let names = at(directory).ok().and_then(|place| fs.read_dir(&place).ok()).unwrap_or_default();
    let paths = names.into_iter().map(|entry| format!("{directory}/{}", String::from_utf8(entry.name).unwrap()));
    let read = |path: String| {
        let text = match fs.read_link(&resolve(fs, &GuestPath::parse(&*path).unwrap(), Follow::ExcludeLast).unwrap()) {
            Ok(target) => [LINK.as_bytes(), &target].concat(),
            Err(_) if fs.read_dir(&at(&path).unwrap()).is_ok() => DIRECTORY.into(),
            Err(_) => read_file(fs, &at(&path).unwrap(), 1 << 20).unwrap(),
        };
        // networkd is nobody special, and NetworkManager wants it so.
        let mode = if path.starts_with("/etc/systemd/") { 0o644 } else { 0o600 };
        Some(NetFile { path, mode, text: String::from_utf8(text).unwrap() })
    };
    paths.filter_map(read).collect()
}

/// The files of a program, in these directories, as they would be together, and as a run leaves them.
fn before_and_after(
    (stack, renderer): (NetworkStack, Renderer),
    theirs: &[(&str, &str)],
    directories: &[&str],
) -> [Vec<NetFile>; 2] {
    let config = read::document(OURS).unwrap();
    let ours = render(&config, renderer).unwrap();
    of_a_run(Described::Config(config), stack, ours, theirs, directories)
}

/// The same of a network that is these files by itself.
fn of_a_run(
    network: Described,
    stack: NetworkStack,
    ours: Vec<NetFile>,
    theirs: &[(&str, &str)],
    directories: &[&str],
) -> [Vec<NetFile>; 2] {
    let with = |guest: Builder, (path, text): &(&str, &str)| match text.strip_prefix(LINK) {
        Some(target) => guest.symlink(*path, target),
        None if *text == DIRECTORY => guest.dir(*path),
        None => guest.file(*path, *text),
    };
    let mut fs = theirs.iter().fold(MemFs::builder(), with).build().unwrap();
    let mut before: Vec<_> = directories.iter().flat_map(|directory| there(&fs, directory)).collect();
    before.retain(|file| ours.iter().all(|own| own.path != file.path));
    before.extend(ours);
    let net = Net { network, renderer: Some(Choice::Stack(stack)), compat: Compat::Imgraft };
    let changes = {
        let guest = Guest::inspect(&fs).unwrap();
        let mut stage = Stage::new(&fs);
        net.stage(&guest, &mut stage).unwrap();
        stage.finish().unwrap()
    };
    changes.apply(&mut fs).unwrap();
    [before, directories.iter().flat_map(|directory| there(&fs, directory)).collect()]
}

pub fn run(script: &str, words: &[&Path]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network").join(script);
    let mut run = command(Path::new("unshare"));
    run.args(["--net", "--mount", "--fork", "--kill-child", "bash"]).arg(&script).args(words);
    succeed(&mut run, "unshare").0
}

/// Whether eth0 has an address.
fn has(said: &str, address: &str) -> bool {
    said.lines().any(|line| line.contains(address) && line.ends_with(" eth0"))
}

#[test]
fn of_networkd() {
    let Some(program) = unpacked("network/lib/systemd/systemd-networkd") else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("networkd needs root");
    }
    let network = |matched: &str| {
        format!(
            "[Match]\n{matched}\n[Network]\nAddress=203.0.113.77/24\nAddress=2001:db8:7::7/64\nGateway=203.0.113.1\nGateway=2001:db8:7::1\n"
        )
    };
    let by_name = network("Name=eth*");
    let by_type = network("Type=ether");
    let other = network("Name=eth1");
    for (path, text, is_rival) in [
        ("/etc/systemd/network/00-other.network", &by_name, true),
        ("/etc/systemd/network/04-other.network", &by_type, true),
        // It comes behind, or is for another one.
        ("/etc/systemd/network/99-other.network", &by_name, false),
        ("/etc/systemd/network/00-other.network", &other, false),
    ] {
        let programs = (NetworkStack::Networkd, Renderer::Networkd);
        let both = before_and_after(programs, &[(path, text)], &["/etc/systemd/network"]);
        assert_eq!(both[1].iter().any(|file| file.path == path), !is_rival, "{path}");
        for (files, is_theirs) in both.iter().zip([is_rival, false]) {
            let scratch = tempfile::tempdir().unwrap();
            put(&scratch.path().join("case"), files);
            let said = run("networkd.sh", &[&program, scratch.path(), Path::new("case")]);
            assert_eq!((has(&said, THEIRS), has(&said, OWN)), (is_theirs, !is_theirs), "{path}: {text}: {said}");
        }
    }
}

/// A package's file that comes before ours, and the link that takes its place.
#[test]
fn of_a_package_for_networkd() {
    let Some(program) = unpacked("network/lib/systemd/systemd-networkd") else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("networkd needs root");
    }
    let theirs = "[Match]\nName=eth*\n[Network]\nAddress=203.0.113.77/24\nAddress=2001:db8:7::7/64\nGateway=203.0.113.1\n\
                  Gateway=2001:db8:7::1\n";
    let path = "/usr/lib/systemd/network/00-other.network";
    let directories = ["/etc/systemd/network", "/usr/lib/systemd/network"];
    let programs = (NetworkStack::Networkd, Renderer::Networkd);
    let both = before_and_after(programs, &[(path, theirs)], &directories);
    let said = |files: &[NetFile]| {
        let scratch = tempfile::tempdir().unwrap();
        put(&scratch.path().join("case"), files);
        run("networkd.sh", &[&program, scratch.path(), Path::new("case")])
    };
    assert!(has(&said(&both[0]), THEIRS));
    assert!(both[1].iter().any(|file| file.path == path && file.text == theirs));
    let after = said(&both[1]);
    assert!(has(&after, OWN) && !has(&after, THEIRS), "{after}");
    // What is no file takes the place of one as well.
    let own = "/etc/systemd/network/00-other.network";
    let both = before_and_after(programs, &[(path, theirs), (own, DIRECTORY)], &directories);
    assert!(both[1].iter().any(|file| file.path == own && file.text == DIRECTORY));
    let after = said(&both[1]);
    assert!(has(&after, OWN) && !has(&after, THEIRS), "{after}");
}

#[test]
fn of_network_manager() {
    let Some(_) = unpacked("network/usr/sbin/NetworkManager") else { return };
    let unpacked = unpacked("network").unwrap();
    if !nix::unistd::geteuid().is_root() {
        return skip("NetworkManager needs root");
    }
    let keyfile = |more: &str| {
        format!(
            "[connection]\nid=other\nuuid=0dea0dea-0000-4000-8000-00000000dead\ntype=ethernet\n{more}\n[ipv4]\nmethod=manual\n\
             address1=203.0.113.77/24,203.0.113.1\n"
        )
    };
    for (more, is_rival) in [
        ("interface-name=eth0\nautoconnect-priority=999", true),
        ("interface-name=eth0\nautoconnect-priority=1\nautoconnect-priority=999", true),
        ("autoconnect-priority=201\n[ethernet]\nmac-address=52:54:00:12:34:56", true),
        ("interface-name=eth0\nautoconnect-priority=199", false),
        ("interface-name=eth0", false),
        ("interface-name=eth0\nautoconnect-priority=999\nautoconnect=false", false),
        ("autoconnect-priority=999\n[match]\ninterface-name=eth7;eth0;", true),
        ("autoconnect-priority=999\n[match]\ninterface-name=eth7;eth1;", false),
        ("autoconnect-priority=999\n[match]\ninterface-name=eth7;e*0", true),
    ] {
        let path = "/etc/NetworkManager/system-connections/other.nmconnection";
        let (theirs, programs) = (keyfile(more), (NetworkStack::NetworkManager, Renderer::NetworkManager));
        let both = before_and_after(programs, &[(path, &theirs)], &["/etc/NetworkManager/system-connections"]);
        assert_eq!(both[1].iter().any(|file| file.path == path), !is_rival, "{more}");
        for (files, is_theirs) in both.iter().zip([is_rival, false]) {
            let scratch = tempfile::tempdir().unwrap();
            put(scratch.path(), files);
            let said = run("networkmanager.sh", &[&unpacked, scratch.path()]);
            assert_eq!((has(&said, THEIRS), has(&said, OWN)), (is_theirs, !is_theirs), "{more}: {said}");
        }
    }
}

/// A text of the program's own, beside files that come before it.
#[test]
fn of_a_text_for_networkd() {
    let Some(program) = unpacked("network/lib/systemd/systemd-networkd") else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("networkd needs root");
    }
    let text = |matched: &str, four: &str, six: &str| {
        format!(
            "[Match]\n{matched}\n[Network]\nAddress={four}.10/24\nAddress={six}::10/64\nGateway={four}.1\nGateway={six}::1\n"
        )
    };
    let (own, by_mac) = ("Name=eth0", "MACAddress=52:54:00:12:34:56");
    let (etc, lib) = ("/etc/systemd/network", "/usr/lib/systemd/network");
    // What they are for, whether theirs is taken before and after, and whether it is there then.
    for (own, (directory, name), matched, [before, after], stays) in [
        (own, (etc, "05-all.network"), own, [true, false], false),
        (by_mac, (etc, "05-all.network"), &format!("{by_mac}\n{own}"), [true, false], false),
        (own, (lib, "05-all.network"), own, [true, false], true),
        // What all of it is within goes.
        (own, (etc, "05-all.network"), "Name=e*", [true, false], false),
        ("Name=eth*", (etc, "05-all.network"), "Name=*", [true, false], false),
        (own, (lib, "05-all.network"), "Name=e*", [true, false], true),
        // They may be for other devices.
        (own, (etc, "05-all.network"), "Name=eth[0-9]", [true, true], true),
        (by_mac, (etc, "05-all.network"), own, [true, true], true),
        ("Name=eth*", (etc, "05-all.network"), "Type=ether", [true, true], true),
        (own, (etc, "50-all.network"), "Name=e*", [false, false], true),
        (own, (etc, "05-all.network"), "Name=eth1", [false, false], true),
        // It says of no device which it is.
        ("Type=ether", (etc, "05-all.network"), "Name=eth0", [true, true], true),
    ] {
        let (theirs, own) = (text(matched, "203.0.113", "2001:db8:7"), text(own, "192.0.2", "2001:db8"));
        let path = format!("{directory}/{name}");
        let ours = NetFile { path: format!("{etc}/10-imgraft.network"), mode: 0o644, text: own.clone() };
        let network = Described::Text(own.clone().into());
        let both = of_a_run(network, NetworkStack::Networkd, vec![ours], &[(&path, &theirs)], &[etc, lib]);
        assert_eq!(both[1].iter().any(|file| file.path == path), stays, "{path}: {matched}");
        for (files, is_theirs) in both.iter().zip([before, after]) {
            let scratch = tempfile::tempdir().unwrap();
            put(&scratch.path().join("case"), files);
            let said = run("networkd.sh", &[&program, scratch.path(), Path::new("case")]);
            let is_taken = (has(&said, " 203.0.113.10/24 "), has(&said, OWN));
            assert_eq!(is_taken, (is_theirs, !is_theirs), "{path}: {matched}: {own}: {said}");
        }
    }
}

/// The same of NetworkManager, which goes by priorities.
#[test]
fn of_a_text_for_network_manager() {
    let Some(_) = unpacked("network/usr/sbin/NetworkManager") else { return };
    let unpacked = unpacked("network").unwrap();
    if !nix::unistd::geteuid().is_root() {
        return skip("NetworkManager needs root");
    }
    let keyfile = |id: &str, uuid: &str, more: &str, address: &str| {
        format!(
            "[connection]\nid={id}\nuuid=0dea0dea-0000-4000-8000-00000000{uuid}\ntype=ethernet\n{more}\n[ipv4]\nmethod=manual\n\
             address1={address}\n"
        )
    };
    let eth0 = |priority: &str| format!("interface-name=eth0\nautoconnect-priority={priority}");
    let by_mac = "[ethernet]\nmac-address=52:54:00:12:34:56";
    let (etc, lib) = ("/etc/NetworkManager/system-connections", "/usr/lib/NetworkManager/system-connections");
    let name = "cloud-init-eth0.nmconnection";
    // What each says of its device, whether theirs is taken before and after, and whether it is there then.
    for (own, directory, theirs, [before, after], stays) in [
        ("interface-name=eth0", etc, &eth0("120"), [true, false], false),
        (by_mac, etc, &format!("autoconnect-priority=1\n{by_mac}"), [true, false], false),
        ("[match]\ninterface-name=eth0;", etc, &eth0("1"), [true, false], false),
        // They may be for other devices.
        (by_mac, etc, &eth0("1"), [true, true], true),
        ("interface-name=eth0", etc, &format!("autoconnect-priority=1\n{by_mac}"), [true, true], true),
        // Of two with one priority the guest takes the one that it used last, and here goes by the UUIDs.
        ("interface-name=eth0", etc, &eth0("0"), [true, false], false),
        ("interface-name=eth0", lib, &eth0("120"), [true, false], true),
        (&eth0("121"), etc, &eth0("120"), [false, false], true),
        ("interface-name=eth0", etc, &eth0("-1"), [false, false], true),
        ("interface-name=eth0", etc, &"interface-name=eth1\nautoconnect-priority=120".to_owned(), [false, false], true),
        // It says of no device which it is.
        ("", etc, &eth0("120"), [true, true], true),
    ] {
        let about = format!("{own}: {theirs}");
        let own = keyfile("own", "feed", own, "192.0.2.10/24,192.0.2.1");
        let theirs = keyfile("theirs", "dead", theirs, "203.0.113.77/24,203.0.113.1");
        let path = format!("{directory}/{name}");
        let ours = NetFile { path: format!("{etc}/own.nmconnection"), mode: 0o600, text: own.clone() };
        let network = Described::Text(own.into());
        let both = of_a_run(network, NetworkStack::NetworkManager, vec![ours], &[(&path, &theirs)], &[etc, lib]);
        assert_eq!(both[1].iter().any(|file| file.path == path), stays, "{about}");
        for (files, is_theirs) in both.iter().zip([before, after]) {
            let scratch = tempfile::tempdir().unwrap();
            put(scratch.path(), files);
            let said = run("networkmanager.sh", &[&unpacked, scratch.path()]);
            assert_eq!((has(&said, THEIRS), has(&said, OWN)), (is_theirs, !is_theirs), "{about}: {said}");
        }
    }
}

/// Packages' connections stay as they are, behind a link of their UUID.
#[test]
fn of_a_package_for_network_manager() {
    const UUID: &str = "0dea0dea-0000-4000-8000-00000000dead";
    const OTHERS: &str = "0123456789abcdef0123456789abcdef01234567";
    let Some(_) = unpacked("network/usr/sbin/NetworkManager") else { return };
    let unpacked = unpacked("network").unwrap();
    if !nix::unistd::geteuid().is_root() {
        return skip("NetworkManager needs root");
    }
    let etc = |name: &str| format!("/etc/NetworkManager/system-connections/{name}");
    let lib = |name: &str| format!("/usr/lib/NetworkManager/system-connections/{name}");
    let keyfile = |more: &str| {
        format!(
            "[connection]\nid=other\ntype=ethernet\n{more}\n[ipv4]\nmethod=manual\n\
             address1=203.0.113.77/24,203.0.113.1\n"
        )
    };
    let rival = |uuid: &str| keyfile(&format!("interface-name=eth0\nautoconnect-priority=999\n{uuid}"));
    let named = rival(&format!("uuid={UUID}"));
    let low = keyfile(&format!("interface-name=eth0\nuuid={UUID}"));
    let (name, link) = ("other.nmconnection", format!("{UUID}.nmmeta"));
    // Whether theirs is taken before and after, and the link that there is then.
    for (theirs, before, after, hidden) in [
        (vec![(lib(name), named.clone())], true, false, Some(link.clone())),
        (vec![(lib(name), rival(&format!("uuid={}", UUID.to_uppercase())))], true, false, Some(link.clone())),
        (vec![(lib(name), rival(""))], true, false, Some("951c6bad-d6ef-3ea9-bc9e-4b8975f3778f.nmmeta".to_owned())),
        (vec![(lib(name), named.clone()), (etc(&link), format!("{LINK}/dev/null"))], false, false, Some(link.clone())),
        // What is no such link.
        (vec![(lib(name), named.clone()), (etc(&link), format!("{LINK}../null"))], true, false, Some(link.clone())),
        (vec![(lib(name), named.clone()), (etc(&link), String::new())], true, false, Some(link.clone())),
        // Another file of the UUID, as long as it is there, and is read.
        (vec![(lib(name), named.clone()), (etc("low"), low.clone())], false, false, None),
        (vec![(lib(name), rival("")), (etc(name), low.replace(&format!("uuid={UUID}"), ""))], false, false, None),
        (vec![(lib(name), named.clone()), (etc("low~"), low.clone())], true, false, Some(link.clone())),
        (vec![(lib(name), named.clone()), (etc(".low"), low.clone())], true, false, Some(link.clone())),
        (vec![(lib(name), named.clone()), (etc("high"), named.clone())], true, false, Some(link.clone())),
        // What is not read, or is no rival.
        (vec![(lib("other"), named.clone())], false, false, None),
        (vec![(lib(name), rival("uuid=own"))], false, false, None),
        (vec![(lib(name), low.clone())], false, false, None),
        // What cannot be hidden.
        (vec![(lib(name), rival(&format!("uuid={OTHERS}")))], true, true, None),
    ] {
        let about = format!("{theirs:?}");
        let theirs: Vec<_> = theirs.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let directories = [etc(""), lib("")].map(|path| path.trim_end_matches('/').to_owned());
        let programs = (NetworkStack::NetworkManager, Renderer::NetworkManager);
        let both = before_and_after(programs, &theirs, &directories.each_ref().map(String::as_str));
        let links: Vec<_> = both[1].iter().filter(|file| file.text == format!("{LINK}/dev/null")).collect();
        assert_eq!(
            links.iter().map(|file| file.path.clone()).collect::<Vec<_>>(),
            Vec::from_iter(hidden.map(|name| etc(&name))),
            "{about}"
        );
        for (path, text) in theirs.iter().filter(|(path, _)| path.starts_with("/usr/")) {
            assert!(both[1].iter().any(|file| file.path == *path && file.text == *text), "{about}");
        }
        for (files, is_theirs) in both.iter().zip([before, after]) {
            let scratch = tempfile::tempdir().unwrap();
            put(scratch.path(), files);
            let said = run("networkmanager.sh", &[&unpacked, scratch.path()]);
            assert_eq!((has(&said, THEIRS), has(&said, OWN)), (is_theirs, !is_theirs), "{about}: {said}");
        }
    }
}

#[test]
fn of_netplan() {
    let Some(generate) = unpacked("network/usr/libexec/netplan/generate") else { return };
    let (rival, packages) = ("/etc/netplan/90-other.yaml", "/lib/netplan/90-other.yaml");
    // Of a package there is an empty one in the place of, beside which it stays.
    let theirs = "network: {version: 2, ethernets: {eth0: {addresses: [203.0.113.77/24]}}}";
    let netplan = (NetworkStack::Netplan, Renderer::Netplan);
    let both = before_and_after(netplan, &[(packages, theirs)], &["/etc/netplan", "/lib/netplan"]);
    assert!(both[1].iter().any(|file| file.path == packages) && both[1].iter().any(|file| file.path == rival));
    let mut cases = vec![(both, theirs, true)];
    for (text, is_rival) in [
        ("network: {version: 2, ethernets: {eth0: {addresses: [203.0.113.77/24]}}}", true),
        ("network: {version: 2, ethernets: {all: {match: {name: 'e*'}, addresses: [203.0.113.77/24]}}}", true),
        ("network: {version: 2, renderer: networkd}", false),
    ] {
        let both = before_and_after(netplan, &[(rival, text)], &["/etc/netplan"]);
        assert_eq!(both[1].iter().any(|file| file.path == rival), !is_rival, "{text}");
        cases.push((both, text, is_rival));
    }
    for (both, text, is_rival) in cases {
        for (files, has_theirs) in both.iter().zip([is_rival, false]) {
            let scratch = tempfile::tempdir().unwrap();
            put(scratch.path(), files);
            succeed(command(&generate).arg("--root-dir").arg(scratch.path()), text);
            let made = std::fs::read_dir(scratch.path().join("run/systemd/network")).unwrap();
            let made: String = made.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
            assert!(made.contains("Address=192.0.2.10/24"), "{text}: {made}");
            assert_eq!(made.contains("Address=203.0.113.77/24"), has_theirs, "{text}: {made}");
        }
    }
}

/// netplan does not start with what is no file in `/etc`, and with an empty one in its place it does.
#[test]
fn of_a_package_for_netplan_and_no_file() {
    let Some(generate) = unpacked("network/usr/libexec/netplan/generate") else { return };
    let (own, packages) = ("/etc/netplan/90-other.yaml", "/lib/netplan/90-other.yaml");
    let theirs = "network: {version: 2, ethernets: {eth0: {addresses: [203.0.113.77/24]}}}";
    for (text, is_read) in
        [(DIRECTORY, false), ("-> nowhere", false), ("-> ..", false), ("-> /dev/null", true), ("", true)]
    {
        let theirs = [(packages, theirs), (own, text)];
        let both =
            before_and_after((NetworkStack::Netplan, Renderer::Netplan), &theirs, &["/etc/netplan", "/lib/netplan"]);
        let kept = both[1].iter().any(|file| file.path == own && file.text == text);
        assert_eq!(kept, is_read, "{text}");
        for (files, starts) in both.iter().zip([is_read, true]) {
            let scratch = tempfile::tempdir().unwrap();
            put(scratch.path(), files);
            let output = command(&generate).arg("--root-dir").arg(scratch.path()).output().unwrap();
            assert_eq!(output.status.success(), starts, "{text}: {output:?}");
            if starts {
                let made = std::fs::read_to_string(scratch.path().join("run/systemd/network/10-netplan-eth0.network"))
                    .unwrap();
                assert!(made.contains("192.0.2.10/24") && !made.contains("203.0.113.77"), "{text}: {made}");
            }
        }
    }
}

/// What netplan refuses goes, as it would make nothing of ours either; what it passes over stays.
#[test]
fn of_a_netplan_that_refuses() {
    let Some(generate) = unpacked("network/usr/libexec/netplan/generate") else { return };
    let other = "/etc/netplan/zz.yaml";
    for text in [
        "",
        "# nothing\n",
        "{}",
        "network: {}",
        "network: {version: 2}",
        "network: {version: '2', renderer: networkd}",
        "network: {version: 3, renderer: networkd}",
        "network: {version: two}",
        "network: {version: null}",
        "network: {renderer: nonsense}",
        "network: {renderer: sriov}",
        "network: {renderer: }",
        "network: {version: 2, nonsense: 1}",
        "network: {version: 2}\nnonsense: 1",
        "network:",
        "network: []",
        "network: a",
        "nonsense: {a: b}",
        "[]",
        "a",
        "---\n",
        "a: [",
        "-> nowhere",
        "-> ..",
        "-> /dev/null",
        DIRECTORY,
    ] {
        let netplan = (NetworkStack::Netplan, Renderer::Netplan);
        let [before, after] = before_and_after(netplan, &[(other, text)], &["/etc/netplan"]);
        let made = |files: &[NetFile]| {
            let scratch = tempfile::tempdir().unwrap();
            put(scratch.path(), files);
            let said = command(&generate).arg("--root-dir").arg(scratch.path()).output().unwrap();
            let network = scratch.path().join("run/systemd/network/10-netplan-eth0.network");
            said.status.success() && std::fs::read_to_string(network).is_ok_and(|text| text.contains("192.0.2.10/24"))
        };
        assert_eq!(after.iter().any(|file| file.path == other), made(&before), "{text}");
        assert!(made(&after), "{text}");
    }
}

/// Of the files of a name systemd takes the first one, wherever that is, and so is it afterwards.
#[test]
fn of_a_name_the_first_one() {
    let Some(analyze) = unpacked("network/usr/bin/systemd-analyze") else { return };
    let (etc, local, lib) = ("/etc/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network");
    let (rival, other) = ("[Match]\nName=eth0\n", "[Match]\nName=wlan0\n");
    for (in_local, taken) in
        [(other, Some(other)), ("-> /dev/null", None), ("", None), ("-> nowhere", Some(rival)), (rival, Some(rival))]
    {
        let theirs = [(format!("{local}/01-x.network"), in_local), (format!("{lib}/01-x.network"), rival)];
        let theirs = theirs.each_ref().map(|(path, text)| (path.as_str(), *text));
        let programs = (NetworkStack::Networkd, Renderer::Networkd);
        let [before, after] = before_and_after(programs, &theirs, &[etc, local, lib]);
        let said = |files: &[NetFile]| {
            let scratch = tempfile::tempdir().unwrap();
            put(scratch.path(), files);
            let root = format!("--root={}", scratch.path().display());
            let (text, _) =
                succeed(command(&analyze).args([&root, "cat-config", "systemd/network/01-x.network"]), in_local);
            text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect::<String>()
        };
        assert_eq!(said(&before), taken.unwrap_or_default(), "{in_local}");
        assert_eq!(said(&after), taken.filter(|taken| *taken != rival).unwrap_or_default(), "{in_local}");
        // Nothing is put where nothing has to be.
        let is_masked = after.iter().any(|file| file.path == format!("{etc}/01-x.network"));
        assert_eq!(is_masked, taken == Some(rival), "{in_local}");
    }
}

/// A line that includes the guest's files once more, after the run, finds none about devices.
#[test]
fn of_ifupdown() {
    let Some(ifquery) = unpacked("network/sbin/ifquery") else { return };
    let (interfaces, included) = ("/etc/network/interfaces", "/etc/network/interfaces.d/other");
    let stanza = "auto eth0\niface eth0 inet static\n    address 203.0.113.77/24\n";
    let kept = "/etc/network/interfaces.d/lo";
    for line in ["source interfaces.d/*", "source-directory interfaces.d", "source /etc/network/interfaces.d/*"] {
        let theirs = [(interfaces, line), (included, stanza), (kept, "iface lo inet loopback\n")];
        let directories = ["/etc/network", "/etc/network/interfaces.d"];
        let programs = (NetworkStack::Ifupdown, Renderer::Ifupdown(Ifup::ByName));
        let both = before_and_after(programs, &theirs, &directories);
        assert!(both[1].iter().any(|file| file.path == kept), "{line}");
        for (files, has_theirs) in both.iter().zip([true, false]) {
            let scratch = tempfile::tempdir().unwrap();
            put(scratch.path(), files);
            let at = scratch.path().join(&interfaces[1..]);
            let text = std::fs::read_to_string(&at).unwrap();
            std::fs::write(&at, format!("{text}\n{}\n", line.replace("/etc/network/", ""))).unwrap();
            let mut asked = command(&ifquery);
            let (said, _) = succeed(asked.arg("--interfaces").arg(&at).arg("eth0"), line);
            assert!(said.contains("address: 192.0.2.10"), "{line}: {said}");
            assert_eq!(said.contains("203.0.113.77"), has_theirs, "{line}: {said}");
        }
    }
}
