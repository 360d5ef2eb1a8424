#!/usr/bin/env python3
"""Makes the sound images that the fuzz target damages, and its first inputs.

  bases.py BASES [CORPUS]    images of at most 4 MiB, one for each kind of structure that ext4 has, without a mount

An image is listed in bases.tsv with the offsets worth damaging, those of blocks that are not zero, 16 bytes a step; and
with the numbers of its metadata blocks, of 1 KiB: all that are in use but for the content of files.
"""

import os
import re
import struct
import subprocess
import sys
import tempfile

UUID = "6d616c69-6365-4000-8000-000000000002"
PLAIN = "none,ext_attr,filetype,sparse_super,large_file,dir_index"
EXTENT = PLAIN + ",extent,extra_isize,dir_nlink,huge_file,flex_bg"
FRAGMENTS = 40
# mke2fs takes files in the order of their directory, which tmpfs has the same everywhere.
STAGES = "/dev/shm" if os.path.isdir("/dev/shm") else None

# name, KiB, features, further words for mke2fs, commands for debugfs
BASES = [
    ("extent", 512, EXTENT + ",64bit", [], []),
    ("extent-32bit", 512, EXTENT, ["-I", "128"], []),
    ("journal", 4096, EXTENT + ",has_journal", ["-J", "size=1"], []),
    ("dirty", 4096, EXTENT + ",has_journal", ["-J", "size=1"], ["jo", "jw -b LARGE TREE/large", "jw -b ROOT ROOTBLOCK", "jw -r REVOKED", "jc", "feature needs_recovery"]),
    ("dirty-csum3", 4096, EXTENT + ",64bit,metadata_csum,has_journal", ["-J", "size=1"], ["jo -c -v 3", "jw -b LARGE TREE/large", "jw -r REVOKED", "jw -b ROOT ROOTBLOCK", "jc", "feature needs_recovery"]),
    ("orphans", 512, EXTENT + ",64bit", [], ["set_inode_field /orphan links_count 0", "unlink /orphan", "set_super_value last_orphan ORPHAN"]),
    ("orphan-file", 4096, EXTENT + ",has_journal,orphan_file", ["-J", "size=1"], []),
    ("ext2", 512, PLAIN, [], []),
    ("ext3", 4096, PLAIN + ",has_journal", ["-J", "size=1"], []),
    ("summed", 512, EXTENT + ",64bit,metadata_csum,metadata_csum_seed", [], []),
    ("uninit", 512, EXTENT + ",uninit_bg", ["-g", "256"], []),
    ("inline", 512, EXTENT + ",inline_data", [], []),
    ("bigalloc", 2048, EXTENT + ",bigalloc", ["-C", "4096"], []),
    ("quota", 1024, EXTENT + ",quota", [], []),
    ("project", 1024, EXTENT + ",quota,project", [], []),
    ("ea-inode", 512, EXTENT + ",ea_inode", [], []),
    ("casefold", 512, EXTENT + ",casefold", ["-E", f"root_owner=0:0,hash_seed={UUID},encoding=utf8"], []),
    ("large-dir", 512, EXTENT + ",large_dir", [], []),
    ("mmp", 512, EXTENT, [], ["TUNE -O mmp"]),
    ("meta-bg", 1024, EXTENT.replace(",flex_bg", "") + ",meta_bg", ["-g", "256"], []),
    ("sparse-super2", 1024, EXTENT.replace("sparse_super", "sparse_super2"), ["-g", "512"], []),
    ("no-filetype", 512, EXTENT.replace("filetype,", ""), [], []),
    ("summed-journal", 4096, EXTENT + ",64bit,metadata_csum,has_journal", ["-J", "size=1"], []),
    ("summed-inline", 512, EXTENT + ",64bit,metadata_csum,inline_data,ea_inode", [], []),
    ("inline-wide", 512, EXTENT + ",inline_data,ea_inode", ["-I", "512"], []),
    ("encrypt", 512, EXTENT + ",encrypt", [], ["set_inode_field /etc/other flags 0x80800"]),
    ("odd-flex", 1024, EXTENT + ",64bit", ["-g", "256", "-G", "2"], []),
]


def run(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}: {done.stdout}")
    return done.stdout


def tree(root):
    """A file of each kind; a directory that has an index when e2fsck has seen it."""
    os.makedirs(f"{root}/etc/deep/deeper")
    os.makedirs(f"{root}/many")
    for name, content in [("etc/passwd", b"root:x:0:0::/:/bin/sh\n"), ("etc/empty", b""), ("orphan", b"o" * 3000), ("large", b"l" * 30000)]:
        with open(f"{root}/{name}", "wb") as file:
            file.write(content)
    with open(f"{root}/fragmented", "wb") as file:
        for number in range(FRAGMENTS):
            file.seek(number * 2048)
            file.write(b"f" * 10)
    with open(f"{root}/sparse", "wb") as file:
        for at in [0, 300 << 10, 70 << 20]:
            file.seek(at)
            file.write(b"s")
    for number in range(60):
        os.symlink("t", f"{root}/many/{number}-{'n' * 40}")
    os.symlink("../" * 33 + "x", f"{root}/etc/long")
    os.symlink("../etc", f"{root}/etc/deep/up")
    os.link(f"{root}/etc/passwd", f"{root}/etc/deep/linked")


def base(path, kib, features, words, edits):
    with tempfile.TemporaryDirectory(dir=STAGES) as stage:
        root = os.path.join(stage, "root")
        tree(root)
        with open(path, "wb") as file:
            file.truncate(kib << 10)
        run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-N", "128", "-I", "256", "-O", features, "-U", UUID,
            "-E", f"root_owner=0:0,hash_seed={UUID}", *words, "-d", root, path)  # fmt: skip
        value = os.path.join(stage, "value")
        commands = [
            "mknod /etc/fifo p",
            "ea_set /etc/passwd user.small yes",
            f"ea_set -f {value} /etc/passwd user.large",
            "ea_set /etc security.selinux label",
        ]
        with open(value, "wb") as file:
            file.write(b"va" * 250)
        if "ea_inode" in features:
            with open(value + "2", "wb") as file:
                file.write(b"va" * 1500)
            commands.append(f"ea_set -f {value}2 /etc/empty user.apart")
        if "casefold" in features or "encrypt" in features:
            commands.append("mkdir /etc/other")
        if "casefold" in features:
            commands.append("set_inode_field /etc/other flags 0x40080000")
        script = os.path.join(stage, "script")
        write_script(script, commands)
        run("debugfs", "-w", "-f", script, path)
        # e2fsck gives the directory its index; it ends with 1 because it changed something.
        subprocess.run(["e2fsck", "-fyD", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if subprocess.run(["e2fsck", "-fn", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
            sys.exit(f"{path}: not sound")
        if edits:
            words = {"TREE": root, "ORPHAN": run("debugfs", "-R", "stat /orphan", path).split("Inode: ")[1].split()[0]}
            # The log may hold what the filesystem has as it has it, and what it has no more is revoked.
            large = run("debugfs", "-R", "blocks /large", path).splitlines()[-1].split()
            words |= {"LARGE": ",".join(large[:3]), "REVOKED": large[1], "ROOTBLOCK": os.path.join(stage, "block")}
            words["ROOT"] = run("debugfs", "-R", "blocks /", path).splitlines()[-1].split()[0]
            with open(path, "rb") as image, open(words["ROOTBLOCK"], "wb") as block:
                image.seek(int(words["ROOT"]) * 1024)
                block.write(image.read(1024))
            lines = list(edits)
            for word in sorted(words, reverse=True):
                lines = [line.replace(word, words[word]) for line in lines]
            write_script(script, [line for line in lines if not line.startswith("TUNE")])
            run("debugfs", "-w", "-f", script, path)
            # Last, because everything that opens a filesystem with mmp for writing waits for seconds.
            for line in lines:
                if line.startswith("TUNE"):
                    run("tune2fs", *line.split()[1:], path)


def write_script(path, lines):
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")


def is_content(block):
    """Whether a block holds the content of a file, which is one byte again and again, or a passwd."""
    letters = set(block.rstrip(b"\0"))
    return (len(letters) == 1 and letters < set(b"folst")) or block.startswith(b"root:x:")


def places(data):
    """Offsets of 16 bytes that are not all zero, or follow such."""
    found, before = [], False
    for start in range(0, len(data), 1024):
        block = data[start : start + 1024]
        if not any(block):
            before = False
            continue
        skipped = is_content(block)
        for at in range(0, len(block), 16):
            here = any(block[at : at + 16])
            if (here or before) and not skipped:
                found.append(start + at)
            before = here
    return found


def metadata(path, data):
    """The numbers of the blocks that are in use and hold no file's content."""
    free = set()
    for line in run("dumpe2fs", path).splitlines():
        if match := re.match(r"  Free blocks: (.*)", line):
            for first, last in re.findall(r"(\d+)(?:-(\d+))?", match[1]):
                free.update(range(int(first), int(last or first) + 1))
    # Of a journal the blocks that are all zeros are many, and say nothing.
    found = []
    for number in sorted(set(range(1, len(data) // 1024)) - free):
        block = data[number * 1024 : (number + 1) * 1024]
        telling = any(block) or len(data) < 4 << 20 or number % 64 == 0
        if telling and not is_content(block):
            found.append(number)
    return found


def seeds(corpus, index, name, count):
    """The first inputs of a base: sound, and with one change in each sixteenth of what there is."""
    with open(os.path.join(corpus, f"sound-{name}"), "wb") as file:
        file.write(bytes([index, 0]))
    for step in range(16):
        with open(os.path.join(corpus, f"{name}-{step}"), "wb") as file:
            file.write(bytes([index, step]) + struct.pack("<HBBI", count * step // 16, step, step % 4, 0xFFFFFFFF >> step))


def main():
    bases, *corpora = sys.argv[1:]
    for directory in [bases, *corpora]:
        os.makedirs(directory, exist_ok=True)
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    os.environ["E2FSPROGS_FAKE_TIME"] = os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    rows = []
    for index, (name, kib, features, words, edits) in enumerate(BASES):
        path = os.path.join(bases, name + ".img")
        base(path, kib, features, words, edits)
        with open(path, "rb") as file:
            data = file.read()
        found, blocks = places(data), metadata(path, data)
        rows.append("\t".join([name, ",".join(map(str, found)), ",".join(map(str, blocks))]) + "\n")
        print(f"{index:2} {name}: {kib} KiB, {len(found)} places, {len(blocks)} metadata blocks")
        for corpus in corpora:
            seeds(corpus, index, name, len(found))
    with open(os.path.join(bases, "bases.tsv"), "w") as file:
        file.writelines(rows)


main()
