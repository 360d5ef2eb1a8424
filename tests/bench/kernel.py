"""Five items on XFS and btrfs: imgraft by this host's kernel, and as nobody by a kernel that is a process, beside qemu-storage-daemon's
FUSE export with a loop mount."""

import os
import shutil
import subprocess

from guest import say
from measure import Copy, peak_rss, peak_together
from race import Racer, race

IMAGES = {"XFS": "bookworm-xfs.v3c.qcow2", "btrfs": "bookworm-btrfs.v3c.qcow2"}
ROOT_AT = 12 << 20
"""Where the root's partition starts, as testdata/images/borrowed.gen.sh lays it out."""


def by_hand(items):
    """A script of the same edits: exports the disk, mounts its root by a loop device, puts the finished files in."""
    export, mount_point = items.file("export"), items.file("mnt")
    os.makedirs(mount_point, exist_ok=True)
    text = f"""set -e
M='{mount_point}'
: >'{export}'
qemu-storage-daemon --blockdev driver=file,node-name=f,filename="$1" --blockdev driver=qcow2,node-name=q,file=f \
  --export type=fuse,id=e,node-name=q,mountpoint='{export}',writable=on --pidfile '{export}.pid' --daemonize
trap 'umount $M 2>/dev/null || :; kill $(cat {export}.pid); while [ -e {export}.pid ]; do sleep 0.001; done' EXIT
mount -o loop,offset={ROOT_AT} '{export}' $M
{items.by_hand()}
umount $M
"""
    return items.script("by-hand.sh", text)


NOBODY = 65534


def as_nobody(items, binary):
    """What runs imgraft without any privilege: a copy of it where everybody may come."""
    program = items.file("imgraft")
    if not os.path.exists(program):
        shutil.copy(binary, program)
    for name in ["", *os.listdir(items.scratch)]:
        path = items.file(name)
        if os.path.isdir(path) or path == program:
            os.chmod(path, 0o755)
        else:
            os.chmod(path, 0o644)
    identity = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    return [*identity, "env", "-C", "/", program]


def tables(options, items_for, scratch, built, virt_customize, table):
    if os.geteuid() != 0:
        say("left out: only root can have the kernel mount an image")
        return
    racers = []
    items = None
    for filesystem, name in IMAGES.items():
        pristine = os.path.join(built, name)
        if not os.path.exists(pristine):
            say(f"left out: {name} (testdata/build.sh borrowed)")
            continue

        if items is None:
            shadow = subprocess.run([options.binary, "cat", pristine, "/etc/shadow"], check=True, capture_output=True, text=True)
            items = items_for(scratch, shadow.stdout)

        def add(who, argv, memory=peak_rss):
            copy = Copy(pristine, os.path.join(items.scratch, f"{len(racers)}.{name}"))
            racers.append(Racer(f"{who}, {filesystem}", copy, [word.replace("IMAGE", copy.path) for word in argv], options.runs, memory))
            return copy

        inject = ["inject", "IMAGE", "-q", *items.imgraft()]
        add("imgraft, FUSE", [options.binary, *inject])
        if shutil.which("qemu-storage-daemon"):
            add("qemu-storage-daemon and a loop mount", ["sh", by_hand(items), "IMAGE"])
        if shutil.which("linux.uml") and shutil.which("setpriv"):
            # Its memory is that of several processes.
            copy = add("imgraft, User Mode Linux, as nobody", [*as_nobody(items, options.binary), *inject], peak_together)
            os.chown(copy.path, NOBODY, NOBODY)
        if virt_customize:
            copy = Copy(pristine, os.path.join(virt_customize.directory, name))
            argv = virt_customize.customize(copy.path, "qcow2", items)
            who = f"virt-customize ({virt_customize.accelerator}), {filesystem}"
            racers.append(Racer(who, copy, argv, options.slow_runs))
    if not racers:
        return
    title = "Five items by a borrowed kernel, compressed qcow2 of 1.5 GiB"
    race("kernel", title, racers, options.runs, items.file("log"), table)
