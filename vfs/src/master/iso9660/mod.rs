//! ISO 9660 (ECMA-119) with Rock Ridge (SUSP 1.10, RRIP 1.10) and Joliet.
//!
//! The layout, in 2048-byte sectors: the descriptors from sector 16, path tables of both trees, what continues long Rock
//! Ridge names, the directories of both trees, the files. Deep directories stay where they are (as with `-D`): Linux,
//! xorriso and isoinfo read them, and the relocation that ECMA-119's limit of eight levels asks for shows as a directory
//! that nobody put there.

mod continuation;
mod descriptor;
mod field;
mod name;
mod read;
mod read_system_use;
mod record;
mod system_use;
mod view;

use super::flat::Flat;
use super::{Image, Tree, refuse};
use crate::error::Result;
use crate::fs::{Content, Timestamp};
use continuation::Continuation;
use descriptor::Volume;
use name::Names;
pub(super) use read::read;
use record::Extent;
use view::View;

/// The size of a sector and of a logical block, in bytes.
const SECTOR: u64 = 2048;
/// The sector of the first descriptor (ECMA-119, 6.2.1: the system area is before it).
const FIRST_DESCRIPTOR: u64 = 16;
/// The sectors of zeros at the end, as genisoimage has them: readers of real discs read ahead.
const PADDING: u64 = 150;

/// What an ISO 9660 image says of itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// The volume identifier: 1 to 32 printable ASCII characters (Joliet keeps 16 of them).
    pub volume_id: String,
    /// The publisher: up to 128 printable ASCII characters (Joliet keeps 64 of them); may be empty.
    pub publisher: String,
    /// The time of the volume and of all files.
    pub time: Timestamp,
}

/// Lays a tree out as an ISO 9660 image, as `genisoimage -ldots -allow-lowercase -allow-multidot -l -J -r -D` does.
///
/// Files have mode 0444, directories 0555, owner and group 0. Rock Ridge keeps every name as it is; Joliet has the first
/// 64 characters of a name, the plain tree the first 31, made unique in their directory. `Invalid` names what cannot be
/// kept: a file of 4 GiB or more, an identifier that is too long, more than 65,535 directories.
pub fn image(tree: &Tree, options: &Options) -> Result<Image> {
    check(options)?;
    let flat = Flat::new(tree);
    if flat.directories.len() > usize::from(u16::MAX) {
        return Err(refuse(format!("{} directories, and ISO 9660 numbers at most 65535", flat.directories.len())));
    }
    let mut plain = View::new(&flat, Names::Plain);
    let mut joliet = View::new(&flat, Names::Joliet);

    // Sizes first: they do not depend on where anything lies.
    let nowhere = vec![Extent::default(); flat.files.len()];
    let mut continuation = Continuation::new(0);
    plain.measure(&nowhere, options.time, &mut continuation)?;
    joliet.measure(&nowhere, options.time, &mut Continuation::new(0))?;

    let mut next = FIRST_DESCRIPTOR + 3;
    let mut take = |bytes: u64| {
        let first = next;
        next += bytes.div_ceil(SECTOR);
        first
    };
    let plain_tables = [take(plain.path_table_size()), take(plain.path_table_size())];
    let joliet_tables = [take(joliet.path_table_size()), take(joliet.path_table_size())];
    let mut continuation = Continuation::new(take(continuation.size()));
    plain.place(&mut take);
    joliet.place(&mut take);
    let first_data = take(0);
    let mut extents = Vec::with_capacity(flat.files.len());
    for file in &flat.files {
        let Ok(size) = u32::try_from(file.content.len()) else {
            let message = format!("{} bytes, and ISO 9660 files are smaller than 4 GiB", file.content.len());
            return Err(flat.refuse(file.parent, file.name, message).with_hint("leave the file out, or split it"));
        };
        // A file with nothing in it lies where the next one does.
        extents.push(Extent { sector: small(take(u64::from(size)))?, size });
    }
    let sectors = take(0) + PADDING;

    let mut head = Vec::new();
    let volume = |view: &View<'_>, tables: [u64; 2]| -> Result<Volume> {
        let [little, big] = [small(tables[0])?, small(tables[1])?];
        Ok(Volume { sectors: small(sectors)?, root: view.root(), path_table: view.path_table_size(), little, big })
    };
    head.extend(descriptor::primary(options, &volume(&plain, plain_tables)?));
    head.extend(descriptor::joliet(options, &volume(&joliet, joliet_tables)?));
    head.extend(descriptor::terminator());
    for view in [&plain, &joliet] {
        for big_endian in [view::Order::Little, view::Order::Big] {
            head.extend(padded(view.path_table(big_endian)));
        }
    }
    let plain_directories = plain.encode(&extents, options.time, &mut continuation);
    head.extend(padded(continuation.into_bytes()));
    head.extend(plain_directories);
    head.extend(joliet.encode(&extents, options.time, &mut Continuation::new(0)));

    debug_assert_eq!(head.len() as u64, (first_data - FIRST_DESCRIPTOR) * SECTOR);
    let mut image = Image::new(sectors * SECTOR);
    image.push(FIRST_DESCRIPTOR * SECTOR, Content::bytes(head))?;
    for (file, extent) in flat.files.iter().zip(&extents) {
        image.push(u64::from(extent.sector) * SECTOR, file.content.clone())?;
    }
    Ok(image)
}

fn check(options: &Options) -> Result<()> {
    let printable = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if !(1..=32).contains(&options.volume_id.len()) || !printable(&options.volume_id) {
        return Err(refuse(format!("the volume identifier {:?} is not 1 to 32 ASCII characters", options.volume_id)));
    }
    if options.publisher.len() > 128 || !printable(&options.publisher) {
        return Err(refuse(format!("the publisher {:?} is not at most 128 ASCII characters", options.publisher)));
    }
    Ok(())
}

/// A sector's number as the format has it.
fn small(sector: u64) -> Result<u32> {
    u32::try_from(sector).map_err(|_| refuse("the content is larger than 8 TiB, which ISO 9660 cannot number"))
}

/// The bytes with zeros up to the end of their sector.
fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
    bytes
}
