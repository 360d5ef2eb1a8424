#!/usr/bin/env bash
# Five items into a copy of the committed guest; then what it looks like, and what tools that are not ours say of it.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/sbin:/sbin"
imgraft=$PWD/target/release/imgraft
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
disk=$work/disk.qcow2

say()  { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '$ %s %s\n' "${1##*/}" "${*:2}"; (cd "$work" && "$@"); }
have() { command -v "$1" >/dev/null || { echo "skipped: $1 is not installed"; [[ -z ${REQUIRE_ORACLES:-} ]] || exit 1; return 1; }; }

[[ -t 1 && -z ${NO_COLOR:-} ]] || say() { printf '\n%s\n' "$*"; }

cp testdata/images/phony-debian.qcow2 "$disk"
chmod u+w "$disk"
cat >"$work/key.pub" <<'KEY'
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBDlupvmsDyDQUo90KjWHvxl6pLl7jje9Rk4mVE9qlbt demo@imgraft
KEY
cat >"$work/interfaces" <<'NET'
auto lo
iface lo inet loopback

auto eth0
iface eth0 inet static
    address 192.0.2.10/24
    gateway 192.0.2.1
NET
echo 'correct horse battery staple' >"$work/secret"
echo 'put here by imgraft' >"$work/motd"
items=(--ssh-inject root:file:key.pub --network interfaces --metadata role=web --root-password file:secret --upload motd:/etc/motd)

say "The guest"
show "$imgraft" inspect disk.qcow2
say "What would change"
show "$imgraft" inject disk.qcow2 "${items[@]}" --dry-run
say "Five items, all or nothing"
time show "$imgraft" inject disk.qcow2 "${items[@]}"
say "The same again: nothing to do, nothing written"
before=$(sha256sum <"$disk")
show "$imgraft" inject disk.qcow2 "${items[@]}"
[[ $before = "$(sha256sum <"$disk")" ]] || { echo "the second run changed the image"; exit 1; }
say "What is in it now"
show "$imgraft" ls disk.qcow2 /root/.ssh
show "$imgraft" cat disk.qcow2 /etc/network/interfaces

say "What other tools say of it"
if have qemu-img; then
  show qemu-img check disk.qcow2
  qemu-img convert -f qcow2 -O raw "$disk" "$work/disk.raw"
  offset=$("$imgraft" inspect --json "$disk" | sed -n 's/^ *"start": \([0-9]*\).*/\1/p' | head -n 1)
  if have e2fsck; then show e2fsck -fn "disk.raw?offset=$offset"; fi
  if have debugfs; then show debugfs -R "stat /root/.ssh/authorized_keys" "disk.raw?offset=$offset" | grep -E 'Inode|User|Size'; fi
fi
if have ssh-keygen; then
  "$imgraft" cat "$disk" /root/.ssh/authorized_keys >"$work/authorized_keys"
  show ssh-keygen -l -f authorized_keys
fi
if have perl; then
  hash=$("$imgraft" cat "$disk" /etc/shadow | sed -n 's/^root:\([^:]*\):.*/\1/p')
  perl -e 'print crypt($ARGV[0], $ARGV[1]) eq $ARGV[1] ? "crypt(3): the password fits its hash\n" : die "the password does not fit\n"' \
    "$(cat "$work/secret")" "$hash"
fi
say "All of it holds."

say "A config drive for an instance whose image is left alone"
cp testdata/instances/web.yaml "$work/web.yaml"
show "$imgraft" config-drive create web.yaml -o disk.config
if have isoinfo; then show isoinfo -R -f -i disk.config | grep -E '^/openstack/(latest|content)'; fi
if have blkid; then show blkid -p -o export disk.config | grep -E 'LABEL|TYPE'; fi
