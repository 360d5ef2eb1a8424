//! A second kernel, in a process (User Mode Linux): it knows quotas where the host's may not.

use super::oracle;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether it is there, with what the scripts need.
pub fn can_boot() -> bool {
    oracle::have(&["linux.uml", "python3", "insmod", "repquota", "setquota", "chattr", "mount"])
        && (nix::unistd::geteuid().is_root() || oracle::skip("only root can be root of its own kernel"))
}

/// Boots it with `image` mounted on `$GUEST` with quotas, runs a script there that has to succeed, unmounts, and
/// gives the output. The host's files can only be read.
pub fn run(image: &Path, script: &str) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let init = scratch.path().join("init");
    let shelf = scratch.path().display();
    let text = format!(
        "#!/bin/sh\n\
         export PATH=/usr/sbin:/usr/bin:/sbin:/bin GUEST=/mnt/guest\n\
         mount -t proc proc /proc\n\
         mount -t tmpfs tmpfs /mnt\n\
         mkdir /mnt/guest /mnt/shelf\n\
         mount -t hostfs -o {shelf} none /mnt/shelf\n\
         exec >/mnt/shelf/output 2>&1\n\
         (set -ex\n\
         for module in quota_tree quota_v2; do insmod /usr/lib/uml/modules/$(uname -r)/kernel/fs/quota/$module.ko; done\n\
         mount -t ext4 -o usrquota,grpquota,prjquota /dev/ubda $GUEST\n\
         {script}\n\
         umount $GUEST) && echo SUCCESS\n\
         exec >/dev/null 2>&1\n\
         sync\n\
         poweroff -f\n"
    );
    std::fs::write(&init, text).unwrap();
    std::fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let status = Command::new("timeout")
        .args(["120", "python3", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/uml/plain_registers.py")])
        .args(["linux.uml", "rootfstype=hostfs", "root=/dev/root", "ro", "quiet", "mem=128M", "con=null"])
        .arg(format!("init={}", init.display()))
        // The environment of init: without PTRACE_GETREGSET a page fault costs the upper halves of AVX registers.
        .arg("GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW")
        .arg(format!("ubd0={}", image.display()))
        .env("HOME", scratch.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let output = std::fs::read_to_string(scratch.path().join("output")).unwrap_or_default();
    assert!(output.ends_with("SUCCESS\n"), "{status}: {output}");
    output
}
