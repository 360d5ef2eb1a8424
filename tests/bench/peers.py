"""virt-customize, from this machine or from a Debian of its own where its packages clash with what is installed here."""

import os
import shlex
import shutil
import subprocess
import sys

SUITE = "bookworm"
PACKAGES = "guestfs-tools,linux-image-amd64,qemu-system-x86"
INSIDE = "/srv/bench"
"""Where the files that it works on lie, as it sees them there."""


class VirtCustomize:
    """How virt-customize is started, and the directory that it reaches."""

    def __init__(self, root, scratch):
        self.root = root
        self.accelerator = "KVM" if kvm_works(self) else "TCG, without KVM"
        self.directory = scratch if root is None else root + INSIDE
        os.makedirs(self.directory, exist_ok=True)

    def file(self, path):
        """The name by which it finds a file, which is put into its reach."""
        target = os.path.join(self.directory, os.path.basename(path))
        if os.path.exists(path) and not os.path.exists(target):
            shutil.copy(path, target)
        return target if self.root is None else os.path.join(INSIDE, os.path.basename(path))

    def argv(self, words):
        if self.accelerator != "KVM":
            words = ["env", "LIBGUESTFS_BACKEND_SETTINGS=force_tcg", *words]
        return self.enter(words)

    def customize(self, image, kind, items, words=()):
        """The five items into an image that lies in the directory."""
        base = ["virt-customize", "-q", "--format", kind, "-a", self.file(image), "--no-network", *words]
        return self.argv([*base, *items.virt_customize(self.file)])

    def enter(self, words):
        if self.root is None:
            return words
        # A mount namespace of its own: the mounts are gone with the process.
        root = shlex.quote(self.root)
        script = f'mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev && exec chroot {root} "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", *words]

    def remove(self):
        if self.root is not None:
            shutil.rmtree(self.directory, ignore_errors=True)


def kvm_works(peer):
    """Whether a virtual machine comes up with KVM: a /dev/kvm that is there may still refuse."""
    words = ["timeout", "2", "qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-display", "none", "-nodefaults"]
    TIMED_OUT = 124
    return subprocess.run(peer.enter(words), capture_output=True).returncode == TIMED_OUT


def find(cache, scratch):
    """None where there is none."""
    if shutil.which("virt-customize"):
        return VirtCustomize(None, scratch)
    root = os.path.join(cache, "peers")
    if os.geteuid() == 0 and os.path.exists(root + "/usr/bin/virt-customize"):
        return VirtCustomize(root, scratch)
    return None


def install(cache):
    """Puts a Debian with virt-customize, and a kernel for it, into the cache; as root, with mmdebstrap."""
    root = os.path.join(cache, "peers")
    if os.path.exists(root):
        return
    part = root + ".part"
    shutil.rmtree(part, ignore_errors=True)
    words = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={PACKAGES}", SUITE, part]
    subprocess.run(words, check=True, stdout=sys.stderr)
    os.rename(part, root)
