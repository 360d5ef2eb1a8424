"""Guests of a sound filesystem whose files are not what they should be."""

import guest

MANY = "x:x:{0}:{0}::/:\n"


def without(*names):
    return {name: text for name, text in guest.FILES.items() if name not in names}


def edited(*edits, tree=guest.FILES):
    return guest.ext4(edits=edits, tree=tree)


def replaced(path, *edits):
    return edited(f"rm {path}", *edits)


def device(path, kind):
    """The path becomes a fifo, or a device of the host's disk or memory."""
    folder, name = path.rsplit("/", 1)
    return replaced(path, f"cd {folder or '/'}", f"mknod {name} {kind}")


def cases():
    no_etc = {name: text for name, text in guest.FILES.items() if not name.startswith("etc/")}
    yield "guest-etc-link-to-itself.img", 3, "root", edited("symlink etc etc", tree=no_etc)
    yield "guest-etc-is-a-file.img", 3, "root", guest.ext4(tree={**no_etc, "etc": "a file\n"})
    yield "guest-os-release-fifo.img", 3, "root", device("/etc/os-release", "p")
    yield "guest-os-release-link-out.img", 3, "root", replaced(
        "/etc/os-release", "symlink /etc/os-release ../../../../../../usr/lib/os-release")
    yield "guest-passwd-100-mb.img", 3, "/etc/passwd", edited("sif /etc/passwd size 104857600")
    yield "guest-passwd-directory.img", 3, "passwd", replaced("/etc/passwd", "mkdir /etc/passwd")
    yield "guest-passwd-block-device.img", 3, "passwd", device("/etc/passwd", "b 8 0")
    yield "guest-shadow-directory.img", 3, "shadow", replaced("/etc/shadow", "mkdir /etc/shadow")
    yield "guest-shadow-fifo.img", 3, "shadow", device("/etc/shadow", "p")
    yield "guest-shadow-immutable.img", 3, "immutable", edited("sif /etc/shadow flags 0x80010")
    yield "guest-shadow-link-loop.img", 3, "shadow", replaced("/etc/shadow", "symlink /etc/shadow shadow-", "symlink /etc/shadow- shadow")
    yield "guest-no-root-user.img", 3, "root", guest.ext4(tree={**guest.FILES, "etc/passwd": "toor:x:0:0::/root:/bin/sh\n"})
    yield "guest-home-climbs.img", 3, "home", guest.ext4(tree={**guest.FILES, "etc/passwd": "root:x:0:0::/../../../root:/bin/sh\n"})
    yield "guest-home-relative.img", 3, "home", guest.ext4(tree={**guest.FILES, "etc/passwd": "root:x:0:0::root:/bin/sh\n"})
    yield "guest-home-escapes.img", 3, "home", guest.ext4(tree={**guest.FILES, "etc/passwd": "root:x:0:0::\033]0;x\a:/bin/sh\n"})
    yield "guest-uid-overflows.img", 3, "root", guest.ext4(tree={**guest.FILES, "etc/passwd": "root:x:4294967296:0::/root:/bin/sh\n"})
    yield "guest-ssh-link-loop.img", 3, "/root/.ssh", edited("symlink /root/.ssh .ssh")
    yield "guest-ssh-is-a-file.img", 3, "/root/.ssh", edited("ln /etc/motd /root/.ssh", "sif /etc/motd links_count 2")
    yield "guest-keys-null-device.img", 3, "authorized_keys", edited("mkdir /root/.ssh", "cd /root/.ssh", "mknod authorized_keys c 1 3")
    yield "guest-keys-fifo.img", 3, "authorized_keys", edited("mkdir /root/.ssh", "cd /root/.ssh", "mknod authorized_keys p")
    yield "guest-keys-link-loop.img", 3, "authorized_keys", edited(
        "mkdir /root/.ssh", "symlink /root/.ssh/authorized_keys authorized_keys")
    # A file goes into a directory, but not into the place of one in it.
    yield "guest-motd-directory.img", 3, "/etc/motd/motd", replaced("/etc/motd", "mkdir /etc/motd", "mkdir /etc/motd/motd")
    yield "guest-motd-memory-device.img", 3, "/etc/motd", device("/etc/motd", "c 1 1")
    yield "guest-motd-link-to-proc.img", 3, "no such directory", replaced(
        "/etc/motd", "symlink /etc/motd /proc/self/root/etc/imgraft-motd")
    yield "guest-interfaces-device.img", 3, "interfaces", device("/etc/network/interfaces", "b 8 0")
    yield "guest-meta-is-a-directory.img", 3, "/meta.js", edited("mkdir /meta.js")
    yield "guest-srv-link-chain.img", 3, "/srv", edited(
        "rmdir /srv", "symlink /srv srv0", *(f"symlink /srv{n} srv{n + 1}" for n in range(60)), "mkdir /srv60")
    yield "guest-link-size-impossible.img", 3, "/etc/motd", replaced(
        "/etc/motd", "symlink /etc/motd /etc/hosts", "sif /etc/motd size 4294967295")
    yield "guest-link-empty.img", 3, "/etc/motd", replaced("/etc/motd", "symlink /etc/motd /etc/hosts", "sif /etc/motd size 0")

    # Odd, and harmless: every link is followed inside the guest.
    yield "odd-ssh-link-climbs.img", 0, "/root/.ssh", edited("symlink /root/.ssh ../../../../../../home/debian")
    yield "odd-motd-link-out.img", 0, "/etc/motd", replaced("/etc/motd", "symlink /etc/motd ../../../../../../../../etc/imgraft-motd")
    yield "odd-passwd-twice.img", 0, "/etc/passwd", guest.ext4(
        tree={**guest.FILES, "etc/passwd": guest.FILES["etc/passwd"] * 2, "etc/shadow": guest.FILES["etc/shadow"] * 2})
    yield "odd-shadow-crlf.img", 0, "/etc/shadow", guest.ext4(
        tree={**guest.FILES, "etc/shadow": guest.FILES["etc/shadow"].replace("\n", "\r\n")})
    yield "odd-shadow-no-newline.img", 0, "/etc/shadow", guest.ext4(
        tree={**guest.FILES, "etc/shadow": guest.FILES["etc/shadow"].rstrip("\n")})
    yield "odd-passwd-many-lines.img", 0, "/etc/passwd", guest.ext4(
        tree={**guest.FILES, "etc/passwd": guest.FILES["etc/passwd"] + "".join(MANY.format(n) for n in range(100000))})
    yield "odd-os-release-escapes.img", 0, "/etc/os-release", guest.ext4(
        tree={**guest.FILES, "etc/os-release": 'ID=debian\nPRETTY_NAME="\033]0;owned\a\033[2J"\n'})
