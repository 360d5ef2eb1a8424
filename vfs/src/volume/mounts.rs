//! The volumes of a disk as what is mounted in a guest's tree.

use super::{Keys, Selector, Survey, VolumeInfo};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::tree::{Purpose, Source};
use crate::fs::{GuestFs, Mode, has_driver};
use crate::kernel::{Access, Borrowed, Opened};
use crate::path::GuestPath;
use std::cell::RefCell;
use std::rc::Rc;

/// The volumes of a disk, of which one guest has some mounted.
///
/// No volume is opened twice: two hands would write to it.
#[derive(Clone, Debug)]
pub struct Volumes(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    survey: Rc<RefCell<Survey>>,
    keys: Keys,
    access: Access,
    mode: Mode,
    used: RefCell<Vec<Used>>,
}

/// A volume that has been opened.
#[derive(Clone, Debug)]
pub struct Used {
    /// Where it is mounted, as the guest says.
    pub path: GuestPath,
    /// What is known of it.
    pub info: VolumeInfo,
    /// The kernel that has it mounted; `None` for a driver of our own.
    pub kernel: Option<Borrowed>,
}

impl Volumes {
    /// The volumes of `survey`, of which `root` is the guest's root and open. `mode` is how one is opened that is changed.
    pub fn new(survey: Rc<RefCell<Survey>>, root: &VolumeInfo, keys: &Keys, access: &Access, mode: Mode) -> Self {
        let path = GuestPath::root();
        let used = RefCell::new(vec![Used { path, info: root.clone(), kernel: None }]);
        Self(Rc::new(Shared { survey, keys: keys.clone(), access: access.clone(), mode, used }))
    }

    /// The volumes.
    pub fn survey(&self) -> &RefCell<Survey> {
        &self.0.survey
    }

    /// A volume, to be opened when a path needs it.
    pub fn source(&self, selector: Selector, path: GuestPath) -> Box<dyn Source> {
        Box::new(Mounted { volumes: self.clone(), selector, path })
    }

    /// The volume that has been opened for a place.
    pub fn used(&self, path: &GuestPath) -> Option<Used> {
        self.0.used.borrow().iter().find(|used| used.path == *path).cloned()
    }

    fn open(&self, selector: &Selector, path: &GuestPath, purpose: Purpose) -> Result<Box<dyn GuestFs>> {
        let Shared { survey, keys, access, mode, used } = &*self.0;
        let mode = match (purpose, mode) {
            (Purpose::Look, _) => Mode::ReadOnly,
            (Purpose::Change, Mode::ReadOnly) => {
                return Err(Error::new(ErrorKind::Denied, Layer::Volume, "the image is open for reading only"));
            }
            (Purpose::Change, mode) => *mode,
        };
        if access.writes_in_place() {
            let message = "with --in-place-unsafe only the root can be changed, without a transaction";
            return Err(
                Error::unsupported(Layer::Volume, message).with_hint("--attach fuse takes all of the guest's tree")
            );
        }
        let mut survey = survey.borrow_mut();
        let info = survey.find_through(selector, keys)?;
        let mut used = used.borrow_mut();
        if let Some(other) = used.iter().find(|other| other.path != *path && other.info.is_same(&info)) {
            let message = format!("{info} is mounted at {} already, and a second place is not supported", other.path);
            return Err(
                Error::unsupported(Layer::Volume, message).with_hint(format!("name the path by way of {}", other.path))
            );
        }
        let name = info.signature.as_ref().map_or("", |signature| signature.name);
        if !access.reaches(name) && !has_driver(name) && !name.is_empty() {
            let message = format!("{info} holds {name}, for which there is no driver");
            let hint = match name {
                "LVM2_member" => "name one of its logical volumes, GROUP/VOLUME: imgraft inspect IMAGE lists them",
                _ => "--access auto borrows a kernel for XFS, btrfs and their like",
            };
            return Err(Error::unsupported(Layer::Volume, message).with_hint(hint));
        }
        let volume = survey.open(&info)?;
        // What a kernel is not asked for has a driver.
        let by_driver = Access::userspace();
        let access = if access.reaches(name) { access } else { &by_driver };
        let Opened { fs, kernel } = access.open(&volume, None, mode)?;
        used.retain(|used| used.path != *path);
        used.push(Used { path: path.clone(), info, kernel });
        Ok(fs)
    }
}

/// A volume at a place.
#[derive(Debug)]
struct Mounted {
    volumes: Volumes,
    selector: Selector,
    path: GuestPath,
}

impl Source for Mounted {
    fn open(&self, purpose: Purpose) -> Result<Box<dyn GuestFs>> {
        self.volumes.open(&self.selector, &self.path, purpose)
    }
}
