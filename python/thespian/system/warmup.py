"""What a root forkserver does once, so that no worker has to do it after its fork.

Memory that is written before the fork stays shared; memory written after it is each worker's own.
So output, logging and fault handler are set up here, and an actor is run once through its life:
the interpreter adapts the code that ran.
"""

import copy
import faulthandler
import inspect
import logging
import pickle
import signal
import socket
import sys
import traceback
from typing import Any, TextIO

from thespian.actors import Actor
from thespian.system import address, control, process, runtime, trust, wire, worker

MESSAGES = 24
_RUN = 1


class Echo(Actor):
    """Sends back what it gets."""

    def receiveMessage(self, message: Any, sender: Any) -> None:
        """Answers."""
        if isinstance(message, str):
            self.send(sender, message)


def run() -> None:
    """Prepares this process for the forks to come."""
    sys.stdout = sys.__stdout__ = _stream(1)  # type: ignore
    sys.stderr = sys.__stderr__ = _stream(2)  # type: ignore
    faulthandler.enable(all_threads=True)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    _dial()
    _fail()
    near, far = socket.socketpair()
    try:
        _live(near, far)
    finally:
        near.close()
        far.close()


def _stream(descriptor: int) -> TextIO:
    # The ones that Python made are for a file; workers put a socket in its place.
    return open(descriptor, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _dial() -> None:
    """What a worker says first."""
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind("")
            listener.listen(1)
            process.connect(listener.getsockname()).close()
        except OSError:
            pass  # Only Linux finds a name by itself.
    for _ in range(MESSAGES):
        hello = control.hello("worker", "none")
        control.decode(hello[wire.HEADER_BYTES :])


def _fail() -> None:
    """What a failing handler leads to; parts of the standard library load at first use only."""
    try:
        copy.deepcopy({})
        raise ValueError("warm")
    except ValueError:
        traceback.format_exc()
    inspect.signature(worker.Worker.__init__)


def _live(near: socket.socket, far: socket.socket) -> None:
    """One actor's life, its messages given beforehand."""
    own, other = address.allot(_RUN, 2)._key, address.allot(_RUN, 3)._key
    spec = {
        "token": "none",
        "actor": own.hex(),
        "origin": {"source": wire.NO_SOURCE.hex()},
        "class": "thespian.system.warmup.Echo",
        "parent": wire.NOBODY.hex(),
        "global_name": None,
        "requirements": None,
        "capabilities": "{}",
        "incarnation": _RUN,
        "allotment": 1 << 32,
    }
    prefix = wire.prefix(0, wire.PICKLE, 0, other, own, _RUN)
    for number in range(1, MESSAGES + 1):
        _write(far, prefix, number, pickle.dumps("warm", 5))
    prefix = wire.prefix(wire.SYSTEM, wire.JSON, 0, other, own, _RUN)
    document = {"system": "actor_exit_request", "recursive": True}
    _write(far, prefix, 1, control.encode(document))
    worker.Worker(runtime.Runtime(spec, near, trust.Rule())).run(own_process=False)
    process.seed_afresh()


def _write(far: socket.socket, prefix: bytes, number: int, payload: bytes) -> None:
    size = wire.HEADER_BYTES - 4 + len(payload)
    far.sendall(wire.MESSAGE.pack(size, prefix, number, wire.NO_SOURCE, wire.NO_TRACE) + payload)
