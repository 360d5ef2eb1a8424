//! A guest's users and groups: passwd(5) and group(5), read leniently as bytes.

use super::Reader;
use imgraft_vfs::Result;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// The largest passwd, group or shadow that is read.
pub const LIMIT: u64 = 8 * 1024 * 1024;

/// Users and groups in the order of their files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// The users; `None` where the guest has no passwd file.
    pub users: Option<Vec<User>>,
    /// The groups; empty where the guest has no group file.
    pub groups: Vec<Group>,
}

/// A line of passwd(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, as bytes: it need not be UTF-8.
    pub name: Vec<u8>,
    /// Where its password is kept.
    pub password: PasswordPlace,
    /// The user number.
    pub uid: u32,
    /// The number of its first group.
    pub gid: u32,
    /// The home directory, not yet known to be a path.
    pub home: Vec<u8>,
    /// The shell; empty means `/bin/sh`.
    pub shell: Vec<u8>,
}

/// What the second field of a passwd line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordPlace {
    /// `x`: in shadow(5).
    Shadow,
    /// Anything else: in the field itself, and shadow is not consulted.
    Passwd,
}

/// A line of group(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name.
    pub name: Vec<u8>,
    /// The group number.
    pub gid: u32,
}

impl Accounts {
    pub(super) fn inspect(reader: &Reader<'_>) -> Result<Self> {
        Ok(Self {
            users: reader.file("/etc/passwd", LIMIT)?.map(|text| parse_passwd(&text)),
            groups: reader.file("/etc/group", LIMIT)?.map(|text| parse_group(&text)).unwrap_or_default(),
        })
    }

    /// Those of a guest with the changes on a stage.
    pub fn staged(stage: &Stage<'_>) -> Result<Self> {
        let read = |path: &str| stage.read(&GuestPath::parse(path)?, LIMIT);
        Ok(Self {
            users: read("/etc/passwd")?.map(|text| parse_passwd(&text)),
            groups: read("/etc/group")?.map(|text| parse_group(&text)).unwrap_or_default(),
        })
    }

    /// The first user of this name, as getpwnam(3) finds it.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().flatten().find(|user| user.name == name.as_bytes())
    }

    /// The first group of this name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name.as_bytes())
    }

    /// The names of those who can be meant: root and the people, 20 at most.
    pub fn people(&self) -> Vec<String> {
        let people = self.users.iter().flatten().filter(|user| user.is_person());
        people.take(20).map(|user| user.name.escape_ascii().to_string()).collect()
    }
}

impl User {
    /// Whether it is root or in the range that distributions give to people.
    pub fn is_person(&self) -> bool {
        self.uid == 0 || (1000..60_000).contains(&self.uid)
    }

    /// Whether its shell lets nobody in.
    pub fn has_no_login(&self) -> bool {
        let name = self.shell.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        matches!(name, b"nologin" | b"false")
    }
}

/// The lines of passwd(5) that getpwent(3) would give: a name, and numbers that are numbers.
pub fn parse_passwd(text: &[u8]) -> Vec<User> {
    lines(text)
        .filter_map(|fields| match fields[..] {
            [name, password, uid, gid, _, home, shell] if is_name(name) => Some(User {
                name: name.to_vec(),
                password: if password == b"x" { PasswordPlace::Shadow } else { PasswordPlace::Passwd },
                uid: number(uid)?,
                gid: number(gid)?,
                home: home.to_vec(),
                shell: shell.to_vec(),
            }),
            _ => None,
        })
        .collect()
}

/// The lines of group(5) that getgrent(3) would give.
pub fn parse_group(text: &[u8]) -> Vec<Group> {
    lines(text)
        .filter_map(|fields| match fields[..] {
            [name, _, gid, ..] if is_name(name) => Some(Group { name: name.to_vec(), gid: number(gid)? }),
            _ => None,
        })
        .collect()
}

fn lines(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    // Eight fields are one more than any line has: a line of colons does not become a vector of millions.
    text.split(|byte| *byte == b'\n').map(|line| line.splitn(8, |byte| *byte == b':').collect())
}

/// Lines that begin with `+` or `-` are directives of nsswitch's compat, `#` is a comment to glibc.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && !matches!(name[0], b'+' | b'-' | b'#') && !name.contains(&0)
}

/// A decimal number below 2³²−1, which chown(2) takes for "keep".
pub fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number != u32::MAX).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwd_of_a_distribution() {
        let users = parse_passwd(
            b"root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\nann::1000:100:A,B:/home/ann:/bin/sh",
        );
        assert_eq!(users.len(), 3);
        assert_eq!((users[2].uid, users[2].gid, &users[2].home[..]), (1000, 100, &b"/home/ann"[..]));
        assert_eq!(users[2].password, PasswordPlace::Passwd);
        assert!(users[1].has_no_login() && !users[1].is_person());
    }

    #[test]
    fn passwd_of_an_enemy() {
        let text = b"\n:x:0:0:::\n+::::::\n-a:x:1:1:::\nb\nc:x:-1:0:::\nd:x:4294967295:0:::\ne:x:99999999999:0:::\nf:x:0x1:0:::\n\xff\xfe:x:5:6::\xff:\0\ng:x:1:1:a:b:c:d\n#h:x:1:1:::\r";
        let users = parse_passwd(text);
        assert_eq!(users.len(), 1);
        assert_eq!(users[0].name, b"\xff\xfe");
        assert!(parse_passwd(&[b':'; 1 << 20]).is_empty());
    }

    #[test]
    fn the_first_of_equal_names_counts() {
        let accounts = Accounts {
            users: Some(parse_passwd(b"a:x:1:1::/1:\na:x:2:2::/2:\n")),
            groups: parse_group(b"g:x:7:\ng:x:8:a\nbad:x:y:\n"),
        };
        assert_eq!(accounts.user("a").unwrap().uid, 1);
        assert_eq!(accounts.group("g").unwrap().gid, 7);
        assert!(accounts.group("bad").is_none());
    }
}
