//! Where a guest's sshd looks for the keys of a user: `AuthorizedKeysFile` of sshd_config(5).

use super::config::{Config, Setting};
use super::logins::{Groups, Login, Server, server};
use crate::guest::User;
use crate::inject::InjectError;
use crate::inject::files::below::there;
use imgraft_vfs::Result;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// The keyword.
pub(super) const KEYWORD: &str = "authorizedkeysfile";
/// The longest path that sshd takes (PATH_MAX of Linux).
const PATH_MAX: usize = 4096;
/// What it is where nothing says it, and the place that is taken where sshd looks there.
const DEFAULTS: [&str; 2] = [USUAL, ".ssh/authorized_keys2"];
const USUAL: &str = ".ssh/authorized_keys";

/// Where a user's keys are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::inject) enum Place {
    /// In the usual place below the user's home.
    Usual(GuestPath),
    /// In another one, with what of the configuration says it, a clause.
    Other(GuestPath, String),
    /// There is none that is the user's alone, for this reason, a clause.
    Missing(String),
}

/// Where a user's keys are to be, whoever connects from where. An error where not all of the configuration can be read.
pub(in crate::inject) fn place(login: Login<'_>, stage: &Stage<'_>) -> Result<Place, InjectError> {
    let usual = GuestPath::parse([login.home.as_bytes(), b"/", USUAL.as_bytes()].concat())?;
    if server(stage)? == Server::Other {
        return Ok(Place::Usual(usual));
    }
    let mut config = Config::read(&[KEYWORD, "authorizedkeyscommand"], Some(login), stage);
    if let Some(error) = config.unread.take() {
        return Err(error);
    }
    let Some(line) = config.in_force(KEYWORD, None).into_iter().next() else { return Ok(Place::Usual(usual)) };
    let said = line.said("AuthorizedKeysFile");
    let mut other = None;
    for pattern in &line.arguments {
        let Some(path) = file(pattern, login, &config, stage)? else { continue };
        if path == usual {
            return Ok(Place::Usual(usual));
        }
        // One that all users share would let its keys in as any of them.
        if other.is_none() && is_of_one(pattern) {
            other = Some(path);
        }
    }
    let command = config.in_force("authorizedkeyscommand", None).into_iter().find(|command| !command.is("none"));
    Ok(match (other, command) {
        (Some(path), _) => Place::Other(path, said),
        (None, Some(command)) => Place::Missing(format!("{said}, and {}", command.named("AuthorizedKeysCommand"))),
        (None, None) => Place::Missing(said),
    })
}

/// Whether a line has sshd look into a file.
pub(super) fn names(
    line: &Setting,
    wanted: &GuestPath,
    login: Login<'_>,
    config: &Config,
    stage: &Stage<'_>,
) -> Result<bool> {
    for pattern in &line.arguments {
        if file(pattern, login, config, stage)?.as_ref() == Some(wanted) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many users are asked after.
const USERS_MAX: usize = 64;

/// A file of keys that is there for one of these users, and in no home, with what of the configuration says so, a clause: the first one that
/// is found, as far as the configuration can be read.
pub(in crate::inject) fn elsewhere(
    users: &[User],
    stage: &Stage<'_>,
) -> Result<Option<(GuestPath, String)>, InjectError> {
    let config = Config::read(&[KEYWORD], None, stage);
    for line in &config.settings {
        for pattern in line.arguments.iter().filter(|pattern| pattern.starts_with(['/', '~'])) {
            for user in users.iter().filter(|user| user.is_person()).take(USERS_MAX) {
                let (Ok(name), Ok(home)) = (std::str::from_utf8(&user.name), GuestPath::parse(&user.home)) else {
                    continue;
                };
                let groups = Groups::default();
                let login = Login { user: name, uid: user.uid, groups: &groups, home: &home };
                let Some(path) = file(pattern, login, &config, stage)? else { continue };
                let names: Vec<_> = path.components().take(home.components().count()).collect();
                let is_in_home = home.components().eq(names);
                if !is_in_home && there(stage.metadata(&path))? == Some(FileType::Regular) {
                    return Ok(Some((path, line.said("AuthorizedKeysFile"))));
                }
            }
        }
    }
    Ok(None)
}

/// Whether sshd looks into a file where nothing is said.
pub(super) fn is_default(file: &GuestPath, login: Login<'_>) -> bool {
    let of_home = |name: &str| GuestPath::parse([login.home.as_bytes(), b"/", name.as_bytes()].concat());
    DEFAULTS.into_iter().any(|name| of_home(name).is_ok_and(|path| path == *file))
}

/// The file that a pattern means for a user (expand_authorized_keys of OpenSSH's auth.c); `None` where it means none.
fn file(pattern: &str, login: Login<'_>, config: &Config, stage: &Stage<'_>) -> Result<Option<GuestPath>> {
    if pattern.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let Some(pattern) = config.homes.expand(pattern, stage)? else { return Ok(None) };
    let mut path = Vec::new();
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        if path.len() > PATH_MAX {
            return Ok(None);
        }
        match char {
            '%' => match chars.next() {
                Some('%') => path.push(b'%'),
                Some('h') => path.extend_from_slice(login.home.as_bytes()),
                Some('u') => path.extend_from_slice(login.user.as_bytes()),
                Some('U') => path.extend_from_slice(login.uid.to_string().as_bytes()),
                _ => return Ok(None),
            },
            other => path.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    if !path.starts_with(b"/") {
        path = [login.home.as_bytes(), b"/", &path].concat();
    }
    Ok(GuestPath::parse(path).ok())
}

/// Whether a pattern means another file for each user.
fn is_of_one(pattern: &str) -> bool {
    let without = pattern.replace("%%", "");
    !pattern.starts_with(['/', '~']) || ["%h", "%u", "%U"].iter().any(|token| without.contains(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::testing::phony;

    /// Where ann's keys go.
    fn of_ann(config: &str) -> Place {
        let fs = phony().file("/etc/ssh/sshd_config", config).build().unwrap();
        let home = GuestPath::parse("/home/ann").unwrap();
        let groups = Groups::named(&["ann"]);
        place(Login { user: "ann", uid: 1000, groups: &groups, home: &home }, &Stage::new(&fs)).unwrap()
    }

    #[test]
    fn places() {
        for usual in [
            "",
            "AuthorizedKeysFile .ssh/authorized_keys .ssh/x",
            "AuthorizedKeysFile /etc/keys/%u %h/.ssh/authorized_keys",
            "AuthorizedKeysFile ~ann/.ssh/authorized_keys",
            "Match User bob\nAuthorizedKeysFile none",
            "AuthorizedKeysFile none\nMatch User ann\nAuthorizedKeysFile .ssh/authorized_keys",
            "Match Address 192.0.2.1\nAuthorizedKeysFile none",
        ] {
            let Place::Usual(path) = of_ann(usual) else { panic!("{usual}") };
            assert_eq!(path.as_bytes(), b"/home/ann/.ssh/authorized_keys");
        }
        for (pattern, expected) in [
            ("/etc/ssh/keys/%u", "/etc/ssh/keys/ann"),
            ("none /etc/all /k/%U/%%h", "/k/1000/%h"),
            (".keys/ours", "/home/ann/.keys/ours"),
            ("x%h", "/home/ann/x/home/ann"),
            ("%h/.k /etc/%u", "/home/ann/.k"),
        ] {
            let Place::Other(path, said) = of_ann(&format!("AuthorizedKeysFile {pattern}")) else {
                panic!("{pattern}")
            };
            assert_eq!(path.as_bytes(), expected.as_bytes());
            assert_eq!(said, format!("/etc/ssh/sshd_config says AuthorizedKeysFile {pattern}"));
        }
        let many = |word: &str| format!("AuthorizedKeysFile{}\n", word.repeat(1024));
        assert!(matches!(of_ann(&many(" ~ann")), Place::Missing(_)));
        let Place::Missing(long) = of_ann(&format!("AuthorizedKeysFile {}\n", "%h".repeat(1_000_000))) else {
            panic!()
        };
        assert_eq!(long, format!("/etc/ssh/sshd_config says AuthorizedKeysFile {}…", "%h".repeat(100)));
        for pattern in ["none", "/etc/keys", "/etc/%%u", "~/.ssh/authorized_keys", "%x/%u"] {
            assert!(matches!(of_ann(&format!("AuthorizedKeysFile {pattern}")), Place::Missing(_)), "{pattern}");
        }
        let Place::Missing(said) = of_ann("AuthorizedKeysFile none\nAuthorizedKeysCommand /bin/k %u\n") else {
            panic!()
        };
        assert!(said.ends_with("AuthorizedKeysFile none, and /etc/ssh/sshd_config says AuthorizedKeysCommand /bin/k"));
    }
}
