#!/usr/bin/env bash
# The phony Debian on several filesystems: /boot, the ESP and /home beside the root, named by its fstab in every way or found by
# their types; the root on LVM2 and on LUKS; /home on XFS. Nothing is mounted.
. "$(dirname "$0")/lib.sh"
. "$images_dir/phony-debian.tree.sh"
need mke2fs debugfs e2fsck sfdisk mkfs.vfat mcopy /usr/bin/python3

stacked=$images_dir/stacked.py
shelf=$(scratch)
trap 'rm -rf "$shelf"' EXIT
disk=$shelf/disk
uuid_boot=6d677261-6674-4000-8000-0000000000b0
uuid_esp_part=6d677261-6674-4000-8000-0000000000e1
uuid_root_luks=6d677261-6674-4000-8000-0000000000c1
uuid_home_luks=6d677261-6674-4000-8000-0000000000c2
printf 'open sesame' >"$shelf/key"

# root FILE <FSTAB: the root filesystem; what it has in /boot and /home is hidden by what is mounted there.
root() {
  local fstab
  fstab=$(cat)
  guest
  phony_debian
  printf 'rm "/etc/fstab"\n' >>"$stage/commands"
  cwd=
  f 0644 0 0 /etc/fstab <<<"$fstab"
  "${more:-:}"
  truncate -s 48M "$1"
  make_ext4 "$1" debian12 0 $((48 << 20)) -J size=4 -L root
  plant "$1"
  check_ext4 "$1" has_journal
}
hidden() {
  d 0755 0 0 /data; d 0755 0 0 /nfs
  f 0644 0 0 /boot/hidden <<<'under what is mounted'
}
encrypted() {
  hidden
  f 0600 0 0 /etc/crypttab <<END
root_crypt UUID=$uuid_root_luks none luks
home_crypt UUID=$uuid_home_luks none luks
END
}
automatic() {
  d 0755 0 0 /usr/lib/systemd/system-generators
  f 0755 0 0 /usr/lib/systemd/system-generators/systemd-gpt-auto-generator <<<'placeholder of a generator'
  printf 'rm /home/debian/.profile\nrmdir /home/debian\n' >>"$stage/commands"
}
boot() {
  guest
  d 0755 0 0 /
  f 0644 0 0 /vmlinuz <<<'placeholder of a kernel'
  d 0755 0 0 /efi
  truncate -s 8M "$1"
  mke2fs -q -F -t ext4 -b 1024 -U "$uuid_boot" -L boot -J size=1 "$1"
  plant "$1"
}
home() {
  guest
  d 0755 0 0 /
  d 0700 1000 1000 /debian
  f 0644 1000 1000 /debian/.profile <<<'# of the mounted home'
  truncate -s 8M "$1"
  mke2fs -q -F -t ext4 -b 1024 -L home -J size=1 "$1"
  plant "$1"
}
put() { /usr/bin/python3 "$stacked" part put "$disk" "$1" "$2"; }
# table SIZE TYPE-OF-2 TYPE-OF-3 TYPE-OF-4: the ESP is 1 and /boot is 2; both are filled.
layout() {
  rm -f "$disk"; truncate -s "$1" "$disk"
  sfdisk -q "$disk" <<END
label: gpt
label-id: $uuid_disk
1 : start=2048, size=8MiB, type=U, uuid=$uuid_esp_part, name="EFI system"
2 : size=8MiB, type=$2
3 : size=$3
4 : $4
END
  esp "$disk" $((1 << 20)) $((8 << 11))
  boot "$shelf/boot"
  put 2 "$shelf/boot"
}

tree_gpt() {
  layout 76M L '48MiB, type=L' 'size=8MiB, type=L, name="home"'
  more=hidden root "$shelf/root" <<END
# the innermost first, on purpose
PARTUUID=$uuid_esp_part /boot/efi vfat umask=0077 0 1
UUID=$uuid_fs / ext4 errors=remount-ro 0 1
UUID=$uuid_boot /boot ext4 defaults 0 2
LABEL=home /home ext4 defaults 0 2
tmpfs /tmp tmpfs defaults 0 0
/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0
LABEL=gone /data ext4 nofail 0 2
/srv/data /mnt none bind 0 0
nas:/export /nfs nfs defaults 0 0
END
  put 3 "$shelf/root"
  home "$shelf/home"
  put 4 "$shelf/home"
}
tree_auto() {
  layout 76M BC13C2FF-59E6-4262-A352-B275FD6F7172 '48MiB, type=L' 'size=8MiB, type=933AC7E1-2EB4-4F13-B844-0E14E2AEF915'
  more=automatic root "$shelf/root" <<<'# nothing is said'
  put 3 "$shelf/root"
  home "$shelf/home"
  put 4 "$shelf/home"
}
lv() { /usr/bin/python3 "$stacked" lv run "$disk" "$@" >/dev/null; }
tree_lvm() {
  layout 84M L '65MiB, type=E6D6D379-F507-44C2-A23C-238F2A3DF928' 'size=1MiB, type=L'
  lv pvcreate -ff -y {}
  lv vgcreate -s 1m deb-vg {}
  lv lvcreate -an -Zn -Wn -l 48 -n root deb-vg
  lv lvcreate -an -Zn -Wn -l 8 -n home-a deb-vg
  more=hidden root "$shelf/root" <<'END'
/dev/mapper/deb--vg-root / ext4 errors=remount-ro 0 1
/dev/sda2 /boot ext4 defaults 0 2
/dev/disk/by-partlabel/EFI\x20system /boot/efi vfat umask=0077 0 1
/dev/deb-vg/home-a /home ext4 defaults 0 2
END
  /usr/bin/python3 "$stacked" lv put "$disk" deb-vg/root "$shelf/root"
  home "$shelf/home"
  /usr/bin/python3 "$stacked" lv put "$disk" deb-vg/home-a "$shelf/home"
}
# luks FILE SIZE PLAIN UUID
luks() {
  rm -f "$1"; truncate -s "$2" "$1"
  cryptsetup luksFormat -q --key-file "$shelf/key" --type luks2 --offset 8192 --sector-size 512 --pbkdf pbkdf2 \
    --pbkdf-force-iterations 1000 --uuid "$4" "$1"
  /usr/bin/python3 "$stacked" luks put "$1" "$shelf/key" "$3"
}
tree_luks() {
  layout 96M L '53MiB, type=L' 'size=13MiB, type=L'
  more=encrypted root "$shelf/root" <<END
/dev/mapper/root_crypt / ext4 errors=remount-ro 0 1
UUID=$uuid_boot /boot ext4 defaults 0 2
PARTUUID=$uuid_esp_part /boot/efi vfat umask=0077 0 1
/dev/mapper/home_crypt /home ext4 defaults 0 2
END
  luks "$shelf/luks" 53M "$shelf/root" "$uuid_root_luks"
  put 3 "$shelf/luks"
  home "$shelf/home"
  luks "$shelf/luks" 13M "$shelf/home" "$uuid_home_luks"
  put 4 "$shelf/luks"
}
tree_xfs() {
  layout 376M L '48MiB, type=L' 'size=304MiB, type=L'
  more=hidden root "$shelf/root" <<END
UUID=$uuid_fs / ext4 errors=remount-ro 0 1
UUID=$uuid_boot /boot ext4 defaults 0 2
LABEL=home /home xfs defaults 0 2
END
  put 3 "$shelf/root"
  rm -f "$shelf/home"; truncate -s 304M "$shelf/home"
  mkfs.xfs -q -L home "$shelf/home"
  put 4 "$shelf/home"
}

# image NAME LAYOUT PART
image() {
  local out=$built/$1.raw
  if ! fresh "$out" "$stacked" "$images_dir/phony-debian.tree.sh"; then
    "${1//-/_}"
    cp --sparse=always "$disk" "$out.part"
    mv "$out.part" "$out"
  fi
  row "$1" "$out" raw "$2" 512 "$3" debian12 tree
}

image tree-gpt gpt 3
image tree-auto gpt 3
need lvm cryptsetup losetup mkfs.xfs
if ((EUID != 0)); then
  [[ ${REQUIRE_ORACLES:-0} != 1 ]] || die "must be root"
  say 'SKIP the rest, not root'
  exit 0
fi
image tree-lvm lvm 0
image tree-luks luks 3
image tree-xfs gpt 3
