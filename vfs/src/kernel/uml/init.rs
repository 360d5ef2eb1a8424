//! Inside the borrowed kernel: the first process, and the only one.

use super::initramfs::MODULES;
use super::mailbox::Slot;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::mounted::{Mounted, Subvolume, guest_root, subvolumes};
use crate::fs::remote::{Keeper, Mount, Place, serve};
use crate::fs::{GuestFs, Mode};
use crate::kernel::log::Log;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::system::{RebootCommand, finit_module, reboot, uname};
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The argument of a program that is to be the first process of a borrowed kernel.
pub(super) const ARGUMENT: &str = "serve-as-first-process";
/// What a line of the kernel's log begins with that comes from here.
pub(super) const MARK: &str = "imgraft: ";
/// The disks, in the order of the command line.
const VOLUME: &str = "/dev/vda";
const CHANNEL: &str = "/dev/vdb";
const ROOT: &str = "/mnt";
/// How many bytes are copied for a trial: enough to get memory that was not used before.
const COPIED: usize = 1 << 20;

/// Serves, and ends the kernel.
pub(super) fn run() -> ! {
    if let Err(error) = serve_volume() {
        // The kernel's log, at the level of an error, ends up on the console. Each write is a line of it.
        let line = format!("<3>{MARK}{error:?}");
        let _ = File::options().write(true).open("/dev/kmsg").and_then(|mut log| log.write_all(line.as_bytes()));
    }
    loop {
        // The first process must not end.
        let _ = reboot(RebootCommand::PowerOff);
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

fn serve_volume() -> Result<()> {
    for (filesystem, place) in [("devtmpfs", "/dev"), ("proc", "/proc")] {
        mount(filesystem, place, filesystem, MountFlags::empty(), None)
            .map_err(|errno| Error::io(Layer::Kernel, format!("mount {place}"), errno.into()))?;
    }
    copy_something()?;
    load_modules()?;
    let disk = File::options()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_DIRECT)
        .open(CHANNEL)
        .map_err(|error| Error::io(Layer::Kernel, format!("open the channel {CHANNEL}"), error))?;
    serve(&mut Slot::new(disk), &mut Host::default())
}

/// Makes sure that a copy to memory that is touched for the first time is one: with AVX a page fault costs bytes here (see
/// [`sys::confine`](crate::kernel::sys::confine)).
fn copy_something() -> Result<()> {
    let original: Vec<u8> = (0..=250).cycle().take(COPIED).collect();
    if std::hint::black_box(original.clone()) == original {
        return Ok(());
    }
    let message =
        "the C library uses registers that the borrowed kernel does not keep (AVX), whatever GLIBC_TUNABLES says";
    Err(Error::unsupported(Layer::Kernel, message))
}

/// Loads what there is for this kernel, in the order of the names.
fn load_modules() -> Result<()> {
    let system = uname();
    let place = Path::new("/").join(MODULES).join(system.release().to_string_lossy().as_ref());
    let Ok(entries) = fs::read_dir(&place) else { return Ok(()) };
    let mut modules: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    modules.sort();
    for module in modules {
        let failed = |error| Error::io(Layer::Kernel, "load a module", error).with_host_path(&module);
        let file = File::open(&module).map_err(failed)?;
        match finit_module(&file, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
    }
    Ok(())
}

/// Has the volume's filesystem.
#[derive(Default)]
struct Host {
    /// Where subvolumes are mounted.
    subvolumes: Vec<String>,
}

impl Keeper for Host {
    fn open(&mut self, asked: &Mount) -> Result<(Box<dyn GuestFs>, Place)> {
        // The driver of ext4 knows its elders too.
        let name = asked.signature.name;
        let filesystem = if matches!(name, "ext2" | "ext3") { "ext4" } else { name };
        let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
        let mode = match asked.now {
            Some(now) => Mode::ReadWrite { now },
            None => Mode::ReadOnly,
        };
        if mode == Mode::ReadOnly {
            flags |= MountFlags::RDONLY;
        }
        let options: Option<&CStr> = match filesystem {
            "xfs" => Some(c"nouuid"),
            _ => None,
        };
        let log = Log::from_now();
        mount(VOLUME, ROOT, filesystem, flags, options).map_err(|errno| {
            let kind = match errno {
                Errno::INVAL | Errno::UCLEAN | Errno::BADMSG => ErrorKind::Corrupt,
                Errno::NODEV | Errno::OPNOTSUPP => ErrorKind::Unsupported,
                _ => ErrorKind::Io,
            };
            let error =
                Error::new(kind, Layer::Kernel, format!("the borrowed kernel does not mount it as {filesystem}"));
            error.with_source(reason(log, errno))
        })?;
        let top = File::open(ROOT).map_err(|error| Error::io(Layer::Kernel, "open the root", error))?;
        let (root, subvolume) = guest_root(top.into(), filesystem)?;
        let others = subvolumes(&root, &asked.signature)?;
        let system = uname();
        let kernel = format!("Linux {} (User Mode Linux)", system.release().to_string_lossy());
        let mut fs = Mounted::new(root, asked.signature.clone(), mode)?;
        for (number, other) in others.into_iter().enumerate() {
            let at = format!("{ROOT}-{number}");
            let directory = mount_subvolume(&at, &other, flags);
            if directory.is_ok() {
                self.subvolumes.push(at);
            }
            fs.mount(&other, directory)?;
        }
        Ok((Box::new(fs), Place { kernel, subvolume: subvolume.map(str::to_owned) }))
    }

    fn close(&mut self, fs: Box<dyn GuestFs>) -> Result<()> {
        let log = Log::from_now();
        fs.close()?;
        let mut places = self.subvolumes.iter().map(String::as_str).chain([ROOT]);
        places.try_for_each(|at| unmount(at, UnmountFlags::empty())).map_err(|errno| {
            Error::new(ErrorKind::Io, Layer::Kernel, "the borrowed kernel does not unmount it")
                .with_source(reason(log, errno))
        })
    }
}

/// Mounts a subvolume at a place that is made for it.
fn mount_subvolume(at: &str, subvolume: &Subvolume, flags: MountFlags) -> Result<OwnedFd> {
    let Subvolume { option, value, .. } = subvolume;
    let failed = |error| Error::io(Layer::Kernel, format!("mount the subvolume {value}"), error);
    let option = CString::new(format!("{option}={value}")).map_err(|error| failed(error.into()))?;
    fs::create_dir(at).map_err(failed)?;
    mount(VOLUME, at, "btrfs", flags, &*option).map_err(|errno| failed(errno.into()))?;
    File::open(at).map(OwnedFd::from).map_err(failed)
}

/// What the kernel has logged meanwhile, and the error that came of it.
fn reason(log: Log, errno: Errno) -> String {
    let mut lines = log.lines(|_| true);
    lines.push(std::io::Error::from(errno).to_string());
    lines.join("; ")
}
