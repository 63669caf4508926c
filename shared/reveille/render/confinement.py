"""What the kernel still lets the render child do once it holds a document: compute, get memory, read
requests and write replies. Nothing else: no file, no socket, no process, no signal to others, no
code that was not loaded before.

A seccomp filter that lists what is allowed; all other calls fail with EPERM. It needs neither root
nor namespaces, so it works in containers too, and it cannot be taken off again. Numbers are from
the kernel's tables; where this machine has none of them (macOS, a rare processor) the child is told
to go on with its resource limits alone, and the worker says so in its log.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Mapping, Sequence

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
EPERM, PROT_EXEC = 1, 4

# <linux/filter.h> and <linux/seccomp.h>
LOAD, JUMP_IF_EQUAL, JUMP_IF_SET, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000 | EPERM, 0x80000000
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets into struct seccomp_data

X86_64 = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
    "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "readv": 19, "writev": 20, "sched_yield": 24,
    "mremap": 25, "madvise": 28, "nanosleep": 35, "getpid": 39, "exit": 60, "gettimeofday": 96, "getrlimit": 97,
    "getrusage": 98, "sysinfo": 99, "sigaltstack": 131, "setrlimit": 160, "gettid": 186, "futex": 202,
    "restart_syscall": 219, "clock_gettime": 228, "exit_group": 231, "prlimit64": 302, "getrandom": 318,
}  # fmt: skip
AARCH64 = {
    "close": 57, "lseek": 62, "read": 63, "write": 64, "readv": 65, "writev": 66, "fstat": 80, "exit": 93,
    "exit_group": 94, "futex": 98, "nanosleep": 101, "clock_gettime": 113, "sched_yield": 124, "restart_syscall": 128,
    "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "getrlimit": 163,
    "setrlimit": 164, "getrusage": 165, "gettimeofday": 169, "getpid": 172, "gettid": 178, "sysinfo": 179,
    "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222, "mprotect": 226, "madvise": 233, "prlimit64": 261,
    "getrandom": 278,
}  # fmt: skip
MACHINES: Mapping[str, tuple[int, Mapping[str, int]]] = {
    "x86_64": (0xC000003E, X86_64),
    "aarch64": (0xC00000B7, AARCH64),
}
NO_NEW_CODE = ("mmap", "mprotect")  # refused when they ask for memory that can be executed
OWN_LIMITS = "prlimit64"  # refused for other processes

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, value


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("yes", ctypes.c_uint8),
        ("no", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def confine() -> str | None:
    """From here on this process can only compute. Why not, in words, when that cannot be had."""
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} has no seccomp"
    known = MACHINES.get(platform.machine())
    if known is None or sys.maxsize <= 2**32:
        return f"the system calls of {platform.machine()} are not known here"
    instructions = filter_of(*known)
    block = (_Instruction * len(instructions))(*(_Instruction(*step) for step in instructions))
    program = _Program(len(instructions), block)
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) != 0:
        return f"no_new_privs: {os.strerror(ctypes.get_errno())}"
    mode = ctypes.c_ulong(SECCOMP_MODE_FILTER)
    if libc.prctl(PR_SET_SECCOMP, mode, ctypes.byref(program), zero, zero) != 0:
        return f"seccomp: {os.strerror(ctypes.get_errno())}"
    return None


def filter_of(architecture: int, calls: Mapping[str, int]) -> Sequence[Instruction]:
    """The program for one machine: every allowed call by number, the rest refused."""
    program: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_IF_EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
    ]
    for name, number in calls.items():
        body = _allowed(name)
        program += [(JUMP_IF_EQUAL, 0, len(body), number), *body]
    return [*program, (RETURN, 0, 0, REFUSE)]


def _allowed(name: str) -> Sequence[Instruction]:
    """What to answer to one call; its arguments are 64-bit, little-endian."""
    if name in NO_NEW_CODE:
        third = ARGUMENTS + 2 * 8
        return (
            (LOAD, 0, 0, third),
            (JUMP_IF_SET, 0, 1, PROT_EXEC),
            (RETURN, 0, 0, REFUSE),
            (RETURN, 0, 0, ALLOW),
        )
    if name == OWN_LIMITS:
        return (
            (LOAD, 0, 0, ARGUMENTS),  # a pid has 32 bits; 0 is oneself
            (JUMP_IF_EQUAL, 0, 1, 0),
            (RETURN, 0, 0, ALLOW),
            (RETURN, 0, 0, REFUSE),
        )
    return ((RETURN, 0, 0, ALLOW),)
