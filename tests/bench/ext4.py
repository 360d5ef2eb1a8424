"""ext4 alone: many small files, one large file and a long listing, by imgraft, debugfs, a loop mount and fuse2fs."""

import os
import shlex
import shutil
import subprocess
import tempfile

from guest import GIB, phony_root, run, say
from measure import Copy, Cost, Failed, peak_rss, timed

SMALL = 5_000
LISTED = 100_000
# Of each contestant, at most: all three jobs are to be done in a few minutes.
SMALL_RUNS = 5
LARGE_RUNS = 3
SIZE = 4 * GIB


class Racer:
    """A way to do a job, with the copy it works on."""

    def __init__(self, name, argv, copy=None):
        self.name = name
        self.argv = argv
        self.copy = copy
        self.cost = Cost()
        self.loads = []
        self.rss = None

    def ready(self):
        self.loads.append(os.getloadavg()[0])
        if self.copy:
            self.copy.put_back()


class Scene:
    """Where the files and images of these races lie."""

    def __init__(self, binary, lister, cache, scratch):
        self.binary = binary
        self.lister = lister
        self.cache = cache
        self.scratch = scratch
        self.mount_point = self.file("mnt-ext4")
        os.makedirs(self.mount_point, exist_ok=True)

    def file(self, name):
        return os.path.join(self.scratch, name)

    def script(self, name, text):
        with open(self.file(name), "w") as file:
            file.write(text)
        return self.file(name)

    def image(self, name, tree):
        """A whole-disk ext4 that holds a tree, made once."""
        path = os.path.join(self.cache, name + ".raw")
        if not os.path.exists(path):
            say(f"making {name}.raw")
            with open(path + ".part", "wb") as file:
                file.truncate(SIZE)
            run("mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, path + ".part")
            # As the kernel leaves directories: with an index.
            subprocess.run(["e2fsck", "-fyD", path + ".part"], capture_output=True)
            os.rename(path + ".part", path)
        return path

    def contestants(self, image, imgraft, debugfs, inside, durable=True):
        """Those that are there; `inside` is what a shell does below the mount point $M."""
        found = []

        def add(name, argv):
            copy = Copy(image, self.file(f"{len(found)}.ext4.img"))
            found.append(Racer(name, [word.replace("IMAGE", copy.path) for word in argv], copy))

        # debugfs and the mounts are done when the page cache has it all, imgraft when the disk has.
        sync = 'sync "$1"\n' if durable else ""
        add("imgraft", imgraft)
        add("debugfs", ["sh", self.script("debugfs.sh", f'set -e\nimage=$1\nshift\n"$@"\nset -- "$image"\n{sync}'), "IMAGE", *debugfs])
        mount = shlex.quote(self.mount_point)
        if os.geteuid() == 0:
            text = f'set -e\nM={mount}\nmount -t ext4 -o loop "$1" $M\ntrap "umount $M" EXIT\n{inside}\ntrap - EXIT\numount $M\n{sync}'
            add("loop mount, with mount, sync and umount", ["sh", self.script("loop.sh", text), "IMAGE"])
        if shutil.which("fuse2fs") and os.path.exists("/dev/fuse"):
            # It writes when it is unmounted, and goes on in the background: its end is waited for.
            text = (
                f'set -e\nM={mount}\nfuse2fs "$1" $M -f -o fakeroot >/dev/null 2>&1 &\npid=$!\n'
                f"until mountpoint -q $M; do kill -0 $pid; sleep 0.002; done\n{inside}\nfusermount -u $M\nwait $pid\n{sync}"
            )
            add("fuse2fs, with mount and umount", ["sh", self.script("fuse.sh", text), "IMAGE"])
        return found

    def race(self, racers, runs, check=None):
        log = self.file("log")
        for racer in list(racers):
            try:
                racer.ready()
                racer.rss = peak_rss(racer.argv, log)
                if check:
                    check(racer.copy.path)
            except Failed as error:
                say(f"left out: {racer.name}: {error}")
                racers.remove(racer)
                racer.copy.remove()
        for turn in range(runs):
            for racer in racers:
                racer.ready()
                racer.cost.add(*timed(racer.argv, log))
            say(f"ext4: turn {turn + 1} of {runs}")
        for racer in racers:
            racer.copy.remove()
        return racers


def rows(racers):
    def load(racer):
        return f"{min(racer.loads):.1f} to {max(racer.loads):.1f}"

    return [[racer.name, str(len(racer.cost)), *racer.cost.row(), f"{racer.rss:.1f}", load(racer)] for racer in racers]


def sound(path):
    """Whoever was measured has to leave a sound filesystem, the journal replayed or empty."""
    done = subprocess.run(["e2fsck", "-fn", path], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"e2fsck: {done.stdout[-300:]}")


def small_files(scene, empty):
    tree = scene.file("small")
    os.makedirs(tree)
    for number in range(SMALL):
        with open(f"{tree}/file-{number}", "w") as file:
            file.write(f"content of file {number}\n" * 20)
    uploads = [word for number in range(SMALL) for word in ("--upload", f"{tree}/file-{number}:/srv/small/file-{number}")]
    imgraft = [scene.binary, "inject", "IMAGE", "-q", "--format", "raw", "--partition", "whole", *uploads]
    lines = "".join(f"write {tree}/file-{number} file-{number}\n" for number in range(SMALL))
    debugfs = ["debugfs", "-w", "-f", scene.script("small.debugfs", f"mkdir /srv/small\ncd /srv/small\n{lines}"), "IMAGE"]
    return scene.contestants(empty, imgraft, debugfs, f"cp -r {shlex.quote(tree)} $M/srv/small")


def large_file(scene, empty):
    dense = scene.file("dense")
    with open(dense, "wb") as file:
        for _ in range(1024):
            file.write(os.urandom(1 << 20))
    imgraft = [scene.binary, "inject", "IMAGE", "-q", "--format", "raw", "--partition", "whole", "--upload", f"{dense}:/srv/large"]
    debugfs = ["debugfs", "-w", "-R", f"write {dense} large", "IMAGE"]
    return scene.contestants(empty, imgraft, debugfs, f"cp {shlex.quote(dense)} $M/srv/large")


def listing(scene):
    """Every file's name, mode, owner and size."""
    with tempfile.TemporaryDirectory(dir=scene.cache) as tree:
        if not os.path.exists(os.path.join(scene.cache, "ext4-listed.raw")):
            for number in range(LISTED):
                directory = f"{tree}/{number // 2000}/{number // 200 % 10}"
                if number % 200 == 0:
                    os.makedirs(directory)
                with open(f"{directory}/file-{number}", "w") as file:
                    file.write(f"{number}\n")
        image = scene.image("ext4-listed", tree)
    # debugfs lists one directory at a time.
    directories = "".join(f"ls -l /{outer}/{inner}\n" for outer in range(LISTED // 2000) for inner in range(10))
    debugfs = ["debugfs", "-f", scene.script("list.debugfs", directories), "IMAGE"]
    return scene.contestants(image, [scene.lister, "IMAGE"], debugfs, "ls -lnR $M", durable=False)


def report(binary, lister, cache, scratch, runs, table):
    scene = Scene(binary, lister, cache, scratch)
    with tempfile.TemporaryDirectory(dir=cache) as tree:
        phony_root(tree)
        empty = scene.image("ext4-empty", tree)
    head = ["", "N", "median ms", "min", "max", "user+sys ms", "peak RSS MiB", "load"]
    print("\nAll but the listing is durable at the end (sync of the image included). What the kernel does in its own threads for a loop")
    print("mount is in no process's time.")
    print(f"\n### {SMALL:,} small files into one directory (raw, ext4 of 4 GiB)\n")
    table(head, rows(scene.race(small_files(scene, empty), min(runs, SMALL_RUNS), sound)))
    print("\n### A file of 1 GiB\n")
    table(head, rows(scene.race(large_file(scene, empty), min(runs, LARGE_RUNS), sound)))
    if lister:
        print(f"\n### {LISTED:,} files listed\n")
        table(head, rows(scene.race(listing(scene), min(runs, LARGE_RUNS))))
    else:
        say("left out: the listing (cargo build --release -p imgraft-vfs --example list)")
