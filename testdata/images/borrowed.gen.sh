#!/usr/bin/env bash
# Debian with its root on XFS and on btrfs: filesystems that imgraft borrows a kernel for. The tree is debian.gen.sh's.
. "$(dirname "$0")/lib.sh"
need mkfs.xfs xfs_repair mkfs.btrfs btrfs mount umount tar sfdisk mkfs.vfat mcopy qemu-img
if ((EUID != 0)); then
  [[ ${REQUIRE_ORACLES:-0} != 1 ]] || die "must be root"
  say 'SKIP, not root'
  exit 0
fi
tar=$built/rootfs-bookworm.tar
[[ -e $tar ]] || "$images_dir/debian.gen.sh"
[[ -e $tar ]] || { say 'SKIP, no tree of a guest'; exit 0; }

mnt=$(mktemp -d "$built/.mnt.XXXXXX")
part=$built/.borrowed.fs
trap 'mountpoint -q "$mnt" && umount "$mnt"; rmdir "$mnt"; rm -f "$part" "$built/.borrowed.raw"' EXIT

unpack() { tar -C "$1" --numeric-owner --xattrs --xattrs-include='*' -xf "$tar"; }

# The ways to fill a filesystem in the file $part.
xfs() {
  mkfs.xfs -q -m uuid="$uuid_fs" -L root "$part"
  mount -o loop,nouuid "$part" "$mnt"
  unpack "$mnt"
  umount "$mnt"
  xfs_repair -n "$part" >"$built/.log" 2>&1 || { cat "$built/.log" >&2; die "xfs_repair does not like it"; }
}
btrfs_top() {
  # One that was interrupted leaves it.
  rm -rf "$part.tree"
  mkdir "$part.tree"
  unpack "$part.tree"
  mkfs.btrfs -q -U "$uuid_fs" -L root --rootdir "$part.tree" "$part"
  rm -rf "$part.tree"
  judge_btrfs
}
btrfs_subvolume() {
  mkfs.btrfs -q -U "$uuid_fs" -L root "$part"
  mount -o loop "$part" "$mnt"
  btrfs -q subvolume create "$mnt/@"
  btrfs -q subvolume create "$mnt/@home"
  unpack "$mnt/@"
  printf 'LABEL=root / btrfs defaults,subvol=@ 0 0\nLABEL=root /home btrfs defaults,subvol=@home 0 0\n' >"$mnt/@/etc/fstab"
  umount "$mnt"
  judge_btrfs
}
judge_btrfs() {
  btrfs check --readonly "$part" >"$built/.log" 2>&1 || { cat "$built/.log" >&2; die "btrfs check does not like it"; }
}

# disk NAME PROFILE FILL: built/NAME.raw and built/NAME.v3c.qcow2
disk() {
  local image=$built/$1.raw new=$built/.borrowed.raw
  if ! fresh "$image" "$tar"; then
    rm -f "$new" "$part"; truncate -s 1536M "$new"
    partition gpt "$new" 512
    truncate -s "$root_size" "$part"
    "$3"
    dd if="$part" of="$new" bs=64K seek="$root_start" oflag=seek_bytes conv=notrunc,sparse status=none
    mv "$new" "$image"
  fi
  row "$1" "$image" raw gpt 512 1 "$2" borrowed
  fresh "$built/$1.v3c.qcow2" "$image" || convert "$image" "$built/$1.v3c.qcow2" -o compat=1.1 -c
  row "$1.v3c" "$built/$1.v3c.qcow2" qcow2 gpt 512 1 "$2" borrowed
}

disk bookworm-xfs xfs xfs
disk bookworm-btrfs btrfs btrfs_top
disk bookworm-btrfs-sub btrfs btrfs_subvolume
