//! Signatures, labels and UUIDs as blkid(8) finds them on what the mkfs tools made.

use crate::oracle::{Image, have, run};
use imgraft_vfs::volume::{Scheme, Table, list};

const MIB: u64 = 1 << 20;

/// Compares what we find on the whole image with blkid; `name` is what both should say.
fn agree(image: &Image, name: &str) {
    let table = list(&image.disk()).unwrap();
    assert_eq!(table.scheme, Scheme::Whole, "{name}: {:?}", table.notes);
    let signature = table.volumes[0].signature.clone().unwrap_or_else(|| panic!("{name} not found"));
    assert_eq!(signature.name, name);
    assert_eq!(signature.name, image.blkid("TYPE", 0));
    assert_eq!(signature.label, image.blkid("LABEL", 0), "{name}");
    assert_eq!(signature.uuid, image.blkid("UUID", 0), "{name}");
}

/// Makes a filesystem with a tool and compares; skipped without the tool.
fn made(name: &str, size: u64, tool: &str, arguments: &[&str]) {
    if !have(&[tool, "blkid"]) {
        return;
    }
    let image = Image::new(size);
    let words: Vec<&str> = arguments.iter().copied().chain([image.name()]).collect();
    run(tool, &words, "");
    agree(&image, name);
}

#[test]
fn ext() {
    for (kind, options) in [
        ("ext2", vec!["-t", "ext2", "-L", "two"]),
        ("ext3", vec!["-t", "ext3"]),
        ("ext4", vec!["-t", "ext4", "-L", "sixteen-bytes-ab"]),
        ("ext4", vec!["-t", "ext4", "-O", "^has_journal", "-L", "in between"]),
        ("ext4", vec!["-t", "ext4", "-b", "1024"]),
        ("jbd", vec!["-O", "journal_dev", "-b", "4096"]),
    ] {
        let mut words = vec!["-q", "-F"];
        words.extend(options);
        made(kind, 16 * MIB, "mke2fs", &words);
    }
}

#[test]
fn xfs() {
    made("xfs", 320 * MIB, "mkfs.xfs", &["-q", "-L", "xfs-label"]);
}

#[test]
fn btrfs() {
    made("btrfs", 128 * MIB, "mkfs.btrfs", &["-q", "-L", "a btrfs"]);
    made("btrfs", 128 * MIB, "mkfs.btrfs", &["-q"]);
}

#[test]
fn fat() {
    for (size, options) in [
        (2, vec!["-F", "12", "-n", "TWELVE"]),
        (16, vec!["-F", "16", "-n", "SIX TEEN"]),
        (64, vec!["-F", "32", "-n", "CONFIG-2", "-i", "0A0BC0DE"]),
        (64, vec!["-F", "32"]),
        (64, vec!["-F", "32", "-S", "4096", "-n", "LARGE"]),
        (4, vec!["-n", "config-2"]),
    ] {
        made("vfat", size * MIB, "mkfs.vfat", &options);
    }
}

#[test]
fn fat_that_pretends_to_have_a_partition_table() {
    if !have(&["mkfs.vfat", "blkid"]) {
        return;
    }
    let image = Image::new(16 * MIB);
    run("mkfs.vfat", &["--mbr=y", "-n", "FLOPPY", image.name()], "");
    let table = list(&image.disk()).unwrap();
    assert_eq!(table.scheme, Scheme::Whole);
    assert_eq!(table.volumes[0].signature.as_ref().unwrap().label, "FLOPPY");
    assert_eq!(table.notes.len(), 1);
}

#[test]
fn swap() {
    made("swap", 16 * MIB, "mkswap", &["-q", "-L", "pages"]);
    made("swap", 16 * MIB, "mkswap", &["-q", "-p", "65536"]);
}

#[test]
fn luks() {
    let fast = ["-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    for kind in [&["--type", "luks1"][..], &["--type", "luks2", "--label", "secret"]] {
        if !have(&["cryptsetup", "blkid"]) {
            return;
        }
        let image = Image::new(32 * MIB);
        let words: Vec<&str> =
            ["luksFormat"].iter().chain(&fast).chain(kind).copied().chain([image.name(), "-"]).collect();
        run("cryptsetup", &words, "passphrase");
        agree(&image, "crypto_LUKS");
    }
}

/// A physical volume's label as pvcreate(8) writes it, which needs a block device.
#[test]
fn lvm() {
    if !have(&["blkid"]) {
        return;
    }
    let image = Image::new(16 * MIB);
    let mut label = [0; 512];
    label[..8].copy_from_slice(b"LABELONE");
    label[8] = 1;
    label[20] = 32;
    label[24..32].copy_from_slice(b"LVM2 001");
    label[32..64].copy_from_slice(b"IIx6AtvkKvcLKftfocqr0n5ExchOdwBd");
    // LVM's checksum starts from a number of its own and is not inverted at the end.
    let mut crc = crc32fast::Hasher::new_with_initial(!0xf597_a6cf);
    crc.update(&label[20..]);
    label[16..20].copy_from_slice(&(!crc.finalize()).to_le_bytes());
    image.write(&label, 512);
    agree(&image, "LVM2_member");
    assert_eq!(image.blkid("UUID", 0), "IIx6At-vkKv-cLKf-tfoc-qr0n-5Exc-hOdwBd");
}

/// The superblocks of md(4) in their four places, over a filesystem that shows through.
#[test]
fn raid() {
    if !have(&["blkid", "mke2fs"]) {
        return;
    }
    let size = 16 * MIB + 0x3000;
    for (at, is_old) in [(0, false), (4096, false), (16 * MIB + 0x1000, false), (16 * MIB - 0x10000, true)] {
        let image = Image::new(size);
        run("mke2fs", &["-q", "-F", "-t", "ext4", image.name()], "");
        let mut superblock: [u8; 512] = std::array::from_fn(|byte| byte as u8);
        superblock[..4].copy_from_slice(&0xa92b_4efc_u32.to_le_bytes());
        superblock[4..8].copy_from_slice(&u32::from(!is_old).to_le_bytes());
        superblock[8..12].copy_from_slice(&90_u32.to_le_bytes());
        superblock[32..36].copy_from_slice(&8192_u32.to_le_bytes());
        if !is_old {
            superblock[32..64].fill(0);
            superblock[32..40].copy_from_slice(b"host:arr");
            superblock[144..152].copy_from_slice(&(at / 512).to_le_bytes());
            // The sum of all words with its own zero, the carries added; no roles of devices follow.
            superblock[216..224].fill(0);
            let words = superblock[..256].chunks(4).map(|word| u64::from(u32::from_le_bytes(word.try_into().unwrap())));
            let sum: u64 = words.sum();
            let sum = (sum >> 32) as u32 + sum as u32;
            superblock[216..220].copy_from_slice(&sum.to_le_bytes());
        }
        image.write(&superblock, at);
        agree(&image, "linux_raid_member");
    }
}

#[test]
fn others() {
    made("f2fs", 64 * MIB, "mkfs.f2fs", &["-q", "-l", "flash"]);
    made("exfat", 16 * MIB, "mkfs.exfat", &["-L", "ex label"]);
    made("ntfs", 16 * MIB, "mkfs.ntfs", &["-q", "-F", "-f"]);
}

#[test]
fn made_from_a_tree() {
    for (name, tool, options) in [
        ("iso9660", "genisoimage", vec!["-quiet", "-V", "config-2", "-r", "-J", "-o", "IMAGE", "TREE"]),
        ("squashfs", "mksquashfs", vec!["TREE", "IMAGE", "-quiet", "-no-progress", "-noappend"]),
        ("erofs", "mkfs.erofs", vec!["--quiet", "IMAGE", "TREE"]),
    ] {
        if !have(&[tool, "blkid"]) {
            continue;
        }
        let image = Image::new(0);
        let tree = image.directory.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("file"), vec![7; 300_000]).unwrap();
        let words: Vec<&str> = options
            .iter()
            .map(|word| match *word {
                "IMAGE" => image.name(),
                "TREE" => tree.to_str().unwrap(),
                word => word,
            })
            .collect();
        run(tool, &words, "");
        agree(&image, name);
    }
}

#[test]
fn every_partition_is_probed() {
    if !have(&["sfdisk", "mke2fs", "mkfs.vfat", "mkswap", "blkid"]) {
        return;
    }
    let image = Image::new(64 * MIB);
    run("sfdisk", &[image.name()], "label: gpt\nstart=1M, size=8M\nsize=16M\nsize=8M\nsize=8M\n");
    let parts: [(&str, &[&str], u64); 3] =
        [("mkfs.vfat", &["-n", "ESP"], 8), ("mke2fs", &["-q", "-t", "ext4", "-L", "root"], 16), ("mkswap", &["-q"], 8)];
    let mut at = MIB;
    for (tool, options, size) in parts {
        let part = Image::new(size * MIB);
        let words: Vec<&str> = options.iter().copied().chain([part.name()]).collect();
        run(tool, &words, "");
        image.insert(&part, at);
        at += size * MIB;
    }
    let table = list(&image.disk()).unwrap();
    assert_eq!(names(&table), ["vfat", "ext4", "swap", "-"]);
    for volume in &table.volumes {
        let Some(signature) = &volume.signature else { continue };
        assert_eq!(signature.name, image.blkid("TYPE", volume.start));
        assert_eq!(signature.label, image.blkid("LABEL", volume.start));
        assert_eq!(signature.uuid, image.blkid("UUID", volume.start));
    }
}

fn names(table: &Table) -> Vec<&'static str> {
    table.volumes.iter().map(|volume| volume.signature.as_ref().map_or("-", |signature| signature.name)).collect()
}
