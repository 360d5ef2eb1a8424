"""The images that are measured: a Debian guest of 20 GiB where one has been built, else one made of this machine's files."""

import os
import shutil
import subprocess
import sys

GIB = 1 << 30
START = 1 << 20
"""Where the one partition of a disk made here begins, in bytes."""
HOST_FILES = 50_000


class Guest:
    """A raw image with a root filesystem in one partition, and what it is for the report."""

    def __init__(self, raw, offset, about):
        self.raw = raw
        self.offset = offset
        self.about = about


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(*argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def find(built, cache):
    """The first Debian guest of at least 20 GiB that the test images have, else one made here."""
    manifest = os.path.join(built, "manifest.tsv")
    if os.path.exists(manifest):
        with open(manifest) as lines:
            rows = [line.rstrip("\n").split("\t") for line in lines if not line.startswith("#")]
        for row in rows:
            name, path, kind, layout = row[:4]
            path = os.path.join(built, path)
            if kind == "raw" and layout == "gpt" and os.path.exists(path) and os.path.getsize(path) >= 20 * GIB:
                return Guest(path, partition_offset(path, int(row[5])), f"{name} of the test images")
    tree, about = find_tree(built, cache)
    raw = make(tree, os.path.join(cache, "guest.raw"), 20 * GIB)
    return Guest(raw, START, about)


def partition_offset(raw, number):
    listed = subprocess.run(["sfdisk", "--dump", raw], check=True, capture_output=True, text=True).stdout
    rows = [line for line in listed.splitlines() if "start=" in line]
    return int(rows[number - 1].split("start=")[1].split(",")[0]) * 512


def find_tree(built, cache):
    for suite in ("bookworm", "trixie"):
        archive = os.path.join(built, f"rootfs-{suite}.tar")
        if os.path.exists(archive):
            tree = os.path.join(cache, "tree")
            if not os.path.exists(tree):
                os.makedirs(tree + ".part", exist_ok=True)
                run("tar", "-C", tree + ".part", "--numeric-owner", "--exclude=./dev/*", "-xf", archive)
                os.rename(tree + ".part", tree)
            return tree, f"Debian {suite}, {count(tree)} files"
    tree = os.path.join(cache, "tree")
    if not os.path.exists(tree):
        shutil.rmtree(tree + ".part", ignore_errors=True)
        phony_root(tree + ".part")
        copy_host_files("/usr", tree + ".part/usr", HOST_FILES)
        os.rename(tree + ".part", tree)
    return tree, f"this machine's /usr under a phony /etc, {count(tree)} files"


def phony_root(tree):
    """Enough of a Debian for every item to find its place."""
    files = {
        "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
        "etc/group": "root:x:0:\nshadow:x:42:\n",
        "etc/shadow": "root:*:19000:0:99999:7:::\n",
        "etc/login.defs": "ENCRYPT_METHOD SHA512\n",
        "etc/motd": "\n",
        "etc/network/interfaces": "auto lo\niface lo inet loopback\n",
        "sbin/ifup": "",
        "etc/systemd/system/multi-user.target.wants/networking.service": "",
        "usr/lib/systemd/system/networking.service": "[Unit]\n",
        "srv/.keep": "",
    }
    os.makedirs(tree + "/root", mode=0o700)
    for name, text in files.items():
        path = os.path.join(tree, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o640 if name == "etc/shadow" else 0o644)
    os.chmod(tree + "/sbin/ifup", 0o755)


def copy_host_files(source, target, limit):
    copied = 0
    for directory, inner, names in os.walk(source):
        inner.sort()
        there = target + directory[len(source) :]
        os.makedirs(there, exist_ok=True)
        for name in sorted(names):
            path = os.path.join(directory, name)
            if os.path.islink(path) or (os.path.isfile(path) and os.path.getsize(path) < 1 << 20):
                try:
                    shutil.copyfile(path, os.path.join(there, name), follow_symlinks=False)
                except OSError:
                    continue
                copied += 1
        if copied >= limit:
            return


def many_files(cache, number):
    """A phony root with `number` small files, 200 in a directory."""
    tree = os.path.join(cache, f"files-{number}.tree")
    shutil.rmtree(tree, ignore_errors=True)
    phony_root(tree)
    for index in range(number):
        directory = f"{tree}/usr/share/many/{index // 200}"
        if index % 200 == 0:
            os.makedirs(directory)
        with open(f"{directory}/{index}", "w") as file:
            file.write(f"{index}\n")
    return tree


def count(tree):
    return sum(len(inner) + len(names) for _, inner, names in os.walk(tree))


def make(tree, path, size):
    """A sparse raw disk with a GPT and one ext4 partition that holds the tree."""
    if not os.path.exists(path):
        say(f"making {os.path.basename(path)} ({size // GIB} GiB, sparse)")
        part = path + ".part"
        if os.path.exists(part):
            os.unlink(part)
        with open(part, "wb") as file:
            file.truncate(size)
        subprocess.run(["sfdisk", "-q", part], input=f"label: gpt\nstart={START // 512}, type=L\n", text=True, check=True)
        # The backup table takes the last 33 sectors.
        kib = (size - 2 * START) // 1024
        run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-d", tree, "-E", f"offset={START}", part, f"{kib}k")
        os.rename(part, path)
    return path


def convert(raw, path, *options):
    """A qcow2 image of a raw one."""
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(raw):
        say(f"making {os.path.basename(path)}")
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, path + ".part")
        os.rename(path + ".part", path)
    return path
