"""What a forked process does to stand on its own: parent's death, descriptors, random numbers.

Not here: the forking itself (``forkserver``).
"""

import ctypes
import gc
import os
import signal
import socket
import sys
import threading
from typing import Dict, List, Optional

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_HARMLESS = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/dev/full")


def _load_prctl():  # type: ignore[no-untyped-def]
    try:
        return ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return None


_prctl = _load_prctl()


def die_with(parent: int) -> None:
    """Has this process killed when its parent ends; ends at once if it has ended already."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def outlive_parent() -> None:
    """Undoes ``die_with``."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)


def name(text: str) -> None:
    """Shows up in ``ps`` and ``top`` under this name, as far as it fits."""
    if _prctl is not None:
        _prctl(_PR_SET_NAME, text.encode()[:15], 0, 0, 0)


def connect(path: str) -> socket.socket:
    """A connection to the node."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def open_descriptors() -> Dict[int, str]:
    """Open descriptors with what they stand for; without the one that lists them."""
    found: Dict[int, str] = {}
    if not os.path.isdir("/proc/self/fd"):
        return found
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue
    return found


def traces_of_import(before: Dict[int, str]) -> Optional[str]:
    """Why actors may not be forked from here, if an import left threads or descriptors."""
    tasks = "/proc/self/task"
    threads = len(os.listdir(tasks)) if os.path.isdir(tasks) else threading.active_count()
    if threads > 1:
        return "the import started %d threads" % (threads - 1)
    opened = [
        place
        for descriptor, place in sorted(open_descriptors().items())
        if before.get(descriptor) != place and place not in _HARMLESS
    ]
    return "the import left open `%s`" % "`, `".join(opened) if opened else None


def close_all_but(keep: List[int]) -> None:
    """Closes all descriptors but 0, 1, 2 and these."""
    for descriptor in open_descriptors():
        if descriptor > 2 and descriptor not in keep:
            try:
                os.close(descriptor)
            except OSError:
                continue


def seed_afresh() -> None:
    """Gives this process random numbers of its own; ``random`` does it by itself at a fork."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def freeze() -> None:
    """Moves the heap out of the collector's sight, so that forked children leave it shared."""
    gc.collect()
    gc.disable()
    gc.freeze()


def reset_signals() -> None:
    """Undoes what a forkserver set."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def end(status: int) -> None:
    """Ends the process at once, its output flushed; finalizers would touch the shared heap."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue
    os._exit(status)
