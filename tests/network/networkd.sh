#!/bin/bash
# networkd NETWORKD DIRECTORY CASE...: in namespaces of its own, has networkd read the files of each directory in DIRECTORY, and shows
# the devices and routes that it makes of those that are named; what they have in /usr/lib stays there till the end. What networkd says goes to standard error.
set -eu
. "$(dirname "$0")/devices.sh"
networkd=$1 directory=$2
shift 2
mount --make-rprivate /
mount -t tmpfs none /run
# With a read-only /sys networkd does not wait for udev.
mount -t sysfs -o ro none /sys
for case in "$directory"/*; do
  name=$(basename "$case")
  echo "case $name" >&2
  rm -rf /run/systemd
  mkdir -p /run/systemd/network /run/systemd/netif/{links,leases,lldp} /run/dbus
  chmod -R a+rwX /run/systemd
  cp -rP "$case"/etc/systemd/network/* /run/systemd/network
  if [[ -d $case/usr/lib/systemd/network ]]; then
    mkdir -p /run/usr
    cp -r "$case/usr/lib/systemd" /run/usr
    chmod -R a+rX /run/usr
    mount -t overlay none -o lowerdir=/run/usr:/usr/lib /usr/lib
  fi
  devices
  SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console "$networkd" 2>"$directory/log" &
  pid=$!
  wanted=0
  for one; do [[ $one != "$name" ]] || wanted=1; done
  for _ in $(seq 200); do
    if grep -q "Enumeration completed" "$directory/log"; then
      ((wanted)) || break
      ! ip route show default | grep -q . || ! ip -6 route show default | grep -q "proto static" || break
    fi
    sleep 0.05
  done
  if ((wanted)); then
    echo "state $name"
    ip address show
    ip route show
    ip -6 route show
  fi
  kill "$pid"
  wait "$pid" || true
  cat "$directory/log" >&2
  for number in 0 1 2; do ip link del "eth$number"; done
  ip link | sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p' | grep -vx -e lo -e 'bonding_masters' | while read -r left; do ip link del "$left" || true; done
done
