# To be sourced.

# Makes a device of each name and address that the cases have, eth0 to eth2, of which the other ends are up.
devices() {
  local number=0 address
  for address in 56 57 58; do
    ip link add "eth$number" address "52:54:00:12:34:$address" type veth peer name "peer$number"
    ip link set "peer$number" up
    number=$((number + 1))
  done
}

# Scripts of this machine's stay out of it, and nothing is loaded into its kernel.
alone() {
  [[ ! -d /etc/network ]] || mount -t tmpfs none /etc/network
  ! command -v modprobe >/dev/null || mount --bind "$(readlink -f "$(type -P true)")" "$(readlink -f "$(command -v modprobe)")"
}
