//! Who reads and writes a filesystem: a driver of our own, or a kernel that is borrowed.

use super::host::{Fuse, Loop};
use super::{Attach, Request, missing};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{self, GuestFs, Mode};
use crate::volume::{Base, Volume};
use std::path::Path;
use std::sync::Arc;

/// The filesystems that a kernel is asked to mount: those that guests have their root on.
const BORROWED: [&str; 7] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs"];

/// Who is to be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// A driver of our own where there is one, else a kernel.
    #[default]
    Auto,
    /// A driver of our own.
    Userspace,
    /// A kernel.
    Kernel,
}

/// What may be used to reach a filesystem.
#[derive(Clone, Debug)]
pub struct Access {
    choice: Choice,
    ways: Vec<Arc<dyn Attach>>,
    writes: Writes,
}

/// Where a kernel's writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    /// Into the transaction.
    Held,
    /// Into the image at once.
    InPlace,
}

/// A filesystem that is open, and by whom.
#[derive(Debug)]
pub struct Opened {
    /// The filesystem.
    pub fs: Box<dyn GuestFs>,
    /// The kernel that has it mounted; `None` for a driver of our own.
    pub kernel: Option<Borrowed>,
}

/// A kernel that was borrowed, for a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Borrowed {
    /// The way in which it got the volume: `fuse`, `nbd`, `loop`, `uml`.
    pub attach: &'static str,
    /// Which kernel: `Linux 6.12.9`.
    pub kernel: String,
    /// The subvolume of btrfs that is the guest's root, where it is not the default one.
    pub subvolume: Option<String>,
    /// Why a kernel was used, a clause.
    pub why: String,
}

impl Access {
    /// Nobody but our own drivers.
    pub fn userspace() -> Self {
        Self { choice: Choice::Userspace, ways: Vec::new(), writes: Writes::Held }
    }

    /// As chosen, and a kernel by the first of these ways that can be used here.
    pub fn new(choice: Choice, ways: Vec<Arc<dyn Attach>>) -> Self {
        Self { choice, ways, writes: Writes::Held }
    }

    /// A kernel that writes straight into a raw image, and reads by FUSE.
    pub fn in_place() -> Self {
        Self { choice: Choice::Kernel, ways: vec![Arc::new(Fuse::new())], writes: Writes::InPlace }
    }

    /// Whether a kernel writes into the image itself.
    pub fn writes_in_place(&self) -> bool {
        self.writes == Writes::InPlace
    }

    /// Whether a filesystem of this name may be reached, as far as that can be told without trying.
    pub fn reaches(&self, filesystem: &str) -> bool {
        match self.choice {
            Choice::Userspace => fs::has_driver(filesystem),
            Choice::Auto => fs::has_driver(filesystem) || BORROWED.contains(&filesystem),
            Choice::Kernel => BORROWED.contains(&filesystem),
        }
    }

    /// Whether a kernel is borrowed for a filesystem of this name.
    pub fn borrows(&self, filesystem: &str) -> bool {
        match self.choice {
            Choice::Userspace => false,
            Choice::Auto => !fs::has_driver(filesystem) && self.reaches(filesystem),
            Choice::Kernel => true,
        }
    }

    /// Opens the filesystem of a volume. `raw_image` is the file that has the volume in it as it stands, where there is one.
    ///
    /// Errors: the driver's or the kernel's; `Unsupported` where a kernel is needed and none can be borrowed, with what is
    /// missing.
    pub fn open(&self, volume: &Volume, raw_image: Option<&Path>, mode: Mode) -> Result<Opened> {
        let signature = volume.info.signature.as_ref();
        if let Some(error) = container(volume) {
            return Err(error);
        }
        let name = signature.map_or("", |signature| signature.name);
        if !self.borrows(name) {
            return Ok(Opened { fs: fs::open(Arc::clone(&volume.device), mode)?, kernel: None });
        }
        let why = match self.choice {
            Choice::Kernel => "as asked".to_owned(),
            Choice::Auto | Choice::Userspace => format!("there is no driver for {name} in userspace"),
        };
        let Some(signature) = signature.filter(|signature| self.reaches(signature.name)) else {
            let name = signature.map_or("nothing that is known", |signature| signature.name);
            let message = format!("a kernel is to mount it, and it holds {name}");
            return Err(Error::unsupported(Layer::Volume, message));
        };
        let request = Request { volume: Arc::clone(&volume.device), signature: signature.clone(), mode };
        if self.writes == Writes::InPlace && mode != Mode::ReadOnly {
            let image = raw_image.ok_or_else(|| {
                let message = "only a raw image can be changed in place";
                Error::unsupported(Layer::Image, message).with_hint("--attach fuse goes through the transaction")
            })?;
            if !matches!(volume.info.base, Base::Disk) {
                let message = format!("{} cannot be changed in place, only a partition or the whole disk", volume.info);
                return Err(
                    Error::unsupported(Layer::Volume, message).with_hint("--attach fuse goes through the transaction")
                );
            }
            let way = Loop::in_place(image.to_path_buf(), volume.info.start, volume.info.size);
            return borrow(&[Arc::new(way)], &request, &why);
        }
        borrow(&self.ways, &request, &why)
    }
}

/// The error where a volume holds others and no filesystem.
fn container(volume: &Volume) -> Option<Error> {
    if let Some(problem) = &volume.info.problem {
        return Some(problem.repeated());
    }
    let message = match volume.info.signature.as_ref()?.name {
        "LVM2_member" => {
            let group = volume.info.facts.iter().find(|(name, _)| *name == "volume-group");
            let group = group.map(|(_, group)| format!(" of the volume group {group}")).unwrap_or_default();
            format!("{} is a physical volume{group}, and no filesystem", volume.info)
        }
        _ => return None,
    };
    Some(
        Error::unsupported(Layer::Volume, message)
            .with_hint("--partition GROUP/VOLUME chooses a logical volume; `imgraft inspect IMAGE` lists them"),
    )
}

fn is_this_kernels(error: &Error) -> bool {
    error.layer() == Layer::Kernel && matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InUse)
}

/// Has the first kernel that can be had mount the volume.
fn borrow(ways: &[Arc<dyn Attach>], request: &Request, why: &str) -> Result<Opened> {
    let mut refusals = Vec::new();
    for way in ways {
        match way.ready(request).and_then(|()| way.attach(request)) {
            Ok(attached) => {
                let kernel = Borrowed {
                    attach: way.name(),
                    kernel: attached.kernel,
                    subvolume: attached.subvolume,
                    why: why.to_owned(),
                };
                return Ok(Opened { fs: attached.fs, kernel: Some(kernel) });
            }
            // Another kernel may have what this one lacks, and knows nothing of what this one has mounted.
            Err(error) if is_this_kernels(&error) => refusals.push((way.name(), error)),
            Err(error) => return Err(error),
        }
    }
    if let Some(at) = refusals.iter().position(|(_, error)| error.kind() == ErrorKind::InUse) {
        return Err(refusals.swap_remove(at).1);
    }
    let said: Vec<String> = refusals.iter().map(|(name, error)| format!("{name}: {error}")).collect();
    let name = request.signature.name;
    let message = format!("no kernel can be borrowed for {name}: {}", said.join("; "));
    let hint = refusals.last().and_then(|(_, error)| error.hint()).unwrap_or("run it as root").to_owned();
    Err(missing(message, hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::MemDevice;
    use crate::fs::mem::MemFs;
    use crate::kernel::Attached;
    use crate::volume::Signature;

    /// A way that fails, or succeeds where no error is given.
    #[derive(Debug)]
    struct Way(Option<(ErrorKind, Layer)>);

    impl Attach for Way {
        fn name(&self) -> &'static str {
            "way"
        }

        fn ready(&self, _: &Request) -> Result<()> {
            Ok(())
        }

        fn attach(&self, _: &Request) -> Result<Attached> {
            match self.0 {
                Some((kind, layer)) => Err(Error::new(kind, layer, format!("{kind:?} of a kernel"))),
                None => Ok(Attached {
                    fs: Box::new(MemFs::builder().build()?),
                    kernel: "Linux".to_owned(),
                    subvolume: None,
                }),
            }
        }
    }

    #[test]
    fn another_kernel_where_this_one_cannot() {
        let signature = Signature { name: "btrfs", label: String::new(), uuid: String::new() };
        let volume = Arc::new(MemDevice::new(vec![0; 512]));
        let request = Request { volume, signature, mode: Mode::ReadOnly };
        let borrow = |ways: &[Option<(ErrorKind, Layer)>]| {
            let ways: Vec<Arc<dyn Attach>> = ways.iter().map(|way| Arc::new(Way(*way)) as Arc<_>).collect();
            borrow(&ways, &request, "why").map(drop).map_err(|error| error.kind())
        };
        let [lacks, has] = [ErrorKind::Unsupported, ErrorKind::InUse].map(|kind| Some((kind, Layer::Kernel)));
        assert_eq!(borrow(&[lacks, None]), Ok(()));
        assert_eq!(borrow(&[has, None]), Ok(()));
        assert_eq!(borrow(&[has]), Err(ErrorKind::InUse));
        assert_eq!(borrow(&[has, lacks]), Err(ErrorKind::InUse));
        assert_eq!(borrow(&[lacks, lacks]), Err(ErrorKind::Unsupported));
        for kind in [ErrorKind::Corrupt, ErrorKind::Io] {
            assert_eq!(borrow(&[Some((kind, Layer::Kernel)), None]), Err(kind));
        }
        assert_eq!(borrow(&[Some((ErrorKind::InUse, Layer::Image)), None]), Err(ErrorKind::InUse));
    }
}
