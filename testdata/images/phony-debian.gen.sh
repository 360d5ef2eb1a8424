#!/usr/bin/env bash
# phony-debian.qcow2: enough of a Debian 12 to fool the inspection, in a GPT disk like Debian's own cloud images.
# Committed, because `make demo` and the fast tests use it. The same script makes the same bytes with the same tools.
# With a second name (`phony-debian.gen.sh OUT.raw`) the disk is left raw there instead.
. "$(dirname "$0")/lib.sh"
. "$images_dir/phony-debian.tree.sh"

out=${1:-$images_dir/phony-debian.qcow2}
if [[ $# -eq 0 && -e $out && ${REBUILD:-0} = 0 ]]; then
  row phony-debian "$out" qcow2 gpt 512 1 debian12 phony
  exit 0
fi
need mke2fs debugfs sfdisk mkfs.vfat mcopy qemu-img

guest
phony_debian
disk=$stage/disk.raw
truncate -s 64M "$disk"
partition gpt "$disk" 512
make_ext4 "$disk" debian12 "$root_start" "$root_size" -J size=4 -L root
plant "$root_fs"
check_ext4 "$root_fs" extent 64bit metadata_csum has_journal ^orphan_file ^metadata_csum_seed ^needs_recovery

if [[ $# -eq 0 ]]; then
  convert "$disk" "$out" -c
  (($(stat -c %s "$out") < 1 << 20)) || die "$out is 1 MiB or more"
  row phony-debian "$out" qcow2 gpt 512 1 debian12 phony
else
  cp --sparse=always "$disk" "$out"
fi
