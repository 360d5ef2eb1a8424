#!/bin/bash
# ifupdown IFUP INTERFACES: in namespaces of its own, has Debian's ifup bring up what the file has, without its scripts, and shows the
# devices and routes. What it is about goes to standard error.
set -eu
. "$(dirname "$0")/devices.sh"
ifup=$1 interfaces=$2
mount --make-rprivate /
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
mount -t sysfs none /sys
mount -t tmpfs none /run
mkdir /run/network
devices
# Scripts of this machine's stay out of it, and nothing is loaded into its kernel.
[[ ! -d /etc/network ]] || mount -t tmpfs none /etc/network
! command -v modprobe >/dev/null || mount --bind "$(readlink -f "$(type -P true)")" "$(readlink -f "$(command -v modprobe)")"
"$ifup" --all --verbose --no-scripts --interfaces "$interfaces" --state-dir "$state" >&2
ip address show
ip route show
ip -6 route show
