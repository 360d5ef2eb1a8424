//! The one error of this crate: a kind to branch on, a layer, a context and a source.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};

/// A result whose error is this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the terms that a caller branches on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The host's input or output failed.
    Io,
    /// The image contradicts its own format.
    Corrupt,
    /// The image is well formed, and uses something that is not supported.
    Unsupported,
    /// What was asked for is not there.
    NotFound,
    /// What was asked for is there and of another type (a directory where a file is needed).
    WrongType,
    /// A safety rule forbids it; usually the mark of a hostile image.
    Denied,
    /// More than one thing fits, and guessing is not allowed.
    Ambiguous,
    /// The request makes no sense, whatever the image.
    Invalid,
    /// The guest filesystem has no room (blocks or inodes).
    NoSpace,
    /// Somebody else uses the image, or an interrupted run has to be recovered first.
    InUse,
    /// The host failed in the middle of a commit, and again when it was taken back: the message says what the image is.
    Unfinished,
}

/// The layer of the corridor in which an error arose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layer {
    /// The host file that holds the image.
    Host,
    /// The transaction over the host file.
    Transaction,
    /// The image format (raw, qcow2).
    Image,
    /// Partition tables and the choice of a volume.
    Volume,
    /// The guest filesystem.
    Filesystem,
    /// Paths inside the guest and their resolution.
    Path,
    /// The stage of changes, and their verification.
    Stage,
    /// A kernel that is borrowed to mount a volume, or another program that a volume is served to.
    Kernel,
    /// An image that is built from a tree, or read back into one.
    Master,
}

/// An error with its kind, layer, context and cause.
///
/// `Display` gives the message and the context, never the source: print the chain of [`StdError::source`] for that.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    layer: Layer,
    message: String,
    host_path: Option<PathBuf>,
    guest_path: Option<Vec<u8>>,
    offset: Option<u64>,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind in this layer; `message` is a clause in lower case without a full stop.
    pub fn new(kind: ErrorKind, layer: Layer, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            layer,
            message: message.into(),
            host_path: None,
            guest_path: None,
            offset: None,
            hint: None,
            source: None,
        }))
    }

    /// The host refused an operation; `operation` says which ("read the image").
    pub fn io(layer: Layer, operation: impl fmt::Display, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, layer, format!("cannot {operation}")).with_source(source)
    }

    /// The image contradicts its own format.
    pub fn corrupt(layer: Layer, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, layer, message)
    }

    /// The image uses something that is not supported.
    pub fn unsupported(layer: Layer, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, layer, message)
    }

    /// The same once more, its causes in the message: an error is not cloned, as what caused it may be anything.
    pub(crate) fn repeated(&self) -> Self {
        let mut message = self.message().to_owned();
        let mut cause = self.source();
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        let Inner { kind, layer, host_path, guest_path, offset, hint, .. } = &*self.0;
        let (host_path, guest_path, hint) = (host_path.clone(), guest_path.clone(), hint.clone());
        let (kind, layer, offset) = (*kind, *layer, *offset);
        Self(Box::new(Inner { kind, layer, message, host_path, guest_path, offset, hint, source: None }))
    }

    /// Names the host file that this is about.
    #[must_use]
    pub fn with_host_path(mut self, path: impl AsRef<Path>) -> Self {
        self.0.host_path = Some(path.as_ref().to_path_buf());
        self
    }

    /// Names the path inside the guest that this is about.
    #[must_use]
    pub fn with_guest_path(mut self, path: impl AsRef<[u8]>) -> Self {
        self.0.guest_path = Some(path.as_ref().to_vec());
        self
    }

    /// Makes its path inside the guest, where it has one, one below `place`: what a filesystem says of itself, of the tree that it
    /// is mounted in.
    #[must_use]
    pub fn below(mut self, place: &[u8]) -> Self {
        if let Some(inner) = self.0.guest_path.take() {
            let inner = if inner == b"/" && place.len() > 1 { &[] } else { inner.as_slice() };
            let outer = if place == b"/" { &[] } else { place };
            self.0.guest_path = Some([outer, inner].concat());
        }
        self
    }

    /// Says at which byte of its layer it happened.
    #[must_use]
    pub fn with_offset(mut self, offset: u64) -> Self {
        self.0.offset = Some(offset);
        self
    }

    /// Says what the user can do about it: a sentence, or a command to type.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Gives the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What [`Display`](fmt::Display) gives, without the context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The layer in which it went wrong.
    pub fn layer(&self) -> Layer {
        self.0.layer
    }

    /// The host file that this is about, where known.
    pub fn host_path(&self) -> Option<&Path> {
        self.0.host_path.as_deref()
    }

    /// The path inside the guest that this is about, where known.
    pub fn guest_path(&self) -> Option<&[u8]> {
        self.0.guest_path.as_deref()
    }

    /// The byte offset in the layer, where known.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// What the user can do about it, where known.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.0.host_path {
            write!(f, "{}: ", path.display())?;
        }
        if let Some(path) = &self.0.guest_path {
            write!(f, "{}: ", path.escape_ascii())?;
        }
        f.write_str(&self.0.message)?;
        if let Some(offset) = self.0.offset {
            write!(f, " (at byte {offset})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}: {self}", self.0.layer, self.0.kind)?;
        let mut source = self.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
