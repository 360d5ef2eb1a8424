//! Whether a guest's sshd lets a user log in by a key: what sshd_config(5) says for every connection, and the lock of shadow(5).

use super::{main, values};
use crate::guest::host_keys;
use crate::inject::{InjectError, table};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use zeroize::Zeroizing;

/// The largest group or shadow that is read.
const LIMIT: u64 = crate::guest::accounts::LIMIT;
/// Programs beside OpenSSH's that read authorized_keys.
const OTHERS: [&str; 4] = ["/usr/sbin/dropbear", "/usr/bin/dropbear", "/usr/sbin/tinysshd", "/usr/bin/tinysshd"];

/// What a guest's sshd is to be asked about.
#[derive(Clone, Copy, Debug)]
pub(in crate::inject) struct Login<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The user's number.
    pub uid: u32,
    /// The names of the user's groups, the first one and the others.
    pub groups: &'a [String],
}

/// What reads users' keys in a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::inject) enum Server {
    /// OpenSSH's sshd.
    OpenSsh,
    /// Another one, which has no sshd_config.
    Other,
    /// None.
    Missing,
}

/// The server that the guest has.
pub(in crate::inject) fn server(stage: &Stage<'_>) -> Result<Server, InjectError> {
    if host_keys::sshd(stage.base())?.is_some() || main(stage).is_some() {
        return Ok(Server::OpenSsh);
    }
    for path in OTHERS {
        if stage.metadata(&GuestPath::parse(path)?)?.is_some() {
            return Ok(Server::Other);
        }
    }
    Ok(Server::Missing)
}

/// The file by which the guest's sshd, as it does without PAM, takes a user for locked where `!` begins the field of the password (auth.c of
/// OpenSSH); `None` where it does not, or the guest has no configuration for it.
pub(in crate::inject) fn minds_locks(stage: &Stage<'_>) -> Option<GuestPath> {
    let main = main(stage)?;
    match values("usepam", stage).into_iter().next() {
        Some((_, arguments)) if arguments.first().is_some_and(|said| said.eq_ignore_ascii_case("yes")) => None,
        Some((path, _)) => Some(path),
        None => Some(main),
    }
}

/// The field of a user's password in shadow; `None` where there is none.
pub(in crate::inject) fn password(user: &str, stage: &Stage<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, InjectError> {
    let shadow = stage.read(&GuestPath::parse("/etc/shadow")?, LIMIT)?.map(Zeroizing::new).unwrap_or_default();
    let field = table::fields(&shadow, user.as_bytes()).and_then(|fields| fields.get(1).map(|field| field.to_vec()));
    Ok(field.map(Zeroizing::new))
}

/// The names of a user's groups: the first one, of this number, and those that list the user.
pub(in crate::inject) fn groups(user: &str, gid: u32, stage: &Stage<'_>) -> Result<Vec<String>, InjectError> {
    let text = stage.read(&GuestPath::parse("/etc/group")?, LIMIT)?.unwrap_or_default();
    let is_users = |fields: &[&[u8]]| {
        fields.get(2).and_then(|number| crate::guest::accounts::number(number)) == Some(gid)
            || fields.get(3).is_some_and(|members| table::lists(members, user.as_bytes()))
    };
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.splitn(5, |byte| *byte == b':').collect::<Vec<_>>());
    Ok(lines.filter(|fields| is_users(fields)).map(|fields| String::from_utf8_lossy(fields[0]).into_owned()).collect())
}

/// What the configuration says that keeps the user out, a directive each with its file, in the order in which sshd looks at them.
pub(in crate::inject) fn refusals(login: Login<'_>, stage: &Stage<'_>) -> Vec<String> {
    let first = |keyword: &str| values(keyword, stage).into_iter().next();
    let said = |(path, arguments): &(GuestPath, Vec<String>), keyword: &str| {
        format!("{path} says {keyword} {}", arguments.join(" ").escape_debug())
    };
    let is = |found: &(GuestPath, Vec<String>), word: &str| {
        found.1.first().is_some_and(|argument| argument.eq_ignore_ascii_case(word))
    };
    let mut refusals = Vec::new();
    if let Some(found) = first("pubkeyauthentication").filter(|found| is(found, "no")) {
        refusals.push(format!("the guest's sshd takes no keys: {}", said(&found, "PubkeyAuthentication")));
    }
    if let Some(found) = first("permitrootlogin").filter(|_| login.uid == 0) {
        let said = said(&found, "PermitRootLogin");
        if is(&found, "no") {
            refusals.push(format!("the guest's sshd does not let root log in: {said}"));
        } else if is(&found, "forced-commands-only") {
            refusals.push(format!("the guest's sshd lets root in only by keys with a command of theirs: {said}"));
        }
    }
    // Denied is who one pattern means, and where some are allowed, whom none does (allowed_user of auth.c). All lines of a keyword count.
    let of_user = |pattern: &str, anywhere: bool| match pattern.split_once('@') {
        None => matches(pattern.as_bytes(), login.user.as_bytes()),
        Some((user, host)) => matches(user.as_bytes(), login.user.as_bytes()) && (anywhere || host == "*"),
    };
    let of_group = |pattern: &str| login.groups.iter().any(|group| matches(pattern.as_bytes(), group.as_bytes()));
    for (keyword, name) in [
        ("denyusers", "DenyUsers"),
        ("allowusers", "AllowUsers"),
        ("denygroups", "DenyGroups"),
        ("allowgroups", "AllowGroups"),
    ] {
        let lines = values(keyword, stage);
        let means = |pattern: &String| match keyword {
            "denyusers" => of_user(pattern, false),
            "allowusers" => of_user(pattern, true),
            _ => of_group(pattern),
        };
        let line = match keyword {
            "denyusers" | "denygroups" => lines.iter().find(|(_, patterns)| patterns.iter().any(means)),
            _ if lines.iter().any(|(_, patterns)| patterns.iter().any(means)) => None,
            _ => lines.first(),
        };
        if let Some(line) = line {
            refusals.push(format!("the guest's sshd does not let '{}' log in: {}", login.user, said(line, name)));
        }
    }
    refusals
}

/// Whether a pattern of sshd_config(5), with `*` and `?`, means all of a text.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut rest) = (0, 0);
    // Where to go on when what comes after the last star does not fit: one byte later.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(rest) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, rest));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => (at, rest) = (at + 1, rest + 1),
            _ => match star {
                Some((place, from)) => {
                    star = Some((place, from + 1));
                    (at, rest) = (place + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).is_some_and(|left| left.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::testing::phony;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("ann", "ann", true),
            ("ann", "anna", false),
            ("a*", "ann", true),
            ("*", "", true),
            ("a?n", "ann", true),
            ("a?", "a", false),
            ("*n*a", "banana", true),
            ("*n*b", "banana", false),
            ("a**", "a", true),
            ("", "", true),
            ("", "a", false),
            ("Ann", "ann", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        assert!(!matches(&b"*a".repeat(500), &[b'a'; 499]));
    }

    /// What is said of ann, who is in the groups ann and staff, and of root.
    fn said(config: &str) -> (String, String) {
        let fs = phony().file("/etc/ssh/sshd_config", config).build().unwrap();
        let stage = Stage::new(&fs);
        let of = |user: &str, uid, gid| {
            let groups = groups(user, gid, &stage).unwrap();
            refusals(Login { user, uid, groups: &groups }, &stage).join("\n")
        };
        (of("ann", 1000, 1001), of("root", 0, 0))
    }

    #[test]
    fn who_may_log_in() {
        for config in [
            "",
            "AllowUsers bob\nAllowUsers a*\nAllowUsers root",
            "AllowUsers ann@192.0.2.* root@*",
            "DenyUsers ann@192.0.2.1 bob",
            "AllowGroups staff root",
            "AllowGroups ann ro?t",
            "DenyGroups wheel",
            "PubkeyAuthentication yes\nPubkeyAuthentication no",
            "PermitRootLogin prohibit-password\nPermitRootLogin no",
            "Match User ann\nPubkeyAuthentication no\nDenyUsers ann root",
        ] {
            assert_eq!(said(config), (String::new(), String::new()), "{config}");
        }
        let config = "/etc/ssh/sshd_config says";
        for (line, of_ann) in [
            ("AllowUsers bob", true),
            ("DenyUsers bob a*", true),
            ("DenyUsers ann@*", true),
            ("AllowGroups wheel", true),
            ("DenyGroups sta*", true),
            ("DenyUsers root", false),
            ("DenyGroups root", false),
        ] {
            let (ann, root) = said(line);
            let (told, user) = if of_ann { (&ann, "ann") } else { (&root, "root") };
            assert_eq!(*told, format!("the guest's sshd does not let '{user}' log in: {config} {line}"));
        }
        let (ann, root) = said("PermitRootLogin no\nPubkeyAuthentication no\n");
        assert_eq!(ann, format!("the guest's sshd takes no keys: {config} PubkeyAuthentication no"));
        assert_eq!(root, format!("{ann}\nthe guest's sshd does not let root log in: {config} PermitRootLogin no"));
        assert!(said("PermitRootLogin forced-commands-only").1.contains("only by keys with a command"));
    }

    #[test]
    fn whom_a_lock_keeps_out() {
        let minds = |files: &[(&str, &str)]| {
            let fs = files.iter().fold(phony(), |guest, (path, text)| guest.file(*path, *text)).build().unwrap();
            minds_locks(&Stage::new(&fs)).map(|path| path.to_string())
        };
        let (own, vendors) = ("/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config");
        assert_eq!(minds(&[]), None);
        assert_eq!(minds(&[(own, "")]).as_deref(), Some(own));
        assert_eq!(minds(&[(own, "UsePAM no\nUsePAM yes\n")]).as_deref(), Some(own));
        assert_eq!(minds(&[(own, "usepam YES\n")]), None);
        assert_eq!(minds(&[(vendors, "UsePAM yes\n")]), None);
        assert_eq!(minds(&[(own, ""), (vendors, "UsePAM yes\n")]).as_deref(), Some(own));
    }

    #[test]
    fn who_reads_keys() {
        let of = |path: &str| server(&Stage::new(&phony().file(path, "").build().unwrap())).unwrap();
        assert_eq!(of("/usr/sbin/sshd"), Server::OpenSsh);
        assert_eq!(of("/usr/etc/ssh/sshd_config"), Server::OpenSsh);
        assert_eq!(of("/usr/sbin/dropbear"), Server::Other);
        assert_eq!(of("/usr/bin/ssh"), Server::Missing);
    }
}
