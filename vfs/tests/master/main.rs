//! Images built from a tree, judged by isoinfo, xorriso, blkid, fsck.vfat, mtools and the kernel.

mod iso9660;
#[path = "../oracle/mod.rs"]
mod oracle;
mod sample;
mod seen;
mod vfat;
