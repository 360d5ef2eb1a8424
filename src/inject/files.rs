//! Files, and the attributes of files.

use super::{Compat, InjectError, Injector, Item, Outcome, ROOT_DIR, ROOT_FILE, label};
use crate::guest::{Guest, accounts};
use imgraft_vfs::fs::{Attrs, Content, FileType, SetAttrs};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// Files, and the attributes of files, in the order given.
#[derive(Clone, Debug)]
pub struct Files {
    /// What to do.
    pub operations: Vec<FileOperation>,
    /// Whose behaviour.
    pub compat: Compat,
}

/// One operation of [`Files`].
#[derive(Clone, Debug)]
pub enum FileOperation {
    /// Give a file this content.
    Put {
        /// Where; parents that are missing are made.
        destination: GuestPath,
        /// What.
        content: Content,
        /// The permission bits of a new file.
        mode: u16,
    },
    /// Change owner or group.
    Chown {
        /// A name of the guest's passwd, or a number; `None` keeps it.
        user: Option<String>,
        /// A name of the guest's group, or a number; `None` keeps it.
        group: Option<String>,
        /// Which file.
        path: GuestPath,
    },
    /// Change the permission bits.
    Chmod {
        /// 0o0000 to 0o7777.
        mode: u16,
        /// Which file.
        path: GuestPath,
    },
}

impl Injector for Files {
    fn item(&self) -> Item {
        Item::Files
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        let before = stage.savepoint();
        let mut outcome = Outcome::default();
        for operation in &self.operations {
            match operation {
                FileOperation::Put { destination, content, mode } => match self.compat {
                    Compat::Imgraft => put(destination, content, *mode, stage)?,
                    Compat::Nova => put_as_nova(destination, content, stage)?,
                },
                FileOperation::Chown { user, group, path } => {
                    let uid = user.as_deref().map(|user| uid(guest, user)).transpose()?;
                    let gid = group.as_deref().map(|group| gid(guest, group)).transpose()?;
                    change(stage, path, SetAttrs { uid, gid, ..SetAttrs::default() })?;
                }
                FileOperation::Chmod { mode, path } => {
                    change(stage, path, SetAttrs { mode: Some(*mode), ..SetAttrs::default() })?;
                }
            }
        }
        if self.compat == Compat::Imgraft {
            label::label_new(guest, stage, &before, &mut outcome)?;
        }
        Ok(outcome)
    }
}

/// New directories and files belong to whom the directory belongs that they are made in.
fn put(destination: &GuestPath, content: &Content, mode: u16, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    refuse_directory(destination, stage)?;
    let (mut uid, mut gid) = (0, 0);
    let mut missing = None;
    for ancestor in std::iter::successors(destination.parent(), GuestPath::parent) {
        if let Some(metadata) = stage.metadata(&ancestor)? {
            (uid, gid) = (metadata.uid, metadata.gid);
            break;
        }
        missing = missing.or(Some(ancestor));
    }
    if let Some(parent) = missing {
        stage.create_dirs(&parent, Attrs { mode: 0o755, uid, gid })?;
    }
    Ok(stage.write(destination, content.clone(), Attrs { mode, uid, gid })?)
}

/// As `_inject_file_into_fs` of Nova: everything is root's, and the innermost of the directories it makes gets a mode that
/// keeps everybody else out.
fn put_as_nova(destination: &GuestPath, content: &Content, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    refuse_directory(destination, stage)?;
    if let Some(parent) = destination.parent()
        && stage.create_dirs(&parent, ROOT_DIR)?
    {
        stage.set_attrs(&parent, SetAttrs { mode: Some(0o744), uid: Some(0), gid: Some(0), mtime: None })?;
    }
    Ok(stage.write(destination, content.clone(), ROOT_FILE)?)
}

fn refuse_directory(path: &GuestPath, stage: &Stage<'_>) -> Result<(), InjectError> {
    match stage.metadata(path)? {
        Some(metadata) if metadata.file_type == FileType::Directory => {
            Err(InjectError::IsDirectory { path: path.clone() })
        }
        _ => Ok(()),
    }
}

fn change(stage: &mut Stage<'_>, path: &GuestPath, attrs: SetAttrs) -> Result<(), InjectError> {
    if stage.metadata(path)?.is_none() {
        return Err(InjectError::Missing { path: path.clone() });
    }
    Ok(stage.set_attrs(path, attrs)?)
}

/// A name goes before a number, as chown(1) has it.
fn uid(guest: &Guest, user: &str) -> Result<u32, InjectError> {
    let found = guest.accounts.user(user).map(|user| user.uid).or_else(|| accounts::number(user.as_bytes()));
    found.ok_or_else(|| InjectError::NoSuchUser { user: user.to_owned(), known: guest.accounts.people() })
}

fn gid(guest: &Guest, group: &str) -> Result<u32, InjectError> {
    let found = guest.accounts.group(group).map(|group| group.gid).or_else(|| accounts::number(group.as_bytes()));
    found.ok_or_else(|| InjectError::NoSuchGroup { group: group.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::testing::*;

    fn path(path: &str) -> GuestPath {
        GuestPath::parse(path).unwrap()
    }

    fn put(to: &str, text: &str, mode: u16) -> FileOperation {
        FileOperation::Put { destination: path(to), content: Content::bytes(text.as_bytes()), mode }
    }

    fn chown(user: Option<&str>, group: Option<&str>, of: &str) -> FileOperation {
        FileOperation::Chown { user: user.map(str::to_owned), group: group.map(str::to_owned), path: path(of) }
    }

    fn files(operations: Vec<FileOperation>) -> Files {
        Files { operations, compat: Compat::Imgraft }
    }

    #[test]
    fn new_files_belong_where_they_are() {
        let files = files(vec![put("/home/ann/a/b/f", "x", 0o640), put("/etc/new", "", 0o600), put("/f", "y", 0o4755)]);
        let fs = inject(&files, phony().build().unwrap());
        assert_eq!(describe(&fs, "/home/ann/a"), "0755 1000:1001");
        assert_eq!(describe(&fs, "/home/ann/a/b"), "0755 1000:1001");
        assert_eq!(describe(&fs, "/home/ann/a/b/f"), "0640 1000:1001");
        assert_eq!(describe(&fs, "/etc/new"), "0600 0:0");
        assert_eq!(describe(&fs, "/f"), "4755 0:0");
        assert_unchanged(&files, &fs);
    }

    #[test]
    fn existing_files_keep_what_they_are() {
        let tree = phony().file("/etc/f", "old").mode(0o604).owner(7, 8).xattr("user.a", "b").build().unwrap();
        let fs = inject(&files(vec![put("/etc/f", "new", 0o777)]), tree);
        assert_eq!((describe(&fs, "/etc/f").as_str(), text(&fs, "/etc/f").as_str()), ("0604 7:8", "new"));
        assert_eq!(xattr(&fs, "/etc/f", "user.a").unwrap(), b"b");
    }

    #[test]
    fn operations_apply_in_order() {
        let files = files(vec![
            put("/f", "1", 0o644),
            chown(Some("ann"), Some("staff"), "/f"),
            FileOperation::Chmod { mode: 0o2755, path: path("/f") },
            put("/f", "2", 0o600),
            chown(None, Some("7"), "/f"),
            chown(Some("4000000000"), None, "/f"),
        ]);
        let fs = inject(&files, phony().build().unwrap());
        assert_eq!((describe(&fs, "/f").as_str(), text(&fs, "/f").as_str()), ("2755 4000000000:7", "2"));
        assert_unchanged(&files, &fs);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let message = |operation| refusal(&files(vec![operation]), phony().build().unwrap());
        assert_eq!(
            message(chown(Some("bob"), None, "/etc")),
            "no user 'bob' in the guest (users of the guest: root, ann, bl\\xf6d)"
        );
        assert!(message(chown(Some("4294967295"), None, "/etc")).contains("no user"));
        assert!(message(chown(None, Some("x"), "/etc")).starts_with("no group 'x' in the guest"));
        assert_eq!(message(chown(None, None, "/nothing")), "/nothing: no such file in the guest");
        assert_eq!(message(put("/etc", "", 0)), "/etc: a directory in the guest (name the file in it)");
        assert!(message(put("/etc/passwd/x", "", 0)).contains("not a directory"));
        assert!(message(put("/", "", 0)).starts_with("/: a directory"));
    }

    #[test]
    fn links_are_followed_inside_the_guest() {
        let tree = phony().symlink("/etc/link", "../../../srv/deep/file").symlink("/out", "/home/ann").build().unwrap();
        let fs = inject(&files(vec![put("/out/x", "", 0o600)]), tree.clone());
        assert_eq!(describe(&fs, "/home/ann/x"), "0600 1000:1001");
        assert!(refusal(&files(vec![put("/etc/link", "", 0o600)]), tree).contains("/srv/deep: no such directory"));
    }

    #[test]
    fn nova_keeps_others_out_of_the_innermost_directory() {
        let operations = vec![put("/path/to/not/exists", "contents", 0o600), put("/home/ann/d/f", "", 0)];
        let fs = inject(&Files { operations, compat: Compat::Nova }, phony().build().unwrap());
        for (path, expected) in [
            ("/path", "0755 0:0"),
            ("/path/to", "0755 0:0"),
            ("/path/to/not", "0744 0:0"),
            ("/path/to/not/exists", "0644 0:0"),
            ("/home/ann", "0755 1000:1001"),
            ("/home/ann/d", "0744 0:0"),
            ("/home/ann/d/f", "0644 0:0"),
        ] {
            assert_eq!(describe(&fs, path), expected, "{path}");
        }
    }
}
