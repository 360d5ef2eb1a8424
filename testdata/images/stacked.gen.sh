#!/usr/bin/env bash
# The phony Debian with its root on LVM2 and on LUKS, and on one over the other. What lies where is found by LVM2's own report and by
# cryptsetup, and the filesystems are put there by stacked.py: no device-mapper, no mount.
. "$(dirname "$0")/lib.sh"
need lvm cryptsetup losetup sfdisk /usr/bin/python3 qemu-img e2fsck mke2fs
if ((EUID != 0)); then
  [[ ${REQUIRE_ORACLES:-0} != 1 ]] || die "must be root"
  say 'SKIP, not root'
  exit 0
fi
stacked=$images_dir/stacked.py
shelf=$(scratch)
trap 'rm -rf "$shelf"' EXIT

# The root filesystem of the committed guest: partition 1.
root=$shelf/root.ext4
tree() {
  [[ -e $root ]] || {
    qemu-img convert -O raw "$images_dir/phony-debian.qcow2" "$shelf/phony"
    dd if="$shelf/phony" of="$root" bs=1M skip=12 count=51 conv=sparse status=none
    rm "$shelf/phony"
    e2fsck -fn "$root" >/dev/null 2>&1 || die "the root of the phony guest is not where it was"
  }
}
lvm_type=E6D6D379-F507-44C2-A23C-238F2A3DF928
lv() { /usr/bin/python3 "$stacked" lv run "$disk" "$@" >/dev/null; }
make_lv() { lv lvcreate -an -Zn -Wn "$@"; }
# put NAME FILE: into a logical volume, and it is there when it is read back.
put() {
  /usr/bin/python3 "$stacked" lv put "$disk" "$1" "$2"
  /usr/bin/python3 "$stacked" lv get "$disk" "$1" "$shelf/back"
  cmp -s -n "$(stat -c %s "$2")" "$2" "$shelf/back" || die "$1 does not hold what was put there"
}

# lvm-gpt: one physical volume, a group with a hyphen in its name, a root of two segments, a text that runs over the end of its area.
lvm_gpt() {
  disk=$shelf/disk
  truncate -s 112M "$disk"
  sfdisk -q "$disk" <<<$'label: gpt\nsize=4M, type=U\ntype='"$lvm_type"
  lv pvcreate -ff -y --dataalignment 64k --metadatasize 60k {}
  lv vgcreate -s 4m debian-vg {}
  make_lv -l 5 -n root debian-vg
  make_lv -l 3 -n home-a debian-vg
  lv lvextend -l 13 debian-vg/root
  make_lv -l 2 -n swap_1 debian-vg
  put debian-vg/root "$root"
  mke2fs -q -t ext4 -L home "$shelf/home" 12m
  put debian-vg/home-a "$shelf/home"
  local tries=0
  until /usr/bin/python3 "$stacked" lv wrapped "$disk"; do
    ((tries++ < 60)) || die "the text does not come to the end of its area"
    lv lvrename debian-vg swap_1 swap_2
    lv lvrename debian-vg swap_2 swap_1
  done
}
# lvm-striped: three physical volumes, a root in stripes over them, a volume that begins on one and ends on another.
lvm_striped() {
  disk=$shelf/disk
  truncate -s 128M "$disk"
  sfdisk -q "$disk" <<<$'label: gpt\nsize=40M, type='"$lvm_type"$'\nsize=40M, type='"$lvm_type"$'\ntype='"$lvm_type"
  lv pvcreate -ff -y {}
  lv vgcreate -s 1m vg0 {}
  make_lv -i 3 -I 16k -l 54 -n root vg0
  make_lv -l 40 -n data vg0
  put vg0/root "$root"
  mke2fs -q -t ext4 -L data "$shelf/data" 40m
  put vg0/data "$shelf/data"
}
# lvm-whole: the disk is the physical volume.
lvm_whole() {
  disk=$shelf/disk
  truncate -s 64M "$disk"
  lv pvcreate -ff -y {}
  lv vgcreate -s 1m vgw {}
  make_lv -l 51 -n root vgw
  put vgw/root "$root"
}

# What opens every LUKS volume here; the second keyslot has another one.
printf 'open sesame' >"$shelf/key"
printf 'second key' >"$shelf/second"
quick=(--pbkdf-memory 32768 --pbkdf-parallel 2 --pbkdf-force-iterations 4)
# luks FILE SIZE PLAIN OPTION...: a LUKS volume with this in it.
luks() {
  local file=$1 size=$2 plain=$3
  shift 3
  rm -f "$file"; truncate -s "$size" "$file"
  cryptsetup luksFormat -q --key-file "$shelf/key" "$@" "$file"
  /usr/bin/python3 "$stacked" luks put "$file" "$shelf/key" "$plain"
  /usr/bin/python3 "$stacked" luks get "$file" "$shelf/key" "$shelf/back"
  cmp -s -n "$(stat -c %s "$plain")" "$plain" "$shelf/back" || die "the LUKS volume does not hold what was put there"
}
# A disk with an empty partition and one of LUKS.
luks_gpt() {
  disk=$shelf/disk
  luks "$shelf/luks" 60M "$root" "$@"
  truncate -s 68M "$disk"
  sfdisk -q "$disk" <<<$'label: gpt\nsize=4M, type=U\nsize=60M, type=L'
  /usr/bin/python3 "$stacked" part put "$disk" 2 "$shelf/luks"
}
luks1_gpt() { luks_gpt --type luks1 --hash sha512 --pbkdf-force-iterations 1000; }
luks2_gpt() { luks_gpt --type luks2 --offset 8192 --sector-size 512 "${quick[@]}"; }
luks2_4k() { luks_gpt --type luks2 --offset 8192 --sector-size 4096 --pbkdf argon2i "${quick[@]}"; }
# The cipher and the hash of old, on the whole disk; two keyslots.
luks1_cbc() {
  disk=$shelf/disk
  luks "$disk" 56M "$root" --type luks1 --cipher aes-cbc-essiv:sha256 --key-size 256 --hash ripemd160 --pbkdf-force-iterations 1000
  cryptsetup luksAddKey -q --key-file "$shelf/key" --pbkdf-force-iterations 1000 "$disk" "$shelf/second"
}
# A physical volume in a LUKS volume.
luks2_lvm() {
  disk=$shelf/pv
  rm -f "$disk"; truncate -s 54M "$disk"
  lv pvcreate -ff -y {}
  lv vgcreate -s 1m vgc {}
  make_lv -l 51 -n root vgc
  put vgc/root "$root"
  root=$disk luks_gpt --type luks2 --offset 8192 --pbkdf pbkdf2 --hash sha256 --pbkdf-force-iterations 1000
}
# A LUKS volume in a logical one.
luks2_on_lvm() {
  luks "$shelf/luks" 60M "$root" --type luks2 --offset 8192 --label outer "${quick[@]}"
  disk=$shelf/disk
  truncate -s 68M "$disk"
  sfdisk -q "$disk" <<<$'label: dos\ntype=8e'
  lv pvcreate -ff -y {}
  lv vgcreate -s 1m vgd {}
  make_lv -l 60 -n crypt vgd
  put vgd/crypt "$shelf/luks"
}

# image NAME FORMAT MAKER LAYOUT
image() {
  local out=$built/$1.$2
  if ! fresh "$out" "$stacked" "$images_dir/phony-debian.qcow2"; then
    tree
    rm -f "$shelf/disk"
    "$3"
    if [[ $2 = qcow2 ]]; then convert "$shelf/disk" "$out" -c; else cp --sparse=always "$shelf/disk" "$out.part"; mv "$out.part" "$out"; fi
    rm -f "$shelf/disk"
  fi
  row "$1" "$out" "$2" "$4" 512 0 debian12 stacked
}

image lvm-gpt raw lvm_gpt lvm
image lvm-striped raw lvm_striped lvm
image lvm-whole qcow2 lvm_whole lvm
image luks1-gpt raw luks1_gpt luks
image luks1-cbc raw luks1_cbc luks
image luks2-gpt raw luks2_gpt luks
image luks2-4k qcow2 luks2_4k luks
image luks2-lvm qcow2 luks2_lvm luks
image luks2-on-lvm raw luks2_on_lvm luks
