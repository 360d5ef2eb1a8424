"""Runs a command that is to have no larger registers from ptrace(2) than those of FXSAVE.

User Mode Linux of 6.1 has room for AVX-512 at most, and dies on a processor with AMX whose state is larger. Where
PTRACE_GETREGSET fails it takes the older call. A seccomp filter (seccomp(2), <linux/filter.h>) makes it fail.
"""

import ctypes
import os
import struct
import sys

LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, FIRST_ARGUMENT = 0, 16
PTRACE, GETREGSET, SETREGSET = 101, 0x4204, 0x4205
FAIL_WITH_EIO, ALLOW = 0x00050000 | 5, 0x7FFF0000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2

STEPS = [
    (LOAD, 0, 0, NUMBER),
    (JUMP_IF_EQUAL, 0, 4, PTRACE),
    (LOAD, 0, 0, FIRST_ARGUMENT),
    (JUMP_IF_EQUAL, 1, 0, GETREGSET),
    (JUMP_IF_EQUAL, 0, 1, SETREGSET),
    (RETURN, 0, 0, FAIL_WITH_EIO),
    (RETURN, 0, 0, ALLOW),
]

code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in STEPS))
program = struct.pack("HxxxxxxQ", len(STEPS), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
for words in [(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, FILTER, program)]:
    if libc.prctl(*words) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[1], sys.argv[1:])
