#!/usr/bin/env bash
# Installs what the tests need and do not bring along: image builders, and oracles (tools we did not write, whose verdict counts).
#   install-oracles.sh [--lint] [--check]
#     --lint   also cargo-deny
#     --check  install nothing, only say what is missing
# Idempotent, asks nothing, and does nothing when everything is there. As root with apt-get it installs; otherwise it says
# what is missing and ends with 0, or with 1 under REQUIRE_ORACLES=1.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive PATH=$PATH:/usr/sbin:/sbin:${CARGO_HOME:-$HOME/.cargo}/bin

lint=0 check=0
for arg; do
  case $arg in
    --lint) lint=1 ;; --check) check=1 ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done

# command          Debian package    what it is for
tools='
mmdebstrap         mmdebstrap        guests from packages
mke2fs             e2fsprogs         ext4: made by
e2fsck             e2fsprogs         ext4: judged by
debugfs            e2fsprogs         ext4: read and filled by
zerofree           zerofree          ext4: free blocks cleared by
dpkg-source        dpkg-dev          the source of e2fsprogs and its images: unpacked by
bzip2              bzip2             the same
sfdisk             fdisk             partition tables
fdisk              fdisk             partition tables with 4096-byte sectors
sgdisk             gdisk             GPT: judged by
mkfs.vfat          dosfstools        FAT: made by
fsck.vfat          dosfstools        FAT: judged by
mcopy              mtools            FAT: filled by
qemu-img           qemu-utils        qcow2: made and judged by
qemu-io            qemu-utils        qcow2: written by
fallocate          util-linux        full disks
parted             parted            partition tables
cryptsetup         cryptsetup-bin    LUKS: made by
lvm                lvm2              LVM2: made and judged by
dmsetup            dmsetup           LVM2 and LUKS: mapped by a kernel
blkid              util-linux        signatures: judged by
findmnt            util-linux        fstab: judged by
perl               perl              hashes: judged by (libcrypt)
matchpathcon       selinux-utils     labels: judged by
qemu-storage-daemon qemu-utils       locks: held by
mkfs.xfs           xfsprogs          XFS: made by
xfs_repair         xfsprogs          XFS: judged by
mkfs.btrfs         btrfs-progs       btrfs: made and judged by
mkfs.f2fs          f2fs-tools        a filesystem to be told apart
mkfs.exfat         exfatprogs        a filesystem to be told apart
mkfs.ntfs          ntfs-3g           a filesystem to be told apart
mksquashfs         squashfs-tools    a filesystem to be told apart
mkfs.erofs         erofs-utils       a filesystem to be told apart
nbdinfo            libnbd-bin        NBD: asked by
nbdcopy            libnbd-bin        NBD: read and written by
isoinfo            genisoimage       config drives: judged by
xorriso            xorriso           config drives: judged by
ssh-keygen         openssh-client    keys: judged by
useradd            passwd            users and groups: made by
pwck               passwd            users and groups: judged by
visudo             sudo              sudoers: judged by
mkpasswd           whois             hashes: judged by (libcrypt)
openssl            openssl           hashes: judged by
getfattr           attr              xattrs of a mounted tree
getfacl            acl               ACLs of a mounted tree
selabel_lookup     selinux-utils     labels: judged by
python3            python3           generators of hostile images
zstd               zstd              compressed fixtures; clusters: packed by
xz                 xz-utils          images to be unpacked
bzip2              bzip2             images to be unpacked
losetup            mount             loop mounts, as root
strace             strace            the order of system calls: seen by
systemctl          systemd           units: judged by
systemd-analyze    systemd           units: judged by
systemd-machine-id-setup systemd     machine IDs: made again by
systemd-firstboot  systemd           locales and machine IDs: judged by
pwck               passwd            account files: judged by
grpck              passwd            account files: judged by
localedef          libc-bin          archives of locales: made by
linux.uml          user-mode-linux   a kernel with quotas
insmod             kmod              its modules
ip                 iproute2          what networkd has done: seen by
repquota           quota             quotas: set and judged by
ignition-validate  ignition          configurations of Ignition: judged by
'
# file, of a package without a command
py=/usr/lib/python3/dist-packages
files="
/usr/share/i18n/locales/de_DE  locales  a locale of which an archive is made
/etc/selinux/default/contexts/files/file_contexts  selinux-policy-default  the reference policy, to be labelled by
$py/cryptography/__init__.py  python3-cryptography  LUKS: filled and read by
$py/jsonschema/__init__.py    python3-jsonschema  schemas: judged by
$py/yaml/__init__.py          python3-yaml        cloud-init needs it
$py/jinja2/__init__.py        python3-jinja2      cloud-init needs it
$py/configobj/__init__.py     python3-configobj   cloud-init needs it
$py/oauthlib/__init__.py      python3-oauthlib    cloud-init needs it
$py/requests/__init__.py      python3-requests    cloud-init needs it
$py/jsonpatch.py              python3-jsonpatch   cloud-init needs it
$py/serial/__init__.py        python3-serial      cloud-init needs it
"
missing_tools() {
  while read -r tool package _; do [[ -z $tool ]] || command -v "$tool" >/dev/null || echo "$tool $package"; done <<<"$tools"
  while read -r file package _; do [[ -z $file || -e $file ]] || echo "$file $package"; done <<<"$files"
}

missing=$(missing_tools)

if [[ -n $missing ]] && ((!check)) && ((EUID == 0)) && command -v apt-get >/dev/null; then
  packages=$(awk 'NF {print $2}' <<<"$missing" | sort -u)
  echo "installing: ${packages//$'\n'/ }"
  # shellcheck disable=SC2086
  install() { apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 $packages >/dev/null; }
  # The lists may be missing or old: fetch them only when the first try fails.
  install 2>/dev/null || { apt-get update -qq && install; } || echo "apt-get could not install everything" >&2
  missing=$(missing_tools)
fi

if ((lint)) && ! command -v cargo-deny >/dev/null; then
  if ((check)); then missing+=$'\ncargo-deny (cargo install --locked cargo-deny)'
  else
    echo "installing: cargo-deny (about two minutes on two cores)"
    cargo install --quiet --locked cargo-deny || missing+=$'\ncargo-deny (cargo install --locked cargo-deny)'
  fi
fi

# cloud-init judges config drives. It is unpacked and never installed: installed, it would take this machine in hand at its next boot.
built=${IMGRAFT_TESTDATA:-$(cd "$(dirname "$0")" && pwd)/built}
cloud_init() { [[ -d $built/cloud-init/usr/lib/python3/dist-packages/cloudinit ]]; }
if ! cloud_init && ((!check)) && command -v apt-get dpkg-deb >/dev/null; then
  echo "unpacking: cloud-init"
  work=$(mktemp -d)
  (cd "$work" && { apt-get download -qq cloud-init || { ((EUID == 0)) && apt-get update -qq && apt-get download -qq cloud-init; }; } &&
    dpkg-deb -x cloud-init_*.deb new) >/dev/null 2>&1 && mkdir -p "$built" && rm -rf "$built/cloud-init" && mv "$work/new" "$built/cloud-init" ||
    echo "cloud-init could not be unpacked" >&2
  rm -rf "$work"
fi
# A newer one, of the next release of Debian, by lists of its own: what is deprecated since then is not written for it.
newer="$built/cloud-init-new/usr/lib/python3/dist-packages/cloudinit"
if [[ ! -d $newer ]] && ((!check)) && command -v apt-get dpkg-deb >/dev/null; then
  echo "unpacking: cloud-init of trixie"
  work=$(mktemp -d)
  mkdir -p "$work/lists/partial"
  echo "deb http://deb.debian.org/debian trixie main" >"$work/sources.list"
  trixie=(-o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$work/lists"
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
  (cd "$work" && apt-get -qq "${trixie[@]}" update && apt-get -qq "${trixie[@]}" download cloud-init &&
    dpkg-deb -x cloud-init_*.deb new) >/dev/null 2>&1 && mkdir -p "$built" && rm -rf "$built/cloud-init-new" &&
    mv "$work/new" "$built/cloud-init-new" || echo "cloud-init of trixie could not be unpacked" >&2
  rm -rf "$work"
fi
[[ -d $newer ]] || missing+=$'\ncloud-init-new cloud-init of trixie (unpacked into testdata/built)'

cloud_init || missing+=$'\ncloud-init cloud-init (unpacked into testdata/built)'

# What configures the network of guests judges what it gets. It is unpacked too: installed, it would configure this machine's.
network_packages='netplan.io libnetplan0 ifupdown network-manager libnm0 libndp0 libreadline8 libglib2.0-0 libgnutls30 libp11-kit0 libnettle8
libhogweed6 libtasn1-6 libunistring2 libidn2-0 libffi8 libyaml-0-2 systemd libsystemd-shared libsystemd0'
network() {
  local file
  for file in usr/libexec/netplan/generate usr/bin/nmcli sbin/ifup lib/systemd/systemd-networkd; do [[ -e $built/network/$file ]] || return 1; done
  compgen -G "$built/network/usr/lib/*/libndp.so.0" >/dev/null
}
if ! network && ((!check)) && command -v apt-get dpkg-deb >/dev/null; then
  echo "unpacking: netplan, NetworkManager, ifupdown, systemd-networkd"
  work=$(mktemp -d)
  # shellcheck disable=SC2086
  (cd "$work" && mkdir debs new && cd debs &&
    { apt-get download -qq $network_packages || { ((EUID == 0)) && apt-get update -qq && apt-get download -qq $network_packages; }; } &&
    for deb in *.deb; do dpkg-deb -x "$deb" ../new; done) >/dev/null 2>&1 &&
    mkdir -p "$built" && rm -rf "$built/network" && mv "$work/new" "$built/network" ||
    echo "netplan, NetworkManager, ifupdown and systemd-networkd could not be unpacked" >&2
  rm -rf "$work"
fi

# Alpine's ifupdown, whose files have the names of Debian's.
alpine() { [[ -e $built/ifupdown-ng/sbin/ifup ]]; }
if ! alpine && ((!check)) && command -v apt-get dpkg-deb >/dev/null; then
  echo "unpacking: ifupdown-ng"
  work=$(mktemp -d)
  (cd "$work" && mkdir debs new && cd debs && apt-get download -qq ifupdown-ng libbsd0 libmd0 &&
    for deb in *.deb; do dpkg-deb -x "$deb" ../new; done) >/dev/null 2>&1 &&
    mkdir -p "$built" && rm -rf "$built/ifupdown-ng" && mv "$work/new" "$built/ifupdown-ng" ||
    echo "ifupdown-ng could not be unpacked" >&2
  rm -rf "$work"
fi
alpine || missing+=$'\nifupdown-ng ifupdown-ng (unpacked into testdata/built)'
network || missing+=$'\nnetwork netplan.io, network-manager, ifupdown, systemd (unpacked into testdata/built)'

missing=$(sed '/^$/d' <<<"$missing")
if [[ -n $missing ]]; then
  echo "missing (command, package); the tests that need them are skipped:" >&2
  sed 's/^/  /' <<<"$missing" >&2
  [[ ${REQUIRE_ORACLES:-0} != 1 ]] || exit 1
else
  echo "oracles: all there"
fi
