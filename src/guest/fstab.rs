//! What the first field of a line of fstab(5) names, and the names of crypttab(5).

use imgraft_vfs::fstab::{Entry, unquoted};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::volume::{Mark, Selector};
use std::num::NonZeroU32;

/// The largest fstab or crypttab that is read, in bytes.
pub(super) const LIMIT: u64 = 1 << 20;

/// Where udev links what a device-mapper made, by its name there.
pub(super) const BY_NAME: &str = "/dev/disk/by-id/dm-name-";

/// What the first field of an entry names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spec {
    /// A volume of the disk.
    Volume(Selector),
    /// What has this name below `/dev/mapper`: a volume of crypttab, or a logical one.
    Mapped(String),
    /// A device that is not on the disk, or that only the machine itself can name.
    Elsewhere,
    /// No device at all.
    Other,
}

/// The words by which a kernel names the disk that has the root, where the root is named by them; `sda` and its like else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Disk(Option<String>);

impl Disk {
    /// The disk that this fstab has the root on.
    pub(super) fn of(entries: &[Entry]) -> Self {
        let root = entries.iter().find(|entry| entry.path == GuestPath::root());
        Self(root.and_then(|entry| partition(&entry.spec)).map(|(disk, _)| disk.to_owned()))
    }

    fn is_it(&self, disk: &str) -> bool {
        match &self.0 {
            Some(name) => name == disk,
            None => ["sda", "vda", "hda", "xvda", "nvme0n1", "mmcblk0"].contains(&disk),
        }
    }
}

/// The name of a disk and the number of the partition that `/dev/sda1`, `/dev/nvme0n1p1` and their like name; none for the disk.
fn partition(spec: &str) -> Option<(&str, Option<NonZeroU32>)> {
    let name = spec.strip_prefix("/dev/")?;
    let is_disk = |name: &str, kinds: &[&str]| {
        let letters = kinds.iter().find_map(|kind| name.strip_prefix(kind));
        letters.is_some_and(|letters| !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_lowercase()))
    };
    let numbered = |name: &str| {
        let rest = name
            .strip_prefix("nvme")
            .map(|rest| rest.split_once('n'))
            .unwrap_or_else(|| name.strip_prefix("mmcblk").map(|rest| ("0", rest)));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        rest.is_some_and(|(controller, number)| digits(controller) && digits(number))
    };
    let stem = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let number = name.get(stem.len()..).unwrap_or_default();
    if is_disk(stem, &["sd", "vd", "hd", "xvd"]) {
        return match number {
            "" => Some((stem, None)),
            number => Some((stem, Some(number.parse().ok()?))),
        };
    }
    if numbered(name) {
        return Some((name, None));
    }
    let disk = stem.strip_suffix('p').filter(|disk| numbered(disk))?;
    Some((disk, Some(number.parse().ok()?)))
}

/// What a field names: a tag (`UUID=…`), or a path below `/dev`.
pub(super) fn spec(text: &str, disk: &Disk) -> Spec {
    let marked = |mark, value: Option<&str>| match value.filter(|value| !value.is_empty()) {
        Some(value) => Spec::Volume(Selector::Marked(mark, value.to_owned())),
        None => Spec::Elsewhere,
    };
    let marks = [
        ("UUID=", "/dev/disk/by-uuid/", Mark::Uuid),
        ("LABEL=", "/dev/disk/by-label/", Mark::Label),
        ("PARTUUID=", "/dev/disk/by-partuuid/", Mark::PartUuid),
        ("PARTLABEL=", "/dev/disk/by-partlabel/", Mark::PartLabel),
    ];
    for (tag, directory, mark) in marks {
        if let Some(value) = text.strip_prefix(tag) {
            return marked(mark, unquoted(value));
        }
        if let Some(value) = text.strip_prefix(directory) {
            return marked(mark, Some(&encoded(value)));
        }
    }
    // What udev calls a device is not known of one that is not there (mount(8)).
    if text.starts_with("ID=") {
        return Spec::Elsewhere;
    }
    let Some(device) = text.strip_prefix("/dev/") else { return Spec::Other };
    if let Some(name) = device.strip_prefix("mapper/") {
        return Spec::Mapped(name.to_owned());
    }
    if let Some(name) = text.strip_prefix(BY_NAME) {
        return Spec::Mapped(encoded(name));
    }
    if let Some(selector) = by_id(text) {
        return Spec::Volume(selector);
    }
    if let Some((name, number)) = partition(text) {
        return match (disk.is_it(name), number) {
            (true, Some(number)) => Spec::Volume(Selector::Index(number)),
            (true, None) => Spec::Volume(Selector::Whole),
            (false, _) => Spec::Elsewhere,
        };
    }
    match device.split_once('/') {
        Some((group, volume))
            if !["disk", "md", "mapper", "block", "loop"].contains(&group) && !volume.contains('/') =>
        {
            Spec::Volume(Selector::Logical(device.to_owned()))
        }
        _ => Spec::Elsewhere,
    }
}

/// A name without the escapes of udev(7): two hexadecimal digits after `\x`.
fn encoded(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(b"\\x"),
        }
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What the encrypted volume of this name lies in, by crypttab(5).
pub(super) fn encrypted(crypttab: &[u8], name: &str) -> Option<String> {
    String::from_utf8_lossy(crypttab).lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.next()? == name).then(|| fields.next().map(str::to_owned)).flatten()
    })
}

/// The logical volume that a link of udev names: by `dm-uuid-LVM-…` or by `dm-name-VG-LV` in `/dev/disk/by-id`.
pub(crate) fn by_id(path: &str) -> Option<Selector> {
    if let Some(name) = path.strip_prefix(BY_NAME) {
        return logical(&encoded(name)).map(Selector::Logical);
    }
    let id = path.strip_prefix("/dev/disk/by-id/dm-uuid-LVM-")?;
    // That of the group and its own. What has more behind it is a part of another one.
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'!' | b'#'));
    is_id.then(|| Selector::LogicalUuid(id.to_owned()))
}

/// The logical volume that `vg-lv` names below `/dev/mapper` (a hyphen of a name is doubled), as `vg/lv`.
pub(crate) fn logical(mapped: &str) -> Option<String> {
    // The one hyphen that is not doubled stands between the names.
    let names = mapped.split("--").collect::<Vec<_>>().join("\0");
    let (group, volume) = names.split_once('-')?;
    let is_name = |name: &str| !name.is_empty() && !name.contains('/');
    (is_name(group) && is_name(volume)).then(|| format!("{group}/{volume}").replace('\0', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fstab::parse;

    fn volume(text: &str) -> Option<Selector> {
        match spec(text, &Disk::default()) {
            Spec::Volume(selector) => Some(selector),
            _ => None,
        }
    }

    fn marked(mark: Mark, value: &str) -> Option<Selector> {
        Some(Selector::Marked(mark, value.to_owned()))
    }

    #[test]
    fn devices_by_every_name() {
        let index = |number| Some(Selector::Index(NonZeroU32::new(number).unwrap()));
        let logical = |name: &str| Some(Selector::Logical(name.to_owned()));
        let id = "Ab1".repeat(21) + "z";
        for (text, expected) in [
            ("UUID=1A2B-3C4D", marked(Mark::Uuid, "1A2B-3C4D")),
            ("LABEL=\"a b\"", marked(Mark::Label, "a b")),
            ("LABEL='a b'", marked(Mark::Label, "a b")),
            ("LABEL='a\"'", marked(Mark::Label, "a\"")),
            ("LABEL=a'", marked(Mark::Label, "a'")),
            ("PARTUUID=x", marked(Mark::PartUuid, "x")),
            ("PARTLABEL=EFI system", marked(Mark::PartLabel, "EFI system")),
            ("/dev/disk/by-uuid/x", marked(Mark::Uuid, "x")),
            ("/dev/disk/by-label/a\\x20b\\x2f\\x", marked(Mark::Label, "a b/\\x")),
            ("/dev/disk/by-label/\\x27a\\x27", marked(Mark::Label, "'a'")),
            ("/dev/disk/by-partuuid/x", marked(Mark::PartUuid, "x")),
            ("/dev/disk/by-partlabel/EFI\\x20system", marked(Mark::PartLabel, "EFI system")),
            ("/dev/sda2", index(2)),
            ("/dev/vda15", index(15)),
            ("/dev/xvda1", index(1)),
            ("/dev/nvme0n1p3", index(3)),
            ("/dev/mmcblk0p1", index(1)),
            ("/dev/sda", Some(Selector::Whole)),
            ("/dev/nvme0n1", Some(Selector::Whole)),
            ("/dev/vg0/home", logical("vg0/home")),
            ("/dev/debian-vg/home", logical("debian-vg/home")),
            (&format!("/dev/disk/by-id/dm-uuid-LVM-{id}"), Some(Selector::LogicalUuid(id.clone()))),
        ] {
            assert_eq!(volume(text), expected, "{text}");
        }
        for text in [
            "/dev/sdb1",
            "/dev/sda0",
            "/dev/nvme1n1p1",
            "/dev/disk/by-id/x",
            "/dev/disk/by-id/dm-uuid-LVM-x",
            &format!("/dev/disk/by-id/dm-uuid-LVM-{id}-cow"),
            "/dev/md0",
            "/dev/md/0",
            "/dev/sr0",
            "UUID=",
            "LABEL=''",
            "LABEL='",
            "LABEL='a\"",
            "LABEL='a'b",
            "/dev/sd1",
        ] {
            assert_eq!(spec(text, &Disk::default()), Spec::Elsewhere, "{text}");
        }
        for text in ["tmpfs", "host:/export", "//host/share", "none", "/srv/data", "", "uuid=x"] {
            assert_eq!(spec(text, &Disk::default()), Spec::Other, "{text}");
        }
        for text in ["/dev/mapper/vg-lv", "/dev/disk/by-id/dm-name-vg-lv", "/dev/disk/by-id/dm-name-v\\x67-lv"] {
            assert_eq!(spec(text, &Disk::default()), Spec::Mapped("vg-lv".into()), "{text}");
        }
        assert_eq!(by_id("/dev/disk/by-id/dm-name-v--g-lv"), logical("v-g/lv"));
        assert_eq!(by_id("/dev/disk/by-uuid/x"), None);
    }

    #[test]
    fn the_disk_is_the_one_that_has_the_root() {
        let disk = |text: &[u8]| Disk::of(&parse(text).0);
        let second = disk(b"/dev/sdb2 / ext4\n");
        assert_eq!(spec("/dev/sdb1", &second), Spec::Volume(Selector::Index(NonZeroU32::MIN)));
        assert_eq!(spec("/dev/sda1", &second), Spec::Elsewhere);
        assert_eq!(disk(b"UUID=x / ext4\n/dev/sdb1 /b ext4\n"), Disk::default());
    }

    #[test]
    fn names_of_crypttab() {
        let text = b"# name device key options\nroot_crypt UUID=a none luks\nhome\t/dev/sda5 none\nbad\n";
        assert_eq!(encrypted(text, "root_crypt").as_deref(), Some("UUID=a"));
        assert_eq!(encrypted(text, "home").as_deref(), Some("/dev/sda5"));
        assert_eq!(encrypted(text, "bad"), None);
        assert_eq!(encrypted(text, "none"), None);
    }

    #[test]
    fn thousands_of_lines_and_noise_are_read() {
        let text = "UUID=a /x ext4 defaults 0 0\n".repeat(20_000);
        assert_eq!(parse(text.as_bytes()).0.len(), 20_000);
        let noise: Vec<u8> = (0..100_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for entry in parse(&noise).0 {
            let _ = spec(&entry.spec, &Disk::default());
        }
    }
}
