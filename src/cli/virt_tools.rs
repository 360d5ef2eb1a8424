//! What virt-customize and virt-sysprep take too, and has nothing to do with what is put into a guest.

use clap::Args;
use std::path::PathBuf;

/// The image as the virt tools name it.
#[derive(Debug, Args)]
pub struct Add {
    /// The disk image, as virt-customize spells it: another way to name IMAGE
    #[arg(short = 'a', long, value_name = "IMAGE", conflicts_with = "image")]
    pub add: Option<PathBuf>,
}

/// Options of virt-customize that there is nothing to do for, and those that are refused.
///
/// The refused ones are in no help: that they are known makes an error with a way out of them.
#[derive(Debug, Args)]
pub struct VirtCustomize {
    /// As for virt-customize, and nothing to do: what is put into a guest with SELinux gets its label as it is written, and
    /// no other file is relabelled
    ///
    /// `--touch /.autorelabel` has the guest relabel all of its files when it is booted.
    #[arg(long, hide_short_help = true)]
    pub selinux_relabel: bool,

    /// As for virt-customize, and nothing to do: the guest's files are never relabelled, and new files get their labels
    /// all the same
    #[arg(long, hide_short_help = true, conflicts_with = "selinux_relabel")]
    pub no_selinux_relabel: bool,

    /// As for virt-customize, and nothing to do: nothing runs that has a network
    #[arg(long, hide_short_help = true)]
    pub no_network: bool,

    /// As for virt-customize, and nothing to do: no log is left in the guest
    #[arg(long, hide_short_help = true)]
    pub no_logfile: bool,

    /// As for virt-customize, and nothing to do: nothing runs that needs the memory
    #[arg(short = 'm', long, value_name = "MB", hide_short_help = true)]
    pub memsize: Option<u64>,

    /// As for virt-customize, and nothing to do: nothing runs that needs the processors
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub smp: Option<u64>,

    /// As for virt-customize, and nothing to do: no message needs its colours
    #[arg(long, alias = "colours", hide_short_help = true)]
    pub colors: bool,

    /// As for virt-customize, and nothing to do: each message is one line
    #[arg(long, hide_short_help = true)]
    pub wrap: bool,

    /// As for virt-customize, and nothing to do: nobody is asked for a passphrase
    #[arg(long, hide_short_help = true)]
    pub echo_keys: bool,

    /// As for virt-customize, and nothing to do: no library is called whose calls could be shown
    #[arg(short = 'x', hide_short_help = true)]
    pub trace: bool,

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
    #[arg(long, hide = true)]
    #[allow(missing_docs, reason = "the names say it")]
    pub update: bool,
    #[arg(long, hide = true)]
    #[allow(missing_docs, reason = "the names say it")]
    pub inject_qemu_ga: Option<String>,
    #[arg(long, hide = true)]
    #[allow(missing_docs, reason = "the names say it")]
    pub inject_virtio_win: Option<String>,
    #[arg(long, hide = true)]
    #[allow(missing_docs, reason = "the names say it")]
    pub inject_blnsvr: Option<String>,
    #[arg(long, hide = true)]
    #[allow(missing_docs, reason = "the names say it")]
    pub scrub: Vec<String>,
    #[arg(short = 'd', long, hide = true)]
    #[allow(missing_docs, reason = "the names say it")]
    pub domain: Option<String>,
    #[arg(short = 'c', long, hide = true)]
    #[allow(missing_docs, reason = "the names say it")]
    pub connect: Option<String>,
    #[arg(long, hide = true)]
    #[allow(missing_docs, reason = "the names say it")]
    pub attach_format: Option<String>,
    #[arg(long, hide = true)]
    #[allow(missing_docs, reason = "the names say it")]
    pub attach_method: Option<String>,
}
