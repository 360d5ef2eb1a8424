//! Files of packages that a file of the same name in `/etc` is read in place of.

use super::netplan::NETPLAN;
use super::{NETWORKD, file_type, put};
use crate::inject::net::unused::BEFORE;
use crate::inject::{InjectError, Outcome, ROOT_DIR, ROOT_FILE};
use imgraft_vfs::ErrorKind;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// Where a link leads that has systemd pass over the files of its name (systemd.network(5)).
pub(super) const NOTHING: &[u8] = b"/dev/null";

/// What takes the place of such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shadow {
    /// A link to `/dev/null`, as systemd.network(5) has it.
    Mask,
    /// An empty file: netplan(5) reads of all files of a name the one in `/etc` before that in `/lib`.
    Empty,
}

impl Shadow {
    /// The files that are read in place of one of a name, the ones that win first; the first one is in `/etc`.
    fn of(self, path: &str) -> Result<Vec<GuestPath>, InjectError> {
        let directories: &[&str] = match self {
            Self::Mask => &NETWORKD,
            Self::Empty => &NETPLAN,
        };
        let (own, name) = path.rsplit_once('/').unwrap_or_default();
        let before = directories.iter().take_while(|directory| **directory != own);
        Ok(before.map(|directory| GuestPath::parse(format!("{directory}/{name}"))).collect::<Result<_, _>>()?)
    }

    /// Whether another file is read in place of one. A link that leads nowhere is none.
    pub(super) fn is_over(self, path: &str, stage: &Stage<'_>) -> Result<bool, InjectError> {
        for other in self.of(path)? {
            let is_off = stage.resolve(&other).is_ok_and(|at| at.as_bytes() == NOTHING);
            let is_there = match (self, file_type(&other, stage)?) {
                // networkd cannot read it, and nothing in its place.
                (Self::Mask, there) => there.is_some(),
                // netplan fails with any other.
                (Self::Empty, there) => there == Some(FileType::Regular),
            };
            if is_off || is_there {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Has it pass over a file, which stays as it is.
    pub(super) fn cast(
        self,
        path: &str,
        why: &str,
        stage: &mut Stage<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), InjectError> {
        let Some(own) = self.of(path)?.into_iter().next() else { return Ok(()) };
        match self {
            Self::Mask => mask(&own, path, why, stage, outcome),
            Self::Empty => {
                make_way(&own, stage)?;
                put(&own, 0o600, b"", stage, outcome)?;
                outcome.notes.push(format!("{own}: an empty file, in the place of {path}, as {why}"));
                Ok(())
            }
        }
    }
}

/// Makes a link to `/dev/null` that has a program pass over a file.
pub(super) fn mask(
    own: &GuestPath,
    path: &str,
    why: &str,
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    make_way(own, stage)?;
    if let Some(directory) = own.parent() {
        stage.create_dirs(&directory, ROOT_DIR)?;
    }
    stage.symlink(own, NOTHING, ROOT_FILE)?;
    outcome.notes.push(format!("{own}: a link to /dev/null, in the place of {path}, as {why}"));
    Ok(())
}

/// Removes what is in the place of a new file.
pub(super) fn make_way(own: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    if stage.symlink_metadata(own)?.is_none() {
        return Ok(());
    }
    stage.remove(own).map_err(|error| match error.kind() {
        ErrorKind::Invalid => error.with_hint(format!("take it away by --delete {own}, {BEFORE}")).into(),
        _ => error.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{clear, devices::Own};
    use super::*;
    use crate::inject::testing::phony;
    use crate::net::read::document;
    use crate::net::render::Renderer;

    const RIVAL: &str = "[Match]\nName=eth*\n";
    const OTHER: &str = "[Match]\nName=wlan0\n";
    const DEVICES: &str = "network: {version: 2, ethernets: {eth0: {dhcp4: true}}}\n";

    fn notes(renderer: Renderer, new: &str, files: &[(&str, &str)], links: &[(&str, &str)]) -> Vec<String> {
        let guest = files.iter().fold(phony(), |guest, (path, text)| guest.file(*path, *text));
        let fs = links.iter().fold(guest, |guest, (path, target)| guest.symlink(*path, *target)).build().unwrap();
        let config = document("{version: 2, ethernets: {eth0: {dhcp4: true}}}").unwrap();
        let mut stage = Stage::new(&fs);
        let mut once = || {
            let mut outcome = Outcome::default();
            clear(renderer, &[new], &Own::of(&config), &mut stage, &mut outcome).unwrap();
            outcome.notes
        };
        let first = once();
        // What is done is done.
        assert_eq!(once(), Vec::<String>::new());
        first
    }

    #[test]
    fn what_packages_have_for_networkd() {
        let of = |files: &[(&str, &str)], links: &[(&str, &str)]| {
            notes(Renderer::Networkd, "/etc/systemd/network/05-imgraft-eth0.network", files, links)
        };
        let (usr, own) = ("/usr/lib/systemd/network/01-x.network", "/etc/systemd/network/01-x.network");
        let masked = format!("{own}: a link to /dev/null, in the place of {usr}, as by its name it comes first");
        let said = of(&[(usr, RIVAL)], &[]);
        assert!(said.len() == 1 && said[0].starts_with(&masked), "{said:?}");
        // By whichever directory, and once.
        let local = "/usr/local/lib/systemd/network/01-x.network";
        let said = of(&[(usr, RIVAL), (local, RIVAL)], &[]);
        assert!(said.len() == 1 && said[0].contains(local), "{said:?}");
        let said = of(&[("/lib/systemd/network/01-x.network", RIVAL)], &[]);
        assert!(said.len() == 1 && said[0].contains(" of /lib/systemd"), "{said:?}");
        // Behind one that goes there is another.
        let said = of(&[(usr, RIVAL), (own, RIVAL)], &[]);
        assert!(said.len() == 2 && said[1].starts_with(&masked), "{said:?}");
        // Of a name the file counts that comes first: in its place another device would lose its own.
        assert!(of(&[(usr, RIVAL), (local, OTHER)], &[]).is_empty());
        assert!(of(&[(usr, RIVAL)], &[(local, "/dev/null")]).is_empty());
        let said = of(&[(usr, RIVAL)], &[(local, "nowhere")]);
        assert!(said.len() == 1 && said[0].starts_with(&masked), "{said:?}");
        let said = of(&[(usr, OTHER), (local, RIVAL)], &[]);
        assert!(said.len() == 1 && said[0].contains(local), "{said:?}");
        // One that is not read, or is for another device, or comes behind.
        assert!(of(&[(usr, RIVAL), (own, OTHER)], &[]).is_empty());
        assert!(of(&[(usr, RIVAL)], &[(own, "/dev/null")]).is_empty());
        assert!(of(&[(usr, OTHER), ("/usr/lib/systemd/network/80-x.network", RIVAL)], &[]).is_empty());
        let said = of(&[(usr, RIVAL)], &[(own, "nowhere")]);
        assert!(said.len() == 1 && said[0].starts_with(&masked), "{said:?}");
    }

    #[test]
    fn what_packages_have_for_netplan() {
        let of = |files: &[(&str, &str)]| notes(Renderer::Netplan, "/etc/netplan/50-imgraft.yaml", files, &[]);
        let (usr, own) = ("/lib/netplan/90-x.yaml", "/etc/netplan/90-x.yaml");
        let said = of(&[(usr, DEVICES)]);
        assert_eq!(
            said,
            [format!("{own}: an empty file, in the place of {usr}, as netplan would mix its devices with these")]
        );
        assert!(of(&[(usr, DEVICES), (own, "network: {version: 2}\n")]).is_empty());
        // A directory that has something in it is not ours to take away.
        let fs = phony().file(usr, DEVICES).file(format!("{own}/x"), "").build().unwrap();
        let mut stage = Stage::new(&fs);
        let cast = Shadow::Empty.cast(usr, "", &mut stage, &mut Outcome::default()).unwrap_err();
        assert!(
            cast.to_string().contains(own) && cast.hint().unwrap().contains(&format!("--delete {own}, ")),
            "{cast}"
        );
        assert!(of(&[(usr, "network: {renderer: NetworkManager}\n")]).is_empty());
    }
}
