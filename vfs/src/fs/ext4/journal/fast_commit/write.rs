//! Writing what the tags come to: first everything that goes, then what stays and comes.
//!
//! Only when all blocks that files are said to have are taken are any others, for directories and nodes of extents,
//! which the tags do not name.

use super::super::damaged;
use super::after::{After, Change, Life};
use super::layout::Layout;
use super::outcome::{File, Outcome};
use super::ranges::Ranges;
use crate::error::{ErrorKind, Result};
use crate::fs::FileType;
use crate::fs::ext4::extent::Extent;
use crate::fs::ext4::inode::{Inode, flag};
use crate::fs::ext4::store::Store;

/// Sizes past this need the `large_file` feature.
const SMALL_FILE_MAX: u64 = i32::MAX as u64;

/// Writes it all.
pub(super) fn write(store: &mut Store, mut outcome: Outcome) -> Result<()> {
    outcome.settle()?;
    for (parent, name, number) in outcome.removed() {
        let victim = outcome.files.get(&number).and_then(|file| file.before.as_ref());
        let victim = victim.ok_or_else(|| damaged("a fast commit takes the name of a file that is not there"))?;
        store.remove_name(parent, name, victim)?;
    }
    for file in outcome.files.values() {
        let stays = file.after.as_ref().is_some_and(|after| after.life == Life::Stored);
        if let Some(before) = file.before.as_ref().filter(|_| !stays) {
            // Who is listed is deleted with the others, but for one whose place is taken.
            let later = file.after.is_none() && outcome.orphans.contains(&before.number);
            delete(store, before, if later { Deletion::Later } else { Deletion::Now })?;
        }
    }
    for file in outcome.files.values_mut() {
        free(store, file)?;
    }
    for ranges in outcome.files.values().filter_map(|file| file.after.as_ref()?.ranges.as_ref()) {
        for (start, len) in clusters(store, ranges)? {
            store.claim_blocks(start, len)?;
        }
    }
    for file in outcome.files.values() {
        if let Some(after) = file.after.as_ref().filter(|after| after.change == Change::Some) {
            put(store, after)?;
        }
    }
    for (parent, name, number) in outcome.added() {
        let inode = store.inode(number)?;
        store.add_name(parent, name, &inode)?;
    }
    Ok(())
}

/// When what a file has is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deletion {
    Now,
    /// With the orphans.
    Later,
}

/// Deletes a stored file.
fn delete(store: &mut Store, before: &Inode, deletion: Deletion) -> Result<()> {
    // What was in a directory is gone from it by now.
    let mut inode = store.inode(before.number)?;
    store.check_empty(&inode).map_err(|error| match error.kind() {
        ErrorKind::Invalid => {
            damaged(&format!("a fast commit removes inode {}, a directory that is not empty", inode.number))
        }
        _ => error,
    })?;
    inode.set_links(0);
    match deletion {
        Deletion::Now => store.delete(inode),
        Deletion::Later => store.put_inode(&mut inode),
    }
}

/// Frees all blocks of a stored file that is to have others.
fn free(store: &mut Store, file: &mut File) -> Result<()> {
    let Some(after) = file.after.as_mut().filter(|after| after.life == Life::Stored) else { return Ok(()) };
    let (Some(ranges), Some(Layout { ranges: stored, nodes })) = (&after.ranges, &file.layout) else { return Ok(()) };
    if ranges.runs() == stored.runs() {
        after.ranges = None;
        return Ok(());
    }
    for (start, len) in clusters(store, stored)? {
        store.free_blocks(start, len)?;
    }
    for node in nodes {
        store.free_blocks(*node, 1)?;
    }
    Ok(())
}

/// The clusters of a file, each once, as ranges of blocks.
fn clusters(store: &Store, ranges: &Ranges) -> Result<Vec<(u64, u64)>> {
    let size = u64::from(store.superblock.cluster_blocks());
    let mut runs = Vec::new();
    // The last cluster: which of the file's, and its first block.
    let mut last = None;
    for extent in ranges.iter() {
        let inside = u64::from(extent.logical) % size;
        let mut first = u64::from(extent.logical) / size;
        let mut start = extent.start.saturating_sub(inside);
        let end = extent.end().div_ceil(size);
        match last {
            Some((logical, block)) if logical == first => {
                if block != start {
                    return Err(damaged("a fast commit has blocks of one cluster in two places"));
                }
                first += 1;
                start += size;
            }
            _ => {}
        }
        if first < end {
            let len = (end - first) * size;
            // The last cluster of the filesystem may be cut short.
            runs.push((start, len.min(store.superblock.blocks.saturating_sub(start))));
            last = Some((end - 1, start + (end - first - 1) * size));
        }
    }
    Ok(runs)
}

/// Writes the inode of a file, and the nodes of its extents.
fn put(store: &mut Store, after: &After) -> Result<()> {
    let mut inode = after.inode.clone();
    let file_type = inode.file_type()?;
    if after.life == Life::New {
        store.take_inode(inode.number, file_type)?;
    }
    if inode.size() > SMALL_FILE_MAX && file_type == FileType::Regular {
        store.superblock.set_large_file();
    }
    match (after.parent, &after.ranges) {
        (Some(parent), _) => make_directory(store, &mut inode, parent)?,
        (None, Some(ranges)) => {
            inode.set_links(after.links);
            build(store, &mut inode, ranges)?;
        }
        (None, None) => {
            inode.set_links(after.links);
            if after.life == Life::New {
                inode.set_sectors(0, store.superblock.block_size, store.huge_files())?;
            }
        }
    }
    store.put_inode(&mut inode)
}

/// Makes a directory with nothing but `.` and `..`; its names are added later.
fn make_directory(store: &mut Store, inode: &mut Inode, parent: u32) -> Result<()> {
    inode.set_flags(inode.flags() & !(flag::INDEX | flag::INLINE_DATA | flag::EXTENTS));
    inode.set_sectors(0, store.superblock.block_size, store.huge_files())?;
    inode.set_size(0);
    // With inline_data the rest of its names were there.
    let room = inode.xattr_area().len();
    inode.set_xattr_area(&vec![0; room])?;
    store.fill_directory(inode, parent)
}

/// Builds the tree of a file's extents, whose blocks are taken.
fn build(store: &mut Store, inode: &mut Inode, ranges: &Ranges) -> Result<()> {
    *inode = store.empty(inode)?;
    store.clear_extents(inode)?;
    let size = u64::from(store.superblock.cluster_blocks());
    let count: u64 = clusters(store, ranges)?.iter().map(|(_, len)| len.div_ceil(size)).sum();
    store.add_blocks(inode, i64::try_from(count).unwrap_or(i64::MAX))?;
    for extent in ranges.iter() {
        let mut rest = *extent;
        while rest.len > 0 {
            let len = rest.len.min(rest.written.longest());
            store.append_extent(inode, Extent { len, ..rest })?;
            rest.len -= len;
            rest.logical += len;
            rest.start += u64::from(len);
        }
    }
    Ok(())
}
