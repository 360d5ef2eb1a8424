#!/usr/bin/env bash
# phony-el.qcow2: enough of an Enterprise Linux 9 to fool the inspection: SELinux with a file_contexts of its own, every
# file labelled by it, NetworkManager, shadow 0000, rc.local in rc.d. Committed; see phony-debian.gen.sh.
. "$(dirname "$0")/lib.sh"
. "$images_dir/phony-el.tree.sh"

out=${1:-$images_dir/phony-el.qcow2}
if [[ $# -eq 0 && -e $out && ${REBUILD:-0} = 0 ]]; then
  row phony-el "$out" qcow2 gpt 512 1 rhel9 phony
  exit 0
fi
need mke2fs debugfs sfdisk mkfs.vfat mcopy qemu-img

guest
phony_el
disk=$stage/disk.raw
truncate -s 64M "$disk"
partition gpt "$disk" 512
make_ext4 "$disk" rhel9 "$root_start" "$root_size" -J size=4 -L root
plant "$root_fs"
check_ext4 "$root_fs" extent 64bit metadata_csum has_journal ^orphan_file ^needs_recovery
label=$(debugfs -R 'ea_get /etc/shadow security.selinux' "$root_fs" 2>/dev/null)
[[ $label = *system_u:object_r:shadow_t:s0* ]] || die "/etc/shadow has the wrong label: $label"
# The policy's three files each say what they are for.
policy() {
  local text
  text=$(debugfs -R "cat /etc/selinux/targeted/contexts/files/$1" "$root_fs" 2>/dev/null)
  [[ $text = *"$2"* ]] || die "$1 does not say: $2"
  ((${#3} == 0)) || [[ $text != *"$3"* ]] || die "$1 says what another file should: $3"
}
tab=$'\t'
policy file_contexts "/etc/shadow.*${tab}--${tab}system_u:object_r:shadow_t:s0" admin_home_t
policy file_contexts.homedirs "/root(/.*)?${tab}system_u:object_r:admin_home_t:s0" shadow_t
policy file_contexts.subs_dist "/usr/lib64 /usr/lib" system_u
# The labels were chosen by a rough matcher (phony-el.tree.sh); where libselinux is installed, it reads the policy out of the
# image and has the last word.
if command -v selabel_lookup >/dev/null; then
  mkdir "$stage/policy"
  for name in file_contexts file_contexts.homedirs file_contexts.subs_dist; do
    debugfs -R "dump /etc/selinux/targeted/contexts/files/$name $stage/policy/$name" "$root_fs" 2>/dev/null
  done
  while read -r path type label; do
    said=$(selabel_lookup -b file -f "$stage/policy/file_contexts" -k "$path" -t "$type" 2>&1 | sed -n 's/^Default context: *//p')
    [[ $said = "$label" ]] || die "$path: labelled $label, but libselinux says $said"
  done <"$stage/labels"
fi

if [[ $# -eq 0 ]]; then
  convert "$disk" "$out" -c
  (($(stat -c %s "$out") < 1 << 20)) || die "$out is 1 MiB or more"
  row phony-el "$out" qcow2 gpt 512 1 rhel9 phony
else
  cp --sparse=always "$disk" "$out"
fi
