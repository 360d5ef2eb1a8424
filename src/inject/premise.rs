//! What an item goes by as it puts something in, and has to hold afterwards for the guest to use that.

use super::files::FileError;
use super::{InjectError, Item, accounts, host_keys, sshd};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// What the guest's configuration says of where an item has put something.
#[derive(Clone, Debug)]
pub enum Premise {
    /// sshd reads the keys of a user from a file.
    UserKeys {
        /// Whose.
        user: String,
        /// The user's home.
        home: GuestPath,
        /// Where they are.
        file: GuestPath,
    },
    /// sshd reads host keys from these places.
    HostKeys(Vec<GuestPath>),
    /// sudo reads `/etc/sudoers.d`.
    SudoRules,
}

impl Premise {
    /// Fails where it holds no more, so that what `item` has put in is nothing to the guest; otherwise what to know of it.
    pub(super) fn check(&self, item: Item, stage: &Stage<'_>) -> Result<Option<String>, InjectError> {
        let reason = match self {
            Self::UserKeys { user, home, file } => return Ok(sshd::not_read(file, user, home, stage)),
            Self::HostKeys(known) => host_keys::missing(known, stage)?,
            Self::SudoRules => match accounts::check_sudo(stage) {
                Err(InjectError::Account(error)) => Some(error.to_string()),
                other => other.map(|()| None)?,
            },
        };
        match reason {
            Some(reason) => Err(InjectError::File(FileError::Unread { item, reason })),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::guest::Guest;
    use crate::inject::fitting::LeftOut;
    use crate::inject::staging::{Show, stage_all};
    use crate::inject::testing::{ED25519, phony};
    use crate::inject::{
        Accounts, Compat, FileMode, FileOperation, Files, HostKeys, Injector, Item, Keys, MadeKeys, Request, SudoAsks,
        Sudoer,
    };
    use imgraft_vfs::fs::{Content, Timestamp};
    use imgraft_vfs::path::GuestPath;

    /// What comes of a run with keys for root, host keys and a rule of sudo, and with these files after them: the notes of the
    /// files, or the failure.
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
        let injectors: [Box<dyn Injector>; 4] = [
            Box::new(Files { operations: operations.collect(), compat }),
            Box::new(HostKeys { made: MadeKeys::Stay }),
            Box::new(Keys { keys: vec![("root".to_owned(), ED25519.to_owned())], opened: Vec::new(), compat }),
            Box::new(Accounts { sudo, ..Accounts::none(Timestamp::default()) }),
        ];
        let mut requests = injectors.map(|injector| Request { required: true, injector });
        requests.sort_by_key(|request| request.injector.item());
        let guest = Guest::inspect(&fs).unwrap();
        let staged = stage_all(&requests, &LeftOut::default(), &guest, &fs, Show::Nothing, &|_| Ok(Vec::new()))
            .map_err(|failure| failure.message)?;
        Ok(staged.items.into_iter().find(|item| item.item == Item::Files).unwrap().notes)
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

    #[test]
    fn files_that_leave_it_in_use_are_put() {
        let sshd = "/etc/ssh/sshd_config";
        for files in [
            vec![(sshd, "HostKey /etc/ssh/a_ed25519\nPort 222\n")],
            vec![(sshd, "HostKey /etc/ssh/a_ed25519\nHostKey /etc/ssh/c_rsa\n")],
            vec![(sshd, "HostKey /etc/ssh/b_ecdsa\n"), ("/etc/ssh/b_ecdsa", "the user's own")],
            vec![(sshd, "HostKey /etc/ssh/x.pub\nHostKeyAgent /run/agent\n")],
            vec![("/etc/sudoers", "#includedir sudoers.d\n")],
        ] {
            assert_eq!(run(&files, Compat::Imgraft), Ok(Vec::new()), "{files:?}");
        }
        let elsewhere = "HostKey /etc/ssh/a_ed25519\nAuthorizedKeysFile /srv/%u\n";
        let note = "the guest's sshd does not read /root/.ssh/authorized_keys: /etc/ssh/sshd_config says AuthorizedKeysFile /srv/%u";
        assert_eq!(run(&[(sshd, elsewhere)], Compat::Imgraft), Ok(vec![note.to_owned()]));
        assert_eq!(run(&[(sshd, "HostKey none\n")], Compat::Nova), Ok(Vec::new()));
    }
}
