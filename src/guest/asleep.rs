//! A guest that is suspended to disk, with its memory in a file (the kernel's Documentation/power/swsusp.rst and swsusp-and-swap-files.rst).

use super::{Reader, fstab};
use imgraft_vfs::fs::{FileType, GuestFs};
use imgraft_vfs::resolve::Follow;
use imgraft_vfs::volume::is_suspended;
use imgraft_vfs::{Error, ErrorKind, Layer, Result};

/// How much of a file says whose memory is in it, in bytes: the largest page that a machine has.
const HEAD: usize = 64 << 10;
/// How many files for swap space are looked at; more than these are used by no kernel (MAX_SWAPFILES).
const FILES_MAX: usize = 32;

/// Fails where a file for swap space of the guest's fstab has its memory, `InUse`: it would go on with what it knows of its
/// filesystems, whatever becomes of them meanwhile. Swap space in a volume of its own is a matter of the volumes.
pub fn check_awake(fs: &dyn GuestFs) -> Result<()> {
    let reader = Reader::new(fs);
    let fstab = reader.file_lenient("/etc/fstab", fstab::LIMIT)?.unwrap_or_default();
    for file in imgraft_vfs::fstab::swap_files(&fstab).iter().take(FILES_MAX) {
        let Ok(path) = std::str::from_utf8(file.as_bytes()) else { continue };
        let at = match reader.find(path, Follow::All) {
            // It lies on a volume that cannot be had; the guest's own is not changed by this run either.
            Err(error) if error.layer() == Layer::Volume => continue,
            found => found?,
        };
        let Some((at, FileType::Regular)) = at else { continue };
        let mut head = vec![0; HEAD];
        let read = fs.read_at(&at, &mut head, 0)?;
        if is_suspended(head.get(..read).unwrap_or_default()) {
            let message = "the guest is suspended to disk (its memory is in this file), and has its filesystems in use";
            return Err(Error::new(ErrorKind::InUse, Layer::Filesystem, message).with_guest_path(file.as_bytes()).with_hint(
                "start the guest and shut it down; or give up what it had in memory, by mkswap on the file in the mounted image",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::mem::MemFs;

    fn guest(page: usize, magic: &[u8]) -> MemFs {
        let mut file = vec![0; page];
        file[page - 10..][..magic.len()].copy_from_slice(magic);
        file.extend(vec![7; 1000]);
        let fstab = "/missing none swap sw 0 0\n/etc none swap sw 0 0\n/var/swap none swap sw 0 0\n";
        MemFs::builder()
            .file("/etc/fstab", fstab)
            .file("/swap.img", file)
            .symlink("/var/swap", "../swap.img")
            .build()
            .unwrap()
    }

    #[test]
    fn one_that_sleeps_in_a_file_is_in_use() {
        for page in [4096, 16384, 65536] {
            for magic in ["S1SUSPEND", "ULSUSPEND\0", "LINHIB0001"] {
                let error = check_awake(&guest(page, magic.as_bytes())).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InUse);
                let told = error.to_string();
                assert!(told.contains("/var/swap") && told.contains("suspended to disk"), "{told}");
            }
            check_awake(&guest(page, b"SWAPSPACE2")).unwrap();
            check_awake(&guest(page, b"")).unwrap();
        }
        let unused = MemFs::builder().file("/etc/fstab", "").file("/swap.img", "x").build().unwrap();
        check_awake(&unused).unwrap();
    }
}
