//! Whether a guest's sshd lets a user log in by a key: what sshd_config(5) says for every connection, and the lock of shadow(5).

use super::algorithms::leaves_out;
use super::blocks::{Block, matches};
use super::config::{Config, main};
use super::key_files;
use crate::guest::host_keys::SSHD;
use crate::guest::sshd::{self as of_guest, Idle, NotStarted};
use crate::inject::staging::is_fatal;
use crate::inject::{InjectError, table};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use imgraft_vfs::{Error, Layer};
use zeroize::Zeroizing;

/// The largest group or shadow that is read.
const LIMIT: u64 = crate::guest::accounts::LIMIT;
/// How many groups of a user are looked at, and how long their names may be (groupadd(8) takes 32 bytes).
const GROUPS_MAX: usize = 128;
const NAME_MAX: usize = 64;
/// Programs beside OpenSSH's that read authorized_keys.
const OTHERS: [&str; 5] =
    ["/usr/sbin/dropbear", "/sbin/dropbear", "/usr/bin/dropbear", "/usr/sbin/tinysshd", "/usr/bin/tinysshd"];

/// What a guest's sshd is to be asked about.
#[derive(Clone, Copy, Debug)]
pub(in crate::inject) struct Login<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The user's number.
    pub uid: u32,
    /// The user's groups, the first one and the others.
    pub groups: &'a Groups,
    /// The user's home.
    pub home: &'a GuestPath,
}

/// The names of a user's groups, by which sshd_config may let the user in or keep the user out.
#[derive(Debug, Default)]
pub(in crate::inject) struct Groups {
    names: Vec<String>,
    /// Why these are not all, a clause.
    cut: Option<String>,
}

impl Groups {
    /// Of the user whose first group has this number.
    pub(in crate::inject) fn of(user: &str, gid: u32, stage: &Stage<'_>) -> Result<Self, InjectError> {
        let mut groups = Self::default();
        each_group(user, gid, stage, |name, _| {
            if groups.names.len() < GROUPS_MAX && name.len() <= NAME_MAX {
                groups.names.push(String::from_utf8_lossy(name).into_owned());
            } else if groups.cut.is_none() {
                groups.cut = Some(format!(
                    "'{user}' is in more than {GROUPS_MAX} groups, or one has a name of more than {NAME_MAX} bytes"
                ));
            }
        })?;
        Ok(groups)
    }

    /// These, all of them.
    #[cfg(test)]
    pub(super) fn named(names: &[&str]) -> Self {
        Self { names: names.iter().map(|name| (*name).to_owned()).collect(), cut: None }
    }

    /// Whether one of them is meant.
    pub(super) fn any(&self, means: impl Fn(&str) -> bool) -> bool {
        self.names.iter().any(|name| means(name))
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// An error where not all of them are known.
    pub(super) fn check(&self) -> Result<(), InjectError> {
        let Some(cut) = &self.cut else { return Ok(()) };
        let message = format!("{cut}, and sshd's configuration asks for groups");
        let error = Error::unsupported(Layer::Filesystem, message).with_guest_path("/etc/group");
        Err(error.with_hint("take the user out of groups there first, with an --edit of it").into())
    }
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

/// The server that the guest has. A configuration is none: packages leave theirs behind.
pub(in crate::inject) fn server(stage: &Stage<'_>) -> Result<Server, InjectError> {
    let all = SSHD.map(|path| (path, Server::OpenSsh)).into_iter().chain(OTHERS.map(|path| (path, Server::Other)));
    for (path, server) in all {
        if stage.metadata(&GuestPath::parse(path)?)?.is_some() {
            return Ok(server);
        }
    }
    Ok(Server::Missing)
}

/// A sentence on a guest in which nothing reads keys.
fn without_server(stage: &Stage<'_>) -> String {
    match main(stage) {
        None => "the guest has no sshd: nobody reads the keys until it gets one".to_owned(),
        Some(config) => format!(
            "the guest has {config} and no sshd ({}): nobody reads the keys unless it has one elsewhere, or until it gets one",
            SSHD.join(", ")
        ),
    }
}

/// The file by which the guest's sshd, as it does without PAM, takes a user for locked where `!` begins the field of the password (auth.c of
/// OpenSSH); `None` where it does not, or the guest has no configuration for it.
pub(in crate::inject) fn minds_locks(stage: &Stage<'_>) -> Option<GuestPath> {
    let main = main(stage)?;
    let config = Config::read(&["usepam"], None, stage);
    match config.at_start("usepam").next() {
        Some(said) if said.is("yes") => None,
        Some(said) => Some(said.path.clone()),
        None => Some(main),
    }
}

/// The field of a user's password in shadow; `None` where there is none.
fn password(user: &str, stage: &Stage<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, InjectError> {
    let shadow = stage.read(&GuestPath::parse("/etc/shadow")?, LIMIT)?.map(Zeroizing::new).unwrap_or_default();
    let field = table::fields(&shadow, user.as_bytes()).and_then(|fields| fields.get(1).map(|field| field.to_vec()));
    Ok(field.map(Zeroizing::new))
}

/// The numbers of a user's groups.
pub(in crate::inject) fn group_numbers(user: &str, gid: u32, stage: &Stage<'_>) -> Result<Vec<u32>, InjectError> {
    let mut numbers = vec![gid];
    each_group(user, gid, stage, |_, number| numbers.extend(number))?;
    Ok(numbers)
}

/// Gives each group of a user to `take`, with its number: the first one, of this number, and those that list the user.
fn each_group(
    user: &str,
    gid: u32,
    stage: &Stage<'_>,
    mut take: impl FnMut(&[u8], Option<u32>),
) -> Result<(), InjectError> {
    let text = stage.read(&GuestPath::parse("/etc/group")?, LIMIT)?.unwrap_or_default();
    for line in text.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.splitn(5, |byte| *byte == b':').collect();
        let number = fields.get(2).and_then(|number| crate::guest::accounts::number(number));
        let is_member = || fields.get(3).is_some_and(|members| table::lists(members, user.as_bytes()));
        if number == Some(gid) || is_member() {
            take(fields.first().copied().unwrap_or_default(), number);
        }
    }
    Ok(())
}

/// The keywords that can keep a user out.
const KEYWORDS: [&str; 9] = [
    "pubkeyauthentication",
    "pubkeyacceptedalgorithms",
    "permitrootlogin",
    "denyusers",
    "allowusers",
    "denygroups",
    "allowgroups",
    "authenticationmethods",
    key_files::KEYWORD,
];
/// How many blocks are looked at that are up to the connection.
const BLOCKS_MAX: usize = 32;

/// A sentence on an sshd that is there, and nothing of its configuration.
pub(in crate::inject) fn without_configuration(stage: &Stage<'_>) -> Result<Option<String>, InjectError> {
    let is_without = server(stage)? == Server::OpenSsh && main(stage).is_none();
    Ok(is_without.then(|| {
        "the guest has an sshd and no /etc/ssh/sshd_config, without which that does not start, unless it is started with another one (-f) or \
         something brings it"
            .to_owned()
    }))
}

/// A sentence on an sshd that nothing starts at boot, with the way out. Another server may read the keys in its place.
pub(in crate::inject) fn not_started(stage: &Stage<'_>) -> Result<Option<String>, InjectError> {
    if server(stage)? != Server::OpenSsh {
        return Ok(None);
    }
    for path in OTHERS {
        if stage.metadata(&GuestPath::parse(path)?)?.is_some() {
            return Ok(None);
        }
    }
    let Some(NotStarted { service, why }) = of_guest::not_started(stage)? else { return Ok(None) };
    let (fact, way) = match why {
        Idle::Masked { path, is_behind: true } => {
            (format!("{path} masks {service}"), format!(" (--delete {path} --enable-unit {service} has it started)"))
        }
        Idle::Masked { path, is_behind: false } => (format!("{path} masks {service}"), String::new()),
        Idle::Disabled => (format!("{service} is not enabled"), format!(" (--enable-unit {service} has it started)")),
        Idle::InNoRunlevel => (
            format!("{service} is in no runlevel"),
            format!(" (--link /etc/init.d/{service}:/etc/runlevels/default/{service} has it started)"),
        ),
        Idle::NotLinked => (
            format!("no runlevel has a link to /etc/init.d/{service}"),
            format!(" (--link ../init.d/{service}:/etc/rc2.d/S20{service} has it started in runlevel 2)"),
        ),
    };
    Ok(Some(format!(
        "nothing was found that starts the guest's sshd: {fact}, and nobody reads the keys until something does{way}"
    )))
}

/// What keeps the user out who has keys of these types in `file`, a sentence each: that there is no server for it, and what its configuration says, with
/// where that stands.
pub(in crate::inject) fn refusals(
    login: Login<'_>,
    file: &GuestPath,
    key_types: &[String],
    stage: &Stage<'_>,
) -> Result<Vec<String>, InjectError> {
    let mut notes = Vec::new();
    match server(stage)? {
        Server::Other => return Ok(notes),
        Server::Missing => notes.push(without_server(stage)),
        Server::OpenSsh => {}
    }
    if let Some(note) = without_configuration(stage)? {
        notes.push(note);
        return Ok(notes);
    }
    let mut config = Config::read(&KEYWORDS, Some(login), stage);
    // What the rest says may turn all of it round.
    match config.unread.take() {
        Some(InjectError::Vfs(error)) if is_fatal(error.kind()) => return Err(error.into()),
        Some(error) => {
            notes.push(format!(
                "sshd's configuration is not read whole, so whether it takes the keys is not known: {error}"
            ));
            return Ok(notes);
        }
        None => {}
    }
    let usual = of_connection(&config, login, file, key_types, None, stage)?;
    let mut blocks: Vec<&Block> = Vec::new();
    for setting in config.settings.iter().filter(|setting| setting.block.is_open()) {
        if blocks.len() <= BLOCKS_MAX && !blocks.contains(&&setting.block) {
            blocks.push(&setting.block);
        }
    }
    let before = notes.len();
    notes.extend(usual.iter().cloned());
    for block in blocks.iter().take(BLOCKS_MAX) {
        let then = of_connection(&config, login, file, key_types, Some(block), stage)?;
        for (note, refusal) in notes.iter_mut().skip(before).zip(&usual).filter(|(_, refusal)| !then.contains(refusal))
        {
            debug_assert!(note.starts_with(refusal));
            note.push_str(&format!(", but not where it has {}", block.said()));
        }
        let others = then.into_iter().filter(|refusal| !usual.contains(refusal));
        notes.extend(others.map(|refusal| format!("where it has {}, {refusal}", block.said())));
    }
    if blocks.len() > BLOCKS_MAX {
        notes.push(format!(
            "sshd_config has more than {BLOCKS_MAX} blocks that are up to the connection, and of these the first ones are looked at"
        ));
    }
    Ok(notes)
}

/// Whether sshd reads a file of keys for the user, from wherever that is; otherwise what of the configuration says so, a clause.
pub(in crate::inject) fn unread(
    login: Login<'_>,
    file: &GuestPath,
    stage: &Stage<'_>,
) -> Result<Option<String>, InjectError> {
    if server(stage)? == Server::Other {
        return Ok(None);
    }
    let config = Config::read(&[key_files::KEYWORD], Some(login), stage);
    // What is not read whole says nothing for certain, which is a remark.
    if config.unread.is_some() { Ok(None) } else { not_read(&config, login, file, None, stage) }
}

fn not_read(
    config: &Config,
    login: Login<'_>,
    file: &GuestPath,
    known: Option<&Block>,
    stage: &Stage<'_>,
) -> Result<Option<String>, InjectError> {
    let reason = match config.in_force(key_files::KEYWORD, known).first() {
        Some(line) if line.means(|| key_files::names(line, file, login, config, stage))? => return Ok(None),
        Some(line) => line.said("AuthorizedKeysFile"),
        None if main(stage).is_none() || key_files::is_default(file, login) => return Ok(None),
        None => "no AuthorizedKeysFile names it".to_owned(),
    };
    Ok(Some(format!("the guest's sshd does not read {file}: {reason}")))
}

/// What keeps the user out of a connection, in the order in which sshd looks at it.
fn of_connection(
    config: &Config,
    login: Login<'_>,
    file: &GuestPath,
    key_types: &[String],
    known: Option<&Block>,
    stage: &Stage<'_>,
) -> Result<Vec<String>, InjectError> {
    let first = |keyword: &str| config.in_force(keyword, known).into_iter().next();
    let mut refusals = Vec::new();
    if let Some(line) = first("pubkeyauthentication").filter(|line| line.is("no")) {
        refusals.push(format!("the guest's sshd takes no keys: {}", line.said("PubkeyAuthentication")));
    }
    if let Some(line) = first("pubkeyacceptedalgorithms") {
        let said = line.said("PubkeyAcceptedAlgorithms");
        let left_out = key_types.iter().filter(|key_type| leaves_out(line.first(), key_type));
        refusals
            .extend(left_out.map(|key_type| format!("the guest's sshd takes no key of the type {key_type}: {said}")));
    }
    refusals.extend(not_read(config, login, file, known, stage)?);
    if let Some(line) = first("authenticationmethods").filter(|line| !is_enough(&line.arguments)) {
        refusals.push(format!("the guest's sshd asks for more than one key: {}", line.said("AuthenticationMethods")));
    }
    if let Some(line) = first("permitrootlogin").filter(|_| login.uid == 0) {
        let said = line.said("PermitRootLogin");
        if line.is("no") {
            refusals.push(format!("the guest's sshd does not let root log in: {said}"));
        } else if line.is("forced-commands-only") {
            refusals.push(format!("the guest's sshd lets root in only by keys with a command of theirs: {said}"));
        }
    }
    // Denied is who one pattern means, and where some are allowed, whom none does (allowed_user of auth.c). All lines of a keyword count.
    let of_user = |pattern: &str, anywhere: bool| match pattern.rsplit_once('@') {
        None => matches(pattern.as_bytes(), login.user.as_bytes()),
        Some((user, host)) => matches(user.as_bytes(), login.user.as_bytes()) && (anywhere || host == "*"),
    };
    let of_group = |pattern: &str| login.groups.any(|group| matches(pattern.as_bytes(), group.as_bytes()));
    for (keyword, name) in [
        ("denyusers", "DenyUsers"),
        ("allowusers", "AllowUsers"),
        ("denygroups", "DenyGroups"),
        ("allowgroups", "AllowGroups"),
    ] {
        let lines = config.in_force(keyword, known);
        let means = |pattern: &String| match keyword {
            "denyusers" => of_user(pattern, false),
            "allowusers" => of_user(pattern, true),
            _ => of_group(pattern),
        };
        let mut meant = None;
        for line in &lines {
            if meant.is_none() && line.means(|| Ok::<_, InjectError>(line.arguments.iter().any(means)))? {
                meant = Some(line);
            }
        }
        let line = match keyword {
            "denyusers" | "denygroups" => meant,
            _ if meant.is_some() => None,
            _ => lines.first(),
        };
        if let Some(line) = line {
            refusals.push(format!("the guest's sshd does not let '{}' log in: {}", login.user, line.said(name)));
        }
    }
    Ok(refusals)
}

/// Whether a key is all that one of the lists of `AuthenticationMethods` asks for.
fn is_enough(lists: &[String]) -> bool {
    lists.iter().any(|list| list.eq_ignore_ascii_case("any") || list.eq_ignore_ascii_case("publickey"))
}

/// A sentence on the lock of a user's password, where sshd takes no keys of such a user.
pub(in crate::inject) fn lock(user: &str, stage: &Stage<'_>) -> Result<Option<String>, InjectError> {
    let Some(config) = minds_locks(stage) else { return Ok(None) };
    if server(stage)? == Server::Other {
        return Ok(None);
    }
    if Config::read(&["usepam"], None, stage).unread.is_some() {
        return Ok(None);
    }
    let Some(is_bare) = password(user, stage)?.and_then(|field| field.strip_prefix(b"!").map(<[u8]>::is_empty)) else {
        return Ok(None);
    };
    let way = if is_bare { format!("--password {user}:disabled") } else { format!("--unlock {user}") };
    Ok(Some(format!(
        "the guest's sshd takes '{user}' for locked, and no keys: '!' begins the password in /etc/shadow, and {config} does not \
         say UsePAM yes; {way} takes it away"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::testing::phony;
    use imgraft_vfs::fs::mem::MemFs;

    /// What is said of ann, who is in the groups ann and staff, and of root.
    fn said(config: &str) -> (String, String) {
        let fs = phony().file("/usr/sbin/sshd", "").file("/etc/ssh/sshd_config", config).build().unwrap();
        let stage = Stage::new(&fs);
        let of = |user: &str, uid, gid| {
            let groups = Groups::of(user, gid, &stage).unwrap();
            let home = GuestPath::parse(if uid == 0 { "/root" } else { "/home/ann" }).unwrap();
            let file = home.join(".ssh/authorized_keys").unwrap();
            let types = ["ssh-ed25519".to_owned()];
            refusals(Login { user, uid, groups: &groups, home: &home }, &file, &types, &stage).unwrap().join("\n")
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
            "Match User bob\nPubkeyAuthentication no\nDenyUsers ann root",
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

    /// What a block says takes the place of what stands before all of them, of several the first one counts.
    #[test]
    fn blocks() {
        let config = "/etc/ssh/sshd_config says";
        for (lines, ann, root) in [
            ("PubkeyAuthentication yes\nMatch User ann\nPubkeyAuthentication no\n", "PubkeyAuthentication no", ""),
            ("PubkeyAuthentication no\nMatch User ann\nPubkeyAuthentication yes\n", "", "PubkeyAuthentication no"),
            ("PermitRootLogin yes\nMatch all\nPermitRootLogin no\n", "", "PermitRootLogin no"),
            ("PermitRootLogin no\nMatch User root\nPermitRootLogin yes\nMatch all\nPermitRootLogin no\n", "", ""),
            (
                "AllowUsers ann\nMatch Group staff\nAllowUsers bob\nMatch User root\nAllowUsers root\n",
                "AllowUsers bob",
                "",
            ),
            ("Match Group wheel\nDenyUsers *\nMatch User !ann,*\nDenyUsers *\n", "", "DenyUsers *"),
            (
                "AuthenticationMethods publickey,password\n",
                "AuthenticationMethods publickey,password",
                "AuthenticationMethods publickey,password",
            ),
            ("AuthenticationMethods publickey,password publickey\n", "", ""),
            (
                "AuthenticationMethods any\nMatch User root\nAuthenticationMethods publickey,publickey\n",
                "",
                "AuthenticationMethods publickey,publickey",
            ),
            ("Match User root\nAuthorizedKeysFile none\n", "", "AuthorizedKeysFile none"),
        ] {
            let (of_ann, of_root) = said(lines);
            for (told, expected) in [(of_ann, ann), (of_root, root)] {
                match expected {
                    "" => assert_eq!(told, "", "{lines}"),
                    _ => assert!(
                        told.ends_with(&format!("{config} {expected}")) && !told.contains('\n'),
                        "{lines}: {told}"
                    ),
                }
            }
        }
    }

    /// What a stranger has written is held against the user's groups within limits, and what is more than these is said not to be read.
    #[test]
    fn what_is_held_against_a_user_is_bounded() {
        let not_read = |lines: &str, of: &str| {
            let (ann, _) = said(lines);
            assert!(
                ann.starts_with("sshd's configuration is not read whole, so whether it takes the keys is not known")
            );
            assert!(ann.contains(of), "{ann}");
        };
        let many = |word: &str, number: usize| vec![word; number].join(",");
        let criteria = "the Match lines of sshd's configuration have more than 16384 words and patterns";
        not_read(&format!("Match Group {}\nDenyUsers ann\n", many("*a*b", 16_384)), criteria);
        not_read(&format!("{}DenyUsers ann\n", "Match Group b,c\n".repeat(5_462)), criteria);
        let full = format!("Match Group {}\n", many("*a*b", 16_383));
        assert_eq!(said(&format!("{full}DenyUsers ann\n")).0, "");
        not_read(&format!("DenyGroups{}\n", " *a*b".repeat(1025)), "says denygroups with more than 1024 words");
        not_read(
            &format!("DenyGroups{}\n", " *a*b".repeat(512)).repeat(3),
            "says denygroups with more than 1024 words",
        );
        assert_eq!(said(&format!("DenyGroups{}\n", " *a*b".repeat(1024))).0, "");
        let of_groups = |number: usize, name: &str| {
            let lines: String = (0..number).map(|number| format!("{name}{number:04}:x:{number}:ann\n")).collect();
            let fs = MemFs::builder().file("/etc/group", lines).build().unwrap();
            let stage = Stage::new(&fs);
            assert_eq!(group_numbers("ann", 7777, &stage).unwrap().len(), number + 1);
            let groups = Groups::of("ann", 7777, &stage).unwrap();
            groups.check().map(|()| groups.names.len()).map_err(|error| error.to_string())
        };
        assert_eq!(of_groups(128, "g"), Ok(128));
        assert_eq!(of_groups(1, &"g".repeat(60)), Ok(1));
        for (number, name) in [(129, "g"), (1, "g".repeat(61).as_str())] {
            assert!(of_groups(number, name).unwrap_err().contains("'ann' is in more than 128 groups, or one has"));
        }
    }

    /// Where the configuration does not ask for groups, there may be as many as there are.
    #[test]
    fn groups_are_asked_for_where_they_count() {
        let with = |config: &str| {
            let lines: String = (0..129).map(|number| format!("g{number}:x:{number}:ann\n")).collect();
            let fs = MemFs::builder()
                .file("/usr/sbin/sshd", "")
                .file("/etc/ssh/sshd_config", config)
                .file("/etc/group", lines);
            let fs = fs.build().unwrap();
            let stage = Stage::new(&fs);
            let home = GuestPath::parse("/home/ann").unwrap();
            let groups = Groups::of("ann", 7777, &stage).unwrap();
            let login = Login { user: "ann", uid: 1000, groups: &groups, home: &home };
            let file = home.join(".ssh/authorized_keys").unwrap();
            refusals(login, &file, &["ssh-ed25519".to_owned()], &stage).unwrap().join("\n")
        };
        for config in ["", "AllowUsers ann\n", "Match User bob,group\nPermitRootLogin no\n", "Match all\nPort 22\n"] {
            assert_eq!(with(config), "", "{config}");
        }
        for config in [
            "AllowGroups g1\n",
            "Match User bob\nDenyGroups x\n",
            "Match Group x\nPort 22\n",
            "Match user=bob group=x\n",
        ] {
            let said = with(config);
            assert!(said.contains("is not known: ") && said.contains("asks for groups"), "{config}: {said}");
        }
    }

    /// sshd 9.2 says of the first one "Directive 'DSAAuthentication' is not allowed within a Match block", and of the others nothing.
    #[test]
    fn an_older_name_in_a_block() {
        let (ann, _) = said("Match User bob\nDSAAuthentication no\n");
        assert!(ann.ends_with("DSAAuthentication stands in a block of Match, and sshd does not start so"), "{ann}");
        for config in ["Match all\nDSAAuthentication no\n", "DSAAuthentication no\n"] {
            assert!(said(config).0.ends_with("says DSAAuthentication no"), "{config}");
        }
    }

    #[test]
    fn blocks_that_are_up_to_the_connection() {
        let root = |lines: &str| said(lines).1;
        let refused = "the guest's sshd does not let root log in: /etc/ssh/sshd_config says PermitRootLogin no";
        let office = "Match Address 192.0.2.0/24";
        assert_eq!(
            root(&format!("PermitRootLogin no\n{office}\nPermitRootLogin yes\n")),
            format!("{refused}, but not where it has {office}")
        );
        assert_eq!(root(&format!("{office}\nPermitRootLogin no\n")), format!("where it has {office}, {refused}"));
        assert_eq!(root(&format!("{office} User ann\nPermitRootLogin no\n")), "");
        assert_eq!(root(&format!("PermitRootLogin no\n{office}\nPermitRootLogin no\nX11Forwarding no\n")), refused);
        // What comes first counts.
        assert_eq!(root(&format!("Match User root\nPermitRootLogin yes\n{office}\nPermitRootLogin no\n")), "");
        let many: String = (0..40).map(|port| format!("Match LocalPort {port}\nPermitRootLogin no\n")).collect();
        assert!(
            root(&many).ends_with(
                "more than 32 blocks that are up to the connection, and of these the first ones are looked at"
            )
        );
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
        assert_eq!(of("/usr/bin/sshd"), Server::OpenSsh);
        assert_eq!(of("/usr/sbin/dropbear"), Server::Other);
        assert_eq!(of("/sbin/dropbear"), Server::Other);
        assert_eq!(of("/usr/bin/ssh"), Server::Missing);
        assert_eq!(of("/usr/etc/ssh/sshd_config"), Server::Missing, "left behind");
    }

    #[test]
    fn types_of_keys() {
        let takes_none = "the guest's sshd takes no key of the type ssh-ed25519: /etc/ssh/sshd_config says ";
        for (lines, said_of_them) in [
            ("PubkeyAcceptedAlgorithms rsa-sha2-512,ecdsa-*", "PubkeyAcceptedAlgorithms rsa-sha2-512,ecdsa-*"),
            ("PubkeyAcceptedKeyTypes -ssh-ed*", "PubkeyAcceptedKeyTypes -ssh-ed*"),
            ("pubkeyacceptedkeytypes rsa*\nPubkeyAcceptedAlgorithms *", "PubkeyAcceptedKeyTypes rsa*"),
            ("PubkeyAcceptedAlgorithms +ssh-rsa", ""),
        ] {
            let expected = if said_of_them.is_empty() { "" } else { &format!("{takes_none}{said_of_them}") };
            assert_eq!(said(lines).0, expected, "{lines}");
        }
        assert_eq!(
            said("DSAAuthentication no\nPubkeyAuthentication yes").0,
            "the guest's sshd takes no keys: /etc/ssh/sshd_config says DSAAuthentication no"
        );
    }

    /// What a package has left behind says nothing of another server.
    #[test]
    fn a_configuration_without_its_sshd() {
        let left =
            || phony().file("/etc/ssh/sshd_config", "UsePAM no\nPubkeyAuthentication no\nAuthorizedKeysFile /k/%u\n");
        let home = GuestPath::parse("/home/ann").unwrap();
        let file = home.join(".ssh/authorized_keys").unwrap();
        let of_ann = |fs: imgraft_vfs::fs::mem::Builder| {
            let fs = fs.build().unwrap();
            let stage = Stage::new(&fs);
            let groups = Groups::default();
            let login = Login { user: "ann", uid: 1000, groups: &groups, home: &home };
            let notes = refusals(login, &file, &[], &stage).unwrap();
            let is_usual = key_files::place(login, &stage).unwrap() == key_files::Place::Usual(file.clone());
            (notes, is_usual, unread(login, &file, &stage).unwrap(), lock("ann", &stage).unwrap())
        };
        assert_eq!(of_ann(left().file("/usr/sbin/dropbear", "")), (Vec::new(), true, None, None));
        let (notes, is_usual, unread, lock) = of_ann(left());
        assert_eq!(
            notes.first().unwrap(),
            "the guest has /etc/ssh/sshd_config and no sshd (/usr/sbin/sshd, /sbin/sshd, /usr/bin/sshd): nobody reads the keys unless it has \
             one elsewhere, or until it gets one"
        );
        // It counts for the day on which there is one.
        assert!(notes.get(1).unwrap().starts_with("the guest's sshd takes no keys"), "{notes:?}");
        assert!(!is_usual && unread.is_some() && lock.is_some());
        let (notes, is_usual, ..) = of_ann(left().file("/usr/sbin/dropbear", "").file("/usr/sbin/sshd", ""));
        assert!(notes.first().unwrap().starts_with("the guest's sshd takes no keys") && !is_usual, "{notes:?}");
    }
}
