"""Boots a raw disk as a User Mode Linux machine, and talks to it at its console.

Input (JSON): disk, partition (its root's number), home (a directory of the machine's), plain_registers (that script), devices (the MAC
addresses of its network devices vec0, vec1, …, which lead nowhere), dialogue (pairs of what is waited for and of the line that is typed
then). Output (JSON): what the console showed, until it says THE END.
"""

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
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
    command = ["timeout", "--kill-after=1", str(DEADLINE + 10), sys.executable, given["plain_registers"], "linux.uml"]
    command += [f"ubd0={given['disk']}", f"root=/dev/ubda{given['partition']}", "rw", "mem=512M", "quiet"]
    command += ["con=null", "con0=null", "con1=fd:0,fd:1"]
    # Each leads to a socket that takes everything and answers nothing, as often as the device is set up: NetworkManager sets one down
    # on the way into a bond. (A socket that is handed over is gone then.)
    sockets = tempfile.TemporaryDirectory()
    lines = []
    for number, mac in enumerate(given["devices"]):
        path = os.path.join(sockets.name, str(number))
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line.bind(path)
        line.listen(64)
        lines.append(line)
        command.append(f"vec{number}:transport=bess,dst={path},vec=0,mac={mac}")
    environment = {**os.environ, "HOME": given["home"]}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=environment, **pipes)
    console = Console(process)
    at = 0
    for words, line in given["dialogue"]:
        at = console.wait_for(words.encode(), at)
        console.type(line)
    console.wait_for(b"THE END", at)
    # What it has not written yet, nobody needs.
    console.type("poweroff -f")
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        console.put_out()
    json.dump(console.shown.decode(errors="replace"), sys.stdout)


main()
