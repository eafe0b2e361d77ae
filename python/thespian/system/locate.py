"""Where a node listens, found from its admin port.

Not here: what is said on the connection (``endpoint``), starting a node (``starting``).
"""

import os
import socket
import stat
import struct
import time
from typing import Any, Dict, List, Optional

from thespian.system.errors import ActorSystemStartupFailure

DEFAULT_PORT = 1900
# Names one socket for every port: for programs that talk to a node of their own.
SOCKET_VARIABLE = "DIRECTOR_SOCKET"
START_LIMIT_S = 20.0


def socket_paths(port: int) -> List[str]:
    """Where the socket of the node with this admin port may be, in the order to try."""
    named = os.environ.get(SOCKET_VARIABLE)
    if named:
        return [named]
    name = "%d.sock" % port
    paths = [os.path.join("/run/director", name)]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        paths.append(os.path.join(runtime, "director", name))
    folder = "director-%d" % os.getuid()
    paths.append(os.path.join(os.environ.get("TMPDIR") or "/tmp", folder, name))
    return paths


def dial(port: int) -> Optional[socket.socket]:
    """A connection to the node with this admin port, or None if none runs."""
    for path in socket_paths(port):
        if not _trustworthy(path):
            continue
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
        except OSError:
            sock.close()
            continue
        if _is_ours(sock):
            return sock
        sock.close()
    return None


def _is_ours(sock: socket.socket) -> bool:
    """Whether we or root listen behind a connection: what lay at the path may have been swapped."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    credentials = struct.Struct("3i")
    _pid, uid, _gid = credentials.unpack(
        sock.getsockopt(socket.SOL_SOCKET, option, credentials.size)
    )
    return uid in (0, os.getuid())


def _trustworthy(path: str) -> bool:
    """Whether the socket is there and belongs to us or to root."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return stat.S_ISSOCK(status.st_mode) and status.st_uid in (0, os.getuid())


def dial_or_start(port: int, capabilities: Optional[Dict[str, Any]] = None) -> socket.socket:
    """A connection to the node with this admin port, which is started if it does not run."""
    sock = dial(port)
    if sock is not None:
        return sock
    # Here, because forkservers import this file as well and start nothing.
    from thespian.system import starting

    starting.start(port, capabilities or {})
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        sock = dial(port)
        if sock is not None:
            return sock
        time.sleep(0.02)
    raise ActorSystemStartupFailure(
        "a node was started for admin port %d but none of %s answers: see `director status`"
        % (port, ", ".join(socket_paths(port)))
    )


def usual_port() -> int:
    """The admin port where none is given: that of the directory which the environment names."""
    from thespian.system import starting

    named = os.environ.get(starting.DIRECTORY_VARIABLE)
    return starting.admin_port(named) if named else DEFAULT_PORT


def expects_node(port: int) -> bool:
    """Whether there is a node with this admin port, or a Director directory for one."""
    sock = dial(port)
    if sock is not None:
        sock.close()
        return True
    from thespian.system import starting

    return starting.shared_directory(port) is not None


def await_end(port: int, seconds: float) -> None:
    """Waits until the node that was shut down has gone, and removes what it was started in."""
    if os.environ.get(SOCKET_VARIABLE):
        return
    from thespian.system import starting

    starting.clear(port, max(0.0, seconds))
