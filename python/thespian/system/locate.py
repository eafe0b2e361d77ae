"""Where a node listens, found from its admin port; and how one is started.

Not here: what is said on the connection (``endpoint``).
"""

import os
import socket
import stat
import sys
import time
from typing import List, Optional

from thespian.system.errors import ActorSystemStartupFailure

DEFAULT_PORT = 1900
# Names one socket for every port: for programs that talk to a node of their own.
SOCKET_VARIABLE = "DIRECTOR_SOCKET"
BINARY_VARIABLE = "DIRECTOR_BIN"
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
            return sock
        except OSError:
            sock.close()
    return None


def _trustworthy(path: str) -> bool:
    """Whether the socket is there and belongs to us or to root."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return stat.S_ISSOCK(status.st_mode) and status.st_uid in (0, os.getuid())


def dial_or_start(port: int) -> socket.socket:
    """A connection to the node with this admin port, which is started if it does not run."""
    sock = dial(port)
    if sock is not None:
        return sock
    start(port)
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


def binary() -> Optional[str]:
    """The ``director`` program: by its variable, beside the interpreter, or on PATH."""
    named = os.environ.get(BINARY_VARIABLE)
    if named:
        return named
    import shutil

    beside = os.path.join(os.path.dirname(sys.executable or ""), "director")
    return beside if os.access(beside, os.X_OK) else shutil.which("director")


def start(port: int) -> None:
    """Starts a node with this admin port; raises ActorSystemStartupFailure."""
    # Here, because forkservers import this file as well and start nothing.
    import subprocess

    program = binary()
    if program is None:
        raise ActorSystemStartupFailure(
            "no node listens for admin port %d and no `director` program was found to start one: "
            "set %s or put it on PATH" % (port, BINARY_VARIABLE)
        )
    environment = dict(os.environ, DIRECTOR_PYTHON=sys.executable or "")
    result = subprocess.run(
        [program, "start", "--port", str(port)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if result.returncode != 0:
        raise ActorSystemStartupFailure(
            "`%s start --port %d` ended with %d: %s"
            % (program, port, result.returncode, result.stdout.decode(errors="replace").strip())
        )
