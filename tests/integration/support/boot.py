"""Boots a raw disk as a User Mode Linux machine, logs in at its console as root, and has it run a script.

Input (JSON): disk, partition (its root's number), home (a directory of the machine's), plain_registers (that script), environment (a dict that
the machine's services get), password, command. Output (JSON): what the console showed. The machine has a network interface vec0 that leads
nowhere.
"""

import json
import os
import select
import socket
import subprocess
import sys
import time

DEADLINE = 400
"""Seconds for all of it; it takes half a minute."""


class Console:
    def __init__(self, process):
        self.process = process
        self.shown = b""
        self.end = time.monotonic() + DEADLINE

    def wait_for(self, words, since):
        while words not in self.shown[since:]:
            if time.monotonic() > self.end:
                self.fail(f"{words} did not come in {DEADLINE} s")
            if select.select([self.process.stdout], [], [], 1)[0]:
                piece = os.read(self.process.stdout.fileno(), 1 << 16)
                if not piece:
                    self.fail(f"the machine ended before {words}")
                self.shown += piece
        return self.shown.index(words, since) + len(words)

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def put_out(self):
        """timeout(1) hands the signal on, and a second later one that nobody ignores."""
        self.process.terminate()
        self.process.wait()

    def fail(self, why):
        self.put_out()
        sys.exit(f"{why}: {self.shown.decode(errors='replace')}")


def main():
    given = json.load(sys.stdin)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    command = ["timeout", "--kill-after=1", str(DEADLINE + 10), sys.executable, given["plain_registers"], "linux.uml"]
    command += [f"ubd0={given['disk']}", f"root=/dev/ubda{given['partition']}", "rw", "mem=512M", "quiet"]
    command += ["con=null", "con0=null", "con1=fd:0,fd:1", f"vec0:transport=fd,fd={theirs.fileno()},vec=0"]
    for name, value in given["environment"].items():
        command += [f"{name}={value}", f"systemd.setenv={name}={value}"]
    environment = {**os.environ, "HOME": given["home"]}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], **pipes)
    console = Console(process)
    at = console.wait_for(b"login: ", 0)
    console.type("root")
    at = console.wait_for(b"assword: ", at)
    console.type(given["password"])
    at = console.wait_for(b"# ", at)
    console.type(given["command"])
    console.wait_for(b"THE END", at)
    # What it has not written yet, nobody needs.
    console.type("poweroff -f")
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        console.put_out()
    ours.close()
    json.dump(console.shown.decode(errors="replace"), sys.stdout)


main()
