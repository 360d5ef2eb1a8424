//! The locks of the files of users and groups: `/etc/passwd.lock` and the like, which hold the process ID of the program that changes
//! the file (passwd(5), lckpwdf(3), and commonio.c of shadow).

use super::super::InjectError;
use super::error::AccountError;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// More than any process ID has, in bytes.
const LIMIT: u64 = 64;

/// The files that are locked together, whichever of them changes (`open_files` of chpasswd.c, usermod.c, useradd.c and groupadd.c of
/// shadow); the second of each where it is there.
const PAIRS: [[&str; 2]; 2] = [["/etc/passwd", "/etc/shadow"], ["/etc/group", "/etc/gshadow"]];

/// Takes the locks out of the way under which a file is changed, as shadow does with those whose process does not run any more: in an
/// image none does. One that shadow could not judge, and would not pass, is refused.
pub(in crate::inject) fn pass(file: &str, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    let Some([open, shadowed]) = PAIRS.into_iter().find(|pair| pair.contains(&file)) else { return one(file, stage) };
    one(open, stage)?;
    match stage.metadata(&GuestPath::parse(shadowed)?)? {
        Some(_) => one(shadowed, stage),
        None => Ok(()),
    }
}

fn one(file: &str, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    let path = GuestPath::parse(format!("{file}.lock"))?;
    let Some(found) = stage.symlink_metadata(&path)? else { return Ok(()) };
    let is_process = |text: &[u8]| {
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        std::str::from_utf8(text).is_ok_and(|text| text.trim_start().parse::<i32>().is_ok_and(|process| process > 0))
    };
    if found.file_type != FileType::Regular
        || found.size > LIMIT
        || !stage.read(&path, LIMIT)?.is_some_and(|text| is_process(&text))
    {
        return Err(AccountError::Locked { path: path.to_string() }.into());
    }
    Ok(stage.remove(&path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::testing::phony;

    #[test]
    fn a_lock_is_that_of_a_process() {
        let passed = |text: &[u8]| {
            let fs = phony().file("/etc/passwd.lock", text).build().unwrap();
            let mut stage = Stage::new(&fs);
            let passed = pass("/etc/passwd", &mut stage).is_ok();
            let is_there = stage.metadata(&GuestPath::parse("/etc/passwd.lock").unwrap()).unwrap().is_some();
            assert_eq!(is_there, !passed);
            passed
        };
        for lock in ["7", "4194303\0", " 12\0x"] {
            assert!(passed(lock.as_bytes()), "{lock:?}");
        }
        for lock in ["", "\0", "0", "-1", "7 ", "7\n", "x", "99999999999"] {
            assert!(!passed(lock.as_bytes()), "{lock:?}");
        }
        assert!(!passed(&[b'7'; 65]));
        let link = phony().symlink("/etc/passwd.lock", "/nowhere").build().unwrap();
        assert!(pass("/etc/passwd", &mut Stage::new(&link)).is_err());
        assert!(pass("/etc/passwd", &mut Stage::new(&phony().build().unwrap())).is_ok());
        // A file is locked with its other half, where there is one.
        let passed = |lock: &str, file: &str| {
            let fs = phony().file(lock, "").build().unwrap();
            pass(file, &mut Stage::new(&fs)).is_ok()
        };
        for (lock, file) in
            [("/etc/passwd", "/etc/shadow"), ("/etc/shadow", "/etc/passwd"), ("/etc/group", "/etc/gshadow")]
        {
            assert!(!passed(&format!("{lock}.lock"), file), "{lock} {file}");
        }
        assert!(passed("/etc/gshadow.lock", "/etc/group") && passed("/etc/passwd.lock", "/etc/group"));
        assert!(passed("/etc/passwd.lock", "/etc/subuid") && !passed("/etc/subuid.lock", "/etc/subuid"));
    }
}
