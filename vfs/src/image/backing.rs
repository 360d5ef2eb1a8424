//! Other files that an image names: refused, unless the caller allows the directories that they lie in.

use super::data_file::{DataFile, HeldDataFile};
use super::qcow2::Purpose;
use super::{Format, ImageFormat, Source, inspect, qcow2, raw};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::shell;
use crate::transaction::{Access, FileHost, Overlay, StateDir, Transaction};
use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// The most files that a chain has below the image.
const MAX_DEPTH: usize = 64;

/// The most bytes of tables and clusters that the files below the image come to hold, all together. With the usual clusters
/// it is enough for 64 files of some TiB.
const MEMORY: u64 = 256 << 20;

/// Which other files an image may bring along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Backing {
    /// None: an image that names another file is refused.
    #[default]
    Deny,
    /// Files that lie, every link followed, in one of these directories or below; where there are none, in the
    /// directory of the image that names them.
    Within(Vec<PathBuf>),
}

/// A file that an image names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name, as it stands in the image.
    pub name: Vec<u8>,
    /// The recorded format, as it stands in the image.
    pub format: Option<Vec<u8>>,
}

impl Named {
    pub(super) fn shown(&self) -> String {
        self.name.escape_ascii().to_string()
    }

    fn shown_format(&self) -> Option<String> {
        self.format.as_ref().map(|format| format.escape_ascii().to_string())
    }
}

/// Who decides about the files that an image names.
pub(super) trait Gate {
    /// Opens the backing file, for reading.
    fn backing(&self, named: &Named) -> Result<Arc<dyn ImageFormat>>;

    /// Opens the external data file; its name is empty where the image does not say it.
    fn data_file(&self, named: &Named) -> Result<DataFile>;

    /// Agrees to these bytes of memory for an image that is only read, or fails with `Unsupported`.
    fn hold(&self, bytes: u64) -> Result<()>;
}

/// Refuses every file.
#[derive(Debug)]
pub(super) struct Closed;

impl Gate for Closed {
    fn backing(&self, named: &Named) -> Result<Arc<dyn ImageFormat>> {
        let message = format!("qcow2: the image has the backing file \"{}\"", named.shown());
        Err(Error::unsupported(Layer::Image, message).with_hint(
            "if you trust the image, which could name any file: allow it with --backing-chain, or make the image stand \
             alone with `qemu-img convert -O qcow2 IMAGE NEW.qcow2`",
        ))
    }

    fn data_file(&self, named: &Named) -> Result<DataFile> {
        let message = format!("qcow2: the image keeps its data in the external data file \"{}\"", named.shown());
        Err(Error::unsupported(Layer::Image, message).with_hint(
            "if you trust the image, allow reading it with --backing-chain, or have `imgraft inject` write to it by its name, \
             --data-file FILE; or bring it into one file with `qemu-img convert -O qcow2 IMAGE NEW.qcow2`",
        ))
    }

    /// It opens none.
    fn hold(&self, _bytes: u64) -> Result<()> {
        Ok(())
    }
}

/// Lets the external data file pass that is open already, and no other file.
#[derive(Debug)]
struct DataFileOnly(DataFile);

impl Gate for DataFileOnly {
    fn backing(&self, named: &Named) -> Result<Arc<dyn ImageFormat>> {
        Closed.backing(named)
    }

    fn data_file(&self, _named: &Named) -> Result<DataFile> {
        Ok(self.0.clone())
    }

    fn hold(&self, bytes: u64) -> Result<()> {
        Closed.hold(bytes)
    }
}

/// Opens the image in `host`, which lies at `image`, with the backing files that `backing` allows.
///
/// `declared` is as for [`open`](super::open). Writes go to the image alone, so that one with an external data file is
/// only read; [`Edit`](super::Edit) writes to both. Every backing file is opened for reading
/// and locked as QEMU locks it, for as long as the image is open; it must be a regular file whose format (raw or qcow2)
/// is recorded in the file above it. Where their journals lie `state` says. `Denied` where one lies outside the allowed directories, `Unsupported` where it
/// is no file or of no recorded format, `Corrupt` where the chain has no end, and whatever opening it may give.
pub fn open_chain(
    host: Arc<Overlay>,
    image: &Path,
    declared: Option<Format>,
    backing: &Backing,
    state: &StateDir,
) -> Result<Arc<dyn ImageFormat>> {
    open_held(host, image, declared, backing, state, None)
}

/// The same, with the external data file that [`hold_data_file`] has given.
pub(crate) fn open_held(
    host: Arc<Overlay>,
    image: &Path,
    declared: Option<Format>,
    backing: &Backing,
    state: &StateDir,
    held: Option<&HeldDataFile>,
) -> Result<Arc<dyn ImageFormat>> {
    let format = inspect::format(&*host, declared)?;
    match (format, backing) {
        (Format::Raw, _) => Ok(Arc::new(raw::Raw::new(host))),
        (Format::Qcow2, Backing::Deny) => Ok(Arc::new(match held {
            Some(held) => qcow2::Qcow2::open_through(host, &DataFileOnly(held.file()), Purpose::Edit)?,
            None => qcow2::Qcow2::open(host)?,
        })),
        (Format::Qcow2, Backing::Within(directories)) => {
            let gate = Chain { held: held.map(HeldDataFile::file), ..Chain::start(image, directories, state)? };
            Ok(Arc::new(qcow2::Qcow2::open_through(host, &gate, Purpose::Edit)?))
        }
    }
}

/// Opens and locks the external data file of the image in `host`, to be edited with it; none where the caller names none.
///
/// With `Access::Write` what an interrupted run left beside the data file is finished or discarded. `Invalid` where the
/// image has no data file, `Denied` where it names another one, and whatever opening it may give.
pub(super) fn hold_data_file(host: &Overlay, source: &Source, access: Access) -> Result<Option<HeldDataFile>> {
    let Some(path) = &source.data_file else { return Ok(None) };
    let named = data_file_of(host, source.format)?.ok_or_else(|| {
        Error::new(ErrorKind::Invalid, Layer::Image, "the image has no external data file")
            .with_host_path(&source.image)
            .with_hint("leave --data-file out")
    })?;
    let real_path = fs::canonicalize(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, Layer::Host, "there is no such data file").with_host_path(path)
        }
        _ => cannot("find the external data file", path, e),
    })?;
    let directory = real_path.parent().unwrap_or(Path::new("/")).to_path_buf();
    let chain = Chain::start(&source.image, &[directory], &source.state)?;
    let named = match named.name.is_empty() {
        // The image does not say its name: the caller does.
        true => Named { name: real_path.as_os_str().as_bytes().to_vec(), ..named },
        false => named,
    };
    let shown = named.shown();
    let another = || {
        let message = format!("the image's external data file is \"{shown}\", and not this one");
        Error::new(ErrorKind::Denied, Layer::Image, message)
            .with_host_path(path)
            .with_hint("name the one that the image has, if you trust the image")
    };
    // Whichever QEMU may have taken: the caller says which one it is.
    let from_here = fs::canonicalize(OsStr::from_bytes(&named.name)).is_ok_and(|found| found == real_path);
    let named = match fs::canonicalize(chain.path(Role::Data, &named)?) {
        Ok(found) if found == real_path => named,
        _ if from_here => Named { name: real_path.as_os_str().as_bytes().to_vec(), ..named },
        Ok(_) => return Err(another()),
        Err(_) => named,
    };
    let (host, _, identity) = chain.open_host(Role::Data, &named, access)?;
    let metadata = fs::metadata(path).map_err(|e| cannot("look at the external data file", path, e))?;
    if identity != (metadata.dev(), metadata.ino()) {
        return Err(another());
    }
    Ok(Some(HeldDataFile::new(Transaction::over_file(host, access)?)))
}

/// What the image in `host` says of its external data file, where it has one.
pub(super) fn data_file_of(host: &Overlay, declared: Option<Format>) -> Result<Option<Named>> {
    match inspect::format(host, declared)? {
        Format::Raw => Ok(None),
        Format::Qcow2 => qcow2::data_file(host),
    }
}

/// What a file that an image names is to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Backing,
    Data,
}

impl Role {
    fn noun(self) -> &'static str {
        match self {
            Self::Backing => "backing file",
            Self::Data => "external data file",
        }
    }

    /// The command that gives it another name.
    fn rename(self, naming: &Path) -> String {
        match self {
            Self::Backing => format!("qemu-img rebase -u -F FORMAT -b FILE {}", shell::word(naming)),
            Self::Data => format!("qemu-img amend -f qcow2 -o data_file=FILE {}", shell::word(naming)),
        }
    }
}

/// Opens the files of a chain, each confined to the allowed directories.
#[derive(Clone, Debug)]
struct Chain {
    /// The file that names the next one; relative names begin beside it. QEMU has it so for backing files; an external data
    /// file it looks for from its working directory (`bdrv_open_child` with the name as it stands).
    naming: PathBuf,
    /// The directories, every link followed.
    allowed: Vec<PathBuf>,
    /// Device and inode of every file above.
    above: Vec<(u64, u64)>,
    /// The image's external data file, where it is open already.
    held: Option<DataFile>,
    /// Where the journals of the files lie, if not beside them.
    state: StateDir,
    /// What the files below the image come to hold in memory, in bytes; the whole chain counts in one place.
    memory: Rc<Cell<u64>>,
}

impl Chain {
    fn start(image: &Path, directories: &[PathBuf], state: &StateDir) -> Result<Self> {
        let allowed = match directories {
            [] => vec![real(image)?.parent().unwrap_or(Path::new("/")).to_path_buf()],
            directories => directories.iter().map(|directory| allowed(directory)).collect::<Result<_>>()?,
        };
        let metadata = fs::metadata(image).map_err(|e| cannot("look at the image", image, e))?;
        Ok(Self {
            naming: image.to_path_buf(),
            allowed,
            above: vec![(metadata.dev(), metadata.ino())],
            held: None,
            state: state.clone(),
            memory: Rc::default(),
        })
    }

    /// The recorded format, where it is one that is supported.
    fn format(&self, named: &Named) -> Result<Format> {
        match named.format.as_deref() {
            Some(b"raw") => Ok(Format::Raw),
            Some(b"qcow2") => Ok(Format::Qcow2),
            Some(_) => {
                let format = named.shown_format().unwrap_or_default();
                let message = format!("the backing file \"{}\" is of the format {format}", named.shown());
                Err(Error::unsupported(Layer::Image, message)
                    .with_host_path(&self.naming)
                    .with_hint("raw and qcow2 are supported; make the image stand alone with `qemu-img convert -O qcow2 IMAGE NEW.qcow2`"))
            }
            // To look what it is would let a guest choose: it writes its first bytes where the file is raw.
            None => {
                let message = format!("the format of the backing file \"{}\" is not recorded", named.shown());
                // The name is the image's word, and no part of a command.
                let hint = format!("record it, raw or qcow2: {}", Role::Backing.rename(&self.naming));
                Err(Error::unsupported(Layer::Image, message).with_host_path(&self.naming).with_hint(hint))
            }
        }
    }

    /// The path that the name is, which is that of a file and nothing else.
    fn path(&self, role: Role, named: &Named) -> Result<PathBuf> {
        let first = named.name.split(|&byte| byte == b'/').next().unwrap_or_default();
        if named.name.is_empty() || named.name.contains(&0) {
            let message = format!("the {}'s name \"{}\" is no name of a file", role.noun(), named.shown());
            return Err(Error::corrupt(Layer::Image, message).with_host_path(&self.naming));
        }
        // QEMU takes what stands before a colon in the first part for a protocol, json: among them.
        if first.contains(&b':') {
            let message = format!("the {} \"{}\" is no plain file name", role.noun(), named.shown());
            return Err(Error::unsupported(Layer::Image, message)
                .with_host_path(&self.naming)
                .with_hint(format!("name it as a file: {}", role.rename(&self.naming))));
        }
        let beside = self.naming.parent().unwrap_or(Path::new(""));
        Ok(beside.join(OsStr::from_bytes(&named.name)))
    }

    /// The allowed directory that holds the file at `path`, and the way from there; no link is on it.
    fn confine(&self, role: Role, named: &Named, path: &Path) -> Result<(PathBuf, PathBuf)> {
        let real_path = fs::canonicalize(path).map_err(|e| {
            let message =
                format!("the {} \"{}\" of {} cannot be reached", role.noun(), named.shown(), self.naming.display());
            Error::new(ErrorKind::Unsupported, Layer::Image, message)
                .with_host_path(path)
                .with_hint(format!("if it has moved: {}", role.rename(&self.naming)))
                .with_source(e)
        })?;
        for directory in &self.allowed {
            if let Ok(below) = real_path.strip_prefix(directory) {
                return Ok((directory.clone(), below.to_path_buf()));
            }
        }
        let parent = shell::word(real_path.parent().unwrap_or(Path::new("/")));
        let message = format!("the {} \"{}\" lies outside the allowed directories", role.noun(), named.shown());
        Err(Error::new(ErrorKind::Denied, Layer::Image, message)
            .with_host_path(&self.naming)
            .with_hint(format!("if you trust the image, allow the directory: --backing-chain={parent}")))
    }

    /// Opens the file for reading, where it is allowed and not one above; gives its path and its identity too.
    fn open(&self, role: Role, named: &Named) -> Result<(Arc<Overlay>, PathBuf, (u64, u64))> {
        let (host, path, identity) = self.open_host(role, named, Access::Read)?;
        Ok((Transaction::over_file(host, Access::Read)?.overlay(), path, identity))
    }

    fn open_host(&self, role: Role, named: &Named, access: Access) -> Result<(FileHost, PathBuf, (u64, u64))> {
        if role == Role::Data && named.name.is_empty() {
            let message = "the image keeps its data in an external data file, and does not say its name";
            return Err(Error::unsupported(Layer::Image, message)
                .with_host_path(&self.naming)
                .with_hint(format!("record it: {}", Role::Data.rename(&self.naming))));
        }
        let path = self.path(role, named)?;
        let (directory, below) = self.confine(role, named, &path)?;
        // A file that is open further up, for writing, is locked against its second user: the cycle is what is to be told.
        if let Ok(metadata) = fs::metadata(&path) {
            self.goes_on(named, (metadata.dev(), metadata.ino()))?;
        }
        let host = FileHost::open_beneath(&directory, &below, &path, access, &self.state)?;
        let identity = host.identity().map_err(|e| cannot("look at a file of the chain", &path, e))?;
        self.goes_on(named, identity)?;
        Ok((host, path, identity))
    }

    /// Fails where the name of a data file is that of one file beside the image and of another one from the working directory,
    /// which QEMU would take if it were started there.
    fn says_which(&self, named: &Named) -> Result<()> {
        if named.name.is_empty() || named.name.starts_with(b"/") {
            return Ok(());
        }
        let beside = self.path(Role::Data, named)?;
        let identity = |path: &Path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
        let (beside, here) = (identity(&beside), identity(Path::new(OsStr::from_bytes(&named.name))));
        if beside.is_none() || here.is_none() || beside == here {
            return Ok(());
        }
        let message = format!(
            "the external data file \"{}\" is beside the image, and another one of that name in the working directory, which \
             QEMU takes",
            named.shown()
        );
        Err(Error::unsupported(Layer::Image, message)
            .with_host_path(&self.naming)
            .with_hint(format!("record its whole path: {}", Role::Data.rename(&self.naming))))
    }

    /// Fails where the file is one above.
    fn goes_on(&self, named: &Named, identity: (u64, u64)) -> Result<()> {
        if !self.above.contains(&identity) {
            return Ok(());
        }
        let message = format!("the backing chain comes back to \"{}\"", named.shown());
        Err(Error::corrupt(Layer::Image, message)
            .with_host_path(&self.naming)
            .with_hint("look at the chain with `qemu-img info --backing-chain -U IMAGE`"))
    }
}

impl Gate for Chain {
    fn backing(&self, named: &Named) -> Result<Arc<dyn ImageFormat>> {
        let format = self.format(named)?;
        if self.above.len() > MAX_DEPTH {
            let message = format!("the backing chain has more than {MAX_DEPTH} files");
            return Err(Error::unsupported(Layer::Image, message)
                .with_host_path(&self.naming)
                .with_hint("shorten it with `qemu-img convert` or `qemu-img rebase`"));
        }
        let (overlay, path, identity) = self.open(Role::Backing, named)?;
        match format {
            Format::Raw => Ok(Arc::new(raw::Raw::new(overlay))),
            Format::Qcow2 => {
                let mut above = self.above.clone();
                above.push(identity);
                let gate = Self { naming: path.clone(), above, held: None, ..self.clone() };
                let image = qcow2::Qcow2::open_through(overlay, &gate, Purpose::ReadBelow);
                // An error from further down names its own file.
                Ok(Arc::new(image.map_err(|error| match error.host_path() {
                    Some(_) => error,
                    None => error.with_host_path(&path),
                })?))
            }
        }
    }

    fn data_file(&self, named: &Named) -> Result<DataFile> {
        if let Some(held) = &self.held {
            return Ok(held.clone());
        }
        self.says_which(named)?;
        let (overlay, _, _) = self.open(Role::Data, named)?;
        Ok(DataFile::read_only(overlay))
    }

    fn hold(&self, bytes: u64) -> Result<()> {
        let memory = self.memory.get().saturating_add(bytes);
        if memory > MEMORY {
            let message = format!(
                "the tables of the backing chain, this file's among them, would take more than {} MiB of memory",
                MEMORY >> 20
            );
            return Err(Error::unsupported(Layer::Image, message)
                .with_host_path(&self.naming)
                .with_hint("shorten it with `qemu-img convert` or `qemu-img rebase`"));
        }
        self.memory.set(memory);
        Ok(())
    }
}

/// A directory that the caller allows; `NotFound` or `Invalid` where it is none.
fn allowed(directory: &Path) -> Result<PathBuf> {
    let refused = |kind, message| {
        Error::new(kind, Layer::Host, message)
            .with_host_path(directory)
            .with_hint("name directories that hold the files of the chain")
    };
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => real(directory),
        Ok(_) => Err(refused(ErrorKind::Invalid, "this is no directory")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(refused(ErrorKind::NotFound, "there is no such directory"))
        }
        Err(error) => Err(cannot("find the directory", directory, error)),
    }
}

fn real(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|e| cannot("find the directory", path, e))
}

fn cannot(operation: &str, path: &Path, source: std::io::Error) -> Error {
    Error::io(Layer::Host, operation, source).with_host_path(path)
}
