//! What a kernel has logged: of a mount, say, that it has refused.
//!
//! Source: the kernel's Documentation/ABI/testing/dev-kmsg.

use rustix::fs::{OFlags, SeekFrom, seek};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

/// How many lines are told, and how many are looked at.
const LINES_MAX: usize = 4;
const RECORDS_MAX: usize = 4096;

/// The log from some moment on.
pub(super) struct Log(Option<File>);

impl Log {
    pub(super) fn from_now() -> Self {
        let options = OFlags::NONBLOCK.bits().cast_signed();
        let log = File::options().read(true).custom_flags(options).open("/dev/kmsg").ok();
        Self(log.filter(|log| seek(log, SeekFrom::End(0)).is_ok()))
    }

    /// The lines that tell the most of what was logged since then; at most four, of those that `is_about` takes.
    pub(super) fn lines(self, is_about: impl Fn(&str) -> bool) -> Vec<String> {
        let mut record = [0; 8192];
        let mut log = self.0;
        // A record at a time; where there is none, the read fails.
        let records = std::iter::from_fn(|| match log.as_mut()?.read(&mut record) {
            Ok(count @ 1..) => Some(String::from_utf8_lossy(record.get(..count)?).into_owned()),
            _ => None,
        });
        telling(records.take(RECORDS_MAX).filter(|record| is_about(record)))
    }
}

/// Whether a line is about this device: it has the name, and no longer one.
pub(super) fn names(line: &str, device: &str) -> bool {
    line.split(device).skip(1).any(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric()))
}

/// The lines of a log that tell the most: the first warnings and what is worse; where there are none, the last lines. A record is
/// `priority,number,time,flags;text`, with the level in the lower three bits of the priority (Documentation/ABI/testing/dev-kmsg).
fn telling(records: impl Iterator<Item = String>) -> Vec<String> {
    const WARNING: u32 = 4;
    let (mut serious, mut last) = (Vec::new(), VecDeque::new());
    for record in records {
        let (head, text) = record.split_once(';').unwrap_or(("", &record));
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            continue;
        }
        let priority: Option<u32> = head.split(',').next().and_then(|priority| priority.parse().ok());
        if priority.is_some_and(|priority| priority & 7 <= WARNING) {
            if serious.len() < LINES_MAX {
                serious.push(line.to_owned());
            }
        } else {
            last.push_back(line.to_owned());
            last.drain(..last.len().saturating_sub(LINES_MAX));
        }
    }
    if serious.is_empty() { last.into() } else { serious }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_a_device() {
        for line in [
            "XFS (loop3): bad",
            "BTRFS error (device loop3 state E): bad",
            "BTRFS: device fsid x /dev/loop3",
            "loop3: x",
        ] {
            assert!(names(line, "loop3"), "{line}");
        }
        for line in ["XFS (loop31): bad", "XFS (loop): bad", ""] {
            assert!(!names(line, "loop3"), "{line}");
        }
    }

    #[test]
    fn errors_are_told_before_the_rest() {
        let log = |priorities: &[u32]| {
            let records = priorities.iter().enumerate();
            telling(records.map(|(at, priority)| format!("{priority},{at},9,-;line {at}\n SUBSYSTEM=x\n")))
        };
        assert_eq!(log(&[6, 6, 6, 6, 6, 3, 6]), ["line 5"]);
        assert_eq!(log(&[6, 12, 11, 4, 3, 2, 1]), ["line 1", "line 2", "line 3", "line 4"]);
        assert_eq!(log(&[6, 5, 6, 7, 14, 6]), ["line 2", "line 3", "line 4", "line 5"]);
        assert_eq!(log(&[]), [""; 0]);
        assert_eq!(telling(["no record".to_owned()].into_iter()), ["no record"]);
    }
}
