//! A second kernel, in a process (User Mode Linux), for what the host's may not know: quotas, network block devices.

#![allow(dead_code, reason = "each test file uses a part of it")]

use super::oracle;
use std::path::Path;
use std::process::{Command, Stdio};

/// What is before a program with a seccomp filter.
const PLAIN_REGISTERS: &str = include_str!("plain_registers.py");

/// Whether it is there, with what the scripts need.
pub fn can_boot(programs: &[&str]) -> bool {
    oracle::have(&["linux.uml", "python3", "insmod", "mount", "timeout"])
        && oracle::have(programs)
        && (nix::unistd::geteuid().is_root() || oracle::skip("only root can be root of its own kernel"))
}

/// A kernel that is to be.
#[derive(Debug)]
pub struct Machine<'a> {
    /// How much memory it has in MiB; `/mnt`, where its temporary files are, can have half of it.
    pub memory: u32,
    /// The modules that are loaded, in this order, below `kernel/` and without `.ko`.
    pub modules: &'a [&'a str],
    /// What becomes its disk `/dev/ubda`.
    pub disk: Option<&'a Path>,
    /// A directory of the host that it can write to, as `/mnt/shared`; all other files it can only read.
    pub shared: Option<&'a Path>,
}

/// Boots it, runs a script there that has to succeed, and gives the output.
pub fn boot(machine: &Machine<'_>, script: &str) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let init = scratch.path().join("init");
    let shelf = scratch.path().display();
    let share = machine.shared.map(|path| format!("mount -t hostfs -o {} none /mnt/shared\n", path.display()));
    let text = format!(
        "#!/bin/sh\n\
         export PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/mnt/tmp\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sysfs /sys\n\
         mount -t tmpfs tmpfs /mnt\n\
         mkdir /mnt/shelf /mnt/shared /mnt/tmp\n\
         mount -t hostfs -o {shelf} none /mnt/shelf\n\
         {share}\
         exec >/mnt/shelf/output 2>&1\n\
         (set -ex\n\
         for module in {modules}; do insmod /usr/lib/uml/modules/$(uname -r)/kernel/$module.ko; done\n\
         {script}) && echo SUCCESS\n\
         exec >/dev/null 2>&1\n\
         sync\n\
         poweroff -f\n",
        share = share.unwrap_or_default(),
        modules = machine.modules.join(" "),
    );
    std::fs::write(&init, text).unwrap();
    std::fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=1", "600", "python3", "-c", PLAIN_REGISTERS])
        .args(["linux.uml", "rootfstype=hostfs", "root=/dev/root", "ro", "quiet", "con=null"])
        .args([format!("mem={}M", machine.memory), format!("init={}", init.display())])
        // The environment of init: without PTRACE_GETREGSET a page fault costs the upper halves of AVX registers.
        .arg("GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-AVX_Fast_Unaligned_Load");
    if let Some(disk) = machine.disk {
        command.arg(format!("ubd0={}", disk.display()));
    }
    command.env("HOME", scratch.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().unwrap();
    let output = std::fs::read_to_string(scratch.path().join("output")).unwrap_or_default();
    assert!(output.ends_with("SUCCESS\n"), "{status}: {output}");
    output
}

/// Runs those tests of this program in it that are ignored elsewhere, whose names begin so and have none of the words of `not` in
/// them: each has to pass.
pub fn run_ignored(machine: &Machine<'_>, begin: &str, not: &[&str]) {
    let program = std::env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    let not: Vec<String> = not.iter().map(|word| format!("--skip={word}")).collect();
    let list = Command::new(program).args(["--list", "--ignored", begin]).args(&not).output().unwrap();
    let count = String::from_utf8(list.stdout).unwrap().lines().filter(|line| line.starts_with(begin)).count();
    assert!(count > 0, "no test begins with {begin}");
    let not = not.join(" ");
    let script = format!("REQUIRE_ORACLES=1 RUST_BACKTRACE=0 {program} --ignored --test-threads=1 {begin} {not}");
    let output = boot(machine, &script);
    assert!(output.contains(&format!("test result: ok. {count} passed; 0 failed")), "{output}");
}

/// Whether it can be booted for [`with_quotas`].
pub fn can_boot_with_quotas() -> bool {
    can_boot(&["repquota", "setquota", "chattr"])
}

/// Boots it with `image` mounted on `$GUEST` with quotas, runs a script there that has to succeed, unmounts, and gives the
/// output.
pub fn with_quotas(image: &Path, script: &str) -> String {
    let modules = ["fs/quota/quota_tree", "fs/quota/quota_v2"];
    let machine = Machine { memory: 128, modules: &modules, disk: Some(image), shared: None };
    let script = format!(
        "export GUEST=/mnt/guest\n\
         mkdir $GUEST\n\
         mount -t ext4 -o usrquota,grpquota,prjquota /dev/ubda $GUEST\n\
         {script}\n\
         umount $GUEST"
    );
    boot(&machine, &script)
}
