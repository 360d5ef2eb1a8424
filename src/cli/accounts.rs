//! The options of the item "accounts".

use clap::Args;

/// Users and groups, which are made before keys and passwords are put in.
#[derive(Debug, Args)]
pub struct Accounts {
    /// Make a group (item "accounts"; repeatable)
    ///
    /// Its number is the next one of the range that the guest's login.defs has for people, or with system for services. A group
    /// that is there already and has what is asked for stays as it is.
    #[arg(long, value_name = "NAME[:gid=N,system]")]
    pub add_group: Vec<String>,

    /// Make a user, as the guest's useradd would (item "accounts"; repeatable)
    ///
    /// After NAME: come, separated by commas, uid=N, gid=GROUP (the first group, otherwise one of the user's own), groups=A+B,
    /// shell=PATH, home=PATH, comment=TEXT, system and no-home. Numbers, home directory with /etc/skel, shell, and ranges in subuid and
    /// subgid are what the guest's login.defs and default/useradd say; system is a service's account, without a home
    /// directory. No password is valid until --password sets one. A user that is there already and has what is asked for stays as it is.
    #[arg(long, value_name = "NAME[:KEY=VALUE,...]")]
    pub add_user: Vec<String>,

    /// Make a user a member of a group (item "accounts"; repeatable)
    #[arg(long, value_name = "USER:GROUP")]
    pub add_to_group: Vec<String>,

    /// Let a user do everything by sudo, which asks for the user's password, or with nopasswd for none (item "accounts"; repeatable)
    ///
    /// It is a file of its own in /etc/sudoers.d, which the guest's sudoers has to include.
    #[arg(long, value_name = "USER[:nopasswd]")]
    pub sudo: Vec<String>,

    /// Close a user's account on a day, now, or never, to keys too (item "accounts"; repeatable)
    #[arg(long, value_name = "USER:YYYY-MM-DD|now|never")]
    pub expire: Vec<String>,

    /// Take the lock off a user's password (item "accounts"; repeatable)
    ///
    /// A lock that has no password behind it is not taken off, unless the run sets one.
    #[arg(long, value_name = "USER")]
    pub unlock: Vec<String>,

    /// Have a user choose another password at the next login, as passwd --expire does (item "password"; repeatable)
    ///
    /// The password that the guest has, or that the run sets, is asked for then. Who logs in by a key is asked too.
    #[arg(long, value_name = "USER")]
    pub expire_password: Vec<String>,
}
