#!/bin/bash
# networkmanager UNPACKED DIRECTORY: in namespaces of its own, has NetworkManager, unpacked there, read the connections below DIRECTORY, and
# shows what it makes of the devices, by the guest's own configuration where that is there too. What NetworkManager says goes to standard error.
set -eu
. "$(dirname "$0")/devices.sh"
unpacked=$1 directory=$2
mount --make-rprivate /
connections=$(mktemp -d)
cp "$directory"/etc/NetworkManager/system-connections/* "$connections"
own=$(mktemp -d)
mkdir -p "$own"/{etc,usr/lib}/NetworkManager/conf.d
for place in etc/NetworkManager/NetworkManager.conf {etc,usr/lib}/NetworkManager/conf.d; do
  [[ ! -e $directory/$place ]] || cp -r "$directory/$place" "$own/${place%/*}"
done
mkdir -p "$own"/over/{etc,lib}
[[ ! -e $directory/etc/network ]] || cp -r "$directory/etc/network" "$own/over/etc"
cp -r "$unpacked"/usr/lib/*-linux-gnu/NetworkManager "$own/over/lib"
mount -t tmpfs none /run
# It writes to /var/lib, below which may be anything.
mkdir -p /run/unpacked /run/connections
mount --bind "$unpacked" /run/unpacked
mv "$connections"/* /run/connections
mv "$own" /run/own
rmdir "$connections"
mount -t tmpfs none /var/lib
# With a read-only /sys it does not wait for udev.
mount -t sysfs -o ro none /sys
chmod 600 /run/connections/*
devices
# Nobody answers to DHCP.
cat >/run/NetworkManager.conf <<'CONF'
[main]
plugins=keyfile
dhcp=internal
dns=default
rc-manager=unmanaged
autoconnect-retries-default=1
[keyfile]
path=/run/connections
[connection]
ipv4.dhcp-timeout=1
ipv6.dhcp-timeout=1
ipv6.ra-timeout=1
[device]
carrier-wait-timeout=100
[connectivity]
enabled=false
CONF
[[ ! -e /run/own/etc/NetworkManager/NetworkManager.conf ]] || cat /run/own/etc/NetworkManager/NetworkManager.conf >>/run/NetworkManager.conf
libraries=(/run/unpacked/usr/lib/*-linux-gnu)
# Its plugins are in one place, and so is the file that one of them reads.
for place in "etc /etc" "lib ${libraries[0]#/run/unpacked}"; do
  mount -t overlay none -o "lowerdir=/run/own/over/${place% *}:${place#* }" "${place#* }"
done
LD_LIBRARY_PATH=${libraries[0]}:${libraries[0]}/systemd timeout 60 /run/unpacked/usr/sbin/NetworkManager --configure-and-quit=initrd \
  --debug --log-level=INFO --config=/run/NetworkManager.conf --config-dir=/run/own/etc/NetworkManager/conf.d --system-config-dir=/run/own/usr/lib/NetworkManager/conf.d \
  --intern-config=/run/intern.conf --state-file=/run/state >&2
ip address show
ip route show
ip -6 route show
[[ ! -e /run/NetworkManager/resolv.conf ]] || cat /run/NetworkManager/resolv.conf
