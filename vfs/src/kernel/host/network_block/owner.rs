//! Whose a network block device is: a process, by a name that no other process has, as the kernel keeps it with the device.
//!
//! A device is connected by one system call and opened by another. A process that is killed between the two leaves it connected
//! to nobody, and nothing ends that; so the next one does.

use super::netlink::Netlink;
use std::path::Path;

/// What the names of ours begin with.
const PROGRAM: &str = "imgraft";
/// The most devices that are looked at.
const DEVICES_MAX: u32 = 1024;
/// Which field of proc_pid_stat(5) has the time of a process's start, counted from the one after its name.
const STARTED: usize = 19;

/// The name of this process: its number in its namespace, and when it was started.
pub(super) fn name() -> String {
    let id = std::process::id();
    // Where that cannot be known nobody takes the device away.
    let start = started(id).map(|start| start.to_string()).unwrap_or_default();
    format!("{PROGRAM} {} {id} {start}", namespace())
}

/// Disconnects the devices of processes of ours that are not there any more.
pub(super) fn forget_dead(netlink: &Netlink) {
    for index in 0..DEVICES_MAX {
        let device = format!("/sys/block/nbd{index}");
        let Ok(name) = std::fs::read_to_string(format!("{device}/backend")) else {
            if Path::new(&device).exists() {
                continue;
            }
            break;
        };
        if is_dead(name.trim_end()) {
            // Another process may do the same; and what stays is in nobody's way.
            let _ = netlink.disconnect(index);
        }
    }
}

/// Whether a name is that of a process of ours which has ended, as far as can be known from this namespace.
fn is_dead(name: &str) -> bool {
    let mut words = name.split(' ');
    if words.next() != Some(PROGRAM) || words.next() != Some(&*namespace()) {
        return false;
    }
    let id = words.next().and_then(|id| id.parse().ok());
    let start = words.next().and_then(|start| start.parse().ok());
    matches!((id, start), (Some(id), Some(start)) if started(id) != Some(start))
}

/// When a process was started, in ticks since the boot.
fn started(id: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(STARTED)?.parse().ok()
}

/// The namespace in which processes are numbered here: pid_namespaces(7).
fn namespace() -> String {
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_are_left_alone() {
        let ours = name();
        assert!(!is_dead(&ours));
        let (rest, start) = ours.rsplit_once(' ').unwrap();
        let start: u64 = start.parse().unwrap();
        assert!(start > 0);
        let earlier = format!("{rest} {}", start - 1);
        assert!(is_dead(&earlier), "another process had this number");
        assert!(is_dead(&format!("{PROGRAM} {} 4194305 1", namespace())), "there is no such number");
        for other in [
            "",
            "someone else's",
            &earlier.replace(PROGRAM, "another"),
            &earlier.replace("pid:[", "pid:[9"),
            &format!("{PROGRAM} {}", namespace()),
            &format!("{PROGRAM} {} 4194305 ", namespace()),
        ] {
            assert!(!is_dead(other), "{other}");
        }
    }
}
