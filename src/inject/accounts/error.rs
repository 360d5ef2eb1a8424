//! Why users and groups cannot be made.

use std::fmt;

/// Why users and groups cannot be made as they were asked for. `Display` is one clause; [`hint`](Self::hint) is the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccountError {
    /// The guest lacks a file of its users and groups.
    NoFile {
        /// Which.
        path: &'static str,
    },
    /// A user is there and is not as it was asked for.
    UserDiffers {
        /// Which.
        user: String,
        /// What of it, with what it is and what was asked for.
        how: String,
    },
    /// A group is there and is not as it was asked for.
    GroupDiffers {
        /// Which.
        group: String,
        /// What of it, with what it is and what was asked for.
        how: String,
    },
    /// The guest has no group of this name, and a number is none.
    NoSuchGroup {
        /// What was given for one.
        group: String,
    },
    /// A number is somebody else's.
    Taken {
        /// `user number` or `group number`.
        what: &'static str,
        /// Which.
        number: u32,
        /// Whose.
        owner: String,
    },
    /// A new user's own group is there already.
    OwnGroupExists {
        /// Its name, which is the user's.
        name: String,
    },
    /// No number is free.
    NoneFree {
        /// Of which, in the plural.
        what: &'static str,
        /// From where to where.
        range: (u32, u32),
        /// The key of login.defs(5) that makes room.
        key: &'static str,
    },
    /// Something that is no directory is where a home directory is to be.
    HomeInTheWay {
        /// Where.
        path: String,
    },
    /// The guest's skeleton of a home directory is larger than what is copied.
    LargeSkeleton {
        /// Where.
        path: String,
    },
    /// A lock of the files of users and groups does not say whose it is.
    Locked {
        /// Where.
        path: String,
    },
    /// The guest has sudo, and no sudoers.
    NoSudoers,
    /// The guest's sudo does not read its sudoers, by owner or mode.
    UnsafeSudoers {
        /// Which.
        path: &'static str,
        /// The permission bits.
        mode: u16,
        /// The owner.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// The guest has no sudo.
    NoSudo {
        /// A group of the guest's whose members are usually let be root, where it has one.
        group: Option<&'static str>,
    },
    /// The guest's sudo does not read `/etc/sudoers.d`.
    NoSudoersDirectory {
        /// What it reads.
        path: &'static str,
    },
    /// Behind the lock is no password: without it anybody could log in.
    NothingToUnlock {
        /// Whose.
        user: String,
    },
    /// A user whose name means something else in sudoers(5), or in a path.
    NoSudoName {
        /// Who.
        user: String,
    },
}

impl AccountError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoFile { .. } => "choose the guest's root filesystem with --partition".to_owned(),
            Self::UserDiffers { .. } => {
                "to take the user as it is, leave that out, or say system of a service's; existing: true in a manifest takes whoever is there, and so do \
                 --ssh-inject, --password and --add-to-group; or choose another name, or have the guest change it (--firstboot-command \
                 'usermod …')"
                    .to_owned()
            }
            Self::GroupDiffers { .. } => {
                "leave out what differs to take the group as it is, choose another name, or have the guest change it (--firstboot-command 'groupmod …')".to_owned()
            }
            Self::NoSuchGroup { .. } => {
                "give the name of a group that the guest has; --add-group NAME makes one".to_owned()
            }
            Self::Taken { .. } => "choose another number, or leave it out to get one that is free".to_owned(),
            Self::OwnGroupExists { name } => {
                format!("--add-user {name}:gid={name} makes the group the user's first; gid=GROUP takes another")
            }
            Self::NoneFree { key, .. } => {
                format!("name a number that is free, or give the guest more of them ({key} in its /etc/login.defs)")
            }
            Self::Locked { path } => {
                format!("no program of the guest runs: --delete {path} in a run before this one, and pwck and grpck in the guest")
            }
            Self::HomeInTheWay { .. } => "choose another place with home=PATH, or no-home".to_owned(),
            Self::NoSudo { group } => {
                let install = "--firstboot-install sudo has the guest install it when it is first booted";
                match group {
                    Some(group) => format!(
                        "{install}, and --add-to-group USER:{group} puts the user into the guest's group for that, by which its sudo, doas \
                         or su may go"
                    ),
                    None => format!("{install}, and --firstboot-command what is to be done with it then"),
                }
            }
            Self::NoSudoers => {
                "--write '/etc/sudoers:#includedir /etc/sudoers.d' --chmod 0440:/etc/sudoers in a run before this one makes one".to_owned()
            }
            Self::UnsafeSudoers { path, .. } => {
                format!("--chown root:root:{path} --chmod 0440:{path} in a run before this one has it read")
            }
            Self::NoSudoersDirectory { path } => {
                format!("--append-line '{path}:#includedir /etc/sudoers.d' in a run before this one has it read")
            }
            Self::NothingToUnlock { user } => format!("--password {user}:file:PATH sets one, which is not locked"),
            Self::NoSudoName { .. } => "--add-to-group USER:GROUP, with a group that the guest's sudoers has".to_owned(),
            Self::LargeSkeleton { .. } => "no-home leaves it out; --upload puts files into the home directory".to_owned(),
        })
    }
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile { path } => write!(f, "the guest has no {path}"),
            Self::UserDiffers { user, how } => {
                write!(f, "there is a user '{user}' already, and it is another: {how}")
            }
            Self::GroupDiffers { group, how } => {
                write!(f, "there is a group '{group}' already, and it is another: {how}")
            }
            Self::NoSuchGroup { group } => write!(f, "no group '{}' in the guest", group.escape_debug()),
            Self::Taken { what, number, owner } => write!(f, "the {what} {number} is that of '{owner}' in the guest"),
            Self::OwnGroupExists { name } => {
                write!(f, "the guest has a group '{name}' already, which is what the user's own group would be called")
            }
            Self::NoneFree { what, range: (first, last), .. } => {
                write!(f, "no {what} are free in the guest, from {first} to {last}")
            }
            Self::Locked { path } => {
                write!(f, "{path}: a program has locked the guest's accounts, and not said which process it is")
            }
            Self::HomeInTheWay { path } => {
                write!(f, "{path}: the home directory is to be there, and it is no directory")
            }
            Self::NoSudo { .. } => f.write_str("the guest has no sudo"),
            Self::NoSudoers => f.write_str("the guest has sudo, and no /etc/sudoers"),
            Self::UnsafeSudoers { path, mode, uid, gid } => write!(
                f,
                "the guest's sudo does not read {path}, which has mode {mode:04o}, owner {uid} and group {gid}"
            ),
            Self::NoSudoersDirectory { path } => {
                write!(f, "the guest's {path} does not include the files of /etc/sudoers.d")
            }
            Self::NothingToUnlock { user } => {
                write!(f, "'{}' has no password that could be unlocked", user.escape_debug())
            }
            Self::NoSudoName { user } => {
                write!(f, "sudo would not take the name for one: '{}'", user.escape_debug())
            }
            Self::LargeSkeleton { path } => {
                write!(f, "{path}: more than the 4096 files or 8 MiB that are copied into a home directory")
            }
        }
    }
}
