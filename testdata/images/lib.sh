# Shared by the *.gen.sh scripts: sourced, never run.
#
# Nothing here mounts anything or needs a loop device. Filesystems are made by mke2fs and filled by `mke2fs -d` (real
# trees) or by debugfs (phony trees, where owners and labels are set without being root).
# shellcheck shell=bash
set -euo pipefail
export LC_ALL=C TZ=UTC0

images_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
testdata_dir=$(dirname "$images_dir")
built=${IMGRAFT_TESTDATA:-$testdata_dir/built}
rows=$built/manifest.d

# One time for every image, so that the same script makes the same bytes.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1700000000}
export E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH E2FSCK_TIME=$SOURCE_DATE_EPOCH
export MKE2FS_CONFIG=$images_dir/mke2fs.conf MKE2FS_SYNC=0
PATH=$PATH:/usr/sbin:/sbin

uuid_fs=6d677261-6674-4000-8000-000000000001
uuid_hash=6d677261-6674-4000-8000-000000000002
uuid_disk=6d677261-6674-4000-8000-000000000010

mkdir -p "$built" "$rows"

say()  { printf '%s: %s\n' "$(basename "$0" .gen.sh)" "$*" >&2; }
die()  { say "error: $*"; exit 1; }

# need TOOL...: leaves the whole script with a printed skip when a tool is missing (a failure under REQUIRE_ORACLES=1).
need() {
  local tool missing=()
  for tool; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  ((${#missing[@]})) || return 0
  if [[ ${REQUIRE_ORACLES:-0} = 1 ]]; then die "missing: ${missing[*]}"; fi
  say "SKIP, missing: ${missing[*]}"
  exit 0
}

# fresh OUT: true when OUT is there and newer than everything that makes it; then the caller has nothing to do.
fresh() {
  local src
  [[ -e $1 ]] || return 1
  for src in "$0" "$images_dir/lib.sh" "$images_dir/mke2fs.conf" "${@:2}"; do [[ $1 -nt $src ]] || return 1; done
}

# row NAME PATH FORMAT LAYOUT SECTOR PART PROFILE GROUP: one line of manifest.tsv. Called only after the premises held.
row() {
  local name=$1 path=$2 format=$3 size
  size=$(virtual_size "$format" "$path")
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$(realpath --relative-to="$built" "$path")" "$format" \
    "$4" "$5" "$6" "$7" "$size" yes "$8" >"$rows/$name.tsv"
}

virtual_size() {
  if [[ $1 = raw ]]; then stat -c %s "$2"; else od -An -tu8 --endian=big -j24 -N8 "$2" | tr -d ' '; fi
}

# scratch: where small images are put together. e2fsprogs wait for the disk after each command; memory has no disk to wait for.
scratch() {
  local free
  free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -1)
  if [[ -w /dev/shm && ${free:-0} -gt 524288 ]]; then mktemp -d /dev/shm/imgraft.XXXXXX; else mktemp -d "$built/.scratch.XXXXXX"; fi
}

# check_ext4 IMAGE[?offset=N] FEATURE...: e2fsck finds nothing, and exactly the named features are (or, with ^, are not) there.
check_ext4() {
  local image=$1 have feature
  e2fsck -fn "$image" >"$built/.log" 2>&1 || { cat "$built/.log" >&2; die "e2fsck does not like $image"; }
  have=$(dumpe2fs -h "$image" 2>/dev/null | sed -n 's/^Filesystem features: *//p')
  for feature in "${@:2}"; do
    case $feature in
      ^*) [[ " $have " != *" ${feature#^} "* ]] || die "$image has $feature, which it must not ($have)" ;;
      *)  [[ " $have " == *" $feature "* ]] || die "$image lacks $feature ($have)" ;;
    esac
  done
}

# convert RAW QCOW2 [qemu-img arguments]: and the two must be the same guest, in a file that qemu-img finds clean.
convert() {
  local raw=$1 out=$2
  shift 2
  rm -f "$out.part"
  qemu-img convert -f raw -O qcow2 "$@" "$raw" "$out.part"
  qemu-img check -q -f qcow2 "$out.part" || die "qemu-img check does not like $out"
  qemu-img compare -q -f raw -F qcow2 "$raw" "$out.part" || die "$out does not hold what $raw holds"
  mv "$out.part" "$out"
}

# ---------------------------------------------------------------------------------------------------------------------
# Phony trees: `guest` starts one, d f l n x write it down, `plant IMAGE [OFFSET]` puts it into a filesystem.
# Paths are absolute. A label in the fifth place becomes security.selinux.
guest() {
  stage=$(mktemp -d "$built/.stage.$$.XXXXXX")
  trap 'rm -rf "$built"/.stage.$$.* ${shelf:+"$shelf"}' EXIT
  : >"$stage/commands"
  serial=0 cwd=
}
sif()   { printf 'sif "%s" %s %s\n' "$1" "$2" "$3" >>"$stage/commands"; }
owner() { # MODE(octal with type) UID GID PATH [LABEL]
  sif "$4" mode "$1"; sif "$4" uid "$2"; sif "$4" gid "$3"
  [[ -z ${5:-} ]] || x "$4" security.selinux "$5"
}
# Most debugfs commands name a new file in the working directory only.
enter() {
  local dir=${1%/*}
  [[ $dir = "${cwd:-}" && -n $dir ]] || printf 'cd "%s"\n' "${dir:-/}" >>"$stage/commands"
  cwd=$dir
}
# d MODE UID GID PATH [LABEL]
d() {
  [[ $4 = / ]] || { enter "$4"; printf 'mkdir "%s"\n' "${4##*/}" >>"$stage/commands"; }
  owner "04${1}" "$2" "$3" "$4" "${5:-}"
}
# f MODE UID GID PATH [LABEL] <content
f() {
  local host
  slot
  cat >"$host"
  host_file "$host" "$@"
}
# slot: sets host to a name that nothing has yet. Counting would not do: at the end of a pipe the count is lost.
slot() { while host=$stage/$((++serial)); [[ -e $host ]]; do :; done; }
host_file() {
  enter "$5"; printf 'write "%s" "%s"\n' "$1" "${5##*/}" >>"$stage/commands"
  owner "010${2}" "$3" "$4" "$5" "${6:-}"
}
# l TARGET PATH [LABEL]
l() {
  enter "$2"; printf 'symlink "%s" "%s"\n' "${2##*/}" "$1" >>"$stage/commands"
  [[ -z ${3:-} ]] || x "$2" security.selinux "$3"
}
# n PATH TYPE [MAJOR MINOR]
n() { enter "$1"; printf 'mknod "%s" %s\n' "${1##*/}" "${*:2}" >>"$stage/commands"; }
# x PATH NAME VALUE: security labels end with a NUL, as the kernel's do.
x() {
  local host
  slot
  printf '%b' "$3" >"$host"
  [[ $2 != security.selinux ]] || printf '\0' >>"$host"
  printf 'ea_set -f "%s" "%s" %s\n' "$host" "$1" "$2" >>"$stage/commands"
}
# h EXISTING PATH LINKS: a hard link, and the link count that the file has after it.
h() { printf 'ln "%s" "%s"\n' "$1" "$2" >>"$stage/commands"; sif "$1" links_count "$3"; }

# plant IMAGE[?offset=N]: debugfs answers 0 whatever happens, so what it says is looked at.
plant() {
  debugfs -w -f "$stage/commands" "$1" >"$stage/log" 2>&1 || { cat "$stage/log" >&2; die "debugfs failed on $1"; }
  if grep -vE '^(debugfs[: ]|Allocated inode: |$)' "$stage/log" >"$stage/complaints"; then
    cat "$stage/complaints" >&2
    die "debugfs did not do all that it was told to do in $1"
  fi
}

# ---------------------------------------------------------------------------------------------------------------------
# Disks. The root filesystem is the only thing that differs between them, so each layout says where it starts.

# esp IMAGE OFFSET SECTORS_OF_512: a FAT filesystem with one file on it, written at OFFSET.
esp() {
  local fat=$built/.esp.$$ text=$built/.efi.$$
  rm -f "$fat"; truncate -s $(($3 * 512)) "$fat"
  mkfs.vfat --invariant -i 1A2B3C4D -n ESP "$fat" >/dev/null
  mmd -i "$fat" ::/EFI ::/EFI/BOOT
  printf 'not a boot loader\n' >"$text"; touch -d "@$SOURCE_DATE_EPOCH" "$text"
  mcopy -m -i "$fat" "$text" ::/EFI/BOOT/BOOTX64.EFI
  dd if="$fat" of="$1" bs=64K seek="$2" oflag=seek_bytes conv=notrunc,sparse status=none
  rm -f "$fat" "$text"
}

# table DISK SECTOR <SCRIPT: sfdisk only knows 512-byte sectors in a file; fdisk loads the same script for others.
table() {
  if (($2 == 512)); then sfdisk -q "$1"; return; fi
  cat >"$built/.table"
  printf 'I\n%s\nw\n' "$built/.table" | fdisk -w never -W never -b "$2" "$1" >"$built/.log" 2>&1
  rm -f "$built/.table"
  [[ $(fdisk -b "$2" -l "$1") = *"Disk identifier: ${uuid_disk^^}"* ]] || { cat "$built/.log" >&2; die "fdisk made no table in $1"; }
}

# partition LAYOUT DISK SECTOR: writes the table; sets root_part, root_start and root_size (bytes).
# The GPT is numbered as Debian's and Ubuntu's cloud images are: the root is 1, though it lies last.
partition() {
  local layout=$1 disk=$2 sector=$3 bytes esp_start bios
  bytes=$(stat -c %s "$disk")
  case $layout in
    whole)
      root_part=0 root_start=0 root_size=$bytes ;;
    gpt)
      bios=$((1 << 20)) esp_start=$((4 << 20)) root_part=1 root_start=$((12 << 20))
      root_size=$((bytes - root_start - (1 << 20)))
      table "$disk" "$sector" <<END
label: gpt
label-id: $uuid_disk
1  : start=$((root_start / sector)), size=$((root_size / sector)), type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=6d677261-6674-4000-8000-000000000011, name="root"
14 : start=$((bios / sector)), size=$(((3 << 20) / sector)), type=21686148-6449-6E6F-744E-656564454649, uuid=6d677261-6674-4000-8000-00000000001e
15 : start=$((esp_start / sector)), size=$(((8 << 20) / sector)), type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=6d677261-6674-4000-8000-00000000001f, name="esp"
END
      esp "$disk" "$esp_start" $(((8 << 20) / 512)) ;;
    mbr)
      root_part=1 root_start=$((1 << 20)) root_size=$((bytes - root_start))
      table "$disk" "$sector" <<END
label: dos
label-id: 0x6d677261
1 : start=$((root_start / sector)), size=$((root_size / sector)), type=83, bootable
END
      ;;
    mbr-logical)
      # 1 is an empty primary one, 2 holds the logical ones: 5 is swap-sized and empty, 6 is the root.
      root_part=6 root_start=$((36 << 20)) root_size=$((bytes - root_start))
      table "$disk" "$sector" <<END
label: dos
label-id: 0x6d677261
1 : start=$(((1 << 20) / sector)), size=$(((8 << 20) / sector)), type=83
2 : start=$(((10 << 20) / sector)), size=$(((bytes - (10 << 20)) / sector)), type=5
5 : start=$(((11 << 20) / sector)), size=$(((16 << 20) / sector)), type=82
6 : start=$((root_start / sector)), size=$((root_size / sector)), type=83
END
      ;;
    *) die "no such layout: $layout" ;;
  esac
}

# make_ext4 IMAGE PROFILE OFFSET BYTES [mke2fs arguments]: sets root_fs, the name by which e2fsprogs know the filesystem.
make_ext4() {
  local image=$1 profile=$2 offset=$3 bytes=$4
  mke2fs -q -F -t ext4 -T "$profile" -U "$uuid_fs" \
    -E "offset=$offset,hash_seed=$uuid_hash,lazy_itable_init=1,nodiscard" "${@:5}" "$image" $((bytes / 1024))k >"$built/.log" 2>&1 ||
    { cat "$built/.log" >&2; die "mke2fs -T $profile failed"; }
  root_fs=$image
  ((offset == 0)) || root_fs="$image?offset=$offset"
}
