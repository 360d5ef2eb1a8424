//! What the injectors' tests share: a phony guest, and a look at what became of it.

use super::{Injector, Outcome};
use crate::guest::Guest;
use imgraft_vfs::fs::mem::{Builder, MemFs};
use imgraft_vfs::fs::{GuestFs, Lookup, read_file};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::stage::{Change, Stage};

pub const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIAEu9Lhq09fnUQ+NLJjp0/W2gr6JPTQdsQVnAskKbLE me at home";
pub const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQCssYXRthhiktPedc08wcvzNDzQtXpQfx2jN1sQxUs7q6wxTiwWOgVs3sYhYwop8GWAjHSpdc11FfAPgnEeXLcqbe72LzXrg0wPmvL+AUej3SFyCNLW1Ady9SKFV23y8LjWipNG2lLYRt5w/jDzbtVTtnc2AaiJ0KDJQ2mqI+4yjW1kJTCnRUsemX3al4nSbAXmFf+DlGz3dBPGzMALNNPEjslqIk81nxXdXY5I0vC9q+u+JyQ44/t+kmzYf8+pU+Rj6xJkUZ4WhDy92KYYuukNzvHLcLrnq1e+fx8TWJPXFYQx4BCC/RNw2iQzjpyh67oQEF6pCaSUYAvn9BU1hrCt9is3S9PwigpZiuvsF/IipN+Owf27q7nZ8Wp4k2eRNMbpJfl9osRu/uUYGvLYCqAUjzIm99JNby7wjJ3Ls8UuTHXQEsuwoCjvQ/PfRZn3pazLKeqa8kf8MdlkDM2cApRvF91nAk/qY+cDsww2SRKE6+6pH2gNwkgJVoilpKH1RUc= me at home";
pub const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBErns1QNbuY5YgaSOQbnPVARBphBJUC95RIeQlhH0+nKR26M5V7vW24rD8BxATQ04ZtQLdXzERo4+Q42MNdg5Ps= me at home";
pub const SECURITY_KEY: &str = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAINEK4u17EgyoUP02YHr1uiCL+8S5cWmctDkC8OWF6IEYAAAABHNzaDo= sk me";

pub const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/usr/sbin:/usr/sbin/nologin\nann:x:1000:1001:Ann,,,:/home/ann:/bin/bash\nbl\xf6d:x:1001:1001::/home/b:/bin/sh\nnew:x:999:999::/srv/deep/new:/bin/false\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\nlost:x:998:998::relative:/bin/sh\nold:$1$a$b:997:997::/:/bin/sh\n";
pub const SHADOW: &[u8] =
    b"root:*:19000:0:99999:7:::\nann:!:19000:0:99999:7:::\nbl\xf6d:x:::\n\xff\xfe garbage\nold:*:1::::::\nann\nlast:*:1";

/// A Debian-like guest with a few users.
pub fn phony() -> Builder {
    MemFs::builder()
        .file("/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n")
        .file("/etc/passwd", PASSWD)
        .file("/etc/group", "root:x:0:\nstaff:x:50:ann\nann:x:1001:\n")
        .file("/etc/shadow", SHADOW)
        .mode(0o640)
        .owner(0, 42)
        .dir("/root")
        .mode(0o700)
        .dir("/home/ann")
        .owner(1000, 1001)
}

/// The same with SELinux and a small policy.
pub fn fedora() -> Builder {
    phony()
        .file("/etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=targeted\n")
        .dir("/etc/rc.d")
        .file(
            "/etc/selinux/targeted/contexts/files/file_contexts",
            "/.*\tsystem_u:object_r:default_t:s0\n/etc/.*\tsystem_u:object_r:etc_t:s0\n/root(/.*)?\tsystem_u:object_r:admin_home_t:s0\n/tmp/.*\t<<none>>\n/etc/(?=x).*\ta:b:c\n",
        )
        .file(
            "/etc/selinux/targeted/contexts/files/file_contexts.homedirs",
            "/home/[^/]+/.*\tunconfined_u:object_r:user_home_t:s0\n/home/[^/]+/\\.ssh(/.*)?\tunconfined_u:object_r:ssh_home_t:s0\n/root/\\.ssh(/.*)?\tsystem_u:object_r:ssh_home_t:s0\n",
        )
        .file("/etc/selinux/targeted/contexts/files/file_contexts.subs_dist", "/var/home /home\n")
}

/// A guest whose systemd runs rc.local, and with it restorecon, and labels all files at a boot that is to.
pub fn labelling(guest: Builder, rc_local: &str) -> Builder {
    let generators = "/usr/lib/systemd/system-generators";
    guest
        .file("/usr/lib/systemd/systemd", "")
        .file("/usr/lib/systemd/system/rc-local.service", format!("[Service]\nExecStart={rc_local} start\n"))
        .file(format!("{generators}/systemd-rc-local-generator"), "elf")
        .mode(0o755)
        .file(format!("{generators}/selinux-autorelabel-generator.sh"), "#!/bin/sh\n")
        .mode(0o755)
        .file("/usr/sbin/restorecon", "elf")
        .mode(0o755)
}

/// What an injector would do.
pub fn stage(injector: &dyn Injector, fs: &MemFs) -> Result<(Outcome, Vec<Change>), super::InjectError> {
    let guest = Guest::inspect(fs)?;
    let mut stage = Stage::new(fs);
    let before = stage.savepoint();
    let outcome = injector.stage(&guest, &mut stage)?;
    let changes = stage.changes_since(&before)?;
    Ok((outcome, changes))
}

/// The guest after an injector.
pub fn inject(injector: &dyn Injector, mut fs: MemFs) -> MemFs {
    let guest = Guest::inspect(&fs).unwrap();
    let changes = {
        let mut stage = Stage::new(&fs);
        injector.stage(&guest, &mut stage).unwrap();
        stage.finish().unwrap()
    };
    changes.apply(&mut fs).unwrap();
    fs
}

/// What the injector notes, and what there is to say of what it has put in.
pub fn notes(injector: &dyn Injector, fs: &MemFs) -> String {
    let mut stage = Stage::new(fs);
    let Outcome { mut notes, premises, .. } = injector.stage(&Guest::inspect(fs).unwrap(), &mut stage).unwrap();
    for remark in premises.iter().flat_map(|premise| premise.remarks(&stage).unwrap()) {
        if !notes.contains(&remark) {
            notes.push(remark);
        }
    }
    notes.join("\n")
}

/// Why the injector refuses, with its hint.
pub fn refusal(injector: &dyn Injector, fs: MemFs) -> String {
    let error = stage(injector, &fs).unwrap_err();
    match error.hint() {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}

/// A second run changes nothing.
#[track_caller]
pub fn assert_unchanged(injector: &dyn Injector, fs: &MemFs) {
    let (_, changes) = stage(injector, fs).unwrap();
    assert!(changes.is_empty(), "{changes:?}");
}

fn at(fs: &MemFs, path: &str) -> Resolved {
    resolve(fs, &GuestPath::parse(path).unwrap(), Follow::All).unwrap()
}

pub fn exists(fs: &MemFs, path: &str) -> bool {
    fs.lookup(&at(fs, path)).unwrap().is_some()
}

/// Mode and owner.
#[track_caller]
pub fn describe(fs: &MemFs, path: &str) -> String {
    let metadata = fs.lookup(&at(fs, path)).unwrap().unwrap_or_else(|| panic!("{path} is missing"));
    format!("{:04o} {}:{}", metadata.mode, metadata.uid, metadata.gid)
}

pub fn bytes(fs: &MemFs, path: &str) -> Vec<u8> {
    read_file(fs, &at(fs, path), 1 << 20).unwrap()
}

pub fn text(fs: &MemFs, path: &str) -> String {
    String::from_utf8(bytes(fs, path)).unwrap()
}

pub fn xattr(fs: &MemFs, path: &str, name: &str) -> Option<Vec<u8>> {
    let xattrs = fs.xattrs(&at(fs, path)).unwrap();
    xattrs.into_iter().find(|xattr| xattr.name == name.as_bytes()).map(|xattr| xattr.value)
}

/// The SELinux label without its NUL.
pub fn label(fs: &MemFs, path: &str) -> Option<String> {
    let value = xattr(fs, path, "security.selinux")?;
    Some(String::from_utf8(value.strip_suffix(b"\0").expect("a NUL at the end").to_vec()).unwrap())
}
