//! Diffs of files with secrets in them: a word is the secret in each spelling, and is nowhere in what a run says; the rest is.

use crate::support::{Scratch, expect, image, oracle, text};

/// A word of no other text.
const SECRET: &str = "Xq7vRw2Zt";
const OTHER: &str = "Lm4pKd9Bc";

/// Fails where a run shows a secret, or not what it says besides.
#[track_caller]
fn assert_hidden(words: &[&str], shown: &[&str]) {
    let json = expect(0, &[words, &["--dry-run", "--json"]].concat());
    let said = expect(0, &[words, &["--dry-run"]].concat());
    for said in [&json, &said] {
        assert!(!said.contains(SECRET) && !said.contains(OTHER), "{words:?}: {said}");
    }
    let missing: Vec<_> = shown.iter().filter(|text| !said.contains(**text)).collect();
    assert!(missing.is_empty(), "{missing:?} of {said}");
}

#[test]
fn a_link_says_what_a_file_is() {
    let scratch = Scratch::new();
    for (name, body, shown) in [
        (
            "/etc/netplan/50-x.yaml",
            "network:\n  wifis:\n    w0:\n      access-points: {home: {password: \"@\"}}\n",
            "+  wifis:",
        ),
        ("/etc/wpa_supplicant/wpa_supplicant.conf", "network={\n    ssid=\"home\"\n    psk=\"@\"\n}\n", "+    ssid="),
        ("/etc/wpa_supplicant.conf", "network={\n    ssid=\"home\"\n    psk=\"@\"\n}\n", "+    ssid="),
        ("/etc/network/interfaces.d/w0", "iface w0 inet dhcp\n    wpa-psk @\n", "+iface w0 inet dhcp"),
        (
            "/etc/NetworkManager/system-connections/x.nmconnection",
            "[wifi-security]\nkey-mgmt=wpa-psk\npsk=@\n",
            "+[wifi-security]",
        ),
        ("/etc/cloud/cloud.cfg.d/90-x.cfg", "write_files:\n- path: /x\n  content: |\n    a\n    @\n", "+- path: /x"),
        ("/etc/apt/auth.conf.d/x.conf", "machine example.org login ann password @\n", "+machine example.org login ann"),
        ("/etc/ppp/chap-secrets", "ann * @ *\n", " bytes"),
        ("/etc/shadow", "root:@:19000:0:99999:7:::\n", ":19000:0:99999:7:::"),
        ("/var/lib/cloud/seed/nocloud/user-data", "#cloud-config\nchpasswd: {list: ['ann:@']}\n", "bytes that are not"),
    ] {
        let disk = scratch.copy(&image::phony(), "disk.qcow2");
        let (before, after) = (body.replace('@', SECRET), body.replace('@', OTHER));
        let directory = name.rsplit_once('/').expect("a path").0;
        let write = |body: &str| format!("/srv/elsewhere:{body}");
        let link = format!("/srv/elsewhere:{name}");
        // The link comes in the same run, is there before it, and goes in the run.
        let made = ["inject", text(&disk), "--mkdir", directory, "--write", &write(&before), "--delete", name];
        assert_hidden(&[&made[..], &["--link", &link]].concat(), &[shown]);
        expect(0, &[&made[..], &["--link", &link]].concat());
        assert_hidden(&["inject", text(&disk), "--write", &write(&after)], &["/srv/elsewhere"]);
        let gone = ["inject", text(&disk), "--delete", name, "--delete", "/srv/elsewhere"];
        assert_hidden(&gone, &["removed file /srv/elsewhere"]);
    }
}

/// A file of two names (hard links) is told of by the one by which it was changed last.
#[test]
fn a_second_name_says_what_a_file_is() {
    let scratch = Scratch::new();
    let tree = scratch.path().join("tree");
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let netplan =
        |word: &str| format!("network:\n  wifis:\n    w0:\n      access-points: {{home: {{password: {word}}}}}\n");
    let files = [
        ("/etc/netplan/a.yaml", "/srv/x", netplan(SECRET), netplan(OTHER)),
        ("/etc/ppp/chap-secrets", "/srv/y", format!("ann * {SECRET} *\n"), format!("ann * {OTHER} *\n")),
    ];
    for (name, other, before, _) in &files {
        for path in [name, other] {
            let directory = tree.join(&path[1..]);
            std::fs::create_dir_all(directory.parent().expect("a directory")).expect("it is made");
        }
        std::fs::write(tree.join(&name[1..]), before).expect("it is written");
        std::fs::hard_link(tree.join(&name[1..]), tree.join(&other[1..])).expect("it is linked");
    }
    let archive = scratch.path().join("tree.tar");
    oracle::succeed("tar", &["-C", text(&tree), "-cf", text(&archive), "etc", "srv"]);
    expect(0, &["inject", text(&disk), "--tar-in", &format!("{}:/", text(&archive))]);
    for (name, other, _, after) in &files {
        let touched = ["inject", text(&disk), "--touch", other];
        assert_hidden(&[&touched[..], &["--write", &format!("{name}:{after}")]].concat(), &[other]);
        assert_hidden(&["inject", text(&disk), "--append-line", &format!("{other}:# more")], &[other]);
    }
}

#[test]
fn passwords_in_urls_and_of_settings_are_hidden_in_any_file() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    for (path, body, shown) in [
        ("/etc/environment", "http_proxy=http://ann:@@proxy:3128\n", "+http_proxy=http://ann:<new secret>@proxy:3128"),
        (
            "/etc/cloud/cloud.cfg.d/9.cfg",
            "apt: {http_proxy: \"http://a:@@p:1\"}\n",
            "+apt: {http_proxy: \"http://a:<new secret>@p:1\"}",
        ),
        (
            "/etc/cloud/cloud.cfg.d/9.cfg",
            "runcmd:\n  - usermod -p '$6$saltsalt$@aaaaaaaaaaaaaaaaaaaaaaaa' root\n",
            "+  - usermod -p '<new hash>' root",
        ),
        ("/etc/cloud/cloud.cfg.d/9.cfg", "apt:\n  proxy: http://a:@@p:1\n", "+  proxy: http://a:<new secret>@p:1"),
        (
            "/etc/apt/apt.conf.d/90proxy",
            "Acquire::http::Proxy \"http://ann:@@proxy:3128/\";\n",
            "+Acquire::http::Proxy \"http://ann:<new secret>@proxy:3128/\";",
        ),
        ("/etc/yum.conf", "[main]\nproxy=http://p:1\nproxy_password = @\ngpgcheck=1\n", "+gpgcheck=1"),
        (
            "/etc/yum.repos.d/x.repo",
            "[x]\nbaseurl=https://ann:@@example.org/x\npassword=@\n",
            "+baseurl=https://ann:<new secret>@example.org/x",
        ),
        (
            "/etc/fstab.d",
            "//nas/x /mnt cifs username=ann,password=@,uid=1000 0 0\n",
            "+//nas/x /mnt cifs username=ann,password=<new",
        ),
        (
            "/etc/systemd/system/x.service.d/x.conf",
            "[Service]\nEnvironment=DB_PASSWORD=@\n",
            "+Environment=DB_PASSWORD=<new secret>",
        ),
        ("/root/.git-credentials", "https://ann:@@example.org\n", "+https://ann:<new secret>@example.org"),
    ] {
        let body = body.replacen('@', SECRET, 1);
        let write = format!("{path}:{}", body.replace("password=@", &format!("password={SECRET}")));
        let directory = path.rsplit_once('/').expect("a path").0;
        assert_hidden(&["inject", text(&disk), "--mkdir", directory, "--write", &write], &[shown]);
    }
}

/// What is on a volume that is not there no run changes, and none of it is shown.
#[test]
fn a_place_on_a_volume_that_is_not_there_is_none() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let line = "/etc/fstab:UUID=11111111-2222-3333-4444-555555555555 /data ext4 defaults 0 2";
    expect(0, &["inject", text(&disk), "--mkdir", "/data", "--append-line", line, "--link", "/data/ppp:/etc/ppp"]);
    let words = ["inject", text(&disk), "--write", "/etc/motd:hi\n"];
    assert_hidden(&words, &["+hi"]);
    expect(0, &words);
}

/// A secret stays one at another path, and so does what only its owner may read, whatever it is called.
#[test]
fn copies_and_private_files_are_as_secret_as_what_they_come_from() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let disk = text(&disk);
    let wifi = format!("/etc/ppp/chap-secrets:ann * {SECRET} *\n");
    let token = format!("/root/token:{SECRET}\n");
    let shadow = format!("/etc/shadow:root:{SECRET}:19000:0:99999:7:::\n");
    let key = "/root/keys/authorized_keys:from=\"a\" ssh-ed25519 AAAA\n";
    let made = ["inject", disk, "--mkdir", "/etc/ppp", "--mkdir", "/root/keys", "--write", &wifi, "--write", &token];
    let private = ["--chmod", "0600:/root/token", "--chmod", "0600:/root/keys/authorized_keys"];
    assert_hidden(&[&made[..], &["--write", &shadow, "--write", key], &private].concat(), &["/root/token content"]);
    expect(0, &[&made[..], &["--write", &shadow, "--write", key], &private].concat());
    for (words, shown) in [
        (&["--copy", "/etc/ppp/chap-secrets:/srv/x", "--append-line", "/srv/x:more"][..], "file /srv/x content"),
        (
            &["--copy", "/etc/ppp:/srv/y", "--append-line", "/srv/y/chap-secrets:more"],
            "file /srv/y/chap-secrets content",
        ),
        (
            &["--move", "/etc/ppp:/srv/z", "--append-line", "/srv/z/chap-secrets:more"],
            "file /srv/z/chap-secrets content",
        ),
        (&["--copy", "/etc/shadow:/root/x", "--append-line", "/root/x:a:b"], "+root:<new hash>:19000"),
        (&["--append-line", "/root/token:more"], "file /root/token content"),
        (
            &["--copy", "/root/token:/srv/t", "--chmod", "0644:/srv/t", "--append-line", "/srv/t:more"],
            "file /srv/t content",
        ),
        (&["--append-line", "/root/keys/authorized_keys:# more"], "+# more"),
    ] {
        assert_hidden(&[&["inject", disk], words].concat(), &[shown]);
    }
}

#[test]
fn passwords_that_commands_are_told_are_hidden_in_any_file() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    for (path, body, shown) in [
        ("/root/x.sh", "echo root:@ | chpasswd\nid\n", "+echo <new secret> | chpasswd"),
        ("/etc/systemd/system/x.service", "[Service]\nExecStart=sh -c 'echo @ | passwd --stdin a'\n", "+[Service]"),
        ("/etc/cloud/cloud.cfg.d/9.cfg", "runcmd:\n  - echo root:@ | chpasswd\n", "+runcmd:"),
        ("/root/y.sh", "chpasswd <<EOF\nroot:@\nEOF\n", "bytes that are not shown"),
        ("/etc/hostapd/hostapd.conf", "ssid=home\nr0kh=02:01:02:03:04:05 nas @\nap_pin=@\n", "+ssid=home"),
        ("/etc/openvpn/client/login", "ann\n@\n", "file /etc/openvpn/client/login content"),
        ("/etc/netctl/home", "Interface=wlan0\nKey=@\n", "+Interface=wlan0"),
    ] {
        let write = format!("{path}:{}", body.replace('@', SECRET));
        let directory = path.rsplit_once('/').expect("a path").0;
        assert_hidden(&["inject", text(&disk), "--mkdir", directory, "--write", &write], &[shown]);
    }
}
