//! What a user may do as another: a file of its own in `/etc/sudoers.d` (sudoers(5)).

use super::super::files::below::there;
use super::super::{InjectError, Outcome, Premise, READ_LIMIT, Reader};
use super::database::Database;
use super::error::AccountError;
use super::name::AccountName;
use imgraft_vfs::fs::{Attrs, Content, FileType, Metadata, SetAttrs};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

const DIRECTORY: &str = "/etc/sudoers.d";
const PROGRAMS: [&str; 3] = ["/usr/bin/sudo", "/bin/sudo", "/usr/local/bin/sudo"];
/// The first that is there is the one that sudo reads.
const SUDOERS: [&str; 2] = ["/etc/sudoers", "/usr/etc/sudoers"];
/// Groups whose members distributions let be root, of which a guest has one.
const GROUPS: [&str; 3] = ["sudo", "wheel", "admin"];
/// What a file of ours begins with; a rule, one line, is the rest of it.
const HEAD: &str = "# Added by imgraft\n";
/// As sudo wants it: nobody writes to it.
const FILE: Attrs = Attrs { mode: 0o440, uid: 0, gid: 0 };
const DIR: Attrs = Attrs { mode: 0o750, uid: 0, gid: 0 };

/// A user who may do everything as anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sudoer {
    /// Who.
    pub user: String,
    /// What sudo asks for.
    pub asks: SudoAsks,
}

/// What sudo asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SudoAsks {
    /// The user's password.
    #[default]
    Password,
    /// Nothing.
    Nothing,
}

impl Sudoer {
    /// Puts the user's file there; one of an earlier run gives way.
    pub(super) fn make(
        &self,
        database: &Database,
        stage: &mut Stage<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), InjectError> {
        let uid = database.user(&self.user)?.uid;
        let name = AccountName::parse(&self.user);
        let name = name.ok_or_else(|| AccountError::NoSudoName { user: self.user.clone() })?;
        check_listens(stage)?;
        stage.create_dirs(&GuestPath::parse(DIRECTORY)?, DIR)?;
        let path = GuestPath::parse(DIRECTORY)?.join(file_name(&name))?;
        stage.write(&path, Content::bytes(self.rule(&name, uid).into_bytes()), FILE)?;
        let Attrs { mode, uid, gid } = FILE;
        stage.set_attrs(&path, SetAttrs { mode: Some(mode), uid: Some(uid), gid: Some(gid), mtime: None })?;
        outcome.readers.extend([GuestPath::parse(DIRECTORY)?, path].map(|path| (path, Reader::Sudo)));
        outcome.premises.push(Premise::SudoRules);
        Ok(())
    }

    fn rule(&self, name: &AccountName, uid: u32) -> String {
        let tag = match self.asks {
            SudoAsks::Password => "",
            SudoAsks::Nothing => "NOPASSWD: ",
        };
        // A name in capital letters is an alias to sudo, and ALL is everybody.
        let is_alias = name.as_str().starts_with(|first: char| first.is_ascii_uppercase());
        let who = if is_alias { format!("#{uid}") } else { name.to_string() };
        format!("{HEAD}{who} ALL=(ALL:ALL) {tag}ALL\n")
    }
}

/// Removes the file that a run has put there for a user, and nobody has taken over.
pub(in crate::inject) fn remove(user: &[u8], stage: &mut Stage<'_>) -> Result<(), InjectError> {
    let Some(name) = std::str::from_utf8(user).ok().and_then(AccountName::parse) else { return Ok(()) };
    let path = GuestPath::parse(DIRECTORY)?.join(file_name(&name))?;
    if there(stage.symlink_metadata(&path))? != Some(FileType::Regular) {
        return Ok(());
    }
    let text = stage.read(&path, READ_LIMIT)?.unwrap_or_default();
    let rule = text.strip_prefix(HEAD.as_bytes());
    let is_ours = rule.is_some_and(|rule| rule.iter().position(|byte| *byte == b'\n') == rule.len().checked_sub(1));
    if is_ours { Ok(stage.remove(&path)?) } else { Ok(()) }
}

/// sudo leaves out the files of the directory that have a dot in their names.
fn file_name(name: &AccountName) -> String {
    format!("90-imgraft-{}", name.as_str().replace('.', "%2E"))
}

/// Fails where there is nothing that would read the file.
pub(in crate::inject) fn check_listens(stage: &Stage<'_>) -> Result<(), InjectError> {
    let mut has_sudo = false;
    for program in PROGRAMS {
        has_sudo |= stage.metadata(&GuestPath::parse(program)?)?.is_some();
    }
    if !has_sudo {
        return Err(AccountError::NoSudo { group: group(stage)? }.into());
    }
    for path in SUDOERS {
        let at = GuestPath::parse(path)?;
        if let Some(text) = stage.read(&at, READ_LIMIT)? {
            // sudo minds the same of the file itself (sudo_secure_file of its lib/util/secure_path.c).
            if let Some(Metadata { mode, uid, gid, .. }) =
                stage.metadata(&at)?.filter(|found| !Reader::Sudo.takes(found))
            {
                return Err(AccountError::UnsafeSudoers { path, mode, uid, gid }.into());
            }
            return match text.split(|byte| *byte == b'\n').any(includes) {
                true => Ok(()),
                false => Err(AccountError::NoSudoersDirectory { path }.into()),
            };
        }
    }
    Err(AccountError::NoSudoers.into())
}

/// The group of the guest's whose members are usually let be root.
fn group(stage: &Stage<'_>) -> Result<Option<&'static str>, InjectError> {
    let text = stage.read(&GuestPath::parse("/etc/group")?, READ_LIMIT)?.unwrap_or_default();
    let is_named =
        |line: &[u8], name: &str| line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b":"));
    Ok(GROUPS.into_iter().find(|name| text.split(|byte| *byte == b'\n').any(|line| is_named(line, name))))
}

/// Whether a line of sudoers includes the directory, by its name or beside sudoers in `/etc`.
fn includes(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let rest = line.strip_prefix(b"@includedir").or_else(|| line.strip_prefix(b"#includedir"));
    let Some(rest) = rest.filter(|rest| rest.first().is_some_and(u8::is_ascii_whitespace)) else { return false };
    let rest = rest.trim_ascii();
    let bare = rest.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(rest);
    matches!(bare.strip_suffix(b"/").unwrap_or(bare), b"/etc/sudoers.d" | b"sudoers.d")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{guest, nothing};
    use super::*;
    use crate::inject::Accounts;
    use crate::inject::testing::*;
    use imgraft_vfs::fs::mem::{Builder, MemFs};

    fn sudo(user: &str, asks: SudoAsks) -> Accounts {
        Accounts { sudo: vec![Sudoer { user: user.to_owned(), asks }], ..nothing() }
    }

    fn with_sudo(include: &str) -> Builder {
        guest().file("/usr/bin/sudo", "").file("/etc/sudoers", format!("Defaults env_reset\n{include}\n"))
    }

    #[test]
    fn a_file_that_sudo_reads() {
        let ann = sudo("ann", SudoAsks::Password);
        let fs = inject(&ann, with_sudo("@includedir /etc/sudoers.d").build().unwrap());
        assert_eq!(text(&fs, "/etc/sudoers.d/90-imgraft-ann"), "# Added by imgraft\nann ALL=(ALL:ALL) ALL\n");
        assert_eq!(describe(&fs, "/etc/sudoers.d/90-imgraft-ann"), "0440 0:0");
        assert_eq!(describe(&fs, "/etc/sudoers.d"), "0750 0:0");
        assert_unchanged(&ann, &fs);
        let without = sudo("ann", SudoAsks::Nothing);
        let fs = inject(&without, fs);
        assert!(text(&fs, "/etc/sudoers.d/90-imgraft-ann").ends_with("\nann ALL=(ALL:ALL) NOPASSWD: ALL\n"));
        assert_unchanged(&without, &fs);
        let tree =
            with_sudo("#includedir sudoers.d/").file("/etc/sudoers.d/90-imgraft-ann", "x").mode(0o666).owner(1, 1);
        assert_eq!(describe(&inject(&ann, tree.build().unwrap()), "/etc/sudoers.d/90-imgraft-ann"), "0440 0:0");
    }

    #[test]
    fn names_that_mean_something_to_sudo() {
        for (name, file, rule) in [
            ("a.b", "90-imgraft-a%2Eb", "a.b ALL="),
            ("ALL", "90-imgraft-ALL", "#7 ALL="),
            ("ADMIN", "90-imgraft-ADMIN", "#7 ALL="),
            ("host$", "90-imgraft-host$", "host$ ALL="),
        ] {
            let tree = with_sudo("#includedir \"/etc/sudoers.d\"");
            let fs = inject(&super::super::tests::with_number(name, 7), tree.build().unwrap());
            let fs = inject(&sudo(name, SudoAsks::Nothing), fs);
            assert!(text(&fs, &format!("/etc/sudoers.d/{file}")).lines().any(|line| line.starts_with(rule)), "{name}");
        }
    }

    #[test]
    fn where_nothing_would_read_it() {
        let why = |tree: Builder| refusal(&sudo("ann", SudoAsks::Password), tree.build().unwrap());
        for none in [
            "",
            "#includedir /etc/sudoers.d2",
            "# includedir /etc/sudoers.d",
            "#includedir/etc/sudoers.d",
            "@include /etc/sudoers.d",
        ] {
            let said = why(with_sudo(none));
            assert!(
                said.starts_with("the guest's /etc/sudoers does not include the files of /etc/sudoers.d"),
                "{said}"
            );
        }
        assert!(why(guest().file("/etc/sudoers", "#includedir /etc/sudoers.d")).starts_with("the guest has no sudo"));
        assert!(why(guest().file("/usr/bin/sudo", "")).starts_with("the guest has sudo, and no /etc/sudoers ("));
        // What sudo says no to with: is world writable, is owned by uid 1, is owned by gid 1.
        for (mode, owner, is_read) in [
            (0o440, (0, 0), true),
            (0o644, (0, 1), true),
            (0o660, (0, 0), true),
            (0o666, (0, 0), false),
            (0o440, (1, 0), false),
            (0o660, (0, 1), false),
        ] {
            let tree = with_sudo("@includedir /etc/sudoers.d").mode(mode).owner(owner.0, owner.1).build().unwrap();
            match is_read {
                true => drop(inject(&sudo("ann", SudoAsks::Password), tree)),
                false => assert!(
                    refusal(&sudo("ann", SudoAsks::Password), tree)
                        .starts_with("the guest's sudo does not read /etc/sudoers, which has mode ")
                ),
            }
        }
        // The way out names a group that the guest has.
        assert!(!why(guest()).contains("--add-to-group"), "{}", why(guest()));
        for group in ["sudo", "wheel", "admin"] {
            let tree = imgraft_vfs::fs::mem::MemFs::builder()
                .file("/etc/passwd", "ann:x:1000:1001::/home/ann:\n")
                .file("/etc/group", format!("{group}:x:10:\n"));
            let said = why(tree);
            assert!(
                said.contains(&format!("--add-to-group USER:{group} ")) && said.contains("--firstboot-install sudo")
            );
        }
        let suse = guest().file("/usr/bin/sudo", "").file("/usr/etc/sudoers", "@includedir /etc/sudoers.d\n");
        inject(&sudo("ann", SudoAsks::Password), suse.build().unwrap());
        assert!(refusal(&sudo("bob", SudoAsks::Password), with_sudo("").build().unwrap()).contains("no user 'bob'"));
    }

    #[test]
    fn a_name_that_would_lead_elsewhere() {
        let passwd = "../x:x:1000:1000::/:\na b:x:1001:1000::/:\nx\\,ALL:x:1002:1000::/:\n";
        let tree = || MemFs::builder().file("/etc/passwd", passwd).file("/etc/group", "");
        for user in ["../x", "a b", "x\\,ALL"] {
            let said = refusal(&sudo(user, SudoAsks::Password), tree().build().unwrap());
            assert!(said.contains("sudo would not take the name"), "{said}");
        }
    }
}
