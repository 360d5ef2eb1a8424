//! The things that can be put into a guest: each describes its changes on the stage, none writes.

use crate::guest::Guest;
use crate::secret::Secret;
use imgraft_vfs::fs::Content;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use std::fmt;

/// The items in Nova's order, which is the order of injection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Item {
    Key,
    Net,
    Metadata,
    Password,
    Files,
}

impl Item {
    /// All items, in order.
    pub const ALL: [Self; 5] = [Self::Key, Self::Net, Self::Metadata, Self::Password, Self::Files];

    /// The name that the command line and the report use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Net => "net",
            Self::Metadata => "metadata",
            Self::Password => "password",
            Self::Files => "files",
        }
    }
}

/// Whose behaviour to show where ours differs on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// Ours.
    #[default]
    Imgraft,
    /// Nova's, byte for byte, harmful quirks included.
    Nova,
}

/// One thing to put into a guest.
pub trait Injector: fmt::Debug {
    /// Which item it is.
    fn item(&self) -> Item;

    /// Puts the changes on the stage; on error the caller goes back to the savepoint before it.
    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError>;
}

/// What an injector has to say beside its changes.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What the user should know, a sentence each (which policy gave the label, which hash was chosen and why).
    pub notes: Vec<String>,
    /// Passwords that were made up and are to be shown once.
    pub revealed: Vec<Revealed>,
}

/// A password that was made up for a user.
#[derive(Debug)]
pub struct Revealed {
    /// Whose it is.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// An item to inject.
#[derive(Debug)]
pub struct Request {
    /// What to do.
    pub injector: Box<dyn Injector>,
    /// Whether a failure of this item fails the run; otherwise it is rolled back and reported.
    pub required: bool,
}

/// Why an item cannot be injected.
#[derive(Debug)]
pub enum InjectError {
    /// The guest's filesystem.
    Vfs(imgraft_vfs::Error),
}

/// ssh public keys for users of the guest.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Per user name: the lines for authorized_keys, validated, without a line end.
    pub keys: Vec<(String, String)>,
    /// Whose behaviour.
    pub compat: Compat,
}

/// A network configuration as a text in one of the guests' own spellings.
#[derive(Clone, Debug)]
pub struct Net {
    /// The text.
    pub text: Vec<u8>,
    /// Whose behaviour.
    pub compat: Compat,
}

/// Instance metadata for `/meta.js`.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Keys and values in the order given; a later equal key wins at the earlier one's place.
    pub pairs: Vec<(String, String)>,
    /// Whose behaviour.
    pub compat: Compat,
}

/// Passwords for users of the guest.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// Per user name what its shadow entry is to be.
    pub users: Vec<(String, Selector)>,
    /// Whose behaviour.
    pub compat: Compat,
}

/// What a user's shadow entry is to be.
#[derive(Clone, Debug)]
pub enum Selector {
    /// The hash of this password, by the method that the guest uses.
    Password(Secret),
    /// The same, and the account locked (`!` before the hash).
    LockedPassword(Secret),
    /// This crypt(3) hash as it stands.
    Hash(Secret),
    /// A password made up now and revealed once.
    Random,
    /// The same, and the account locked.
    LockedRandom,
    /// No password is valid (`*`).
    Disabled,
    /// The existing entry, locked (`!` before it).
    Locked,
}

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
