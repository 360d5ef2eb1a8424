//! Where a guest has files that may hold secrets: by their usual paths, and by where links lead.

use super::{Sensitivity, seed};
use crate::guest::cloud_config::{Configuration, DIRECTORY};
use imgraft_vfs::fs::{DirEntry, FileType, Lookup as _};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::stage::Stage;
use imgraft_vfs::{ErrorKind, Layer, Result};
use std::collections::BTreeSet;

/// Where the programs that configure networks have their files, those of Wi-Fi and VPNs among them; cloud-init has the network among
/// other things, and passwords as well, and so have package managers for their repositories (apt_auth.conf(5), yum.conf(5)).
const PLACES: [&str; 31] = [
    "/etc/apt/auth.conf",
    "/etc/apt/auth.conf.d/",
    "/etc/cloud/cloud.cfg",
    "/etc/hostapd/",
    "/etc/ipsec.d/",
    "/etc/ipsec.secrets",
    "/etc/netctl/",
    "/etc/netplan/",
    "/etc/network/",
    "/etc/systemd/network/",
    "/etc/NetworkManager/",
    "/etc/openvpn/",
    "/etc/ppp/",
    "/etc/sysconfig/network",
    "/etc/sysconfig/network-scripts/",
    "/etc/swanctl/",
    "/etc/wicked/",
    "/etc/wpa_supplicant",
    "/etc/wpa_supplicant.conf",
    "/etc/wireguard/",
    "/etc/yum.conf",
    "/etc/yum.repos.d/",
    "/lib/netplan/",
    "/lib/systemd/network/",
    "/usr/lib/netplan/",
    "/usr/lib/NetworkManager/",
    "/usr/lib/systemd/network/",
    "/usr/local/lib/systemd/network/",
    "/var/lib/cloud/",
    "/var/lib/connman/",
    "/var/lib/iwd/",
];

/// How many files of these directories are looked at. Guests have some hundred.
const ENTRIES_MAX: usize = 4096;

/// Where files that may hold secrets are that are not where they usually are.
#[derive(Debug, Default)]
pub struct Places {
    /// Where a path leads, and that path.
    led: BTreeSet<(String, String)>,
    /// Whether there are more files than are looked at, so that every file may be one of these.
    is_cut: bool,
}

impl Places {
    /// Of a guest as it is before a run, and as that makes it: where links lead that are in the place of these directories, or lie
    /// in them, and where cloud-init reads what adds to its configuration.
    pub fn staged(stage: &Stage<'_>) -> Result<Self> {
        let mut places = Self::default();
        for stage in [&Stage::new(stage.base()), stage] {
            let mut left = ENTRIES_MAX;
            for place in PLACES {
                let usual = GuestPath::parse(place.trim_end_matches('/'))?;
                places.look(stage, usual.clone(), usual, &mut left)?;
            }
            if let Some(path) = Configuration::staged(stage)?.directory.path() {
                places.look(stage, path, GuestPath::parse(DIRECTORY)?, &mut left)?;
            }
        }
        Ok(places)
    }

    /// Looks for the links at `path`, which stands for `usual`, and below it.
    fn look(&mut self, stage: &Stage<'_>, path: GuestPath, usual: GuestPath, left: &mut usize) -> Result<()> {
        let mut seen = BTreeSet::new();
        let mut pending = vec![(usual.clone(), path, usual)];
        while let Some((expected, path, usual)) = pending.pop() {
            let at = match stage.resolve(&path) {
                Ok(at) => at,
                // Where the way leads nowhere, no file is there, and none that a run changes on a volume that is not open.
                Err(error) if is_nowhere(error.kind()) || error.layer() == Layer::Volume => continue,
                Err(error) => return Err(error),
            };
            if at.as_bytes() != expected.as_bytes() {
                self.led.insert((at.to_string().trim_end_matches('/').to_owned(), usual.to_string()));
            }
            let is_directory = stage.lookup(&at)?.is_some_and(|found| found.file_type == FileType::Directory);
            if !is_directory || !seen.insert(at.clone()) {
                continue;
            }
            let expected = GuestPath::parse(at.as_bytes())?;
            for DirEntry { name, file_type } in stage.read_dir(&path)?.unwrap_or_default() {
                if *left == 0 {
                    self.is_cut = true;
                    return Ok(());
                }
                *left = left.saturating_sub(1);
                // A file may have been changed under another of its names.
                if !matches!(file_type, FileType::Directory | FileType::Symlink | FileType::Regular) {
                    continue;
                }
                match (expected.join(&name), path.join(&name), usual.join(&name)) {
                    (Ok(expected), Ok(path), Ok(usual)) => pending.push((expected, path, usual)),
                    // Longer than a path can be.
                    _ => self.is_cut = true,
                }
            }
        }
        Ok(())
    }

    /// What a file at this path may hold.
    pub(super) fn sensitivity(&self, path: &Resolved) -> Sensitivity {
        let path = path.to_string();
        let led = self.led.iter().filter_map(|(at, usual)| {
            let rest = path.strip_prefix(at.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{usual}{rest}"))
        });
        let least = if self.is_cut { Sensitivity::Network } else { Sensitivity::Plain };
        led.map(|path| usual(&path)).fold(usual(&path).max(least), Sensitivity::max)
    }
}

/// Whether an error says that a path leads nowhere.
pub(crate) fn is_nowhere(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Denied | ErrorKind::WrongType | ErrorKind::Invalid)
}

/// What a file at this path may hold where nothing leads elsewhere.
fn usual(path: &str) -> Sensitivity {
    // Lines of client, server, secret and addresses (pppd(8)); secrets after selectors (ipsec.secrets(5)); a key as wg(8) makes it,
    // alone or as a PrivateKeyFile=; a user and a password in two lines (--auth-user-pass of openvpn(8)); what cloud-init keeps of an
    // instance, its user data among it; what hostapd.conf(5) has read beside itself: addresses and keys, users and passwords.
    let is_bare = (path.starts_with("/etc/ppp/") && path.contains("-secrets"))
        || (path.starts_with("/etc/wireguard/") && !path.ends_with(".conf"))
        || (path.starts_with("/etc/openvpn/") && !path.ends_with(".conf") && !path.ends_with(".ovpn"))
        || (path.starts_with("/etc/ipsec.") && path.contains(".secrets"))
        || (path.starts_with("/etc/hostapd/") && !path.ends_with(".conf"))
        || path.starts_with("/var/lib/cloud/instance")
        || path.ends_with(".key");
    match PLACES.iter().any(|place| path.starts_with(place)) {
        true if is_bare => Sensitivity::Unseen,
        _ if seed::is_seed(path) => Sensitivity::Seed,
        true => Sensitivity::Network,
        false => Sensitivity::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::Attrs;
    use imgraft_vfs::fs::mem::MemFs;

    #[test]
    fn whose_files_these_are() {
        for (path, is) in [
            ("/etc/netplan/70-wifi.yaml", Sensitivity::Network),
            ("/etc/sysconfig/network-scripts/keys-home", Sensitivity::Network),
            ("/etc/sysconfig/network/ifcfg-wlan0", Sensitivity::Network),
            ("/etc/wpa_supplicant.conf", Sensitivity::Network),
            ("/etc/cloud/cloud.cfg.d/90_dpkg.cfg", Sensitivity::Network),
            ("/var/lib/iwd/home.psk", Sensitivity::Network),
            ("/etc/ppp/peers/isp", Sensitivity::Network),
            ("/etc/yum.repos.d/x.repo", Sensitivity::Network),
            ("/etc/ppp/chap-secrets", Sensitivity::Unseen),
            ("/etc/ppp/chap-secrets.bak", Sensitivity::Unseen),
            ("/lib/netplan/10-a.yaml", Sensitivity::Network),
            ("/lib/systemd/network/wg0.netdev", Sensitivity::Network),
            ("/etc/hostapd/hostapd.conf", Sensitivity::Network),
            ("/etc/hostapd/hostapd.wpa_psk", Sensitivity::Unseen),
            ("/etc/wireguard/privatekey", Sensitivity::Unseen),
            ("/etc/wireguard/wg0.conf", Sensitivity::Network),
            ("/etc/openvpn/client/login", Sensitivity::Unseen),
            ("/etc/openvpn/client/office.ovpn", Sensitivity::Network),
            ("/etc/ipsec.secrets", Sensitivity::Unseen),
            ("/etc/ipsec.d/office.secrets", Sensitivity::Unseen),
            ("/etc/ipsec.d/office.conf", Sensitivity::Network),
            ("/etc/swanctl/swanctl.conf", Sensitivity::Network),
            ("/etc/netctl/home", Sensitivity::Network),
            ("/var/lib/connman/home.config", Sensitivity::Network),
            ("/etc/systemd/network/wg.key", Sensitivity::Unseen),
            ("/var/lib/cloud/instances/i-1/user-data.txt", Sensitivity::Unseen),
            ("/var/lib/cloud/seed/nocloud/user-data", Sensitivity::Seed),
            ("/USER-DATA", Sensitivity::Seed),
            ("/etc/apt/sources.list", Sensitivity::Plain),
            ("/etc/motd", Sensitivity::Plain),
            ("/srv/etc/netplan/x", Sensitivity::Plain),
        ] {
            assert_eq!(usual(path), is, "{path}");
        }
    }

    /// What `Places` says of a path of a tree.
    fn said(stage: &Stage<'_>, path: &str) -> Sensitivity {
        let at = stage.resolve(&GuestPath::parse(path).unwrap()).unwrap();
        Places::staged(stage).unwrap().sensitivity(&at)
    }

    /// Links of directories, links of single files, and cloud-init's conf_d, lead elsewhere.
    #[test]
    fn where_files_really_are() {
        let fs = MemFs::builder()
            .file("/srv/np/a.yaml", "")
            .symlink("/etc/netplan", "/srv/np")
            .symlink("/etc/ppp", "../srv/ppp")
            .file("/srv/ppp/options", "")
            .symlink("/etc/wireguard", "/etc/wireguard")
            .file("/etc/cloud/cloud.cfg", "conf_d: /srv/cc\n")
            .symlink("/srv/cc/b.cfg", "/srv/of-b")
            .symlink("/srv/np/b.yaml", "../one/file")
            .symlink("/etc/wpa_supplicant.conf", "/srv/wpa")
            .symlink("/etc/NetworkManager/system-connections/home.nmconnection", "/srv/nm")
            .symlink("/etc/sysconfig/network-scripts", "/srv/scripts")
            .symlink("/var/lib/cloud/seed/nocloud/user-data", "/srv/mine")
            .symlink("/etc/network/round", ".")
            .symlink("/etc/network/long", "x/".repeat(2045))
            .symlink("/etc/network/nowhere/x", "/srv/dangling")
            .build()
            .unwrap();
        let stage = Stage::new(&fs);
        for (path, is) in [
            ("/srv/np/a.yaml", Sensitivity::Network),
            ("/srv/ppp/chap-secrets", Sensitivity::Unseen),
            ("/srv/cc/a.cfg", Sensitivity::Network),
            ("/srv/of-b", Sensitivity::Network),
            ("/etc/cloud/cloud.cfg.d/a.cfg", Sensitivity::Network),
            ("/srv/one/file", Sensitivity::Network),
            ("/srv/one/file2", Sensitivity::Plain),
            ("/srv/wpa", Sensitivity::Network),
            ("/srv/nm", Sensitivity::Network),
            ("/srv/scripts/ifcfg-eth0", Sensitivity::Network),
            ("/srv/mine", Sensitivity::Seed),
            ("/srv/dangling", Sensitivity::Network),
            ("/srv/npx/a.yaml", Sensitivity::Plain),
        ] {
            assert_eq!(said(&stage, path), is, "{path}");
        }
    }

    /// A link that a run removes led there before it, and one that it makes leads there after it.
    #[test]
    fn before_and_after() {
        let path = GuestPath::parse("/etc/netplan/a.yaml").unwrap();
        let fs = MemFs::builder().symlink("/etc/netplan/a.yaml", "/srv/old").build().unwrap();
        let mut stage = Stage::new(&fs);
        stage.remove(&path).unwrap();
        assert_eq!(said(&stage, "/srv/old"), Sensitivity::Network);
        assert_eq!(said(&stage, "/srv/new"), Sensitivity::Plain);
        stage.symlink(&path, b"/srv/new", Attrs { mode: 0o777, uid: 0, gid: 0 }).unwrap();
        assert_eq!(said(&stage, "/srv/new"), Sensitivity::Network);
    }

    #[test]
    fn of_more_files_than_are_looked_at_every_one_may_be_secret() {
        let mut tree = MemFs::builder();
        for number in 0..=ENTRIES_MAX {
            tree = tree.file(format!("/etc/netplan/{number}"), "");
        }
        let fs = tree.build().unwrap();
        assert_eq!(said(&Stage::new(&fs), "/srv/x"), Sensitivity::Network);
    }
}
