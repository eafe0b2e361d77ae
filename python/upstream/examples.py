"""Runs the original's examples, as they are, against this package.

``python upstream/examples.py [--folder FOLDER] [EXAMPLE ...]``
The examples come from the original's source distribution (see ``run.py``); without PyPI, or where
something else has the admin port that they all use, it says so and ends well: they are skipped.
Not here: the original's tests (``run.py``).
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Callable, Dict, List

import run

ADMIN_PORT = 1900
LIMIT_S = 240
EXAMPLES = os.path.join("thespian-" + run.VERSION, "examples")


class Failed(Exception):
    """An example that does not do what it is there for."""


def main() -> int:
    """Runs the examples; 1 if one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("examples", nargs="*", help="names: %s; default: all" % ", ".join(_RUNS))
    parser.add_argument("--folder", help="scratch folder to use and keep; default: a new one")
    options = parser.parse_args()
    folder = options.folder or tempfile.mkdtemp(prefix="director-upstream-")
    try:
        run._fetch(folder)
    except (subprocess.CalledProcessError, OSError) as error:
        print("skipped: the original's source distribution cannot be had (%s)" % error)
        return 0
    if not _is_free(ADMIN_PORT):
        print("skipped: UDP port %d, which all examples use, is taken" % ADMIN_PORT)
        return 0
    failed = 0
    for name in options.examples or _RUNS:
        began = time.monotonic()
        try:
            _RUNS[name](os.path.join(folder, EXAMPLES))
            told = "ok"
        except Failed as error:
            failed += 1
            told = "FAILED: %s" % error
        print("%-16s %5.1f s  %s" % (name, time.monotonic() - began, told), flush=True)
    return 1 if failed else 0


def hellogoodbye(folder: str) -> None:
    """On a node and in the program's own process."""
    log = os.path.join(folder, "example.log")
    for base in ("multiprocTCPBase", "simpleSystemBase"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(log)
        told = _to_end(folder, "hellogoodbye.py", base)
        _want(told == "Hello, world!\nGoodbye\n", "%s printed %r" % (base, told))
        logged = _until_logged(log)
        _want("Hello got: are you there?" in logged, "%s logged %r" % (base, logged))


def fibtroupe(folder: str) -> None:
    """Eight numbers in each of four ways."""
    told = _to_end(os.path.join(folder, "fibtroupe"), "fibactor.py")
    lines = told.splitlines()
    numbers = sorted(int(line) for line in lines if line.isdigit())
    wanted = [55, 610, 6765, 3524578, 5702887, 9227465, 9227465, 14930352]
    _want(numbers == sorted(wanted * 4), "it printed %r" % told)
    _want(sum(" sec" in line for line in lines) == 4, "it printed %r" % told)


def http_server1(folder: str) -> None:
    """Starts and ends; a defect of its own (`expsize`) keeps it from answering anywhere."""
    with _served(folder, "http_server1.py") as port:
        _until_connected(port).close()


def http_server2(folder: str) -> None:
    """Answers requests."""
    with _served(folder, "http_server2.py") as port:
        for _ in range(3):
            with _until_connected(port) as line:
                line.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n")
                told = b""
                while b"Hello, World!" not in told:
                    more = line.recv(4096)
                    _want(more != b"", "it ended after %r" % told)
                    told += more
                _want(told.startswith(b"HTTP/1.1 200 OK\r\n"), "it answered %r" % told)


def multi_system(folder: str) -> None:
    """The acts with one system: a program starts it, two use it, a last one stops it."""
    text = "Hello, Encoders"
    encoded = ["Hello, Encoders", "SGVsbG8sIEVuY29kZXJz", "Uryyb, Rapbqref", ".-.."]
    for act in ("act1", "act2", "act3", "act4"):
        place = os.path.join(folder, "multi_system", act)
        _to_end(place, "start.py")
        try:
            for _ in range(2):
                told = _ended(_start(place, ["app.py"]), text)
                missing = [part for part in encoded if part not in told]
                _want(not missing, "%s printed %r, without %s" % (act, told, missing))
        finally:
            _to_end(place, "stop.py")


def socketstress(folder: str) -> None:
    """Twenty workers, some messages each."""
    told = _to_end(folder, "socketstress.py", "20", "5")
    _want("run completed in" in told, "it printed %r" % told)


_RUNS: Dict[str, Callable[[str], None]] = {
    "hellogoodbye": hellogoodbye,
    "fibtroupe": fibtroupe,
    "http_server1": http_server1,
    "http_server2": http_server2,
    "multi_system": multi_system,
    "socketstress": socketstress,
}


def _environment() -> Dict[str, str]:
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(run.PACKAGE))
    for name in ("THESPIAN_DIRECTOR_DIR", "PYTHONUNBUFFERED", "DIRECTOR_SOCKET"):
        environment.pop(name, None)
    built = os.path.join(run.REPOSITORY, "target", "release", "director")
    if "DIRECTOR_BIN" not in environment and os.access(built, os.X_OK):
        environment["DIRECTOR_BIN"] = built
    return environment


def _start(folder: str, words: List[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _to_end(folder: str, *words: str) -> str:
    """What a program printed that ended well by itself."""
    return _ended(_start(folder, list(words)))


def _ended(program: "subprocess.Popen[str]", typed: str = "") -> str:
    try:
        told, errors = program.communicate(typed, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        program.kill()
        told, errors = program.communicate()
        raise Failed("not done after %d s: %s" % (LIMIT_S, errors or told)) from None
    _want(program.returncode == 0, "status %d: %s" % (program.returncode, errors))
    return told


@contextlib.contextmanager
def _served(folder: str, name: str):  # type: ignore[no-untyped-def]
    """The port of a server that runs until Ctrl-C, which it then gets."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    program = _start(os.path.join(folder, "httpserver"), [name, str(port)])
    try:
        yield port
        program.send_signal(signal.SIGINT)
        told = _ended(program)
        _want("Shutting down" in told, "it printed %r" % told)
    finally:
        if program.poll() is None:
            program.terminate()
            program.wait(LIMIT_S)


def _until_connected(port: int) -> socket.socket:
    limit = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 60)
        except OSError as error:
            _want(time.monotonic() < limit, "nobody listens at port %d: %s" % (port, error))
            time.sleep(0.05)


def _until_logged(path: str) -> str:
    limit = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError), open(path) as file:
            text = file.read()
            if text or time.monotonic() > limit:
                return text
        if time.monotonic() > limit:
            return ""
        time.sleep(0.05)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _want(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)


if __name__ == "__main__":
    sys.exit(main())
