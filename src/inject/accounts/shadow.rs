//! When an account expires, and whether its password is locked: shadow(5).

use super::super::{InjectError, Outcome, table};
use super::database::{Database, Which};
use super::error::AccountError;
use crate::guest::accounts::PasswordPlace;
use imgraft_vfs::fs::Timestamp;

/// The fields of a line: the password, and the day after which the account is closed.
pub(super) const PASSWORD: usize = 1;
const EXPIRY: usize = 7;

/// When an account is closed; other than of its password, that holds for keys too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// On a day.
    On(Day),
    /// As soon as the guest starts.
    Now,
    /// Not at all.
    Never,
}

/// A day, in days since 1970-01-01; the first is 1, as shadow(5) warns of 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(u32);

impl Day {
    /// A day as `YYYY-MM-DD`; `None` for what is none, or is before 1970-01-02.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts[..] else { return None };
        let number = |digits: &str, length| {
            (digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| digits.parse::<u32>().ok())?
        };
        let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
        let is_leap = |year: u32| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let lengths = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let before = usize::try_from(month.checked_sub(1)?).ok()?;
        if day == 0 || day > *lengths.get(before)? {
            return None;
        }
        let years: u32 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
        let months: u32 = lengths.iter().take(before).sum();
        let days = years + months + day - 1;
        (year >= 1970 && days > 0).then_some(Self(days))
    }
}

/// The day on which a password is set, as a field: nothing on the day 0, which would have another asked for.
pub(in crate::inject) fn today(now: Timestamp) -> String {
    let day = now.seconds / 86_400;
    if day > 0 { day.to_string() } else { String::new() }
}

impl Expiry {
    pub(super) fn set(self, user: &str, database: &mut Database) -> Result<(), InjectError> {
        let field = match self {
            Self::On(Day(day)) => day.to_string(),
            // The day that usermod(8) names for it.
            Self::Now => "1".to_owned(),
            Self::Never => String::new(),
        };
        database.user(user)?;
        database
            .replace_shadow(user, EXPIRY, |old| Ok((old != field.as_bytes()).then(|| field.as_bytes().to_vec().into())))
    }
}

/// Whether an account is closed by now, by the fields of its line of shadow(5).
pub(in crate::inject) fn has_expired(fields: &[&[u8]], now: Timestamp) -> bool {
    fields.get(EXPIRY).is_some_and(|field| is_past(field, now.seconds / 86_400))
}

fn is_past(field: &[u8], today: i64) -> bool {
    std::str::from_utf8(field)
        .ok()
        .and_then(|day| day.parse::<i64>().ok())
        .is_some_and(|day| (0..=today).contains(&day))
}

/// Takes the lock off a user's password; `today` is in days since 1970-01-01.
pub(super) fn unlock(
    user: &str,
    today: i64,
    database: &mut Database,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    if database.user(user)?.password == PasswordPlace::Passwd {
        return Err(InjectError::PasswordInPasswd { user: user.to_owned() });
    }
    let mut has_none = false;
    database.replace_shadow(user, PASSWORD, |old| {
        let bare = &old[old.iter().take_while(|byte| **byte == b'!').count()..];
        if bare.is_empty() && !old.is_empty() {
            return Err(AccountError::NothingToUnlock { user: user.to_owned() }.into());
        }
        has_none |= bare.starts_with(b"*");
        Ok((bare != old).then(|| bare.to_vec().into()))
    })?;
    if has_none {
        outcome
            .notes
            .push(format!("no password of '{user}' is valid, locked or not; --password {user}:SELECTOR sets one"));
    }
    if database.shadow_field(user, EXPIRY).is_some_and(|field| is_past(field, today)) {
        outcome.notes.push(format!("the account of '{user}' has expired all the same; --expire {user}:never opens it"));
    }
    Ok(())
}

/// Locks a user's password, as `passwd -l` does.
pub(super) fn lock(user: &str, database: &mut Database, outcome: &mut Outcome) -> Result<(), InjectError> {
    if database.user(user)?.password == PasswordPlace::Passwd {
        let fields = database.text(Which::Passwd).and_then(|passwd| table::fields(passwd, user.as_bytes()));
        let field = fields.and_then(|fields| fields.get(PASSWORD).copied()).unwrap_or_default();
        return match field.first() {
            Some(b'!' | b'*') => Ok(()),
            _ => Err(InjectError::PasswordInPasswd { user: user.to_owned() }),
        };
    }
    let mut is_new = false;
    database.replace_shadow(user, PASSWORD, |old| {
        let is_open = !old.starts_with(b"!");
        is_new |= is_open;
        Ok(is_open.then(|| [b"!", old].concat().into()))
    })?;
    if is_new {
        outcome.notes.push(format!("locked the password that '{user}' had"));
    }
    Ok(())
}

/// Takes the lock off a user's password where there is one behind it, and says it where there is none.
pub(super) fn open(user: &str, database: &mut Database, outcome: &mut Outcome) -> Result<(), InjectError> {
    if database.user(user)?.password == PasswordPlace::Passwd || database.shadow_field(user, PASSWORD).is_none() {
        return Ok(());
    }
    let (mut is_new, mut has_none) = (false, false);
    database.replace_shadow(user, PASSWORD, |old| {
        let bare = &old[old.iter().take_while(|byte| **byte == b'!').count()..];
        has_none |= bare.is_empty();
        let is_locked = bare != old && !bare.is_empty();
        is_new |= is_locked;
        Ok(is_locked.then(|| bare.to_vec().into()))
    })?;
    if is_new {
        outcome.notes.push(format!("took the lock off the password that '{user}' had"));
    } else if has_none {
        outcome
            .notes
            .push(format!("'{user}' has no password that could be unlocked; --password {user}:SELECTOR sets one"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{guest, nothing};
    use super::*;
    use crate::inject::Accounts;
    use crate::inject::testing::*;
    use imgraft_vfs::fs::mem::{Builder, MemFs};

    fn with(shadow: &str) -> Builder {
        let passwd = "root:x:0:0::/:\nann:x:1000:1000::/:\nold:$1$a$b:7:7::/:\n";
        MemFs::builder().file("/etc/passwd", passwd).file("/etc/group", "").file("/etc/shadow", shadow)
    }

    fn expire(expiry: Expiry) -> Accounts {
        Accounts { expiries: vec![("ann".into(), expiry)], ..nothing() }
    }

    fn unlock(user: &str) -> Accounts {
        Accounts { unlocked: vec![user.into()], ..nothing() }
    }

    #[test]
    fn days() {
        for (text, day) in [
            ("1970-01-02", 1),
            ("1970-12-31", 364),
            ("1972-03-01", 790),
            ("2000-02-29", 11016),
            ("2024-12-31", 20088),
            ("2030-02-03", 21948),
            ("2100-03-01", 47541),
            ("9999-12-31", 2_932_896),
        ] {
            assert_eq!(Day::parse(text), Some(Day(day)), "{text}");
        }
        for bad in [
            "",
            "1970-01-01",
            "1969-12-31",
            "0000-01-01",
            "2023-02-29",
            "2100-02-29",
            "2024-00-10",
            "2024-13-01",
            "2024-04-31",
            "2024-01-00",
            "24-01-01",
            "2024-1-01",
            "2024-01-1",
            "2024-01-01-",
            "+024-01-01",
            "20240101",
            "19675",
        ] {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_day_of_expiry() {
        for (before, expiry, after) in [
            ("ann:!:1::::::\n", Expiry::On(Day(21948)), "ann:!:1:::::21948:\n"),
            ("ann:!:1:0:9:7::5:\nroot:*\n", Expiry::Now, "ann:!:1:0:9:7::1:\nroot:*\n"),
            ("ann:!:1:0:9:7::5:\n", Expiry::Never, "ann:!:1:0:9:7:::\n"),
            ("ann:!:1\n", Expiry::Now, "ann:!:1:::::1\n"),
        ] {
            let fs = inject(&expire(expiry), with(before).build().unwrap());
            assert_eq!(text(&fs, "/etc/shadow"), after);
            assert_unchanged(&expire(expiry), &fs);
        }
        assert_unchanged(&expire(Expiry::Never), &with("ann:!:1\n").build().unwrap());
        let why = |tree: Builder| refusal(&expire(Expiry::Now), tree.build().unwrap());
        assert!(why(with("root:*:\n")).starts_with("no entry for 'ann' in the guest's shadow"));
        assert!(
            why(MemFs::builder().file("/etc/passwd", "root:x:0:0::/:\n").file("/etc/group", ""))
                .contains("no user 'ann'")
        );
        let bare = MemFs::builder().file("/etc/passwd", "ann:x:1:1::/:\n").file("/etc/group", "");
        assert!(why(bare).starts_with("no /etc/shadow in the guest"));
    }

    #[test]
    fn a_lock() {
        let lock = |user: &str| Accounts { locked: vec![user.into()], ..nothing() };
        for (before, after) in [("$6$a$b", "!$6$a$b"), ("*", "!*"), ("", "!"), ("!x", "!x"), ("!!", "!!")] {
            let tree = with(&format!("ann:{before}:1::::::\nroot:x:\n")).build().unwrap();
            assert_eq!(notes(&lock("ann"), &tree).contains("locked the password"), before != after, "{before}");
            let fs = inject(&lock("ann"), tree);
            assert_eq!(text(&fs, "/etc/shadow"), format!("ann:{after}:1::::::\nroot:x:\n"));
            assert_unchanged(&lock("ann"), &fs);
        }
        assert!(refusal(&lock("old"), with("").build().unwrap()).starts_with("the guest does not look into shadow"));
        assert!(refusal(&lock("bob"), guest().build().unwrap()).contains("no user 'bob'"));
        // Without a shadow, one who cannot log in by a password is locked already.
        let bare = MemFs::builder().file("/etc/passwd", "ann:!:1:1::/:\n").file("/etc/group", "").build().unwrap();
        assert_unchanged(&lock("ann"), &bare);
    }

    #[test]
    fn a_lock_with_a_password_behind_it_is_taken_off() {
        let open = |user: &str| Accounts { opened: vec![user.into()], ..nothing() };
        let (took, none) = ("took the lock off the password that 'ann' had", "'ann' has no password that could be");
        for (before, after, said) in [
            ("!$6$a$b", "$6$a$b", took),
            ("!!$6$a$b", "$6$a$b", took),
            ("!*", "*", took),
            ("$6$a$b", "$6$a$b", ""),
            ("*", "*", ""),
            ("!", "!", none),
            ("!!", "!!", none),
            ("", "", none),
        ] {
            let tree = with(&format!("ann:{before}:1::::::\nroot:!x:\n")).build().unwrap();
            let noted = notes(&open("ann"), &tree);
            assert!(noted.starts_with(said) && noted.is_empty() == said.is_empty(), "{before}: {noted}");
            let fs = inject(&open("ann"), tree);
            assert_eq!(text(&fs, "/etc/shadow"), format!("ann:{after}:1::::::\nroot:!x:\n"));
            assert_unchanged(&open("ann"), &fs);
        }
        for fs in [with("root:!x:\n"), with("ann\n")] {
            assert_unchanged(&open("ann"), &fs.build().unwrap());
        }
        assert_unchanged(&open("old"), &with("old:!x:\n").build().unwrap());
        assert!(refusal(&open("bob"), guest().build().unwrap()).contains("no user 'bob'"));
    }

    #[test]
    fn the_lock_is_taken_off() {
        let after = |field: &str| {
            let fs = inject(&unlock("ann"), with(&format!("ann:{field}:1::::::\nroot:!x:\n")).build().unwrap());
            assert_unchanged(&unlock("ann"), &fs);
            let shadow = text(&fs, "/etc/shadow");
            shadow.strip_suffix(":1::::::\nroot:!x:\n").unwrap().strip_prefix("ann:").unwrap().to_owned()
        };
        assert_eq!(
            (after("!$6$a$b"), after("!!$6$a$b"), after("$6$a$b")),
            ("$6$a$b".into(), "$6$a$b".into(), "$6$a$b".into())
        );
        assert_eq!((after("!*"), after("")), ("*".into(), String::new()));
        let why = |user, shadow| refusal(&unlock(user), with(shadow).build().unwrap());
        for shadow in ["ann:!:1:\n", "ann:!!:1:\n", "ann:!x:\nann:!:\n"] {
            let said = why("ann", shadow);
            assert!(said.starts_with("'ann' has no password that could be unlocked (--password ann:"), "{said}");
        }
        assert!(why("old", "old:!x:\n").starts_with("the guest does not look into shadow for 'old'"));
        assert!(refusal(&unlock("bob"), guest().build().unwrap()).contains("no user 'bob'"));
        let said = |shadow: &str| notes(&unlock("ann"), &with(shadow).build().unwrap());
        assert!(said("ann:!*:1::::::\n").contains("no password of 'ann' is valid"));
        assert!(said("ann:!x:1:::::19675:\n").contains("has expired all the same; --expire ann:never"));
        assert_eq!(said("ann:!x:1:::::19676:\n"), "");
    }
}
