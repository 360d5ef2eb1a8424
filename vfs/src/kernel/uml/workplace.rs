//! Where a kernel has its memory: in a directory that can hold it.

use crate::error::Result;
use crate::kernel::missing;
use rustix::fs::{StatVfsMountFlags, statvfs};
use std::fs::metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;

/// Where the kernel has its memory of `needed` bytes, as an unlinked file: a directory from which it can execute, in memory where
/// there is one. `user` is who it runs as, where that is somebody else.
pub(super) fn workplace(needed: u64, user: Option<u32>) -> Result<PathBuf> {
    choose([PathBuf::from("/dev/shm"), std::env::temp_dir(), PathBuf::from("/tmp")], needed, user)
}

/// The first that will do. Errors: those of [`missing`], with what each lacks.
fn choose(candidates: impl IntoIterator<Item = PathBuf>, needed: u64, user: Option<u32>) -> Result<PathBuf> {
    let mebibytes = needed.div_ceil(MIB);
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut reasons = Vec::new();
    for candidate in candidates {
        if seen.contains(&candidate) {
            continue;
        }
        match unfit(&candidate, needed, user) {
            None => return Ok(candidate),
            Some(reason) => reasons.push(format!("{} {reason}", candidate.display())),
        }
        seen.push(candidate);
    }
    Err(missing(
        format!(
            "there is no directory for the {mebibytes} MiB of the borrowed kernel's memory: {}",
            reasons.join("; ")
        ),
        format!(
            "set TMPDIR to a directory with {mebibytes} MiB of room, on a filesystem that is neither read-only nor mounted noexec"
        ),
    ))
}

/// What speaks against a directory.
fn unfit(path: &Path, needed: u64, user: Option<u32>) -> Option<String> {
    let speakable = |text: &str| !text.contains([':', ',', '"', '=']) && !text.contains(char::is_whitespace);
    if !path.is_absolute() || !path.to_str().is_some_and(speakable) {
        return Some("has a name that a kernel's command line does not take".to_owned());
    }
    let stat = match statvfs(path) {
        Ok(stat) => stat,
        Err(errno) => return Some(format!("cannot be used ({})", std::io::Error::from(errno))),
    };
    if stat.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        return Some("is mounted noexec".to_owned());
    }
    // One without a limit has no blocks at all.
    let room = stat.f_bavail.saturating_mul(stat.f_frsize);
    if stat.f_blocks > 0 && room < needed {
        return Some(format!("has room for {} MiB", room / MIB));
    }
    let may = |path: &Path, mode: u32| metadata(path).is_ok_and(|found| found.permissions().mode() & mode == mode);
    if user.is_some() && !(may(path, 0o003) && path.ancestors().all(|above| may(above, 0o001))) {
        return Some("cannot be written to by the user nobody, as whom root's kernel runs".to_owned());
    }
    tempfile::tempfile_in(path).err().map(|error| format!("cannot be written to ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn the_first_that_will_do() {
        let good = tempfile::tempdir().unwrap();
        let odd = tempfile::Builder::new().prefix("a,b").tempdir().unwrap();
        let candidates = || ["/nonexistent", "/proc", "relative"].map(PathBuf::from).into_iter();
        let all = || candidates().chain([odd.path().to_owned(), good.path().to_owned()]);
        assert_eq!(choose(all(), MIB, None).unwrap(), good.path());
        let error = choose(all(), 1 << 60, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let (said, hint) = (error.to_string(), error.hint().unwrap().to_owned());
        assert!(said.contains("1099511627776 MiB") && hint.contains("TMPDIR") && hint.contains("1099511627776 MiB"));
        assert!(said.contains(&format!("{} has room for", good.path().display())), "{said}");
        for path in ["/nonexistent", "/proc", "relative", odd.path().to_str().unwrap()] {
            assert!(said.contains(&format!("{path} ")), "{said}");
        }
        // A directory for its owner alone is none for somebody else.
        assert!(choose([good.path().to_owned()], MIB, Some(65_534)).unwrap_err().to_string().contains("nobody"));
    }
}
