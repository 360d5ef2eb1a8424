//! Archives that are unpacked, beside tar on a twin.

use crate::support::rooted::{Rooted, assert_refused, assert_same};
use crate::support::{Scratch, image, oracle, text};

/// An archive of whatever tar keeps; what of it is in the guest already, and what is in its way there.
const HOST: &str = r"
set -e
umask 022
mkdir -p site/a/deep/er site/empty
printf one >site/a/one
printf two >site/a/two
printf replaced >site/a/linked
printf through >site/a/through
head -c 3000000 /dev/urandom >site/a/large
: >site/a/none
ln site/a/two site/a/deep/second
ln site/a/two site/first
ln site/a/none site/nothing
ln -s ../../../../etc/shadow site/a/out
ln -s /nowhere site/dangling
ln -s new site/moved
ln -P site/dangling site/dangling2
mkfifo -m 0620 site/pipe
mknod site/null c 1 3
mknod site/disk b 8 300
mkdir site/$(printf '%0200d' 7)
printf deep >site/$(printf '%0200d' 7)/$(printf '%0200d' 8)
chmod 4751 site/a/one
chmod 2755 site/a/deep
chmod 0600 site/a/two
chmod 1777 site/empty
chown -h 1234:4321 site/a/two site/a/deep site/dangling site/pipe
chown 3000000:70000 site/a/large
setfattr -n user.mark -v x site/a/large
touch -d '2001-02-03 04:05:06.123456789' site/a/one site/a/deep
touch -h -d '1999-12-31 23:00:00.5 UTC' site/dangling
";

const GUEST: &str = r"
set -e
umask 022
mkdir -p srv/site/a srv/other
chmod 0700 srv/site/a
printf old >srv/site/a/one
printf two >srv/site/first
printf same >srv/other/linked
ln srv/other/linked srv/site/a/linked
printf kept >srv/other/kept
ln -s ../../other/kept srv/site/a/through
ln -s old srv/site/moved
mkfifo srv/site/null
printf file >srv/site/pipe
printf stays >srv/site/stays
setfacl -m u:7:r srv/site/a/one
";

#[test]
fn as_tar_does() {
    let scratch = Scratch::new();
    let tools = ["e2fsck", "tar", "setfacl", "getfattr", "setfattr"];
    let Some(original) = Rooted::new(&scratch, &tools) else { return };
    let host = text(scratch.path()).to_owned();
    oracle::succeed("sh", &["-c", &format!("cd {host}\n{HOST}")]);
    original.run(GUEST);
    for (format, words) in [("posix", "--xattrs -cf"), ("gnu", "-cf")] {
        let guest = original.twin(&scratch, &format!("{format}.raw"));
        let twin = original.twin(&scratch, "twin.raw");
        let archive = format!("{host}/{format}.tar");
        oracle::succeed("sh", &["-c", &format!("cd {host} && tar --format={format} -C site {words} {archive} .")]);
        twin.run(&format!("tar -C srv/site -xpf {archive} --numeric-owner"));
        let expected = twin.list(LISTING);

        let words = ["--tar-in", &format!("{archive}:/srv/site")];
        let report = guest.inject(&words);
        assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
        let told = report.to_string().contains("SCHILY.xattr.user.mark of ./a/large is not put into the guest");
        assert_eq!(told, format == "posix", "{report}");
        let found = guest.list(LISTING);
        assert_same(&found, &expected);
        assert!(found.contains("srv/site/a/out l 777 0:0 1 ../../../../etc/shadow"), "{found}");
        assert!(found.contains("srv/site/first f 600 1234:4321 3"), "{found}");
        assert!(found.contains("srv/site/disk 8:12c\n"), "{found}");

        assert_eq!(guest.inject(&words)["changed"], false);
    }
}

/// Links of the guest in the way of directories, and files of it that are alike and have other names.
#[test]
fn as_tar_does_where_names_are_links() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck", "tar", "getfattr"]) else { return };
    let host = text(scratch.path()).to_owned();
    let archive = format!("{host}/links.tar");
    let make = r"set -e
        umask 022
        cd $1
        mkdir -p site/nowhere site/file site/circle site/dir
        for name in nowhere file circle dir; do printf in >site/$name/f; done
        printf same >site/a; printf same >site/b; printf alike >site/c; printf pair >site/p; ln site/p site/q
        touch -d @1000000000 site/[abcp]
        tar -C site -cf $2 .";
    oracle::succeed("sh", &["-c", make, "sh", &host, &archive]);
    guest.run(
        r"umask 022
        mkdir -p srv/site opt/real
        ln -s /srv/missing srv/site/nowhere
        ln -s a srv/site/file
        ln -s circle srv/site/circle
        ln -s ../../opt/real srv/site/dir
        printf same >srv/site/a; ln srv/site/a srv/site/b
        printf alike >srv/site/c; ln srv/site/c srv/outside
        printf pair >srv/site/p; ln srv/site/p srv/site/q; ln srv/site/p srv/third
        touch -d @1000000000 srv/site/[acp]",
    );
    let twin = guest.twin(&scratch, "twin.raw");
    twin.run(&format!("tar -C srv/site --keep-directory-symlink -xpf {archive} --numeric-owner"));
    let expected = twin.list(LISTING);
    let words = ["--tar-in", &format!("{archive}:/srv/site")];
    let report = guest.inject(&words);
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    let found = guest.list(LISTING);
    assert_same(&found, &expected);
    for line in ["srv/site/a f 644 0:0 1 ", "srv/site/q f 644 0:0 2 ", "srv/third f 644 0:0 1 ", "srv/site/dir l 777"] {
        assert!(found.contains(line), "{line}: {found}");
    }
    assert!(!found.contains("missing"), "{found}");
    assert_eq!(guest.list("cat $1/opt/real/f"), "in");
    assert_eq!(guest.inject(&words)["changed"], false);
}

#[test]
fn what_cannot_be_unpacked_leaves_the_image() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    scratch.file("good", "x");
    let host = text(scratch.path()).to_owned();
    let script = r"set -e
        cd $1
        mkdir -p d/sub
        ln -s /etc link
        printf x >up
        ln good again
        tar -cf good.tar good
        tar -cPf up.tar good d/../up
        tar -cf through.tar good link
        rm link; mkdir link; printf x >link/passwd
        tar -rf through.tar link/passwd
        tar -cf both.tar good again
        tar -f both.tar --delete good 2>/dev/null
        tar -cf way.tar d
        head -c 700 good.tar >cut.tar
        printf x | dd of=cut.tar bs=1 seek=124 conv=notrunc 2>/dev/null
        gzip -k good.tar";
    oracle::succeed("sh", &["-c", script, "sh", &host]);
    let at = |typed: &str| format!("{host}/{typed}");
    let cases = [
        (at("good.tar:/none"), 3, "/none: no such directory in the guest"),
        (at("good.tar:/etc/passwd"), 3, "/etc/passwd: no directory in the guest"),
        (at("none.tar:/etc"), 2, "none.tar: No such file"),
        (at("up.tar:/etc"), 2, "up.tar: d/../up: its name leads upwards"),
        (at("through.tar:/etc"), 2, "link/passwd: it would go through a symbolic link of the archive"),
        (at("both.tar:/etc"), 2, "again: a hard link of good, which is not in the archive before it"),
        (at("cut.tar:/etc"), 2, "cut.tar: it is no tar archive"),
        (at("good.tar.gz:/etc"), 2, "gzip -dk"),
        (at("disk.qcow2:/etc"), 2, "this run writes that file"),
        (at(".:/etc"), 2, "not a regular file"),
    ];
    // What comes before it is not done either.
    assert_refused(&disk, &["--write", "/etc/first:x", "--tar-in"], &cases);
}

/// Every name from /srv/site on and in what is beside it, with its type, mode, owner, links, target and time in whole seconds,
/// a file's size, a device's number, all access lists, and what all files hold.
const LISTING: &str = r"cd $1
        find srv -mindepth 1 -printf '%p %y %m %U:%G %n %l %Ts' \( -type f -printf ' %s' -o -true \) -printf '\n' | LC_ALL=C sort
        find srv \( -type b -o -type c \) -exec stat -c '%n %t:%T' {} + | LC_ALL=C sort
        getfattr -R -h -d -m - srv | LC_ALL=C sort
        find srv -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum";
