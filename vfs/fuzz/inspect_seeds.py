#!/usr/bin/env python3
"""Makes the first inputs of the fuzz target image_inspect: the first and the last bytes of a file of each format.

  inspect_seeds.py CORPUS
"""

import os
import subprocess
import sys
import tempfile

FORMATS = ["qcow", "qcow2", "qed", "vmdk", "vpc", "vhdx", "vdi", "parallels", "luks"]
OPTIONS = {
    "luks": ["--object", "secret,id=s,data=abc", "-o", "key-secret=s,iter-time=10"],
    "vpc": ["-o", "subformat=fixed"],
}
# Format, options and whether another file lies below.
MORE = [
    ("vmdk", ["-o", "subformat=monolithicFlat"], False),
    ("vmdk", ["-o", "subformat=streamOptimized"], False),
    ("vpc", ["-o", "subformat=dynamic"], False),
    ("qed", [], True),
    ("qcow", [], True),
    ("qcow2", [], True),
    ("qcow2", ["-o", "data_file=DATA"], False),
    ("qcow2", ["-o", "compat=0.10"], True),
]
HEAD = 70 << 10


def main():
    corpus = sys.argv[1]
    os.makedirs(corpus, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        base, path = os.path.join(directory, "base"), os.path.join(directory, "disk")
        with open(base, "wb") as file:
            file.truncate(8 << 20)
        kinds = [(kind, OPTIONS.get(kind, []), False) for kind in FORMATS] + MORE
        for number, (kind, options, over) in enumerate(kinds):
            options = [option.replace("DATA", os.path.join(directory, "data")) for option in options]
            below = ["-b", base, "-F", "raw"] if over else []
            subprocess.run(["qemu-img", "create", "-q", "-f", kind, *options, *below, path, "8M"], check=True, stdout=subprocess.DEVNULL)
            with open(path, "rb") as file:
                data = file.read()
            seed = data if len(data) < HEAD + 512 else data[:HEAD] + data[-512:]
            with open(os.path.join(corpus, f"{kind}-{number}"), "wb") as file:
                file.write(seed)
            os.remove(path)
        table = bytearray(HEAD)
        table[446:462] = bytes([0x80, 0, 2, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 64, 0, 0, 0])
        table[510:512] = b"\x55\xaa"
        for name, place, mark in [("mbr", 510, b"\x55\xaa"), ("iso", 0x8001, b"CD001"), ("gpt", 450, b"\xee")]:
            table[place : place + len(mark)] = mark
            with open(os.path.join(corpus, name), "wb") as file:
                file.write(table)


if __name__ == "__main__":
    main()
