//! What virt-customize and virt-sysprep take too, and has nothing to do with what is put into a guest.

use clap::Args;
use std::path::PathBuf;

/// The image as the virt tools name it.
#[derive(Debug, Args)]
pub struct Add {
    /// The disk image, as virt-customize spells it: another way to name IMAGE, also as file:///PATH
    #[arg(short = 'a', long, value_name = "IMAGE", conflicts_with = "image")]
    pub add: Option<PathBuf>,
}

/// Options of the virt tools that there is nothing to do for, and those of both that are refused.
///
/// The refused ones are in no help: that they are known makes an error with a way out of them.
#[derive(Debug, Args)]
pub struct VirtTools {
    /// As for the virt tools, and nothing to do: what is put into a guest with SELinux gets its label as it is written, and
    /// no other file is relabelled
    ///
    /// `imgraft inject IMAGE --touch /.autorelabel` has the guest relabel all of its files when it is booted.
    #[arg(long, hide_short_help = true, overrides_with = "selinux_relabel")]
    pub selinux_relabel: bool,

    /// As for the virt tools, and nothing to do: the guest's files are never relabelled, and new files get their labels
    /// all the same
    #[arg(long, hide_short_help = true, overrides_with = "no_selinux_relabel")]
    pub no_selinux_relabel: bool,

    /// As for the virt tools, and nothing to do: nothing runs that has a network
    #[arg(long, hide_short_help = true, overrides_with = "no_network")]
    pub no_network: bool,

    /// As for the virt tools, and nothing to do: no log is left in the guest
    #[arg(long, hide_short_help = true, overrides_with = "no_logfile")]
    pub no_logfile: bool,

    /// As for the virt tools, and nothing to do: nothing runs that needs the memory
    #[arg(short = 'm', long, value_name = "MB", hide_short_help = true, overrides_with = "memsize")]
    pub memsize: Option<u64>,

    /// As for the virt tools, and nothing to do: nothing runs that needs the processors
    #[arg(long, value_name = "N", hide_short_help = true, overrides_with = "smp")]
    pub smp: Option<u64>,

    /// As for the virt tools, and nothing to do: no message needs its colours
    #[arg(long, aliases = ["colour", "colours", "color"], hide_short_help = true, overrides_with = "colors")]
    pub colors: bool,

    /// As for the virt tools, and nothing to do: each message is one line
    #[arg(long, hide_short_help = true, overrides_with = "wrap")]
    pub wrap: bool,

    /// As for the virt tools, and nothing to do: nobody is asked for a passphrase
    #[arg(long, hide_short_help = true, overrides_with = "echo_keys")]
    pub echo_keys: bool,

    /// As --verbose: no library is called whose calls could be shown
    #[arg(short = 'x', hide_short_help = true, overrides_with = "trace")]
    pub trace: bool,

    #[arg(short = 'd', long, hide = true, overrides_with = "domain")]
    #[allow(missing_docs, reason = "the names say it")]
    pub domain: Option<String>,
    #[arg(short = 'c', long, hide = true, overrides_with = "connect")]
    #[allow(missing_docs, reason = "the names say it")]
    pub connect: Option<String>,
}

/// Options of virt-sysprep alone, for which there is nothing to do or which are refused.
#[derive(Debug, Args)]
pub struct VirtSysprep {
    /// As for virt-sysprep, and nothing to do: nothing runs that has a network
    #[arg(long, hide_short_help = true, overrides_with = "network")]
    pub network: bool,

    #[arg(long, hide = true, allow_hyphen_values = true, overrides_with = "mount_options")]
    #[allow(missing_docs, reason = "the names say it")]
    pub mount_options: Option<String>,
    #[arg(long, hide = true, overrides_with = "script")]
    #[allow(missing_docs, reason = "the names say it")]
    pub script: Option<String>,
    #[arg(long, hide = true, overrides_with = "scriptdir")]
    #[allow(missing_docs, reason = "the names say it")]
    pub scriptdir: Option<String>,
}

/// Options of virt-customize alone that are refused.
#[derive(Debug, Args)]
pub struct VirtCustomize {
    #[arg(long, hide = true)]
    #[allow(missing_docs, reason = "the names say it")]
    pub run: Vec<String>,
    #[arg(long, hide = true)]
    #[allow(missing_docs, reason = "the names say it")]
    pub run_command: Vec<String>,
    #[arg(long, hide = true)]
    #[allow(missing_docs, reason = "the names say it")]
    pub install: Vec<String>,
    #[arg(long, hide = true)]
    #[allow(missing_docs, reason = "the names say it")]
    pub uninstall: Vec<String>,
    #[arg(long, hide = true, overrides_with = "update")]
    #[allow(missing_docs, reason = "the names say it")]
    pub update: bool,
    #[arg(long, hide = true, overrides_with = "inject_qemu_ga")]
    #[allow(missing_docs, reason = "the names say it")]
    pub inject_qemu_ga: Option<String>,
    #[arg(long, hide = true, overrides_with = "inject_virtio_win")]
    #[allow(missing_docs, reason = "the names say it")]
    pub inject_virtio_win: Option<String>,
    #[arg(long, hide = true, overrides_with = "inject_blnsvr")]
    #[allow(missing_docs, reason = "the names say it")]
    pub inject_blnsvr: Option<String>,
    #[arg(long, hide = true, overrides_with = "attach_format")]
    #[allow(missing_docs, reason = "the names say it")]
    pub attach_format: Option<String>,
    #[arg(long, hide = true, overrides_with = "attach_method")]
    #[allow(missing_docs, reason = "the names say it")]
    pub attach_method: Option<String>,
    #[arg(long, hide = true, overrides_with = "sm_attach")]
    #[allow(missing_docs, reason = "the names say it")]
    pub sm_attach: Option<String>,
    #[arg(long, hide = true, overrides_with = "sm_credentials")]
    #[allow(missing_docs, reason = "the names say it")]
    pub sm_credentials: Option<String>,
    #[arg(long, hide = true, overrides_with = "sm_register")]
    #[allow(missing_docs, reason = "the names say it")]
    pub sm_register: bool,
    #[arg(long, hide = true, overrides_with = "sm_remove")]
    #[allow(missing_docs, reason = "the names say it")]
    pub sm_remove: bool,
    #[arg(long, hide = true, overrides_with = "sm_unregister")]
    #[allow(missing_docs, reason = "the names say it")]
    pub sm_unregister: bool,
}
