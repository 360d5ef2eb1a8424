//! Settings of the guest beside its name and time zone.

use clap::Args;

/// Settings of the guest.
#[derive(Debug, Args)]
pub struct Setting {
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
}
