#!/bin/bash
# In a namespace of its own, asks the kernel for what each line of the standard input describes: ADDRESS,… ROUTE,…; a route is
# TO-VIA-ONLINK, without the middle one where it is on the link. Says yes or no for each line: whether all of it can be had.
set -u
while read -r addresses routes; do
  # A device that is up and has no carrier to wait for.
  ip link add eth0 type veth peer name peer0
  ip link set peer0 up
  ip link set eth0 up
  said=yes
  for address in ${addresses//,/ }; do ip address add "$address" dev eth0 nodad || said="no address"; done
  for route in ${routes//,/ }; do
    IFS=- read -r to via flags <<<"$route"
    # shellcheck disable=SC2086
    ip route add "$to" ${via:+via "$via"} dev eth0 $flags || said=no
  done
  ip link del eth0
  echo "$said"
done
