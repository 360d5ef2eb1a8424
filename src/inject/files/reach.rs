//! What an operation could undo of what other items have put in.

use super::super::earlier::{Kept, Refused};
use super::super::{HostName, Hostname, InjectError, Outcome};
use super::{FileError, FileOperation};
use imgraft_vfs::fs::Metadata;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// Which files an operation could take from another item.
enum Reach<'o> {
    /// None.
    Nothing,
    /// None: what it does to the lines of a file comes to what is in it.
    Lines(&'o GuestPath),
    /// The one that the path leads to.
    File(&'o GuestPath),
    /// What has this path itself.
    Name(&'o GuestPath),
    /// Any.
    Tree,
}

impl FileOperation {
    /// The option, or those, that ask for it; words where none does.
    pub(super) fn option(&self) -> &'static str {
        match self {
            Self::Put { .. } | Self::Upload { .. } => "--upload or --write",
            Self::CopyIn { .. } => "--copy-in or --tar-in",
            Self::Copy { .. } => "--copy",
            Self::Move { .. } => "--move",
            Self::AppendLine { .. } => "--append-line",
            Self::Edit { .. } => "--edit",
            Self::MakeDirectory { .. } => "--mkdir",
            Self::EnsureFile { .. } | Self::EnsureDirectory { .. } | Self::EnsureAround { .. } => {
                "what is made where it is missing"
            }
            Self::RemoveLink { .. } => "the file in the place of a link",
            Self::Expect { .. } => "what may be there already",
            Self::Link { .. } | Self::LinkInto { .. } => "--link",
            Self::Delete { .. } => "--delete",
            Self::Scrub { .. } => "--scrub",
            Self::Touch { .. } => "--touch",
            Self::Truncate { .. } => "--truncate",
            Self::TruncateBelow { .. } => "--truncate-recursive",
            Self::Chown { .. } => "--chown",
            Self::Chmod { .. } => "--chmod",
        }
    }

    /// Of which files it could undo what another item has made of them.
    fn reach(&self) -> Reach<'_> {
        match self {
            Self::Put { destination: path, .. } | Self::Upload { destination: path, .. } | Self::Truncate { path } => {
                Reach::File(path)
            }
            Self::Link { path, .. } | Self::LinkInto { path, .. } => Reach::Name(path),
            Self::RemoveLink { path } | Self::Scrub { path } => Reach::Name(path),
            Self::AppendLine { path, .. } | Self::Edit { path, .. } => Reach::Lines(path),
            Self::CopyIn { .. } | Self::Copy { .. } | Self::Move { .. } => Reach::Tree,
            Self::Delete { .. } | Self::TruncateBelow { .. } => Reach::Tree,
            Self::EnsureFile { .. } | Self::EnsureDirectory { .. } | Self::EnsureAround { .. } => Reach::Nothing,
            Self::Expect { .. } => Reach::Nothing,
            Self::MakeDirectory { .. } | Self::Touch { .. } | Self::Chown { .. } | Self::Chmod { .. } => Reach::Nothing,
        }
    }

    /// Where the operation, which is just done, has written hosts(5), that has the guest's name again.
    pub(super) fn keep_host_name(
        &self,
        name: &HostName,
        kept: &mut Kept,
        stage: &mut Stage<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), InjectError> {
        let hosts = GuestPath::parse("/etc/hosts")?;
        let written = match self {
            Self::Put { destination, .. } => destination,
            // It may be among what comes.
            Self::CopyIn { .. } | Self::Copy { .. } | Self::Move { .. } if stage.metadata(&hosts)?.is_some() => &hosts,
            _ => return Ok(()),
        };
        let hostname = Hostname { name: name.clone() };
        if hostname.in_written(written, stage, outcome)? {
            kept.renew(&stage.resolve(written)?, stage)?;
        }
        Ok(())
    }

    /// Fails where the operation, which is of one path and just done, has undone what another item did there.
    pub(super) fn check_path(&self, kept: &mut Kept, stage: &Stage<'_>) -> Result<(), InjectError> {
        if kept.is_empty() {
            return Ok(());
        }
        let (path, item) = match self.reach() {
            Reach::Nothing | Reach::Tree => return Ok(()),
            Reach::Lines(path) => return kept.renew(&stage.resolve(path)?, stage),
            Reach::File(path) => {
                let (name, at) = (stage.resolve_parent(path)?, stage.resolve(path)?);
                // Through an item's link into a file that was there for others.
                let of_link = if name == at { None } else { kept.link(&name) };
                (path, of_link.or(kept.undone(&at, stage)?))
            }
            Reach::Name(path) => (path, kept.undone(&stage.resolve_parent(path)?, stage)?),
        };
        match item {
            Some(item) => Err(InjectError::File(FileError::Undone { option: self.option(), path: path.clone(), item })),
            None => Ok(()),
        }
    }

    /// Fails where the operations of one option, of which this is the last, have left a file to an owner or a mode with which
    /// nobody reads what another item has put in.
    pub(super) fn check_readers(&self, kept: &Kept, stage: &Stage<'_>) -> Result<(), InjectError> {
        match kept.any_refused(stage)? {
            Some(Refused { path, reader, item, metadata: Metadata { mode, uid, .. } }) => {
                Err(InjectError::File(FileError::NotTaken {
                    option: self.option(),
                    path: path.into(),
                    reader,
                    item,
                    mode,
                    uid,
                }))
            }
            None => Ok(()),
        }
    }

    /// The same as of one path of the last of several operations of one option that are about many paths.
    pub(super) fn check_tree(&self, kept: &Kept, stage: &Stage<'_>) -> Result<(), InjectError> {
        if !matches!(self.reach(), Reach::Tree) {
            return Ok(());
        }
        match kept.any_undone(stage)? {
            Some((path, item)) => {
                Err(InjectError::File(FileError::Undone { option: self.option(), path: path.into(), item }))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Guest;
    use crate::inject::fitting::LeftOut;
    use crate::inject::staging::{Show, Staged, stage_all};
    use crate::inject::testing::{ED25519, phony};
    use crate::inject::{
        AccountName, Accounts, Compat, FileMode, Files, HostEntry, HostKind, HostNames, HostTree, Injector, Item, Keys,
        NewUser, PathPattern, Request, Substitution, Timezone, Zone,
    };
    use imgraft_vfs::fs::mem::MemFs;
    use imgraft_vfs::fs::{Attrs, Content, Timestamp};

    const KEYS: &str = "/root/.ssh/authorized_keys";

    fn path(path: &str) -> GuestPath {
        GuestPath::parse(path).unwrap()
    }

    fn put(to: &str, text: &str) -> FileOperation {
        FileOperation::Put {
            destination: path(to),
            content: Content::bytes(text.as_bytes()),
            mode: FileMode::WhereNew(0o600),
        }
    }

    fn delete(pattern: &str) -> FileOperation {
        FileOperation::Delete { pattern: PathPattern::new(path(pattern)).unwrap() }
    }

    fn moved(source: &str, destination: &str) -> FileOperation {
        FileOperation::Move { source: path(source), destination: path(destination) }
    }

    fn copy(source: &str, destination: &str) -> FileOperation {
        FileOperation::Copy { source: path(source), destination: path(destination) }
    }

    fn append(to: &str) -> FileOperation {
        FileOperation::AppendLine { path: path(to), line: "more".to_owned() }
    }

    fn link(target: &str, at: &str) -> FileOperation {
        FileOperation::Link { target: target.to_owned(), path: path(at) }
    }

    fn guest() -> MemFs {
        phony()
            .file("/etc/hostname", "old\n")
            .file("/etc/skel/.profile", "skel\n")
            .file("/srv/keys/.ssh/authorized_keys", "")
            .file("/usr/share/zoneinfo/Europe/London", "TZif2")
            .build()
            .unwrap()
    }

    /// The same after an earlier run without files.
    fn guest_again() -> MemFs {
        let mut fs = guest();
        staged(&fs, Vec::new(), Compat::Imgraft, true).unwrap().changes.apply(&mut fs).unwrap();
        fs
    }

    /// What comes of the operations in a run with a new user, a key, a host name and a time zone: the failure, or that of an
    /// item that may fail.
    fn beside(operations: Vec<FileOperation>, compat: Compat, required: bool) -> Result<Option<String>, String> {
        let staged = staged(&guest(), operations, compat, required)?;
        let keys = staged.changes.changes().iter().any(|change| change.path.as_bytes() == KEYS.as_bytes());
        assert!(keys || compat == Compat::Nova);
        Ok(staged.items.iter().find_map(|item| item.error.clone()))
    }

    fn staged(fs: &MemFs, operations: Vec<FileOperation>, compat: Compat, required: bool) -> Result<Staged, String> {
        let guest = Guest::inspect(fs).unwrap();
        let users = vec![NewUser::named(AccountName::parse("bob").unwrap())];
        let injectors: [Box<dyn Injector>; 5] = [
            Box::new(Files { operations, compat }),
            Box::new(Accounts { users, ..Accounts::none(Timestamp::default()) }),
            Box::new(Keys { keys: vec![("root".to_owned(), ED25519.to_owned())], compat, now: Timestamp::default() }),
            Box::new(Hostname { name: HostName::parse("web").unwrap() }),
            Box::new(Timezone { zone: Zone::parse("Europe/London").unwrap() }),
        ];
        let mut requests =
            injectors.map(|injector| Request { required: required || injector.item() != Item::Files, injector });
        requests.sort_by_key(|request| request.injector.item());
        let staged = stage_all(&requests, &LeftOut::default(), &guest, fs, Show::Nothing, &|_| Ok(Vec::new()))
            .map_err(|failure| format!("{} {:?}", failure.message, failure.exit))?;
        assert_eq!(staged.items.len(), 5);
        Ok(staged)
    }

    /// What is written is the user's own word, and the guest still finds its name.
    #[test]
    fn hosts_that_are_written_have_the_name() {
        let without = "127.0.0.1 localhost\n192.0.2.9 old\n";
        let with = "127.0.0.1 localhost\n192.0.2.7\tWEB other\n";
        let mine = |name: &str| format!("127.0.0.1 localhost\n127.0.1.1\tweb\n{name}");
        for (operations, expected, is_noted) in [
            (vec![put("/etc/hosts", without)], mine("192.0.2.9 old\n"), true),
            (vec![put("/etc/hosts", with)], with.to_owned(), false),
            (vec![put("/etc/hosts", with), put("/etc/hosts", without)], mine("192.0.2.9 old\n"), true),
            (vec![put("/etc/hosts", without), append("/etc/hosts")], mine("192.0.2.9 old\nmore\n"), true),
            (vec![link("/etc/hosts", "/srv/h"), put("/srv/h", without)], mine("192.0.2.9 old\n"), true),
            (vec![put("/srv/new", without), copy("/srv/new", "/etc/hosts")], mine("192.0.2.9 old\n"), true),
        ] {
            for mut fs in [guest(), guest_again()] {
                let staged = staged(&fs, operations.clone(), Compat::Imgraft, true).unwrap();
                let notes =
                    staged.items.iter().flat_map(|item| &item.notes).filter(|note| note.contains("a line is added"));
                assert_eq!(notes.count() > 0, is_noted, "{expected}");
                staged.changes.apply(&mut fs).unwrap();
                assert_eq!(crate::inject::testing::text(&fs, "/etc/hosts"), expected);
                if !operations.iter().any(|operation| matches!(operation, FileOperation::AppendLine { .. })) {
                    let again = self::staged(&fs, operations.clone(), Compat::Imgraft, true).unwrap();
                    assert_eq!(again.changes.changes().len(), 0, "{expected}");
                }
            }
        }
        let truncate = FileOperation::Truncate { path: path("/etc/hosts") };
        for operations in
            [vec![truncate], vec![delete("/etc/hosts")], vec![put("/etc/hosts", with), delete("/etc/hosts")]]
        {
            assert!(staged(&guest(), operations, Compat::Imgraft, true).unwrap_err().contains("the item hostname"));
        }
    }

    #[test]
    fn what_another_item_has_put_there_is_not_undone() {
        let truncate = |at: &str| FileOperation::Truncate { path: path(at) };
        let below = |at: &str| FileOperation::TruncateBelow { path: path(at) };
        let edit =
            FileOperation::Edit { path: path("/etc/hostname"), substitution: Substitution::parse("s/e/E/").unwrap() };
        for (operations, at, option, item) in [
            (vec![delete("/root/.ssh")], KEYS, "--delete", "key"),
            (vec![delete("/root/.s*"), put(KEYS, "other")], KEYS, "--delete", "key"),
            (vec![below("/root")], KEYS, "--truncate-recursive", "key"),
            (vec![truncate(KEYS)], KEYS, "--truncate", "key"),
            (vec![moved("/root/.ssh", "/srv")], KEYS, "--move", "key"),
            (vec![moved("/etc/os-release", KEYS)], KEYS, "--move", "key"),
            (vec![copy("/etc/os-release", KEYS)], KEYS, "--copy", "key"),
            (vec![copy("/srv/keys/.ssh", "/root")], KEYS, "--copy", "key"),
            (vec![link("/srv/other", KEYS)], KEYS, "--link", "key"),
            (vec![put("/etc/shadow", "root::")], "/etc/shadow", "--upload or --write", "accounts"),
            (vec![put("/etc/hostname", "foo\n")], "/etc/hostname", "--upload or --write", "hostname"),
            (
                vec![append("/etc/hostname"), put("/etc/hostname", "x")],
                "/etc/hostname",
                "--upload or --write",
                "hostname",
            ),
            (vec![edit, delete("/etc/host*")], "/etc/hostname", "--delete", "hostname"),
            (vec![delete("/etc/localtime")], "/etc/localtime", "--delete", "timezone"),
            (vec![link("/srv", "/etc/localtime")], "/etc/localtime", "--link", "timezone"),
            (vec![put("/etc/localtime", "TZif2 x")], "/etc/localtime", "--upload or --write", "timezone"),
            (
                vec![FileOperation::RemoveLink { path: path("/etc/localtime") }, put("/etc/localtime", "TZif2")],
                "/etc/localtime",
                "the file in the place of a link",
                "timezone",
            ),
            (vec![delete("/home/bob")], "/home/bob", "--delete", "accounts"),
        ] {
            let expected = format!("{at}: {option} undoes what the item {item} has put there");
            assert_eq!(
                beside(operations.clone(), Compat::Imgraft, true),
                Err(format!("item files: {expected} Refused"))
            );
            let again = staged(&guest_again(), operations.clone(), Compat::Imgraft, true);
            assert_eq!(
                again.map(|_| ()),
                Err(format!("item files: {expected} Refused")),
                "in a run that finds it there"
            );
            let reported = beside(operations, Compat::Imgraft, false).unwrap().unwrap();
            assert_eq!(reported, format!("item files: {expected}"));
        }
    }

    #[test]
    fn what_adds_to_it_is_done() {
        let edit =
            |at: &str| FileOperation::Edit { path: path(at), substitution: Substitution::parse("s/e/E/").unwrap() };
        let own = FileOperation::Chown { user: Some("ann".to_owned()), group: None, path: path("/etc/hostname") };
        let operations = vec![
            append("/etc/hostname"),
            edit(KEYS),
            FileOperation::Chmod { mode: 0o644, path: path(KEYS) },
            own,
            FileOperation::Touch { path: path(KEYS), now: Timestamp { seconds: 7, nanoseconds: 0 } },
            FileOperation::MakeDirectory { path: path("/root/.ssh") },
            copy(KEYS, "/srv/kept"),
            put("/etc/timezone", "Europe/London\n"),
            link("../usr/share/zoneinfo/Europe/London", "/etc/localtime"),
            put("/root/.ssh/config", "x"),
            delete("/root/.ssh/config"),
            delete("/srv/keys"),
            put("/home/bob/.profile", "his own"),
            delete("/home/bob/.p*"),
        ];
        assert_eq!(beside(operations.clone(), Compat::Imgraft, true), Ok(None));
        staged(&guest_again(), operations, Compat::Imgraft, true).unwrap();
        assert_eq!(beside(vec![put("/etc/hostname", "web\n")], Compat::Imgraft, true), Ok(None));
    }

    #[test]
    fn what_nobody_would_read_any_more_is_refused() {
        let chmod = |mode, at: &str| FileOperation::Chmod { mode, path: path(at) };
        let chown =
            |user: &str, at: &str| FileOperation::Chown { user: Some(user.to_owned()), group: None, path: path(at) };
        let into_root = |mode, uid| FileOperation::CopyIn {
            tree: HostTree {
                entries: vec![HostEntry {
                    path: Vec::new(),
                    kind: HostKind::Directory,
                    attrs: Attrs { mode, uid, gid: 0 },
                    mtime: None,
                    names: HostNames::One,
                }],
                notes: Vec::new(),
            },
            directory: path("/root"),
        };
        for (operations, at, shown, option) in [
            (vec![chmod(0o777, "/root/.ssh")], "/root/.ssh", "0777 and owner 0", "--chmod"),
            (vec![chmod(0o620, KEYS), chmod(0o660, KEYS)], KEYS, "0660 and owner 0", "--chmod"),
            (vec![chown("ann", KEYS), chmod(0o600, KEYS)], KEYS, "0600 and owner 1000", "--chown"),
            (vec![chown("1000", "/root")], "/root", "0700 and owner 1000", "--chown"),
            (vec![into_root(0o700, 1000)], "/root", "0700 and owner 1000", "--copy-in or --tar-in"),
            (vec![into_root(0o770, 0)], "/root", "0770 and owner 0", "--copy-in or --tar-in"),
        ] {
            let expected = format!(
                "item files: {at}: with mode {shown}, which {option} gives it, sshd ignores what the item key has put in \
                 Refused"
            );
            for fs in [guest(), guest_again()] {
                let refused = staged(&fs, operations.clone(), Compat::Imgraft, true).map(|_| ());
                assert_eq!(refused, Err(expected.clone()));
            }
        }
        let done = vec![
            chmod(0o777, "/root/.ssh"),
            chmod(0o755, "/root/.ssh"),
            chmod(0o640, KEYS),
            chmod(0o000, KEYS),
            chown("root", KEYS),
            chmod(0o644, "/etc/shadow"),
            chown("ann", "/etc/shadow"),
            chown("ann", "/root/.profile"),
            into_root(0o750, 0),
        ];
        let profile = put("/root/.profile", "");
        assert_eq!(beside([vec![profile], done].concat(), Compat::Imgraft, true), Ok(None));
        // A home that sshd does not take anyway.
        let mut fs = guest();
        let before = Files { operations: vec![chmod(0o777, "/root")], compat: Compat::Imgraft };
        fs = crate::inject::testing::inject(&before, fs);
        staged(&fs, vec![chmod(0o775, "/root")], Compat::Imgraft, true).unwrap();
    }

    #[test]
    fn nova_has_a_file_last() {
        let operations = vec![put("/etc/hostname", "foo\n"), delete("/root/.ssh")];
        assert_eq!(beside(operations, Compat::Nova, true), Ok(None));
    }
}
