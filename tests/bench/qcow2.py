"""What reading a qcow2 image costs, beside QEMU's tools on the same files."""

import os
import re
import statistics
import subprocess

from guest import GIB
from measure import Failed, ms, timed

CLUSTER = 64 << 10
# A guest's data, packed: every cluster of the images below holds some.
DENSE = 256 << 20
COUNT = 2000
# Another cluster each time, and another place in it.
STEP = 37 * CLUSTER + 4096


def dense(source, path):
    """The first 256 MiB of a raw image that are data."""
    if os.path.exists(path):
        return path
    with open(source, "rb") as image, open(path + ".new", "wb") as out:
        at, left, end = 0, DENSE, os.path.getsize(source)
        while left > 0 and at < end:
            start = os.lseek(image.fileno(), at, os.SEEK_DATA) // CLUSTER * CLUSTER
            stop = -(-os.lseek(image.fileno(), start, os.SEEK_HOLE) // CLUSTER) * CLUSTER
            os.lseek(image.fileno(), start, os.SEEK_SET)
            image.seek(start)
            for _ in range(min(stop - start, left) // CLUSTER):
                piece = image.read(CLUSTER)
                if piece.count(0) < len(piece):
                    out.write(piece.ljust(CLUSTER, b"\0"))
                    left -= CLUSTER
            at = max(stop, start + CLUSTER)
    os.rename(path + ".new", path)
    return path


def made(path, *steps):
    """An image made by these commands, unless it is there."""
    if not os.path.exists(path):
        for step in steps:
            subprocess.run([word.replace("IMAGE", path + ".new") for word in step], check=True, stdout=subprocess.DEVNULL)
        os.rename(path + ".new", path)
    return path


def images(cache, raw):
    """For the first reads: name, file, and a place with data. For the many: name and file."""

    def file(name):
        return os.path.join(cache, f"reads.{name}.qcow2")

    def write(at):
        return ["qemu-io", "-f", "qcow2", "-c", f"write -P 7 {at} 64k", "IMAGE"]

    create = ["qemu-img", "create", "-q", "-f", "qcow2"]
    snapshots = [["qemu-img", "snapshot", "-c", f"s{number}", "IMAGE"] for number in range(1000)]
    first = [
        ("2 TiB, one cluster", made(file("2t"), [*create, "IMAGE", "2T"], write(1900 * GIB)), 1900 * GIB),
        ("1,000 snapshots", made(file("snapshots"), [*create, "IMAGE", "1G"], write(0), *snapshots), 0),
        ("200 GiB, every cluster allocated", made(file("metadata"), [*create, "-o", "preallocation=metadata", "IMAGE", "200G"], write(190 * GIB)), 190 * GIB),
    ]
    packed = dense(raw, os.path.join(cache, "reads.raw"))
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2"]
    many = [
        ("zlib", made(file("zlib"), [*convert, "-c", packed, "IMAGE"])),
        ("zstd", made(file("zstd"), [*convert, "-c", "-o", "compression_type=zstd", packed, "IMAGE"])),
        ("not compressed", made(file("plain"), [*convert, packed, "IMAGE"])),
    ]
    return first, many


def number(argv):
    output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return int(output)


def qemu_bench(path):
    """Microseconds for each read of 4 KiB by `qemu-img bench`, one at a time."""
    argv = ["qemu-img", "bench", "-f", "qcow2", "-c", str(COUNT), "-d", "1", "-s", "4096", "-S", str(STEP), path]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Run completed in ([0-9.]+) seconds", said)
    if not found:
        raise Failed(f"qemu-img bench: {said}")
    return float(found.group(1)) * 1e6 / COUNT


def tables(options, raw, cache, scratch, table):
    subprocess.run(["cargo", "build", "--release", "--locked", "-q", "-p", "imgraft-vfs", "--example", "image_reads"], check=True)
    reads = os.path.join(os.path.dirname(options.binary), "examples/image_reads")
    first, many = images(cache, raw)
    log = os.path.join(scratch, "log")
    inside, ours, theirs = ({name: [] for name, *_ in first} for _ in range(3))
    for _ in range(options.runs):
        for name, path, at in first:
            inside[name].append(number([reads, path, str(at)]) / 1e3)
            ours[name].append(timed([reads, path, str(at)], log)[0])
            theirs[name].append(timed(["qemu-io", "-r", "-f", "qcow2", "-c", f"read {at} 4k", path], log)[0])
    print("\n### Opening a qcow2 image and reading 4 KiB of it\n")
    table(
        ["", "imgraft, inside the process, µs", "imgraft, a process, ms", "qemu-io, a process, ms"],
        [[name, *(ms(statistics.median(times[name])) for times in (inside, ours, theirs))] for name, *_ in first],
    )
    ours, own_cpus, theirs, converts, cpus = ({name: [] for name, _ in many} for _ in range(5))
    out = os.path.join(scratch, "out.raw")
    clusters = DENSE // CLUSTER
    for _ in range(options.runs):
        for name, path in many:
            _, cpu = timed([reads, path, "0", str(STEP), str(COUNT)], log)
            with open(log) as said:
                ours[name].append(int(said.read()) / 1e3)
            own_cpus[name].append(cpu * 1e3 / COUNT)
            theirs[name].append(qemu_bench(path))
            wall, cpu = timed(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, out], log)
            converts[name].append(wall * 1e3 / clusters)
            cpus[name].append(cpu * 1e3 / clusters)
            os.unlink(out)
    print(f"\n### {COUNT} reads of 4 KiB, each from another cluster of 64 KiB (µs for each read, or cluster)\n")
    table(
        ["", "imgraft", "its CPU time", "qemu-img bench, one at a time", "qemu-img convert, a cluster", "its CPU time"],
        [[name, *(ms(statistics.median(times[name])) for times in (ours, own_cpus, theirs, converts, cpus))] for name, _ in many],
    )
