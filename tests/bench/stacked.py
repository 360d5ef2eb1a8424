"""Five items into a root on LVM2 and on LUKS2, and what of that is the derivation of the key, which is meant to be slow."""

import os
import shutil
import subprocess

from guest import say
from measure import Copy
from race import Racer, race

IMAGES = [("LVM2", "lvm-gpt.raw"), ("LUKS2", "luks2-gpt.raw")]
READ = 1 << 30
"""How much of a LUKS volume is decrypted to see how fast that is, in bytes."""
PASSPHRASE = "open sesame"
"""What opens the LUKS volumes, as testdata/images/stacked.gen.sh makes them."""


def luks_start(image):
    """Where the LUKS volume of a disk begins, in bytes."""
    listed = subprocess.run(["sfdisk", "--dump", image], check=True, capture_output=True, text=True).stdout
    starts = [int(line.split("start=")[1].split(",")[0]) * 512 for line in listed.splitlines() if "start=" in line]
    with open(image, "rb") as disk:
        for start in starts:
            disk.seek(start)
            if disk.read(6) == b"LUKS\xba\xbe":
                return start
    raise SystemExit(f"{image} has no LUKS volume")


def tables(options, items_for, scratch, built, virt_customize, table):
    shadow = None
    racers = []

    def add(name, copy, argv, runs=options.runs):
        racers.append(Racer(name, copy, argv, runs))

    for what, name in IMAGES:
        pristine = os.path.join(built, name)
        if not os.path.exists(pristine):
            say(f"left out: {name} (testdata/build.sh stacked)")
            continue
        copy = Copy(pristine, os.path.join(scratch, name))
        if shadow is None:
            shadow = subprocess.run([options.binary, "cat", pristine, "/etc/shadow"], check=True, capture_output=True, text=True)
            items = items_for(scratch, shadow.stdout)
            log = items.file("log")
            with open(items.file("key"), "w") as key:
                key.write(PASSPHRASE)
        key = ["--key", f"all:file:{items.file('key')}"] if what == "LUKS2" else []
        add(f"imgraft inject, {what}", copy, [options.binary, "inject", copy.path, "-q", *items.imgraft(), *key])
        if virt_customize:
            reached = Copy(pristine, os.path.join(virt_customize.directory, name))
            words = ["--key", f"all:file:{virt_customize.file(items.file('key'))}"] if key else []
            argv = virt_customize.customize(reached.path, "raw", items, words)
            add(f"virt-customize ({virt_customize.accelerator}), {what}", reached, argv, options.slow_runs)
        if not key:
            continue
        add("imgraft inspect without a key, LUKS2", copy, [options.binary, "inspect", copy.path])
        add("imgraft inspect with the key, LUKS2", copy, [options.binary, "inspect", copy.path, *key])
        if shutil.which("cryptsetup"):
            container = items.file("container")
            with open(pristine, "rb") as disk, open(container, "wb") as out:
                disk.seek(luks_start(pristine))
                shutil.copyfileobj(disk, out)
            test = ["cryptsetup", "open", "--test-passphrase", "--key-file", items.file("key"), container]
            add("cryptsetup open --test-passphrase", copy, test)
    if not racers:
        return
    race("stacked", "A root on LVM2 and on LUKS2 (argon2id)", racers, options.runs, log, table)
    decrypted(options, items, os.path.join(built, dict(IMAGES)["LUKS2"]))


def decrypted(options, items, image):
    """How fast a LUKS2 volume (AES in XTS, 512 bits of key) is read through, in one thread; and the kernel's cipher, by cryptsetup."""
    if not os.path.exists(image):
        return
    subprocess.run(["cargo", "build", "--release", "--locked", "-q", "-p", "imgraft-vfs", "--example", "luks_reads"], check=True)
    reads = [os.path.join(os.path.dirname(options.binary), "examples/luks_reads"), image, "2", items.file("key"), str(READ)]
    times = sorted(int(subprocess.run(reads, check=True, capture_output=True, text=True).stdout) for _ in range(options.runs))
    rates = [READ / nanoseconds for nanoseconds in times]
    print(f"\nAES-XTS, a GiB decrypted in one thread: median {rates[len(rates) // 2]:.2f} GB/s, least {rates[-1]:.2f}, most {rates[0]:.2f}")
    if shutil.which("cryptsetup"):
        words = ["cryptsetup", "benchmark", "-c", "aes-xts-plain64", "-s", "512"]
        print(subprocess.run(words, capture_output=True, text=True).stdout)
