//! Guests that systemd does not start.

use crate::support::machine::{Machine, inject, key_pair};
use crate::support::{expect, text};

/// What is asked of the guest, once its scripts have been run.
const QUESTIONS: &str = "for turn in $(seq 60); do grep -q '0002-command: exit' /var/log/imgraft-firstboot.log && break; sleep 1; done
echo \"SAID init $(readlink -f /proc/1/exe)\"
echo \"SAID hostname $(hostname)\"
ip -br -4 address show vec0 | while read name state address; do echo \"SAID address $name $address\"; done
ip route show default | while read default via gateway rest; do echo \"SAID gateway $gateway\"; done
sed -n 's/^=== \\|^by /SAID firstboot &/p' /var/log/imgraft-firstboot.log
echo \"SAID left $(ls /usr/lib/imgraft/firstboot.d | wc -l) $(find /etc/rc?.d /etc/runlevels -name '*imgraft*' 2>/dev/null | wc -l)\"
echo \"SAID user $(id -Gn alice)\"
ssh -o StrictHostKeyChecking=no -o BatchMode=yes -i /root/id alice@127.0.0.1 'echo \"SAID by-key $(id -un)\"'
";

/// Boots a guest twice: what was put in is in effect, and the scripts have been run once, after all else.
fn comes_up(name: &str) {
    let Some(machine) = Machine::of_booted(name) else { return };
    let key = key_pair(machine.scratch.path());
    let script =
        "#!/bin/sh\necho by $(id -un) with $(ip route show default | wc -l) route, sshd $(pidof sshd | wc -w)\n";
    let words = [
        "--hostname=web.example.org".to_owned(),
        "--add-user=alice:groups=adm,shell=/bin/bash".to_owned(),
        format!("--ssh-inject=alice:file:{}.pub", text(&key)),
        format!("--upload={}:/root/id", text(&key)),
        "--nic=vec0".to_owned(),
        "--ip=192.0.2.7/24".to_owned(),
        "--gateway=192.0.2.1".to_owned(),
        machine.with_file("--firstboot=", "set-up.sh", script),
        "--firstboot-command=exit 3".to_owned(),
    ];
    inject(&machine, &[&words[..], &machine.console(QUESTIONS)].concat());
    let expected = [
        "init /usr/sbin/init",
        "hostname web.example.org",
        "address vec0 192.0.2.7/24",
        "gateway 192.0.2.1",
        "firstboot === 0001-set-up.sh",
        "firstboot by root with 1 route, sshd 1",
        "firstboot === 0001-set-up.sh: exit status 0",
        "firstboot === 0002-command",
        "firstboot === 0002-command: exit status 3",
        "left 0 0",
        "user alice adm",
        "by-key alice",
    ];
    for _ in 0..2 {
        machine.boot(&["52:54:00:12:34:00"], &[]).is(&expected);
    }
    assert_eq!(expect(0, &["cat", text(&machine.disk), "/etc/hostname"]), "web.example.org\n");
}

#[test]
fn sysvinit_with_startpar_starts_the_scripts() {
    comes_up("bookworm-sysv");
}

#[test]
fn openrc_starts_the_scripts() {
    comes_up("bookworm-openrc");
}
