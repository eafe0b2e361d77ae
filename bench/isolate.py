"""A network and process namespace of our own: Thespian binds 0.0.0.0, and leaves processes behind.

Everything that a run started ends with the namespace.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from typing import List

_INSIDE = "DIRECTOR_BENCH_INSIDE"
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_OPTIONS = ("--net", "--pid", "--fork", "--mount-proc", "--kill-child")


def enter() -> None:
    """Runs this program again inside; returns when inside, with the loopback up."""
    if os.environ.get(_INSIDE):
        _raise_loopback()
        return
    for user in ((), ("--map-root-user",)):
        command = ["unshare", *_OPTIONS, *user, "--"]
        if shutil.which("unshare") and _succeeds([*command, "true"]):
            os.environ[_INSIDE] = "1"
            os.execvp(command[0], [*command, sys.executable, *sys.argv])
    sys.exit(
        "Thespian listens on 0.0.0.0, so it runs in a network namespace only, and `unshare --net` "
        "is refused here: run this as root, or measure Director alone with `--side director`"
    )


def end_all() -> None:
    """Ends whatever a side left running; in the namespace, every other process is ours."""
    if os.getpid() != 1:
        return
    while others := [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]:
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, 0):
                pass


def _succeeds(command: List[str]) -> bool:
    null = subprocess.DEVNULL
    return subprocess.run(command, stdout=null, stderr=null).returncode == 0


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
