#!/usr/bin/env python3
"""Makes the first inputs of the fuzz target qcow2_open_read: small images of every kind, by QEMU.

  qcow2_seeds.py CORPUS
"""

import os
import random
import subprocess
import sys
import tempfile

# name, cluster size, options, what is done to it
KINDS = [
    ("v2", 512, "compat=0.10", []),
    ("v3", 512, "compat=1.1", ["zero"]),
    ("v3-4k", 4096, "compat=1.1", ["zero", "snapshot"]),
    ("narrow", 512, "refcount_bits=1", []),
    ("wide", 512, "refcount_bits=64", ["snapshot"]),
    ("lazy", 4096, "lazy_refcounts=on", []),
    ("deflate", 512, "compat=1.1", ["compressed"]),
    ("deflate-64k", 65536, "compat=1.1", ["compressed"]),
    ("zstd", 4096, "compression_type=zstd", ["compressed"]),
    ("zstd-64k", 65536, "compression_type=zstd", ["compressed"]),
    ("extended", 16384, "extended_l2=on", ["zero"]),
    ("extended-zstd", 16384, "extended_l2=on,compression_type=zstd", ["compressed", "zero", "snapshot"]),
    ("bitmaps", 4096, "compat=1.1", ["bitmap"]),
    ("bitmaps-512", 512, "compat=1.1", ["bitmap", "snapshot"]),
    ("metadata", 4096, "preallocation=metadata", []),
    ("dirty", 512, "lazy_refcounts=on", ["snapshot", "zero", "dirty"]),
    ("dirty-4k", 4096, "lazy_refcounts=on", ["compressed", "snapshot", "bitmap", "dirty"]),
    ("dirty-extended", 16384, "lazy_refcounts=on,extended_l2=on", ["zero", "dirty"]),
]


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def make(name, cluster, options, deeds, directory, corpus):
    path = os.path.join(directory, name)
    raw = os.path.join(directory, "raw")
    generator = random.Random(name)
    with open(raw, "wb") as file:
        file.write(b"".join(generator.choice([bytes(500), b"words " * 90, generator.randbytes(300)]) for _ in range(120)))
        file.truncate(60 << 10)
    options = f"cluster_size={cluster},{options}"
    if "compressed" in deeds:
        run("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, raw, path)
    else:
        run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, "60k")
        run("qemu-io", "-f", "qcow2", "-c", f"write -s {raw} 1k 9k", path)
    if "bitmap" in deeds:
        run("qemu-img", "bitmap", "--add", "-g", "512", path, "fine")
        run("qemu-img", "bitmap", "--add", "--disable", path, "idle")
    if "snapshot" in deeds:
        run("qemu-img", "snapshot", "-c", "one", path)
    if "zero" in deeds:
        run("qemu-io", "-f", "qcow2", "-c", "write -z 4k 1k", "-c", "write -z 20k 20k", "-c", "discard 8k 1k", path)
    if "bitmap" in deeds:
        run("qemu-io", "-f", "qcow2", "-c", "write -P 5 12k 1k", path)
    if "dirty" in deeds:
        with open(path, "r+b") as file:
            file.seek(79)
            file.write(b"\x01")
    os.rename(path, os.path.join(corpus, name))


def main():
    corpus = sys.argv[1]
    os.makedirs(corpus, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=corpus) as directory:
        for kind in KINDS:
            make(*kind, directory, corpus)


if __name__ == "__main__":
    main()
