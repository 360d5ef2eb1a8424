//! The host file as the layers above see it: calls counted, errors named.

use super::IoCounts;
use super::host::{Growth, Host, Place, Stamp, Time};
use super::sidecar::PRIVATE;
use crate::block::{BlockDevice, check_range};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::shell;
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io;
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The image file below the overlay, with its journal.
#[derive(Debug)]
pub(super) struct Base {
    host: Box<dyn Host>,
    /// The size in bytes when the transaction began; a commit is what changes it.
    size: u64,
    /// The image as this run has found it, or left it last.
    seen: Mutex<Option<Stamp>>,
    /// Whether this run has made the journal's file.
    reserved: AtomicBool,
    /// Whether this run may have changed the time of the image's last write.
    touched: AtomicBool,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    reads: AtomicU64,
    bytes_read: AtomicU64,
    writes: AtomicU64,
    bytes_written: AtomicU64,
    fsyncs: AtomicU64,
}

fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

impl Counters {
    fn read(&self, bytes: usize) {
        add(&self.reads, 1);
        add(&self.bytes_read, bytes);
    }

    fn write(&self, bytes: usize) {
        add(&self.writes, 1);
        add(&self.bytes_written, bytes);
    }

    fn fsync(&self) {
        add(&self.fsyncs, 1);
    }
}

impl Base {
    pub(super) fn new(host: Box<dyn Host>) -> Result<Self> {
        let size = host.size().map_err(|e| Error::io(Layer::Host, "read the size", e).with_host_path(host.path()))?;
        if size == 0 {
            return Err(Error::corrupt(Layer::Host, "the image is empty").with_host_path(host.path()));
        }
        Ok(Self {
            host,
            size,
            seen: Mutex::new(None),
            reserved: AtomicBool::new(false),
            touched: AtomicBool::new(false),
            counters: Counters::default(),
        })
    }

    /// Notes what the image is now: what follows goes by that.
    pub(super) fn note_seen(&self) -> Result<()> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.stamp()?);
        Ok(())
    }

    /// Fails with `InUse` where somebody has replaced the image, or written to it, since that was noted.
    ///
    /// The locks keep out whoever asks for them; this sees what others have done. What they do while the commit is written,
    /// or so soon after the last look that the file's time is the same, nobody sees.
    pub(super) fn check_seen(&self) -> Result<()> {
        let untouched = |error: Error| self.wrap("nothing was written by this run", error);
        self.host.still_named().map_err(untouched)?;
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let size = self.host.size().map_err(|e| self.failed("read the size", e))?;
        if size != self.size || seen.is_some_and(|seen| self.stamp().is_ok_and(|now| now != seen)) {
            let error =
                self.error(ErrorKind::InUse, "somebody has written to the image during this run, without a lock");
            return Err(untouched(error.with_hint("find out who does that, and run this again when nobody does")));
        }
        Ok(())
    }

    /// The image's file, where it is one.
    pub(super) fn file(&self) -> Option<&File> {
        self.host.file()
    }

    pub(super) fn counts(&self) -> IoCounts {
        let Counters { reads, bytes_read, writes, bytes_written, fsyncs } = &self.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        IoCounts {
            reads: get(reads),
            bytes_read: get(bytes_read),
            writes: get(writes),
            bytes_written: get(bytes_written),
            fsyncs: get(fsyncs),
        }
    }

    /// An error about the image in this kind, with its path.
    pub(super) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, Layer::Transaction, message).with_host_path(self.host.path())
    }

    /// An error about the journal in this kind, with its path.
    pub(super) fn journal_error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, Layer::Transaction, message).with_host_path(self.host.journal().path())
    }

    /// What an error means for the image, over the error itself, whose kind and hint it keeps.
    pub(super) fn wrap(&self, message: impl Into<String>, cause: Error) -> Error {
        let error = self.error(cause.kind(), message);
        match cause.hint().map(str::to_owned) {
            Some(hint) => error.with_hint(hint).with_source(cause),
            None => error.with_source(cause),
        }
    }

    /// What an error means for an image that is neither safely the old one nor safely the new one, over the error.
    pub(super) fn unfinished(&self, message: impl Into<String>, cause: Error) -> Error {
        self.error(ErrorKind::Unfinished, message).with_source(cause)
    }

    pub(super) fn journal_name(&self) -> String {
        self.host.journal().path().display().to_string()
    }

    /// The command that brings an interrupted commit to its end.
    pub(super) fn recover_command(&self) -> String {
        let image = shell::word(self.host.path());
        match self.host.journal().place() {
            Place::Beside | Place::Usual => format!("imgraft recover {image}"),
            Place::Chosen(directory) => format!("imgraft recover --state-dir {} {image}", shell::word(directory)),
        }
    }

    pub(super) fn growth(&self) -> Growth {
        self.host.growth()
    }

    pub(super) fn stamp(&self) -> Result<Stamp> {
        self.host.stamp().map_err(|e| self.failed("read the times of the image", e))
    }

    pub(super) fn set_modified(&self, time: Time) -> Result<()> {
        self.host.set_modified(time).map_err(|e| self.failed("set the time of the image", e))
    }

    /// Gives the image, which holds what it held when it was last noted, the time that its last write had then: whoever goes by
    /// that, an undo file above all, finds it unchanged. Best effort, and not where this run has not touched it.
    pub(super) fn give_time_back(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            return;
        }
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(time) = seen.and_then(|seen| seen.time)
            && let Err(error) = self.set_modified(time)
        {
            tracing::debug!(%error, "the time of the image's last write stays that of now");
        }
    }

    /// Writes into the image; past its end too.
    pub(super) fn write(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.touched.store(true, Ordering::Relaxed);
        self.counters.write(buf.len());
        self.host.write_at(buf, offset).map_err(|e| self.failed("write to the image", e).with_offset(offset))
    }

    /// Lets the host begin to make these bytes durable, so that the sync to come has less to wait for; a hint only.
    ///
    /// Source: posix_fadvise(2); of what is not needed Linux first begins to write what has changed (mm/fadvise.c).
    pub(super) fn begin_sync(&self, range: &Range<u64>) {
        let Some(file) = self.host.file() else { return };
        let len = NonZero::new(range.end.saturating_sub(range.start));
        if let Err(error) = fadvise(file, range.start, len, Advice::DontNeed) {
            tracing::debug!(%error, "the host was not told what to write");
        }
    }

    /// Makes sure that a write to this range finds room; on a filesystem that cannot tell, it does nothing.
    pub(super) fn reserve(&self, range: &Range<u64>) -> Result<()> {
        self.touched.store(true, Ordering::Relaxed);
        match self.host.reserve(range.start, range.end - range.start) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            result => result.map_err(|e| self.failed("reserve room for the image", e).with_offset(range.start)),
        }
    }

    /// Gives the room of these bytes, which nothing uses any more, back to the host; whether it can is the host's affair.
    pub(super) fn punch(&self, range: &Range<u64>) {
        if let Err(error) = self.host.punch(range.start, range.end - range.start) {
            tracing::debug!(%error, start = range.start, end = range.end, "freed clusters keep their room on the host");
        }
    }

    pub(super) fn set_size(&self, size: u64) -> Result<()> {
        self.touched.store(true, Ordering::Relaxed);
        self.host.set_size(size).map_err(|e| self.failed("set the size of the image", e))
    }

    pub(super) fn sync(&self) -> Result<()> {
        self.counters.fsync();
        self.host.sync().map_err(|e| self.failed("make the image durable", e))
    }

    pub(super) fn open_journal(&self) -> Result<Option<u64>> {
        self.host.journal().open()
    }

    pub(super) fn read_journal(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.counters.read(buf.len());
        let read = self.host.journal().read_at(buf, offset);
        read.map_err(|e| self.journal_failed("read the journal", e).with_offset(offset))
    }

    /// Makes the journal's file, unless this run has made it already.
    pub(super) fn reserve_journal(&self) -> Result<()> {
        if !self.reserved.load(Ordering::Relaxed) {
            self.create_journal()?;
            self.reserved.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Removes the journal's file, where this run has made it.
    pub(super) fn unreserve_journal(&self) -> Result<()> {
        if self.reserved.load(Ordering::Relaxed) { self.remove_journal() } else { Ok(()) }
    }

    fn create_journal(&self) -> Result<()> {
        self.host.journal().create().map_err(|e| {
            if e.kind() == io::ErrorKind::TooManyLinks {
                let message = "the image has another name (a hard link), by which its journal would not be found if this run \
                               were interrupted";
                return self.error(ErrorKind::Unsupported, message).with_hint(
                    "work on a copy (`cp` makes a file of its own); or give the journal a place that counts for every name: \
                     --state-dir DIR, for the next run too",
                );
            }
            let hint = match (self.host.journal().place(), e.kind()) {
                (Place::Beside, io::ErrorKind::InvalidFilename) => {
                    "the image's name leaves no room for the journal's: give the image a shorter one, or the journal \
                     another place by --state-dir DIR"
                }
                (Place::Beside, _) => {
                    "the directory of the image must be writable, for the journal that makes the commit safe; \
                     --state-dir DIR gives it another place"
                }
                (Place::Usual | Place::Chosen(_), _) => PRIVATE,
            };
            let error = self.journal_failed("create the journal", e);
            if error.hint().is_some() { error } else { error.with_hint(hint) }
        })
    }

    pub(super) fn append_journal(&self, buf: &[u8]) -> Result<()> {
        self.counters.write(buf.len());
        self.host.journal().append(buf).map_err(|e| self.journal_failed("write the journal", e))
    }

    /// Writes the journal's header, over nothing.
    pub(super) fn seal_journal(&self, buf: &[u8]) -> Result<()> {
        self.counters.write(buf.len());
        self.host.journal().seal(buf).map_err(|e| self.journal_failed("write the journal", e))
    }

    pub(super) fn sync_journal(&self) -> Result<()> {
        self.counters.fsync();
        self.host.journal().sync().map_err(|e| self.journal_failed("make the journal durable", e))
    }

    pub(super) fn remove_journal(&self) -> Result<()> {
        self.host.journal().remove().map_err(|e| self.journal_failed("remove the journal", e))?;
        self.reserved.store(false, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn clear_journal(&self) -> Result<()> {
        self.counters.fsync();
        self.host.journal().clear().map_err(|e| self.journal_failed("empty the journal", e))
    }

    pub(super) fn sync_dir(&self) -> Result<()> {
        self.counters.fsync();
        self.host.journal().sync_dir().map_err(|e| {
            let denied = e.kind() == io::ErrorKind::PermissionDenied;
            let error = self.journal_failed("make the journal's directory durable", e);
            let hint = "this user must be able to read the directory too, to make it durable; --state-dir DIR gives the \
                        journal another place";
            if denied { error.with_hint(hint) } else { error }
        })
    }

    fn failed(&self, operation: &str, source: io::Error) -> Error {
        explain(operation, source).with_host_path(self.host.path())
    }

    fn journal_failed(&self, operation: &str, source: io::Error) -> Error {
        explain(operation, source).with_host_path(self.host.journal().path())
    }
}

/// A failed call, with the way out where there is one.
pub(super) fn explain(operation: &str, source: io::Error) -> Error {
    let (why, hint) = match source.kind() {
        io::ErrorKind::StorageFull => {
            (": the host has no space left", Some("make room on the filesystem that this file is on"))
        }
        io::ErrorKind::QuotaExceeded => (": the disk quota is used up", Some("make room within the quota")),
        io::ErrorKind::FileTooLarge => (": the file would become too large", Some("raise the limit on file sizes")),
        _ => ("", None),
    };
    let error = Error::io(Layer::Host, format_args!("{operation}{why}"), source);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

impl BlockDevice for Base {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(Layer::Host, self.size, offset, buf.len())?;
        self.counters.read(buf.len());
        self.host.read_at(buf, offset).map_err(|e| self.failed("read the image", e).with_offset(offset))
    }

    /// Only a commit writes, and not through this trait.
    fn write_at(&self, _buf: &[u8], offset: u64) -> Result<()> {
        Err(self.error(ErrorKind::Invalid, "a write went past the transaction").with_offset(offset))
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
