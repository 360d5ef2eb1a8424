use super::*;
use imgraft_vfs::fs::mem::{Builder, MemFs};

fn ubuntu() -> Builder {
    MemFs::builder()
        .file("/usr/lib/os-release", "ID=ubuntu\nVERSION_ID=\"24.04\"\nPRETTY_NAME=\"Ubuntu 24.04 LTS\"\n")
        .symlink("/etc/os-release", "../usr/lib/os-release")
        .symlink("/lib", "usr/lib")
        .file("/etc/passwd", "root:x:0:0::/root:/bin/bash\n")
        .file("/etc/group", "root:x:0:\n")
        .file("/etc/login.defs", "ENCRYPT_METHOD YESCRYPT\n")
        .file("/usr/lib/systemd/systemd-networkd", "")
        .symlink("/usr/lib/netplan/generate", "/usr/libexec/netplan/generate")
        .symlink("/usr/lib/systemd/system-generators/netplan", "/usr/libexec/netplan/generate")
        .file("/usr/lib/systemd/system/systemd-networkd.service", "[Unit]\n")
        .symlink("/etc/systemd/system/multi-user.target.wants/systemd-networkd.service", "/usr/lib/gone")
}

#[test]
fn inspect_reads_the_facts() {
    let guest = Guest::inspect(&ubuntu().build().unwrap()).unwrap();
    assert_eq!((guest.os.id.as_str(), guest.os.version_id.as_str()), ("ubuntu", "24.04"));
    assert_eq!(guest.accounts.people(), ["root"]);
    assert_eq!(guest.encrypt_method, Some(Method::Yescrypt));
    assert_eq!(guest.selinux, None);
    let stacks: Vec<_> =
        guest.network.stacks.iter().map(|state| (state.stack.name(), state.enabled_by.is_some())).collect();
    assert_eq!(stacks, [("netplan", true), ("systemd-networkd", true)]);
}

#[test]
fn inspect_of_nothing_is_no_error() {
    let guest = Guest::inspect(&MemFs::new()).unwrap();
    assert_eq!((guest.os.id.as_str(), guest.accounts.users, guest.network.stacks.len()), ("linux", None, 0));
}

#[test]
fn a_root_has_etc_and_os_release() {
    let is_root = |builder: Builder| is_root(&builder.build().unwrap()).unwrap();
    assert!(is_root(ubuntu()));
    assert!(is_root(MemFs::builder().file("/etc/os-release", "")));
    assert!(is_root(MemFs::builder().dir("/etc").file("/usr/lib/os-release", "")));
    assert!(is_root(MemFs::builder().symlink("/etc", "/sys-etc").file("/sys-etc/os-release", "")));
    assert!(!is_root(MemFs::builder()));
    assert!(!is_root(MemFs::builder().dir("/etc")));
    assert!(!is_root(MemFs::builder().file("/usr/lib/os-release", "")));
    assert!(!is_root(MemFs::builder().file("/etc", "").file("/usr/lib/os-release", "")));
    assert!(!is_root(MemFs::builder().symlink("/etc/os-release", "os-release")));
    assert!(!is_root(MemFs::builder().dir("/etc/os-release")));
    assert!(!is_root(MemFs::builder().symlink("/etc", "/etc")));
}

#[test]
fn a_guest_bent_out_of_shape_is_inspected_all_the_same() {
    let tree = MemFs::builder()
        .symlink("/etc/os-release", "/../../etc/os-release")
        .dir("/etc/passwd")
        .symlink("/etc/group", "/gone")
        .symlink("/etc/selinux", "/etc/selinux/config")
        .file("/usr", "")
        .special("/etc/login.defs", FileType::Fifo)
        .build()
        .unwrap();
    let guest = Guest::inspect(&tree).unwrap();
    assert_eq!((guest.accounts.users, guest.selinux, guest.network.stacks.len()), (None, None, 0));
}

/// Files made of pieces of real ones and of noise, from a fixed seed: nothing panics, and every fact stays in bounds.
#[test]
fn noise_is_survived() {
    const PIECES: [&[u8]; 16] = [
        b"root",
        b":",
        b"::",
        b"x",
        b"0",
        b"\n",
        b"\xff\xfe",
        b"\0",
        b"ID=",
        b"\"",
        b"'",
        b"\\",
        b"SELINUXTYPE=",
        b"4294967296",
        b"ENCRYPT_METHOD ",
        b"VERSION_ID=",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..400 {
        let mut noise = || (0..next() % 60).flat_map(|_| PIECES[(next() % 16) as usize].to_vec()).collect::<Vec<u8>>();
        let tree = MemFs::builder()
            .file("/etc/os-release", noise())
            .file("/etc/passwd", noise())
            .file("/etc/group", noise())
            .file("/etc/login.defs", noise())
            .file("/etc/selinux/config", noise())
            .build()
            .unwrap();
        let guest = Guest::inspect(&tree).unwrap();
        assert!(!guest.os.pretty_name.chars().any(char::is_control));
        assert!(guest.selinux.and_then(|selinux| selinux.policy).is_none_or(|policy| !policy.contains('/')));
    }
}
