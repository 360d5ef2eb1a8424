//! What is done to files, beside a shell that does the same to a twin.

use crate::support::rooted::{Rooted, assert_refused, assert_same};
use crate::support::tree::{self, Mounted};
use crate::support::{Scratch, expect, image, inject, oracle, run, text};

const SCRIPT: &str = r#"
set -e
mkdir -p srv/a/b
cp etc/hosts srv/a/hosts
printf 'one\ntwo\n' >srv/a/lines
echo three >>srv/a/lines
perl -pi -e 's/^(one|three)$/<$1>/' srv/a/lines
ln -sfn ../a/b srv/way
ln -sfn /etc/passwd srv/a/link
rm -rf usr/share/doc/[a-d]* usr/share/none* var/lib/dpkg/info
touch srv/touched
: >etc/issue
find var/cache var/lib -type f -exec truncate -s 0 '{}' +
chmod 0750 srv/a
chown daemon:sys srv/a/lines
"#;

#[test]
fn as_a_shell_does() {
    if !tree::have(&["e2fsck", "perl", "find"]) || !tree::can_mount() {
        return;
    }
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let (disk, twin) = (scratch.copy(&guest.path, "disk.raw"), scratch.copy(&guest.path, "twin.raw"));
    let offset = image::open(&disk, guest.partition).offset;
    let mounted = Mounted::new(&twin, &format!("offset={offset}"));
    let root = text(mounted.path()).to_owned();
    let hosts = format!(
        "{}:/srv/a/hosts",
        text(&scratch.file("hosts", std::fs::read(mounted.path().join("etc/hosts")).expect("it is there")))
    );
    oracle::succeed("sh", &["-c", &format!("cd {root} && umask 022\n{SCRIPT}")]);
    let expected = listing(&root);
    drop(mounted);

    let words = [
        "inject",
        text(&disk),
        "--mkdir",
        "/srv/a/b",
        "--upload",
        &hosts,
        "--write",
        "/srv/a/lines:one\ntwo\n",
        "--append-line",
        "/srv/a/lines:three",
        "--edit",
        "/srv/a/lines:s/^(one|three)$/<$1>/",
        "--link",
        "../a/b:/srv/way",
        "--link",
        "/etc/passwd:/srv/a/link",
        "--delete",
        "/usr/share/doc/[a-d]*",
        "--delete",
        "/usr/share/none*",
        "--delete",
        "/var/lib/dpkg/info",
        "--touch",
        "/srv/touched",
        "--truncate",
        "/etc/issue",
        "--truncate-recursive",
        "/var/cache",
        "--truncate-recursive",
        "/var/lib",
        "--chmod",
        "0750:/srv/a",
        "--chown",
        "daemon:sys:/srv/a/lines",
        "--json",
    ];
    let report: serde_json::Value = serde_json::from_str(&expect(0, &words)).expect("JSON");
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    oracle::e2fsck(&disk, offset);
    let mounted = Mounted::new(&disk, &format!("ro,noload,offset={offset}"));
    let found = listing(text(mounted.path()));
    let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "{differs:?}");
    assert!(found.lines().count() > 1000);
}

/// As virt-customize has ln(1) do it, from outside of the guest.
#[test]
fn links_are_made_as_ln_makes_them() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck", "ln"]) else { return };
    guest.run(
        "mkdir srv/dir srv/full srv/full/name; ln -s dir srv/way; ln -s /srv/dir srv/absolute; ln -s none srv/nowhere; \
         echo f >srv/file; ln -s file srv/to-file; ln -s ../way srv/dir/in",
    );
    let links = [
        ("one", "way"),
        ("/opt/two/", "dir"),
        ("../three", "dir/in"),
        ("four", "absolute"),
        ("five", "nowhere"),
        ("six", "to-file"),
        ("seven", "file"),
        ("busybox", "../bin"),
        ("one", "dir"),
    ];
    let listing =
        "cd $1; find srv bin usr/bin \\( -type l -o -path srv\\* \\) -printf '%p %y %l %m %U\n' | LC_ALL=C sort";
    let twin = guest.twin(&scratch, "twin.raw");
    twin.run(&links.map(|(target, link)| format!("ln -sf -- {target} srv/{link}")).join("\n"));
    let words = links.map(|(target, link)| format!("--link={target}:/srv/{link}").replace("/srv/../", "/"));
    let words = words.each_ref().map(String::as_str);
    let report = guest.inject(&words);
    let found = guest.list(listing);
    assert_same(&found, &twin.list(listing));
    assert!(found.contains("usr/bin/busybox l busybox") && found.contains("bin l usr/bin"), "{found}");
    let notes = report["items"][0]["notes"].to_string();
    assert!(notes.contains("--link: /bin is a directory, so that the link goes into it: /bin/busybox"), "{report}");
    assert!(!notes.contains("/srv/absolute") && notes.matches("--link").count() == 5, "{notes}");
    // ln would make another one in it.
    for words in [&words[..], &["--link=usr/bin:/bin", "--link=dir:/srv/way"]] {
        assert_eq!(guest.inject(words)["items"][0]["status"], "unchanged", "{words:?}");
    }
    assert_refused(
        &guest.disk,
        &["--link"],
        &[
            ("name:/srv/full", 3, "/srv/full/name: a directory is where"),
            ("..:/srv/dir", 3, "/srv/dir: a directory is where"),
        ],
    );
}

/// What is scrubbed is gone, and what is said of it holds: it is in free blocks still, until they are cleared.
#[test]
fn what_is_scrubbed_is_said_to_stay() {
    if !oracle::have("zerofree") {
        return;
    }
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let offset = image::open(&disk, guest.partition).offset;
    // Put together here, so that this program's own file is none of the places.
    let secret = ["correct", "horse", "battery", "staple"].join("-");
    let places = || {
        let found = oracle::tool("grep", &["-c", "-a", "-F", &secret, text(&disk)]).stdout;
        String::from_utf8_lossy(&found).trim().parse::<u32>().expect("a number")
    };
    let file = scratch.file("secret", format!("{secret}\n").repeat(600));
    inject(&disk, &["--upload", &format!("{}:/srv/secret", text(&file)), "--link", "secret:/srv/way"]);
    assert!(places() >= 600, "{}", places());
    let before = oracle::sha256(&disk);
    for (path, told) in [
        ("/srv/none", "/srv/none: no such file in the guest"),
        ("/srv", "/srv: no regular file in the guest"),
        ("/srv/way", "name the file that it leads to, /srv/secret"),
    ] {
        let output = run(&["inject", text(&disk), "--scrub", path]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert!(stderr.contains(told) && stderr.contains("hint: "), "{stderr}");
    }
    assert_eq!(oracle::sha256(&disk), before);
    let commands = scratch.file("commands", "scrub /srv/secret\n");
    let report = inject(&disk, &["--commands-from-file", text(&commands)]);
    let notes = report["items"][0]["notes"].to_string();
    assert!(notes.contains("--scrub /srv/secret: the file is deleted") && notes.contains("zerofree"), "{report:#}");
    assert!(
        expect(0, &["ls", text(&disk), "/srv"])
            .lines()
            .all(|line| line.ends_with(" way -> secret") || !line.ends_with(" secret"))
    );
    oracle::e2fsck(&disk, offset);
    assert!(places() >= 600, "{}", places());
    oracle::succeed("zerofree", &[&format!("{}?offset={offset}", text(&disk))]);
    assert_eq!(places(), 0);
    oracle::e2fsck(&disk, offset);
}

/// A mode without a leading 0 is decimal, as for virt-customize, and is told in octal.
#[test]
fn a_mode_may_be_decimal() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let report =
        inject(&disk, &["--write", "/srv/a:", "--chmod", "420:/srv/a", "--mkdir", "/srv/b", "--chmod", "0750:/srv/b"]);
    let told = "--chmod 420:/srv/a: 420 is decimal, as virt-customize reads it: mode 0644";
    assert_eq!(report["notes"], serde_json::json!([told]), "{report:#}");
    let raw = oracle::raw(&scratch, &disk, "qcow2");
    let offset = image::open(&raw, 1).offset;
    assert_eq!(oracle::owner(&raw, offset, "/srv/a").0, "0644");
    assert_eq!(oracle::owner(&raw, offset, "/srv/b").0, "0750");
    oracle::e2fsck(&raw, offset);
}

/// What chown(2) leaves of the permission bits, by the kernel.
#[test]
fn as_chown_does() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck", "mknod", "python3"]) else { return };
    guest.run(
        "cd srv; touch f; mkdir d; mknod c c 1 3; mknod b b 7 0; mkfifo p
        python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'
        for mode in 6755 4600 2745 3777; do for name in f d c b p s; do cp -a $name $name.$mode; chmod $mode $name.$mode; done; done",
    );
    let twin = guest.twin(&scratch, "twin.raw");
    twin.run("chown 7:8 srv/*.*");
    let listing = "cd $1; find srv -printf '%p %y %m %U:%G\\n' | LC_ALL=C sort";
    let names = guest.list("cd $1; printf '%s ' srv/*.*");
    let words: Vec<String> = names.split_whitespace().map(|name| format!("--chown=7:8:/{name}")).collect();
    assert_eq!(words.len(), 24);
    guest.inject(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let found = guest.list(listing);
    assert_same(&found, &twin.list(listing));
    assert!(found.contains("srv/s.6755 s 755 7:8") && found.contains("srv/d.6755 d 6755 7:8"), "{found}");
}

/// The mode is the host's as cp(1) leaves it, also of a file that is there; the owner is the guest's.
#[test]
fn what_is_uploaded_has_the_hosts_mode() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck", "cp", "chmod"]) else { return };
    let host = text(&scratch.file("secret", "secret")).to_owned();
    oracle::succeed("chmod", &["4640", &host]);
    guest.run(
        "echo old >srv/old; chmod 0644 srv/old; chown 7:8 srv/old; printf secret >srv/same; chmod 0666 srv/same
        echo program >srv/program; chmod 6755 srv/program; chown 7:8 srv/program",
    );
    let twin = guest.twin(&scratch, "twin.raw");
    twin.run(&format!(
        "for name in old same new program; do cp {host} srv/$name; chmod u-s,g-s srv/$name; chmod 0640 srv/$name; done"
    ));
    let words = ["old", "same", "new", "program"].map(|name| format!("--upload={host}:/srv/{name}"));
    let words = words.each_ref().map(String::as_str);
    let diff = expect(0, &[&["inject", text(&guest.disk), "--dry-run"], &words[..]].concat());
    assert!(diff.contains("0644") && diff.contains("0640"), "{diff}");
    let report = guest.inject(&words);
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    let listing = "cd $1; find srv -type f -printf '%p %m %U:%G %s\\n' | LC_ALL=C sort";
    let found = guest.list(listing);
    assert_same(&found, &twin.list(listing));
    assert!(found.contains("srv/old 640 7:8 6") && found.contains("srv/new 640 0:0 6"), "{found}");
    assert_eq!(guest.inject(&words)["changed"], false);
}

/// Patterns with brackets, classes, hidden names, a slash at the end and braces; an upload that names a directory, and what is in one.
#[test]
fn patterns_and_directories_are_as_in_a_shell() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck", "bash", "tar"]) else { return };
    let setup = "mkdir -p srv/g srv/h srv/to; cd srv/g
        touch log.1 log.2 log.a log.^ .hid .h.d x.y a b c ssh_rsa_key ssh_ed_key ssh_dsa_key; mkdir ldir lother; ln -s ldir llink; touch 'a*b' axb";
    guest.run(setup);
    let site = scratch.path().join("site");
    std::fs::create_dir_all(site.join("sub")).expect("they are made");
    std::fs::write(site.join("page"), "page").expect("it is written");
    oracle::succeed("chmod", &["0644", text(&site.join("page"))]);
    std::fs::write(site.join(".dot"), "dot").expect("it is written");
    let twin = guest.twin(&scratch, "twin.raw");
    twin.run(&format!(
        "bash -c 'cd srv/g; rm -rf log.[^0-9] *.y ssh_{{rsa,ed}}_key [[:digit:]]* {{a,b}}; rm -rf a\\*b; rmdir ldir lother'
        cp -p {site}/page srv/to/; tar -C {site} --exclude=./. -cf - page sub .dot | tar -C srv/h -xf -",
        site = text(&site)
    ));
    let (page, content) =
        (format!("--upload={}/page:/srv/to", text(&site)), format!("--copy-in={}/.:/srv/h", text(&site)));
    let words = [
        "--delete=/srv/g/log.[^0-9]",
        "--delete=/srv/g/*.y",
        "--delete=/srv/g/ssh_{rsa,ed}_key",
        "--delete=/srv/g/[[:digit:]]*",
        "--delete=/srv/{g/{a,b},none}",
        r"--delete=/srv/g/a\*b",
        "--delete=/srv/g/l*/",
        &page,
        &content,
    ];
    let report = guest.inject(&words);
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    let listing = "cd $1; find srv -printf '%p %y %m %U:%G %l\\n' | LC_ALL=C sort";
    let found = guest.list(listing);
    assert_same(&found, &twin.list(listing));
    for kept in ["srv/g/log.1 ", "srv/g/.h.d ", "srv/g/llink ", "srv/g/axb ", "srv/h/sub ", "srv/to/page "] {
        assert!(found.contains(kept), "{kept}: {found}");
    }
    assert_eq!(guest.inject(&words)["changed"], false);
    // What gives way is told as it was.
    let told = expect(0, &["inject", text(&guest.disk), "--link=page:/srv/to/page"]);
    assert!(told.contains("remove   /srv/to/page (0644 0:0, 4 bytes)"), "{told}");
}

/// What is changed under one name is changed under all, for what comes after it.
#[test]
fn two_names_are_one_file() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck", "sed"]) else { return };
    guest.run("for name in a b c; do echo one >srv/$name; ln srv/$name srv/$name.2; done");
    let words = [
        "--append-line=/srv/a:two",
        "--append-line=/srv/a.2:two",
        "--write=/srv/b:new\n",
        "--edit=/srv/b.2:s/new/newer/",
        "--chmod=0600:/srv/c",
        "--chown=7:8:/srv/c.2",
    ];
    guest.inject(&words);
    let listing = "cd $1/srv; stat -c '%n %a %u:%g %h' *; tail -n 9 a* b* c*";
    let found = guest.list(listing);
    assert!(found.contains("a.2 644 0:0 2") && found.contains("c.2 600 7:8"), "{found}");
    assert_eq!(found.matches("two").count(), 4, "{found}");
    assert_eq!(found.matches("newer").count(), 2, "{found}");
}

/// Every name with its type, mode, owner, links, size and target, and what all files hold.
fn listing(root: &str) -> String {
    let script = r"cd $1; find . -path ./lost+found -prune -o -printf '%P %y %m %U:%G %n %l' \( -type f -printf ' %s' -o -true \) -printf '\n' | LC_ALL=C sort
        find . -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum";
    oracle::succeed("sh", &["-c", script, "sh", root])
}
