#!/usr/bin/env python3
"""What lies in volumes that are stacked on others, found and moved without imgraft: by LVM2's own report of where a volume lies, and by OpenSSL.

  stacked.py part get|put IMAGE NUMBER FILE        a partition out of a raw image, or into it
  stacked.py lv get|put IMAGE GROUP/VOLUME FILE    a logical volume out of a raw image, or into it (needs root and lvm2)
  stacked.py lv run IMAGE COMMAND...               a command of lvm on the physical volumes of a raw image; {} is all of them
  stacked.py lv wrapped IMAGE                      whether the text of the first physical volume runs over the end of its area
  stacked.py luks get|put FILE KEYFILE PLAIN       what is in a LUKS volume out of a file, or into it (needs cryptsetup)
  stacked.py luks table FILE KEYFILE DEVICE        the line for dmsetup(8) that maps it (needs cryptsetup)
"""

import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

CHUNK = 1 << 20
# No device-mapper, no daemon, no configuration of this host.
CONFIG = (
    'devices{use_devicesfile=0 scan_lvs=0 obtain_device_list_from_udev=0 external_device_info_source="none"} '
    "activation{udev_sync=0 udev_rules=0 verify_udev_operations=0 monitoring=0} backup{backup=0 archive=0} "
    "global{use_lvmpolld=0 event_activation=0}"
)


def run(words, **more):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Physical:
    """The physical volumes of an image behind loop devices."""

    def __init__(self, image):
        self.image = image
        self.places = {}
        self.directory = tempfile.TemporaryDirectory()

    def __enter__(self):
        table = subprocess.run(["sfdisk", "--json", self.image], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        ranges = [(0, os.path.getsize(self.image))]
        if table.returncode == 0:
            partitions = json.loads(table.stdout)["partitiontable"]["partitions"]
            lvm = ("E6D6D379-F507-44C2-A23C-238F2A3DF928", "8e")
            ranges = [(part["start"] * 512, part["size"] * 512) for part in partitions if part["type"] in lvm]
        for start, size in ranges:
            loop = run(["losetup", "--find", "--show", "-o", str(start), "--sizelimit", str(size), self.image]).strip()
            self.places[loop] = start
        return self

    def __exit__(self, *_):
        for loop in self.places:
            run(["losetup", "-d", loop])
        self.directory.cleanup()

    def lvm(self, *words):
        environment = {**os.environ, "LVM_SUPPRESS_FD_WARNINGS": "1", "LVM_SYSTEM_DIR": self.directory.name, "LC_ALL": "C"}
        devices = ",".join(self.places)
        more = ["--config", CONFIG, "--driverloaded", "n", "--devices", devices]
        return run(["lvm", *words, *more], env=environment)

    def pieces(self, name):
        """(byte in the volume, byte in the image, length), as LVM2 says where the volume lies."""
        report = ["--units", "b", "--nosuffix", "--reportformat", "json", "-o"]
        rows = json.loads(self.lvm("pvs", *report, "pv_name,pe_start,vg_extent_size"))["report"][0]["pv"]
        starts = {row["pv_name"]: int(row["pe_start"]) for row in rows}
        fields = "seg_start_pe,seg_size_pe,stripes,stripe_size,seg_pe_ranges,vg_extent_size"
        segments = json.loads(self.lvm("lvs", "--segments", *report, fields, name))["report"][0]
        for row in segments.get("seg", segments.get("lv")):
            extent = int(row["vg_extent_size"])
            areas = [re.fullmatch(r"(.+):(\d+)-(\d+)", area).groups() for area in row["seg_pe_ranges"].split()]
            at, size = int(row["seg_start_pe"]) * extent, int(row["seg_size_pe"]) * extent
            stripe = int(row["stripe_size"]) or size
            for number in range(size // stripe):
                loop, first, _ = areas[number % len(areas)]
                inside = int(first) * extent + number // len(areas) * stripe
                yield at + number * stripe, self.places[loop] + starts[loop] + inside, stripe


def copy(source, at, destination, to, length):
    while length:
        source.seek(at)
        data = source.read(min(CHUNK, length))
        if not data:
            return
        if data.strip(b"\0"):
            destination.seek(to)
            destination.write(data)
        at, to, length = at + len(data), to + len(data), length - len(data)


def lv(action, image, *words):
    with Physical(image) as physical:
        if action == "run":
            flat = []
            for word in words:
                flat += list(physical.places) if word == "{}" else [word]
            print(physical.lvm(*flat), end="")
            return
        if action == "wrapped":
            start = next(iter(physical.places.values()))
            with open(image, "rb") as disk:
                disk.seek(start + 4096)
                header = disk.read(512)
            _, size, offset, length = struct.unpack_from("<QQQQ", header, 24)
            sys.exit(0 if offset + length > size else 1)
        name, path = words
        pieces = list(physical.pieces(name))
    if action == "get":
        with open(image, "rb") as disk, open(path, "wb") as plain:
            plain.truncate(max(at + length for at, _, length in pieces))
            for at, place, length in pieces:
                copy(disk, place, plain, at, length)
    else:
        with open(image, "r+b") as disk, open(path, "rb") as plain:
            for at, place, length in pieces:
                copy(plain, at, disk, place, length)


def part(action, image, number, path):
    partitions = json.loads(run(["sfdisk", "--json", image]))["partitiontable"]["partitions"]
    found = next(part for part in partitions if re.search(r"\d+$", part["node"]).group() == number)
    start, size = found["start"] * 512, found["size"] * 512
    if action == "get":
        with open(image, "rb") as disk, open(path, "wb") as plain:
            plain.truncate(size)
            copy(disk, start, plain, 0, size)
    else:
        with open(image, "r+b") as disk, open(path, "rb") as plain:
            copy(plain, 0, disk, start, min(size, os.path.getsize(path)))


def luks_facts(path, keyfile):
    """Key, cipher, first byte and size of a sector, as cryptsetup says."""
    with tempfile.TemporaryDirectory() as directory:
        out = os.path.join(directory, "key")
        run(["cryptsetup", "luksDump", "-q", "--dump-volume-key", "--key-file", keyfile, "--volume-key-file", out, path])
        with open(out, "rb") as file:
            key = file.read()
    dump = run(["cryptsetup", "luksDump", path])
    if re.search(r"^Version:\s+2$", dump, re.M):
        segment = dump[dump.index("Data segments:") :]
        cipher = re.search(r"cipher: (\S+)", segment).group(1)
        offset = int(re.search(r"offset: (\d+)", segment).group(1))
        sector = int(re.search(r"sector: (\d+)", segment).group(1))
        return key, cipher, offset, sector
    name = re.search(r"^Cipher name:\s+(\S+)", dump, re.M).group(1)
    mode = re.search(r"^Cipher mode:\s+(\S+)", dump, re.M).group(1)
    return key, f"{name}-{mode}", int(re.search(r"^Payload offset:\s+(\d+)", dump, re.M).group(1)) * 512, 512


def luks(action, path, keyfile, plain_path):
    key, cipher, offset, sector = luks_facts(path, keyfile)
    if action == "table":
        count = (os.path.getsize(path) - offset) // 512
        more = f" 1 sector_size:{sector}" if sector != 512 else ""
        print(f"0 {count} crypt {cipher} {key.hex()} 0 {plain_path} {offset // 512}{more}")
        return
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    aes = algorithms.AES
    if cipher == "aes-cbc-essiv:sha256":
        salt = Cipher(aes(hashlib.sha256(key).digest()), modes.ECB()).encryptor()

    def crypt(data, number):
        # A sector's number counts in 512 bytes, however large the sectors are.
        number = struct.pack("<QQ", number, 0)
        if cipher == "aes-xts-plain64":
            mode = modes.XTS(number)
        elif cipher == "aes-cbc-essiv:sha256":
            mode = modes.CBC(salt.update(number))
        elif cipher == "aes-cbc-plain64":
            mode = modes.CBC(number)
        else:
            sys.exit(f"{path}: {cipher} is not known here")
        pair = Cipher(aes(key), mode)
        worker = pair.decryptor() if action == "get" else pair.encryptor()
        return worker.update(data) + worker.finalize()

    if action == "get":
        with open(path, "rb") as disk, open(plain_path, "wb") as plain:
            disk.seek(offset)
            for number in range((os.path.getsize(path) - offset) // sector):
                plain.write(crypt(disk.read(sector), number * sector // 512))
    else:
        with open(path, "r+b") as disk, open(plain_path, "rb") as plain:
            disk.seek(offset)
            number = 0
            while data := plain.read(sector):
                disk.write(crypt(data.ljust(sector, b"\0"), number * sector // 512))
                number += 1


def main():
    kind, action, *words = sys.argv[1:]
    {"part": part, "lv": lv, "luks": luks}[kind](action, *words)


if __name__ == "__main__":
    main()
