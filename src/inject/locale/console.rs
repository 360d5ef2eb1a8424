//! What gives the console of a guest its keymap at boot: setupcon(1), systemd-vconsole-setup(8), loadkeys(1).

use super::super::InjectError;
use super::{is_debians, is_there};
use crate::guest::{Guest, Init};
use imgraft_vfs::stage::Stage;

/// Where programs are.
const PROGRAMS: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
/// Where those are that systemd runs itself.
const OF_SYSTEMD: [&str; 2] = ["/usr/lib/systemd", "/lib/systemd"];

/// What is missing for a keymap to come to the console, with the package that has it; `None` where everything is there.
pub(super) fn missing(guest: &Guest, stage: &Stage<'_>) -> Result<Option<&'static str>, InjectError> {
    let program = |directories: &[&str], name: &str| -> Result<bool, InjectError> {
        for directory in directories {
            if is_there(&format!("{directory}/{name}"), stage)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    if is_debians(guest) && !program(&PROGRAMS, "setupcon")? {
        return Ok(Some("setupcon (its package is console-setup)"));
    }
    if !is_debians(guest) && guest.init == Init::Systemd && !program(&OF_SYSTEMD, "systemd-vconsole-setup")? {
        return Ok(Some("systemd-vconsole-setup"));
    }
    Ok((!program(&PROGRAMS, "loadkeys")?).then_some("loadkeys (its package is kbd)"))
}
