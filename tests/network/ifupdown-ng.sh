#!/bin/bash
# ifupdown-ng UNPACKED DIRECTORY: in namespaces of its own, has ifupdown-ng, unpacked there, bring up what DIRECTORY/etc/network/interfaces
# has, and shows the devices and routes. What it is about goes to standard error, with the commands of ip(8).
# In place of bonds and VLANs, which not every kernel has, are devices that lead nowhere; in place of a DHCP client is one that says its name.
set -eu
. "$(dirname "$0")/devices.sh"
unpacked=$1 directory=$2
mount --make-rprivate /
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r "$unpacked/usr/libexec/ifupdown-ng" "$scratch/executors"
printf '#!/bin/sh\n[ "$PHASE" != up ] || echo "DHCP for $IFACE" >&2\n' >"$scratch/executors/dhcp"
program=$(readlink -f "$(command -v ip)")
cp "$program" "$scratch/ip"
cat >"$scratch/wrapper" <<'WRAPPER'
#!/bin/bash
echo "ip $*" >&2
words=("$@")
last=${#words[@]}
for ((number = 0; number < last; number++)); do
  case "${words[number]} ${words[number + 1]-}" in
    "type bond" | "type vlan")
      [[ " $* " =~ \ name\ ([^ ]+)\  ]] || [[ " $* " =~ \ add\ ([^ ]+)\  ]]
      exec SCRATCH/ip link add "${BASH_REMATCH[1]}" type veth ;;
    "master bond"*) exit 0 ;;
  esac
done
exec SCRATCH/ip "$@"
WRAPPER
sed -i "s#SCRATCH#$scratch#" "$scratch/wrapper"
chmod +x "$scratch/wrapper" "$scratch/executors/dhcp"
mount -t sysfs none /sys
devices
# What udev would rename.
! grep -q "iface lan0" "$directory/etc/network/interfaces" || ip link set eth1 name lan0
mount --bind "$scratch/wrapper" "$program"
alone
libraries=("$unpacked"/usr/lib/*-linux-gnu)
LD_LIBRARY_PATH=${libraries[0]} "$unpacked/sbin/ifup" --no-lock --auto --interfaces "$directory/etc/network/interfaces" \
  --executor-path "$scratch/executors" --state-file "$scratch/state" >&2
exec 2>/dev/null
"$scratch/ip" address show
"$scratch/ip" route show
"$scratch/ip" -6 route show
grep -H . /proc/sys/net/ipv6/conf/*/accept_ra
