//! A guest's time zone: localtime(5).

use super::cloud_config::{self, Unsaid};
use super::files::below::there;
use super::{InjectError, Injector, Item, Outcome, READ_LIMIT, ROOT_FILE, label};
use crate::guest::Guest;
use imgraft_vfs::fs::{Content, FileType};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::stage::Stage;

/// Where the zones are.
const ZONES: &str = "/usr/share/zoneinfo";
const LOCALTIME: &str = "/etc/localtime";
/// Debian's name of the zone; newer guests go by the link alone.
const NAME: &str = "/etc/timezone";
/// The same of Red Hat's guests before systemd.
const CLOCK: &str = "/etc/sysconfig/clock";

/// The name of a zone: `Europe/Berlin`, `UTC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(String);

impl Zone {
    /// The name; `None` for what no zone of the time zone database is called.
    pub fn parse(text: &str) -> Option<Self> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-'))
        };
        text.split('/').all(is_part).then(|| Self(text.to_owned()))
    }

    /// The name as it was given.
    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

/// The time zone of a guest.
#[derive(Clone, Debug)]
pub struct Timezone {
    /// The zone.
    pub zone: Zone,
}

impl Injector for Timezone {
    fn item(&self) -> Item {
        Item::Timezone
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        let before = stage.savepoint();
        let mut outcome = Outcome::default();
        let zone = &self.zone.0;
        if !is_zone(&GuestPath::parse(format!("{ZONES}/{zone}"))?, stage)? {
            let has_zones = stage.metadata(&GuestPath::parse(ZONES)?)?.is_some();
            return Err(InjectError::NoSuchZone { zone: zone.clone(), has_zones });
        }
        let localtime = GuestPath::parse(LOCALTIME)?;
        let at = stage.resolve(&GuestPath::parse(ZONES)?)?;
        if stage.symlink_metadata(&localtime)?.is_some_and(|metadata| metadata.file_type == FileType::Regular) {
            // A copy of a zone, as older installers made it.
            stage.remove(&localtime)?;
        }
        stage.symlink(&localtime, format!("..{ZONES}/{zone}").as_bytes(), ROOT_FILE)?;
        if there(stage.metadata(&localtime))? != Some(FileType::Regular) {
            // Debian has such a one, of the same name.
            return Err(InjectError::ZoneIsLocaltime { zone: zone.clone() });
        }
        let name = GuestPath::parse(NAME)?;
        if stage.metadata(&name)?.is_some() {
            if is_below(&stage.resolve(&name)?, &at) {
                // A link to localtime or to a zone: a name there would be written over the zone.
                stage.remove(&name)?;
            }
            stage.write(&name, Content::bytes(format!("{zone}\n").into_bytes()), ROOT_FILE)?;
        }
        self.clock(stage)?;
        cloud_config::keep_setting("timezone", zone, Unsaid::Left, stage, &mut outcome)?;
        label::label_new(guest, stage, &before, &mut outcome)?;
        Ok(outcome)
    }
}

fn is_below(path: &Resolved, directory: &Resolved) -> bool {
    path.as_bytes().strip_prefix(directory.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
}

/// Whether a file is one of the time zone database: there are texts beside those (tzfile(5)).
fn is_zone(path: &GuestPath, stage: &Stage<'_>) -> Result<bool, InjectError> {
    if stage.metadata(path)?.is_none_or(|metadata| metadata.file_type != FileType::Regular) {
        return Ok(false);
    }
    Ok(stage.read(path, READ_LIMIT)?.is_some_and(|zone| zone.starts_with(b"TZif")))
}

impl Timezone {
    fn clock(&self, stage: &mut Stage<'_>) -> Result<(), InjectError> {
        let path = GuestPath::parse(CLOCK)?;
        let Some(text) = stage.read(&path, READ_LIMIT)? else { return Ok(()) };
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        // Red Hat's, and SUSE's.
        let keys = ["ZONE=", "TIMEZONE="];
        let key = |line: &[u8]| keys.into_iter().find(|key| line.starts_with(key.as_bytes()));
        if !lines.iter().any(|line| key(line).is_some()) {
            return Ok(());
        }
        let ours = |key: &str| format!("{key}\"{}\"\n", self.zone.0).into_bytes();
        let changed: Vec<Vec<u8>> =
            lines.into_iter().map(|line| key(line).map_or_else(|| line.to_vec(), ours)).collect();
        Ok(stage.write(&path, Content::bytes(changed.concat()), ROOT_FILE)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::testing::{assert_unchanged, bytes, exists, inject, phony, refusal, text};
    use imgraft_vfs::fs::Lookup;
    use imgraft_vfs::fs::mem::{Builder, MemFs};
    use imgraft_vfs::resolve::{Follow, resolve};

    fn timezone(zone: &str) -> Timezone {
        Timezone { zone: Zone::parse(zone).unwrap() }
    }

    fn guest() -> Builder {
        phony().file("/usr/share/zoneinfo/Europe/Berlin", "TZif berlin").file("/usr/share/zoneinfo/UTC", "TZif utc")
    }

    fn target(fs: &MemFs) -> String {
        let at = resolve(fs, &GuestPath::parse(LOCALTIME).unwrap(), Follow::ExcludeLast).unwrap();
        let target = fs.read_link(&at).unwrap();
        String::from_utf8(target).unwrap()
    }

    #[test]
    fn names_of_zones() {
        for good in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "GMT-0", "Asia/Ust-Nera"] {
            assert!(Zone::parse(good).is_some(), "{good}");
        }
        for bad in ["", "/UTC", "UTC/", "a//b", "../passwd", "./UTC", "Europe/Ber lin", "UTC\n", "zone.tab"] {
            assert!(Zone::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_link_and_what_old_guests_read() {
        let fs = inject(&timezone("Europe/Berlin"), guest().build().unwrap());
        assert_eq!(target(&fs), "../usr/share/zoneinfo/Europe/Berlin");
        assert_eq!(bytes(&fs, "/etc/localtime"), b"TZif berlin");
        assert!(!exists(&fs, "/etc/timezone"));
        assert_unchanged(&timezone("Europe/Berlin"), &fs);

        let old = guest()
            .file("/etc/localtime", "TZif utc")
            .file("/etc/timezone", "Etc/UTC\n")
            .file("/etc/sysconfig/clock", "ZONE=\"Etc/UTC\"\nUTC=true\n");
        let fs = inject(&timezone("Europe/Berlin"), old.build().unwrap());
        assert_eq!(target(&fs), "../usr/share/zoneinfo/Europe/Berlin");
        assert_eq!(text(&fs, "/etc/timezone"), "Europe/Berlin\n");
        assert_eq!(text(&fs, "/etc/sysconfig/clock"), "ZONE=\"Europe/Berlin\"\nUTC=true\n");
        assert_unchanged(&timezone("Europe/Berlin"), &fs);
        let suse = "DEFAULT_TIMEZONE=\"Etc/UTC\"\nTIMEZONE=\"\"\nHWCLOCK=\"-u\"";
        let fs = inject(&timezone("Europe/Berlin"), guest().file("/etc/sysconfig/clock", suse).build().unwrap());
        let clock = "DEFAULT_TIMEZONE=\"Etc/UTC\"\nTIMEZONE=\"Europe/Berlin\"\nHWCLOCK=\"-u\"";
        assert_eq!(text(&fs, "/etc/sysconfig/clock"), clock);
        assert_unchanged(&timezone("Europe/Berlin"), &fs);

        let linked = guest().symlink("/etc/localtime", "/usr/share/zoneinfo/UTC");
        assert_eq!(
            target(&inject(&timezone("Europe/Berlin"), linked.build().unwrap())),
            "../usr/share/zoneinfo/Europe/Berlin"
        );
    }

    /// Debian's zone of this name is a link to what would be a link to it.
    #[test]
    fn a_zone_that_is_localtime_itself() {
        for link in ["/etc/localtime", "../../../etc/localtime"] {
            let guest = guest().symlink("/usr/share/zoneinfo/localtime", link);
            let guest = guest.symlink("/etc/localtime", "/usr/share/zoneinfo/UTC").build().unwrap();
            let refused = refusal(&timezone("localtime"), guest);
            assert!(refused.starts_with("the guest's time zone localtime is a link to /etc/localtime"), "{refused}");
            assert!(refused.contains("Europe/Berlin"), "{refused}");
        }
    }

    /// A name that is written goes into no zone, whatever leads there.
    #[test]
    fn a_link_in_the_place_of_the_name() {
        for link in ["localtime", "/usr/share/zoneinfo/UTC", "../usr/share/zoneinfo/Europe/Berlin"] {
            let guest = guest().symlink("/etc/localtime", "../usr/share/zoneinfo/UTC").symlink("/etc/timezone", link);
            let fs = inject(&timezone("Europe/Berlin"), guest.build().unwrap());
            assert_eq!(text(&fs, "/etc/timezone"), "Europe/Berlin\n", "{link}");
            assert_eq!(bytes(&fs, "/usr/share/zoneinfo/Europe/Berlin"), b"TZif berlin", "{link}");
            assert_eq!(bytes(&fs, "/usr/share/zoneinfo/UTC"), b"TZif utc", "{link}");
            assert_unchanged(&timezone("Europe/Berlin"), &fs);
        }
        let elsewhere = guest().file("/etc/TZ", "UTC\n").symlink("/etc/timezone", "TZ").build().unwrap();
        let fs = inject(&timezone("Europe/Berlin"), elsewhere);
        assert_eq!(text(&fs, "/etc/TZ"), "Europe/Berlin\n");
    }

    #[test]
    fn a_zone_that_the_guest_does_not_have() {
        let refused = refusal(&timezone("Europe/Bonn"), guest().build().unwrap());
        assert_eq!(
            refused,
            "the guest has no time zone Europe/Bonn (`imgraft ls IMAGE /usr/share/zoneinfo` lists what it has)"
        );
        assert!(refusal(&timezone("Europe"), guest().build().unwrap()).contains("no time zone"), "a directory");
        let text = guest().file("/usr/share/zoneinfo/leapseconds", "# leap seconds\n");
        assert!(refusal(&timezone("leapseconds"), text.build().unwrap()).contains("no time zone"), "a text");
        let refused = refusal(&timezone("UTC"), phony().build().unwrap());
        assert!(refused.contains("tzdata"), "{refused}");
    }
}
