#!/usr/bin/env python3
"""How fast imgraft is beside what one would use instead, on the same 20 GiB guest, from one run.

Prints Markdown on standard output. Every contestant works on its own copy, put back and made durable before each run,
outside the timed part; the runs are interleaved, so that a drift of the machine hits all. `--help` lists the options.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import drive  # noqa: E402
import ext4  # noqa: E402
import guest  # noqa: E402
import kernel  # noqa: E402
import peers  # noqa: E402
import qcow2  # noqa: E402
import stacked  # noqa: E402
from guest import GIB, say  # noqa: E402
from measure import Copy, Cost, Failed, fdatasync_cost, ms, peak_rss, timed  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBDlupvmsDyDQUo90KjWHvxl6pLl7jje9Rk4mVE9qlbt tests@imgraft\n"
HASH = "$6$saltsalt$u3xff2xCciHcRjzEt4obayPOLwwIpESVvrJLn9VCG6oY93h9mvv2qWPp7RJ.WDEyKnX7/wBdIpeFTaImaToUY1"
INTERFACES = "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n    address 192.0.2.10/24\n    gateway 192.0.2.1\n"
MOTD = "put here by imgraft\n"
DEEP = "written\n"
META = '{"role": "web"}'


class Items:
    """The five items as files, and how each contestant is told of them."""

    def __init__(self, scratch, shadow):
        self.scratch = scratch
        lines = [line for line in shadow.splitlines() if not line.startswith("root:")]
        old = next(line for line in shadow.splitlines() if line.startswith("root:")).split(":")
        new_shadow = "\n".join([":".join(["root", HASH, *old[2:]]), *lines]) + "\n"
        for name, text in [("key.pub", KEY), ("interfaces", INTERFACES), ("motd", MOTD), ("deep", DEEP), ("meta.js", META), ("shadow", new_shadow)]:
            with open(self.file(name), "w") as file:
                file.write(text)

    def file(self, name):
        return os.path.join(self.scratch, name)

    def imgraft(self, password=f"hash:{HASH}"):
        return [
            "--ssh-inject", f"root:file:{self.file('key.pub')}",
            "--network", self.file("interfaces"),
            "--metadata", "role=web",
            "--root-password", password,
            "--upload", f"{self.file('motd')}:/etc/motd",
            "--write", f"/srv/imgraft/deep/file:{DEEP}",
            "--chmod", "0640:/srv/imgraft/deep/file",
            "--chown", "root:root:/srv/imgraft/deep/file",
        ]  # fmt: skip

    def debugfs(self):
        """A script with the finished files: debugfs is spared the reading of the guest and the work on its shadow."""
        lines = []

        def attributes(path, mode, gid=0):
            lines.extend(f"set_inode_field {path} {field} {value}" for field, value in [("mode", mode), ("uid", 0), ("gid", gid)])

        def put(source, directory, name, mode, gid=0, replace=False):
            lines.append(f"cd {directory}")
            if replace:
                lines.append(f"rm {name}")
            lines.append(f"write {self.file(source)} {name}")
            attributes(name, f"0100{mode}", gid)

        lines.append("mkdir /root/.ssh")
        attributes("/root/.ssh", "040700")
        put("key.pub", "/root/.ssh", "authorized_keys", "600")
        put("interfaces", "/etc/network", "interfaces", "644", replace=True)
        put("meta.js", "/", "meta.js", "644")
        put("shadow", "/etc", "shadow", "640", gid=42, replace=True)
        put("motd", "/etc", "motd", "644", replace=True)
        lines += ["mkdir /srv/imgraft", "mkdir /srv/imgraft/deep"]
        attributes("/srv/imgraft", "040755")
        attributes("/srv/imgraft/deep", "040755")
        put("deep", "/srv/imgraft/deep", "file", "640")
        return self.script("debugfs.script", "\n".join(lines) + "\n")

    def by_hand(self):
        """Lines of a shell that put the finished files below $M."""
        put = "\n".join(
            f"cp --no-preserve=mode,ownership '{self.file(source)}' $M{path}; chmod {mode} $M{path}"
            for source, path, mode in [
                ("interfaces", "/etc/network/interfaces", "644"),
                ("meta.js", "/meta.js", "644"),
                ("shadow", "/etc/shadow", "640"),
                ("motd", "/etc/motd", "644"),
                ("deep", "/srv/imgraft/deep/file", "640"),
                ("key.pub", "/root/.ssh/authorized_keys", "600"),
            ]
        )
        return f"mkdir -p -m 0700 $M/root/.ssh\nmkdir -p $M/srv/imgraft/deep\n{put}"

    def mount(self, offset):
        mount_point = self.file("mnt")
        os.makedirs(mount_point, exist_ok=True)
        text = f"""set -e
M='{mount_point}'
mount -t ext4 -o loop,offset={offset} "$1" $M
trap 'umount $M' EXIT
{self.by_hand()}
sync -f $M
"""
        return self.script("mount.sh", text)

    def virt_customize(self, file):
        """`file` says how a file of the scratch directory is named where virt-customize runs."""
        return [
            "--ssh-inject", f"root:file:{file(self.file('key.pub'))}",
            "--upload", f"{file(self.file('interfaces'))}:/etc/network/interfaces",
            "--upload", f"{file(self.file('meta.js'))}:/meta.js",
            "--upload", f"{file(self.file('shadow'))}:/etc/shadow",
            "--upload", f"{file(self.file('motd'))}:/etc/motd",
            "--mkdir", "/srv/imgraft/deep",
            "--upload", f"{file(self.file('deep'))}:/srv/imgraft/deep/file",
            "--chmod", "0640:/srv/imgraft/deep/file",
        ]  # fmt: skip

    def script(self, name, text):
        with open(self.file(name), "w") as file:
            file.write(text)
        return self.file(name)


class Contestant:
    """A way to put the five items into an image, with the copy it works on."""

    def __init__(self, name, copy, argv, runs, fresh=True, json_words=None):
        self.name = name
        self.copy = copy
        self.argv = argv
        self.runs = runs
        self.fresh = fresh
        self.json_words = json_words
        self.cost = Cost()
        self.cold = Cost()
        self.rss = None

    def ready(self):
        if self.fresh:
            self.copy.put_back()


def contestants(options, binary, items, images, target):
    """Whom the first table compares, in the order of their turns."""
    found = []

    def add(name, key, argv, runs=options.runs, **more):
        copy = Copy(images[key], os.path.join(items.scratch, f"{len(found)}.{key}.img"))
        found.append(Contestant(name, copy, [word.replace("IMAGE", copy.path) for word in argv], runs, **more))

    inject = [binary, "inject", "IMAGE", "-q", *items.imgraft()]
    names = {"compressed": "compressed qcow2", "plain": "plain qcow2", "raw": "raw"}
    for key, about in names.items():
        kind = "raw" if key == "raw" else "qcow2"
        add(f"imgraft, {about}", key, [*inject, "--format", kind], json_words=["--json"])
    for key, about in names.items():
        kind = "raw" if key == "raw" else "qcow2"
        add(f"imgraft again, nothing to do, {about}", key, [*inject, "--format", kind], fresh=False, json_words=["--json"])
    if shutil.which("debugfs"):
        add("debugfs -w, raw", "raw", ["debugfs", "-w", "-f", items.debugfs(), f"IMAGE?offset={target.offset}"])
    if os.geteuid() == 0 and can_mount(items, images, target):
        add("loop mount as root, raw", "raw", ["sh", items.mount(target.offset), "IMAGE"])
    if virt_customize := options.virt_customize:
        for key, kind in (("compressed", "qcow2"), ("raw", "raw")):
            copy = Copy(images[key], os.path.join(virt_customize.directory, f"{len(found)}.{key}.img"))
            argv = virt_customize.customize(copy.path, kind, items)
            found.append(Contestant(f"virt-customize ({virt_customize.accelerator}), {names[key]}", copy, argv, options.slow_runs))
    return found


def can_mount(items, images, target):
    copy = Copy(images["raw"], os.path.join(items.scratch, "mount.img"))
    try:
        timed(["sh", items.mount(target.offset), copy.path], items.file("log"))
        return True
    except Failed as error:
        say(f"no loop mounts here: {str(error).splitlines()[-1]}")
        return False
    finally:
        copy.remove()


def check_done(binary, contestant):
    """Whoever was measured has to have done the work."""
    for path, text in [("/root/.ssh/authorized_keys", KEY), ("/etc/network/interfaces", INTERFACES), ("/etc/motd", MOTD), ("/srv/imgraft/deep/file", DEEP)]:
        seen = subprocess.run([binary, "cat", contestant.copy.path, path], capture_output=True, text=True)
        # virt-customize writes a comment of its own beside the key.
        if seen.returncode != 0 or text.strip() not in seen.stdout:
            raise Failed(f"{contestant.name}: {path} is not what was to be written\n{seen.stderr}")


def compare(options, binary, items, images, target):
    racers = contestants(options, binary, items, images, target)
    log = items.file("log")
    for racer in list(racers):
        try:
            racer.ready()
            racer.rss = peak_rss(racer.argv, log)
            check_done(binary, racer)
            racer.ready()
            racer.io = io_counts(racer, log) if racer.json_words else {}
        except Failed as error:
            say(f"left out: {error}")
            racer.copy.remove()
            racers.remove(racer)
    for turn in range(options.runs):
        for racer in racers:
            if turn < racer.runs:
                racer.ready()
                racer.cost.add(*timed(racer.argv, log))
        say(f"turn {turn + 1} of {options.runs}")
    for _ in range(options.slow_runs):
        for racer in racers:
            if racer.runs == options.runs:
                racer.ready()
                racer.copy.make_cold()
                racer.cold.add(*timed(racer.argv, log))
    for racer in racers:
        racer.copy.remove()
    return racers


def io_counts(racer, log):
    timed([word for word in racer.argv if word != "-q"] + racer.json_words, log)
    with open(log) as text:
        return json.load(text)["io"]


def first_table(racers):
    print("\n### Five items\n")
    table(
        ["", "N", "median ms", "min", "max", "user+sys ms", "file not cached ms", "peak RSS MiB"],
        [
            [racer.name, str(len(racer.cost)), *racer.cost.row(), ms(statistics.median(racer.cold.wall)) if len(racer.cold) else "", f"{racer.rss:.1f}"]
            for racer in racers
        ],
    )
    print("\n### What imgraft reads and writes for it (4 KiB blocks of the host file)\n")
    table(
        ["", "blocks read", "reads", "blocks written", "writes", "fsyncs"],
        [[racer.name, *(str(racer.io[key]) for key in ("blocks_read", "reads", "blocks_written", "writes", "fsyncs"))] for racer in racers if racer.io],
    )


def independence(options, binary, items, cache):
    """The cost against the size of the disk and the number of files in it."""
    log = items.file("log")
    racers = []
    cases = [(size, 1000) for size in (2, 20, 200)] + [(20, files) for files in (10_000, 100_000)]
    for size, files in cases:
        raw = os.path.join(cache, f"size-{size}-files-{files}.raw")
        image = os.path.join(cache, f"size-{size}-files-{files}.qcow2")
        if not os.path.exists(image):
            tree = guest.many_files(cache, files)
            guest.make(tree, raw, size * GIB)
            shutil.rmtree(tree)
            guest.convert(raw, image, "-c")
            os.unlink(raw)
        copy = Copy(image, os.path.join(items.scratch, f"{size}-{files}.img"))
        argv = [binary, "inject", copy.path, "-q", "--format", "qcow2", *items.imgraft()]
        racer = Contestant(f"{size} GiB, {files} files", copy, argv, options.runs, json_words=["--json"])
        racer.ready()
        racer.rss = peak_rss(argv, log)
        racer.ready()
        racer.io = io_counts(racer, log)
        racers.append(racer)
    for _ in range(options.runs):
        for racer in racers:
            racer.ready()
            racer.cost.add(*timed(racer.argv, log))
    for racer in racers:
        racer.copy.remove()
    print("\n### imgraft against the size of the disk and the number of files in it (five items, compressed qcow2)\n")
    table(
        ["", "median ms", "min", "max", "user+sys ms", "peak RSS MiB", "blocks read", "blocks written"],
        [[racer.name, *racer.cost.row(), f"{racer.rss:.1f}", str(racer.io["blocks_read"]), str(racer.io["blocks_written"])] for racer in racers],
    )


def memory(options, binary, items, images):
    """What does not fit into memory, and what hashing a password takes."""
    log = items.file("log")
    sparse, dense = items.file("sparse"), items.file("dense")
    with open(sparse, "wb") as file:
        file.truncate(4 * GIB)
    with open(dense, "wb") as file:
        for _ in range(1024):
            file.write(os.urandom(1 << 20))
    # The guest says which hash it uses, and yescrypt is the one that takes memory.
    asks = Copy(images["compressed"], items.file("yescrypt.img"))
    timed([binary, "inject", asks.path, "-q", "--format", "qcow2", "--write", "/etc/login.defs:ENCRYPT_METHOD YESCRYPT\n"], log)
    cases = [
        ("--upload of 4 GiB of zeros (sparse)", images["compressed"], ["--upload", f"{sparse}:/srv/large"], 1),
        ("--upload of 1 GiB of noise", images["compressed"], ["--upload", f"{dense}:/srv/large"], 1),
        ("five items, --root-password password:… (yescrypt)", asks.path, items.imgraft("password:correct horse"), options.runs),
    ]
    rows = []
    for name, image, words, runs in cases:
        copy = Copy(image, items.file("memory.img"))
        argv = [binary, "inject", copy.path, "-q", "--format", "qcow2", *words]
        rss = peak_rss(argv, log)
        cost = Cost()
        for _ in range(runs):
            copy.put_back()
            cost.add(*timed(argv, log))
        copy.remove()
        rows.append([name, str(runs), *cost.row(), f"{rss:.1f}"])
    asks.remove()
    os.unlink(sparse)
    os.unlink(dense)
    print("\n### Memory (20 GiB compressed qcow2)\n")
    table(["", "N", "median ms", "min", "max", "user+sys ms", "peak RSS MiB"], rows)


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|---" + "|--:" * (len(head) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/imgraft"))
    parser.add_argument("--lister", default=os.path.join(ROOT, "target/release/examples/list"), help="what lists a whole filesystem (vfs/examples/list.rs)")
    parser.add_argument("--runs", type=int, default=15, help="runs of each contestant (15)")
    parser.add_argument("--slow-runs", type=int, default=3, help="runs of a virtual machine, and runs with a cold cache (3)")
    parser.add_argument("--work", help="where the working copies lie (beside the images)")
    parser.add_argument("--only", choices=["compare", "independence", "memory", "qcow2", "drive", "ext4", "kernel", "stacked"], help="this part alone")
    parser.add_argument("--install-peers", action="store_true", help="put virt-customize into a Debian of its own beside the images first (root, mmdebstrap)")
    options = parser.parse_args()
    if not os.path.exists(options.lister):
        options.lister = None
    missing = [tool for tool in ("mke2fs", "sfdisk", "qemu-img", "tar") if not shutil.which(tool)]
    if missing or not os.path.exists(options.binary):
        sys.exit(f"bench: missing: {', '.join(missing) or options.binary + ' (cargo build --release)'}")

    built = os.environ.get("IMGRAFT_TESTDATA") or os.path.join(ROOT, "testdata/built")
    cache = os.path.join(built, "bench")
    os.makedirs(cache, exist_ok=True)
    if options.install_peers:
        peers.install(cache)
        if not shutil.which("fuse2fs"):
            subprocess.run(["apt-get", "install", "-y", "-qq", "fuse2fs", "fuse3"], stdout=sys.stderr)
    needs_guest = options.only not in ("drive", "ext4", "kernel", "stacked")
    if needs_guest:
        target = guest.find(built, cache)
        images = {
            "raw": target.raw,
            "plain": guest.convert(target.raw, os.path.join(cache, "guest.plain.qcow2")),
            "compressed": guest.convert(target.raw, os.path.join(cache, "guest.compressed.qcow2"), "-c"),
        }
        shadow = subprocess.run([options.binary, "cat", target.raw, "/etc/shadow"], check=True, capture_output=True, text=True).stdout
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.work or cache) as scratch:
        options.virt_customize = peers.find(cache, scratch)
        if needs_guest:
            items = Items(scratch, shadow)
            print(f"Guest: {target.about}; {os.path.getsize(target.raw) // GIB} GiB, ext4 in a GPT.")
        print(f"Machine: {os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()};", end=" ")
        print(f"load at the start {os.getloadavg()[0]:.2f}; fdatasync of 4 KiB {fdatasync_cost(scratch):.1f} ms.")
        if options.only in (None, "compare"):
            first_table(compare(options, options.binary, items, images, target))
        if options.only in (None, "independence"):
            independence(options, options.binary, items, cache)
        if options.only in (None, "memory"):
            memory(options, options.binary, items, images)
        if options.only in (None, "qcow2"):
            qcow2.tables(options, target.raw, cache, scratch, table)
        if options.only in (None, "drive"):
            drive.tables(options, scratch, table)
        if options.only in (None, "kernel"):
            kernel.tables(options, Items, scratch, built, options.virt_customize, table)
        if options.only in (None, "stacked"):
            stacked.tables(options, Items, scratch, built, options.virt_customize, table)
        if options.only in (None, "ext4"):
            ext4.report(options.binary, options.lister, cache, scratch, options.runs, table)
        if options.virt_customize:
            options.virt_customize.remove()
        print(f"\nLoad at the end {os.getloadavg()[0]:.2f}; fdatasync of 4 KiB {fdatasync_cost(scratch):.1f} ms.")


if __name__ == "__main__":
    main()
