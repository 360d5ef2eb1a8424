use super::*;
use crate::fs::ext4::checksum::{crc32c, inode_seed};
use crate::fs::ext4::testing::{Random, have, run, skip};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

const CHECKSUM: BlockChecksum = BlockChecksum { seed: 0x1234, block_number: 77 };

fn xattr(name: &str, value: &[u8]) -> Xattr {
    Xattr { name: name.as_bytes().to_vec(), value: value.to_vec() }
}

/// The value of an attribute that has it beside its entry.
fn here(stored: &Stored) -> Result<Vec<u8>> {
    match &stored.value {
        Value::Here(value) => Ok(value.clone()),
        Value::Apart(_) | Value::Large(_) => Err(Error::corrupt(Layer::Filesystem, "the value is not here")),
    }
}

fn reread(xattrs: &Xattrs, room: Room) -> Xattrs {
    let area = xattrs.encode_area(room).unwrap();
    assert_eq!(area.len(), room.inode);
    let block = xattrs.encode_block(room, Some(CHECKSUM)).unwrap();
    let block = block.as_deref().inspect(|block| assert_eq!(block.len(), room.block));
    Xattrs::parse(&area, block.map(|block| (block, Some(CHECKSUM)))).unwrap()
}

#[test]
fn attributes_are_a_map() {
    let mut random = Random(5);
    let prefixes = ["user.", "trusted.", "security.", "system."];
    for room in [
        Room { inode: 0, block: 1024, large: LargeValues::Refused },
        Room { inode: 96, block: 1024, large: LargeValues::Refused },
        Room { inode: 92, block: 4096, large: LargeValues::Refused },
    ] {
        let mut xattrs = Xattrs::default();
        let mut model = BTreeMap::<Vec<u8>, Vec<u8>>::new();
        let mut refused = 0;
        for _ in 0..3000 {
            if random.below(3) == 0 {
                if let Some(name) = model.keys().nth(random.below(model.len().max(1))).cloned() {
                    xattrs.remove(&name).unwrap();
                    assert_eq!(xattrs.remove(&name).unwrap_err().kind(), ErrorKind::NotFound);
                    model.remove(&name);
                }
            } else {
                let known = model.keys().nth(random.below(20)).cloned();
                let fresh = [prefixes[random.below(4)].as_bytes(), &random.name(30)].concat();
                let name = known.unwrap_or(fresh);
                let longest = if random.below(4) == 0 { 600 } else { 30 };
                let value: Vec<u8> = (0..random.below(longest)).map(|_| random.next() as u8).collect();
                let before = xattrs.clone();
                let new = Xattr { name: name.clone(), value: value.clone() };
                match xattrs.set(&new, room) {
                    Ok(()) => {
                        model.insert(name, value);
                        let once = xattrs.clone();
                        xattrs.set(&new, room).unwrap();
                        assert_eq!(xattrs, once);
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::NoSpace);
                        assert_eq!(xattrs, before);
                        refused += 1;
                    }
                }
            }
            xattrs = reread(&xattrs, room);
            let list: Vec<(Vec<u8>, Vec<u8>)> = model.clone().into_iter().collect();
            let given = xattrs.list(here).unwrap().into_iter().map(|xattr| (xattr.name, xattr.value));
            assert_eq!(given.collect::<Vec<_>>(), list);
        }
        assert!(refused > 0 || room.block == 4096);
    }
}

#[test]
fn names() {
    let room = Room { inode: 96, block: 1024, large: LargeValues::Refused };
    let mut xattrs = Xattrs::default();
    for (name, kind) in [
        ("user.", ErrorKind::Invalid),
        ("user.a\0b", ErrorKind::Invalid),
        ("nothing", ErrorKind::Unsupported),
        ("lustre.lov", ErrorKind::Unsupported),
        ("system.data", ErrorKind::Unsupported),
    ] {
        assert_eq!(xattrs.set(&xattr(name, b"x"), room).unwrap_err().kind(), kind);
    }
    // What is unknown is not shown, and not lost.
    xattrs.in_inode.push(Stored { index: 9, name: b"c".to_vec(), value: Value::Here(b"context".to_vec()) });
    xattrs.set(&xattr("security.selinux", b"label\0"), room).unwrap();
    let xattrs = reread(&xattrs, room);
    assert_eq!(xattrs.list(here).unwrap(), [xattr("security.selinux", b"label\0")]);
    assert_eq!(xattrs.in_inode.len(), 2);
}

#[test]
fn labels_stay_in_the_inode_when_others_have_to_move() {
    let room = Room { inode: 96, block: 1024, large: LargeValues::Refused };
    let mut xattrs = Xattrs::default();
    xattrs.set(&xattr("user.big", &[1; 60]), room).unwrap();
    xattrs.set(&xattr("user.bigger", &[2; 880]), room).unwrap();
    xattrs.set(&xattr("security.selinux", &[3; 64]), room).unwrap();
    assert_eq!(xattrs.in_inode.len(), 1);
    assert_eq!(xattrs.in_inode[0].index, SECURITY);
}

#[test]
fn shared_blocks() {
    let room = Room { inode: 0, block: 1024, large: LargeValues::Refused };
    let mut xattrs = Xattrs::default();
    xattrs.set(&xattr("user.a", b"b"), room).unwrap();
    let mut block = xattrs.encode_block(room, Some(CHECKSUM)).unwrap().unwrap();
    format::set_references(&mut block, 3, Some(CHECKSUM)).unwrap();
    assert_eq!(block_references(&block, Some(CHECKSUM)).unwrap(), 3);
    assert_eq!(release_block(&mut block, Some(CHECKSUM)).unwrap(), 2);
    assert_eq!(release_block(&mut block, Some(CHECKSUM)).unwrap(), 1);
    assert_eq!(release_block(&mut block, Some(CHECKSUM)).unwrap(), 0);
    assert_eq!(block, xattrs.encode_block(room, Some(CHECKSUM)).unwrap().unwrap());
    let moved = BlockChecksum { block_number: 78, ..CHECKSUM };
    assert_eq!(block_references(&block, Some(moved)).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn flipped_bytes_end_in_an_error_or_attributes() {
    let mut random = Random(9);
    let room = Room { inode: 96, block: 1024, large: LargeValues::Refused };
    let mut xattrs = Xattrs::default();
    for number in 0..20 {
        xattrs.set(&xattr(&format!("user.name{number}"), &vec![7; number]), room).unwrap();
    }
    let area = xattrs.encode_area(room).unwrap();
    let block = xattrs.encode_block(room, None).unwrap().unwrap();
    for _ in 0..20_000 {
        let (mut area, mut block) = (area.clone(), block.clone());
        for _ in 0..1 + random.below(3) {
            let offset = random.below(area.len());
            area[offset] = random.next() as u8;
            let offset = random.below(block.len().min(600));
            block[offset] = random.next() as u8;
        }
        if let Ok(xattrs) = Xattrs::parse(&area, Some((&block, None))) {
            let _ = xattrs.list(here);
            // What was read can be written again.
            xattrs.encode_area(room).unwrap();
            xattrs.encode_block(room, None).unwrap();
        }
        let _ = release_block(&mut block, None);
    }
    for length in 0..area.len() {
        let _ = Xattrs::parse(&area[..length], Some((&block[..length], None)));
    }
    let mut foreign = block.clone();
    foreign[32 + 4] = 9;
    let xattrs = Xattrs::parse(&[], Some((&foreign, None))).unwrap();
    assert!(xattrs.in_block.iter().any(|stored| matches!(stored.value, Value::Apart(Apart { inode: 9, .. }))));
    assert_eq!(xattrs.list(here).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// Where the reference says that a file's inode and attribute block are, on an image of 4 KiB blocks.
struct Place {
    number: u32,
    inode: u64,
    block: u64,
}

fn debugfs(image: &Path, request: &str) -> String {
    String::from_utf8_lossy(&run(Command::new("debugfs").args(["-w", "-R", request]).arg(image))).into_owned()
}

fn word_after<'t>(text: &'t str, mark: &str) -> &'t str {
    let rest = &text[text.find(mark).unwrap_or_else(|| panic!("no {mark} in {text}")) + mark.len()..];
    rest.trim_start().split(|c: char| c.is_whitespace() || c == ',').next().unwrap()
}

fn place(image: &Path, file: &str) -> Place {
    let stat = debugfs(image, &format!("stat {file}"));
    let map = debugfs(image, &format!("imap {file}"));
    let offset = u64::from_str_radix(word_after(&map, "offset 0x"), 16).unwrap();
    Place {
        number: word_after(&stat, "Inode:").parse().unwrap(),
        inode: word_after(&map, "located at block").parse::<u64>().unwrap() * 4096 + offset,
        block: word_after(&stat, "File ACL:").parse().unwrap(),
    }
}

/// Reads what the reference wrote, changes it, and has the reference and the kernel read it.
#[test]
fn agrees_with_the_reference() {
    if !have(&["mke2fs", "debugfs", "e2fsck"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let big = dir.path().join("big");
    std::fs::write(&big, vec![b'v'; 2000]).unwrap();
    run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-b", "4096", "-I", "256"]).arg(&image).arg("8M"));
    debugfs(&image, &format!("write {} file", big.display()));
    debugfs(&image, "ea_set file user.short value");
    debugfs(&image, "ea_set file security.selinux system_u:object_r:etc_t:s0");
    debugfs(&image, &format!("ea_set -f {} file user.big", big.display()));

    let uuid = run(Command::new("dumpe2fs").arg("-h").arg(&image));
    let uuid = String::from_utf8_lossy(&uuid).into_owned();
    let uuid: Vec<u8> = word_after(&uuid, "Filesystem UUID:")
        .replace('-', "")
        .as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect();
    let seed = crc32c(!0, &uuid);

    let at = place(&image, "file");
    assert_ne!(at.block, 0);
    let disk = std::fs::File::options().read(true).write(true).open(&image).unwrap();
    let mut inode = vec![0; 256];
    let mut block = vec![0; 4096];
    disk.read_exact_at(&mut inode, at.inode).unwrap();
    disk.read_exact_at(&mut block, at.block * 4096).unwrap();
    let extra = usize::from(u16::from_le_bytes([inode[128], inode[129]]));
    let room = Room { inode: 128 - extra, block: 4096, large: LargeValues::Refused };
    let checksum = Some(BlockChecksum { seed, block_number: at.block });

    let mut xattrs = Xattrs::parse(&inode[128 + extra..], Some((&block, checksum))).unwrap();
    assert_eq!(
        xattrs.list(here).unwrap(),
        [
            xattr("security.selinux", b"system_u:object_r:etc_t:s0"),
            xattr("user.big", &[b'v'; 2000]),
            xattr("user.short", b"value"),
        ]
    );

    xattrs.remove(b"user.short").unwrap();
    let acl: Vec<u8> = [2_u32, 0x7_0001, !0, 0x6_0002, 1000, 0x5_0004, !0, 0x7_0010, !0, 0x4_0020, !0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let new = [
        xattr("security.selinux", b"system_u:object_r:shadow_t:s0"),
        xattr("system.posix_acl_access", &acl),
        xattr("trusted.bytes", &[0, 0xff, 1, 0x80, 5]),
        xattr("user.empty", b""),
        xattr("user.gr\u{fc}n", "\u{fc}".repeat(300).as_bytes()),
    ];
    for xattr in &new {
        xattrs.set(xattr, room).unwrap();
    }
    assert!(xattrs.in_block.len() > 2, "{xattrs:?}");
    inode[128 + extra..].copy_from_slice(&xattrs.encode_area(room).unwrap());
    let generation = u32::from_le_bytes(*inode[0x64..].first_chunk().unwrap());
    inode[0x7c..0x7e].fill(0);
    inode[0x82..0x84].fill(0);
    let [low, high, more, most] = crc32c(inode_seed(seed, at.number, generation), &inode).to_le_bytes();
    inode[0x7c..0x7e].copy_from_slice(&[low, high]);
    inode[0x82..0x84].copy_from_slice(&[more, most]);
    disk.write_all_at(&inode, at.inode).unwrap();
    disk.write_all_at(&xattrs.encode_block(room, checksum).unwrap().unwrap(), at.block * 4096).unwrap();

    run(Command::new("e2fsck").arg("-fn").arg(&image));
    let mut expected: Vec<Xattr> = new.to_vec();
    expected.push(xattr("user.big", &[b'v'; 2000]));
    for xattr in &expected {
        let out = dir.path().join("out");
        let name = String::from_utf8_lossy(&xattr.name);
        debugfs(&image, &format!("ea_get -f {} file {name}", out.display()));
        if !name.starts_with("system.") {
            assert_eq!(std::fs::read(&out).unwrap(), xattr.value, "{name}");
        }
    }
    kernel_agrees(&image, &dir.path().join("mount"), &expected);
}

fn kernel_agrees(image: &Path, mount: &Path, expected: &[Xattr]) {
    std::fs::create_dir(mount).unwrap();
    let mounted = Command::new("mount").args(["-o", "loop,ro"]).arg(image).arg(mount).output();
    if !mounted.is_ok_and(|output| output.status.success()) || !have(&["python3"]) {
        skip("no loop mount, or no python3, to ask the kernel");
        return;
    }
    let script = "import os,sys\nf=sys.argv[1]\nfor n in sorted(os.listxattr(f)): print(os.fsencode(n).hex(), os.getxattr(f,n).hex())";
    let output = Command::new("python3").args(["-c", script]).arg(mount.join("file")).output().unwrap();
    run(Command::new("umount").arg(mount));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut lines: Vec<String> =
        expected.iter().map(|xattr| format!("{} {}", hex(&xattr.name), hex(&xattr.value))).collect();
    lines.sort();
    let mut given: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    given.sort();
    assert_eq!(given, lines, "{}", String::from_utf8_lossy(&output.stderr));
}
