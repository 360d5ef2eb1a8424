//! The images that testdata's scripts made.

use super::oracle;
use imgraft_vfs::block::{BlockDevice, SliceDevice};
use imgraft_vfs::fs::{self, GuestFs, Mode};
use imgraft_vfs::image::{self, Format};
use imgraft_vfs::transaction::{Access, Transaction};
use imgraft_vfs::volume;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One line of `manifest.tsv`.
#[derive(Clone, Debug)]
pub struct Image {
    pub name: String,
    pub path: PathBuf,
    pub format: String,
    /// The root's partition; 0 for the whole disk.
    pub partition: u32,
    pub group: String,
}

/// The phony Debian guest, which is committed: always there.
pub fn phony() -> PathBuf {
    super::root().join("testdata/images/phony-debian.qcow2")
}

/// The phony guest with SELinux labels.
pub fn phony_el() -> PathBuf {
    super::root().join("testdata/images/phony-el.qcow2")
}

/// The directory of built images.
pub fn built() -> PathBuf {
    std::env::var_os("IMGRAFT_TESTDATA").map_or_else(|| super::root().join("testdata/built"), PathBuf::from)
}

/// The images of a group that the scripts have made here.
pub fn all(groups: &[&str]) -> Vec<Image> {
    let manifest = built().join("manifest.tsv");
    let Ok(text) = std::fs::read_to_string(&manifest) else {
        oracle::skip(&format!("no {}; `make testdata` builds the images", manifest.display()));
        return Vec::new();
    };
    let images: Vec<Image> = text.lines().skip(1).map(parse).filter(|image| groups.contains(&&*image.group)).collect();
    if images.is_empty() {
        oracle::skip(&format!("no image of the groups {groups:?} is built"));
    }
    images
}

/// One image of a group; `None` where the group is not built here. A group that has no such image is a fault of the test.
pub fn named(group: &str, name: &str) -> Option<Image> {
    let images = all(&[group]);
    let found = images.iter().position(|image| image.name == name);
    assert!(found.is_some() || images.is_empty(), "the group {group} has no image {name}");
    images.into_iter().nth(found?)
}

fn parse(line: &str) -> Image {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, path, format, _layout, _sector, partition, _profile, _size, _premises, group] = fields[..] else {
        panic!("a line of the manifest has ten fields: {line}");
    };
    Image {
        name: name.to_owned(),
        path: built().join(path),
        format: format.to_owned(),
        partition: partition.parse().expect("a partition number"),
        group: group.to_owned(),
    }
}

/// An image opened by the library, for reading.
#[derive(Debug)]
pub struct Opened {
    pub fs: Box<dyn GuestFs>,
    pub offset: u64,
    _txn: Transaction,
}

/// Opens the filesystem of a partition (0: the whole disk).
pub fn open(path: &Path, partition: u32) -> Opened {
    let txn = Transaction::begin(path, Access::Read).expect("it can be opened");
    let format =
        if path.extension().is_some_and(|extension| extension == "qcow2") { Format::Qcow2 } else { Format::Raw };
    let disk: Arc<dyn BlockDevice> = image::open(txn.overlay(), Some(format)).expect("the format is right");
    let (offset, size) = match NonZeroU32::new(partition) {
        None => (0, disk.size()),
        index => {
            let table = volume::list(&disk).expect("a partition table");
            let info = table.volumes.into_iter().find(|info| info.index == index).expect("the partition is there");
            (info.start, info.size)
        }
    };
    let device = SliceDevice::new(disk, offset, size).expect("the partition lies on the disk");
    let fs = fs::open(Arc::new(device), Mode::ReadOnly).expect("the filesystem can be read");
    Opened { fs, offset, _txn: txn }
}
