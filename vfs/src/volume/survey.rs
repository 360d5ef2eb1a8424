//! Everything that a disk holds: the volumes of its table, and those that are stacked on them.

use super::luks::{self, MAX_HEADERS, Tried, Unlocked, Work};
use super::lvm::{self, Assembled, Member};
use super::{Base, Keys, Selector, Signature, Table, Volume, VolumeInfo, probe};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use std::sync::Arc;

/// How many volumes of all kinds are looked at.
const MAX_VOLUMES: usize = 8192;
/// How many LUKS volumes may lie in each other.
const MAX_DEPTH: usize = 4;
/// How many physical volumes are looked at.
const MAX_MEMBERS: usize = 128;

/// The volumes of a disk.
#[derive(Debug)]
pub struct Survey {
    disk: Arc<dyn BlockDevice>,
    table: Table,
    volumes: Vec<VolumeInfo>,
    /// How many of the volumes were looked into.
    looked: usize,
    members: Vec<Member>,
    /// How many physical volumes were looked at, sound or not.
    tried: usize,
    /// How much LVM2 metadata may still be read, in bytes.
    room: u64,
    notes: Vec<String>,
    /// The LUKS volumes whose headers are sound.
    locks: Vec<Lock>,
    /// How much of LUKS headers may still be read, in bytes.
    headers: u64,
    /// How much work passphrases may still be.
    work: Work,
}

/// A LUKS volume.
#[derive(Debug)]
struct Lock {
    volume: VolumeInfo,
    header: luks::Header,
    state: State,
}

#[derive(Debug)]
enum State {
    /// No passphrase was tried.
    Locked,
    /// What is in it is a volume of its own.
    Open(Box<VolumeInfo>),
    /// No passphrase at hand fits, or none may be tried.
    Refused(Arc<Error>),
    /// None that was tried fits, and not all were: they had been more work than they may be.
    Untried,
}

impl Survey {
    /// The volumes of a disk with this table, and the logical ones in them; nothing is unlocked.
    ///
    /// What is wrong with a container is kept with it, and no error here: the disk may have other volumes.
    pub fn new(disk: &Arc<dyn BlockDevice>, table: Table) -> Result<Self> {
        let volumes = table.volumes.clone();
        let mut survey = Self {
            disk: Arc::clone(disk),
            table,
            volumes,
            looked: 0,
            members: Vec::new(),
            tried: 0,
            room: lvm::MAX_METADATA,
            notes: Vec::new(),
            locks: Vec::new(),
            headers: MAX_HEADERS,
            work: Work::new(),
        };
        survey.settle()?;
        Ok(survey)
    }

    /// All volumes: those of the table first, each of the others after what it lies in.
    pub fn volumes(&self) -> &[VolumeInfo] {
        &self.volumes
    }

    /// The table of the disk.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What is odd and was tolerated, a clause each.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        let locks = self.locks.iter();
        let headers = locks.flat_map(|lock| lock.header.notes().iter().map(|note| format!("{}: {note}", lock.volume)));
        self.table.notes.iter().chain(&self.notes).cloned().chain(headers)
    }

    /// Opens one of the volumes; the reason where it cannot be used.
    pub fn open(&self, info: &VolumeInfo) -> Result<Volume> {
        Ok(Volume { device: info.device(&self.disk)?, info: info.clone() })
    }

    /// Unlocks every LUKS volume that there is a passphrase for, and looks into them.
    ///
    /// A passphrase that does not fit is kept with the volume, and no error here.
    pub fn unlock(&mut self, keys: &Keys) -> Result<()> {
        let mut number = 0_usize;
        // The list grows by what is found in them.
        while number < self.locks.len() {
            self.unlock_one(number, keys)?;
            self.settle()?;
            number = number.saturating_add(1);
        }
        Ok(())
    }

    /// The volume itself, or what is in it where it is a LUKS volume: unlocked now, if it was not before.
    ///
    /// `Denied` where there is no passphrase for it, or none fits.
    pub fn through(&mut self, info: &VolumeInfo, keys: &Keys) -> Result<VolumeInfo> {
        let mut info = info.clone();
        while info.signature.as_ref().is_some_and(|signature| signature.name == "crypto_LUKS") {
            let Some(number) = self.locks.iter().position(|lock| lock.volume.is_same(&info)) else {
                let known = self.volumes.iter().find(|volume| volume.is_same(&info));
                return match known.and_then(|volume| volume.problem.as_ref()) {
                    Some(problem) => Err(problem.repeated()),
                    None => Ok(info),
                };
            };
            self.unlock_one(number, keys)?;
            self.settle()?;
            match self.locks.get(number).map(|lock| &lock.state) {
                Some(State::Open(payload)) => info = (**payload).clone(),
                Some(State::Refused(error)) => return Err(error.repeated()),
                Some(State::Untried) => return Err(self.untried(&info)),
                _ => return Err(no_key(&info)),
            }
        }
        Ok(info)
    }

    /// What is in a LUKS volume that has been unlocked; any other volume itself.
    pub fn inside<'a>(&'a self, info: &'a VolumeInfo) -> &'a VolumeInfo {
        let mut info = info;
        while let Some(lock) = self.locks.iter().find(|lock| lock.volume.is_same(info)) {
            match &lock.state {
                State::Open(payload) => info = payload,
                State::Locked | State::Refused(_) | State::Untried => break,
            }
        }
        info
    }

    /// The volume that holds the memory of a suspended guest, where one is known to.
    pub fn suspended(&self) -> Option<&VolumeInfo> {
        let is_one = |info: &&VolumeInfo| info.signature.as_ref().is_some_and(|found| found.name == probe::SUSPENDED);
        self.volumes.iter().map(|info| self.inside(info)).find(is_one)
    }

    /// Why what is in a LUKS volume is not known; `None` where it is, or where it is no LUKS volume.
    pub fn locked(&self, info: &VolumeInfo) -> Option<Error> {
        let lock = self.locks.iter().find(|lock| lock.volume.is_same(info))?;
        match &lock.state {
            State::Locked => Some(no_key(info)),
            State::Refused(error) => Some(error.repeated()),
            State::Untried => Some(self.untried(info)),
            State::Open(_) => None,
        }
    }

    /// Whether what a selector names may be in a LUKS volume that is not open, and so be unknown.
    pub fn may_hide(&self, selector: &Selector) -> bool {
        let is_on_disk = matches!(selector, Selector::Auto | Selector::Whole | Selector::Index(_));
        !is_on_disk && self.locks.iter().any(|lock| !matches!(lock.state, State::Open(_)))
    }

    /// The volumes that passphrases are given for and that are no encrypted ones, as far as that can be told.
    pub fn keyless<'k>(&self, keys: &'k Keys) -> Vec<&'k Selector> {
        let encrypted: Vec<&VolumeInfo> = self.encrypted().collect();
        let mut named = keys.naming_none_of(&encrypted);
        named.retain(|selector| !self.may_hide(selector));
        named
    }

    /// The encrypted volumes.
    pub fn encrypted(&self) -> impl Iterator<Item = &VolumeInfo> {
        let is_it =
            |info: &&VolumeInfo| info.signature.as_ref().is_some_and(|signature| signature.name == "crypto_LUKS");
        self.volumes.iter().filter(is_it)
    }

    /// Why no passphrase at hand opens a LUKS volume; `None` where none was tried, or one did.
    pub fn wrong_key(&self, info: &VolumeInfo) -> Option<Error> {
        match &self.locks.iter().find(|lock| lock.volume.is_same(info))?.state {
            State::Refused(error) => Some(error.repeated()),
            State::Untried => Some(self.untried(info)),
            State::Locked | State::Open(_) => None,
        }
    }

    /// The error of a volume that passphrases at hand were not tried on.
    fn untried(&self, info: &VolumeInfo) -> Error {
        let untried = self.locks.iter().filter(|lock| matches!(lock.state, State::Untried)).count();
        let others = match untried.saturating_sub(1) {
            0 => String::new(),
            1 => " and on another volume".to_owned(),
            others => format!(" and on {others} other volumes"),
        };
        let message = format!(
            "{info} is encrypted (LUKS), and keys were not tried on all of its keyslots{others}: that is more work than \
             what was given may be"
        );
        let name = info.name();
        let hint = format!("a key that names one volume has a share of its own: --key {name}:file:PATH");
        Error::new(ErrorKind::Denied, Layer::Volume, message).with_hint(hint)
    }

    fn unlock_one(&mut self, number: usize, keys: &Keys) -> Result<()> {
        let Some(Lock { volume, header, state: State::Locked }) = self.locks.get(number) else { return Ok(()) };
        if !keys.has_one_for(volume) {
            return Ok(());
        }
        let device = volume.device(&self.disk)?;
        let mut refusal = None;
        let mut unpaid = None;
        let mut opened = None;
        for (whose, passphrase) in keys.of(volume) {
            match header.unlock(volume, &*device, passphrase, self.work.left(whose)) {
                Ok(Tried::Wrong) => {}
                Ok(Tried::Unpaid) => unpaid = Some(State::Untried),
                Ok(Tried::Open(unlocked)) => {
                    opened = Some(unlocked);
                    break;
                }
                // Of one keyslot; another one may be the next passphrase's.
                Err(error) if error.kind() != ErrorKind::Io => refusal = Some(error),
                Err(error) => return Err(error),
            }
        }
        let state = match opened {
            Some(unlocked) => State::Open(Box::new(self.payload(unlocked)?)),
            None => unpaid.unwrap_or_else(|| State::Refused(Arc::new(refusal.unwrap_or_else(|| wrong_key(volume))))),
        };
        if let State::Open(payload) = &state {
            self.volumes.push((**payload).clone());
        }
        if let Some(lock) = self.locks.get_mut(number) {
            lock.state = state;
        }
        Ok(())
    }

    fn payload(&self, unlocked: Arc<Unlocked>) -> Result<VolumeInfo> {
        let size = unlocked.size();
        let mut info = VolumeInfo::stacked(Base::Unlocked(unlocked), size, Vec::new());
        info.signature = self.probed(&info)?;
        Ok(info)
    }

    /// Looks into what was found until nothing more is found.
    fn settle(&mut self) -> Result<()> {
        loop {
            let before = self.members.len();
            while let Some(info) = self.volumes.get(self.looked).cloned() {
                let problem = match info.signature.as_ref().map(|signature| signature.name) {
                    Some("LVM2_member") => self.add_member(&info).err(),
                    Some("crypto_LUKS") => self.add_lock(&info).err(),
                    _ => None,
                };
                if let (Some(error), Some(volume)) = (problem, self.volumes.get_mut(self.looked)) {
                    volume.problem = Some(Arc::new(error));
                }
                self.looked = self.looked.saturating_add(1);
            }
            if self.members.len() == before {
                return Ok(());
            }
            self.assemble()?;
        }
    }

    fn add_member(&mut self, info: &VolumeInfo) -> Result<()> {
        if info.lies_on_lvm() {
            let message = "a physical volume on a logical one is not looked into, as LVM2 does not by default";
            return Err(Error::unsupported(Layer::Volume, message));
        }
        if self.tried >= MAX_MEMBERS {
            let message = format!("it is one of more than {MAX_MEMBERS} physical volumes");
            return Err(Error::unsupported(Layer::Volume, message));
        }
        self.tried = self.tried.saturating_add(1);
        let device = info.device(&self.disk)?;
        self.members.push(Member::read(info, &*device, &mut self.room)?);
        Ok(())
    }

    fn add_lock(&mut self, info: &VolumeInfo) -> Result<()> {
        if info.depth() > MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} LUKS volumes lie in each other");
            return Err(Error::unsupported(Layer::Volume, message));
        }
        let read = luks::Header::read(&*info.device(&self.disk)?, &mut self.headers);
        let header = read.map_err(|error| {
            let message = format!("the LUKS volume {info} cannot be used: {}", error.message());
            let told = Error::new(error.kind(), Layer::Volume, message);
            match error.hint() {
                Some(hint) => told.with_hint(hint),
                None => told,
            }
        })?;
        if let Some(volume) = self.volumes.get_mut(self.looked) {
            volume.facts.extend(header.facts());
        }
        self.locks.push(Lock { volume: info.clone(), header, state: State::Locked });
        Ok(())
    }

    /// Puts the volume groups together; a volume that could not be used with fewer physical volumes is replaced.
    ///
    /// `Corrupt` where one that could, and may be open, is another one now.
    fn assemble(&mut self) -> Result<()> {
        self.notes.clear();
        let groups = lvm::assemble(&self.members);
        for member in &self.members {
            let mut claimed = groups.iter().flat_map(|group| &group.members);
            let is_claimed = claimed.any(|number| self.members.get(*number).is_some_and(|other| other.is_twin(member)));
            if let Some(volume) = self.volumes.iter_mut().find(|volume| volume.is_same(member.volume())) {
                volume.problem = (!is_claimed).then(|| Arc::new(ungrouped(member.volume())));
            }
        }
        for group in groups {
            self.still_mapped(&group)?;
            self.notes.extend(group.notes);
            for member in group.members.iter().filter_map(|number| self.members.get(*number)) {
                if let Some(volume) = self.volumes.iter_mut().find(|volume| volume.is_same(member.volume())) {
                    volume.facts = vec![("volume-group", group.name.clone())];
                }
            }
            for mut found in group.volumes {
                if self.volumes.len() >= MAX_VOLUMES {
                    let message = format!("there are more than {MAX_VOLUMES} volumes");
                    return Err(Error::unsupported(Layer::Volume, message));
                }
                let is_it =
                    |volume: &VolumeInfo| volume.facts.starts_with(&found.facts) && volume.name() == found.name();
                match self.volumes.iter().position(is_it) {
                    None => {
                        found.signature = self.logical(&found)?;
                        self.volumes.push(found);
                    }
                    Some(place)
                        if matches!(self.volumes.get(place), Some(VolumeInfo { base: Base::Refused { .. }, .. })) =>
                    {
                        found.signature = self.logical(&found)?;
                        self.replace(place, found);
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Fails where a volume of this group that was usable is not, is gone, or lies elsewhere.
    pub(super) fn still_mapped(&self, group: &Assembled) -> Result<()> {
        let known = self.volumes.iter().filter_map(|volume| match &volume.base {
            Base::Logical(logical) if logical.group() == group.name => Some(logical),
            _ => None,
        });
        for logical in known {
            let stays = group.volumes.iter().any(|found| match &found.base {
                Base::Logical(found) => found.is_mapped_as(logical),
                _ => false,
            });
            if !stays {
                let message = format!(
                    "the metadata of the volume group {} in what was unlocked contradicts what was found before: the \
                     logical volume {} is another one",
                    group.name,
                    logical.name()
                );
                return Err(Error::corrupt(Layer::Volume, message));
            }
        }
        Ok(())
    }

    /// Puts a logical volume that is usable now behind all others, where it is looked into; one that was usable stays.
    fn replace(&mut self, place: usize, found: VolumeInfo) {
        let was_refused = self.volumes.get(place).is_some_and(|known| matches!(known.base, Base::Refused { .. }));
        if was_refused {
            self.volumes.remove(place);
            if place < self.looked {
                self.looked = self.looked.saturating_sub(1);
            }
            self.volumes.push(found);
        }
    }

    fn logical(&self, info: &VolumeInfo) -> Result<Option<Signature>> {
        if let Base::Logical(_) = info.base { self.probed(info) } else { Ok(None) }
    }

    fn probed(&self, info: &VolumeInfo) -> Result<Option<Signature>> {
        probe(&*info.device(&self.disk)?)
    }
}

fn ungrouped(info: &VolumeInfo) -> Error {
    let message =
        format!("{info} is an LVM2 physical volume, and no metadata of a volume group that has it is in the image");
    Error::unsupported(Layer::Volume, message).with_hint(
        "the volume group may be on several disks; or the physical volume is not in use, or has metadataignore set",
    )
}

fn no_key(info: &VolumeInfo) -> Error {
    let message = format!("{info} is encrypted (LUKS), and there is no key for it");
    let name = info.name();
    let hint = format!("--key {name}:file:PATH has its passphrase, --key {name}:key:TEXT is it");
    Error::new(ErrorKind::Denied, Layer::Volume, message).with_hint(hint)
}

fn wrong_key(info: &VolumeInfo) -> Error {
    let name = info.name();
    Error::new(ErrorKind::Denied, Layer::Volume, format!("no key that was given opens {info} (LUKS)"))
        .with_hint(format!("check the passphrase of --key {name}:…; of a file the first line is taken"))
}
