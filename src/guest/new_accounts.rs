//! What a guest gives to new users and groups: login.defs(5) and useradd(8)'s `/etc/default/useradd`.

use super::Reader;
use super::login_defs;
use imgraft_vfs::Result;
use std::ops::RangeInclusive;

const DEFAULTS: [&str; 2] = ["/etc/default/useradd", "/usr/etc/default/useradd"];
const LIMIT: u64 = 1024 * 1024;

/// What new users and groups get. Where the guest says nothing it is what shadow-utils have built in, but for the group: built in is that of
/// number 100 for everybody, which distributions do not leave so and a guest may not have; here each user gets a group of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAccounts {
    /// Where user numbers are taken from.
    pub uids: Numbers,
    /// Where group numbers are taken from.
    pub gids: Numbers,
    /// Where ranges of subordinate user numbers are taken from.
    pub subuids: Subordinate,
    /// Where ranges of subordinate group numbers are taken from.
    pub subgids: Subordinate,
    /// The group that all users share, by name or number; `None` where each has a group of its own.
    pub shared_group: Option<String>,
    /// The directory of the home directories.
    pub homes: String,
    /// The permission bits of a home directory.
    pub home_mode: u16,
    /// The directories whose files every home directory begins with, those of the first one before those of the second (useradd's `SKEL`, and from
    /// shadow 4.14 on `USRSKEL`).
    pub skeletons: [String; 2],
    /// The shell, where the guest names one.
    pub shell: Option<String>,
    /// The fields 4 to 8 of a person's line of shadow(5): ages in days, inactivity, expiry.
    pub ages: [Option<i64>; 5],
    /// The directory that gets a mailbox for each person.
    pub mailboxes: Option<String>,
}

/// The numbers that are given away by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// To people and their groups, upwards.
    pub people: RangeInclusive<u32>,
    /// To services, downwards.
    pub system: RangeInclusive<u32>,
}

/// Where the ranges of subordinate numbers lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subordinate {
    /// All of them.
    pub within: RangeInclusive<u32>,
    /// How many a user gets; with 0 nobody gets any.
    pub count: u32,
}

impl NewAccounts {
    pub(super) fn inspect(reader: &Reader<'_>) -> Result<Self> {
        let login = login_defs::text(reader)?;
        let mut useradd = None;
        for path in DEFAULTS {
            if useradd.is_none() {
                useradd = reader.file_lenient(path, LIMIT)?;
            }
        }
        Ok(Self::new(login.as_deref(), useradd.as_deref()))
    }

    fn new(login: Option<&[u8]>, useradd: Option<&[u8]>) -> Self {
        let login = |key: &str| login_defs::value(login.unwrap_or_default(), key);
        let number = |key: &str, usual: u32| login(key).and_then(|value| c_number(&value)).unwrap_or(usual);
        let days = |key: &str| login(key).and_then(|value| value.parse::<i64>().ok()).filter(|days| *days >= 0);
        let useradd_text = String::from_utf8_lossy(useradd.unwrap_or_default());
        let useradd = |key: &str| {
            let mut values = useradd_text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            values.next_back().map(|value| value.trim().trim_matches('"').to_owned()).filter(|value| !value.is_empty())
        };
        let path = |key: &str, usual: &str| {
            useradd(key).filter(|path| path.starts_with('/') && !path.contains(':')).unwrap_or_else(|| usual.to_owned())
        };
        let numbers = |kind: &str| {
            let least = number(&format!("{kind}_MIN"), 1000);
            // Root is nobody's choice, whatever a file says.
            let system = number(&format!("SYS_{kind}_MIN"), 101).max(1);
            Numbers {
                people: least.max(1)..=number(&format!("{kind}_MAX"), 60_000),
                system: system..=number(&format!("SYS_{kind}_MAX"), least.saturating_sub(1)),
            }
        };
        let subordinate = |kind: &str| Subordinate {
            within: number(&format!("SUB_{kind}_MIN"), 100_000)..=number(&format!("SUB_{kind}_MAX"), 600_100_000),
            count: number(&format!("SUB_{kind}_COUNT"), 65_536),
        };
        // Without a group that is named for all, a user has one of its own where nothing is said of that, and else Debian's useradd has 100.
        let shared_group = match login("USERGROUPS_ENAB") {
            Some(value) if value.eq_ignore_ascii_case("yes") => None,
            Some(_) => useradd("GROUP").or_else(|| Some("100".to_owned())),
            None => useradd("GROUP"),
        };
        let has_mailboxes = useradd("CREATE_MAIL_SPOOL").is_some_and(|value| value.eq_ignore_ascii_case("yes"));
        let mailboxes = match (login("MAIL_DIR"), login("MAIL_FILE")) {
            (None, Some(_)) => None,
            (directory, _) => Some(directory.unwrap_or_else(|| "/var/mail".to_owned())),
        };
        Self {
            uids: numbers("UID"),
            gids: numbers("GID"),
            subuids: subordinate("UID"),
            subgids: subordinate("GID"),
            shared_group,
            homes: path("HOME", "/home"),
            home_mode: mode(number("HOME_MODE", 0o777 & !number("UMASK", 0o22))),
            skeletons: [path("SKEL", "/etc/skel"), path("USRSKEL", "/usr/etc/skel")],
            shell: useradd("SHELL").filter(|shell| shell.starts_with('/') && !shell.contains(':')),
            ages: [
                days("PASS_MIN_DAYS"),
                days("PASS_MAX_DAYS"),
                days("PASS_WARN_AGE"),
                useradd("INACTIVE").and_then(|value| value.parse().ok()).filter(|days| *days >= 0),
                useradd("EXPIRE").and_then(|value| value.parse().ok()).filter(|day| *day >= 0),
            ],
            mailboxes: mailboxes.filter(|directory| has_mailboxes && directory.starts_with('/')),
        }
    }
}

fn mode(number: u32) -> u16 {
    u16::try_from(number & 0o7777).unwrap_or(0o700)
}

/// A number as strtoul(3) takes it with the base 0, which login.defs(5) has.
fn c_number(text: &str) -> Option<u32> {
    let lower = text.trim_matches('"').to_ascii_lowercase();
    let (digits, base) = match (lower.strip_prefix("0x"), lower.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (&*lower, 10),
    };
    u32::from_str_radix(digits, base).ok().filter(|number| *number != u32::MAX && !digits.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in() {
        let new = NewAccounts::new(None, None);
        assert_eq!((new.uids.people.clone(), new.uids.system.clone()), (1000..=60_000, 101..=999));
        assert_eq!(new.gids, new.uids);
        assert_eq!(new.subuids, Subordinate { within: 100_000..=600_100_000, count: 65_536 });
        assert_eq!((new.home_mode, &*new.homes), (0o755, "/home"));
        assert_eq!(new.skeletons, ["/etc/skel", "/usr/etc/skel"]);
        assert_eq!((new.shared_group, new.shell, new.mailboxes, new.ages), (None, None, None, [None; 5]));
    }

    #[test]
    fn what_the_guest_says() {
        let login = "# UID_MIN 7\nUID_MIN 500\nUID_MIN\t2000\nUID_MAX 0x10000\nSYS_GID_MIN 0\nGID_MIN x\nHOME_MODE 0700\nUMASK 027\n\
                     USERGROUPS_ENAB no\nPASS_MAX_DAYS 99999\nPASS_MIN_DAYS -1\nMAIL_DIR \"/var/spool/mail\"\nSUB_UID_COUNT 0\n";
        let useradd = "#SHELL=/bin/no\nSHELL=/bin/zsh\nGROUP=100\nHOME=srv\nSKEL=/usr/etc/skel\nINACTIVE=-1\nEXPIRE=\nCREATE_MAIL_SPOOL=yes\n";
        let new = NewAccounts::new(Some(login.as_bytes()), Some(useradd.as_bytes()));
        assert_eq!((new.uids.people, new.uids.system), (2000..=65_536, 101..=1999));
        assert_eq!((new.gids.people, new.gids.system), (1000..=60_000, 1..=999));
        assert_eq!(
            (new.home_mode, &*new.homes, &*new.skeletons[0], new.subuids.count),
            (0o700, "/home", "/usr/etc/skel", 0)
        );
        assert_eq!(new.shared_group.as_deref(), Some("100"));
        assert_eq!((new.shell.as_deref(), new.mailboxes.as_deref()), (Some("/bin/zsh"), Some("/var/spool/mail")));
        assert_eq!(new.ages, [None, Some(99_999), None, None, None]);
        let own = NewAccounts::new(Some(b"USERGROUPS_ENAB YES\nUMASK 077\n"), Some(useradd.as_bytes()));
        assert_eq!((own.shared_group, own.home_mode), (None, 0o700));
        let shared = |login: &str| NewAccounts::new(Some(login.as_bytes()), None).shared_group;
        assert_eq!((shared("USERGROUPS_ENAB no\n").as_deref(), shared("UMASK 022\n")), (Some("100"), None));
    }

    #[test]
    fn numbers_of_an_enemy() {
        for bad in ["", "-1", "+1", "0x", "08", "4294967295", "99999999999", "1 2", "\u{661}"] {
            assert_eq!(c_number(bad), None, "{bad}");
        }
        assert_eq!((c_number("0"), c_number("022"), c_number("0X1f")), (Some(0), Some(18), Some(31)));
    }
}
