//! Files that are emptied or made rather than removed.

use super::super::{InjectError, READ_LIMIT, ROOT_FILE};
use super::Site;
use super::rule::{Rule, remove_but};
use imgraft_vfs::fs::{Content, FileType};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// at(1)'s number of the last job, in hexadecimal.
const LAST_JOB: [&str; 3] = ["/var/spool/cron/atjobs/.SEQ", "/var/spool/atjobs/.SEQ", "/var/spool/at/.SEQ"];
const NO_JOB: &[u8] = b"00000\n";
/// The logs of accton(8), which writes only to a file that is there: Red Hat's, Debian's.
const ACCOUNTING: [(&str, Rule); 2] = [
    ("/var/account/pacct", Rule::File("/var/account/pacct*")),
    ("/var/log/account/pacct", Rule::File("/var/log/account/pacct*")),
];
const UNCONFIGURED: &str = "/.unconfigured";
/// What looks for that file: Red Hat's init scripts, and initial-setup.
const RECONFIGURE: [&str; 3] = [
    "/etc/rc.d/rc.sysinit",
    "/usr/lib/systemd/system/initial-setup-reconfiguration.service",
    "/usr/lib/systemd/system/initial-setup.service",
];

/// Removes all files below the spools, but for the numbers of at's last jobs, which begin anew.
pub(super) fn cron(site: &mut Site<'_, '_>) -> Result<(), InjectError> {
    let mut kept = Vec::new();
    for path in LAST_JOB.into_iter().map(GuestPath::parse) {
        let path = path?;
        if is_regular(&path, site.stage)? {
            kept.push(path);
        }
    }
    const SPOOLS: [Rule; 4] = [
        Rule::FilesBelow("/var/spool/cron"),
        Rule::File("/var/spool/atjobs/*"),
        Rule::File("/var/spool/atspool/*"),
        Rule::FilesBelow("/var/spool/at"),
    ];
    site.removed = remove_but(&SPOOLS, &kept, site.guest, site.stage)?;
    for path in kept {
        if site.stage.read(&path, READ_LIMIT)?.is_some_and(|number| number != NO_JOB) {
            site.stage.write(&path, Content::bytes(NO_JOB), ROOT_FILE)?;
        }
    }
    Ok(())
}

/// Empties the log of process accounting, and removes its older ones.
pub(super) fn accounting(site: &mut Site<'_, '_>) -> Result<(), InjectError> {
    for (log, all) in ACCOUNTING {
        let log = GuestPath::parse(log)?;
        let there = is_regular(&log, site.stage)?;
        let kept = if there { std::slice::from_ref(&log) } else { &[] };
        remove_but(&[all], kept, site.guest, site.stage)?;
        if there {
            site.stage.write(&log, Content::bytes([]), ROOT_FILE)?;
        }
    }
    Ok(())
}

/// Makes the file by which Red Hat's guests ask for their settings at the next boot.
pub(super) fn flag_reconfiguration(site: &mut Site<'_, '_>) -> Result<(), InjectError> {
    let flag = GuestPath::parse(UNCONFIGURED)?;
    if site.stage.symlink_metadata(&flag)?.is_none() {
        site.stage.write(&flag, Content::bytes([]), ROOT_FILE)?;
    }
    for path in RECONFIGURE {
        if site.stage.metadata(&GuestPath::parse(path)?)?.is_some() {
            return Ok(());
        }
    }
    site.outcome.notes.push(format!("nothing in the guest is known to look for {UNCONFIGURED}"));
    Ok(())
}

fn is_regular(path: &GuestPath, stage: &Stage<'_>) -> Result<bool, InjectError> {
    Ok(stage.symlink_metadata(path)?.is_some_and(|metadata| metadata.file_type == FileType::Regular))
}
