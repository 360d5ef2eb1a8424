#!/usr/bin/env python3
"""Makes the hostile images and two lists of them.

expect.tsv has images that must be refused: the exit status, and a word of the message. odd.tsv has images that are odd
and harmless: a run must succeed, and the oracles must find nothing afterwards.
"""

import os
import sys

sys.dont_write_bytecode = True

import disk_cases
import ext4_cases
import guest
import guest_cases
import qcow2_cases


def write(path, data):
    """Writes a file in which zeros are holes."""
    with open(path, "wb") as file:
        for at in range(0, len(data), 4096):
            page = data[at:at + 4096]
            if page.count(0) != len(page):
                file.seek(at)
                file.write(page)
        file.truncate(len(data))


def main():
    guest.need("mke2fs", "debugfs", "qemu-img")
    here = os.path.dirname(os.path.abspath(__file__))
    built = os.environ.get("IMGRAFT_TESTDATA") or os.path.join(here, "..", "built")
    out = os.path.join(built, "hostile")
    os.makedirs(out, exist_ok=True)
    raw = guest.ext4()
    lists = {"expect": [], "odd": []}
    for source in [qcow2_cases.cases(raw), disk_cases.cases(raw), ext4_cases.cases(raw), guest_cases.cases()]:
        for name, status, word, data in source:
            write(os.path.join(out, name), data)
            lists["odd" if status == 0 else "expect"].append(f"{name}\t{status}\t{word}\n")
    for name, lines in lists.items():
        partial = os.path.join(out, name + ".tsv.new")
        with open(partial, "w", encoding="utf-8") as file:
            file.write("file\texit\tword\n" + "".join(lines))
        os.replace(partial, os.path.join(out, name + ".tsv"))
    print(f"{len(lists['expect'])} hostile images and {len(lists['odd'])} odd ones in {out}")


main()
