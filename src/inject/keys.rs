//! ssh public keys for users of the guest.

pub(super) mod account;
pub(super) mod way;

use super::authorized_keys::{Line, check};
use super::premise::KeyReader;
use super::sshd::Modes;
use super::sshd::key_files;
use super::{
    Compat, InjectError, Injector, Item, Outcome, Premise, READ_LIMIT, ROOT_DIR, ROOT_FILE, Reader, label, rc_local,
    sshd,
};
use crate::guest::{Accounts, Guest};
use imgraft_vfs::fs::{Attrs, Content, FileType, Metadata, Ownership, SetAttrs, Timestamp};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// ssh public keys for users of the guest.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Per user name: the lines for authorized_keys, validated, without a line end.
    pub keys: Vec<(String, String)>,
    /// Whose behaviour.
    pub compat: Compat,
    /// The time of the run, for accounts that have expired by then.
    pub now: Timestamp,
}

impl Injector for Keys {
    fn item(&self) -> Item {
        Item::Key
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        let before = stage.savepoint();
        let mut outcome = Outcome::default();
        if self.compat == Compat::Nova {
            self.stage_as_nova(stage)?;
            return Ok(outcome);
        }
        let mut users: Vec<&str> = Vec::new();
        for (user, line) in &self.keys {
            check(line)?;
            if !users.contains(&user.as_str()) {
                users.push(user);
            }
        }
        for user in users {
            let lines: Vec<_> =
                self.keys.iter().filter(|(name, _)| name == user).map(|(_, line)| line.as_str()).collect();
            let place = Place::of(guest, user)?;
            place.stage(&lines, &guest.accounts, stage, &mut outcome)?;
            outcome.premises.push(Premise::Account { user: user.to_owned(), now: self.now });
        }
        outcome.premises.push(Premise::Server);
        label::label_new(guest, stage, &before, &mut outcome)?;
        Ok(outcome)
    }
}

/// Where a user's keys go, and whose the files are.
struct Place<'a> {
    user: &'a str,
    uid: u32,
    gid: u32,
    home: GuestPath,
}

impl<'a> Place<'a> {
    fn of(guest: &Guest, user: &'a str) -> Result<Self, InjectError> {
        let Some(account) = guest.accounts.user(user) else {
            // A guest without passwd still has its superuser.
            if user == "root" && guest.accounts.users.is_none() {
                return Ok(Self { user, uid: 0, gid: 0, home: GuestPath::parse("/root")? });
            }
            return Err(InjectError::NoSuchUser { user: user.to_owned(), known: guest.accounts.people() });
        };
        let home = GuestPath::parse(&account.home).map_err(|_| InjectError::BadHome {
            user: user.to_owned(),
            home: account.home.escape_ascii().to_string(),
        })?;
        Ok(Self { user, uid: account.uid, gid: account.gid, home })
    }

    fn stage(
        &self,
        lines: &[&str],
        accounts: &Accounts,
        stage: &mut Stage<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), InjectError> {
        let reader = KeyReader { user: self.user.to_owned(), uid: self.uid, gid: self.gid, home: self.home.clone() };
        let file = match key_files::place(reader.login(&reader.groups(stage)?), stage)? {
            key_files::Place::Usual(file) => file,
            key_files::Place::Other(file, said) => {
                outcome
                    .notes
                    .push(format!("{file} is where the guest's sshd looks for the keys of '{}': {said}", self.user));
                file
            }
            key_files::Place::Missing(reason) => {
                return Err(InjectError::NoPlaceForKeys { user: self.user.to_owned(), reason });
            }
        };
        self.refuse_ownerless(&file, stage)?;
        // In the home they are the user's, and elsewhere root's, for the user to read.
        let is_in_home = self.is_in_home(&file, stage)?;
        let (own, mode) = if is_in_home {
            // Debian's sign for "no home": it must not come into being.
            if self.home.components().next() == Some(b"nonexistent") {
                return Err(InjectError::BadHome { user: self.user.to_owned(), home: self.home.to_string() });
            }
            way::refuse_strange_links(&reader, &file, stage)?;
            self.make_home(stage, outcome)?;
            (Attrs { mode: 0o700, uid: self.uid, gid: self.gid }, 0o600)
        } else {
            way::refuse_exposed(&reader, &file, stage)?;
            (ROOT_DIR, 0o644)
        };
        let directories = if is_in_home { self.own_directories(&file, stage)? } else { Vec::from_iter(file.parent()) };
        for directory in &directories {
            if is_in_home {
                self.refuse_foreign(directory, stage)?;
            }
            stage.create_dirs(directory, own)?;
        }
        if is_in_home {
            self.refuse_foreign(&file, stage)?;
        }
        let before = stage.read(&file, READ_LIMIT)?;
        let modes = sshd::modes(stage);
        let is_mended = is_in_home && way::is_below(&file, &self.home, stage)?;
        if is_mended {
            self.refuse_others(&directories, &file, lines, modes, accounts, stage)?;
        }
        if let Some(after) = self.add(before.as_deref().unwrap_or_default(), lines, &file, outcome) {
            stage.write(&file, Content::bytes(after), Attrs { mode, ..own })?;
        } else {
            stage.confirm(&file)?;
        }
        if is_mended {
            for directory in &directories {
                self.repair(directory, 0o1, modes, stage, outcome)?;
            }
            self.repair(&file, 0o4, modes, stage, outcome)?;
        }
        let (uid, gid) = (self.uid, self.gid);
        let sshd = match modes {
            Modes::Strict => Reader::Sshd { uid, gid },
            Modes::Lenient => Reader::LenientSshd { uid, gid },
        };
        let checked = way::checked(&file, &self.home, stage)?;
        outcome.readers.extend(checked.into_iter().chain([file.clone()]).map(|path| (path, sshd)));
        outcome.premises.push(Premise::UserKeys {
            reader,
            file,
            types: types(lines),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        });
        Ok(())
    }

    fn make_home(&self, stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
        if let Some(parent) = self.home.parent() {
            stage.create_dirs(&parent, ROOT_DIR)?;
        }
        if stage.create_dirs(&self.home, Attrs { mode: 0o700, uid: self.uid, gid: self.gid })? {
            outcome.notes.push(format!("{}: the home directory of '{}' was missing and is made", self.home, self.user));
        }
        Ok(())
    }

    /// Whether a file is in the home, by its name or by where it really lies: `/home` may be a link, and one in the home may lead out.
    fn is_in_home(&self, file: &GuestPath, stage: &Stage<'_>) -> Result<bool, InjectError> {
        let mut rest = file.components();
        let is_named_so = self.home.parent().is_some() && self.home.components().all(|name| rest.next() == Some(name));
        Ok(is_named_so || way::is_below(file, &self.home, stage)?)
    }

    /// The directories around a file in the home and below that, the outermost first.
    fn own_directories(&self, file: &GuestPath, stage: &Stage<'_>) -> Result<Vec<GuestPath>, InjectError> {
        let home = stage.resolve(&self.home)?;
        let mut own = Vec::new();
        for directory in std::iter::successors(file.parent(), GuestPath::parent) {
            if stage.resolve(&directory)? == home {
                break;
            }
            own.push(directory);
        }
        own.reverse();
        Ok(own)
    }

    /// Refuses a place where nobody can own the keys.
    fn refuse_ownerless(&self, file: &GuestPath, stage: &Stage<'_>) -> Result<(), InjectError> {
        match stage.ownership(file)? {
            Ownership::Kept => Ok(()),
            Ownership::Fixed { .. } => {
                Err(InjectError::OwnerlessPlace { user: self.user.to_owned(), path: file.clone() })
            }
        }
    }

    /// Refuses a link by which the user would have more than is the user's written, or given to it: everything in the home
    /// is the user's to replace, and `authorized_keys` may have become `/etc/shadow`.
    fn refuse_foreign(&self, path: &GuestPath, stage: &Stage<'_>) -> Result<(), InjectError> {
        let at = stage.resolve(path)?;
        let target = GuestPath::parse(at.as_bytes())?;
        let found = stage.metadata(path)?;
        let is_hard_link = found.as_ref().is_some_and(|found| found.file_type == FileType::Regular && found.links > 1);
        let is_linked =
            stage.symlink_metadata(path)?.is_some_and(|own| own.file_type == FileType::Symlink) || is_hard_link;
        // Of what is missing it is whose it comes to lie in.
        let mut owner = found.map(|found| found.uid);
        for directory in std::iter::successors(target.parent(), GuestPath::parent) {
            if owner.is_none() {
                owner = stage.metadata(&directory)?.map(|found| found.uid);
            }
        }
        // Where root's own link leads out of the home, others may have made what is there.
        let leads_out = is_hard_link && !way::is_below(path, &self.home, stage)?;
        if leads_out || (is_linked && owner != Some(self.uid)) {
            let target = if target == *path { "another file".to_owned() } else { target.to_string() };
            let user = self.user.to_owned();
            return Err(InjectError::ForeignPlace { user, path: path.clone(), target });
        }
        Ok(())
    }

    /// The file with the lines whose keys it does not have; `None` where it has them all.
    fn add(&self, before: &[u8], lines: &[&str], file: &GuestPath, outcome: &mut Outcome) -> Option<Vec<u8>> {
        let mut after = before.to_vec();
        for line in lines {
            let Some(wanted) = Line::parse(line.as_bytes()) else { continue };
            let present = after.split(|byte| *byte == b'\n').filter_map(Line::parse).find(|old| old.key == wanted.key);
            match present {
                Some(old) if old.options != wanted.options => outcome
                    .notes
                    .push(format!("{file}: a key of '{}' is there already with other options, which stay", self.user)),
                Some(_) => {}
                None => {
                    if after.last().is_some_and(|byte| *byte != b'\n') {
                        after.push(b'\n');
                    }
                    after.extend_from_slice(line.as_bytes());
                    after.push(b'\n');
                }
            }
        }
        (after != before).then_some(after)
    }

    /// Refuses to take from another user of the home what keeps this one's keys from sshd, and to make this user's the keys that a stranger
    /// has put there.
    fn refuse_others(
        &self,
        directories: &[GuestPath],
        file: &GuestPath,
        lines: &[&str],
        modes: Modes,
        accounts: &Accounts,
        stage: &Stage<'_>,
    ) -> Result<(), InjectError> {
        let refuse = |path: &GuestPath, why| {
            Err(InjectError::OthersPlace { user: self.user.to_owned(), uid: self.uid, path: path.clone(), why })
        };
        let needs = directories.iter().map(|directory| (directory, 0o1)).chain([(file, 0o4)]);
        for (path, need) in needs {
            let Some(metadata) = stage.metadata(path)? else { continue };
            if !self.changes_hands(&metadata, need, modes) {
                continue;
            }
            if let Some(other) = self.other_of_home(metadata.uid, accounts, stage)? {
                return refuse(
                    path,
                    format!("owner {}, and {} is the home of '{other}' as well", metadata.uid, self.home),
                );
            }
        }
        let Some(metadata) = stage.metadata(file)?.filter(|found| found.uid != 0) else { return Ok(()) };
        let text = stage.read(file, READ_LIMIT)?.unwrap_or_default();
        let is_wanted = |found: &Line<'_>| {
            lines.iter().any(|line| Line::parse(line.as_bytes()).is_some_and(|line| line.key == found.key))
        };
        let all_wanted = text.split(|byte| *byte == b'\n').filter_map(Line::parse).all(|line| is_wanted(&line));
        if self.changes_hands(&metadata, 0o4, modes) && !all_wanted {
            return refuse(file, format!("owner {}, so that sshd does not take the keys in it", metadata.uid));
        }
        Ok(())
    }

    /// Another user who has the same home, and owns something there by that number.
    fn other_of_home(&self, owner: u32, accounts: &Accounts, stage: &Stage<'_>) -> Result<Option<String>, InjectError> {
        let home = stage.resolve(&self.home)?;
        for other in accounts.users.iter().flatten().filter(|other| other.uid == owner) {
            let Ok(path) = GuestPath::parse(&other.home) else { continue };
            if stage.resolve(&path).is_ok_and(|at| at == home) {
                return Ok(Some(other.name.escape_ascii().to_string()));
            }
        }
        Ok(None)
    }

    /// Whether what is there is given to the user for sshd to take the keys: it is a stranger's, or not to be read by the user (`need`, as
    /// bits for "others").
    fn changes_hands(&self, metadata: &Metadata, need: u16, modes: Modes) -> bool {
        let is_owner = metadata.uid == self.uid;
        let is_stranger = !is_owner && metadata.uid != 0;
        let can_read = is_owner
            || self.uid == 0
            || metadata.mode & need != 0
            || (metadata.gid == self.gid && metadata.mode >> 3 & need != 0);
        (modes == Modes::Strict && is_stranger) || !can_read
    }

    /// Takes away what makes sshd refuse the keys (StrictModes of sshd_config(5)): writable for others than the owner,
    /// owned by a stranger, or not to be read by the user (`need`, as bits for "others").
    fn repair(
        &self,
        path: &GuestPath,
        need: u16,
        modes: Modes,
        stage: &mut Stage<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), InjectError> {
        let Some(metadata) = stage.metadata(path)? else { return Ok(()) };
        let mut attrs = SetAttrs::default();
        if modes == Modes::Strict && metadata.mode & 0o022 != 0 {
            attrs.mode = Some(metadata.mode & !0o022);
            outcome.notes.push(format!("{path}: was writable for others than its owner, which sshd refuses"));
        }
        if self.changes_hands(&metadata, need, modes) {
            (attrs.uid, attrs.gid) = (Some(self.uid), Some(self.gid));
            outcome.notes.push(format!("{path}: was not owned by '{}', which sshd refuses", self.user));
        }
        if attrs != SetAttrs::default() {
            stage.set_attrs(path, attrs)?;
        }
        Ok(())
    }
}

impl Keys {
    /// As `_inject_key_into_fs` of Nova: root's file only, appended to each time, and a path without its first slash in
    /// the command for SELinux.
    fn stage_as_nova(&self, stage: &mut Stage<'_>) -> Result<(), InjectError> {
        let ssh = GuestPath::parse("/root/.ssh")?;
        let file = ssh.join("authorized_keys")?;
        for (user, line) in &self.keys {
            if user != "root" {
                return Err(InjectError::NotInNova { what: "give keys to another user than root" });
            }
            stage.create_dirs(&ssh, ROOT_DIR)?;
            stage.set_attrs(&ssh, SetAttrs { mode: Some(0o700), uid: Some(0), gid: Some(0), mtime: None })?;
            let added = format!("\n# The following ssh key was injected by Nova\n{}\n", line.trim());
            append(stage, &file, added.as_bytes(), b"")?;
            stage.set_attrs(&file, SetAttrs { mode: Some(0o600), ..SetAttrs::default() })?;
            if stage.metadata(&GuestPath::parse("/etc/selinux")?)?.is_some() {
                let script = rc_local::path(stage)?;
                let added = b"\n# Added by Nova to ensure injected ssh keys have the right context\nrestorecon -RF root/.ssh 2>/dev/null || :\n";
                append(stage, &script, added, b"#!/bin/sh")?;
                stage.set_attrs(&script, SetAttrs { mode: Some(0o700), ..SetAttrs::default() })?;
            }
        }
        Ok(())
    }
}

/// Whether a file has the keys of all these lines, with whichever options.
pub(super) fn has_all(file: &GuestPath, lines: &[String], stage: &Stage<'_>) -> Result<bool, InjectError> {
    let text = stage.read(file, READ_LIMIT)?.unwrap_or_default();
    let there: Vec<_> = text.split(|byte| *byte == b'\n').filter_map(Line::parse).map(|line| line.key).collect();
    Ok(lines.iter().filter_map(|line| Line::parse(line.as_bytes())).all(|line| there.contains(&line.key)))
}

/// The types of keys by which a user logs in. Not those of authorities, whose certificates have others.
fn types(lines: &[&str]) -> Vec<String> {
    let mut types: Vec<String> = Vec::new();
    for line in lines.iter().filter_map(|line| Line::parse(line.as_bytes())) {
        let key_type = String::from_utf8_lossy(line.key.algorithm).into_owned();
        let is_authority = line.options.split(|byte| *byte == b',').any(|option| option == b"cert-authority");
        if !is_authority && !types.contains(&key_type) {
            types.push(key_type);
        }
    }
    types
}

/// Appends to a file; a new one begins with `head`.
fn append(stage: &mut Stage<'_>, path: &GuestPath, text: &[u8], head: &[u8]) -> Result<(), InjectError> {
    let before = stage.read(path, READ_LIMIT)?;
    let whole = [before.as_deref().unwrap_or(head), text].concat();
    Ok(stage.write(path, Content::bytes(whole), ROOT_FILE)?)
}

#[cfg(test)]
mod tests;
