//! What is typed of the passphrases of encrypted volumes.

use clap::Args;

/// The passphrases of encrypted volumes.
#[derive(Debug, Args)]
pub struct Keys {
    /// The passphrase of an encrypted volume, in a file or as it stands (repeatable)
    ///
    /// ID is the volume as --partition takes it (a number, whole, GROUP/VOLUME, a device's name as in virt-customize), its
    /// LUKS UUID, or all. Of a file the first line is taken; one that is no text is taken whole, as cryptsetup takes a key
    /// file. A TEXT is visible to every user of this machine while imgraft runs.
    #[arg(long, value_name = "ID:file:PATH|ID:key:TEXT")]
    pub key: Vec<String>,

    /// Read passphrases from standard input, one a line, and try each on every encrypted volume
    #[arg(long, overrides_with = "keys_from_stdin")]
    pub keys_from_stdin: bool,
}
