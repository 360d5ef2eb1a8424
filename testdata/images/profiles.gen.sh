#!/usr/bin/env bash
# profile-NAME.raw: one whole-disk filesystem for each profile of mke2fs.conf, with the phony Debian in it and one of every
# kind of file that a driver must carry unharmed: directories with an index, a file in hundreds of extents, symlinks short
# and long, xattrs in the inode and in a block, a hard link, devices, names of 255 bytes and in UTF-8.
. "$(dirname "$0")/lib.sh"
. "$images_dir/phony-debian.tree.sh"
need mke2fs debugfs e2fsck dumpe2fs tune2fs python3
shelf=$(scratch)
trap 'rm -rf "$shelf"' EXIT

# profile  size  premises (features that must, or with ^ must not, be there)
table='
debian11      512M  extent 64bit metadata_csum flex_bg ^orphan_file ^metadata_csum_seed
debian12      512M  extent 64bit metadata_csum flex_bg ^orphan_file ^metadata_csum_seed
debian13      512M  extent 64bit metadata_csum orphan_file metadata_csum_seed
ubuntu2004    512M  extent 64bit metadata_csum ^orphan_file
ubuntu2204    512M  extent 64bit metadata_csum ^orphan_file
ubuntu2404    512M  extent 64bit metadata_csum ^orphan_file ^metadata_csum_seed
ubuntu2604    512M  extent 64bit metadata_csum orphan_file metadata_csum_seed
rhel7         512M  extent 64bit uninit_bg ^metadata_csum
rhel8         512M  extent 64bit metadata_csum
rhel9         512M  extent 64bit metadata_csum
rhel10        512M  extent 64bit metadata_csum orphan_file metadata_csum_seed
alpine        512M  extent ^64bit metadata_csum orphan_file metadata_csum_seed
b1k           128M  extent 64bit metadata_csum
b2k           256M  extent 64bit metadata_csum
b1k-ino128    128M  extent metadata_csum ^extra_isize
ino128        256M  extent metadata_csum ^extra_isize
ino512        256M  extent metadata_csum
gdt-csum      256M  extent uninit_bg ^metadata_csum
no-csum       256M  extent ^uninit_bg ^metadata_csum
sparse-super2 512M  sparse_super2 ^sparse_super
no-flex-bg    512M  ^flex_bg
meta-bg       512M  meta_bg ^resize_inode
no-journal    256M  ^has_journal
no-dir-index  256M  ^dir_index
b1k-orphan    128M  orphan_file metadata_csum_seed
tight-inodes  512M  extent
ext3          256M  has_journal ^extent
ext2          256M  ^has_journal ^extent
bigalloc      256M  bigalloc
inline-data   256M  inline_data
ea-inode      256M  ea_inode
large-dir     256M  large_dir
quota         256M  quota
project       256M  project quota
casefold      256M  casefold
encrypt       256M  encrypt
verity        256M  verity
mmp           256M  mmp
stable-inodes 256M  stable_inodes
'
# Those after ext3 are not promised: they must work or be refused by name, and never be damaged.
beyond=' ext3 ext2 bigalloc inline-data ea-inode large-dir quota project casefold encrypt verity mmp stable-inodes '

# What is in every profile: tests may count on these names.
menagerie() { # BLOCK
  local i path long
  phony_debian
  d 0755 0 0 /srv/zoo
  d 0755 0 0 /srv/zoo/many
  for ((i = 0; i < 1200; i++)); do
    l "target-$i" "/srv/zoo/many/a-name-that-is-not-very-short-$i"
  done
  path=/srv/zoo
  for ((i = 0; i < 30; i++)); do path+=/deep; d 0750 1000 1000 $path; done
  # Every second block a hole: 700 extents, more than the leaves under one inode can list at 1 KiB and at 4 KiB.
  python3 - "$stage/fragmented" "$1" <<'END'
import sys
block = int(sys.argv[2])
with open(sys.argv[1], "wb") as out:
    for n in range(700):
        out.seek(2 * n * block)
        out.write(b"%08d" % n * (block // 8))
END
  host_file "$stage/fragmented" 0640 33 33 /srv/zoo/fragmented
  truncate -s 1M "$stage/hole"
  host_file "$stage/hole" 0600 0 0 /srv/zoo/hole
  f 0644 0 0 /srv/zoo/empty </dev/null
  f 0644 0 0 /srv/zoo/linked <<<'one inode, two names'
  h /srv/zoo/linked /srv/zoo/linked-too 2
  f 4755 0 0 /srv/zoo/setuid <<<'setuid'
  f 2711 0 42 /srv/zoo/setgid <<<'setgid'
  d 3775 1000 42 /srv/zoo/sticky
  f 0644 70000 4000000 /srv/zoo/high-ids <<<'owner and group above 65535'
  l /etc/passwd /srv/zoo/link-absolute
  l "$(printf 'x%.0s' {1..59})" /srv/zoo/link-59
  l "$(printf 'x%.0s' {1..60})" /srv/zoo/link-60
  l "$(printf 'directory/%.0s' {1..90})" /srv/zoo/link-900
  l loop-b /srv/zoo/loop-a
  l loop-a /srv/zoo/loop-b
  l ../../../../../../etc/hostname /srv/zoo/link-above
  n /srv/zoo/fifo p
  n /srv/zoo/char c 10 200
  n /srv/zoo/block b 259 4
  n /srv/zoo/block-high b 300 60000
  long=$(printf 'n%.0s' {1..255})
  f 0644 0 0 "/srv/zoo/$long" <<<'a name of 255 bytes'
  f 0644 0 0 '/srv/zoo/größe 寸法' <<<'a name in UTF-8'
  f 0644 0 0 /srv/zoo/attributes <<<'xattrs'
  x /srv/zoo/attributes user.small yes
  # struct vfs_cap_data, revision 2: cap_net_bind_service, permitted and effective.
  x /srv/zoo/attributes security.capability '\0001\0\0\0002\0\0004\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
  f 0644 0 0 /srv/zoo/attributes-block <<<'xattrs that do not fit into the inode'
  x /srv/zoo/attributes-block user.large "$(printf 'v%.0s' {1..600})"
  x /srv/zoo/attributes-block user.other second
}

# The tree is written down once for each block size, and planted many times.
declare -A stages=()
stage_for() { # BLOCK
  if [[ -z ${stages[$1]:-} ]]; then
    guest
    menagerie "$1"
    stages[$1]=$stage
  fi
  stage=${stages[$1]}
}

# deliver PART IMAGE: a build that is cut off leaves no half image under the final name.
deliver() { cp --sparse=always "$1" "$2.part" && mv "$2.part" "$2" && rm "$1"; }

build() { # NAME SIZE FEATURE...
  local journal name=$1 size=$2 image=$built/profile-$1.raw part=$shelf/profile.raw block inode group=profile
  shift 2
  [[ $beyond != *" $name "* ]] || group=beyond
  if fresh "$image" "$images_dir/phony-debian.tree.sh"; then row "profile-$name" "$image" raw whole 512 0 "$name" $group; return; fi
  rm -f "$part"; truncate -s "$size" "$part"
  journal=(-J size=4)
  [[ " $* " != *' ^has_journal '* ]] || journal=()
  make_ext4 "$part" "$name" 0 "$(stat -c %s "$part")" -L "$name" "${journal[@]}"
  block=$(dumpe2fs -h "$part" 2>/dev/null | sed -n 's/^Block size: *//p')
  stage_for "$block"
  plant "$part"
  # The kernel indexes a directory as it grows; neither debugfs nor mke2fs -d does, so e2fsck does it here.
  e2fsck -fyD "$part" >"$built/.log" 2>&1 || (($? == 1)) || { cat "$built/.log" >&2; die "e2fsck -D failed on $name"; }
  check_ext4 "$part" "$@"
  if [[ $name != no-dir-index && $name != ext2 ]]; then
    [[ $(debugfs -R 'htree_dump /srv/zoo/many' "$part" 2>/dev/null) = *'Number of entries'* ]] || die "$name: /srv/zoo/many has no index"
  fi
  deliver "$part" "$image"
  row "profile-$name" "$image" raw whole 512 0 "$name" $group
}

while read -r name size premises; do
  # shellcheck disable=SC2086
  [[ -z $name ]] || build "$name" "$size" $premises
done <<<"$table"

# A new UUID after the checksum seed was stored: the seed and the UUID no longer agree.
image=$built/profile-reseeded.raw
if ! fresh "$image"; then
  cp --sparse=always "$built/profile-debian13.raw" "$image"
  tune2fs -U 6d677261-6674-4000-8000-00000000abcd "$image" >/dev/null
  check_ext4 "$image" metadata_csum_seed
  [[ $(dumpe2fs -h "$image" 2>/dev/null) = *'Checksum seed'* ]] || die "no checksum seed in $image"
fi
row profile-reseeded "$image" raw whole 512 0 debian13 profile

# Every unused byte is old data: a driver that trusts an uninitialised table or a fresh block to be zero is found out.
image=$built/profile-garbage.raw
if ! fresh "$image"; then
  part=$shelf/profile.raw
  rm -f "$part"
  head -c 96M /dev/zero | tr '\0' '\245' >"$part"
  make_ext4 "$part" b1k 0 $((96 << 20)) -L garbage
  guest
  phony_debian
  plant "$part"
  check_ext4 "$part" metadata_csum
  [[ $(dumpe2fs "$part" 2>/dev/null) = *INODE_UNINIT* ]] || die "no uninitialised group in $image"
  deliver "$part" "$image"
fi
row profile-garbage "$image" raw whole 512 0 b1k profile
