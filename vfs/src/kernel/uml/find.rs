//! Where the kernel is, and its modules.

use crate::error::Result;
use crate::kernel::missing;
use rustix::fs::{Access, access};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where Debian's package `user-mode-linux` has its kernel.
const KERNEL: &str = "/usr/bin/linux.uml";
/// What others call it, along PATH.
const NAMES: [&str; 2] = ["linux.uml", "linux"];
/// Where the modules are, below the directory that `bin` is in.
const MODULES: &str = "lib/uml/modules";
/// The driver of the disks.
const DRIVER: &str = "virtio_blk";
/// The longest list of dependencies that is read, in bytes; Debian's has 30,000.
const LIST_MAX: u64 = 4 << 20;

/// A kernel, and the modules to be loaded into it, in order, for each release that there are modules of.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) kernel: PathBuf,
    pub(super) modules: Vec<(String, Vec<PathBuf>)>,
}

/// The kernel that was named, or one that is installed. Errors: those of [`missing`].
pub(super) fn kernel(named: Option<&Path>) -> Result<PathBuf> {
    let usual = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let along = std::env::split_paths(&path).flat_map(|at| NAMES.map(|name| at.join(name))).collect::<Vec<_>>();
        std::iter::once(PathBuf::from(KERNEL)).chain(along).find(|candidate| candidate.is_file())
    };
    match named {
        Some(path) if path.is_file() => match access(path, Access::EXEC_OK) {
            Ok(()) => Ok(path.to_path_buf()),
            Err(errno) => {
                let what = format!("{} is no program that can be run", path.display());
                Err(missing(what, HINT).with_source(std::io::Error::from(errno)))
            }
        },
        Some(path) => Err(missing(format!("there is no User Mode Linux kernel {}", path.display()), HINT)),
        None => usual().ok_or_else(|| missing("no User Mode Linux kernel is installed", HINT)),
    }
}

/// What to do where there is no kernel.
pub(super) const HINT: &str = "install the package user-mode-linux, or name a kernel with --uml-kernel PATH; as root the host's own kernel does it \
                    (--attach nbd, fuse or loop)";

/// The modules for a filesystem, beside `kernel` or where Debian has them.
pub(super) fn modules(kernel: PathBuf, filesystem: &str) -> Found {
    let beside = kernel.canonicalize().ok().and_then(|path| Some(path.parent()?.parent()?.join(MODULES)));
    let places = [beside, Some(Path::new("/usr").join(MODULES))];
    let mut modules = Vec::new();
    for release in places.into_iter().flatten().find_map(|place| std::fs::read_dir(place).ok()).into_iter().flatten() {
        let Ok(release) = release else { continue };
        if let (Some(name), Some(list)) = (release.file_name().to_str(), dependencies(&release.path())) {
            modules.push((name.to_owned(), needed(&release.path(), &list, filesystem)));
        }
    }
    Found { kernel, modules }
}

/// The list of modules and what each needs: modules.dep(5).
fn dependencies(release: &Path) -> Option<String> {
    let list = release.join("modules.dep");
    let short = std::fs::metadata(&list).ok()?.len() <= LIST_MAX;
    short.then(|| std::fs::read_to_string(list).ok())?
}

/// What is to be loaded: what a module needs comes before it. What is not in the list is built in, or missing, which
/// the kernel will say.
fn needed(release: &Path, list: &str, filesystem: &str) -> Vec<PathBuf> {
    let filesystem = match filesystem {
        "vfat" => &["nls_cp437", "nls_iso8859-1", "nls_ascii", "vfat"][..],
        other => &[other],
    };
    let mut needed: Vec<PathBuf> = Vec::new();
    for name in [&[DRIVER], filesystem].concat() {
        let file = format!("{name}.ko");
        let mut lines = list.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(module, _)| Path::new(module).file_name() == Some(OsStr::new(&file)));
        let Some((module, before)) = found else { continue };
        // The last one in a line is the one that needs nothing.
        for path in before.split_whitespace().rev().chain([module]) {
            let path = release.join(path);
            if !needed.contains(&path) {
                needed.push(path);
            }
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn modules_come_after_what_they_need() {
        let list = "kernel/fs/fat/vfat.ko: kernel/fs/fat/fat.ko\nkernel/x/virtio_blk.ko:\nkernel/fs/fat/fat.ko:\n\
                    kernel/a/f2fs.ko: kernel/a/b.ko kernel/a/c.ko\nkernel/n/nls_cp437.ko:\n";
        let names = |filesystem| {
            let paths = needed(Path::new("/m"), list, filesystem).into_iter();
            paths.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("xfs"), ["virtio_blk.ko"]);
        assert_eq!(names("vfat"), ["virtio_blk.ko", "nls_cp437.ko", "fat.ko", "vfat.ko"]);
        assert_eq!(names("f2fs"), ["virtio_blk.ko", "c.ko", "b.ko", "f2fs.ko"]);
    }

    #[test]
    fn a_kernel_that_is_not_there() {
        let error = kernel(Some(Path::new("/nonexistent/linux"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("/nonexistent/linux") && error.hint().unwrap().contains("user-mode-linux"));
        let data = tempfile::NamedTempFile::new().unwrap();
        let error = kernel(Some(data.path())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(data.path().to_str().unwrap()) && error.hint().is_some(), "{error:?}");
    }
}
