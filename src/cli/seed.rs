//! The items as a seed for cloud-init, as it is typed.

use clap::{Args, ValueEnum};

/// A seed for cloud-init.
#[derive(Debug, Args)]
pub struct Seed {
    /// Write the items as files for the guest's cloud-init onto a FAT boot partition (item "seed")
    ///
    /// For a guest of which nothing else can be written to, as Raspberry Pi OS since Trixie, Ubuntu for Raspberry Pi, and
    /// whatever reads a volume called CIDATA. Keys, network, host name, time zone, metadata, passwords (as hashes) and scripts
    /// for the first boot become user-data, meta-data and network-config in the root of the volume that --partition names;
    /// --upload and its like put files onto that volume. The item "seed" stands for all of these but the files.
    #[arg(long, value_enum, value_name = "KIND", conflicts_with_all = ["compat", "network_renderer"])]
    pub seed: Option<SeedKind>,

    /// Replace the files of a seed that are there and say something else; they are not merged
    #[arg(long, requires = "seed")]
    pub replace_seed: bool,
}

/// The kinds of seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SeedKind {
    /// cloud-init's NoCloud: user-data, meta-data, network-config
    Nocloud,
}
