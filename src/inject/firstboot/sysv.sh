#!/bin/sh
### BEGIN INIT INFO
# Provides:          imgraft-firstboot
# Required-Start:    $all
# Required-Stop:
# Default-Start:     2 3 4 5
# Default-Stop:
# Short-Description: Scripts that imgraft has put in for the first boot
### END INIT INFO
# chkconfig: 2345 99 01
# description: Scripts that imgraft has put in for the first boot

case "$1" in
start | restart | force-reload)
    /bin/sh /usr/lib/imgraft/firstboot
    ;;
esac
