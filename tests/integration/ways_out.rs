//! A refusal names what it is about, the guest's fact that is in the way, and what the user can do.

use crate::support::{KEY, Scratch, expect, image, oracle, run, text};
use std::path::Path;

/// What a run that has to fail with `status` says, with the image's name for `IMAGE`; the image stays as it is.
#[track_caller]
fn said(copy: &Path, status: i32, words: &[&str]) -> String {
    let before = oracle::sha256(copy);
    let output = run(&[&["inject", text(copy)], words].concat());
    let said = String::from_utf8_lossy(&output.stderr).replace(text(copy), "IMAGE");
    assert_eq!(output.status.code(), Some(status), "{words:?}: {said}");
    assert_eq!(oracle::sha256(copy), before, "{words:?} changed the image");
    said
}

#[test]
fn paths_that_are_not_there() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let tree = scratch.path().join("tree");
    std::fs::create_dir(&tree).expect("a directory");
    scratch.file("tree/file", "x");
    oracle::succeed("tar", &["-C", text(&tree), "-cf", text(&scratch.path().join("t.tar")), "file"]);
    let (copy_in, tar_in) =
        (format!("{}:/no/dir", text(&tree)), format!("{}:/no/dir", text(&scratch.path().join("t.tar"))));
    let missing = "imgraft: IMAGE: item files: /etc/no/such: no such file in the guest\n\
                   hint: `imgraft ls IMAGE /etc` shows what is there; --write, --touch or --mkdir before it makes what is to be new\n";
    let directory = "imgraft: IMAGE: item files: /no/dir: no such directory in the guest\n\
                     hint: --mkdir /no/dir before it makes the directory\n";
    let in_the_way = "imgraft: IMAGE: item files: /etc/hostname: not a directory\n\
                      hint: `imgraft ls IMAGE /etc/hostname` shows what is there; a run of its own with --move or --delete takes it out \
                      of the way\n";
    for (words, expected) in [
        (["--edit", "/etc/no/such:s/a/b/"], missing),
        (["--truncate", "/etc/no/such"], missing),
        (["--truncate-recursive", "/etc/no/such"], missing),
        (["--chmod", "0600:/etc/no/such"], missing),
        (["--chown", "root:root:/etc/no/such"], missing),
        (["--copy-in", &*copy_in], directory),
        (["--tar-in", &*tar_in], directory),
        (["--move", "/etc/hostname:/no/dir/x"], directory),
        (["--copy", "/etc/hostname:/no/dir/x"], directory),
        (
            ["--link", "x:/no/dir/y"],
            "imgraft: IMAGE: item files: /no/dir: no such directory\nhint: --mkdir /no/dir before it makes the directory\n",
        ),
        (["--mkdir", "/etc/hostname/x"], in_the_way),
        (["--write", "/etc/hostname/x:y"], in_the_way),
        (["--chmod", "0600:/etc/hostname/x"], in_the_way),
        (
            ["--truncate", "/etc"],
            "imgraft: IMAGE: item files: /etc: a directory in the guest\nhint: --truncate-recursive /etc empties the files in it\n",
        ),
        (
            ["--truncate-recursive", "/etc/passwd"],
            "imgraft: IMAGE: item files: /etc/passwd: no directory in the guest\nhint: --truncate /etc/passwd empties a file\n",
        ),
        (
            ["--add-to-group", "debian:10"],
            "imgraft: IMAGE: item accounts: no group '10' in the guest\n\
             hint: give the name of a group that the guest has; --add-group NAME makes one\n",
        ),
    ] {
        assert_eq!(said(&copy, 3, &words), expected, "{words:?}");
    }
    assert_eq!(
        said(&copy, 2, &["--delete", "/"]),
        "imgraft: IMAGE: item files: /: the root cannot be removed\nhint: name what is in it\n"
    );
    // The ways lead out.
    for words in [["--copy-in", &*copy_in], ["--tar-in", &*tar_in], ["--link", "x:/no/dir/y"]] {
        expect(0, &[&["inject", text(&copy), "--mkdir", "/no/dir"][..], &words].concat());
    }
    expect(0, &["inject", text(&copy), "--touch", "/etc/no/such", "--chmod", "0600:/etc/no/such"]);
}

/// Mistakes of the command line, each with the way out.
#[test]
fn options_that_are_mistyped() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let none = scratch.file("no-archive", "no archive\n".repeat(100));
    let (short, empty) = (scratch.file("short", "x"), scratch.file("empty", ""));
    let tar_in = |file: &Path| format!("{}:/srv", text(file));
    let no_archive = "hint: --upload puts in a file as it is, --copy-in a directory; tar -cf makes an archive";
    let unit =
        "hint: ssh.service, say: a unit is named without its directory, and a name without a type is a service's";
    for (words, reason, way) in [
        (&["--mask-unit", "a/b"][..], "--mask-unit a/b: no name of a unit", unit),
        (&["--enable-unit", "a b"], "--enable-unit a b: no name of a unit", unit),
        (&["--tar-in", &tar_in(&none)], "no-archive: it is no tar archive\n", no_archive),
        (&["--tar-in", &tar_in(&short)], "short: it is no tar archive\n", no_archive),
        (&["--tar-in", &tar_in(&empty)], "empty: it is empty, and no tar archive\n", no_archive),
        (&["--metadata", "novalue"], "--metadata: not KEY=VALUE", "hint: role=web, say; a value may be empty: role="),
        (
            &["--metadata", "a=1", "--metadata", "a=2"],
            "--metadata a: the key is given twice",
            "hint: give each key one value",
        ),
        (
            &["--gateway", "192.0.2.1"],
            "--gateway 192.0.2.1: it goes with an address of --ip",
            "hint: --ip 192.0.2.10/24, say",
        ),
        (&["--dhcp", "--gateway", "192.0.2.1"], "--gateway 192.0.2.1: it goes", "with --dhcp the router is the one"),
        (
            &["--dns", "192.0.2.1"],
            "no address: --ip has one, or --dhcp asks for one",
            "hint: --ip 192.0.2.10/24, say, or --dhcp",
        ),
        (&["--nic", "lo", "--dhcp"], "--nic lo: the loopback device", "hint: name another device"),
        (
            &["--sudo", "debian", "--sudo", "debian:nopasswd"],
            "--sudo: 'debian' is named twice",
            "hint: name each user once",
        ),
        (&["--chmod", "u+x:/srv"], "--chmod u+x:/srv: no mode", "hint: --chmod 0644:/path"),
        (&["--machine-readable"], "--machine-readable: virt-customize", "hint: --json gives the report in JSON"),
    ] {
        let told = said(&copy, 2, words);
        assert!(told.contains(reason) && told.contains(way), "{words:?}: {told}");
        assert_eq!(told.lines().count(), 2, "{told}");
    }
    let missing = "imgraft: IMAGE: item files: /nosuch: no such file in the guest\n\
                   hint: `imgraft ls IMAGE /` shows what is there; --write, --touch or --mkdir before it makes what is to be new\n";
    assert_eq!(said(&copy, 3, &["--copy", "/nosuch:/x"]), missing);
    // Nobody has to have a passphrase where nothing is locked.
    expect(0, &["ls", text(&copy), "/etc/hostname", "--keys-from-stdin"]);
}

#[test]
fn a_guest_without_room() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let big = scratch.path().join("big");
    std::fs::File::create(&big).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    // As inspect has it.
    let facts = expect(0, &["inspect", text(&copy), "--json"]);
    let facts: serde_json::Value = serde_json::from_str(&facts).expect("JSON");
    let free = free_bytes(&facts).expect("the guest's filesystem has a usage");
    let told = said(&copy, 3, &["--upload", &format!("{}:/srv/big", text(&big))]);
    assert_eq!(
        told.replace(&format!(" {free} are free"), " FREE are free"),
        "imgraft: IMAGE: item files: /srv/big: the guest filesystem is full\n\
         hint: 1073741824 bytes are to be written, and FREE are free; `imgraft inspect IMAGE` shows how much is free; --delete in a run of its own makes room; or `qemu-img resize IMAGE +2G` \
         enlarges the disk, and growpart and resize2fs (xfs_growfs) in the guest, or cloud-init as it boots, its filesystem\n"
    );
}

/// The first that inspect's report says of it.
fn free_bytes(facts: &serde_json::Value) -> Option<u64> {
    match facts {
        serde_json::Value::Object(members) => match members.get("free_bytes") {
            Some(free) => free.as_u64(),
            None => members.values().find_map(free_bytes),
        },
        serde_json::Value::Array(list) => list.iter().find_map(free_bytes),
        _ => None,
    }
}

#[test]
fn a_unit_that_a_package_will_bring() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    assert_eq!(
        said(&copy, 3, &["--firstboot-install", "nginx", "--enable-unit", "nginx"]),
        "imgraft: IMAGE: item units: the guest has no unit nginx.service\n\
         hint: `imgraft ls IMAGE /usr/lib/systemd/system` shows what the guest has; one that --firstboot-install brings, \
         --firstboot-command 'systemctl enable --now nginx.service' after it enables\n"
    );
}

#[test]
fn what_is_typed() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    assert_eq!(
        said(&copy, 2, &["--add-user", "a:shell=bash"]),
        "imgraft: --add-user a:shell=bash: 'bash' is no absolute path that passwd can hold\n\
         hint: give the whole path, as in shell=/bin/bash; no colon can be in it\n"
    );
    let words = ["--ip=x", "--ip=192.0.2.2/24", "--ip=y", "--gateway=z", "--dns=q", "--hostname=a b"];
    let told = said(&copy, 2, &words);
    let lines: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("imgraft: ")).collect();
    let address = "not an address of IPv4 or IPv6";
    let expected = [
        "--ip x: not ADDRESS/PREFIX".to_owned(),
        "--ip y: not ADDRESS/PREFIX".to_owned(),
        format!("--gateway z: {address}"),
        format!("--dns q: {address}"),
        "--hostname a b: only letters, digits, hyphens and dots can be in it".to_owned(),
    ];
    assert_eq!(lines, expected, "{told}");
    for option in ["--output", "--overlay", "--keep-undo"] {
        assert_eq!(
            said(&copy, 2, &["--write=/a:b", option, "/no/such/file"]),
            format!("imgraft: IMAGE: {option}: /no/such/file: there is no such directory\n")
        );
        assert_eq!(
            said(&copy, 3, &["--write=/a:b", option, "/proc/file"]),
            format!(
                "imgraft: IMAGE: {option}: /proc/file: its directory takes no files\n\
                 hint: name a file in a directory that this user can write to\n"
            )
        );
    }
}

/// Debian's sign for a user without a home, and what can be done for one.
#[test]
fn keys_for_a_user_without_a_home() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let user =
        ["--append-line=/etc/passwd:ghost:x:7007:7007::/nonexistent:/bin/sh", "--append-line=/etc/group:ghost:x:7007:"];
    let key = format!("--ssh-inject=ghost:string:{KEY}");
    let told = said(&copy, 3, &[&user[..], &[&*key]].concat());
    assert!(told.contains("cannot hold keys: '/nonexistent'\nhint: give the key to another user; or have"), "{told}");
    let place = "--write=/etc/ssh/sshd_config:AuthorizedKeysFile /etc/ssh/authorized_keys/%u\n";
    let words = [&["inject", text(&copy), place][..], &user, &[&*key]].concat();
    expect(0, &words);
    assert!(expect(0, &["cat", text(&copy), "/etc/ssh/authorized_keys/ghost"]).starts_with("ssh-"));
}

/// A guest without hosts(5) gets one, whatever it is called.
#[test]
fn localhost_without_hosts() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    expect(0, &["inject", text(&copy), "--delete", "/etc/hosts"]);
    expect(0, &["inject", text(&copy), "--hostname", "localhost"]);
    assert_eq!(expect(0, &["cat", text(&copy), "/etc/hostname"]), "localhost\n");
    let hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    assert_eq!(expect(0, &["cat", text(&copy), "/etc/hosts"]), hosts);
    oracle::e2fsck(&oracle::raw(&scratch, &copy, "qcow2"), image::open(&copy, 1).offset);
}

/// What the guest reads may be a link to where it sees nothing of its disk.
#[test]
fn links_to_where_the_guest_sees_nothing() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let image = text(&copy);
    let key = format!("root:string:{KEY}");
    let seen = "the guest's kernel mounts a filesystem without a disk: what is put below it is not seen there";
    for (link, target, item, words) in [
        ("/etc/hostname", "../dev/name", "hostname", ["--hostname", "q"]),
        ("/etc/motd", "/run/motd", "files", ["--write", "/etc/motd:x"]),
        ("/etc/motd", "/run/motd", "files", ["--append-line", "/etc/motd:x"]),
        ("/root/.ssh/authorized_keys", "/run/keys", "key", ["--ssh-inject", &key]),
    ] {
        expect(0, &["inject", image, "--mkdir", "/root/.ssh", "--delete", link, "--link", &format!("{target}:{link}")]);
        let place = if target.contains("run") { "/run" } else { "/dev" };
        let file = target.replace("../", "/");
        let told = said(&copy, 3, &words);
        let expected = format!(
            "imgraft: IMAGE: item {item}: {link}: a symbolic link to {file}, and at {place} {seen}\n\
             hint: --delete {link} before it makes it a file of its own\n"
        );
        assert_eq!(told, expected);
        expect(0, &[&["inject", image, "--delete", link][..], &words].concat());
        assert!(!expect(0, &["ls", image, link]).contains("->"), "{link}");
    }
    // A directory of the image's is there.
    expect(0, &["inject", image, "--delete", "/etc/hosts", "--link", "/srv:/etc/hosts"]);
    assert_eq!(
        said(&copy, 3, &["--append-line", "/etc/hosts:x"]),
        "imgraft: IMAGE: item files: /etc/hosts: a directory in the guest\n\
         hint: name the file in it; --upload FILE:/etc/hosts/, with a slash at the end, puts FILE into it\n"
    );
    // A directory of the path: a place that is named itself may be another one.
    let told = said(&copy, 3, &["--write", "/var/run/x:y"]);
    assert!(
        told.contains("item files: /run/x: the guest's kernel")
            && told.contains("hint: choose another path; --mount none:/run"),
        "{told}"
    );
    oracle::e2fsck(&oracle::raw(&scratch, &copy, "qcow2"), image::open(&copy, 1).offset);
}

/// Links that lead in a circle, where items look, and directories where they have files.
#[test]
fn links_in_a_circle_and_directories() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let image = text(&copy);
    for (path, words) in [
        ("/etc/hosts", ["--hostname", "q"]),
        ("/etc/hostname", ["--hostname", "q"]),
        ("/etc/shadow", ["--password", "debian:disabled"]),
        ("/etc/motd", ["--write", "/etc/motd:x"]),
    ] {
        let copy = scratch.copy(&copy, "circle.qcow2");
        let image = text(&copy);
        expect(0, &["inject", image, "--delete", path, "--link", &format!("{path}:{path}")]);
        let told = said(&copy, 3, &words);
        let expected = format!(
            ": {path}: more than 40 symbolic links (a loop)\nhint: --delete {path} before it takes the link away, where"
        );
        assert!(told.starts_with("imgraft: IMAGE: item ") && told.contains(&expected), "{told}");
        if path != "/etc/shadow" {
            expect(0, &[&["inject", image, "--delete", path][..], &words].concat());
        }
    }
    for (path, words) in [
        ("/etc/hostname", ["--hostname", "q"]),
        ("/etc/hosts", ["--hostname", "q"]),
        ("/etc/shadow", ["--password", "debian:disabled"]),
    ] {
        expect(0, &["inject", image, "--delete", path, "--mkdir", path]);
        let told = said(&copy, 3, &words);
        assert!(
            told.contains(&format!(
                "{path}: not a regular file\nhint: `imgraft ls IMAGE {path}` shows what is there; "
            )),
            "{told}"
        );
        expect(0, &["inject", image, "--delete", path, "--write", &format!("{path}:debian:*:::::::\n")]);
    }
}

/// A hint's command opens what the run has opened, and has no passphrase in it.
#[test]
fn commands_of_hints_open_the_same() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let words = ["inject", text(&disk), "--partition", "1", "--mount", "none", "--truncate", "/etc/none"];
    let output = run(&words);
    let told = String::from_utf8_lossy(&output.stderr);
    let command = told.split('`').nth(1).expect("a command");
    assert_eq!(command, format!("imgraft ls {} --partition 1 --mount none /etc", text(&disk)), "{told}");
    let command: Vec<_> = command.split(' ').skip(1).collect();
    assert!(expect(0, &command).contains(" passwd"));
    let output = run(&[&words[..], &["--key", "all:key:Xq7vRw2Zt"]].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains(" --mount none --key … /etc`") && !told.contains("Xq7vRw2Zt"), "{told}");
}
