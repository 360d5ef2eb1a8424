//! One filesystem of a tree, opened when it is first needed.

use super::{Mount, Takes, unplaced};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{FileType, GuestFs};
use crate::path::{GuestPath, Resolved};
use std::cell::OnceCell;
use std::fmt::Debug;

/// What a filesystem is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be read.
    Look,
    /// To be changed.
    Change,
}

/// Something that can be mounted, to be opened when a path first needs it.
pub trait Source: Debug {
    /// Opens it. It is opened for looking first, and that is closed before it is opened for a change.
    fn open(&self, purpose: Purpose) -> Result<Box<dyn GuestFs>>;
}

/// What cannot be opened: every path that needs it is refused.
#[derive(Debug)]
pub struct Refused(pub Error);

impl Source for Refused {
    fn open(&self, _purpose: Purpose) -> Result<Box<dyn GuestFs>> {
        Err(self.0.repeated())
    }
}

/// One filesystem of a tree.
#[derive(Debug)]
pub(super) struct Part {
    /// Where it lies.
    pub(super) at: Resolved,
    /// Who says so.
    pub(super) origin: String,
    takes: Takes,
    /// `None` for the root, which is open.
    source: Option<Box<dyn Source>>,
    /// Why every path that needs it is refused, whatever the source.
    refusal: Option<Error>,
    fs: OnceCell<Result<Box<dyn GuestFs>>>,
    /// What it is open for, once it is.
    purpose: Purpose,
}

impl Part {
    pub(super) fn root(fs: Box<dyn GuestFs>) -> Self {
        let fs = OnceCell::from(Ok(fs));
        let (at, origin, takes) = (Resolved::root(), String::new(), Takes::Anything);
        Self { at, origin, takes, source: None, refusal: None, fs, purpose: Purpose::Change }
    }

    pub(super) fn new(mount: Mount) -> Self {
        let Mount { path, origin, source, takes } = mount;
        let at = super::points::literal(&path);
        let (source, fs) = (Some(source), OnceCell::new());
        Self { at, origin, takes, source, refusal: None, fs, purpose: Purpose::Look }
    }

    /// Gives every path that needs it this error.
    pub(super) fn refuse(&mut self, error: Error) {
        self.refusal = Some(error);
    }

    /// Fails where it is refused.
    pub(super) fn check(&self) -> Result<()> {
        self.refusal.as_ref().map_or(Ok(()), |error| Err(error.repeated()))
    }

    /// Fails where the guest does not take what is at its place: `None` for nothing.
    pub(super) fn check_taken(&self, found: Option<FileType>) -> Result<()> {
        match (found, self.takes) {
            (Some(FileType::Directory), _) | (_, Takes::Anything) | (None, Takes::NewDirectory) => Ok(()),
            (Some(_), _) => Err(unplaced("its place is no directory")),
            // What is put there is seen until somebody makes the place.
            (None, Takes::Directory) => {
                let reason = "its place is missing, and nothing in the guest makes it";
                Err(Error::unsupported(Layer::Volume, reason))
            }
        }
    }

    /// The filesystem of a part that is the root.
    pub(super) fn open_root(&self) -> Result<&dyn GuestFs> {
        self.opened().ok_or_else(|| Error::new(ErrorKind::Invalid, Layer::Volume, "the root is not open"))
    }

    /// The filesystem, where it has been opened.
    pub(super) fn opened(&self) -> Option<&dyn GuestFs> {
        Some(&**self.fs.get()?.as_ref().ok()?)
    }

    /// The filesystem, opened now if it was not; `check` is asked before.
    pub(super) fn fs(&self, check: impl FnOnce() -> Result<()>) -> Result<&dyn GuestFs> {
        let checked = || self.check().and_then(|()| check());
        let open = || checked().and_then(|()| self.open(Purpose::Look)).map_err(|cause| self.needed(cause));
        match self.fs.get_or_init(open) {
            Ok(fs) => Ok(&**fs),
            Err(error) => Err(error.repeated()),
        }
    }

    /// The filesystem for a change. It has been opened already, if only for looking.
    pub(super) fn fs_mut(&mut self) -> Result<&mut dyn GuestFs> {
        if self.purpose == Purpose::Look {
            if let Some(fs) = self.fs.take() {
                fs?.close()?;
            }
            let opened = self.open(Purpose::Change).map_err(|cause| self.needed(cause));
            self.fs = OnceCell::from(opened);
            self.purpose = Purpose::Change;
        }
        match self.fs.get_mut() {
            Some(Ok(fs)) => Ok(&mut **fs),
            Some(Err(error)) => Err(error.repeated()),
            None => Err(Error::new(ErrorKind::Invalid, Layer::Volume, "it was not looked at first")),
        }
    }

    pub(super) fn close(self) -> Result<()> {
        match self.fs.into_inner() {
            Some(Ok(fs)) => fs.close(),
            Some(Err(_)) | None => Ok(()),
        }
    }

    fn open(&self, purpose: Purpose) -> Result<Box<dyn GuestFs>> {
        match &self.source {
            Some(source) => source.open(purpose),
            None => Err(Error::new(ErrorKind::Invalid, Layer::Volume, "the root is open already")),
        }
    }

    /// The error of a path that needs what cannot be opened.
    fn needed(&self, cause: Error) -> Error {
        // These two would say that it is the path that is wrong.
        let kind = match cause.kind() {
            ErrorKind::WrongType | ErrorKind::Invalid => ErrorKind::Unsupported,
            kind => kind,
        };
        let hint = match (kind, cause.hint()) {
            // What these have to say is about the choice of a root.
            (ErrorKind::NotFound | ErrorKind::Ambiguous, _) | (_, None) => way_out(&GuestPath::from(&self.at)),
            (_, Some(hint)) => hint.to_owned(),
        };
        let message = format!("{} is mounted by {}, and cannot be opened", self.at, self.origin);
        Error::new(kind, Layer::Volume, message).with_source(cause).with_hint(hint)
    }
}

/// What to do about a mount that is not as the guest says.
fn way_out(path: &GuestPath) -> String {
    format!("--mount VOLUME:{path} says what is mounted there, --mount none:{path} that nothing is")
}
