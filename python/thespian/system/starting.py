"""Starts a node for a program that finds none, and knows when one has gone.

The node of the machine's Director directory is started where its admin port is the one asked for.
Any other port gets a private Director directory, made afresh for each start and removed when the
program shuts the node down: what such a node knows lasts as long as it runs, as in the original.
Not here: finding a node (``locate``), the connection (``endpoint``).
"""

import contextlib
import fcntl
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from typing import Any, Dict, Iterator, List, Optional

from thespian.system import capable, locate, log_definitions
from thespian.system.errors import ActorSystemStartupFailure

DIRECTORY_VARIABLE = "THESPIAN_DIRECTOR_DIR"
DEFAULT_DIRECTORY = "/opt/thespian/director"
# Where the node's own log goes instead of its directory.
LOG_VARIABLE = "THESPLOG_FILE"
BINARY_VARIABLE = "DIRECTOR_BIN"
GONE_LIMIT_S = 10.0
_POLL_S = 0.01
_MARK = "private"


def binary() -> Optional[str]:
    """The ``director`` program: by its variable, beside the interpreter, or on PATH."""
    named = os.environ.get(BINARY_VARIABLE)
    if named:
        return named
    beside = os.path.join(os.path.dirname(sys.executable or ""), "director")
    return beside if os.access(beside, os.X_OK) else shutil.which("director")


def start(port: int, capabilities: Dict[str, Any]) -> None:
    """Starts a node with this admin port if none runs; raises ActorSystemStartupFailure."""
    program = binary()
    if program is None:
        raise ActorSystemStartupFailure(
            "no node listens for admin port %d and no `director` program was found to start one: "
            "set %s or put it on PATH" % (port, BINARY_VARIABLE)
        )
    shared = shared_directory(port)
    if shared is not None:
        _run(program, port, shared)
        return
    with _turn():
        running = locate.dial(port)
        if running is not None:
            running.close()
            return
        if not _is_free(port):
            raise ActorSystemStartupFailure(
                "admin port %d is in use by something that is no node of this user: "
                "choose another `Admin Port`, or see `ss -ulpn sport = :%d`" % (port, port)
            )
        directory = _fresh_directory(port, capabilities)
        _run(program, port, directory)


def clear(port: int, seconds: float = GONE_LIMIT_S) -> bool:
    """Waits until no node has the port and removes what it was started in; whether it has gone."""
    limit = time.monotonic() + seconds
    while True:
        # Looking takes the port for a moment: never while another program starts a node.
        with _turn(wait=False) as ours:
            if ours and _is_free(port):
                _remove(_private_directory(port))
                return True
        if time.monotonic() >= limit:
            return False
        time.sleep(_POLL_S)


def _run(program: str, port: int, directory: str) -> None:
    environment = dict(os.environ, DIRECTOR_PYTHON=sys.executable or "")
    environment[DIRECTORY_VARIABLE] = directory
    command = [program, "start", "--port", str(port)]
    try:
        result = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except OSError as error:
        raise ActorSystemStartupFailure(
            "`%s` cannot be run to start a node: %s; check %s" % (program, error, BINARY_VARIABLE)
        ) from error
    if result.returncode != 0:
        told = result.stdout.decode(errors="replace").strip()
        raise ActorSystemStartupFailure(
            "`%s` for the directory `%s` ended with %d: %s"
            % (" ".join(command), directory, result.returncode, told)
        )


# Directories


def shared_directory(port: int) -> Optional[str]:
    """The machine's Director directory, if its node has this admin port."""
    directory = os.environ.get(DIRECTORY_VARIABLE) or DEFAULT_DIRECTORY
    if not os.path.isdir(directory) or os.path.exists(os.path.join(directory, _MARK)):
        return None
    return directory if admin_port(directory) == port else None


def admin_port(directory: str) -> int:
    """The admin port of a Director directory's node."""
    try:
        with open(os.path.join(directory, "adminport.cfg")) as file:
            return int(file.read().strip())
    except (OSError, ValueError):
        return locate.DEFAULT_PORT


def _private_directory(port: int) -> str:
    return os.path.join(_user_folder(), "%d.d" % port)


def _user_folder() -> str:
    """A folder that only this user can write."""
    if os.getuid() == 0 and os.access("/run", os.W_OK):
        return _private_folder("/run/director", 0o755)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime):
        return _private_folder(os.path.join(runtime, "director"), 0o700)
    name = "director-%d" % os.getuid()
    return _private_folder(os.path.join(os.environ.get("TMPDIR") or "/tmp", name), 0o700)


def _private_folder(path: str, mode: int) -> str:
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
    about = os.lstat(path)
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o022:
        raise ActorSystemStartupFailure(
            "`%s` has to be a folder that only user %d can write: remove it, or set TMPDIR"
            % (path, os.getuid())
        )
    return path


def _fresh_directory(port: int, capabilities: Dict[str, Any]) -> str:
    """A new private directory for a node with this port."""
    directory = _private_directory(port)
    _remove(directory)
    files = {
        _MARK: "made by `thespian.system.starting` for a program; removed with its node\n",
        "adminport.cfg": "%d\n" % port,
        "othercaps.cfg": _capabilities_text(capabilities),
    }
    leaders = _leaders(capabilities.get("Convention Address.IPv4"))
    if not leaders:
        # Nobody else is to reach it.
        files["listen.cfg"] = "127.0.0.1\n"
    else:
        files["convleader.cfg"] = "%r\n" % (leaders,)
        if leaders != ["127.0.0.1:%d" % port]:
            # It comes and goes with its program, and takes no decisions with it.
            files["voter.cfg"] = "False\n"
    if sys.executable:
        files["python.cfg"] = sys.executable + "\n"
    logging = log_definitions.text()
    if logging is not None:
        files["thesplog.cfg"] = logging + "\n"
        files["thesplogd.cfg"] = os.getcwd() + "\n"
    log = os.environ.get(LOG_VARIABLE)
    if log:
        files["thesplogf.cfg"] = os.path.abspath(log) + "\n"
    os.mkdir(directory, 0o700)
    # All nodes of this user share the Python side that they lay out, compiled files included.
    common = _private_folder(os.path.join(_user_folder(), "python"), 0o755)
    os.mkdir(os.path.join(directory, "state"), 0o700)
    os.symlink(common, os.path.join(directory, "state", "python"))
    for name, text in files.items():
        with open(os.path.join(directory, name), "w", encoding="utf-8", opener=_own) as file:
            file.write(text)
    return directory


def _leaders(given: Any) -> List[str]:
    """The convention's addresses in a capability, as ``convleader.cfg`` has them.

    One or several of ``host``, ``host:port`` or a pair of host and port; no host is this one.
    """
    if not given:
        return []
    pair = isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], int)
    several = isinstance(given, (list, tuple)) and not pair
    leaders = []
    for entry in given if several else [given]:
        host, port = entry if isinstance(entry, tuple) else (str(entry), None)
        if port is None and host.count(":") == 1:
            host, _colon, port = host.partition(":")
        leaders.append("%s:%d" % (host or "127.0.0.1", int(port or locate.DEFAULT_PORT)))
    return leaders


def _own(path: str, flags: int) -> int:
    """Opens a file of this user's only, whatever the umask."""
    return os.open(path, flags, 0o600)


def _remove(directory: str) -> None:
    """Removes a directory that was made here."""
    if os.path.exists(os.path.join(directory, _MARK)):
        shutil.rmtree(directory, ignore_errors=True)


def _capabilities_text(capabilities: Dict[str, Any]) -> str:
    """What goes into ``othercaps.cfg``; raises ValueError."""
    given = {name: value for name, value in capabilities.items() if name != "Admin Port"}
    for name, value in given.items():
        try:
            capable.to_literal({name: value})
        except ValueError:
            raise ValueError(
                "capabilities are numbers, strings, tuples, lists, dictionaries: "
                "`%s` of `%s` is none" % (value, name)
            ) from None
    return "%r\n" % (given,)


# Turns


@contextlib.contextmanager
def _turn(wait: bool = True) -> Iterator[bool]:
    """Of the programs of this user that start or clear nodes, one at a time.

    Without waiting it may be another one's turn: then it gives False.
    """
    with open(os.path.join(_user_folder(), "starting.lock"), "a") as file:
        ours = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            ours = False
        yield ours


def _is_free(port: int) -> bool:
    """Whether no node holds the admin port: it does so for as long as it runs."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
