//! The header: the first bytes of the file, and the sector that switches from the old image to the new one.

use super::compressed::Method;
use super::extension::{self, Bitmaps, Extensions};
use super::feature::{BITMAPS, COMPRESSION, DATA_FILE, DIRTY, EXTENDED_L2, Features, RAW_DATA_FILE, Set};
use super::geometry::{ENTRY, Geometry};
use super::layout::{Layout, read_padded, truncated};
use super::mapping::{Storage, Version};
use super::{pointers, refcount};
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use crate::image::{DataFile, Named};
use crate::transaction::Overlay;
use std::ops::Range;

/// The magic at byte 0.
pub(in crate::image) const MAGIC: [u8; 4] = *b"QFI\xfb";
/// The sector that the commit switches.
pub(super) const SECTOR: usize = 512;
/// QEMU's limit for the L1 table, in bytes.
const L1_LIMIT: u64 = 32 << 20;
/// QEMU's limit for snapshots.
const MAX_SNAPSHOTS: u32 = 65_536;
/// The format's limit for the backing file's name, in bytes.
const MAX_BACKING_NAME: u32 = 1023;
/// The header of version 2, and the shortest of version 3.
pub(super) const V2_LEN: u64 = 72;
pub(super) const V3_LEN: u64 = 104;

/// A header that has been checked, and says nothing that is not supported.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// The version.
    pub(super) version: Version,
    /// Cluster size and refcount width.
    pub(super) geometry: Geometry,
    /// The guest's disk in bytes; its L1 table is long enough for it.
    pub(super) size: u64,
    /// Entries of the active L1 table, at most 4,194,304.
    pub(super) l1_entries: usize,
    /// Where the fixed parts lie.
    pub(super) layout: Layout,
    /// How many internal snapshots there are, at most 65,536.
    pub(super) snapshots: u32,
    /// The first byte of the snapshot table, where there are some.
    pub(super) snapshot_table: u64,
    /// The feature bits.
    pub(super) features: Features,
    /// How compressed clusters are compressed.
    pub(super) compression: Method,
    /// What the header extensions say.
    pub(super) extensions: Extensions,
    /// The backing file, where the image has one.
    pub(super) backing: Option<Named>,
    /// The bytes of the header's cluster where the extensions are.
    pub(super) extension_area: Range<u64>,
}

impl Header {
    /// Reads and checks the header; `Corrupt` where it contradicts itself, `Unsupported` with a hint where it asks for
    /// something that is not supported.
    pub(super) fn read(host: &Overlay) -> Result<Self> {
        let mut sector = [0; SECTOR];
        read_padded(host, &mut sector, 0)?;
        if sector.get(..4) != Some(&MAGIC[..]) {
            return Err(Error::corrupt(Layer::Image, "not a qcow2 image: the magic is not there"));
        }
        if host.size() < V2_LEN {
            return Err(truncated("the file ends inside the header"));
        }
        let version = match u32_at(&sector, 4) {
            2 => Version::V2,
            3 => Version::V3,
            1 => {
                return Err(Error::unsupported(Layer::Image, "qcow version 1 is not supported")
                    .with_hint("convert it with `qemu-img convert -f qcow -O qcow2 IMAGE NEW.qcow2`"));
            }
            other => {
                return Err(Error::unsupported(Layer::Image, format!("qcow2 version {other} is not supported"))
                    .with_hint("versions 2 and 3 are: convert it with the program that made it"));
            }
        };
        let order = if version == Version::V3 { u32_at(&sector, 96) } else { 4 };
        let geometry = Geometry::new(u32_at(&sector, 20), order)?;
        // The area of the extensions ends with the header's cluster, at most 2 MiB.
        let mut cluster = vec![0; geometry.cluster_len()];
        read_padded(host, &mut cluster, 0)?;
        let header_len = header_len(&sector, version, geometry)?;
        let features = match version {
            Version::V2 => Features::default(),
            Version::V3 => Features::parse(&sector),
        };
        let backing = backing_name(&cluster)?;
        let area_end = backing.as_ref().map_or(geometry.cluster_size(), |(at, _)| *at);
        let extensions = Extensions::parse(slice(&cluster, header_len, area_end))?;
        features.refuse_unknown(&extensions.names)?;
        let geometry = match features.has(Set::Incompatible, EXTENDED_L2) {
            true => geometry.with_subclusters()?,
            false => geometry,
        };
        let kind = if header_len > V3_LEN { cluster.get(104).copied().unwrap_or(0) } else { 0 };
        let compression = compression(features, kind)?;
        refuse_encryption(u32_at(&sector, 32))?;
        let backing = backing.map(|(_, name)| Named { name, format: extensions.backing_format.clone() });
        let header = Self {
            version,
            geometry,
            size: u64_at(&sector, 24),
            l1_entries: usize::try_from(u32_at(&sector, 36)).unwrap_or(usize::MAX),
            layout: layout(host, &sector, geometry)?,
            snapshots: u32_at(&sector, 60),
            snapshot_table: u64_at(&sector, 64),
            features,
            compression,
            extensions,
            backing,
            extension_area: header_len..area_end,
        };
        header.check_l1()?;
        header.check_snapshots()?;
        Ok(header)
    }

    /// Fails with `Unsupported` where the image can be read and not written to.
    pub(super) fn refuse_writes(&self) -> Result<()> {
        self.features.refuse_writes()
    }

    /// Fails with `Unsupported` where the clusters in this external data file can be read and not written to.
    pub(super) fn refuse_data_file(&self, file: &DataFile) -> Result<()> {
        const CONVERT: &str = "bring it into one file with `qemu-img convert -O qcow2 IMAGE NEW.qcow2`";
        let size = file.bytes.size();
        let (why, hint) = if file.seed.is_none() {
            (
                "it is written to only where it is named, and the result goes into the image itself".to_owned(),
                format!("if you trust the image, name it with --data-file FILE, or {CONVERT}"),
            )
        } else if self.snapshots > 0 {
            ("with internal snapshots, which share clusters, it is only read".to_owned(), CONVERT.to_owned())
        } else if self.consistent_bitmaps().is_some() {
            let hint = "remove each bitmap with `qemu-img bitmap --remove IMAGE NAME`";
            ("with persistent bitmaps it is only read".to_owned(), hint.to_owned())
        } else if self.is_dirty() {
            let hint = "repair it with `qemu-img check -r all IMAGE`";
            ("while the image is marked dirty it is only read".to_owned(), hint.to_owned())
        } else if size < self.size {
            let hint = format!("lengthen it with zeros: truncate -s {} FILE", self.size);
            (format!("it ends at byte {size} of a disk of {} bytes, and is only read", self.size), hint)
        } else {
            return Ok(());
        };
        let name = self.extensions.data_file.as_deref().unwrap_or_default().escape_ascii();
        let message = format!("qcow2: the image keeps its data in the external data file \"{name}\": {why}");
        Err(Error::unsupported(Layer::Image, message).with_hint(hint))
    }

    /// Whether a write leaves the autoclear bits as they are.
    pub(super) fn keeps_autoclear(&self) -> bool {
        self.features.autoclear == self.kept_autoclear()
    }

    /// The autoclear bits of what this program keeps up to date.
    fn kept_autoclear(&self) -> u64 {
        let bitmaps = self.consistent_bitmaps().map_or(0, |_| 1 << BITMAPS);
        match self.storage() {
            Storage::Image => bitmaps,
            // Every cluster that is mapped anew is written whole.
            Storage::DataFile => bitmaps | self.features.autoclear & (1 << RAW_DATA_FILE),
        }
    }

    /// Where the guest's clusters are.
    pub(super) fn storage(&self) -> Storage {
        match self.features.has(Set::Incompatible, DATA_FILE) {
            true => Storage::DataFile,
            false => Storage::Image,
        }
    }

    /// The external data file, where the image has one: a raw file, whose name may not be recorded.
    pub(super) fn data_file(&self) -> Option<Named> {
        let name = self.extensions.data_file.clone().unwrap_or_default();
        (self.storage() == Storage::DataFile).then(|| Named { name, format: Some(b"raw".to_vec()) })
    }

    /// Whether the external data file says of itself all that the disk holds.
    pub(super) fn data_is_raw(&self) -> bool {
        self.storage() == Storage::DataFile && self.features.has(Set::Autoclear, RAW_DATA_FILE)
    }

    /// Whether refcounts may be wrong.
    pub(super) fn is_dirty(&self) -> bool {
        self.features.has(Set::Incompatible, DIRTY)
    }

    /// The bitmaps, where they are to be believed: a program that changed the disk without a thought for them has
    /// cleared their autoclear bit.
    pub(super) fn consistent_bitmaps(&self) -> Option<Bitmaps> {
        self.extensions.bitmaps.filter(|_| self.features.has(Set::Autoclear, BITMAPS))
    }

    /// The entries of the L1 table that the disk's size needs; there may be more.
    pub(super) fn l1_needed(&self) -> usize {
        usize::try_from(self.size.div_ceil(self.geometry.l2_reach())).unwrap_or(usize::MAX)
    }

    fn check_l1(&self) -> Result<()> {
        let needed = self.size.div_ceil(self.geometry.l2_reach());
        if u64::try_from(self.l1_entries).unwrap_or(u64::MAX) < needed {
            return Err(bad(format!(
                "l1_size is {}, and a disk of {} bytes needs {needed}",
                self.l1_entries, self.size
            )));
        }
        Ok(())
    }

    fn check_snapshots(&self) -> Result<()> {
        if self.snapshots > MAX_SNAPSHOTS {
            return Err(bad(format!("nb_snapshots is {}, and at most {MAX_SNAPSHOTS} can be", self.snapshots)));
        }
        if self.snapshots > 0 {
            aligned(self.geometry, "snapshots_offset", self.snapshot_table)?;
            self.layout.check(self.geometry, "the snapshot table", self.snapshot_table, 1)?;
        }
        Ok(())
    }
}

/// The places of what a transaction has made anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// The first byte of the L1 table.
    pub(super) l1: u64,
    /// The first byte of the refcount table.
    pub(super) refcount_table: u64,
    /// Clusters of the refcount table.
    pub(super) refcount_clusters: u64,
    /// The first byte of the bitmaps' directory, where it is new.
    pub(super) bitmaps: Option<u64>,
}

/// Writes the new places into the header's sector: the write that switches. It clears the autoclear bits of all
/// that this program does not keep up to date.
pub(super) fn switch(host: &Overlay, header: &Header, new: Places) -> Result<()> {
    let clusters = u32::try_from(new.refcount_clusters)
        .map_err(|_| bad("the refcount table would take more clusters than the header can say".to_owned()))?;
    let mut sector = [0; SECTOR];
    host.read_at(&mut sector, 0)?;
    sector[40..48].copy_from_slice(&new.l1.to_be_bytes());
    sector[48..56].copy_from_slice(&new.refcount_table.to_be_bytes());
    sector[56..60].copy_from_slice(&clusters.to_be_bytes());
    if header.version == Version::V3 {
        sector[72..80].copy_from_slice(&header.features.incompatible.to_be_bytes());
        sector[88..96].copy_from_slice(&header.kept_autoclear().to_be_bytes());
    }
    if let Some(directory) = new.bitmaps {
        let mut cluster = vec![0; header.geometry.cluster_len()];
        read_padded(host, &mut cluster, 0)?;
        let Range { start, end } = header.extension_area;
        let start_at = usize::try_from(start).unwrap_or(usize::MAX);
        let bytes = extension::point_bitmaps(slice(&cluster, start, end), SECTOR.saturating_sub(start_at), directory);
        let place = bytes.as_ref().and_then(|it| sector.get_mut(start_at..start_at.saturating_add(it.len())));
        let (Some(bytes), Some(place)) = (&bytes, place) else {
            let message = "qcow2: the header's first sector has no room for the bitmaps extension beside unknown ones";
            return Err(Error::unsupported(Layer::Image, message).with_hint(
                "list the bitmaps with `qemu-img info IMAGE`, remove each with `qemu-img bitmap --remove IMAGE NAME`",
            ));
        };
        place.copy_from_slice(bytes);
    }
    host.write_at(&sector, 0)
}

fn layout(host: &Overlay, sector: &[u8; SECTOR], geometry: Geometry) -> Result<Layout> {
    let end = host.size();
    let (l1, table) = (u64_at(sector, 40), u64_at(sector, 48));
    let l1_len = pointers::bytes(usize::try_from(u32_at(sector, 36)).unwrap_or(usize::MAX)).unwrap_or(u64::MAX);
    if l1_len > L1_LIMIT {
        return Err(bad(format!("the L1 table takes {l1_len} bytes, and at most {L1_LIMIT} are allowed")));
    }
    let table_len = u64::from(u32_at(sector, 56)).saturating_mul(geometry.cluster_size());
    if table_len == 0 {
        return Err(bad("there is no refcount table".to_owned()));
    }
    if table_len > refcount::TABLE_LIMIT {
        return Err(bad(format!(
            "the refcount table takes {table_len} bytes, and at most {} are allowed",
            refcount::TABLE_LIMIT
        )));
    }
    aligned(geometry, "l1_table_offset", l1)?;
    aligned(geometry, "refcount_table_offset", table)?;
    let layout =
        Layout { end, l1: l1..l1.saturating_add(l1_len), refcount_table: table..table.saturating_add(table_len) };
    // Each is checked against a layout that does not know it.
    let without_l1 = Layout { l1: 0..0, ..layout.clone() };
    let without_table = Layout { refcount_table: 0..0, ..layout.clone() };
    if l1_len > 0 {
        without_l1.check(geometry, "the L1 table", l1, l1_len)?;
    }
    without_table.check(geometry, "the refcount table", table, table_len)?;
    Ok(layout)
}

/// The length of the header in bytes; `Corrupt` where it cannot be.
pub(super) fn header_len(sector: &[u8; SECTOR], version: Version, geometry: Geometry) -> Result<u64> {
    let len = match version {
        Version::V2 => V2_LEN,
        Version::V3 => u64::from(u32_at(sector, 100)),
    };
    let cluster = geometry.cluster_size();
    if version == Version::V3 && (len < V3_LEN || len > cluster || !len.is_multiple_of(8)) {
        return Err(bad(format!("header_length is {len}, and must be a multiple of 8 from {V3_LEN} to {cluster}")));
    }
    Ok(len)
}

/// The place and the name of the backing file; `Corrupt` where it does not fit into the header's cluster.
pub(super) fn backing_name(cluster: &[u8]) -> Result<Option<(u64, Vec<u8>)>> {
    let (offset, len) = (u64_at(cluster, 8), u32_at(cluster, 16));
    if offset == 0 {
        return Ok(None);
    }
    let end = offset.saturating_add(u64::from(len));
    if len > MAX_BACKING_NAME || usize::try_from(end).map_or(true, |end| end > cluster.len()) {
        return Err(bad(format!("the backing file's name ({len} bytes at byte {offset}) does not fit")));
    }
    Ok(Some((offset, slice(cluster, offset, end).to_vec())))
}

fn compression(features: Features, kind: u8) -> Result<Method> {
    match (features.has(Set::Incompatible, COMPRESSION), kind) {
        (false, 0) => Ok(Method::Deflate),
        (true, 1) => Ok(Method::Zstd),
        (true, 0) => Err(bad("the compression type bit is set, and the type is 0".to_owned())),
        (false, kind) => Err(bad(format!("compression type {kind} without the compression type bit"))),
        (true, kind) => Err(Error::unsupported(Layer::Image, format!("qcow2: the image uses compression type {kind}"))
            .with_hint("convert it with the program that made it")),
    }
}

fn refuse_encryption(method: u32) -> Result<()> {
    if method == 0 {
        return Ok(());
    }
    let name = encryption(method);
    Err(Error::unsupported(Layer::Image, format!("qcow2: the image is encrypted ({name})")).with_hint(
        "decrypt it with `qemu-img convert --object secret,... --image-opts driver=qcow2,... -O qcow2 NEW.qcow2`",
    ))
}

/// What an encryption method other than 0 is called.
pub(super) fn encryption(method: u32) -> String {
    match method {
        1 => "AES".to_owned(),
        2 => "LUKS".to_owned(),
        other => format!("by method {other}"),
    }
}

fn aligned(geometry: Geometry, name: &str, offset: u64) -> Result<()> {
    if geometry.is_aligned(offset) && offset >> 56 == 0 {
        return Ok(());
    }
    Err(bad(format!("{name} is {offset}, not a multiple of the cluster size below 2^56")))
}

fn bad(message: String) -> Error {
    Error::corrupt(Layer::Image, format!("qcow2 header: {message}"))
}

/// The big-endian number at `at`; 0 where the bytes end before (the callers' places are constants inside a sector).
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let end = at.saturating_add(ENTRY);
    bytes.get(at..end).unwrap_or_default().iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// As [`u64_at`], of four bytes.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let end = at.saturating_add(4);
    bytes.get(at..end).unwrap_or_default().iter().fold(0, |value, byte| (value << 8) | u32::from(*byte))
}

/// A range of bytes, empty where it does not lie in them.
pub(super) fn slice(bytes: &[u8], start: u64, end: u64) -> &[u8] {
    let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else { return &[] };
    bytes.get(start..end).unwrap_or_default()
}
