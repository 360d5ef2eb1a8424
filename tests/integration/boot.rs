//! A guest that is booted with what was put into it: what it says of itself at its console.

use crate::support::drive::python;
use crate::support::tree;
use crate::support::{Scratch, expect, image, oracle, root, text};
use serde_json::json;

/// What the guest is asked. User Mode Linux keeps no registers of AVX, so a program that is started without the variable of
/// glibc that leaves them alone may go wrong; sshd clears the environment of who logs in, and PAM sets it anew.
const QUESTIONS: &str = "exec 2>&1
echo \"SAID user $(id -un)\"
echo \"SAID hostname $(hostname) $(hostname -f)\"
echo \"SAID zone $(date -d @0 +%Z)\"
echo \"SAID motd $(cat /etc/motd)\"
echo \"SAID metadata $(cat /meta.js)\"
for turn in $(seq 60); do ip route | grep -q default && break; sleep 1; done
ip -br -4 address show vec0 | while read name state address; do echo \"SAID address $name $address\"; done
ip route show default | while read default via gateway rest; do echo \"SAID gateway $gateway\"; done
ssh-keygen -A >/dev/null
systemctl restart ssh.service
for turn in $(seq 60); do [ -e /var/log/imgraft-firstboot.log ] && ! [ -e /etc/systemd/system/multi-user.target.wants/imgraft-firstboot.service ] && break; sleep 1; done
sed 's/^/SAID firstboot /' /var/log/imgraft-firstboot.log
ssh -o StrictHostKeyChecking=no -o BatchMode=yes -i /root/id debian@127.0.0.1 'echo \"SAID by-key $(id -un)\"'
echo THE END
";

const NETWORK: &str = "[Match]\nName=vec0\n\n[Network]\nAddress=192.0.2.7/24\nGateway=192.0.2.1\n";

const HWCAPS: &str = "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-AVX_Fast_Unaligned_Load";
/// The same for OpenSSL (OPENSSL_ia32cap(3)): no AES-NI with AVX, no AVX.
const CAPABILITIES: &str = "~0x200000200000000";

#[test]
fn a_booted_guest_has_it_all_in_effect() {
    if !tree::have(&["linux.uml", "python3", "ssh-keygen", "e2fsck"]) {
        return;
    }
    let Some(guest) = image::named("real", "trixie-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let key = scratch.path().join("id");
    oracle::succeed("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", text(&key)]);
    let place = |option: &str, file: &str, content: &str| format!("{option}{}", text(&scratch.file(file, content)));
    let written = format!("/etc/environment:GLIBC_TUNABLES={HWCAPS}\nOPENSSL_ia32cap={CAPABILITIES}\n");
    let words = [
        "inject".to_owned(),
        text(&disk).to_owned(),
        format!("--ssh-inject=debian:file:{}.pub", text(&key)),
        place("--network=", "net", NETWORK),
        "--hostname=web.example.org".to_owned(),
        "--timezone=Europe/Berlin".to_owned(),
        "--metadata=role=web".to_owned(),
        place(
            "--firstboot=",
            "set-up.sh",
            "#!/bin/sh\necho by $(id -un) after $(ip route show default | wc -l) route\n",
        ),
        "--firstboot-command=exit 3".to_owned(),
        place("--root-password=file:", "password", "correct horse\n"),
        "--write=/etc/motd:put here".to_owned(),
        format!("--write={written}"),
        format!("--upload={}:/root/id", text(&key)),
        place("--upload=", "questions", QUESTIONS) + ":/root/questions",
    ];
    expect(0, &words.each_ref().map(String::as_str));
    oracle::e2fsck(&disk, image::open(&disk, guest.partition).offset);

    let machine = json!({
        "disk": text(&disk),
        "partition": guest.partition,
        "home": text(scratch.path()),
        "plain_registers": text(&root().join("vfs/tests/uml/plain_registers.py")),
        "environment": { "GLIBC_TUNABLES": HWCAPS, "OPENSSL_ia32cap": CAPABILITIES },
        "password": "correct horse",
        "command": "sh /root/questions",
    });
    let console = python("support/boot.py", &machine, None);
    let console = console.as_str().expect("a text");
    let said: Vec<&str> = console.lines().filter_map(|line| Some(line.split_once("SAID ")?.1.trim_end())).collect();
    let expected = [
        "user root",
        "hostname web.example.org web.example.org",
        "zone CET",
        "motd put here",
        "metadata {\"role\": \"web\"}",
        "address vec0 192.0.2.7/24",
        "gateway 192.0.2.1",
        "firstboot === 0001-set-up.sh",
        "firstboot by root after 1 route",
        "firstboot === 0001-set-up.sh: exit status 0",
        "firstboot === 0002-command",
        "firstboot === 0002-command: exit status 3",
        "by-key debian",
    ];
    assert_eq!(said, expected, "{console}");
    // The machine was put out hard: its journal is replayed.
    assert!(expect(0, &["cat", text(&disk), "/etc/machine-id"]).len() > 1, "it has been running");
}
