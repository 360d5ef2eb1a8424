#!/usr/bin/env bash
# Real guests: Debian from its own packages, in every layout and format that the tests ask for.
#   debian.gen.sh          the set described in testdata/INDEX.md
#   debian.gen.sh bench    the 20 GiB pair that `make bench` measures on
#   debian.gen.sh booted   guests that are booted and nothing else: of cloud-init and NetworkManager, of sysvinit, of OpenRC
# The packages come from the mirror that this machine's apt uses. Root is needed, for the owners in the tree.
. "$(dirname "$0")/lib.sh"
need mmdebstrap mke2fs debugfs e2fsck dumpe2fs sfdisk fdisk mkfs.vfat mcopy qemu-img tar
if ((EUID != 0)); then
  [[ ${REQUIRE_ORACLES:-0} != 1 ]] || die "must be root"
  say 'SKIP, not root'
  exit 0
fi

mirror() {
  apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI) $(CODENAME)' 'Created-By: Packages' 2>/dev/null |
    awk '$1 == "Debian" && $2 == "main" && $4 !~ /-/ && !done {print $3; done = 1}'
}

# rootfs NAME SUITE PACKAGES: the guest's tree as built/rootfs-NAME.tar, cached as long as the packages are these.
rootfs() {
  local suite=$2 tar=$built/rootfs-$1.tar list=$built/rootfs-$1.packages log=$built/.mmdebstrap-$1.log url
  [[ ! -e $tar || ! -e $list || $(<"$list") != "$3" ]] || return 0
  url=$(mirror)
  mmdebstrap --mode=root --variant=minbase --format=tar --include="$3" --aptopt='Acquire::Retries "3"' \
    --customize-hook='echo guest >"$1/etc/hostname"' \
    --customize-hook='chroot "$1" useradd --create-home --shell /bin/bash --uid 1000 debian' \
    --customize-hook='chmod 0644 "$1/etc/hostname"' --customize-hook='rm -f "$1/etc/resolv.conf"' \
    "${@:4}" "$suite" "$tar.part" "${url:-http://deb.debian.org/debian}" >"$log" 2>&1 || { tail -20 "$log" >&2; die "mmdebstrap $1 failed"; }
  mv "$tar.part" "$tar"
  rm -f "$list"; echo "$3" >"$list"
}

# tree NAME: sets tree, the tar unpacked; thrown away at the end.
tree() {
  tree=$built/.tree-$1
  [[ ! -e $tree ]] || return 0
  mkdir "$tree.part"
  tar -C "$tree.part" --numeric-owner --xattrs --xattrs-include='*' -xf "$built/rootfs-$1.tar"
  mv "$tree.part" "$tree"
}
trap 'rm -rf "$built"/.tree-*' EXIT

# disk NAME ROOTFS LAYOUT SECTOR PROFILE SIZE FEATURES [mke2fs arguments]: built/NAME.raw, of this group
group=real
disk() {
  local name=$1 rootfs=$2 layout=$3 sector=$4 profile=$5 size=$6 features=$7 image=$built/$1.raw part=$built/.disk.raw
  if ! fresh "$image" "$built/rootfs-$rootfs.tar"; then
    tree "$rootfs"
    rm -f "$part"; truncate -s "$size" "$part"
    partition "$layout" "$part" "$sector"
    make_ext4 "$part" "$profile" "$root_start" "$root_size" -d "$tree" "${@:8}"
    # The kernel indexes directories as they grow; mke2fs -d does not. The whole disk is left as mke2fs made it.
    if [[ $layout != whole ]]; then
      e2fsck -fyD "$root_fs" >"$built/.log" 2>&1 || (($? == 1)) || { cat "$built/.log" >&2; die "e2fsck -D failed on $name"; }
    fi
    # shellcheck disable=SC2086
    check_ext4 "$root_fs" $features
    [[ $(debugfs -R 'stat /etc/shadow' "$root_fs" 2>/dev/null) = *'Mode:  0640'*'Group:    42'* ]] || die "$name: /etc/shadow has the wrong owner or mode"
    if [[ $layout = gpt && $sector = 512 ]] && command -v sgdisk >/dev/null; then
      [[ $(sgdisk -v "$part") = *'No problems found'* ]] || die "$name: sgdisk does not like the table"
    fi
    mv "$part" "$image"
  fi
  case $layout in whole) root_part=0 ;; mbr-logical) root_part=6 ;; *) root_part=1 ;; esac
  current=("$name" "$layout" "$sector" "$root_part" "$profile")
  row "$name" "$image" raw "$layout" "$sector" "$root_part" "$profile" "$group"
}

# also SUFFIX [qemu-img arguments]: the last disk as qcow2, built/NAME.SUFFIX.qcow2
also() {
  local name=${current[0]} image=$built/${current[0]}.$1.qcow2
  fresh "$image" "$built/$name.raw" || convert "$built/$name.raw" "$image" "${@:2}"
  row "$name.$1" "$image" qcow2 "${current[1]}" "${current[2]}" "${current[3]}" "${current[4]}" real
}
v2='-o compat=0.10'
v3='-o compat=1.1'

old='extent 64bit metadata_csum ^orphan_file ^metadata_csum_seed ^needs_recovery'
new='extent 64bit metadata_csum orphan_file metadata_csum_seed ^needs_recovery'
base=udev,openssh-server,iproute2,login,passwd,netbase,e2fsprogs,libpam-modules
common=systemd,systemd-sysv,$base
slim=(--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*')

if [[ ${1:-} = booted ]]; then
  # Nothing lies on the partition that can hold a seed; who has the network is for the tests to choose.
  rootfs cloud trixie "$common,cloud-init,network-manager,sudo,kmod" "${slim[@]}"
  group=booted
  disk trixie-cloud cloud gpt 512 debian13 2G "$new" -L root
  other=$base,sysvinit-core,initscripts,ifupdown,kmod
  rootfs sysv bookworm "$other,sysv-rc" "${slim[@]}"
  # shellcheck disable=SC2086
  disk bookworm-sysv sysv gpt 512 debian12 1G "$old" -L root
  rootfs openrc bookworm "$other,openrc" "${slim[@]}"
  # shellcheck disable=SC2086
  disk bookworm-openrc openrc gpt 512 debian12 1G "$old" -L root
  exit 0
fi

rootfs bookworm bookworm "$common,ifupdown,ifenslave"

# shellcheck disable=SC2086
if [[ ${1:-} = bench ]]; then
  disk bookworm-gpt-20g bookworm gpt 512 debian12 20G "$old" -L root
  also v3c $v3 -c
  exit 0
fi

rootfs trixie trixie "$common,systemd-resolved,sudo,dbus,xkb-data" "${slim[@]}" \
  --customize-hook='printf "[Match]\nName=en*\n\n[Network]\nDHCP=yes\n" >"$1/etc/systemd/network/10-wired.network"' \
  --customize-hook='chmod 0644 "$1/etc/systemd/network/10-wired.network"' \
  --customize-hook='chroot "$1" systemctl enable systemd-networkd'

# shellcheck disable=SC2086
{
  disk bookworm-gpt bookworm gpt 512 debian12 2G "$old" -L root
  also v3 $v3
  also v3c $v3 -c
  also v2 $v2
  also v2c $v2 -c
  also v3pre $v3,preallocation=metadata
  also v3small $v3,cluster_size=4096,refcount_bits=1
  disk bookworm-gpt4k bookworm gpt 4096 debian12 2G "$old"
  also v3c $v3 -c
  disk bookworm-mbr bookworm mbr 512 debian11 2G "$old"
  also v2c $v2 -c
  disk bookworm-logical bookworm mbr-logical 512 rhel7 2G 'uninit_bg ^metadata_csum'
  also v3c $v3 -c
  disk bookworm-whole bookworm whole 512 debian12 2G "$old" -L whole
  also v3c $v3 -c
  disk trixie-gpt trixie gpt 512 debian13 2G "$new" -L root
  also v3c $v3 -c
  disk trixie-whole trixie whole 512 alpine 2G "orphan_file ^64bit"
  disk bookworm-gpt-20g bookworm gpt 512 debian12 20G "$old" -L root
  also v3c $v3 -c
}
