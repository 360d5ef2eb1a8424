//! The feature bits of the superblock: their names, and which of them stand in the way of reading or writing.
//!
//! Source: kernel Documentation/filesystems/ext4/super.rst.

use crate::error::{Error, Layer, Result};

/// Features that old kernels may ignore.
pub(super) mod compat {
    pub(in super::super) const HAS_JOURNAL: u32 = 0x4;
    pub(in super::super) const EXT_ATTR: u32 = 0x8;
    pub(in super::super) const RESIZE_INODE: u32 = 0x10;
    pub(in super::super) const DIR_INDEX: u32 = 0x20;
    pub(in super::super) const SPARSE_SUPER2: u32 = 0x200;
    pub(in super::super) const ORPHAN_FILE: u32 = 0x1000;
}

/// Features without which a filesystem cannot be read.
pub(super) mod incompat {
    pub(in super::super) const FILETYPE: u32 = 0x2;
    pub(in super::super) const RECOVER: u32 = 0x4;
    pub(in super::super) const META_BG: u32 = 0x10;
    pub(in super::super) const EXTENTS: u32 = 0x40;
    pub(in super::super) const SIXTY_FOUR_BIT: u32 = 0x80;
    pub(in super::super) const FLEX_BG: u32 = 0x200;
    pub(in super::super) const EA_INODE: u32 = 0x400;
    pub(in super::super) const CSUM_SEED: u32 = 0x2000;
    pub(in super::super) const LARGE_DIR: u32 = 0x4000;
    pub(in super::super) const INLINE_DATA: u32 = 0x8000;
    pub(in super::super) const MMP: u32 = 0x100;
    pub(in super::super) const ENCRYPT: u32 = 0x10000;
    pub(in super::super) const CASEFOLD: u32 = 0x20000;
}

/// Features without which a filesystem can be read and not written.
pub(super) mod ro_compat {
    pub(in super::super) const SPARSE_SUPER: u32 = 0x1;
    pub(in super::super) const LARGE_FILE: u32 = 0x2;
    pub(in super::super) const BTREE_DIR: u32 = 0x4;
    pub(in super::super) const HUGE_FILE: u32 = 0x8;
    pub(in super::super) const GDT_CSUM: u32 = 0x10;
    pub(in super::super) const DIR_NLINK: u32 = 0x20;
    pub(in super::super) const EXTRA_ISIZE: u32 = 0x40;
    pub(in super::super) const QUOTA: u32 = 0x100;
    pub(in super::super) const BIGALLOC: u32 = 0x200;
    pub(in super::super) const METADATA_CSUM: u32 = 0x400;
    pub(in super::super) const READ_ONLY: u32 = 0x1000;
    pub(in super::super) const PROJECT: u32 = 0x2000;
    pub(in super::super) const SHARED_BLOCKS: u32 = 0x4000;
    pub(in super::super) const VERITY: u32 = 0x8000;
    pub(in super::super) const ORPHAN_PRESENT: u32 = 0x10000;
}

const COMPAT_NAMES: &[(u32, &str)] = &[
    (0x1, "dir_prealloc"),
    (0x2, "imagic_inodes"),
    (0x4, "has_journal"),
    (0x8, "ext_attr"),
    (0x10, "resize_inode"),
    (0x20, "dir_index"),
    (0x40, "lazy_bg"),
    (0x80, "snapshot_bitmap"),
    (0x200, "sparse_super2"),
    (0x400, "fast_commit"),
    (0x800, "stable_inodes"),
    (0x1000, "orphan_file"),
];

const INCOMPAT_NAMES: &[(u32, &str)] = &[
    (0x1, "compression"),
    (0x2, "filetype"),
    (0x4, "needs_recovery"),
    (0x8, "journal_dev"),
    (0x10, "meta_bg"),
    (0x40, "extent"),
    (0x80, "64bit"),
    (0x100, "mmp"),
    (0x200, "flex_bg"),
    (0x400, "ea_inode"),
    (0x1000, "dirdata"),
    (0x2000, "metadata_csum_seed"),
    (0x4000, "large_dir"),
    (0x8000, "inline_data"),
    (0x10000, "encrypt"),
    (0x20000, "casefold"),
];

const RO_COMPAT_NAMES: &[(u32, &str)] = &[
    (0x1, "sparse_super"),
    (0x2, "large_file"),
    (0x4, "btree_dir"),
    (0x8, "huge_file"),
    (0x10, "uninit_bg"),
    (0x20, "dir_nlink"),
    (0x40, "extra_isize"),
    (0x80, "snapshot"),
    (0x100, "quota"),
    (0x200, "bigalloc"),
    (0x400, "metadata_csum"),
    (0x800, "replica"),
    (0x1000, "read-only"),
    (0x2000, "project"),
    (0x4000, "shared_blocks"),
    (0x8000, "verity"),
    (0x10000, "orphan_present"),
];

const READABLE: u32 = incompat::FILETYPE
    | incompat::RECOVER
    | incompat::META_BG
    | incompat::EXTENTS
    | incompat::SIXTY_FOUR_BIT
    | incompat::MMP
    | incompat::FLEX_BG
    | incompat::EA_INODE
    | incompat::CSUM_SEED
    | incompat::LARGE_DIR
    | incompat::INLINE_DATA
    | incompat::ENCRYPT
    | incompat::CASEFOLD;

const WRITABLE: u32 = incompat::FILETYPE
    | incompat::RECOVER // the journal is replayed first
    | incompat::MMP // refused where somebody has it
    | incompat::META_BG
    | incompat::EXTENTS
    | incompat::SIXTY_FOUR_BIT
    | incompat::FLEX_BG
    | incompat::EA_INODE
    | incompat::CSUM_SEED
    | incompat::LARGE_DIR
    | incompat::INLINE_DATA
    | incompat::ENCRYPT
    | incompat::CASEFOLD;

const RO_WRITABLE: u32 = ro_compat::SPARSE_SUPER
    | ro_compat::LARGE_FILE
    | ro_compat::BTREE_DIR
    | ro_compat::HUGE_FILE
    | ro_compat::GDT_CSUM
    | ro_compat::DIR_NLINK
    | ro_compat::EXTRA_ISIZE
    | ro_compat::QUOTA
    | ro_compat::BIGALLOC
    | ro_compat::METADATA_CSUM
    | ro_compat::PROJECT
    | ro_compat::VERITY
    | ro_compat::ORPHAN_PRESENT; // what is listed is finished first

/// The three words of feature bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FeatureBits {
    pub(super) compat: u32,
    pub(super) incompat: u32,
    pub(super) ro_compat: u32,
}

impl FeatureBits {
    /// The names of all bits that are set, as dumpe2fs prints them; an unknown bit is named by its number.
    pub(super) fn names(self) -> Vec<String> {
        let mut names = spell(self.compat, COMPAT_NAMES, "compat");
        names.extend(spell(self.incompat, INCOMPAT_NAMES, "incompat"));
        names.extend(spell(self.ro_compat, RO_COMPAT_NAMES, "ro_compat"));
        names
    }

    /// `Unsupported`, naming the features, where one stands in the way of reading.
    pub(super) fn check_readable(self) -> Result<()> {
        refuse(spell(self.incompat & !READABLE, INCOMPAT_NAMES, "incompat"), "read")
    }

    /// `Unsupported`, naming the features, where one stands in the way of writing.
    pub(super) fn check_writable(self) -> Result<()> {
        let mut names = spell(self.incompat & !WRITABLE, INCOMPAT_NAMES, "incompat");
        names.extend(spell(self.ro_compat & !RO_WRITABLE, RO_COMPAT_NAMES, "ro_compat"));
        let way_out = match self.ro_compat {
            bits if bits & ro_compat::SHARED_BLOCKS != 0 => {
                "e2fsck -fy -E unshare_blocks gives every file its own blocks"
            }
            bits if bits & ro_compat::READ_ONLY != 0 => "tune2fs -O ^read-only makes the filesystem writable",
            _ => return refuse(names, "write"),
        };
        refuse(names, "write").map_err(|error| error.with_hint(way_out))
    }
}

fn refuse(names: Vec<String>, verb: &str) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::unsupported(
        Layer::Filesystem,
        format!("the ext4 filesystem has a feature that imgraft cannot {verb}: {}", names.join(", ")),
    ))
}

fn spell(bits: u32, known: &[(u32, &str)], word: &str) -> Vec<String> {
    (0..32)
        .map(|shift| 1_u32 << shift)
        .filter(|bit| bits & bit != 0)
        .map(|bit| match known.iter().find(|(known, _)| *known == bit) {
            Some((_, name)) => (*name).to_owned(),
            None => format!("{word} 0x{bit:x}"),
        })
        .collect()
}
