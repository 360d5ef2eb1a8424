//! Opens a damaged FAT filesystem, walks and reads all of it, and edits it: it may fail, and nothing else.
//!
//! An input is a base image (one byte), an edit to begin with (one byte), and changes of six bytes each: a place (two bytes, in
//! the boot sector, the table or the directories, all of which come first on these small images), how it is made, and a number.

#![no_main]

use imgraft_vfs::Result;
use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::fs::fat::Fat;
use imgraft_vfs::fs::{Attrs, Content, FileType, GuestFs, Mode, SetAttrs, Timestamp};
use imgraft_vfs::master::{Tree, vfat};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::transaction::Overlay;
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};

/// How many files of a tree are looked at, and how many edits are made.
const FILES: usize = 24;
const EDITS: u8 = 4;
const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
const ATTRS: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };

/// One of FAT12, one of FAT16; the latter again, with the boot sector of FAT32 over it.
static BASES: LazyLock<Vec<(Arc<MemDevice>, Vec<u64>)>> = LazyLock::new(|| {
    [256 << 10, 9 << 20, 600 << 20].map(base).into()
});

fn base(size: u64) -> (Arc<MemDevice>, Vec<u64>) {
    let mut tree = Tree::new();
    for (path, len) in [("a file", 5000), ("SHORT.TXT", 10), ("dir/inner/deep file.text", 9000), ("dir/empty", 0)] {
        tree.put(path, Content::bytes(vec![7; len])).expect("a path");
    }
    let options = vfat::Options { label: "base".into(), size, time: NOW };
    let image = vfat::image(&tree, &options).expect("there is room");
    // What lies behind the files is zero, and the largest is cut there: its boot sector says so.
    let len = size.min(9 << 20);
    let mut bytes = vec![0; len as usize];
    image.read_at(&mut bytes, 0).expect("inside");
    if size > len {
        bytes[32..36].copy_from_slice(&((len / 512) as u32).to_le_bytes());
    }
    // Where something stands.
    let places = (0..len).step_by(16).filter(|at| bytes[*at as usize..][..16].iter().any(|byte| *byte != 0 && *byte != 7));
    let places = places.collect();
    (Arc::new(MemDevice::new(bytes)), places)
}

fn damage(device: &Overlay, places: &[u64], change: &[u8]) -> Result<()> {
    let at = places[usize::from(u16::from_le_bytes([change[0], change[1]])) % places.len()] + u64::from(change[2] % 16);
    let value = [change[4], change[5]];
    let len = [1, 2][usize::from(change[3] % 2)].min(device.size().saturating_sub(at)) as usize;
    let mut bytes = [0; 2];
    device.read_at(&mut bytes[..len], at)?;
    for (byte, value) in bytes.iter_mut().zip(value) {
        *byte = match change[3] / 2 % 3 {
            0 => value,
            1 => *byte ^ value,
            _ => byte.wrapping_add(value),
        };
    }
    device.write_at(&bytes[..len], at)
}

fn below(fs: &dyn GuestFs, at: &Resolved, name: &[u8]) -> Result<Resolved> {
    resolve(fs, &GuestPath::parse(at.as_bytes())?.join(name)?, Follow::ExcludeLast)
}

/// All that a reader asks.
fn walk(fs: &dyn GuestFs) -> Vec<Resolved> {
    let mut found = vec![Resolved::root()];
    let mut next = 0;
    fs.features();
    while let Some(at) = found.get(next).cloned() {
        next += 1;
        let Ok(Some(metadata)) = fs.lookup(&at) else { continue };
        if metadata.file_type == FileType::Directory {
            for entry in fs.read_dir(&at).unwrap_or_default() {
                if let (true, Ok(child)) = (found.len() < FILES, below(fs, &at, &entry.name)) {
                    found.push(child);
                }
            }
        } else {
            let mut buffer = vec![0; 20_000];
            for offset in [0, 3000, metadata.size / 2, metadata.size.saturating_sub(5)] {
                let _ = fs.read_at(&at, &mut buffer, offset);
            }
        }
    }
    found
}

fn edit(fs: &mut dyn GuestFs, kind: u8, at: &Resolved, other: &Resolved) -> Result<()> {
    match kind % 10 {
        0 => fs.create_file(&below(fs, at, b"a new file")?, ATTRS),
        1 => fs.create_dir(&below(fs, at, "neu\u{e9}".as_bytes())?, ATTRS),
        2 => fs.put(at, &Content::bytes(vec![9; 20_000])),
        3 => fs.append(at, &Content::bytes(vec![9; 3000])),
        4 => fs.truncate(at, 700),
        5 => fs.truncate(at, 30_000),
        6 => fs.remove(at),
        7 => fs.rename(at, &below(fs, other, b"moved")?),
        8 => fs.rename(at, other),
        _ => fs.set_attrs(at, SetAttrs { mtime: Some(NOW), ..SetAttrs::default() }),
    }
}

fuzz_target!(|input: &[u8]| {
    let [base, kind, changes @ ..] = input else { return };
    let (base, places) = &BASES[usize::from(*base) % BASES.len()];
    let device = Arc::new(Overlay::new(Arc::clone(base) as Arc<dyn BlockDevice>));
    for change in changes.chunks_exact(6) {
        damage(&device, places, change).expect("inside the image");
    }
    if let Ok(fs) = Fat::open(Arc::clone(&device) as Arc<dyn BlockDevice>, Mode::ReadOnly) {
        walk(&fs);
    }
    let mut kind = *kind;
    for _ in 0..2 {
        let Ok(fs) = Fat::open(Arc::clone(&device) as Arc<dyn BlockDevice>, Mode::ReadWrite { now: NOW }) else { return };
        let mut fs: Box<dyn GuestFs> = Box::new(fs);
        let files = walk(&*fs);
        let done = (0..EDITS).try_for_each(|step| {
            let pick = |n: u8| &files[usize::from(n) % files.len()];
            kind = kind.wrapping_mul(5).wrapping_add(7);
            edit(&mut *fs, kind >> 2, pick(kind.wrapping_add(step)), pick(step))
        });
        if done.is_err() || fs.close().is_err() {
            return;
        }
    }
});
