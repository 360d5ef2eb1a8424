//! The filesystems that the sequences run on: the one table.

use std::path::Path;
use std::process::Command;

/// A way to make a filesystem, and who does the same on its twin.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// The entry of `testdata/images/mke2fs.conf`, as `mke2fs -T` takes it.
    pub name: &'static str,
    /// The size in MiB.
    pub mebibytes: u64,
    /// Further arguments of mke2fs.
    pub arguments: &'static [&'static str],
    /// How many blocks of descriptors lie at the start where `meta_bg` puts those that follow into their groups.
    pub first_meta_bg: u32,
    /// Who does the same.
    pub twin: Twin,
}

/// Who does the same operations beside our driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    /// The kernel, on a second image.
    Kernel,
    /// `MemFs`, where a kernel may lack what the filesystem needs (quota), or does it wrong.
    Reference,
}

const fn kernel(name: &'static str, mebibytes: u64, arguments: &'static [&'static str]) -> Profile {
    Profile { name, mebibytes, arguments, first_meta_bg: 0, twin: Twin::Kernel }
}

const fn reference(name: &'static str, mebibytes: u64, arguments: &'static [&'static str]) -> Profile {
    Profile { name, mebibytes, arguments, first_meta_bg: 0, twin: Twin::Reference }
}

/// Every profile, in the order of the rounds.
pub const PROFILES: &[Profile] = &[
    kernel("debian11", 32, &[]),
    kernel("debian12", 32, &[]),
    kernel("debian13", 32, &[]),
    kernel("ubuntu2004", 32, &[]),
    kernel("ubuntu2204", 32, &[]),
    kernel("ubuntu2404", 32, &["-m", "0"]),
    kernel("ubuntu2604", 32, &[]),
    kernel("rhel7", 32, &[]),
    kernel("rhel8", 32, &["-i", "8192"]),
    kernel("rhel9", 32, &[]),
    kernel("rhel10", 32, &["-E", "stride=16,stripe_width=32"]),
    kernel("alpine", 32, &[]),
    kernel("android-system", 32, &[]),
    kernel("android-system", 32, &["-O", "has_journal,^flex_bg"]),
    kernel("android-system", 32, &["-O", "stable_inodes,verity,encrypt"]),
    reference("android-data", 32, &[]),
    kernel("b1k", 32, &[]),
    kernel("b1k-ino128", 32, &[]),
    kernel("b1k-orphan", 32, &[]),
    kernel("b2k", 32, &[]),
    kernel("ino128", 32, &[]),
    kernel("ino512", 32, &[]),
    kernel("gdt-csum", 32, &["-b", "1024", "-g", "1024"]),
    kernel("no-csum", 32, &[]),
    kernel("sparse-super2", 32, &["-b", "1024", "-g", "2048"]),
    kernel("no-flex-bg", 32, &["-b", "1024", "-g", "2048"]),
    kernel("b1k", 32, &["-g", "1024", "-G", "1"]),
    kernel("b1k", 32, &["-g", "1024", "-G", "64"]),
    kernel("b1k", 32, &["-g", "1024", "-O", "^resize_inode"]),
    kernel("b1k", 32, &["-g", "1024", "-E", "packed_meta_blocks=1,nodiscard,lazy_itable_init=1"]),
    kernel("gdt-csum", 32, &["-b", "1024", "-g", "512", "-G", "4", "-E", "packed_meta_blocks=1,nodiscard"]),
    kernel("meta-bg", 32, &["-b", "1024", "-g", "1024"]),
    Profile { first_meta_bg: 2, ..kernel("meta-bg", 32, &["-b", "1024", "-g", "512"]) },
    Profile {
        first_meta_bg: 1,
        ..kernel("meta-bg", 32, &["-b", "1024", "-g", "256", "-O", "^64bit,^metadata_csum,^flex_bg"])
    },
    kernel("no-journal", 32, &[]),
    kernel("no-dir-index", 32, &["-b", "2048"]),
    kernel("large-dir", 32, &["-b", "1024"]),
    kernel("stable-inodes", 32, &[]),
    kernel("tight-inodes", 48, &[]),
    kernel("ext2", 32, &[]),
    kernel("ext2", 32, &["-b", "1024", "-I", "128"]),
    kernel("ext3", 32, &[]),
    // The kernel (6.18) now and then leaves a type in `.` and `..` of a new directory, which e2fsck finds ("Entry '.' has
    // filetype set"). Seeds 1305 and 1383 of FUZZ_EXT4=1 show it with FUZZ_EXT4_APART=1 each time (12 of 12), on an image
    // that only mke2fs and the kernel have written.
    reference("ext3", 32, &["-b", "1024", "-O", "^dir_index,^filetype"]),
    kernel("bigalloc", 96, &[]),
    kernel("bigalloc", 48, &["-b", "1024", "-C", "4096"]),
    // The kernel (6.18) brings bytes back that a cut took off a file that has grown out of its inode.
    reference("inline-data", 32, &[]),
    reference("inline-data", 32, &["-b", "1024", "-I", "1024"]),
    kernel("ea-inode", 48, &[]),
    kernel("mmp", 32, &[]),
    kernel("encrypt", 32, &[]),
    kernel("verity", 32, &[]),
    reference("casefold", 32, &[]),
    reference("quota", 32, &[]),
    reference("project", 32, &["-b", "1024"]),
    kernel("small", 8, &["-b", "1024"]),
    kernel("huge", 1 << 20, &["-N", "65536"]),
];

impl Profile {
    /// The profile's name with its further arguments.
    pub fn label(&self) -> String {
        let label = std::iter::once(&self.name).chain(self.arguments).copied().collect::<Vec<_>>().join(" ");
        if self.first_meta_bg == 0 { label } else { format!("{label} first_meta_bg={}", self.first_meta_bg) }
    }

    /// Makes the filesystem over bytes of something else, where it is not too large for that.
    pub fn make(&self, image: &Path) {
        let mut file = std::fs::File::create(image).unwrap();
        if self.mebibytes < 256 {
            for _ in 0..self.mebibytes {
                std::io::Write::write_all(&mut file, &[0xa5; 1 << 20]).unwrap();
            }
        } else {
            file.set_len(self.mebibytes << 20).unwrap();
        }
        drop(file);
        let configuration = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/images/mke2fs.conf");
        let mut command = Command::new("mke2fs");
        command.env("PATH", crate::oracle::path_with_sbin()).env("MKE2FS_CONFIG", configuration);
        command.env("MKE2FS_FIRST_META_BG", self.first_meta_bg.to_string());
        command.args(["-q", "-F", "-t", "ext4", "-T", self.name, "-E", "nodiscard,lazy_itable_init=1"]);
        crate::oracle::run(command.args(self.arguments).arg(image));
    }
}
