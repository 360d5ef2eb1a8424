//! Making, removing and renaming.

use super::directory::Directory;
use super::entry::{ARCHIVE, DIRECTORY, DOT, DOTS, Entry};
use super::layout::ENTRY;
use super::name::refusal;
use super::volume::{ROOT, Seat, Spot, Volume};
use super::{corrupt, failure};
use crate::block::BlockDevice;
use crate::error::{ErrorKind, Result};
use crate::fs::Timestamp;
use crate::path::Resolved;

/// A name in a directory that is there.
#[derive(Debug)]
pub(super) struct Name<'p> {
    /// The directory's path and number.
    above: Resolved,
    directory: u32,
    name: &'p str,
}

impl Volume {
    /// The directory that is to hold a path, and the name there, which FAT can keep.
    fn name<'p>(&self, at: &'p Resolved) -> Result<Name<'p>> {
        self.writable()?;
        let (Some(above), Some(name)) = (at.parent(), at.file_name()) else {
            return Err(failure(ErrorKind::Invalid, "the root of the filesystem cannot be replaced"));
        };
        let spot = self.walk(&above)?;
        let spot = spot.ok_or_else(|| failure(ErrorKind::NotFound, "the directory to hold it is missing"))?;
        let directory = self.id(&spot)?;
        match (std::str::from_utf8(name), refusal(name)) {
            (Ok(name), None) => Ok(Name { above, directory, name }),
            (_, refusal) => {
                Err(super::unsupported(refusal.unwrap_or("FAT keeps names in UTF-16, and this one is not UTF-8")))
            }
        }
    }

    /// The same for a name that is to be free.
    pub(super) fn free_name<'p>(&self, at: &'p Resolved) -> Result<Name<'p>> {
        self.writable()?;
        if at.file_name().is_none() {
            return Err(failure(ErrorKind::Invalid, "it exists already"));
        }
        match self.walk(at)? {
            None => self.name(at),
            Some(Spot::File(seat)) if Some(seat.file.name.as_bytes()) != at.file_name() => {
                let message = format!("FAT does not tell it from {:?}, which exists already", seat.file.name);
                Err(failure(ErrorKind::Unsupported, &message))
            }
            Some(_) => Err(failure(ErrorKind::Invalid, "it exists already")),
        }
    }

    /// Makes an empty file.
    pub(super) fn create_file(&mut self, at: &Resolved) -> Result<()> {
        let name = self.free_name(at)?;
        let entry = Entry::new(&[b' '; 11], ARCHIVE, 0, 0, self.writable()?);
        self.insert(&name, entry)
    }

    /// Makes a directory.
    pub(super) fn create_dir(&mut self, at: &Resolved) -> Result<()> {
        let name = self.free_name(at)?;
        let now = self.writable()?;
        let above = name.directory;
        let mut fill = |device: &dyn BlockDevice, at: u64, len: u64| {
            super::directory::zeros(device, at, len)?;
            // Where it lies is not known before.
            device.write_at(&Entry::new(DOTS, DIRECTORY, above, 0, now).0, at.saturating_add(ENTRY))
        };
        let (cluster, _) = self.grow(None, 1, &mut fill)?;
        let dot = Entry::new(DOT, DIRECTORY, cluster, 0, now);
        self.device.write_at(&dot.0, self.layout.cluster_at(cluster))?;
        self.held.get_mut().remove(cluster);
        self.insert(&name, Entry::new(&[b' '; 11], DIRECTORY, cluster, 0, now))
    }

    /// Gives an entry this name.
    fn insert(&mut self, name: &Name<'_>, entry: Entry) -> Result<()> {
        let mut directory = self.take(name.directory)?;
        self.add_entry(&mut directory, name.name, entry)?;
        self.held.get_mut().put(name.directory, directory);
        let now = self.writable()?;
        self.touch(&name.above, now)
    }

    /// Takes an entry away; what it leads to stays.
    fn take_away(&mut self, seat: &Seat) -> Result<()> {
        let mut directory = self.take(seat.directory)?;
        self.remove_entry(&mut directory, seat.file.slot)?;
        self.held.get_mut().put(seat.directory, directory);
        Ok(())
    }

    /// Removes a file or an empty directory.
    pub(super) fn remove(&mut self, at: &Resolved) -> Result<()> {
        let now = self.writable()?;
        let spot = self.walk(at)?.ok_or_else(|| failure(ErrorKind::NotFound, "no such file or directory"))?;
        let Spot::File(seat) = &spot else {
            return Err(failure(ErrorKind::Invalid, "the root of the filesystem cannot be removed"));
        };
        self.check_empty(&spot)?;
        self.take_away(seat)?;
        self.free_content(seat)?;
        self.touch(&at.parent().unwrap_or_else(Resolved::root), now)
    }

    /// `Invalid` where it is a directory with something in it.
    fn check_empty(&self, spot: &Spot) -> Result<()> {
        let is_directory =
            matches!(spot, Spot::Root) || matches!(spot, Spot::File(seat) if seat.file.entry.is_directory());
        if is_directory {
            // Of one that is damaged it is not known what is in it.
            let seen = |directory: &Directory| directory.check().map(|()| directory.files().next().is_some());
            if self.directory(self.id(spot)?, seen)?? {
                return Err(failure(ErrorKind::Invalid, "the directory is not empty"));
            }
        }
        Ok(())
    }

    fn free_content(&mut self, seat: &Seat) -> Result<()> {
        let cluster = seat.file.entry.cluster(self.layout.kind);
        self.held.get_mut().remove(cluster);
        self.free(cluster)
    }

    /// Renames as rename(2) does; a name that differs from the old one in case only replaces that.
    pub(super) fn rename(&mut self, from: &Resolved, to: &Resolved) -> Result<()> {
        let now = self.writable()?;
        let spot = self.walk(from)?.ok_or_else(|| failure(ErrorKind::NotFound, "there is nothing to rename"))?;
        let Spot::File(seat) = &spot else {
            return Err(failure(ErrorKind::Invalid, "the root of the filesystem cannot be renamed"));
        };
        let moves_directory = seat.file.entry.is_directory();
        let name = self.name(to)?;
        if moves_directory && self.lies_below(&name.above, self.id(&spot)?)? {
            return Err(failure(ErrorKind::Invalid, "a directory cannot be moved below itself"));
        }
        match self.walk(to)? {
            Some(Spot::File(other)) if (other.directory, other.file.slot) == (seat.directory, seat.file.slot) => {
                if other.file.name == name.name {
                    return Ok(());
                }
                self.take_away(seat)?;
            }
            Some(other) => {
                let Spot::File(replaced) = &other else {
                    return Err(failure(ErrorKind::Invalid, "the root of the filesystem cannot be replaced"));
                };
                match (replaced.file.entry.is_directory(), moves_directory) {
                    (true, true) => self.check_empty(&other)?,
                    (true, false) => return Err(failure(ErrorKind::WrongType, "a directory is in the way")),
                    (false, true) => {
                        return Err(failure(ErrorKind::WrongType, "something other than a directory is in the way"));
                    }
                    (false, false) => {}
                }
                self.take_away(seat)?;
                self.take_away(replaced)?;
                self.free_content(replaced)?;
            }
            None => self.take_away(seat)?,
        }
        if moves_directory && seat.directory != name.directory {
            self.set_above(self.id(&spot)?, name.directory, now)?;
        }
        self.insert(&name, seat.file.entry)?;
        self.touch(&from.parent().unwrap_or_else(Resolved::root), now)
    }

    /// Whether a path is that of a directory, or leads through it.
    fn lies_below(&self, path: &Resolved, directory: u32) -> Result<bool> {
        let mut next = Some(path.clone());
        while let Some(here) = next {
            if let Some(spot) = self.walk(&here)?
                && self.id(&spot)? == directory
                && directory != ROOT
            {
                return Ok(true);
            }
            next = here.parent();
        }
        Ok(false)
    }

    /// Gives a directory another one above it.
    fn set_above(&mut self, directory: u32, above: u32, now: Timestamp) -> Result<()> {
        let at = self.layout.cluster_at(directory).saturating_add(ENTRY);
        let mut bytes = [0; 32];
        self.device.read_at(&mut bytes, at)?;
        let mut dots = Entry(bytes);
        if &dots.short() != DOTS {
            return Err(corrupt("a directory does not say which one it is in"));
        }
        dots.set_place(self.layout.kind, above, 0);
        dots.set_changed(now);
        self.device.write_at(&dots.0, at)
    }
}
