//! The machine ID: machine-id(5).

use super::{InjectError, Injector, Item, Outcome, READ_LIMIT, ROOT_FILE, firstboot, label};
use crate::guest::{Guest, Init};
use imgraft_vfs::fs::{Attrs, Content, FileType};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

const MACHINE_ID: &str = "/etc/machine-id";
/// D-Bus's, where systemd looks before it makes one up.
const DBUS: &str = "/var/lib/dbus/machine-id";
const FIRST_BOOT: &[u8] = b"uninitialized\n";
const BY_PRESETS: &str = "the guest's presets have the word on its units at the next boot: what an earlier run has enabled or disabled \
                          stays so only where this one, or another after it, says it again";

/// What a guest's machine ID is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineId {
    /// None: the guest makes one at its next boot, which is no first boot to its systemd.
    Empty,
    /// None, and systemd takes the next boot for the first one, with its presets and all that waits for that.
    FirstBoot,
    /// This one.
    Given(String),
}

impl MachineId {
    /// `empty`, `uninitialized`, or 32 hexadecimal digits that are not all zero.
    pub fn parse(typed: &str) -> Option<Self> {
        match typed {
            "empty" => Some(Self::Empty),
            "uninitialized" => Some(Self::FirstBoot),
            id if id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                let is_zero = id.bytes().all(|byte| byte == b'0');
                (!is_zero).then(|| Self::Given(id.to_ascii_lowercase()))
            }
            _ => None,
        }
    }
}

impl Injector for MachineId {
    fn item(&self) -> Item {
        Item::MachineId
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        let before = stage.savepoint();
        let mut outcome = Outcome::default();
        match self {
            Self::Empty => forget(Kept::Nothing, guest, stage)?,
            Self::FirstBoot if guest.init == Init::Other => {
                return Err(InjectError::OnlySystemd {
                    what: "--machine-id uninitialized",
                    way: "leave it out; --machine-id empty takes away the ID that dbus may have",
                });
            }
            Self::FirstBoot => {
                if !is_first_boot(stage)? {
                    outcome.notes.push(BY_PRESETS.to_owned());
                }
                put(FIRST_BOOT, stage)?;
                lead_dbus(stage)?;
                firstboot::outlast_first_boot(stage)?;
            }
            Self::Given(id) => {
                put(format!("{id}\n").as_bytes(), stage)?;
                let note = format!("every clone of the image has the machine ID {id}");
                outcome.notes.push(note);
                lead_dbus(stage)?;
            }
        }
        label::label_new(guest, stage, &before, &mut outcome)?;
        Ok(outcome)
    }
}

/// What is left of a machine ID that is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nothing.
    Nothing,
    /// `uninitialized`, which is somebody's wish for a first boot, and no file at all, which is the same.
    FirstBoot,
}

/// Takes the machine ID away as whatever starts the guest wants it.
///
/// systemd fills an empty file at boot and does not take that boot for the first one, so that its presets leave alone what
/// is enabled. D-Bus's own file would be taken for the ID: it becomes a link, as systemd's tmpfiles.d has it. Other
/// guests make an ID where there is no file, and fail where it is empty (dbus-uuidgen(1)): there both go.
pub(super) fn forget(kept: Kept, guest: &Guest, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    if guest.init == Init::Other {
        for path in [MACHINE_ID, DBUS] {
            let path = GuestPath::parse(path)?;
            if is_regular(&path, stage)? {
                stage.remove(&path)?;
            }
        }
        return Ok(());
    }
    if !(kept == Kept::FirstBoot && is_first_boot(stage)?) {
        put(b"", stage)?;
    }
    lead_dbus(stage)
}

/// Whether systemd takes the next boot for the guest's first one: machine-id(5).
pub(super) fn is_first_boot(stage: &Stage<'_>) -> Result<bool, InjectError> {
    let text = stage.read(&GuestPath::parse(MACHINE_ID)?, READ_LIMIT)?;
    Ok(text.is_none_or(|text| text.trim_ascii() == FIRST_BOOT.trim_ascii()))
}

fn put(content: &[u8], stage: &mut Stage<'_>) -> Result<(), InjectError> {
    let attrs = Attrs { mode: 0o444, ..ROOT_FILE };
    Ok(stage.write(&GuestPath::parse(MACHINE_ID)?, Content::bytes(content.to_vec()), attrs)?)
}

/// Makes a file of D-Bus's own a link to the machine ID, unless that is a link to it.
fn lead_dbus(stage: &mut Stage<'_>) -> Result<(), InjectError> {
    let (id, dbus) = (GuestPath::parse(MACHINE_ID)?, GuestPath::parse(DBUS)?);
    if is_regular(&dbus, stage)? && stage.resolve(&id)? != stage.resolve(&dbus)? {
        stage.remove(&dbus)?;
        stage.symlink(&dbus, MACHINE_ID.as_bytes(), ROOT_FILE)?;
    }
    Ok(())
}

fn is_regular(path: &GuestPath, stage: &Stage<'_>) -> Result<bool, InjectError> {
    Ok(stage.symlink_metadata(path)?.is_some_and(|metadata| metadata.file_type == FileType::Regular))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::testing::{assert_unchanged, describe, exists, inject, notes, phony, refusal, text};
    use imgraft_vfs::fs::mem::Builder;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn systemd() -> Builder {
        phony().symlink("/sbin/init", "/lib/systemd/systemd").file("/lib/systemd/systemd", "")
    }

    #[test]
    fn what_is_typed() {
        assert_eq!(MachineId::parse("empty"), Some(MachineId::Empty));
        assert_eq!(MachineId::parse("uninitialized"), Some(MachineId::FirstBoot));
        assert_eq!(MachineId::parse(&ID.to_uppercase()), Some(MachineId::Given(ID.to_owned())));
        for bad in ["", "0", &"0".repeat(32), &"g".repeat(32), "01234567-89ab-cdef-0123-456789abcdef"] {
            assert_eq!(MachineId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn each_as_it_is_asked_for() {
        for (typed, expected) in
            [("empty", ""), ("uninitialized", "uninitialized\n"), (ID, "0123456789abcdef0123456789abcdef\n")]
        {
            let id = MachineId::parse(typed).unwrap();
            for guest in [
                systemd(),
                systemd().file("/etc/machine-id", "x\n").mode(0o444).file("/var/lib/dbus/machine-id", "x\n"),
            ] {
                let fs = inject(&id, guest.build().unwrap());
                assert_eq!(text(&fs, "/etc/machine-id"), expected);
                assert_eq!(describe(&fs, "/etc/machine-id"), "0444 0:0");
                // By the link.
                assert_eq!(exists(&fs, "/var/lib/dbus"), exists(&fs, "/var/lib/dbus/machine-id"));
                if exists(&fs, "/var/lib/dbus") {
                    assert_eq!(text(&fs, "/var/lib/dbus/machine-id"), expected);
                }
                assert_unchanged(&id, &fs);
            }
        }
        let told = |guest: Builder| notes(&MachineId::FirstBoot, &guest.build().unwrap());
        assert!(told(systemd().file("/etc/machine-id", ID)).contains("presets have the word on its units"));
        assert_eq!(told(systemd()), "");
        let other = || phony().file("/sbin/init", "").file("/etc/machine-id", "x\n");
        assert!(!exists(&inject(&MachineId::Empty, other().build().unwrap()), "/etc/machine-id"));
        assert!(refusal(&MachineId::FirstBoot, other().build().unwrap()).contains("for systemd"));
        assert_eq!(text(&inject(&MachineId::Given(ID.into()), other().build().unwrap()), "/etc/machine-id").len(), 33);
    }

    /// Scripts that wait for the next boot are not lost where that becomes a first one.
    #[test]
    fn scripts_of_an_earlier_run_outlast_the_presets() {
        let wanted = "/etc/systemd/system/multi-user.target.wants/imgraft-firstboot.service";
        let preset = "/etc/systemd/system-preset/00-imgraft.preset";
        let guest = || systemd().file("/etc/machine-id", ID).symlink(wanted, "../imgraft-firstboot.service");
        let fs = inject(&MachineId::FirstBoot, guest().build().unwrap());
        assert_eq!(text(&fs, preset), "enable imgraft-firstboot.service\n");
        assert_unchanged(&MachineId::FirstBoot, &fs);
        for id in [MachineId::Empty, MachineId::Given(ID.into())] {
            assert!(!exists(&inject(&id, guest().build().unwrap()), preset));
        }
        assert!(!exists(&inject(&MachineId::FirstBoot, systemd().build().unwrap()), preset));
    }
}
