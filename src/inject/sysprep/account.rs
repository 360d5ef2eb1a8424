//! The accounts of people, removed as userdel(8) removes them.

use super::super::accounts::{lock, remove_sudoer};
use super::super::files::below::there;
use super::super::{InjectError, READ_LIMIT, ROOT_FILE};
use super::rule::remove_tree;
use super::{ChosenAccounts, Site};
use crate::guest::User;
use imgraft_vfs::fs::{Content, FileType};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// Files with a line for each account: passwd(5), shadow(5), subuid(5), subgid(5).
const OF_USERS: [&str; 4] = ["/etc/passwd", "/etc/shadow", "/etc/subuid", "/etc/subgid"];
/// Files with a line for each group, and the fields of it that list users: group(5), gshadow(5).
const OF_GROUPS: [(&str, &[usize]); 2] = [("/etc/group", &[3]), ("/etc/gshadow", &[2, 3])];
const MAIL: [&str; 2] = ["/var/spool/mail", "/var/mail"];

/// Removes the chosen accounts of people: their lines, their own groups, their names among the members of others, their mail, the
/// files by which runs of ours let them use sudo, and their homes.
pub(super) fn remove(site: &mut Site<'_, '_>) -> Result<(), InjectError> {
    let range = site.guest.new_accounts.uids.people.clone();
    let users = site.guest.accounts.users.as_deref().unwrap_or_default();
    let is_gone = |user: &&User| range.contains(&user.uid) && site.accounts.is_chosen(&user.name);
    let (gone, stay): (Vec<&User>, Vec<&User>) = users.iter().partition(is_gone);
    for name in site.accounts.remove.iter().filter(|name| gone.iter().all(|user| user.name != name.as_bytes())) {
        let note = match users.iter().find(|user| user.name == name.as_bytes()) {
            None => format!("no user '{}' in the guest", name.escape_debug()),
            Some(_) if site.accounts.keep.contains(name) => continue,
            Some(user) => format!(
                "'{}' stays, as its number, {}, is none of a person's ({} to {}, by login.defs)",
                name.escape_debug(),
                user.uid,
                range.start(),
                range.end()
            ),
        };
        site.outcome.notes.push(note);
    }
    if gone.is_empty() {
        return Ok(());
    }
    let is_name = |name: &[u8]| gone.iter().any(|user| user.name == name);
    for path in OF_USERS {
        lines(path, site.stage, |fields| (!is_name(first(fields))).then(|| fields.join(&b':')))?;
    }
    // A group of the user's own, as useradd(8) makes it, goes with its user: nobody else is in it.
    let of_own: Vec<&[u8]> = site
        .guest
        .accounts
        .groups
        .iter()
        .filter(|group| is_name(&group.name) && stay.iter().all(|user| user.gid != group.gid))
        .map(|group| &*group.name)
        .collect();
    let members = members(site.stage, &is_name)?;
    for (path, lists) in OF_GROUPS {
        lines(path, site.stage, |fields| {
            let name = first(fields);
            if of_own.contains(&name) && !members.iter().any(|group| group == name) {
                return None;
            }
            let fields = fields.iter().enumerate().map(|(number, field)| match lists.contains(&number) {
                true => without(field, &is_name),
                false => field.to_vec(),
            });
            Some(fields.collect::<Vec<_>>().join(&b':'))
        })?;
    }
    for user in &gone {
        for directory in MAIL {
            // What is no name of a file has no mailbox.
            let Ok(mailbox) = GuestPath::parse(directory)?.join(&user.name) else { continue };
            if there(site.stage.symlink_metadata(&mailbox))?.is_some() {
                remove_tree(&mailbox, site.stage)?;
            }
        }
        remove_sudoer(&user.name, site.stage)?;
        if let Err(why) = home(user, &stay, site.stage)? {
            let (name, home) = (user.name.escape_ascii(), user.home.escape_ascii());
            site.outcome.notes.push(format!("the home directory of '{name}' stays: {home} {why}"));
        }
    }
    Ok(())
}

impl ChosenAccounts {
    fn is_chosen(&self, name: &[u8]) -> bool {
        let has = |names: &[String]| names.iter().any(|one| one.as_bytes() == name);
        !has(&self.keep) && (self.remove.is_empty() || has(&self.remove))
    }
}

/// Removes a home; says why not, a clause that follows its path.
fn home(user: &User, stay: &[&User], stage: &mut Stage<'_>) -> Result<Result<(), &'static str>, InjectError> {
    let Ok(home) = GuestPath::parse(&user.home) else { return Ok(Err("is no path")) };
    let Some(file_type) = there(stage.metadata(&home))? else { return Ok(Ok(())) };
    let top = stage.resolve(&home)?;
    let is_around = |other: &&User| {
        let other = GuestPath::parse(&other.home).and_then(|home| stage.resolve(&home));
        let below = |other: &[u8]| {
            other.strip_prefix(top.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        other.is_ok_and(|other| below(other.as_bytes()))
    };
    if file_type != FileType::Directory {
        return Ok(Err("is no directory"));
    }
    if stage.metadata(&home)?.is_none_or(|metadata| metadata.uid != user.uid) {
        return Ok(Err("belongs to somebody else"));
    }
    if top.as_bytes() == b"/" || stay.iter().any(is_around) {
        return Ok(Err("has the home of somebody in it who stays"));
    }
    remove_tree(&GuestPath::parse(top.as_bytes())?, stage)?;
    if stage.symlink_metadata(&home)?.is_some() {
        // The link that led there.
        stage.remove(&home)?;
    }
    Ok(Ok(()))
}

/// The groups of which there are members who stay.
fn members(stage: &Stage<'_>, is_gone: &impl Fn(&[u8]) -> bool) -> Result<Vec<Vec<u8>>, InjectError> {
    let text = stage.read(&GuestPath::parse("/etc/group")?, READ_LIMIT)?.unwrap_or_default();
    let lines = text.split(|byte| *byte == b'\n').map(fields);
    let has_members = |fields: &Vec<&[u8]>| fields.get(3).is_some_and(|list| !without(list, is_gone).is_empty());
    Ok(lines.filter(has_members).map(|fields| first(&fields).to_vec()).collect())
}

/// A list of names without some.
fn without(list: &[u8], is_gone: &impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let names: Vec<&[u8]> = list.split(|byte| *byte == b',').filter(|name| !is_gone(name.trim_ascii())).collect();
    names.join(&b',')
}

fn fields(line: &[u8]) -> Vec<&[u8]> {
    // One more than any line has: a line of colons does not become a vector of millions.
    line.splitn(10, |byte| *byte == b':').collect()
}

fn first<'a>(fields: &[&'a [u8]]) -> &'a [u8] {
    fields.first().copied().unwrap_or_default()
}

/// Makes each line of a file that is there another one, of its fields, or takes it away; every other byte stays.
fn lines(file: &str, stage: &mut Stage<'_>, change: impl Fn(&[&[u8]]) -> Option<Vec<u8>>) -> Result<(), InjectError> {
    let path = GuestPath::parse(file)?;
    let Some(text) = stage.read(&path, READ_LIMIT)? else { return Ok(()) };
    let mut changed = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let (line, end) = match line.strip_suffix(b"\n") {
            Some(line) => (line, &b"\n"[..]),
            None => (line, &b""[..]),
        };
        let fields = fields(line);
        if let Some(line) = change(&fields) {
            changed.extend_from_slice(&line);
            changed.extend_from_slice(end);
        }
    }
    if changed != text {
        lock::pass(file, stage)?;
        stage.write(&path, Content::bytes(changed), ROOT_FILE)?;
    }
    Ok(())
}
