#!/usr/bin/env python3
"""Makes the first inputs of the fuzz targets lvm_metadata and luks_header: a text of LVM2, and the headers of cryptsetup.

  volume_seeds.py LVM_CORPUS LUKS_CORPUS
"""

import os
import subprocess
import sys
import tempfile

GROUP = """vg {
id = "vvvvvv-0000-0000-0000-0000-0000-vvvvvv" seqno = 7 format = "lvm2" status = ["RESIZEABLE", "READ", "WRITE"] flags = []
extent_size = 128 max_lv = 0 max_pv = 0 metadata_copies = 0
physical_volumes { pv0 { id = "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg" device = "/dev/sda" status = ["ALLOCATABLE"] flags = []
dev_size = 4096 pe_start = 2048 pe_count = 16 } }
logical_volumes {
a { id = "a" status = ["READ", "WRITE", "VISIBLE"] flags = [] segment_count = 2
segment1 { start_extent = 0 extent_count = 3 type = "striped" stripe_count = 1 stripes = ["pv0", 2] }
segment2 { start_extent = 3 extent_count = 2 type = "striped" stripe_count = 2 stripe_size = 8 stripes = ["pv0", 6, "pv0", 8] } }
s { id = "s" status = ["READ", "VISIBLE"] segment_count = 1
segment1 { start_extent = 0 extent_count = 1 type = "snapshot" origin = "a" cow_store = "b" chunk_size = 8 } }
} }
# made by hand
contents = "Text Format Volume Group"
version = 1
"""
KINDS = {
    "luks1": ["--type", "luks1", "--pbkdf-force-iterations", "1000"],
    "cbc": ["--type", "luks1", "-c", "aes-cbc-essiv:sha256", "-s", "256", "--hash", "sha1", "--pbkdf-force-iterations", "1000"],
    "argon2id": ["--type", "luks2", "--pbkdf-memory", "64", "--pbkdf-force-iterations", "4", "--pbkdf-parallel", "1"],
    "argon2i": ["--type", "luks2", "--pbkdf", "argon2i", "--pbkdf-memory", "64", "--pbkdf-force-iterations", "4", "--sector-size", "4096"],
    "pbkdf2": ["--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"],
}


def main():
    lvm, luks = sys.argv[1:]
    os.makedirs(lvm, exist_ok=True)
    os.makedirs(luks, exist_ok=True)
    with open(os.path.join(lvm, "group"), "w") as file:
        file.write(GROUP)
    with tempfile.TemporaryDirectory() as directory:
        disk = os.path.join(directory, "disk")
        for name, options in KINDS.items():
            with open(disk, "wb") as file:
                file.truncate(32 << 20)
            subprocess.run(["cryptsetup", "luksFormat", "-q", *options, "--key-file", "-", disk], input=b"x", check=True)
            with open(disk, "rb") as file:
                header = file.read(0x4000)
            seed = b"\0" + header[:592] if "luks1" in options else b"\1" + header[4096:].rstrip(b"\0")
            with open(os.path.join(luks, name), "wb") as file:
                file.write(seed)


if __name__ == "__main__":
    main()
