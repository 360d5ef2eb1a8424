#!/bin/bash
# networkmanager UNPACKED DIRECTORY: in namespaces of its own, has NetworkManager, unpacked there, read the connections below DIRECTORY, and
# shows what it makes of the devices, by the guest's own configuration where that is there too. What NetworkManager says goes to standard error.
set -eu
. "$(dirname "$0")/devices.sh"
unpacked=$1 directory=$2
mount --make-rprivate /
own=$(mktemp -d)
mkdir -p "$own"/{etc,usr/lib}/NetworkManager/conf.d "$own"/{etc,lib}-connections
for place in etc lib; do
  from=$directory/${place/lib/usr/lib}/NetworkManager/system-connections
  [[ ! -d $from ]] || cp -a "$from/." "$own/$place-connections"
done
for place in etc/NetworkManager/NetworkManager.conf {etc,usr/lib}/NetworkManager/conf.d; do
  [[ ! -e $directory/$place ]] || cp -r "$directory/$place" "$own/${place%/*}"
done
mkdir -p "$own"/over/{etc,lib}/NetworkManager/system-connections
[[ ! -e $directory/etc/network ]] || cp -r "$directory/etc/network" "$own/over/etc"
plugins=("$unpacked"/usr/lib/*-linux-gnu)
mkdir "$own/over/lib/${plugins[0]##*/}"
cp -r "${plugins[0]}/NetworkManager" "$own/over/lib/${plugins[0]##*/}"
mount -t tmpfs none /run
# It writes to /var/lib, below which may be anything.
mkdir -p /run/unpacked
mount --bind "$unpacked" /run/unpacked
mv "$own" /run/own
mount -t tmpfs none /var/lib
# With a read-only /sys it does not wait for udev.
mount -t sysfs -o ro none /sys
find /run/own/*-connections -type f -exec chmod 600 {} +
devices
# Nobody answers to DHCP.
cat >/run/NetworkManager.conf <<'CONF'
[main]
plugins=keyfile
dhcp=internal
dns=default
rc-manager=unmanaged
autoconnect-retries-default=1
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
# Its plugins are in one place, so is the file that one of them reads, and so are the connections; none of this machine's.
for place in "etc /etc" "lib /usr/lib"; do
  mount -t overlay none -o "lowerdir=/run/own/over/${place% *}:${place#* }" "${place#* }"
  mount --bind "/run/own/${place% *}-connections" "${place#* }/NetworkManager/system-connections"
done
LD_LIBRARY_PATH=${libraries[0]}:${libraries[0]}/systemd timeout 60 /run/unpacked/usr/sbin/NetworkManager --configure-and-quit=initrd \
  --debug --log-level=INFO --config=/run/NetworkManager.conf --config-dir=/run/own/etc/NetworkManager/conf.d --system-config-dir=/run/own/usr/lib/NetworkManager/conf.d \
  --intern-config=/run/intern.conf --state-file=/run/state >&2
ip address show
ip route show
ip -6 route show
[[ ! -e /run/NetworkManager/resolv.conf ]] || cat /run/NetworkManager/resolv.conf
