//! A guest's language and the keys of its console: locale.conf(5), vconsole.conf(5), locale(5), keyboard(5).

mod console;
mod installed;

use super::cloud_config::{self, Unsaid};
use super::files::below::{Walk, below, there};
use super::variables::{assign, value};
use super::{InjectError, Injector, Item, Outcome, READ_LIMIT, label};
use crate::guest::{Guest, Init};
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use std::fmt;

const LOCALE: &str = "/etc/locale.conf";
/// Debian's, which pam_env reads; since trixie a link to the other.
const DEBIAN_LOCALE: &str = "/etc/default/locale";
/// What makes that link at boot, where it does.
const DEBIAN_LINKS: [&str; 2] = ["/etc/tmpfiles.d/debian.conf", "/usr/lib/tmpfiles.d/debian.conf"];
/// Red Hat's before systemd.
const OLD_LOCALE: &str = "/etc/sysconfig/i18n";
const CONSOLE: &str = "/etc/vconsole.conf";
const DEBIAN_KEYBOARD: &str = "/etc/default/keyboard";
const DEBIAN_LAYOUT: &str = "XKBLAYOUT";
const DEBIAN_VARIANT: &str = "XKBVARIANT";
const OLD_KEYBOARD: &str = "/etc/sysconfig/keyboard";
/// SUSE's, from which the shells of users have it: where it is set there, that outweighs locale.conf. YaST leaves it empty today.
const SUSE_LANGUAGE: (&str, &str) = ("/etc/sysconfig/language", "RC_LANG");
/// SUSE's from before vconsole.conf, of which that is made once.
const SUSE_KEYMAP: (&str, &str) = (OLD_KEYBOARD, "KEYTABLE");
/// Where the keymaps of kbd are.
const KEYMAPS: [&str; 3] = ["/usr/share/kbd/keymaps", "/usr/lib/kbd/keymaps", "/usr/share/keymaps"];
/// Where the layouts of xkb are, of which Debian makes keymaps.
const LAYOUTS: &str = "/usr/share/X11/xkb/symbols";

/// A name of a locale or of a keymap: letters, digits, and `_ - . @ +`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingName(String);

impl SettingName {
    /// The name; `None` for what none is called.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.@+".contains(&byte);
        let is_name = text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(is_plain);
        (is_name && text.len() < 128).then(|| Self(text.to_owned()))
    }
}

/// The language of a guest and the keymap of its console.
#[derive(Clone, Debug)]
pub struct Locale {
    /// The language, `LANG`.
    pub language: Option<SettingName>,
    /// The keymap, or on Debian the keyboard's layout.
    pub keymap: Option<SettingName>,
}

/// Why a locale or a keymap cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocaleError {
    /// The guest does not have the locale.
    NoSuchLocale {
        /// Which.
        locale: String,
        /// Those that it has, some of them.
        known: Vec<String>,
    },
    /// The guest does not have the keymap.
    NoSuchKeymap {
        /// Which.
        keymap: String,
        /// Where they would be.
        place: &'static str,
        /// Whether there are any.
        has_keymaps: bool,
    },
    /// Nothing in the guest is known to read the setting.
    NoReader {
        /// Of what.
        what: &'static str,
    },
}

impl LocaleError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSuchLocale { known, .. } => Some(format!(
                "it has {}; more are made by its own programs (locale-gen, localedef) or packages",
                known.join(", ")
            )),
            Self::NoSuchKeymap { place, has_keymaps: true, .. } => {
                Some(format!("`imgraft ls IMAGE {place}` shows what it has"))
            }
            Self::NoSuchKeymap { has_keymaps: false, .. } => Some(
                "it has no keymaps at all: its package kbd, or console-setup and xkb-data, is not installed".to_owned(),
            ),
            Self::NoReader { .. } => Some("put the file that its programs read there with --write".to_owned()),
        }
    }
}

impl fmt::Display for LocaleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchLocale { locale, .. } => write!(f, "the guest has no locale {locale}"),
            Self::NoSuchKeymap { keymap, .. } => write!(f, "the guest has no keymap {keymap}"),
            Self::NoReader { what } => write!(f, "nothing in the guest is known to read a setting of {what}"),
        }
    }
}

impl Injector for Locale {
    fn item(&self) -> Item {
        Item::Locale
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        let before = stage.savepoint();
        let mut outcome = Outcome::default();
        if let Some(SettingName(language)) = &self.language {
            // Where nothing reads the setting, more locales are no help.
            let path = GuestPath::parse(language_file(guest, stage)?)?;
            let known = installed::locales(stage)?;
            if !installed::has(&known, language) {
                let locale = language.clone();
                let known = known.into_iter().take(20).collect();
                return Err(InjectError::Locale(LocaleError::NoSuchLocale { locale, known }));
            }
            assign(&path, "LANG", language, stage)?;
            keep_up(guest, SUSE_LANGUAGE, language, stage)?;
            // Of Debian's guests cloud-init reads the locale that they have; to others, with old ones Red Hat's too, it gives en_US.UTF-8.
            let unsaid = if is_debians(guest) { Unsaid::Left } else { Unsaid::Set };
            cloud_config::keep_setting("locale", language, unsaid, stage, &mut outcome)?;
            for outweighs in ["LC_ALL", "LANGUAGE"] {
                if value(&path, outweighs, stage)?.is_some_and(|value| !value.is_empty()) {
                    outcome.notes.push(format!("{path}: {outweighs} is set there, too, and counts for more than LANG"));
                }
            }
        }
        if let Some(SettingName(keymap)) = &self.keymap {
            let (path, key) = keymap_file(guest, keymap, stage)?;
            let path = GuestPath::parse(path)?;
            assign(&path, key, keymap, stage)?;
            if key == DEBIAN_LAYOUT {
                plain_variant(&path, keymap, stage, &mut outcome)?;
            }
            keep_up(guest, SUSE_KEYMAP, keymap, stage)?;
            if let Some(missing) = console::missing(guest, stage)? {
                outcome
                    .notes
                    .push(format!("{path}: nothing gives the console this keymap: the guest has no {missing}"));
            }
        }
        label::label_new(guest, stage, &before, &mut outcome)?;
        Ok(outcome)
    }
}

/// Has a layout without a variant, which is of the layout that was there before: as Debian's own keyboard-configuration has it when
/// another layout is chosen, and systemd-localed(8) with a keymap. Options are not of a layout, and stay.
fn plain_variant(
    path: &GuestPath,
    layout: &str,
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    if let Some(variant) = value(path, DEBIAN_VARIANT, stage)?.filter(|variant| !variant.is_empty()) {
        assign(path, DEBIAN_VARIANT, "", stage)?;
        let variant = variant.escape_ascii();
        outcome.notes.push(format!(
            "{path}: {DEBIAN_VARIANT} was {variant}, and is empty now: the layout is {layout} as it stands"
        ));
    }
    Ok(())
}

/// Gives a variable of SUSE's the same value, where it has one.
fn keep_up(guest: &Guest, (path, key): (&str, &str), wanted: &str, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    let path = GuestPath::parse(path)?;
    let is_suse = guest.os.id_like.iter().any(|like| like == "suse");
    if is_suse && value(&path, key, stage)?.is_some_and(|value| !value.is_empty()) {
        assign(&path, key, wanted, stage)?;
    }
    Ok(())
}

fn is_there(path: &str, stage: &Stage<'_>) -> Result<bool, InjectError> {
    Ok(there(stage.symlink_metadata(&GuestPath::parse(path)?))?.is_some())
}

fn is_debians(guest: &Guest) -> bool {
    ["debian", "ubuntu"].iter().any(|id| guest.os.id == *id || guest.os.id_like.iter().any(|like| like == id))
}

/// The file that the guest's programs read the language from.
fn language_file(guest: &Guest, stage: &Stage<'_>) -> Result<&'static str, InjectError> {
    if is_debians(guest) {
        // A link leads to the other, be it there or made at boot.
        let mut is_link = is_there(LOCALE, stage)? && !is_there(DEBIAN_LOCALE, stage)?;
        for path in DEBIAN_LINKS {
            let text = stage.read(&GuestPath::parse(path)?, READ_LIMIT)?.unwrap_or_default();
            is_link = is_link || text.windows(DEBIAN_LOCALE.len()).any(|part| part == DEBIAN_LOCALE.as_bytes());
        }
        return Ok(if is_link { LOCALE } else { DEBIAN_LOCALE });
    }
    match guest.init {
        Init::Systemd => Ok(LOCALE),
        _ if is_there(OLD_LOCALE, stage)? => Ok(OLD_LOCALE),
        _ if is_there(LOCALE, stage)? => Ok(LOCALE),
        _ => Err(InjectError::Locale(LocaleError::NoReader { what: "the language" })),
    }
}

/// The file that has the keymap, and the variable; an error where the guest has no such keymap.
fn keymap_file(guest: &Guest, keymap: &str, stage: &Stage<'_>) -> Result<(&'static str, &'static str), InjectError> {
    let missing = |place, has_keymaps| {
        InjectError::Locale(LocaleError::NoSuchKeymap { keymap: keymap.to_owned(), place, has_keymaps })
    };
    if is_debians(guest) {
        if is_there(&format!("{LAYOUTS}/{keymap}"), stage)? {
            return Ok((DEBIAN_KEYBOARD, DEBIAN_LAYOUT));
        }
        return Err(missing(LAYOUTS, is_there(LAYOUTS, stage)?));
    }
    let mut place = None;
    let mut is_known = false;
    let mut walk = Walk::default();
    for directory in KEYMAPS {
        for (path, kind) in below(&GuestPath::parse(directory)?, stage, &mut walk)? {
            let rest = path.file_name().unwrap_or_default().strip_prefix(keymap.as_bytes());
            let is_map = rest.is_some_and(|rest| [&b".map"[..], b".map.gz", b".map.xz", b".map.zst"].contains(&rest));
            is_known = is_known || (is_map && kind != FileType::Directory);
            place = place.or(Some(directory));
        }
    }
    if !is_known {
        return Err(missing(place.unwrap_or(KEYMAPS[0]), place.is_some()));
    }
    match guest.init {
        Init::Systemd => Ok((CONSOLE, "KEYMAP")),
        _ if is_there(OLD_KEYBOARD, stage)? => Ok((OLD_KEYBOARD, "KEYTABLE")),
        _ if is_there(CONSOLE, stage)? => Ok((CONSOLE, "KEYMAP")),
        _ => Err(InjectError::Locale(LocaleError::NoReader { what: "the keymap" })),
    }
}

#[cfg(test)]
mod tests;
