//! How a guest's init comes to start a program once.

use super::startpar;
use crate::guest::{Guest, Init};
use crate::inject::files::below::there;
use crate::inject::presets::{self, Preset};
use crate::inject::{InjectError, ROOT_FILE, UnitError, UnitName};
use imgraft_vfs::fs::{Attrs, Content, FileType};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// What the script of an init is called that has scripts.
const NAME: &str = "imgraft-firstboot";
const UNIT_NAME: &str = "imgraft-firstboot.service";
const UNIT: &str = "/etc/systemd/system/imgraft-firstboot.service";
const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";
const SCRIPT: &str = "/etc/init.d/imgraft-firstboot";
/// What makes a script of OpenRC's run.
const OPENRC: &str = "/sbin/openrc-run";
const RUNLEVEL: &str = "/etc/runlevels/default";
/// Where the directories of runlevels are: Debian's, and Red Hat's.
const RUNLEVELS: [&str; 2] = ["/etc", "/etc/rc.d"];
const EXECUTABLE: Attrs = Attrs { mode: 0o755, ..ROOT_FILE };

/// What is to start it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Starter {
    Systemd,
    OpenRc,
    /// The directory that has `init.d` and `rc2.d`.
    SysV(&'static str),
}

impl Starter {
    /// The guest's; an error where it has none of them.
    pub(super) fn of(guest: &Guest, stage: &Stage<'_>) -> Result<Self, InjectError> {
        let is_there = |path: &str| Ok::<_, InjectError>(stage.metadata(&GuestPath::parse(path)?)?.is_some());
        if guest.init == Init::Systemd {
            return Ok(Self::Systemd);
        }
        if is_there(OPENRC)? && is_there(RUNLEVEL)? {
            return Ok(Self::OpenRc);
        }
        for directory in RUNLEVELS {
            if is_there(&format!("{directory}/init.d"))? && is_there(&format!("{directory}/rc2.d"))? {
                return Ok(Self::SysV(directory));
            }
        }
        Err(InjectError::NoStarter)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::OpenRc => "OpenRC",
            Self::SysV(_) => "init",
        }
    }

    /// Puts the service in, enabled.
    pub(super) fn put(self, stage: &mut Stage<'_>) -> Result<(), InjectError> {
        match self {
            Self::Systemd => {
                check_unmasked(stage)?;
                stage.create_dirs(&GuestPath::parse(WANTS)?, super::ROOT_DIR)?;
                let unit = Content::bytes(include_bytes!("imgraft-firstboot.service").as_slice());
                super::put(&GuestPath::parse(UNIT)?, unit, ROOT_FILE, stage)?;
                link(stage, &format!("{WANTS}/{UNIT_NAME}"), UNIT)?;
                keep_enabled(stage)?;
            }
            Self::OpenRc => {
                let script = Content::bytes(include_bytes!("openrc.sh").as_slice());
                super::put(&GuestPath::parse(SCRIPT)?, script, EXECUTABLE, stage)?;
                link(stage, &format!("{RUNLEVEL}/imgraft-firstboot"), SCRIPT)?;
            }
            Self::SysV(directory) => {
                let script = Content::bytes(include_bytes!("sysv.sh").as_slice());
                let place = GuestPath::parse(format!("{directory}/init.d"))?;
                super::put(&place.join(NAME)?, script, EXECUTABLE, stage)?;
                startpar::add(&place, NAME, stage)?;
                for level in 2..=5 {
                    link(
                        stage,
                        &format!("{directory}/rc{level}.d/S99imgraft-firstboot"),
                        "../init.d/imgraft-firstboot",
                    )?;
                }
            }
        }
        Ok(())
    }
}

/// Has a first boot of systemd's, which is still to come, leave the service enabled that an earlier run has put in.
pub(in crate::inject) fn outlast_first_boot(stage: &mut Stage<'_>) -> Result<(), InjectError> {
    if there(stage.symlink_metadata(&GuestPath::parse(format!("{WANTS}/{UNIT_NAME}"))?))?.is_some() {
        keep_enabled(stage)?;
    }
    Ok(())
}

/// Fails where nothing is to start the service, as a link to /dev/null or an empty file in its place says.
fn check_unmasked(stage: &Stage<'_>) -> Result<(), InjectError> {
    let path = GuestPath::parse(UNIT)?;
    let is_null = stage.resolve(&path).is_ok_and(|at| at.as_bytes() == b"/dev/null");
    let is_file = there(stage.metadata(&path))? == Some(FileType::Regular);
    match is_null || (is_file && stage.metadata(&path)?.is_some_and(|metadata| metadata.size == 0)) {
        true => Err(UnitError::Masked { unit: UNIT_NAME.to_owned(), path }.into()),
        false => Ok(()),
    }
}

fn keep_enabled(stage: &mut Stage<'_>) -> Result<(), InjectError> {
    let name = UnitName::parse(UNIT_NAME).map(|name| (name, Preset::Enable));
    presets::keep(name.as_slice(), stage)
}

fn link(stage: &mut Stage<'_>, path: &str, target: &str) -> Result<(), InjectError> {
    Ok(stage.symlink(&GuestPath::parse(path)?, target.as_bytes(), ROOT_FILE)?)
}
