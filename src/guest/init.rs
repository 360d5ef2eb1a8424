//! What starts a guest.

use super::Reader;
use super::dpkg::{self, Version};
use imgraft_vfs::Result;
use imgraft_vfs::resolve::Follow;

/// Where systemd is, in a guest that has it.
const SYSTEMD: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];

/// What the kernel starts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// systemd.
    Systemd,
    /// Another one: sysvinit, OpenRC on busybox, runit.
    Other,
    /// It is not on the root, but on a /usr of its own, or nowhere.
    Unknown,
}

impl Init {
    pub(super) fn inspect(reader: &Reader<'_>) -> Result<Self> {
        if !reader.exists("/sbin/init")? {
            // Where there is no other, an initrd starts this one.
            return Ok(if has_systemd(reader)? { Self::Systemd } else { Self::Unknown });
        }
        // A link that leads nowhere may lead to a /usr of its own.
        let target = reader.place("/sbin/init", Follow::All)?;
        Ok(match target {
            Some(at) if at.file_name() == Some(b"systemd") => Self::Systemd,
            _ => Self::Other,
        })
    }
}

/// Whether systemd is installed, be it what starts the guest or not.
pub(super) fn has_systemd(reader: &Reader<'_>) -> Result<bool> {
    Ok(reader.exists(SYSTEMD[0])? || reader.exists(SYSTEMD[1])?)
}

/// The version of systemd; `None` where dpkg does not say which.
pub(crate) fn systemd_version(reader: &Reader<'_>) -> Result<Option<Version>> {
    dpkg::version(reader, &[b"systemd"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::mem::MemFs;

    #[test]
    fn inits_of_distributions() {
        let fs = MemFs::builder;
        for (tree, expected) in [
            (fs().symlink("/sbin", "usr/sbin").symlink("/usr/sbin/init", "../lib/systemd/systemd"), Init::Systemd),
            (fs().symlink("/sbin/init", "/lib/systemd/systemd").symlink("/lib", "usr/lib"), Init::Systemd),
            (fs().file("/usr/lib/systemd/systemd", ""), Init::Systemd),
            (fs().symlink("/sbin/init", "/bin/busybox").file("/bin/busybox", ""), Init::Other),
            (fs().file("/sbin/init", "").file("/lib/systemd/systemd", ""), Init::Other),
            (fs().symlink("/sbin/init", "init"), Init::Other),
            (fs().symlink("/sbin", "usr/sbin"), Init::Unknown),
            (fs().dir("/usr/lib/systemd/system"), Init::Unknown),
        ] {
            assert_eq!(Init::inspect(&Reader::new(&tree.build().unwrap())).unwrap(), expected);
        }
    }
}
