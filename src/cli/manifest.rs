//! Manifests, as they are typed.

use clap::Args;
use std::path::PathBuf;

/// Manifests.
#[derive(Debug, Args)]
pub struct Manifests {
    /// Put in what a manifest asks for, in YAML or JSON; - is standard input (repeatable)
    ///
    /// All items in one document; imgraft schema prints what may be in it. Host files in it are relative to the manifest. What
    /// options ask for comes after what manifests ask for; what can be said once may be said in one of them only.
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with = "compat")]
    pub manifest: Vec<PathBuf>,

    /// Put in what a cloud-config asks for, the user data of cloud-init, while the guest does not run (repeatable)
    ///
    /// Taken are hostname, fqdn, timezone, locale, keyboard, groups, users, ssh_authorized_keys, chpasswd, write_files, and packages and
    /// runcmd (at the first boot). A key that cannot be honoured so is an error, with the way out. Its texts have no variables.
    #[arg(long, value_name = "FILE", conflicts_with = "compat")]
    pub cloud_config: Vec<PathBuf>,

    /// Put in what a configuration of Ignition (version 3) asks for (repeatable)
    ///
    /// Taken are passwd, systemd.units, and of storage files with data: URLs, directories and symbolic links; what is there is replaced. What
    /// needs a disk to be made or something to be fetched is an error.
    #[arg(long, value_name = "FILE", conflicts_with = "compat")]
    pub ignition: Vec<PathBuf>,

    /// Put VALUE in the place of each ${NAME} in the texts of the manifests (repeatable)
    ///
    /// $${ stands for ${ itself. VALUE is visible to every user of this machine while imgraft runs; a password is better in a file.
    #[arg(long, value_name = "NAME=VALUE", requires = "manifest")]
    pub set: Vec<String>,
}
