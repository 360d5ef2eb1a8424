//! Trees that are copied in, beside tar on a twin.

use crate::support::rooted::{Rooted, assert_refused, assert_same};
use crate::support::{Scratch, image, oracle, text};

/// A tree with whatever tar copies, and what is in its way in the guest: files with an access list, a second name, a link.
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
ln -s ../../../../etc/shadow site/a/out
ln -s /nowhere site/dangling
ln -s new site/moved
chmod 4751 site/a/one
chmod 0600 site/a/two
chmod 1777 site/empty
chown -h 1234:4321 site/a/two site/a/deep site/dangling
touch -d '2001-02-03 04:05:06.123456789' site/a/one
";

const GUEST: &str = r"
set -e
umask 022
mkdir -p srv/site/a srv/other
chmod 0700 srv/site/a
printf old >srv/site/a/one
printf same >srv/other/linked
ln srv/other/linked srv/site/a/linked
printf kept >srv/other/kept
ln -s ../../other/kept srv/site/a/through
ln -s old srv/site/moved
printf stays >srv/site/stays
setfacl -m u:7:r srv/site/a/one
";

#[test]
fn as_tar_does() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck", "tar", "setfacl", "getfattr"]) else { return };
    let host = text(scratch.path()).to_owned();
    oracle::succeed("sh", &["-c", &format!("cd {host}\n{HOST}")]);
    guest.run(GUEST);
    let twin = guest.twin(&scratch, "twin.raw");
    twin.run(&format!("tar -C {host} -cf - site | tar -C srv -xpf - --numeric-owner"));
    let expected = twin.list(LISTING);

    let words = ["--copy-in", &format!("{host}/site/:/srv")];
    let report = guest.inject(&words);
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    let found = guest.list(LISTING);
    assert_same(&found, &expected);
    assert!(found.contains("srv/site/a/out l 777 0:0 1 ../../../../etc/shadow"), "{found}");

    assert_eq!(guest.inject(&words)["changed"], false);
}

#[test]
fn what_cannot_be_copied_leaves_the_image() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    std::fs::create_dir(scratch.path().join("site")).expect("it is made");
    scratch.file("site/f", "x");
    let at = |path: &str| text(&scratch.path().join(path)).to_owned();
    let cases = [
        (at("site:/none"), 3, "/none: no such directory in the guest"),
        (at("site:/etc/passwd"), 3, "/etc/passwd: no directory in the guest"),
        (at("none:/etc"), 2, "none: No such file"),
        (format!("{}:/etc", text(scratch.path())), 2, "this run writes that file"),
    ];
    assert_refused(&disk, &["--copy-in"], &cases);
}

/// Every name below /srv with its type, mode, owner, links and target, a file's size and time, all access lists, and what all
/// files hold. The times of directories are those of the run.
const LISTING: &str = r"cd $1; find srv -printf '%p %y %m %U:%G %n %l' \( -type f -printf ' %s' -o -true \) -printf '\n' | LC_ALL=C sort
        find srv/site/a srv/other -type f -printf '%p %T@\n' | LC_ALL=C sort
        getfattr -R -h -d -m - srv | LC_ALL=C sort
        find srv -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum";
