//! FAT by random operations and by hand, judged by fsck.vfat, mtools and a kernel.
//!
//! `FUZZ_FAT=N` runs N sequences instead of a dozen.

#![allow(clippy::print_stdout, reason = "how many sequences were tried is what these tests have to say")]

#[path = "../oracle/mod.rs"]
mod oracle;
#[path = "../uml/mod.rs"]
mod uml;

mod crossed;
mod names;
mod random;
