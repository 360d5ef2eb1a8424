//! Settings of the guest beside its name and time zone.

use clap::Args;

/// Settings of the guest.
#[derive(Debug, Default, Args)]
pub struct Setting {
    /// Make the ssh host keys that the guest lacks, so that their fingerprints are known before it runs (item "host-keys")
    ///
    /// ed25519 and ecdsa (P-256), where sshd reads them and none is there; the report has the SHA-256 fingerprint of each, and
    /// of those that are there and stay. A cloud-init in the guest is told to keep them. For an image of one machine.
    #[arg(long)]
    pub ssh_host_keys: bool,

    /// Set the guest's language, a locale that it has, as de_DE.UTF-8 (item "locale")
    #[arg(long, value_name = "LOCALE")]
    pub locale: Option<String>,

    /// Set the keymap of the guest's console, one that it has; on Debian the keyboard's layout (item "locale")
    #[arg(long, value_name = "KEYMAP")]
    pub keymap: Option<String>,

    /// Set the guest's machine ID, or take it away (item "machine-id")
    ///
    /// empty: the guest makes one at its next boot, which is no first boot to its systemd. uninitialized: it makes one, and
    /// systemd takes that boot for the first one, with its presets. ID, 32 hexadecimal digits, is for an image of one machine.
    #[arg(long, value_name = "empty|uninitialized|ID")]
    pub machine_id: Option<String>,

    /// Have the guest's systemd start a unit, as its [Install] section says (item "units"; repeatable)
    ///
    /// The links are those that systemctl enable makes; so is what is taken for a service without a type. Units that --upload
    /// and its like put into the guest are known.
    #[arg(long, value_name = "UNIT")]
    pub enable_unit: Vec<String>,

    /// Remove all links by which the guest's systemd starts a unit, as systemctl disable does (item "units"; repeatable)
    #[arg(long, value_name = "UNIT")]
    pub disable_unit: Vec<String>,

    /// Keep a unit from being started by whatever: a link to /dev/null (item "units"; repeatable)
    #[arg(long, value_name = "UNIT")]
    pub mask_unit: Vec<String>,
}
