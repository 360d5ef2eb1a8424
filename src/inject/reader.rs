//! What the programs of a guest ask of the owner and the mode of a file before they read it.

use imgraft_vfs::fs::{FileType, Metadata};

/// A program of the guest that reads files only with certain owners and modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// sshd, which reads the keys of a user as that user (`StrictModes` of sshd_config(5), by default).
    Sshd {
        /// The user.
        uid: u32,
        /// The user's first group.
        gid: u32,
    },
    /// sshd with `StrictModes no`, which minds neither owners nor modes: the user has to be able to read.
    LenientSshd {
        /// The user.
        uid: u32,
        /// The user's first group.
        gid: u32,
    },
    /// sshd, of the private host keys.
    HostKeys {
        /// The group that may read them too, where the guest has one for that.
        group: Option<u32>,
    },
    /// sudo, of what is included in sudoers(5).
    Sudo,
    /// NetworkManager, of keyfiles (nm-settings-keyfile(5)).
    NetworkManager,
    /// systemd-networkd, which runs as a user of its own.
    Networkd,
}

impl Reader {
    /// The program's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sshd { .. } | Self::LenientSshd { .. } | Self::HostKeys { .. } => "sshd",
            Self::Sudo => "sudo",
            Self::NetworkManager => "NetworkManager",
            Self::Networkd => "systemd-networkd",
        }
    }

    /// What it wants, a clause.
    pub fn wants(self) -> &'static str {
        match self {
            Self::Sshd { .. } => {
                "sshd reads keys where the user or root owns them, nobody else can write to them or to a directory around \
                 them, and the user can read them"
            }
            Self::LenientSshd { .. } => "sshd reads keys as the user, who has to be able to read them",
            Self::HostKeys { .. } => "sshd reads host keys that root owns and nobody else can read",
            Self::Sudo => "sudo reads rules that root owns and nobody else can write to",
            Self::NetworkManager => "NetworkManager reads connections that root owns and nobody else can read",
            Self::Networkd => "systemd-networkd has to be able to read it, and does not run as root",
        }
    }

    /// Whether it reads a file, or what is in a directory, that is so.
    pub(super) fn takes(self, metadata: &Metadata) -> bool {
        let Metadata { mode, uid: owner, gid: group, .. } = *metadata;
        match self {
            Self::Sshd { uid, gid } => is_safe(metadata, uid) && Self::LenientSshd { uid, gid }.takes(metadata),
            Self::LenientSshd { uid, gid } => lets_in(metadata, uid, &[gid]),
            // Without such a group no bit but the owner's may be set (authfile.c of OpenSSH).
            Self::HostKeys { group: of_keys } => {
                owner == 0 && mode & if of_keys == Some(group) { 0o037 } else { 0o077 } == 0
            }
            Self::Sudo => owner == 0 && mode & 0o002 == 0 && (group == 0 || mode & 0o020 == 0),
            Self::NetworkManager => owner == 0 && mode & 0o077 == 0,
            // Its group is not known here; root's it is not.
            Self::Networkd => {
                mode & 0o004 != 0 || (group != 0 && mode & 0o040 != 0) || (owner != 0 && mode & 0o400 != 0)
            }
        }
    }
}

/// Whether sshd trusts what is there to be the user's own (safe_path of OpenSSH's misc.c).
pub(super) fn is_safe(found: &Metadata, uid: u32) -> bool {
    found.mode & 0o022 == 0 && (found.uid == 0 || found.uid == uid)
}

/// Whether a user of these groups can read the file, or get through the directory. Which class of bits counts is the kernel's rule
/// (path_resolution(7)): the owner's, else the group's, else the rest.
pub(super) fn lets_in(found: &Metadata, uid: u32, groups: &[u32]) -> bool {
    let need = if found.file_type == FileType::Directory { 0o1 } else { 0o4 };
    let bits = match () {
        () if found.uid == uid => found.mode >> 6,
        () if groups.contains(&found.gid) => found.mode >> 3,
        () => found.mode,
    };
    uid == 0 || bits & need != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::Timestamp;

    fn of(file_type: FileType, mode: u16, uid: u32, gid: u32) -> Metadata {
        Metadata { file_type, mode, uid, gid, size: 0, links: 1, inode: 1, mtime: Timestamp::default() }
    }

    #[test]
    fn who_reads_what() {
        use FileType::{Directory, Regular};
        let (ann, root) = (Reader::Sshd { uid: 1000, gid: 1001 }, Reader::Sshd { uid: 0, gid: 0 });
        let lenient = Reader::LenientSshd { uid: 1000, gid: 1001 };
        for (reader, file, takes) in [
            (ann, of(Regular, 0o600, 1000, 7), true),
            (ann, of(Regular, 0o400, 1000, 7), true),
            (ann, of(Regular, 0o644, 0, 0), true),
            (ann, of(Regular, 0o640, 0, 1001), true),
            (ann, of(Regular, 0o640, 0, 7), false),
            (ann, of(Regular, 0o604, 0, 1001), false),
            (ann, of(Regular, 0o000, 1000, 7), false),
            (ann, of(Regular, 0o044, 1000, 7), false),
            (ann, of(Regular, 0o644, 7, 7), false),
            (ann, of(Regular, 0o620, 1000, 7), false),
            (ann, of(Regular, 0o602, 1000, 7), false),
            (ann, of(Directory, 0o100, 1000, 7), true),
            (ann, of(Directory, 0o600, 1000, 7), false),
            (lenient, of(Regular, 0o666, 7, 7), true),
            (lenient, of(Directory, 0o777, 7, 7), true),
            (lenient, of(Regular, 0o600, 7, 7), false),
            (lenient, of(Directory, 0o066, 1000, 7), false),
            (root, of(Regular, 0o000, 0, 0), true),
            (root, of(Regular, 0o600, 1000, 0), false),
            (root, of(Directory, 0o777, 0, 0), false),
            (Reader::HostKeys { group: None }, of(Regular, 0o600, 0, 7), true),
            (Reader::HostKeys { group: None }, of(Regular, 0o640, 0, 7), false),
            (Reader::HostKeys { group: None }, of(Regular, 0o600, 7, 0), false),
            (Reader::HostKeys { group: Some(7) }, of(Regular, 0o640, 0, 7), true),
            (Reader::HostKeys { group: Some(7) }, of(Regular, 0o660, 0, 7), false),
            (Reader::HostKeys { group: Some(7) }, of(Regular, 0o640, 0, 8), false),
            (Reader::Sudo, of(Regular, 0o644, 0, 7), true),
            (Reader::Sudo, of(Regular, 0o460, 0, 0), true),
            (Reader::Sudo, of(Regular, 0o460, 0, 7), false),
            (Reader::Sudo, of(Regular, 0o442, 0, 0), false),
            (Reader::Sudo, of(Regular, 0o440, 7, 0), false),
            (Reader::NetworkManager, of(Regular, 0o600, 0, 7), true),
            (Reader::NetworkManager, of(Regular, 0o640, 0, 0), false),
            (Reader::NetworkManager, of(Regular, 0o600, 7, 0), false),
            (Reader::Networkd, of(Regular, 0o644, 0, 0), true),
            (Reader::Networkd, of(Regular, 0o640, 0, 998), true),
            (Reader::Networkd, of(Regular, 0o640, 0, 0), false),
            (Reader::Networkd, of(Regular, 0o600, 998, 0), true),
        ] {
            assert_eq!(reader.takes(&file), takes, "{reader:?} {file:?}");
        }
    }
}
