//! What virt-customize's spellings mean.

use crate::support::{HASH, KEY, Scratch, expect, image, imgraft, inject, oracle, run, text};
use std::process::Command;
use std::time::{Duration, SystemTime};

#[test]
fn the_newest_key_is_meant_where_none_is_named() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path().join(".ssh")).expect("a directory");
    for (age, name) in
        [(4, "id_ed25519.pub"), (3, "id_mine.pub"), (2, "id_mine-cert.pub"), (1, "other.pub"), (0, "id_rsa")]
    {
        let path = scratch.file(&format!(".ssh/{name}"), KEY.replace("tests@imgraft", name));
        let file = std::fs::File::options().write(true).open(path).expect("the key");
        file.set_modified(SystemTime::now() - Duration::from_secs(age * 100)).expect("a time");
    }
    // As ssh-copy-id(1) looks for it.
    let newest = "ls -dt $HOME/.ssh/id*.pub | grep -v -- '-cert.pub$' | head -n 1";
    let newest = Command::new("sh").args(["-c", newest]).env("HOME", scratch.path()).output().expect("sh").stdout;
    let newest = String::from_utf8(newest).expect("a path");
    let key = std::fs::read_to_string(newest.trim_end()).expect("the key");
    assert!(key.ends_with("id_mine.pub"), "{key}");

    for (user, host) in [("root", "file://"), ("root:", "file://localhost")] {
        let disk = scratch.copy(&guest.path, "disk 1.raw");
        let uri = format!("{host}{}", text(&disk).replace(' ', "%20"));
        let words = ["inject", "-a", &uri, "--ssh-inject", user];
        let output = imgraft().env("HOME", scratch.path()).args(words).output().expect("it starts");
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && told.contains(newest.trim_end()), "{told}");
        assert_eq!(expect(0, &["cat", text(&disk), "/root/.ssh/authorized_keys"]).trim_end(), key);
    }
    let none = scratch.file(".ssh/id_none.pub", "none\n");
    let words = ["inject", text(&guest.path), "--dry-run", "--ssh-inject", "root"];
    let output = imgraft().env("HOME", scratch.path()).args(words).output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && told.contains(&format!("root: {}, the newest", text(&none))), "{told}");
    std::fs::remove_dir_all(scratch.path().join(".ssh")).expect("it goes");
    let words = ["inject", "-a", "ssh://host/disk.raw", "--ssh-inject", "root"];
    let output = imgraft().env("HOME", scratch.path()).args(words).output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && told.contains("by ssh") && told.contains("block device"), "{told}");
    let disk = scratch.copy(&guest.path, "disk.raw");
    let words = ["inject", text(&disk), "--ssh-inject", "root"];
    let output = imgraft().env("HOME", scratch.path()).args(words).output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && told.contains("--ssh-inject root:file:PATH"), "{told}");
}

/// The long options of virt-customize, as getopt(1) has them told.
const NAMES: &str = "add:,append-line:,attach:,attach-format:,chmod:,chown:,colors,colour,commands-from-file:,connect:,copy:,\
    copy-in:,delete:,domain:,dry-run,dryrun,echo-keys,edit:,firstboot:,firstboot-command:,firstboot-install:,format:,help,\
    hostname:,inject-qemu-ga:,install:,key:,link:,memsize:,mkdir:,move:,network,no-logfile,no-network,no-selinux-relabel,\
    password:,password-crypto:,quiet,root-password:,run:,run-command:,scrub:,selinux-relabel,smp:,ssh-inject:,tar-in:,\
    timezone:,touch:,truncate:,truncate-recursive:,uninstall:,update,upload:,verbose,version,wrap,write:";

/// `getopt -a` reads words by getopt_long_only(3), which the virt tools call.
#[test]
fn names_may_be_cut_short() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    if !oracle::have("getopt") {
        return;
    }
    let scratch = Scratch::new();
    let commands = scratch.file("commands", "mkdir /srv/of-file\n");
    let password = format!("--root-pass=hash:{HASH}");
    let typed = ["--append", "/srv/a:b", "-hostname", "web", &password, "-mk", "/srv/c", "-del", "/etc/motd", "--no-l"];
    // One name is the beginning of another one, and is meant itself.
    let typed =
        [&typed[..], &["-comma", text(&commands), "-truncate", "/etc/issue", "--touch=/srv/d=e", "-x"]].concat();
    let words = [&["-a", "-u", "-o", "a:c:d:m:nqvxV", "-l", NAMES, "--"], &*typed].concat();
    let whole = oracle::succeed("getopt", &words);
    let whole: Vec<&str> = whole.split_whitespace().filter(|word| *word != "--").collect();
    assert!(whole.contains(&"--root-password") && whole.contains(&"--commands-from-file"), "{whole:?}");
    let bytes = |words: &[&str], name: &str| {
        let disk = scratch.copy(&guest.path, name);
        inject(&disk, words);
        assert!(expect(0, &["ls", text(&disk), "/srv"]).contains("of-file"));
        oracle::sha256(&disk)
    };
    assert_eq!(bytes(&typed, "short.raw"), bytes(&whole, "whole.raw"));

    // What getopt finds ambiguous is refused here too, and no value is told.
    for word in ["--tru=/secret", "-up=/secret", "--first=/secret"] {
        let words = ["-a", "-o", "a:", "-l", NAMES, "--", word];
        let ambiguous = oracle::tool("getopt", &words);
        assert!(String::from_utf8_lossy(&ambiguous.stderr).contains("ambiguous"), "{word}");
        let output = run(&["inject", "-a", "none.raw", word]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && !told.contains("secret"), "{told}");
    }
}
