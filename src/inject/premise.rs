//! What an item goes by as it puts something in, and has to hold afterwards for the guest to use that.

use super::cloud_config::{self, Rule};
use super::files::FileError;
use super::sshd::logins::{self, Groups, Login};
use super::staging::is_fatal;
use super::{InjectError, Item, accounts, host_keys, keys};
use crate::guest::Accounts;
use imgraft_vfs::fs::Timestamp;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// What the guest's configuration says of where an item has put something.
#[derive(Clone, Debug)]
pub enum Premise {
    /// sshd reads the keys of a user from a file.
    UserKeys {
        /// Whose.
        reader: KeyReader,
        /// Where they are.
        file: GuestPath,
        /// Of which types they are, `ssh-ed25519`.
        types: Vec<String>,
        /// The lines that were put in, or were found there.
        lines: Vec<String>,
    },
    /// sshd lets in a user whose keys are put in.
    Account {
        /// Whose.
        user: String,
        /// The time of the run.
        now: Timestamp,
    },
    /// The guest starts its sshd.
    Server,
    /// sshd reads host keys from these places.
    HostKeys(Vec<GuestPath>),
    /// sudo reads `/etc/sudoers.d`.
    SudoRules,
    /// cloud-init leaves what is put in.
    CloudInit(Vec<Rule>),
}

/// A user whose keys are put in.
#[derive(Clone, Debug)]
pub struct KeyReader {
    /// The name.
    pub user: String,
    /// The number.
    pub uid: u32,
    /// The number of the first group.
    pub gid: u32,
    /// The home.
    pub home: GuestPath,
}

impl KeyReader {
    /// The user's groups.
    pub(super) fn groups(&self, stage: &Stage<'_>) -> Result<Groups, InjectError> {
        Groups::of(&self.user, self.gid, stage)
    }

    /// The numbers of the user's groups.
    pub(super) fn group_numbers(&self, stage: &Stage<'_>) -> Result<Vec<u32>, InjectError> {
        logins::group_numbers(&self.user, self.gid, stage)
    }

    /// As the accounts have the user that are staged; otherwise why there is none that could log in, a clause.
    fn now(&self, stage: &Stage<'_>) -> Result<Result<Self, String>, InjectError> {
        let accounts = Accounts::staged(stage)?;
        let user = &self.user;
        let account = match accounts.user(user) {
            Some(account) => account,
            // A guest without passwd still has its superuser.
            None if accounts.users.is_none() => return Ok(Ok(self.clone())),
            None => return Ok(Err(format!("the guest has no user '{user}' any more"))),
        };
        Ok(match GuestPath::parse(&account.home) {
            Ok(home) => Ok(Self { user: user.clone(), uid: account.uid, gid: account.gid, home }),
            Err(_) => Err(format!("the home of '{user}' is '{}'", account.home.escape_ascii())),
        })
    }

    /// As sshd is asked about the user.
    pub(super) fn login<'l>(&'l self, groups: &'l Groups) -> Login<'l> {
        Login { user: &self.user, uid: self.uid, groups, home: &self.home }
    }
}

impl Premise {
    /// Fails where it holds no more, so that what `item` has put in is nothing to the guest.
    pub(super) fn check(&self, item: Item, stage: &Stage<'_>) -> Result<(), InjectError> {
        let reason = match self {
            Self::UserKeys { reader, file, .. } => match reader.now(stage)? {
                Ok(now) => {
                    let reason = logins::unread(now.login(&now.groups(stage)?), file, stage)?;
                    match now.home == reader.home {
                        true => reason,
                        false => {
                            reason.map(|reason| format!("{reason}, and the home of '{}' is {}", now.user, now.home))
                        }
                    }
                }
                Err(reason) => Some(reason),
            },
            // Somebody may mean to open it later.
            Self::Account { .. } | Self::Server => None,
            Self::HostKeys(known) => match host_keys::missing(known, stage) {
                Err(InjectError::Vfs(error)) if !is_fatal(error.kind()) => Some(error.to_string()),
                other => other?,
            },
            Self::CloudInit(_) if !cloud_config::runs(stage)? => None,
            Self::CloudInit(rules) => match cloud_config::undoing(rules, stage) {
                Err(InjectError::Vfs(error)) if !is_fatal(error.kind()) => Some(error.to_string()),
                other => other?.map(|undoing| undoing.to_string()),
            },
            Self::SudoRules => match accounts::check_sudo(stage) {
                Err(InjectError::Account(error)) => Some(error.to_string()),
                other => other.map(|()| None)?,
            },
        };
        match reason {
            Some(reason) => Err(InjectError::File(FileError::Unread { item, reason })),
            None => Ok(()),
        }
    }

    /// What keeps the guest from using what is put in, with all that the run does, a sentence each.
    pub(super) fn remarks(&self, stage: &Stage<'_>) -> Result<Vec<String>, InjectError> {
        let (reader, file, types, lines) = match self {
            Self::UserKeys { reader, file, types, lines } => (reader, file, types, lines),
            Self::Account { user, now } => return keys::account::remarks(user, *now, stage),
            Self::Server => return Ok(logins::not_started(stage)?.into_iter().collect()),
            Self::CloudInit(_) if !cloud_config::runs(stage)? => return Ok(Vec::new()),
            Self::CloudInit(_) => return Ok(cloud_config::unread(stage)?.into_iter().collect()),
            Self::HostKeys(_) | Self::SudoRules => return Ok(Vec::new()),
        };
        let now = match reader.now(stage)? {
            Ok(now) => now,
            Err(reason) => return Ok(vec![reason]),
        };
        let mut remarks = keys::way::remarks(&now, file, stage)?;
        if !keys::has_all(file, lines, stage)? {
            remarks.push(format!("{file}: an edit after the keys has taken one of them out again"));
        }
        remarks.extend(logins::refusals(now.login(&now.groups(stage)?), file, types, stage)?);
        remarks.extend(logins::lock(&reader.user, stage)?);
        Ok(remarks)
    }
}

#[cfg(test)]
mod tests {
    use crate::guest::Guest;
    use crate::inject::fitting::LeftOut;
    use crate::inject::staging::{Show, stage_all};
    use crate::inject::testing::{ED25519, phony};
    use crate::inject::{
        Accounts, Compat, FileMode, FileOperation, Files, HostKeys, Injector, Item, Keys, MadeKeys, PathPattern,
        Request, Substitution, SudoAsks, Sudoer,
    };
    use imgraft_vfs::fs::{Content, Timestamp};
    use imgraft_vfs::path::GuestPath;

    /// What comes of a run with keys for root, host keys and a rule of sudo, and with these files after them: the notes on the
    /// keys, or the failure.
    fn run(files: &[(&str, &str)], compat: Compat) -> Result<Vec<String>, String> {
        let fs = phony()
            .file("/usr/sbin/sshd", "")
            .file("/usr/bin/sudo", "")
            .file("/etc/sudoers", "@includedir /etc/sudoers.d\n")
            .file("/etc/ssh/sshd_config", "HostKey /etc/ssh/a_ed25519\n")
            .build()
            .unwrap();
        let operations = files.iter().map(|(path, text)| FileOperation::Put {
            destination: GuestPath::parse(*path).unwrap(),
            content: Content::bytes(text.as_bytes()),
            mode: FileMode::WhereNew(0o644),
        });
        let sudo = vec![Sudoer { user: "ann".to_owned(), asks: SudoAsks::Password }];
        // In two parts, of which the second one is the last file.
        let mut first: Vec<_> = operations.collect();
        let second = first.pop().into_iter().collect();
        let injectors: [Box<dyn Injector>; 5] = [
            Box::new(Files { operations: first, compat }),
            Box::new(Files { operations: second, compat }),
            Box::new(HostKeys { made: MadeKeys::Stay }),
            Box::new(Keys { keys: vec![("root".to_owned(), ED25519.to_owned())], compat, now: Timestamp::default() }),
            Box::new(Accounts { sudo, ..Accounts::none(Timestamp::default()) }),
        ];
        let mut requests = injectors.map(|injector| Request { required: true, injector });
        requests.sort_by_key(|request| request.injector.item());
        let guest = Guest::inspect(&fs).unwrap();
        let staged = stage_all(&requests, &LeftOut::default(), &guest, &fs, Show::Nothing, &|_| Ok(Vec::new()))
            .map_err(|failure| failure.message)?;
        Ok(staged.items.into_iter().find(|item| item.item == Item::Key).unwrap().notes)
    }

    #[test]
    fn files_leave_in_use_what_is_put_in_before_them() {
        let sshd = "/etc/ssh/sshd_config";
        let both = "HostKey /etc/ssh/a_ed25519\nHostKey /etc/ssh/b_ecdsa\n";
        for (files, reason) in [
            (vec![(sshd, "HostKey /etc/ssh/b_ecdsa\n")], "/etc/ssh/b_ecdsa"),
            (vec![(sshd, both)], "/etc/ssh/b_ecdsa"),
            (vec![(sshd, "Port 222\n")], "/etc/ssh/ssh_host_ecdsa_key"),
            (vec![(sshd, "Include more\n"), ("/etc/ssh/more", both)], "/etc/ssh/b_ecdsa"),
        ] {
            let expected = format!(
                "item files: with these files sshd looks for the host key {reason}, which is not there: the item host-keys is \
                 done before them, and would be for nothing"
            );
            assert_eq!(run(&files, Compat::Imgraft), Err(expected));
        }
        for only in ["HostKey none\n", "HostKey /etc/ssh/c_rsa\n"] {
            let message = run(&[(sshd, only)], Compat::Imgraft).unwrap_err();
            assert!(message.contains("names no host key (HostKey) that is there"), "{message}");
        }
        let message = run(&[("/etc/sudoers", "root ALL=(ALL) ALL\n")], Compat::Imgraft).unwrap_err();
        assert!(message.contains("/etc/sudoers") && message.contains("the item accounts is done before"), "{message}");
    }

    /// A run with host keys for a guest in which cloud-init runs, and with a file after them.
    fn after_cloud_init_is_told(path: &str, text: &str) -> Result<(), String> {
        let fs = phony().file("/usr/sbin/sshd", "").file("/usr/bin/cloud-init", "").build().unwrap();
        let put = FileOperation::Put {
            destination: GuestPath::parse(path).unwrap(),
            content: Content::bytes(text.as_bytes()),
            mode: FileMode::WhereNew(0o644),
        };
        let requests = [
            Request { required: true, injector: Box::new(HostKeys { made: MadeKeys::Stay }) as Box<dyn Injector> },
            Request { required: true, injector: Box::new(Files { operations: vec![put], compat: Compat::Imgraft }) },
        ];
        let guest = Guest::inspect(&fs).unwrap();
        let staged = stage_all(&requests, &LeftOut::default(), &guest, &fs, Show::Nothing, &|_| Ok(Vec::new()));
        staged.map(|_| ()).map_err(|failure| failure.message)
    }

    /// Whether cloud-init runs is asked of the guest that the run leaves.
    #[test]
    fn files_that_switch_cloud_init_on_or_off_count() {
        let (switch, last) = ("/etc/cloud/cloud-init.disabled", "/etc/cloud/cloud.cfg.d/99-zz.cfg");
        let comes_of = |is_off: bool, files: [FileOperation; 1], is_first: bool| {
            let fs =
                phony().file("/usr/sbin/sshd", "").file("/usr/bin/cloud-init", "").file(last, "ssh_deletekeys: true\n");
            let fs = if is_off { fs.file(switch, "") } else { fs }.build().unwrap();
            let keys =
                Request { required: true, injector: Box::new(HostKeys { made: MadeKeys::Stay }) as Box<dyn Injector> };
            let files = Files { operations: files.to_vec(), compat: Compat::Imgraft };
            let mut requests = vec![keys, Request { required: true, injector: Box::new(files) }];
            if is_first {
                requests.reverse();
            }
            let guest = Guest::inspect(&fs).unwrap();
            let staged = stage_all(&requests, &LeftOut::default(), &guest, &fs, Show::Nothing, &|_| Ok(Vec::new()));
            staged.map(|_| ()).map_err(|failure| failure.message)
        };
        let path = GuestPath::parse(switch).unwrap();
        let on = || [FileOperation::Delete { pattern: PathPattern::new(path.clone()).unwrap() }];
        let off = || {
            [FileOperation::Put {
                destination: path.clone(),
                content: Content::bytes(&b""[..]),
                mode: FileMode::WhereNew(0o644),
            }]
        };
        for is_first in [true, false] {
            assert!(
                comes_of(true, on(), is_first)
                    .is_err_and(|said| said.contains("99-zz.cfg has the last word on ssh_deletekeys"))
            );
        }
        assert_eq!(comes_of(false, off(), true), Ok(()));
        assert!(comes_of(false, off(), false).is_err());
        // What is switched off undoes nothing.
        let other = FileOperation::MakeDirectory { path: GuestPath::parse("/srv/x").unwrap() };
        assert_eq!(comes_of(true, [other], false), Ok(()));
    }

    #[test]
    fn files_leave_cloud_init_what_it_is_told() {
        let later = "/etc/cloud/cloud.cfg.d/99-zz.cfg";
        let refused = "item files: with these files the guest's cloud-init would undo it: /etc/cloud/cloud.cfg.d/99-zz.cfg has the last \
                       word on ssh_deletekeys, and says otherwise: the item host-keys is done before them, and would be for nothing";
        assert_eq!(after_cloud_init_is_told(later, "ssh_deletekeys: true\n"), Err(refused.to_owned()));
        assert_eq!(after_cloud_init_is_told(later, "ssh_deletekeys: false\n"), Ok(()));
        assert_eq!(after_cloud_init_is_told("/etc/cloud/cloud.cfg", "ssh_deletekeys: true\n"), Ok(()));
    }

    #[test]
    fn files_that_leave_it_in_use_are_put() {
        let sshd = "/etc/ssh/sshd_config";
        for files in [
            vec![(sshd, "HostKey /etc/ssh/a_ed25519\nPort 222\n")],
            vec![(sshd, "HostKey /etc/ssh/a_ed25519\nHostKey /etc/ssh/c_rsa\n")],
            vec![(sshd, "HostKey /etc/ssh/b_ecdsa\n"), ("/etc/ssh/b_ecdsa", "the user's own")],
            vec![
                (sshd, "HostKey /etc/ssh/a_ed25519\nAuthorizedKeysFile /srv/%u\n"),
                (sshd, "HostKey /etc/ssh/a_ed25519\n"),
            ],
            vec![(sshd, "HostKey /etc/ssh/x.pub\nHostKeyAgent /run/agent\n")],
            vec![("/etc/sudoers", "#includedir sudoers.d\n")],
        ] {
            assert_eq!(run(&files, Compat::Imgraft), Ok(Vec::new()), "{files:?}");
        }
        assert_eq!(run(&[(sshd, "HostKey none\n")], Compat::Nova), Ok(Vec::new()));
    }

    /// What is said of keys goes by the configuration that the run leaves.
    #[test]
    fn files_say_whether_keys_are_taken() {
        let sshd = "/etc/ssh/sshd_config";
        let with = |lines: &str| run(&[(sshd, &format!("HostKey /etc/ssh/a_ed25519\n{lines}"))], Compat::Imgraft);
        let note = "the guest's sshd does not let root log in: /etc/ssh/sshd_config says PermitRootLogin no";
        assert_eq!(with("PermitRootLogin no\n"), Ok(vec![note.to_owned()]));
        assert_eq!(with("PermitRootLogin yes\n"), Ok(Vec::new()));
        assert_eq!(with("AuthorizedKeysFile /srv/%u .ssh/authorized_keys\n"), Ok(Vec::new()));
        let refused = "item files: with these files the guest's sshd does not read /root/.ssh/authorized_keys: /etc/ssh/sshd_config says \
                       AuthorizedKeysFile /srv/%u: the item key is done before them, and would be for nothing";
        assert_eq!(with("AuthorizedKeysFile /srv/%u\n"), Err(refused.to_owned()));
    }

    /// An edit may take out what was put in, as it was asked for; that is told.
    #[test]
    fn an_edit_that_takes_keys_out_is_told() {
        let edited = |expression: &str| {
            let fs = phony().build().unwrap();
            let edit = FileOperation::Edit {
                path: GuestPath::parse("/root/.ssh/authorized_keys").unwrap(),
                substitution: Substitution::parse(expression).unwrap(),
            };
            let requests = [
                Box::new(Keys {
                    keys: vec![("root".to_owned(), ED25519.to_owned())],
                    compat: Compat::Imgraft,
                    now: Timestamp::default(),
                }) as Box<dyn Injector>,
                Box::new(Files { operations: vec![edit], compat: Compat::Imgraft }),
            ]
            .map(|injector| Request { required: true, injector });
            let guest = Guest::inspect(&fs).unwrap();
            stage_all(&requests, &LeftOut::default(), &guest, &fs, Show::Nothing, &|_| Ok(Vec::new()))
                .map(|staged| staged.items.into_iter().find(|item| item.item == Item::Key).unwrap().notes.join(" "))
                .map_err(|failure| failure.message)
        };
        let told = "/root/.ssh/authorized_keys: an edit after the keys has taken one of them out again";
        assert!(!edited("s/^/restrict /").unwrap().contains(told));
        for expression in ["s/^/#/", "s/ssh-ed25519//"] {
            assert!(edited(expression).unwrap().contains(told), "{expression}");
        }
    }

    /// Nor by the user that the key was put in for, but by what the run makes of that.
    #[test]
    fn files_say_whose_the_keys_are() {
        let with = |passwd: &str| run(&[("/etc/passwd", passwd)], Compat::Imgraft);
        assert_eq!(with("root:x:0:0:root:/root:/bin/sh\n"), Ok(Vec::new()));
        let moved = with("root:x:0:0:root:/srv/root:/bin/sh\n").unwrap_err();
        assert!(
            moved.contains(
                "the guest's sshd does not read /root/.ssh/authorized_keys: no AuthorizedKeysFile names it, and the home of 'root' is \
                 /srv/root: the item key is done before them"
            ),
            "{moved}"
        );
        let gone = with("admin:x:0:0:root:/root:/bin/sh\n").unwrap_err();
        assert!(gone.contains("the guest has no user 'root' any more"), "{gone}");
        let other = with("root:x:5:5:root:/root:/bin/sh\n").unwrap();
        assert!(other.iter().any(|note| note.contains("/root: mode 0700 and owner 0 keep 'root' out")), "{other:?}");
    }
}
