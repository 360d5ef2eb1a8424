//! All requests onto one stage, in order, with a savepoint before each.

use super::fitting::{LeftOut, Reason};
use super::{Earlier, InjectError, Injector, Item, Outcome, Request, Revealed};
use crate::diff::{self, Places, Sensitivity};
use crate::failure::Failure;
use crate::guest::{Accounts, Guest, Network, NetworkStack, mounts};
use crate::report::{ItemReport, Status};
use imgraft_vfs::fs::{FileType, GuestFs, Metadata, Ownership};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::stage::{Change, ChangeSet, Led, Savepoint, Stage};
use imgraft_vfs::{ErrorKind, Result};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// What is staged: the changes, and what is to be told of them.
#[derive(Debug)]
pub struct Staged {
    /// The changes.
    pub changes: ChangeSet,
    /// The items, in order.
    pub items: Vec<ItemReport>,
    /// The changes as a diff.
    pub diff: String,
    /// Passwords that were made up.
    pub revealed: Vec<Revealed>,
    /// The symbolic links that lead to where no guest sees anything of a disk, by which something was put there.
    pub led: Vec<Led>,
}

/// Whether the changes are to be shown as a diff; it costs reading every file that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Show {
    Diff,
    Nothing,
}

/// Checks the lines that an fstab gets: what to know of them, a clause each.
pub type CheckFstab<'a> = &'a dyn Fn(&Stage<'_>) -> Result<Vec<String>>;

/// Stages all requests in their order. Files may be of several requests, which are one item.
///
/// A required item that fails is the run's failure; an optional one is rolled back and reported, as one is that is left out.
pub fn stage_all(
    requests: &[Request],
    left_out: &LeftOut,
    guest: &Guest,
    fs: &dyn GuestFs,
    show: Show,
    check_fstab: CheckFstab<'_>,
) -> Result<Staged, Failure> {
    stage_for(None, requests, left_out, guest, fs, show, check_fstab)
}

/// The same, with a network for the guest that the run is known to leave.
fn stage_for(
    left: Option<&Network>,
    requests: &[Request],
    left_out: &LeftOut,
    guest: &Guest,
    fs: &dyn GuestFs,
    show: Show,
    check_fstab: CheckFstab<'_>,
) -> Result<Staged, Failure> {
    let mut stage = Stage::new(fs);
    let mut items: Vec<ItemReport> = Vec::with_capacity(requests.len());
    let mut revealed = Vec::new();
    let first = guest;
    let mut guest = Cow::Borrowed(first);
    let mut earlier = Earlier::default();
    // Why the network was refused, where what comes after it may have the guest use it.
    let mut refusal: Option<Failure> = None;
    for (at, &Request { ref injector, required }) in requests.iter().enumerate() {
        let known = items.iter().position(|report| report.item == injector.item());
        // What is left of an item goes with the part that failed.
        if known.and_then(|at| items.get(at)).is_some_and(|report| report.status == Status::Failed) {
            continue;
        }
        if let Some(reason) = left_out.reason(injector.item()) {
            items.push(ItemReport::failed(injector.item(), reason.clone()));
            continue;
        }
        earlier.expect(requests.get(at + 1..).unwrap_or_default());
        let before = stage.savepoint();
        let outcome = needs_root(injector.item(), fs)
            .and_then(|()| {
                // What was done before it counts.
                match left {
                    _ if injector.item() != Item::Net => {}
                    Some(left) => {
                        // In the guest that is left cloud-init has been told already, by this very item.
                        let cloud_init_says = Network::staged(&stage)?.cloud_init_says;
                        guest.to_mut().network = Network { cloud_init_says, ..left.clone() };
                    }
                    None if at > 0 => guest.to_mut().network = Network::staged(&stage)?,
                    None => {}
                }
                Ok(())
            })
            .and_then(|()| injector.stage_after(&earlier, &guest, &mut stage))
            .and_then(|outcome| with_fstab(outcome, &before, &stage, check_fstab))
            .and_then(|(outcome, changes)| {
                let accounts = accounts_of(&changes, &stage)?;
                Ok((outcome, changes, accounts))
            });
        match outcome {
            Ok((outcome, changes, accounts)) => {
                // Files may change what files have put in, and what is cleaned is there to be put in again.
                if !matches!(injector.item(), Item::Files | Item::Operation(_)) {
                    earlier.add(injector.item(), &changes, stage.spoken_of_since(&before));
                }
                earlier.add_readers(injector.item(), outcome.readers);
                earlier.add_premises(injector.item(), outcome.premises);
                earlier.add_host_name(outcome.host_name);
                if let Some(accounts) = accounts {
                    guest.to_mut().accounts = accounts;
                }
                let report = ItemReport::staged(injector.item(), required, &changes, outcome.notes);
                match known.and_then(|at| items.get_mut(at)) {
                    Some(before) => before.join(report),
                    None => items.push(report),
                }
                revealed.extend(outcome.revealed);
            }
            Err(error) if is_fatal_to_all(&error) => {
                return Err(with_left_out(Failure::item(injector.item(), &error), &items));
            }
            Err(error) if injector.item() == Item::Net && left.is_none() && at + 1 < requests.len() => {
                stage.rollback(before);
                refusal = Some(Failure::item(Item::Net, &error));
            }
            Err(error) if required => {
                let failure = || with_left_out(Failure::item(injector.item(), &error), &items);
                return Err(refusal.unwrap_or_else(failure));
            }
            Err(error) => {
                let reason = Reason::from(Failure::item(injector.item(), &error));
                if known.is_some() {
                    // All of it goes, and what came after its beginning went by that.
                    let left_out = left_out.with(injector.item(), reason);
                    return stage_all(requests, &left_out, first, fs, show, check_fstab);
                }
                stage.rollback(before);
                items.push(ItemReport::failed(injector.item(), reason));
            }
        }
    }
    if refusal.is_some() {
        let network = Network::staged(&stage)?;
        return stage_for(Some(&network), requests, left_out, first, fs, show, check_fstab);
    }
    // Where nothing comes after it, it is what it was.
    let net = requests.iter().position(|request| request.injector.item() == Item::Net);
    if let Some(at) = net.filter(|at| at + 1 < requests.len())
        && let Some(Request { injector, required }) = requests.get(at)
        && let Some(report) = items.iter_mut().find(|report| report.item == Item::Net)
        && report.status != Status::Failed
    {
        match once_more(injector.as_ref(), &guest, &mut stage) {
            Ok(Again { network, wants: Wants::Others, .. }) if left.is_none() => {
                return stage_for(Some(&network), requests, left_out, first, fs, show, check_fstab);
            }
            Ok(again) => report.notes.extend(again.note),
            Err(error) if *required || is_fatal_to_all(&error) => return Err(Failure::item(Item::Net, &error)),
            Err(error) => {
                let left_out = left_out.with(Item::Net, Reason::from(Failure::item(Item::Net, &error)));
                return stage_all(requests, &left_out, first, fs, show, check_fstab);
            }
        }
    }
    // What later items do counts, too.
    for (premise, item) in earlier.premises() {
        let remarks = match premise.remarks(&stage) {
            Err(error) if is_fatal_to_all(&error) => return Err(Failure::item(*item, &error)),
            // What is put in is right all the same.
            Err(error) => vec![format!("whether the guest uses it is not known: {error}")],
            Ok(remarks) => remarks,
        };
        if let Some(report) = items.iter_mut().find(|report| report.item == *item) {
            for remark in remarks {
                if !report.notes.contains(&remark) {
                    report.notes.push(remark);
                }
            }
        }
    }
    let shadows = sensitive(&stage)?;
    // What operations remove is private keys and histories, and much of it.
    let of_operations = requests.iter().any(|request| matches!(request.injector.item(), Item::Operation(_)));
    let places = match show {
        Show::Nothing => Places::default(),
        Show::Diff => Places::staged(&stage)?,
    };
    let led = stage.led_to(mounts::is_never_seen)?;
    let origins = stage.origins().clone();
    let changes = stage.finish()?;
    let changed: BTreeSet<String> = changes.changes().iter().map(|change| change.path.to_string()).collect();
    items.iter_mut().for_each(|item| item.keep_only(&changed));
    let diff = match show {
        Show::Nothing => String::new(),
        Show::Diff => {
            let mut text = String::new();
            for change in changes.changes() {
                let paths: Vec<_> = std::iter::once(&change.path).chain(origins.of(&change.path)).collect();
                let sensitivity = match paths.iter().any(|path| shadows.contains(path)) {
                    _ if of_operations && change.after.is_none() => Sensitivity::Unseen,
                    true => Sensitivity::Hashes,
                    false => paths
                        .iter()
                        .map(|path| Sensitivity::of(path, &places))
                        .fold(Sensitivity::Plain, Sensitivity::max),
                };
                let sensitivity = match sensitivity {
                    Sensitivity::Plain if is_private(change, &paths, fs)? && !is_of_an_item(change, &items) => {
                        Sensitivity::Unseen
                    }
                    sensitivity => sensitivity,
                };
                text.push_str(&diff::render(change, fs, sensitivity)?);
            }
            text
        }
    };
    Ok(Staged { changes, items, diff, revealed, led })
}

/// The failure of an item with what was left out before it, which it may have needed.
fn with_left_out(failure: Failure, items: &[ItemReport]) -> Failure {
    let reasons = items.iter().filter(|item| item.status == Status::Failed).filter_map(|item| item.error.as_deref());
    let told =
        reasons.filter(|reason| !reason.is_empty()).map(|reason| format!("left out before it, as optional: {reason}"));
    told.fold(failure, Failure::with_hint)
}

/// What comes of a network that is asked for again.
struct Again {
    /// Of the guest that the run leaves.
    network: Network,
    wants: Wants,
    /// What is to be known of it.
    note: Option<String>,
}

/// What a network that is asked for again would be.
enum Wants {
    /// What it is.
    Same,
    /// In other files, or with other words about who reads them: the guest listens to another program, or starts others.
    Others,
}

/// Asks once more for a network that is put in, when all else of the run is done, and takes back what comes of that. Fails where that
/// fails then, as where a unit of the run keeps what would configure it from being started.
fn once_more(injector: &dyn Injector, guest: &Guest, stage: &mut Stage<'_>) -> Result<Again, InjectError> {
    let before = stage.savepoint();
    let network = Network::staged(stage)?;
    let listener = |network: &Network| network.listener().ok().map(|state| state.stack);
    let is_of_other = listener(&network) != listener(&guest.network);
    let is_told = started(&network) == started(&guest.network);
    let guest = Guest { network: network.clone(), ..guest.clone() };
    let changes = match injector.stage(&guest, stage) {
        Ok(_) => stage.changes_since(&before),
        Err(InjectError::Vfs(error)) => Err(error),
        Err(error) => return Err(InjectError::Afterwards(Box::new(error))),
    };
    stage.rollback(before);
    let changes = changes?;
    let paths: Vec<String> = changes.iter().map(|change| change.path.to_string()).collect();
    let is_elsewhere = !changes.is_empty() && (is_of_other || changes.iter().any(|change| change.before.is_none()));
    let wants = if is_elsewhere || !is_told { Wants::Others } else { Wants::Same };
    let note = || {
        format!(
            "{}: with what comes after the network in this run, the same run again would change that",
            paths.join(", ")
        )
    };
    Ok(Again { network, wants, note: (!paths.is_empty()).then(note) })
}

/// The programs for the network that a guest starts, with what shows it, and whether cloud-init is one: what is said of one that was
/// chosen goes by that.
fn started(network: &Network) -> (Vec<(NetworkStack, &str)>, bool) {
    let shown = network.stacks.iter().filter_map(|state| Some((state.stack, state.enabled_by.as_deref()?)));
    (shown.collect(), network.cloud_init.is_some())
}

/// What an item has changed, and what it has to say with what there is to say of an fstab among that.
fn with_fstab(
    mut outcome: Outcome,
    before: &Savepoint,
    stage: &Stage<'_>,
    check: CheckFstab<'_>,
) -> Result<(Outcome, Vec<Change>), InjectError> {
    let changes = stage.changes_since(before)?;
    let path = GuestPath::parse("/etc/fstab")?;
    // Where its path leads nowhere, no change is there; the link to it may be what is new.
    let places = [stage.resolve(&path).ok(), stage.resolve_parent(&path).ok()];
    if changes.iter().any(|change| places.iter().flatten().any(|at| *at == change.path)) {
        outcome.notes.extend(check(stage)?);
    }
    Ok((outcome, changes))
}

/// The users and groups, where one of the changes is of a file that says who they are, or of the way to one; an error where they
/// cannot be read then.
fn accounts_of(changes: &[Change], stage: &Stage<'_>) -> Result<Option<Accounts>, InjectError> {
    for path in ["/etc/passwd", "/etc/group"] {
        let path = GuestPath::parse(path)?;
        let at = if changes.is_empty() { None } else { Some(stage.resolve(&path)?) };
        if changes.iter().any(|change| Some(&change.path) == at.as_ref()) {
            return Ok(Some(Accounts::staged(stage)?));
        }
    }
    Ok(None)
}

/// Fails where an item is about users or services of a guest, and the filesystem cannot be the root of one.
fn needs_root(item: Item, fs: &dyn GuestFs) -> Result<(), InjectError> {
    let needs = match item {
        Item::Accounts | Item::Key | Item::Net | Item::Hostname | Item::HostKeys => true,
        Item::Password | Item::Firstboot => true,
        Item::Timezone | Item::Locale | Item::MachineId | Item::Units | Item::Operation(_) => true,
        Item::Metadata | Item::Files | Item::Seed => false,
    };
    match fs.ownership(&Resolved::root()) {
        Ownership::Fixed { .. } if needs => Err(InjectError::NoRoot),
        _ => Ok(()),
    }
}

fn is_fatal_to_all(error: &InjectError) -> bool {
    matches!(error, InjectError::Vfs(error) if is_fatal(error.kind()))
}

/// Whether an error says that the image or its host cannot be trusted, which no item can be optional about.
pub(super) fn is_fatal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Io | ErrorKind::Corrupt)
}

/// Whether a file is, or was where it comes from, one that only its owner may read, so that its text is not for everyone.
fn is_private(change: &Change, paths: &[&Resolved], fs: &dyn GuestFs) -> Result<bool> {
    let mut states: Vec<_> =
        [&change.before, &change.after].into_iter().flatten().map(|state| state.metadata).collect();
    for path in paths {
        states.extend(fs.lookup(path)?);
    }
    // A program of its owner's is a script to be read, and who may log in with which key is public.
    let is_private = |file: &Metadata| file.file_type == FileType::Regular && file.mode & 0o155 == 0;
    let is_public = |path: &str| path.contains("/authorized_keys") || path.starts_with("/etc/ssh/sshd_config");
    Ok(states.iter().any(is_private) && !paths.iter().any(|path| is_public(&path.to_string())))
}

/// Whether a file is changed by an item that knows what is in it, as the items "files" and the operations do not.
fn is_of_an_item(change: &Change, items: &[ItemReport]) -> bool {
    let path = change.path.to_string();
    let known = items.iter().filter(|report| !matches!(report.item, Item::Files | Item::Operation(_)));
    known.flat_map(|report| &report.files).any(|file| file.path == path)
}

/// Where the guest's account databases with hashes really lie, before the run and after it.
fn sensitive(stage: &Stage<'_>) -> Result<Vec<Resolved>> {
    let names = ["shadow", "gshadow", "passwd", "group"];
    let paths = names.iter().flat_map(|name| [format!("/etc/{name}"), format!("/etc/{name}-")]).collect::<Vec<_>>();
    [&Stage::new(stage.base()), stage]
        .into_iter()
        .flat_map(|stage| paths.iter().map(|path| stage.resolve(&GuestPath::parse(path)?)))
        // Where the way leads nowhere, no database is there.
        .filter(|at| !at.as_ref().is_err_and(|error| diff::is_nowhere(error.kind())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::{Compat, FileMode, FileOperation, Files, Metadata};
    use imgraft_vfs::fs::Content;
    use imgraft_vfs::fs::mem::MemFs;

    /// What becomes of optional files and of a required one after them.
    fn after_optional(operation: FileOperation) -> Result<Vec<Status>, String> {
        let fs = MemFs::builder().file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n").build().unwrap();
        let files = |operation| Box::new(Files { operations: vec![operation], compat: Compat::Imgraft });
        let metadata = Metadata { pairs: vec![("role".to_owned(), "web".to_owned())], compat: Compat::Imgraft };
        let requests = [
            Request { injector: files(operation), required: false },
            Request { injector: Box::new(metadata), required: true },
        ];
        let guest = Guest::inspect(&fs).unwrap();
        let staged = stage_all(&requests, &LeftOut::default(), &guest, &fs, Show::Nothing, &|_| Ok(Vec::new()));
        staged.map(|staged| staged.items.iter().map(|item| item.status).collect()).map_err(|failure| failure.message)
    }

    #[test]
    fn optional_files_by_which_nobody_is_known_are_left_out() {
        let path = || GuestPath::parse("/etc/passwd").unwrap();
        let large = vec![b'\n'; usize::try_from(crate::guest::accounts::LIMIT).unwrap() + 1];
        for operation in [
            FileOperation::Put { destination: path(), content: Content::bytes(large), mode: FileMode::WhereNew(0o644) },
            FileOperation::Link { target: "passwd".to_owned(), path: path() },
        ] {
            assert_eq!(after_optional(operation), Ok(vec![Status::Failed, Status::Applied]));
        }
    }

    /// What a required item lacks may be what an optional one was to bring.
    #[test]
    fn what_was_left_out_is_named_where_another_item_fails() {
        let fs = MemFs::builder().file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n").build().unwrap();
        let path = |path: &str| GuestPath::parse(path).unwrap();
        let files = |operation| Box::new(Files { operations: vec![operation], compat: Compat::Imgraft });
        let none = FileOperation::Truncate { path: path("/none") };
        let metadata = Metadata { pairs: vec![("role".to_owned(), "web".to_owned())], compat: Compat::Imgraft };
        for (operation, left_out) in [(none, true), (FileOperation::MakeDirectory { path: path("/srv") }, false)] {
            let users = crate::inject::Passwords {
                users: vec![("ann".to_owned(), crate::inject::Selector::Disabled)],
                method: None,
                expired: Vec::new(),
                now: imgraft_vfs::fs::Timestamp::default(),
                compat: Compat::Imgraft,
            };
            let requests = [
                Request { injector: files(operation), required: false },
                Request { injector: Box::new(metadata.clone()), required: true },
                Request { injector: Box::new(users), required: true },
            ];
            let guest = Guest::inspect(&fs).unwrap();
            let failure = stage_all(&requests, &LeftOut::default(), &guest, &fs, Show::Nothing, &|_| Ok(Vec::new()));
            let hints = failure.unwrap_err().hints.join("\n");
            assert_eq!(hints.contains("left out before it, as optional: item files: /none"), left_out, "{hints}");
        }
    }

    #[test]
    fn the_diff_of_a_file_of_the_network_has_no_password() {
        let path = "/etc/netplan/70-wifi.yaml";
        let fs = MemFs::builder().file(path, "a: {password: geheim}\nb: 1\n").mode(0o600).build().unwrap();
        let operation = FileOperation::Put {
            destination: GuestPath::parse(path).unwrap(),
            content: Content::bytes(&b"a: {password: anders}\nb: 1\n"[..]),
            mode: FileMode::WhereNew(0o600),
        };
        let files = Files { operations: vec![operation], compat: Compat::Imgraft };
        let requests = vec![Request { injector: Box::new(files), required: true }];
        let guest = Guest::inspect(&fs).unwrap();
        let staged = stage_all(&requests, &LeftOut::default(), &guest, &fs, Show::Diff, &|_| Ok(Vec::new())).unwrap();
        assert!(
            staged.diff.ends_with("-a: {password: <old secret>\n+a: {password: <new secret>\n b: 1\n"),
            "{}",
            staged.diff
        );
    }

    #[test]
    fn the_diff_of_an_account_database_has_no_hash() {
        for name in ["shadow", "shadow-", "gshadow", "passwd", "passwd-", "group"] {
            let path = format!("/etc/{name}");
            let fs = MemFs::builder().file(&path, "ann:$1$salt$secret:\n").symlink("/put-here", &path).build().unwrap();
            let put = FileOperation::Put {
                destination: GuestPath::parse("/put-here").unwrap(),
                content: Content::bytes(&b"ann:$6$salt$secret:\n"[..]),
                mode: FileMode::WhereNew(0o600),
            };
            let files = Files { operations: vec![put], compat: Compat::Imgraft };
            let requests = vec![Request { injector: Box::new(files), required: true }];
            let guest = Guest::inspect(&fs).unwrap();
            let staged =
                stage_all(&requests, &LeftOut::default(), &guest, &fs, Show::Diff, &|_| Ok(Vec::new())).unwrap();
            assert!(staged.diff.ends_with("-ann:<old hash>:\n+ann:<new hash>:\n"), "{path}: {}", staged.diff);
        }
    }
}
