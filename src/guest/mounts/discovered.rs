//! Partitions that systemd mounts by their types: systemd-gpt-auto-generator(8), and UAPI's Discoverable Partitions Specification.

use super::{Planned, Reader, What};
use hmac::{Hmac, KeyInit, Mac};
use imgraft_vfs::Result;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::fs::tree::Takes;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::resolve::Follow;
use imgraft_vfs::volume::{Scheme, Selector, Survey, VolumeInfo};
use sha2::Sha256;
use std::num::NonZeroU32;

const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
const EXTENDED_BOOT: &str = "bc13c2ff-59e6-4262-a352-b275fd6f7172";
const VAR: &str = "4d21b016-b534-45c2-a9fb-5c16e091fd2d";
/// Types with one place each, whatever fstab says of the partition.
const PLACES: [(&str, &str); 4] = [
    ("933ac7e1-2eb4-4f13-b844-0e14e2aef915", "/home"),
    ("3b8f8425-20e0-4f3b-907f-1a25a76f98e8", "/srv"),
    (VAR, "/var"),
    ("7ec6f557-3bc5-4aca-b293-16ef5df639d1", "/var/tmp"),
];
/// The attribute of a partition that is not to be mounted unasked.
const NO_AUTO: u64 = 1 << 63;
/// The same for an ESP, of which UEFI says that nobody but its firmware is to use it.
const NO_BLOCK_IO: u64 = 1 << 1;
/// Where the generator is, in a guest that has it.
const GENERATORS: [&str; 2] = [
    "/usr/lib/systemd/system-generators/systemd-gpt-auto-generator",
    "/lib/systemd/system-generators/systemd-gpt-auto-generator",
];
/// As it is called.
const GENERATOR: &str = "systemd-gpt-auto-generator";
/// No machine-id is larger.
const MACHINE_ID_LIMIT: u64 = 64;

/// A line of fstab, as the generator looks at it.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) path: GuestPath,
    /// The name of the volume, where it is one of the disk.
    pub(super) volume: Option<String>,
}

/// What the guest's systemd mounts by itself, and what it does in some of its versions.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) mounted: Vec<Planned>,
    pub(super) in_old_versions: Vec<Planned>,
}

/// Partitions whose places are empty directories or missing, and are none of fstab's. Where fstab has anything in `/boot` or `/efi`,
/// neither the ESP nor XBOOTLDR are mounted (versions before 256 look at `/boot` and `/efi` alone); else that of the ESP is, where the
/// machine starts by UEFI.
pub(super) fn partitions(reader: &Reader<'_>, survey: &Survey, said: &[Said]) -> Result<Found> {
    let mut found = Found::default();
    let table = survey.table();
    if table.scheme != Scheme::Gpt {
        return Ok(found);
    }
    let is_known = |part_type: &str| {
        [ESP, EXTENDED_BOOT].contains(&part_type) || PLACES.iter().any(|(known, _)| *known == part_type)
    };
    let known: Vec<&VolumeInfo> =
        table.volumes.iter().filter(|info| is_known(&info.part_type.to_ascii_lowercase())).collect();
    if known.is_empty() {
        return Ok(found);
    }
    let mut has_generator = false;
    for path in GENERATORS {
        has_generator = has_generator || reader.exists(path)?;
    }
    // Whether a /usr of its own has it is not looked up: that may be locked, or no part of what is wanted.
    let is_said = |path: &str| said.iter().any(|said| said.path.as_bytes() == path.as_bytes());
    let in_doubt = !has_generator && is_said("/usr");
    if !has_generator && !in_doubt {
        return Ok(found);
    }
    let of_type = |part_type: &'static str| {
        let unasked = if part_type == ESP { NO_BLOCK_IO } else { NO_AUTO };
        known
            .iter()
            .copied()
            .filter(move |info| info.part_type.eq_ignore_ascii_case(part_type) && info.attributes & unasked == 0)
    };
    let is_free = |path: &str| -> Result<bool> { Ok(!is_said(path) && !is_taken(reader, path)?) };
    let planned = |info: &VolumeInfo, path: &str, generator: &str| -> Result<Option<Planned>> {
        let Some(index) = info.index else { return Ok(None) };
        let origin = format!("the GPT type of partition {index} ({generator})");
        let what = if in_doubt { doubted(index, path) } else { What::Volume(Selector::Index(index)) };
        Ok(Some(Planned { path: GuestPath::parse(path)?, origin, what, takes: Takes::NewDirectory }))
    };

    let is_of_loader = |said: &Said| matches!(said.path.components().next(), Some(b"boot" | b"efi"));
    let names = |said: &Said, info: &VolumeInfo| said.volume.as_ref() == Some(&info.name());
    let (extended, esp) = (of_type(EXTENDED_BOOT).next(), of_type(ESP).next());
    if said.iter().any(is_of_loader) {
        let generator = "systemd-gpt-auto-generator before systemd 256";
        let is_boot = |esp: &VolumeInfo| said.iter().any(|said| said.path.as_bytes() == b"/boot" && names(said, esp));
        for (info, path) in [(extended, "/boot"), (esp.filter(|esp| !is_boot(esp)), "/efi")] {
            if let Some(info) = info
                && is_free(path)?
            {
                found.in_old_versions.extend(planned(info, path, generator)?);
            }
        }
    } else {
        let esp = esp.filter(|esp| !said.iter().any(|said| names(said, esp)));
        let has_boot = extended.is_some() || !is_free("/boot")?;
        for (info, path) in [(extended, "/boot"), (esp, if has_boot { "/efi" } else { "/boot" })] {
            if let Some(info) = info
                && is_free(path)?
            {
                found.mounted.extend(planned(info, path, GENERATOR)?);
            }
        }
    }
    for (part_type, path) in PLACES {
        let mut candidates = of_type(part_type);
        let info = match part_type {
            VAR => {
                let machine = machine_id(reader)?;
                candidates.find(|info| is_var_of(machine, info))
            }
            _ => candidates.next(),
        };
        if let Some(info) = info
            && is_free(path)?
        {
            found.mounted.extend(planned(info, path, GENERATOR)?);
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

/// Whether there is something at a place that a mount would hide, or that takes none.
fn is_taken(reader: &Reader<'_>, path: &str) -> Result<bool> {
    Ok(match reader.find(path, Follow::All)? {
        None => false,
        Some((at, FileType::Directory)) => !reader.list(&at)?.is_empty(),
        Some(_) => true,
    })
}

fn machine_id(reader: &Reader<'_>) -> Result<Option<[u8; 16]>> {
    let text = reader.file_lenient("/etc/machine-id", MACHINE_ID_LIMIT)?.unwrap_or_default();
    Ok(id(&String::from_utf8_lossy(&text)))
}

/// Whether a /var is a machine's: its partition's UUID is the machine's id hashed with the type.
fn is_var_of(machine: Option<[u8; 16]>, info: &VolumeInfo) -> bool {
    machine.and_then(var_uuid).is_some_and(|uuid| id(&info.part_uuid) == Some(uuid))
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
    use imgraft_vfs::block::{BlockDevice, MemDevice};
    use imgraft_vfs::fs::mem::{Builder, MemFs};
    use imgraft_vfs::volume::{Base, Table};
    use std::sync::Arc;

    const HOME: &str = "933ac7e1-2eb4-4f13-b844-0e14e2aef915";

    /// A disk with partitions of these types and attributes.
    fn survey(types: &[(&str, u64)]) -> Survey {
        let partition = |(number, (part_type, attributes)): (u32, &(&str, u64))| VolumeInfo {
            index: NonZeroU32::new(number),
            base: Base::Disk,
            start: u64::from(number) << 16,
            size: 1 << 16,
            part_type: part_type.to_uppercase(),
            part_label: String::new(),
            // That of the third is of the machine of the tests.
            part_uuid: format!("34ad154b-aba5-4c82-8bb4-51fb23339ae{}", (number + 6) % 9),
            attributes: *attributes,
            signature: None,
            facts: Vec::new(),
            problem: None,
        };
        let volumes = (1..).zip(types).map(partition).collect();
        let disk: Arc<dyn BlockDevice> = Arc::new(MemDevice::new(vec![0; 16 << 16]));
        Survey::new(&disk, Table { scheme: Scheme::Gpt, sector_size: 512, volumes, notes: Vec::new() }).unwrap()
    }

    fn guest() -> Builder {
        MemFs::builder().file(GENERATORS[0], "")
    }

    /// The places that are mounted, and those of old versions, each with the number of its partition.
    fn found(tree: Builder, types: &[(&str, u64)], fstab: &[(&str, &str)]) -> [Vec<String>; 2] {
        let line = |(path, volume): &(&str, &str)| Said {
            path: GuestPath::parse(path).unwrap(),
            volume: Some((*volume).to_owned()).filter(|volume| !volume.is_empty()),
        };
        let said: Vec<Said> = fstab.iter().map(line).collect();
        let found = partitions(&Reader::new(&tree.build().unwrap()), &survey(types), &said).unwrap();
        let told = |planned: Planned| match planned.what {
            What::Volume(selector) => format!("{selector}:{}", planned.path),
            What::Unusable { .. } => format!("?:{}", planned.path),
        };
        [found.mounted, found.in_old_versions].map(|list| list.into_iter().map(told).collect())
    }

    #[test]
    fn a_type_has_its_place_whatever_fstab_says_of_the_partition() {
        let home = [(HOME, 0)];
        assert_eq!(found(guest(), &home, &[]), [vec!["1:/home"], vec![]]);
        assert_eq!(found(guest(), &home, &[("/data", "1")]), [vec!["1:/home"], vec![]]);
        // The place is fstab's, be it with another volume, or with none that is mounted.
        assert_eq!(found(guest(), &home, &[("/home", "")]), [vec![""; 0], vec![]]);
        assert_eq!(found(guest().file("/home/x", ""), &home, &[]), [vec![""; 0], vec![]]);
        assert_eq!(found(guest().file("/home", ""), &home, &[]), [vec![""; 0], vec![]]);
        assert_eq!(found(guest().dir("/home"), &home, &[]), [vec!["1:/home"], vec![]]);
        assert_eq!(found(MemFs::builder(), &home, &[]), [vec![""; 0], vec![]]);
        assert_eq!(found(MemFs::builder(), &home, &[("/usr", "2")]), [vec!["?:/home"], vec![]]);
        // The first of a type that may be mounted unasked.
        assert_eq!(found(guest(), &[(HOME, NO_AUTO), (HOME, 1), (HOME, 0)], &[]), [vec!["2:/home"], vec![]]);
        // Of several /var, the one of this machine.
        let machine = guest().file("/etc/machine-id", "f97eab36e9eb4b6da83a7c5d5b3b3d5a\n");
        assert_eq!(found(machine, &[(VAR, 0); 4], &[]), [vec!["3:/var"], vec![]]);
        assert_eq!(found(guest(), &[(VAR, 0); 4], &[]), [vec![""; 0], vec![]]);
    }

    #[test]
    fn partitions_of_the_boot_loader() {
        let (esp, both) = ([(ESP, 0)], [(ESP, 0), (EXTENDED_BOOT, 0)]);
        for (tree, types, fstab, expected) in [
            (guest(), &esp[..], &[][..], [vec!["1:/boot"], vec![]]),
            (guest().file("/boot/vmlinuz", ""), &esp, &[], [vec!["1:/efi"], vec![]]),
            (guest().file("/boot/vmlinuz", "").file("/efi/x", ""), &esp, &[], [vec![], vec![]]),
            (guest(), &both, &[], [vec!["2:/boot", "1:/efi"], vec![]]),
            (guest().file("/boot/vmlinuz", ""), &both, &[], [vec!["1:/efi"], vec![]]),
            // UEFI says of this one that it is the firmware's alone; the bit of the other types means nothing here.
            (guest(), &[(ESP, NO_BLOCK_IO), (ESP, NO_AUTO)], &[], [vec!["2:/boot"], vec![]]),
            // Anything of fstab below these leaves both alone, but in versions before 256.
            (guest(), &both, &[("/boot/efi", "1")], [vec![], vec!["2:/boot", "1:/efi"]]),
            (guest(), &esp, &[("/boot", "1")], [vec![], vec![]]),
            (guest(), &esp, &[("/boot", "3")], [vec![], vec!["1:/efi"]]),
            (guest(), &esp, &[("/efi", "1")], [vec![], vec![]]),
            (guest(), &esp, &[("/mnt", "1")], [vec![], vec![]]),
            (guest(), &esp, &[("/bootstrap", "2")], [vec!["1:/boot"], vec![]]),
        ] {
            assert_eq!(found(tree, types, fstab), expected, "{types:?} {fstab:?}");
        }
    }

    #[test]
    fn a_var_is_known_by_the_machine() {
        // By Python's hmac, in the way that `systemd-id128 machine-id --app-specific=4d21b016b53445c2a9fb5c16e091fd2d` confirms.
        let machine = id("f97eab36e9eb4b6da83a7c5d5b3b3d5a\n").unwrap();
        assert_eq!(var_uuid(machine), id("34ad154baba54c828bb451fb23339ae0"));
        assert_eq!(id("short"), None);
        assert_eq!(id(VAR).unwrap()[..2], [0x4d, 0x21]);
    }
}
