#!/sbin/openrc-run
description="Scripts that imgraft has put in for the first boot"

depend() {
    after *
}

start() {
    ebegin "Running the scripts of the first boot"
    /bin/sh /usr/lib/imgraft/firstboot
    eend $?
}
