"""The small guest that every hostile image is made of, and the tools that make it."""

import os
import shutil
import subprocess
import sys
import tempfile

SIZE = 8 << 20
UUID = "6d616c69-6365-4000-8000-000000000001"

FILES = {
    "etc/os-release": "ID=debian\nVERSION_ID=12\nNAME=Debian\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\ndebian:x:1000:1000::/home/debian:/bin/bash\n",
    "etc/shadow": "root:*:19675:0:99999:7:::\ndebian:!:19675:0:99999:7:::\n",
    "etc/group": "root:x:0:\nshadow:x:42:\ndebian:x:1000:\n",
    "etc/network/interfaces": "auto lo\niface lo inet loopback\n",
    "etc/motd": "before\n",
    "usr/sbin/ifup": "#!/bin/sh\n",
    "root/.profile": "# root\n",
    "home/debian/.profile": "# debian\n",
}


def need(*tools):
    """Ends the run where a tool is missing: a failure only where oracles are required."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        print("SKIP hostile images: no", ", ".join(missing))
        sys.exit(1 if os.environ.get("REQUIRE_ORACLES") else 0)


def run(*words):
    """Runs a tool that must succeed; its output is shown only where it does not."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}: {done.stdout}")


def ext4(features="", edits=(), size=SIZE, tree=FILES):
    """The bytes of a whole-disk ext4 guest in two groups, after debugfs has made `edits`."""
    with tempfile.TemporaryDirectory() as stage:
        root, image = os.path.join(stage, "root"), os.path.join(stage, "image")
        for name, text in tree.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
        os.makedirs(os.path.join(root, "srv"), exist_ok=True)
        with open(image, "wb") as file:
            file.truncate(size)
        os.environ["E2FSPROGS_FAKE_TIME"] = "1700000000"
        run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-g", "4096", "-N", "512", "-J", "size=1", "-I", "256",
            "-U", UUID, "-L", "root", "-E", f"root_owner=0:0,hash_seed={UUID}", "-O", features or "none,extent,64bit,filetype,"
            "has_journal,ext_attr,dir_index,sparse_super,large_file,huge_file,dir_nlink,extra_isize,flex_bg", "-d", root, image)
        if edits:
            commands = os.path.join(stage, "commands")
            with open(commands, "w", encoding="utf-8") as file:
                file.write("\n".join(edits) + "\n")
            run("debugfs", "-w", "-f", commands, image)
        with open(image, "rb") as file:
            return bytearray(file.read())


def qcow2(raw, *options):
    """The bytes of `raw` as qemu-img writes them."""
    with tempfile.TemporaryDirectory() as stage:
        source, image = os.path.join(stage, "raw"), os.path.join(stage, "image")
        with open(source, "wb") as file:
            file.write(raw)
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, source, image)
        with open(image, "rb") as file:
            return bytearray(file.read())
