//! The content of files.

use super::extent::Segment;
use super::feature::incompat;
use super::inode::{Inode, Time, flag};
use super::mapping::too_large;
use super::store::Store;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{Content, FileType};

/// How much content is held at a time, in bytes.
const BUFFER: u64 = 1 << 20;
/// From this size on a file needs the `large_file` feature, in bytes.
const LARGE: u64 = 1 << 31;

impl Store {
    /// Reads content from a byte of a file; returns how much, less than asked only at the end.
    pub(super) fn read_content(&self, inode: &Inode, buf: &mut [u8], offset: u64) -> Result<usize> {
        inode.check_readable()?;
        let rest = usize::try_from(inode.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = rest.min(buf.len());
        let buf = buf.get_mut(..want).unwrap_or_default();
        if inode.has_flag(flag::INLINE_DATA) {
            let content = self.inline_content(inode)?;
            let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
            buf.copy_from_slice(content.get(skipped..).and_then(|rest| rest.get(..want)).unwrap_or_default());
            return Ok(want);
        }
        let block_size = u64::from(self.superblock.block_size);
        let mut done = 0_usize;
        while done < want {
            let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            let skip = at % block_size;
            let segment = self.segment(inode, at / block_size)?;
            let (Segment::Hole(blocks) | Segment::Blocks { len: blocks, .. }) = segment;
            let bytes = blocks.saturating_mul(block_size).saturating_sub(skip);
            let len = usize::try_from(bytes).unwrap_or(usize::MAX).min(want - done);
            let part = buf.get_mut(done..done + len).unwrap_or_default();
            match segment {
                Segment::Hole(_) => part.fill(0),
                Segment::Blocks { start, .. } => self.read_data(part, self.offset(start)?.saturating_add(skip))?,
            }
            done += len;
        }
        Ok(done)
    }

    /// The target of a symbolic link; `Corrupt` where it cannot be one.
    pub(super) fn link_target(&self, inode: &Inode) -> Result<Vec<u8>> {
        if inode.file_type()? != FileType::Symlink {
            return Err(Error::new(ErrorKind::WrongType, Layer::Filesystem, "not a symbolic link"));
        }
        let len = usize::try_from(inode.size()).unwrap_or(usize::MAX);
        if inode.is_short_link() {
            return Ok(inode.block_area().get(..len).unwrap_or_default().to_vec());
        }
        inode.check_readable()?;
        if inode.has_flag(flag::INLINE_DATA) {
            return self.inline_content(inode);
        }
        if len == 0 || len > self.block_len() {
            return Err(inode.damaged("the length of its link is impossible"));
        }
        let mut target = vec![0; len];
        self.read_content(inode, &mut target, 0)?;
        Ok(target)
    }

    /// `Corrupt` where a symbolic link is one that e2fsck clears, by its `e2fsck_pass1_check_symlink`, or a symbolic link
    /// or special file one that it takes for damaged: the kernel knows of some of this, and another name makes none of it
    /// right. Any other file is let pass.
    pub(super) fn check_link(&self, inode: &Inode) -> Result<()> {
        let file_type = inode.file_type()?;
        if matches!(file_type, FileType::Regular | FileType::Directory) {
            return Ok(());
        }
        if inode.fragment() != 0 {
            return Err(inode.damaged("it has the address of a fragment"));
        }
        if file_type != FileType::Symlink {
            return Ok(());
        }
        let inline = inode.has_flag(flag::INLINE_DATA);
        if inode.has_flag(flag::INDEX) || (inline && !self.superblock.has_incompat(incompat::INLINE_DATA)) {
            return Err(inode.damaged("it is a symbolic link with the flags of another file"));
        }
        let target = self.link_target(inode)?;
        let ends = !inode.is_short_link() || inode.block_area().get(target.len()) == Some(&0);
        if target.is_empty() || target.len() >= self.block_len() || target.contains(&0) || !ends {
            return Err(inode.damaged("the length of its link is not that of the path in it"));
        }
        Ok(())
    }

    /// Replaces the whole content, in new blocks, and frees the old ones.
    pub(super) fn put_content(&mut self, inode: &mut Inode, content: &Content) -> Result<()> {
        if inode.has_flag(flag::INLINE_DATA) {
            self.take_inline(inode)?;
            self.add_content(inode, &[], content)?;
            return self.touch_content(inode);
        }
        let mut old = inode.clone();
        self.clear_mapping(inode)?;
        self.add_content(inode, &[], content)?;
        self.cut(&mut old, 0)?;
        self.touch_content(inode)
    }

    /// Adds to the end of the content.
    pub(super) fn append_content(&mut self, inode: &mut Inode, content: &Content) -> Result<()> {
        if content.is_empty() {
            return self.touch_content(inode);
        }
        if inode.size() == 0 && !inode.has_flag(flag::INLINE_DATA) {
            return self.put_content(inode, content);
        }
        if inode.has_flag(flag::INLINE_DATA) {
            let head = self.take_inline(inode)?;
            self.add_content(inode, &head, content)?;
            return self.touch_content(inode);
        }
        let tail = self.take_tail(inode)?;
        let at = inode.size() / u64::from(self.superblock.block_size);
        self.add_stored(inode, at, &tail, content)?;
        self.touch_content(inode)
    }

    /// Cuts the content, or lengthens it with a hole.
    pub(super) fn set_content_size(&mut self, inode: &mut Inode, size: u64) -> Result<()> {
        if inode.has_flag(flag::INLINE_DATA) {
            return self.set_inline_size(inode, size);
        }
        self.check_size(inode, size)?;
        let block_size = u64::from(self.superblock.block_size);
        let shorter = size.min(inode.size());
        let last = shorter / block_size;
        let inside = shorter % block_size;
        // The rest of the last block must be zeros: it is content as soon as the file grows.
        let stored = inside != 0 && matches!(self.segment(inode, last)?, Segment::Blocks { .. });
        if stored && size != inode.size() {
            let mut tail = vec![0; usize::try_from(inside).unwrap_or(0)];
            self.read_content(inode, &mut tail, shorter - inside)?;
            self.cut(inode, last)?;
            inode.set_size(shorter);
            self.add_stored(inode, last, &tail, &Content::bytes([]))?;
        } else {
            self.cut(inode, shorter.div_ceil(block_size))?;
        }
        inode.set_size(size);
        self.note_size(size);
        self.touch_content(inode)
    }

    /// Frees what lies after the end of the content, and makes the rest of the last block zeros.
    pub(super) fn cut_tail(&mut self, inode: &mut Inode) -> Result<()> {
        if inode.has_flag(flag::INLINE_DATA) {
            let content = self.take_inline(inode)?;
            return self.put_inline(inode, &content);
        }
        let block_size = u64::from(self.superblock.block_size);
        let size = inode.size();
        let last = size / block_size;
        if size.is_multiple_of(block_size) || matches!(self.segment(inode, last)?, Segment::Hole(_)) {
            return self.cut(inode, size.div_ceil(block_size));
        }
        let tail = self.take_tail(inode)?;
        self.add_stored(inode, last, &tail, &Content::bytes([]))
    }

    /// The same for content that is in the inode, which it leaves where there is no room for it.
    fn set_inline_size(&mut self, inode: &mut Inode, size: u64) -> Result<()> {
        let mut content = self.take_inline(inode)?;
        self.check_size(inode, size)?;
        let room = self.inline_room(inode)?;
        match usize::try_from(size).ok().filter(|size| room.is_some_and(|room| *size <= room)) {
            Some(size) => {
                content.resize(size, 0);
                self.put_inline(inode, &content)?;
            }
            None => {
                self.add_stored(inode, 0, &content, &Content::bytes([]))?;
                inode.set_size(size);
                self.note_size(size);
            }
        }
        self.touch_content(inode)
    }

    /// Takes the part of the last block that is not whole off the file, and what was set aside after the end.
    fn take_tail(&mut self, inode: &mut Inode) -> Result<Vec<u8>> {
        let block_size = u64::from(self.superblock.block_size);
        let inside = inode.size() % block_size;
        let mut tail = vec![0; usize::try_from(inside).unwrap_or(0)];
        self.read_content(inode, &mut tail, inode.size() - inside)?;
        self.cut(inode, inode.size() / block_size)?;
        Ok(tail)
    }

    /// Gives a file that has no content `head` and then `content`, in the inode where that has room for it.
    fn add_content(&mut self, inode: &mut Inode, head: &[u8], content: &Content) -> Result<()> {
        let total = usize::try_from(content.len()).ok().and_then(|len| len.checked_add(head.len()));
        let room = if content.is_empty() { None } else { self.inline_room(inode)? };
        match total.filter(|total| room.is_some_and(|room| *total <= room)) {
            Some(total) => {
                let mut bytes = head.to_vec();
                bytes.resize(total, 0);
                content.read_at(bytes.get_mut(head.len()..).unwrap_or_default(), 0)?;
                self.put_inline(inode, &bytes)
            }
            None => self.add_stored(inode, 0, head, content),
        }
    }

    /// Writes `head` and then `content` into new blocks, from block `logical` of the file on, which has nothing there,
    /// and sets the size.
    pub(super) fn add_stored(&mut self, inode: &mut Inode, logical: u64, head: &[u8], content: &Content) -> Result<()> {
        let block_size = u64::from(self.superblock.block_size);
        let head_len = u64::try_from(head.len()).unwrap_or(u64::MAX);
        let total = head_len.saturating_add(content.len());
        let size = logical.saturating_mul(block_size).saturating_add(total);
        self.check_size(inode, size)?;
        let mut done = 0;
        let mut buffer = vec![0; usize::try_from(total.next_multiple_of(block_size).min(BUFFER)).unwrap_or(0)];
        while done < total {
            let first = u32::try_from(logical + done / block_size).map_err(|_| too_large())?;
            let want = (total - done).div_ceil(block_size);
            let run = self.grow(inode, first, u32::try_from(want).unwrap_or(u32::MAX))?;
            let run_end = total.min(done + u64::from(run.len) * block_size);
            let mut block = run.start;
            // Of a host file nothing is copied yet.
            let whole = (run_end - done) / block_size * block_size;
            let part = done.checked_sub(head_len).filter(|_| whole > 0).and_then(|at| content.part(at, whole));
            if let Some(part) = part {
                let taken = self.lend_data(&part, block)?;
                block += taken / block_size;
                done += taken;
            }
            while done < run_end {
                let len = (run_end - done).min(BUFFER);
                let padded = usize::try_from(len.next_multiple_of(block_size)).unwrap_or(0);
                let chunk = buffer.get_mut(..padded).unwrap_or_default();
                fill(chunk, done, len, head, content)?;
                self.write_data(chunk, block)?;
                block += len.div_ceil(block_size);
                done += len;
            }
        }
        inode.set_size(size);
        self.note_size(size);
        Ok(())
    }

    fn note_size(&mut self, size: u64) {
        if size >= LARGE {
            self.superblock.set_large_file();
        }
    }

    fn touch_content(&mut self, inode: &mut Inode) -> Result<()> {
        let now = self.now()?;
        inode.set_time(Time::Modification, now);
        inode.set_time(Time::Change, now);
        self.put_inode(inode)
    }
}

/// Fills `chunk` with `len` bytes of `head` and `content` one after the other, from byte `from`, and then zeros.
fn fill(chunk: &mut [u8], from: u64, len: u64, head: &[u8], content: &Content) -> Result<()> {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(chunk.len());
    let (bytes, padding) = chunk.split_at_mut(len);
    padding.fill(0);
    let skipped = usize::try_from(from).unwrap_or(usize::MAX);
    let first = head.get(skipped..).unwrap_or_default();
    let (from_head, rest) = bytes.split_at_mut(first.len().min(len));
    from_head.copy_from_slice(first.get(..from_head.len()).unwrap_or_default());
    let head_len = u64::try_from(head.len()).unwrap_or(u64::MAX);
    content.read_at(rest, from.saturating_sub(head_len))
}
