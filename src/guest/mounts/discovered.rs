//! Partitions that systemd mounts by their types: systemd-gpt-auto-generator(8), and UAPI's Discoverable Partitions Specification.

use super::{Mounts, Planned, Reader, What};
use hmac::{Hmac, KeyInit, Mac};
use imgraft_vfs::Result;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::resolve::Follow;
use imgraft_vfs::volume::{Scheme, Selector, Survey, VolumeInfo};
use sha2::Sha256;
use std::num::NonZeroU32;

const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
const EXTENDED_BOOT: &str = "bc13c2ff-59e6-4262-a352-b275fd6f7172";
const VAR: &str = "4d21b016-b534-45c2-a9fb-5c16e091fd2d";
/// Types with one place each.
const PLACES: [(&str, &str); 5] = [
    (EXTENDED_BOOT, "/boot"),
    ("933ac7e1-2eb4-4f13-b844-0e14e2aef915", "/home"),
    ("3b8f8425-20e0-4f3b-907f-1a25a76f98e8", "/srv"),
    (VAR, "/var"),
    ("7ec6f557-3bc5-4aca-b293-16ef5df639d1", "/var/tmp"),
];
/// The attribute of a partition that is not to be mounted unasked.
const NO_AUTO: u64 = 1 << 63;
/// Where the generator is, in a guest that has it.
const GENERATORS: [&str; 2] = [
    "/usr/lib/systemd/system-generators/systemd-gpt-auto-generator",
    "/lib/systemd/system-generators/systemd-gpt-auto-generator",
];
/// No machine-id is larger.
const MACHINE_ID_LIMIT: u64 = 64;

/// What the guest's systemd mounts by itself: partitions whose places are empty directories or missing, and which fstab
/// has nowhere. That of the ESP is one where the machine starts by UEFI.
pub(super) fn partitions(reader: &Reader<'_>, survey: &Survey, mounts: &Mounts) -> Result<Vec<Planned>> {
    let table = survey.table();
    if table.scheme != Scheme::Gpt {
        return Ok(Vec::new());
    }
    let is_known = |part_type: &str| part_type == ESP || PLACES.iter().any(|(known, _)| *known == part_type);
    let known: Vec<&VolumeInfo> =
        table.volumes.iter().filter(|info| is_known(&info.part_type.to_ascii_lowercase())).collect();
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let mut has_generator = false;
    for path in GENERATORS {
        has_generator = has_generator || reader.exists(path)?;
    }
    // Whether a /usr of its own has it is not looked up: that may be locked, or no part of what is wanted.
    let in_doubt = !has_generator && mounts.mounted.iter().any(|planned| planned.path.as_bytes() == b"/usr");
    if !has_generator && !in_doubt {
        return Ok(Vec::new());
    }
    let named: Vec<String> = mounts
        .mounted
        .iter()
        .chain(&mounts.left)
        .filter_map(|planned| match &planned.what {
            What::Volume(selector) => survey.find(selector).ok().map(|info| info.name()),
            What::Unusable { .. } => None,
        })
        .collect();
    let first = |part_type: &str| {
        known.iter().copied().find(|info| {
            let is_it = info.part_type.eq_ignore_ascii_case(part_type) && info.attributes & NO_AUTO == 0;
            is_it && !named.contains(&info.name())
        })
    };
    let mut found = Vec::new();
    let mut add = |info: &VolumeInfo, path: &str| -> Result<()> {
        let Some(index) = info.index else { return Ok(()) };
        let origin = format!("its GPT type (systemd-gpt-auto-generator), partition {index}");
        let what = if in_doubt { doubted(index, path) } else { What::Volume(Selector::Index(index)) };
        found.push(Planned { path: GuestPath::parse(path)?, origin, what });
        Ok(())
    };
    let has_extended = first(EXTENDED_BOOT).is_some();
    if let Some(esp) = first(ESP) {
        // Since systemd 254: /boot where that is there, empty and not another partition's, else /efi.
        let boot = if has_extended { State::Taken } else { state(reader, "/boot")? };
        if boot == State::Empty {
            add(esp, "/boot")?;
        } else if state(reader, "/efi")? != State::Taken {
            add(esp, "/efi")?;
        }
    }
    for (part_type, path) in PLACES {
        let Some(info) = first(part_type) else { continue };
        if state(reader, path)? != State::Taken && (part_type != VAR || is_of_machine(reader, info)?) {
            add(info, path)?;
        }
    }
    Ok(found)
}

/// A partition that the guest's systemd mounts if it is one that does such things.
fn doubted(index: NonZeroU32, path: &str) -> What {
    let reason =
        "whether the guest's systemd mounts it there is to be seen in its /usr alone, which is a filesystem of its own";
    let hint = format!("--mount {index}:{path} says that it does, --mount none:{path} that nothing is mounted there");
    What::Unusable { reason: reason.to_owned(), hint: Some(hint) }
}

/// What is at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Missing,
    Empty,
    Taken,
}

fn state(reader: &Reader<'_>, path: &str) -> Result<State> {
    Ok(match reader.find(path, Follow::All)? {
        None => State::Missing,
        Some((at, FileType::Directory)) if reader.0.read_dir(&at)?.is_empty() => State::Empty,
        Some(_) => State::Taken,
    })
}

/// Whether a /var is this machine's: its partition's UUID is the machine's id hashed with the type.
fn is_of_machine(reader: &Reader<'_>, info: &VolumeInfo) -> Result<bool> {
    let text = reader.file_lenient("/etc/machine-id", MACHINE_ID_LIMIT)?.unwrap_or_default();
    let machine = id(&String::from_utf8_lossy(&text));
    Ok(machine.is_some_and(|machine| var_uuid(machine).is_some_and(|uuid| id(&info.part_uuid) == Some(uuid))))
}

/// As sd_id128_get_machine_app_specific(3) makes it of the type.
fn var_uuid(machine: [u8; 16]) -> Option<[u8; 16]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&machine).ok()?;
    mac.update(&id(VAR)?);
    let hash = mac.finalize().into_bytes();
    let mut uuid: [u8; 16] = hash.get(..16)?.try_into().ok()?;
    uuid[6] = (uuid[6] & 0x0f) | 0x40;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    Some(uuid)
}

/// 32 hexadecimal digits, with or without hyphens.
fn id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().chars().filter(|digit| *digit != '-').collect();
    (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok()).flatten().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_var_is_known_by_the_machine() {
        // By Python's hmac, in the way that `systemd-id128 machine-id --app-specific=4d21b016b53445c2a9fb5c16e091fd2d` confirms.
        let machine = id("f97eab36e9eb4b6da83a7c5d5b3b3d5a\n").unwrap();
        assert_eq!(var_uuid(machine), id("34ad154baba54c828bb451fb23339ae0"));
        assert_eq!(id("short"), None);
        assert_eq!(id(VAR).unwrap()[..2], [0x4d, 0x21]);
    }
}
