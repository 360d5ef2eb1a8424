//! Opens a damaged ext4 image, walks and reads all of it, and edits it: it may fail, and nothing else.
//!
//! An input is a base image (one byte), an edit to begin with (one byte), and changes of eight bytes each: a place of
//! that base, an offset inside the place, how the change is made, and a number. So the fuzzer spends its bytes on
//! metadata and not on carrying an image along.

#![no_main]

use imgraft_vfs::Result;
use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, FileType, GuestFs, Mode, SetAttrs, Timestamp, Xattr};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::transaction::Overlay;
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// How many files of a tree are looked at, and of one directory: an input is worth a millisecond or two, and paths are
/// what takes time.
const FILES: usize = 20;
const FILES_EACH: usize = 6;
/// How many bytes of a file are read from its start on: an image may claim any number.
const BYTES: u64 = 16 << 10;
/// How many edits are made, each time that the filesystem is opened.
const EDITS: u8 = 4;
const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
const ATTRS: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };

struct Base {
    device: Arc<MemDevice>,
    places: Vec<u64>,
}

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("bases");
    let list = std::fs::read_to_string(directory.join("bases.tsv")).expect("run bases.py first");
    list.lines()
        .map(|line| {
            let mut columns = line.split('\t');
            let [name, places] = [(); 2].map(|()| columns.next().expect("two columns and more"));
            let bytes = std::fs::read(directory.join(format!("{name}.img"))).expect("listed and missing");
            let places = places.split(',').map(|place| place.parse().expect("a number")).collect();
            Base { device: Arc::new(MemDevice::new(bytes)), places }
        })
        .collect()
});

fn damage(device: &Overlay, base: &Base, change: &[u8]) -> Result<()> {
    let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % base.places.len();
    let at = base.places[place] + u64::from(change[2] % 16);
    let value = &change[4..8];
    let len = [1, 2, 4][usize::from(change[3] % 3)].min(device.size().saturating_sub(at)) as usize;
    let mut bytes = [0; 4];
    device.read_at(&mut bytes[..len], at)?;
    for (byte, value) in bytes.iter_mut().zip(value) {
        *byte = match change[3] / 3 % 4 {
            0 => *value,
            1 => *byte ^ value,
            2 => byte.wrapping_add(*value),
            _ => byte.wrapping_sub(*value),
        };
    }
    device.write_at(&bytes[..len], at)
}

/// The path of a file below another, where it can be one.
fn below(fs: &dyn GuestFs, at: &Resolved, name: &[u8]) -> Result<Resolved> {
    resolve(fs, &GuestPath::parse(at.as_bytes())?.join(name)?, Follow::ExcludeLast)
}

/// All that a reader asks, of the first files of each directory and of its last.
fn walk(fs: &dyn GuestFs) -> Vec<(Resolved, FileType)> {
    let mut found = vec![(Resolved::root(), FileType::Directory)];
    let mut next = 0;
    while let Some((at, file_type)) = found.get(next).cloned() {
        next += 1;
        let _ = fs.xattrs(&at);
        match file_type {
            FileType::Directory => {
                let entries = fs.read_dir(&at).unwrap_or_default();
                let last = entries.len().saturating_sub(1);
                for (number, entry) in entries.into_iter().enumerate() {
                    let wanted = found.len() < FILES && (number < FILES_EACH || number == last);
                    if let (true, Ok(child)) = (wanted, below(fs, &at, &entry.name)) {
                        found.push((child, entry.file_type));
                    }
                }
            }
            FileType::Symlink => {
                let _ = fs.read_link(&at);
            }
            FileType::Regular => read(fs, &at),
            _ => {}
        }
    }
    let links = found.iter().filter(|(_, file_type)| *file_type == FileType::Symlink);
    for (at, _) in links.take(2) {
        let _ = GuestPath::parse(at.as_bytes()).and_then(|path| resolve(fs, &path, Follow::All));
    }
    found
}

fn read(fs: &dyn GuestFs, at: &Resolved) {
    let mut buffer = vec![0; 1 << 13];
    let size = fs.lookup(at).ok().flatten().map_or(0, |metadata| metadata.size);
    let mut offset = 0;
    while let Ok(read) = fs.read_at(at, &mut buffer, offset) {
        offset += read as u64;
        if read == 0 || offset >= BYTES {
            break;
        }
    }
    for far in [size.saturating_sub(2000), size / 2, 300 << 10, 70 << 20].into_iter().filter(|far| *far < size) {
        let _ = fs.read_at(at, &mut buffer[..2000], far);
    }
}

/// One change of a kind, at one file of the tree; the driver is not used again after an error.
fn edit(fs: &mut dyn GuestFs, kind: u8, at: &Resolved, other: &Resolved) -> Result<()> {
    let new = |fs: &dyn GuestFs, name: &[u8]| below(fs, at, name);
    let xattr = |name: &str, len: usize| Xattr { name: name.into(), value: vec![b'x'; len] };
    let long = Content::bytes(vec![7; 40_000]);
    match kind % 16 {
        0 => fs.create_file(&new(fs, b"new")?, ATTRS),
        1 => fs.create_dir(&new(fs, b"new")?, ATTRS),
        2 => fs.create_symlink(&new(fs, b"new")?, &[b't'; 80], ATTRS),
        3 => fs.put(at, &long),
        4 => fs.append(at, &long),
        5 => fs.truncate(at, 10),
        6 => fs.truncate(at, 100_000),
        7 => fs.remove(at),
        8 => fs.rename(at, other),
        9 => fs.hard_link(at, &below(fs, other, b"linked")?),
        10 => fs.set_xattr(at, &xattr("user.new", 40)),
        11 => fs.set_xattr(at, &xattr("user.large", 3000)),
        12 => fs.remove_xattr(at, b"user.large"),
        13 => fs.set_attrs(at, SetAttrs { mode: Some(0o600), uid: Some(7), gid: Some(70_000), mtime: Some(NOW) }),
        14 => (0..12_u8).try_for_each(|n| fs.create_file(&new(fs, &[b'a' + n % 26, b'0' + n / 26])?, ATTRS)),
        _ => fs.set_xattr(at, &xattr("system.posix_acl_access", 28)),
    }
}

fuzz_target!(|input: &[u8]| {
    let [base, kind, changes @ ..] = input else { return };
    let base = &BASES[usize::from(*base) % BASES.len()];
    let device = Arc::new(Overlay::new(Arc::clone(&base.device) as Arc<dyn BlockDevice>));
    for change in changes.chunks_exact(8) {
        damage(&device, base, change).expect("inside the image");
    }
    // Half of the inputs are read and the others changed, so that neither waits for the other.
    if kind % 2 == 1 {
        if let Ok(fs) = Ext4::open(device, Mode::ReadOnly) {
            walk(&fs);
        }
        return;
    }
    let mut kind = *kind / 2;
    let mut files = Vec::new();
    for round in 0..2_u8 {
        let open = Ext4::open(Arc::clone(&device) as Arc<dyn BlockDevice>, Mode::ReadWrite { now: NOW });
        let Ok(fs) = open else { return };
        let mut fs: Box<dyn GuestFs> = Box::new(fs);
        if files.is_empty() {
            files = walk(&*fs);
        }
        let done = (0..EDITS).try_for_each(|step| {
            let pick = |n: u8| &files[(usize::from(n).wrapping_mul(31) + usize::from(round)) % files.len()].0;
            kind = kind.wrapping_mul(5).wrapping_add(7);
            edit(&mut *fs, kind >> 2, pick(kind.wrapping_add(step)), pick(step))
        });
        if done.is_ok() {
            let _ = fs.close();
        }
    }
});
