"""Runs a command and says what it cost; puts images back between runs."""

import ctypes
import os
import shutil
import statistics
import subprocess
import time

PIECE = 1 << 20
GRAIN = 4096
libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A command that was to be measured failed."""


class Cost:
    """The wall and processor times of some runs, in milliseconds."""

    def __init__(self):
        self.wall = []
        self.cpu = []

    def add(self, wall, cpu):
        self.wall.append(wall)
        self.cpu.append(cpu)

    def __len__(self):
        return len(self.wall)

    def row(self):
        return [ms(statistics.median(self.wall)), ms(min(self.wall)), ms(max(self.wall)), ms(statistics.median(self.cpu))]


def ms(value):
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def environment():
    env = dict(os.environ, NO_COLOR="1", LC_ALL="C", LIBGUESTFS_BACKEND="direct")
    env.pop("SOURCE_DATE_EPOCH", None)
    return env


def timed(argv, log):
    """One run: wall and user+system time in milliseconds, those of its waited-for children included."""
    path = shutil.which(argv[0])
    if path is None:
        raise Failed(f"{argv[0]}: not installed")
    quiet = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    env = environment()
    start = time.perf_counter()
    pid = os.posix_spawn(path, argv, env, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    check(argv, status, log)
    return wall * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3


def peak_rss(argv, log):
    """One run: the largest resident set of the command or of a child of it, in MiB.

    A process takes over the peak of the one that started it, which would be this interpreter. So a shell starts the
    command, leaves, and this process adopts and waits for it.
    """
    PR_SET_CHILD_SUBREAPER = 36
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        with open(log, "wb") as out:
            # The number of the command goes to the pipe: it is not the only one that may come to be adopted.
            script = """sh -c 'echo $$; exec "$@" >&2' sh "$@" & exit 0"""
            shell = subprocess.run(
                ["sh", "-c", script, "sh", *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=out, env=environment()
            )
        _, status, usage = os.wait4(int(shell.stdout), 0)
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    check(argv, status, log)
    return usage.ru_maxrss / 1024


def peak_together(argv, log):
    """One run: the largest sum of what the command and all below it have in memory, in MiB, looked at every 5 ms.

    A page that several have counts once (Pss of proc_pid_smaps_rollup(5)), and so does a memory that several are in.
    """
    with open(log, "wb") as out:
        command = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment())
        largest = 0
        while (status := command.poll()) is None:
            largest = max(largest, sum(map(resident, memories(family(command.pid)))))
            time.sleep(0.005)
    check(argv, status << 8 if status >= 0 else -status, log)
    return largest / 1024


def family(root):
    """A process and all below it."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat:
                children.setdefault(int(stat.read().rpartition(") ")[2].split()[1]), []).append(int(name))
        except OSError:
            pass
    found = [root]
    for process in found:
        found.extend(children.get(process, []))
    return found


def memories(processes):
    """Of the processes that are in one memory (clone(2) with CLONE_VM; kcmp(2)) the first."""
    SYS_KCMP, KCMP_VM = 312, 1
    found = []
    for process in processes:
        if all(libc.syscall(SYS_KCMP, process, other, KCMP_VM, 0, 0) != 0 for other in found):
            found.append(process)
    return found


def resident(process):
    """What a process has in memory, in KiB; nothing where it has ended."""
    try:
        with open(f"/proc/{process}/smaps_rollup") as rollup:
            return next((int(line.split()[1]) for line in rollup if line.startswith("Pss:")), 0)
    except OSError:
        return 0


def check(argv, status, log):
    if status != 0:
        with open(log, errors="replace") as text:
            raise Failed(f"{' '.join(argv)}: status {os.waitstatus_to_exitcode(status)}\n{text.read()}")


def fdatasync_cost(directory, runs=31):
    """The median time to make 4 KiB of an existing file durable, in milliseconds: what no safe commit can undercut."""
    path = os.path.join(directory, "fdatasync")
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        times = []
        for run in range(runs):
            os.pwrite(fd, os.urandom(GRAIN), run * GRAIN)
            start = time.perf_counter()
            os.fdatasync(fd)
            times.append((time.perf_counter() - start) * 1e3)
        return statistics.median(times)
    finally:
        os.close(fd)
        os.unlink(path)


class Copy:
    """A working copy of an image that can be put back cheaply: only what differs is written again."""

    def __init__(self, pristine, path):
        self.pristine = pristine
        self.path = path
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", pristine, path], check=True)
        os.chmod(path, 0o600)
        self.settle()

    def settle(self):
        """Makes the copy durable, so that no run pays for the writes of its preparation."""
        fd = os.open(self.path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

    def put_back(self):
        with open(self.pristine, "rb", buffering=0) as old, open(self.path, "r+b", buffering=0) as new:
            size = os.fstat(old.fileno()).st_size
            os.ftruncate(new.fileno(), size)
            for start, end in segments(old.fileno(), new.fileno(), size):
                for at in range(start, end, PIECE):
                    undo(old.fileno(), new.fileno(), at, min(PIECE, end - at))
        self.settle()

    def make_cold(self):
        """Drops the copy from the page cache."""
        fd = os.open(self.path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)

    def remove(self):
        if os.path.exists(self.path):
            os.unlink(self.path)


def undo(old, new, at, length):
    before = os.pread(old, length, at)
    after = os.pread(new, length, at)
    if before == after:
        return
    if before.count(0) == len(before):
        punch(new, at, len(before))
        return
    for offset in range(0, length, GRAIN):
        piece = before[offset : offset + GRAIN]
        if piece != after[offset : offset + GRAIN]:
            if piece.count(0) == len(piece):
                punch(new, at + offset, len(piece))
            else:
                os.pwrite(new, piece, at + offset)


def punch(fd, offset, length):
    KEEP_SIZE, PUNCH_HOLE = 1, 2
    result = libc.fallocate(fd, KEEP_SIZE | PUNCH_HOLE, ctypes.c_long(offset), ctypes.c_long(length))
    if result != 0:
        os.pwrite(fd, bytes(length), offset)


def segments(old, new, size):
    """Where either file has data: ranges, ascending and apart, of whole grains."""
    found = sorted(data_of(old, size) + data_of(new, size))
    merged = []
    for start, end in found:
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged


def data_of(fd, size):
    ranges, at = [], 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(fd, start, os.SEEK_HOLE)
        ranges.append((start // GRAIN * GRAIN, -(-at // GRAIN) * GRAIN))
    return ranges
