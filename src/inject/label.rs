//! The SELinux labels of what an injector made.

use super::{InjectError, Outcome, READ_LIMIT, ROOT_FILE, rc_local};
use crate::guest::boot::Labelling;
use crate::guest::file_contexts::{FileContexts, Label, Release};
use crate::guest::selinux::{self, LABEL as XATTR};
use crate::guest::{Guest, Selinux};
use imgraft_vfs::fs::{Content, FileType, Ownership, Xattr};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::stage::{Savepoint, Stage};

/// What has a guest label all of its files at a boot with SELinux (selinux-autorelabel(8), fixfiles(8)).
const AUTORELABEL: &str = "/.autorelabel";
/// How many files an rc.local is to label, a line each.
const RESTORED_MAX: usize = 64;

/// Gives everything that is new since `before`, and everything changed since that has no label, the label that the
/// guest's policy has for it. A label that is there stays.
///
/// Where the policy cannot be read, or a line of it that may be a file's is no expression to us, restorecon is put into the guest's rc.local instead, where it runs one. Where that cannot be, or where the guest has
/// labels and what minds them, and no configuration of SELinux's, it is to label all of its files at its next boot with SELinux.
pub(super) fn label_new(
    guest: &Guest,
    stage: &mut Stage<'_>,
    before: &Savepoint,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    let needs_labels = match &guest.selinux {
        Some(selinux) => selinux.is_active(),
        None => selinux::is_used(stage.base())?,
    };
    if !needs_labels {
        return Ok(());
    }
    let mut unlabelled = Vec::new();
    for change in stage.changes_since(before)? {
        let Some(after) = change.after else { continue };
        if stage.base().ownership(&change.path) != Ownership::Kept {
            // There is no label there to be given.
            continue;
        }
        if !is_labelled(&change.path, stage)? {
            unlabelled.push((change.path, after.metadata.file_type));
        }
    }
    if unlabelled.is_empty() {
        return Ok(());
    }
    let Some(selinux) = &guest.selinux else {
        return relabel_at_boot("the guest has SELinux labels and no /etc/selinux/config", stage, outcome);
    };
    match read_policy(selinux, stage)? {
        Some((mut contexts, name)) => set_labels(&mut contexts, &name, &unlabelled, stage, outcome),
        None => restore_at_boot("the guest's SELinux policy cannot be read", &unlabelled, stage, outcome),
    }
}

fn is_labelled(at: &Resolved, stage: &Stage<'_>) -> Result<bool, InjectError> {
    Ok(stage.xattrs_at(at)?.iter().any(|xattr| xattr.name == XATTR))
}

/// The label of what is at a path, of a symbolic link itself; `None` where there is none, or nothing.
pub(super) fn of(path: &GuestPath, stage: &Stage<'_>) -> Result<Option<Xattr>, InjectError> {
    match stage.symlink_metadata(path)? {
        Some(_) => Ok(stage.xattrs_at(&stage.resolve_parent(path)?)?.into_iter().find(|xattr| xattr.name == XATTR)),
        None => Ok(None),
    }
}

/// Gives what is at a path, a symbolic link itself, this label, or none: then it gets one with all that is new.
pub(super) fn keep(path: &GuestPath, label: Option<Xattr>, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    let found = of(path, stage)?;
    let at = stage.resolve_parent(path)?;
    match label {
        _ if found == label => Ok(()),
        Some(label) => Ok(stage.set_xattr_at(&at, label)?),
        None => Ok(stage.remove_xattr_at(&at, XATTR)?),
    }
}

fn set_labels(
    contexts: &mut FileContexts,
    policy: &str,
    unlabelled: &[(Resolved, FileType)],
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    let (mut untried, mut labelled, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    let (mut disputed, mut unsure) = (Vec::new(), Vec::new());
    for (path, file_type) in unlabelled {
        if is_labelled(path, stage)? {
            // Under another one of its names, just now.
            continue;
        }
        let found = contexts.label(path.as_bytes(), *file_type);
        if !found.untried.is_empty() {
            unsure.push((path.clone(), *file_type));
        }
        untried.extend(found.untried);
        if found.is_disputed {
            disputed.push(path.to_string());
        }
        match found.label {
            Label::Context(mut value) => {
                labelled.push(format!("{path} {}", value.escape_ascii()));
                // The kernel keeps the label with the NUL of its C string.
                value.push(0);
                stage.set_xattr_at(path, Xattr { name: XATTR.to_vec(), value })?;
            }
            Label::None => {}
            Label::Unknown => unknown.push(path.to_string()),
        }
    }
    if !labelled.is_empty() {
        outcome.notes.push(format!("labelled by the guest's SELinux policy '{policy}': {}", list(&labelled)));
    }
    if !unknown.is_empty() {
        outcome.notes.push(format!("the guest's SELinux policy '{policy}' has no label for {}", list(&unknown)));
    }
    if !disputed.is_empty() {
        outcome.notes.push(format!(
            "nothing says which libselinux the guest has; of several rules of file_contexts.subs that fit, and of several lines of the policy for \
             one path, those before 3.8, 3.8 and those since 3.9 do not all take the same one, and another one than that of 3.9 makes another \
             label for {}",
            list(&disputed)
        ));
    }
    untried.sort();
    untried.dedup();
    if untried.is_empty() {
        return Ok(());
    }
    // What they have now is what the lines say that could be tried.
    let why = format!("expressions of the guest's SELinux policy could not be tried ({})", list(&untried));
    restore_at_boot(&why, &unsure, stage, outcome)
}

/// A few of them, and how many more.
fn list(items: &[String]) -> String {
    let (shown, rest) = items.split_at(items.len().min(4));
    let shown = shown.join(", ");
    if rest.is_empty() { shown } else { format!("{shown} and {} more", rest.len()) }
}

fn restore_at_boot(
    why: &str,
    unlabelled: &[(Resolved, FileType)],
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    // restorecon -R reaches what is in a new directory.
    let directories: Vec<_> = unlabelled.iter().filter(|(_, kind)| *kind == FileType::Directory).collect();
    let is_inside = |path: &Resolved| {
        let below =
            |dir: &Resolved| path.as_bytes().strip_prefix(dir.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"));
        directories.iter().any(|(dir, _)| below(dir))
    };
    let tops: Vec<_> = unlabelled.iter().filter(|(path, _)| !is_inside(path)).take(RESTORED_MAX + 1).collect();
    if tops.len() > RESTORED_MAX {
        let why = format!("{why}, for more than {RESTORED_MAX} files and directories");
        return relabel_at_boot(&why, stage, outcome);
    }
    let comment = "Added by imgraft to give injected files the right SELinux context";
    let Some(script) = Labelling::staged(stage)?.rc_local else {
        return relabel_at_boot(&format!("{why}, and nothing in it runs restorecon from an rc.local"), stage, outcome);
    };
    let script = GuestPath::parse(script)?;
    let (mut is_added, mut is_left) = (false, false);
    for (path, _) in tops {
        let command = shell_word(path.as_bytes()).map(|word| format!("restorecon -RF {word} 2>/dev/null || :"));
        let added =
            command.map(|command| rc_local::add(&script, stage, comment, &command)).transpose()?.unwrap_or(false);
        is_left |= !added;
        is_added |= added;
    }
    if is_added {
        outcome.notes.push(format!("{why}: restorecon runs from {script} at the next boot"));
    }
    if is_left {
        let why = format!("{why}, and not everything can be given to restorecon in its rc.local");
        relabel_at_boot(&why, stage, outcome)?;
    }
    Ok(())
}

/// Has the guest label all of its files at its next boot with SELinux; where nothing in it is known to do that, says what is to be done.
fn relabel_at_boot(why: &str, stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let path = GuestPath::parse(AUTORELABEL)?;
    if stage.symlink_metadata(&path)?.is_none() {
        stage.write(&path, Content::bytes(Vec::new()), ROOT_FILE)?;
    }
    outcome.notes.push(match Labelling::staged(stage)?.of_all {
        Some(shown_by) => format!(
            "{why}: {path} has it label all of its files at its next boot with SELinux, as {shown_by} shows"
        ),
        None => format!(
            "{why}: {path} asks for all of its files to be labelled at a boot, and nothing in the guest is known to look for that; boot it with \
             enforcing=0 on the kernel's command line, and run `restorecon -RF /` in it as root"
        ),
    });
    Ok(())
}

/// The path as a word of a shell; `None` where it holds what a script should not.
fn shell_word(path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    if path.chars().any(|char| char.is_control() || char == '\'') {
        return None;
    }
    let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@%".contains(&byte));
    Some(if is_plain { path.to_owned() } else { format!("'{path}'") })
}

fn read_policy(selinux: &Selinux, stage: &Stage<'_>) -> Result<Option<(FileContexts, String)>, InjectError> {
    let Some(policy) = &selinux.policy else { return Ok(None) };
    let read = |suffix: &str| -> Result<Option<Vec<u8>>, InjectError> {
        let path = GuestPath::parse(format!("/etc/selinux/{policy}/contexts/files/file_contexts{suffix}"))?;
        match stage.read(&path, READ_LIMIT) {
            Ok(text) => Ok(text),
            // A policy that is bent out of shape is one that cannot be read; a broken filesystem is not.
            Err(error) if !matches!(error.kind(), imgraft_vfs::ErrorKind::Io | imgraft_vfs::ErrorKind::Corrupt) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    };
    let Some(base) = read("")? else { return Ok(None) };
    let [homedirs, local] = [read(".homedirs")?, read(".local")?].map(Option::unwrap_or_default);
    let Some(contexts) = FileContexts::new([&base, &homedirs, &local]) else { return Ok(None) };
    let [local, distribution] = [read(".subs")?, read(".subs_dist")?].map(Option::unwrap_or_default);
    let contexts = contexts.with_substitutions(local, distribution, selinux.libselinux.map(Release::of));
    Ok(Some((contexts, policy.clone())))
}
