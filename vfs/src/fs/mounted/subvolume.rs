//! The subvolumes of btrfs that a guest mounts below its root: its fstab(5) says which, and where.
//!
//! Source: btrfs(5), mount options `subvol` and `subvolid`.

use crate::fstab::{self, Entry};
use crate::path::GuestPath;
use crate::volume::Signature;

/// How many are mounted.
pub const SUBVOLUMES_MAX: usize = 1024;

/// A subvolume that belongs somewhere below the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subvolume {
    /// Where, as the guest names it.
    pub path: GuestPath,
    /// The mount option that names it: `subvol` or `subvolid`.
    pub option: &'static str,
    /// The option's value: a path from the top of the filesystem, or a number.
    pub value: String,
}

/// Those that an fstab mounts of the filesystem that has the root, in the order in which a machine mounts them: what another
/// lies in comes first. At most 1024.
pub(super) fn of_table(fstab: &[u8], signature: &Signature) -> Vec<Subvolume> {
    let (entries, _) = fstab::parse(fstab);
    let root = entries.iter().find(|entry| entry.path.as_bytes() == b"/").map(|entry| entry.spec.clone());
    let is_ours = |entry: &Entry| names(&entry.spec, root.as_deref(), Some(signature));
    let subvolume = |entry: &Entry| {
        let option = |name| entry.value(name).filter(|value| !value.is_empty()).map(|value| (name, value.to_owned()));
        let (option, value) = option("subvol").or_else(|| option("subvolid"))?;
        Some(Subvolume { path: entry.path.clone(), option, value })
    };
    let mut found: Vec<_> = entries
        .iter()
        .filter(|entry| entry.path.as_bytes() != b"/" && is_ours(entry))
        // By automount(8) it is there as soon as somebody looks.
        .filter(|entry| !entry.has("noauto") || entry.value("x-systemd.automount").is_some())
        .filter_map(subvolume)
        .take(SUBVOLUMES_MAX)
        .collect();
    found.sort_by_key(|subvolume| subvolume.path.components().count());
    found
}

/// Whether the first field of a line names the filesystem that has the root, as far as that can be told from itself: by its UUID or
/// label, or as `root`, the first field of the root's line, does.
pub fn names(spec: &str, root: Option<&str>, signature: Option<&Signature>) -> bool {
    let has = |tags: [&str; 2], is_it: &dyn Fn(&str, &Signature) -> bool| {
        let value = tags.iter().find_map(|tag| spec.strip_prefix(tag)).and_then(fstab::unquoted);
        value.filter(|value| !value.is_empty()).zip(signature).is_some_and(|(value, signature)| is_it(value, signature))
    };
    root == Some(spec)
        || has(["UUID=", "/dev/disk/by-uuid/"], &|uuid, signature| uuid == signature.uuid)
        || has(["LABEL=", "/dev/disk/by-label/"], &|label, signature| label == signature.label)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_distributions() {
        let signature = Signature { name: "btrfs", label: "root".into(), uuid: "abcd-1".into() };
        let found = |table: &str| {
            let found = of_table(table.as_bytes(), &signature).into_iter();
            found.map(|found| format!("{} {}={}", found.path, found.option, found.value)).collect::<Vec<_>>()
        };
        // openSUSE, Fedora, and Arch with numbers.
        assert_eq!(
            found(
                "UUID=abcd-1  /  btrfs  defaults  0  0\nUUID=abcd-1  /usr/local  btrfs  subvol=/@/usr/local  0  0\n\
                 UUID=abcd-1  /root  btrfs  subvol=/@/root  0  0\nUUID=ef  /boot/efi  vfat  utf8  0  2\n"
            ),
            ["/root subvol=/@/root", "/usr/local subvol=/@/usr/local"]
        );
        assert_eq!(
            found(
                "UUID=other / btrfs subvol=root,compress=zstd:1 0 0\nUUID=other /home btrfs subvol=home,compress=zstd:1 0 0\n"
            ),
            ["/home subvol=home"]
        );
        assert_eq!(
            found("/dev/vda2 / btrfs rw,subvolid=256 0 0\n/dev/vda2 /home btrfs rw,subvolid=257"),
            ["/home subvolid=257"]
        );
        assert_eq!(
            found(
                "UUID=abcd-1 / btrfs subvol=@\n/dev/disk/by-uuid/abcd-1 /home btrfs subvol=@home\n/dev/disk/by-label/root /s btrfs subvol=s"
            ),
            ["/home subvol=@home", "/s subvol=s"]
        );
        // Without a line for the root; another filesystem; one that is left alone.
        assert_eq!(
            found("LABEL=root /srv btrfs subvol=@srv\nUUID=\"abcd-1\" /var auto subvol=/v"),
            ["/srv subvol=@srv", "/var subvol=/v"]
        );
        assert!(found("UUID=x / btrfs subvol=@\nUUID=y /home btrfs subvol=@home").is_empty());
        // mount(8) takes a UUID as a string.
        assert!(found("UUID=abcd-1 / btrfs subvol=@\nUUID=ABCD-1 /home btrfs subvol=@home").is_empty());
        assert!(found("UUID=abcd-1 /mnt btrfs noauto,subvol=/").is_empty());
        assert!(found("UUID=abcd-1 /snap btrfs subvol=\nLABEL= /x btrfs subvol=y").is_empty());
        assert_eq!(found(&"UUID=abcd-1 /x btrfs subvol=y\n".repeat(2000)).len(), SUBVOLUMES_MAX);
    }
}
