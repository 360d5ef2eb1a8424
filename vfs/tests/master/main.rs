//! Images built from a tree, judged by isoinfo, xorriso, blkid, fsck.vfat, mtools and the kernel.

mod ecma119;
mod hostile;
mod iso9660;
#[path = "../oracle/mod.rs"]
mod oracle;
mod read;
mod sample;
mod seen;
mod vfat;
