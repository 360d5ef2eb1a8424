//! The options of `sysprep`, as they are typed.

use super::{Add, Target, VirtSysprep, VirtTools, Writing};
use clap::{ArgMatches, Args};

/// Arguments of `sysprep`.
#[derive(Debug, Args)]
pub struct Sysprep {
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub target: Target,

    /// Which operations to do: names, `defaults`, `all`, and with a hyphen before it what is left out of these (repeatable)
    ///
    /// `--operations defaults,-ssh-userdir,user-account`, say. They are taken from left to right, and done in the order of their
    /// names. `all` is all that can be done. [default: defaults]
    #[arg(
        long,
        visible_alias = "operation",
        value_name = "NAME|-NAME,...",
        value_delimiter = ',',
        allow_hyphen_values = true,
        action = clap::ArgAction::Append
    )]
    pub operations: Vec<String>,

    /// Do these operations and no others but those of --operations, which are added, or left out, after them
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub enable: Vec<String>,

    /// List the operations, `*` for those that are done unless they are left out, `-` for those that are refused, and why, and do
    /// nothing else
    #[arg(long, conflicts_with = "json")]
    pub list_operations: bool,

    /// With the operation user-account: remove these accounts, and no others (repeatable)
    #[arg(long, value_name = "USER,...", value_delimiter = ',')]
    pub remove_user_accounts: Vec<String>,

    /// With the operation user-account: keep these accounts (repeatable)
    #[arg(long, value_name = "USER,...", value_delimiter = ',')]
    pub keep_user_accounts: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub writing: Writing,

    /// Operations that may fail: each is rolled back, reported, and the exit status is 5
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub optional: Vec<String>,

    /// Make every operation optional
    #[arg(long, conflicts_with = "optional")]
    pub best_effort: bool,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub add: Add,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub virt_tools: VirtTools,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub virt_sysprep: VirtSysprep,
}

/// Whether the list was asked for, which needs no image.
pub(super) fn lists_operations(matches: &ArgMatches) -> bool {
    matches.get_flag("list_operations")
}
