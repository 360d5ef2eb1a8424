//! An edit of an image: where its bytes come from, and where the result goes.

use super::backing::{Backing, Gate, Named, data_file_of, hold_data_file, open_held};
use super::data_file::{DataFile, HeldDataFile};
use super::qcow2::{self, Purpose, Qcow2};
use super::{Format, ImageFormat};
use crate::block::{BlockDevice, MemDevice};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::transaction::{
    Access, CommitPlan, Existing, IoCounts, Kept, NewFile, Overlay, Progress, Recovery, StateDir, Transaction,
    is_journal,
};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The mode of a new image: it may hold keys and hashes.
const MODE: u32 = 0o600;

/// The image, and what may be done with it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The image file.
    pub image: PathBuf,
    /// Its declared format, as for [`open`](super::open).
    pub format: Option<Format>,
    /// Which backing files it may bring along.
    pub backing: Backing,
    /// The external data file, where the image has one that is to be written to. That the image names it is not enough: it
    /// could name any file.
    pub data_file: Option<PathBuf>,
    /// Where its journal lies, if not beside it.
    pub state: StateDir,
}

/// Where the result of an edit goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Destination {
    /// Into the image.
    #[default]
    InPlace,
    /// Into a whole copy; the image stays as it is.
    Output(PathBuf, Existing),
    /// Into a thin qcow2 file over the image, which stays as it is and has to stay there.
    Overlay(PathBuf, Existing),
}

/// An image that is being edited. Nothing is written to a file that has a name before [`commit`](Self::commit).
#[derive(Debug)]
pub struct Edit {
    txn: Transaction,
    disk: Arc<dyn ImageFormat>,
    source: Source,
    target: Target,
    undo: Option<NewFile>,
}

#[derive(Debug)]
enum Target {
    InPlace(Option<HeldDataFile>),
    Copy(NewFile),
    Thin { new: NewFile, host: Arc<Overlay>, base: Arc<dyn ImageFormat> },
}

impl Edit {
    /// Opens and locks the image, and begins the new file where the result goes into one.
    ///
    /// With `Access::Read` nothing can be committed into the image itself. A new file takes a shared lock on the image,
    /// whatever the access. The errors are those of [`Transaction::begin`], [`open_chain`](super::open_chain) and [`NewFile::create`];
    /// `Invalid` where the new file is the image, `Unsupported` where it would be a copy of one with an external data file.
    pub fn begin(source: &Source, destination: &Destination, access: Access) -> Result<Self> {
        Self::begin_into(source, destination, access, NewFile::create)
    }

    /// The same, with a new file that `create` makes.
    pub(crate) fn begin_into(
        source: &Source,
        destination: &Destination,
        access: Access,
        create: impl FnOnce(&Path, Existing) -> Result<NewFile>,
    ) -> Result<Self> {
        let access = if *destination == Destination::InPlace { access } else { Access::Read };
        let txn = Transaction::begin_with(&source.image, access, &source.state)?;
        let Source { image, format, backing, state, .. } = source;
        let held = match destination {
            Destination::InPlace => hold_data_file(&txn.overlay(), source, access)?,
            Destination::Output(..) | Destination::Overlay(..) => None,
        };
        let disk = open_held(txn.overlay(), image, *format, backing, state, held.as_ref())?;
        let source = Source { format: Some(disk.format()), ..source.clone() };
        match destination {
            Destination::InPlace => Ok(Self { txn, disk, source, target: Target::InPlace(held), undo: None }),
            Destination::Output(path, existing) => {
                another_file(&source.image, path)?;
                if let Some(named) = data_file_of(&txn.overlay(), source.format)? {
                    return Err(shared_data_file(&source.image, &named));
                }
                let new = create(path, *existing)?;
                stands_alone(&*disk, &source.image, path)?;
                Ok(Self { txn, disk, source, target: Target::Copy(new), undo: None })
            }
            Destination::Overlay(path, existing) => {
                another_file(&source.image, path)?;
                let new = create(path, *existing)?;
                let name = backing_name(&source.image, path)?;
                let named = Named { name, format: Some(disk.format().to_string().into_bytes()) };
                // QEMU counts in sectors, and reads zeros behind the end of a file of an odd size.
                let seed = qcow2::create::over(&named, disk.size().next_multiple_of(512))?;
                let host = Arc::new(Overlay::new(Arc::new(MemDevice::new(seed))));
                let thin = Qcow2::open_through(Arc::clone(&host), &Over(Arc::clone(&disk)), Purpose::Edit)?;
                let target = Target::Thin { new, host, base: disk };
                Ok(Self { txn, disk: Arc::new(thin), source, target, undo: None })
            }
        }
    }

    /// Has the commit make the file at `path` first, by which it can be taken back ([`Transaction::undo`]).
    ///
    /// The errors are those of [`NewFile::create`], which refuses a name that is taken; `Invalid` where the name is one that a journal
    /// has, or the result does not go into the image, `Unsupported` where it goes into an external data file.
    pub fn keep_undo(&mut self, path: &Path) -> Result<()> {
        let Target::InPlace(held) = &self.target else {
            let error =
                Error::new(ErrorKind::Invalid, Layer::Host, "the image stays as it is: there is nothing to undo");
            return Err(error.with_host_path(path));
        };
        if held.is_some() {
            let message = "the image keeps its data in an external data file, and an undo file knows one file alone";
            return Err(Error::unsupported(Layer::Image, message)
                .with_host_path(&self.source.image)
                .with_hint("leave --keep-undo out, and copy both files before the run"));
        }
        if is_journal(path) {
            let error =
                Error::new(ErrorKind::Invalid, Layer::Host, "this is the name of a journal, and no undo file's");
            return Err(error.with_host_path(path).with_hint("choose another name"));
        }
        self.undo = Some(NewFile::create(path, Existing::Refuse).map_err(|error| match error.kind() {
            ErrorKind::Denied if path.exists() => error.with_hint(UNDO_TAKEN),
            _ => error,
        })?);
        Ok(())
    }

    /// The guest's disk.
    pub fn disk(&self) -> Arc<dyn ImageFormat> {
        Arc::clone(&self.disk)
    }

    /// The format of the image.
    pub fn format(&self) -> Format {
        match &self.target {
            Target::InPlace(_) | Target::Copy(_) => self.disk.format(),
            Target::Thin { base, .. } => base.format(),
        }
    }

    /// The image's file, where the result goes into it and its bytes are the disk's.
    pub fn raw_image(&self) -> Option<&Path> {
        match (&self.target, self.disk.format()) {
            (Target::InPlace(_), Format::Raw) => Some(&self.source.image),
            _ => None,
        }
    }

    /// What an interrupted run had left when this one began.
    pub fn recovered(&self) -> Recovery {
        match (self.txn.recovered(), self.held()) {
            (Recovery::Nothing, Some(held)) => held.recovered(),
            (recovered, _) => recovered,
        }
    }

    /// What the edit has cost so far.
    pub fn counts(&self) -> IoCounts {
        self.held().map_or(self.txn.counts(), |held| self.txn.counts() + held.counts())
    }

    fn held(&self) -> Option<&HeldDataFile> {
        match &self.target {
            Target::InPlace(held) => held.as_ref(),
            Target::Copy(_) | Target::Thin { .. } => None,
        }
    }

    /// Hands what the disk holds down, and says how it is to be committed; nothing may be written after it.
    pub fn finish(&self) -> Result<CommitPlan> {
        self.disk.finish()
    }

    /// Opens the result afresh, as its next user will.
    pub fn reopen(&self) -> Result<Arc<dyn BlockDevice>> {
        match &self.target {
            Target::InPlace(_) | Target::Copy(_) => {
                let Source { image, format, backing, state, .. } = &self.source;
                Ok(open_held(self.txn.overlay(), image, *format, backing, state, self.held())?)
            }
            Target::Thin { host, base, .. } => {
                Ok(Arc::new(Qcow2::open_through(Arc::clone(host), &Over(Arc::clone(base)), Purpose::Edit)?))
            }
        }
    }

    /// Makes the result durable where it goes, as `plan` of [`ImageFormat::finish`] says where that is the image; a new
    /// file appears whole or not at all. `progress` hears how far a copy is. Beside the cost it says what became of the
    /// undo file.
    pub fn commit(self, plan: CommitPlan, progress: Progress<'_>) -> Result<(IoCounts, Kept)> {
        let Self { txn, disk, target, undo, .. } = self;
        drop(disk);
        let counts: Result<IoCounts> = match target {
            Target::InPlace(Some(held)) => held.commit(txn, plan),
            Target::InPlace(None) => match undo {
                Some(undo) => return txn.commit_undoable(plan, undo),
                None => txn.commit(plan),
            },
            Target::Copy(new) => {
                let counts = txn.copy_to(&new, progress)?;
                new.publish(MODE)?;
                Ok(counts)
            }
            Target::Thin { new, host, .. } => {
                txn.check_unchanged()?;
                let counts = txn.counts() + new.fill_with(&host)?;
                new.publish(MODE)?;
                Ok(counts)
            }
        };
        counts.map(|counts| (counts, Kept::Nothing))
    }
}

/// Finishes or discards what an interrupted run left of a commit to the image, or to its external data file where
/// `source` allows that. Beside what was done it gives the data file's name where that was not looked at.
///
/// The errors are those of [`Transaction::begin_with`] for writing, and those of opening the data file.
pub fn recover(source: &Source) -> Result<(Recovery, Option<Named>)> {
    let Source { image, format, state, .. } = source;
    let txn = Transaction::begin_with(image, Access::Write, state)?;
    let host = txn.overlay();
    if source.data_file.is_none() {
        // Whatever else the image is, it has been recovered.
        return Ok((txn.recovered(), data_file_of(&host, *format).unwrap_or_default()));
    }
    let held = hold_data_file(&host, source, Access::Write)?;
    Ok(match (txn.recovered(), held) {
        (Recovery::Nothing, Some(held)) => (held.recovered(), None),
        (recovered, _) => (recovered, None),
    })
}

const UNDO_TAKEN: &str =
    "choose another name; if an earlier run has left the file, its changes cannot be taken back without it";

/// Gives an overlay the image that it is made over.
#[derive(Debug)]
struct Over(Arc<dyn ImageFormat>);

impl Gate for Over {
    fn backing(&self, _named: &Named) -> Result<Arc<dyn ImageFormat>> {
        Ok(Arc::clone(&self.0))
    }

    fn data_file(&self, _named: &Named) -> Result<DataFile> {
        Err(Error::corrupt(Layer::Image, "a new overlay has no data file"))
    }

    /// No file is opened.
    fn hold(&self, _bytes: u64) -> Result<()> {
        Ok(())
    }
}

/// Fails where the new file is the image.
fn another_file(image: &Path, path: &Path) -> Result<()> {
    let same = fs::canonicalize(path).is_ok_and(|path| fs::canonicalize(image).is_ok_and(|image| image == path));
    if same {
        let error = Error::new(ErrorKind::Invalid, Layer::Host, "the new file is the image itself");
        return Err(error
            .with_host_path(path)
            .with_hint("choose another name, or leave the option out to change the image"));
    }
    Ok(())
}

/// A copy would keep its data in the file that the image keeps its own in, so that a change of one is one of both.
fn shared_data_file(image: &Path, named: &Named) -> Error {
    let message = format!(
        "the external data file \"{}\" would be the copy's too: it is written to only where it is named, and the result \
         goes into the image itself",
        named.shown()
    );
    Error::unsupported(Layer::Image, message)
        .with_host_path(image)
        .with_hint("use --overlay, or bring the image into one file with `qemu-img convert -O qcow2 IMAGE NEW.qcow2`")
}

/// Fails where a copy at `path` would look for the backing file elsewhere.
fn stands_alone(disk: &dyn ImageFormat, image: &Path, path: &Path) -> Result<()> {
    let [real_image, real_path] = [directory(image)?, directory(path)?];
    match disk.other_files().iter().find(|named| !named.name.starts_with(b"/")) {
        Some(named) if real_image != real_path => {
            let name = named.name.escape_ascii();
            let message = format!("the copy would look for \"{name}\" beside itself, and it lies beside the image");
            Err(Error::unsupported(Layer::Image, message)
                .with_host_path(image)
                .with_hint("let the new file lie in the image's directory, or use --overlay"))
        }
        _ => Ok(()),
    }
}

/// The name of the image for an overlay at `path`: relative where it lies beside the overlay or below, else absolute.
fn backing_name(image: &Path, path: &Path) -> Result<Vec<u8>> {
    let real =
        fs::canonicalize(image).map_err(|e| Error::io(Layer::Host, "find the image", e).with_host_path(image))?;
    if fs::metadata(&real).is_ok_and(|metadata| metadata.file_type().is_block_device()) {
        // What /dev/mapper or /dev/disk calls it stays; what is behind that may be another one after the next boot.
        let named = std::path::absolute(image).map_err(|e| Error::io(Layer::Host, "find the image", e))?;
        return Ok(named.into_os_string().into_vec());
    }
    let directory = directory(path)?;
    Ok(match real.strip_prefix(&directory) {
        // A colon would make a protocol of what stands before it.
        Ok(below) if below.as_os_str().as_bytes().contains(&b':') => Path::new(".").join(below).into_os_string(),
        Ok(below) => below.as_os_str().to_owned(),
        Err(_) => real.into_os_string(),
    }
    .as_bytes()
    .to_vec())
}

fn directory(path: &Path) -> Result<PathBuf> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::canonicalize(parent).map_err(|e| Error::io(Layer::Host, "find the directory", e).with_host_path(parent))
}
