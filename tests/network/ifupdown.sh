#!/bin/bash
# ifupdown IFUP INTERFACES [PROGRAMS]: in namespaces of its own, has Debian's ifup bring up what the file has, without its scripts, and shows the
# devices and routes. What it is about goes to standard error. Where there is a directory PROGRAMS, these are there too.
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
alone
[[ $# -lt 3 ]] || mount -t overlay none -o "lowerdir=$3:/usr/sbin" /usr/sbin
"$ifup" --all --verbose --no-scripts --interfaces "$interfaces" --state-dir "$state" >&2
ip address show
ip route show
ip -6 route show
