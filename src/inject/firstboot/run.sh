#!/bin/sh
# Runs the scripts that imgraft has put in for the first boot: each once, in the order of their names.
place=/usr/lib/imgraft/firstboot.d
log=/var/log/imgraft-firstboot.log
failed=0

mkdir -p "${log%/*}"
# Where nothing can be kept, they run all the same.
(umask 077 && : >>"$log") 2>/dev/null || log=/dev/null
mkdir -p "$place.done"
for script in "$place"/*; do
    [ -f "$script" ] || continue
    name=${script##*/}
    # Before it runs: it may start the machine anew.
    if ! mv "$script" "$place.done/$name"; then
        echo "$name: left out, as it could not be moved away and would run at every boot"
        failed=1
        continue
    fi
    echo "=== $name" >>"$log"
    "$place.done/$name" </dev/null >>"$log" 2>&1
    status=$?
    echo "=== $name: exit status $status" | tee -a "$log"
    [ "$status" -eq 0 ] || failed=1
done
# The next boot has no need of this, whatever number insserv has given it since.
rm -f /etc/systemd/system/multi-user.target.wants/imgraft-firstboot.service \
    /etc/rc[2-5].d/S??imgraft-firstboot /etc/rc.d/rc[2-5].d/S??imgraft-firstboot /etc/runlevels/default/imgraft-firstboot
exit "$failed"
