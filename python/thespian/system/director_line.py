"""A connection to the node on which requests need not be waited for: the Director's own.

Not here: what the Director does with the answers (``director_actor``).
"""

import os
import secrets
from typing import Any, BinaryIO, Dict

from thespian.system import control, endpoint, link, locate, wire
from thespian.system.errors import ActorSystemFailure

# As `protocol::limits::UPLOAD_CHUNK_BYTES`.
PIECE_BYTES = 256 << 10
_WORKERS_SOCKET = ".workers.sock"


def control_socket(workers_socket: str) -> str:
    """Where a node takes programs, from where it takes its workers."""
    if workers_socket.endswith(_WORKERS_SOCKET):
        return workers_socket[: -len(_WORKERS_SOCKET)] + ".sock"
    return workers_socket


class DirectorLine(endpoint.Endpoint):
    """Requests now, answers later; one thread."""

    def __init__(self, workers_socket: str) -> None:
        os.environ[locate.SOCKET_VARIABLE] = control_socket(workers_socket)
        super().__init__(locate.DEFAULT_PORT, start=False)

    def fileno(self) -> int:
        """What becomes readable when the node says something."""
        return self._live().sock.fileno()

    def begin(self, op: str, **fields: Any) -> int:
        """Sends a request; its number."""
        number = next(self._requests)
        self._live().send_now(control.request(number, op, **fields))
        return number

    def begin_load(self, package: BinaryIO, **fields: Any) -> int:
        """Uploads a package and sends the request to load it; the request's number."""
        number = next(self._requests)
        current = self._live()
        first = True
        while True:
            piece = package.read(PIECE_BYTES)
            if not piece and not first:
                break
            first = False
            current.send_now(wire.control_frame(wire.UPLOAD, number, piece, wire.RAW))
        document = dict(fields, request=secrets.token_hex(16))
        current.send_now(control.request(number, "load", **document))
        return number

    def collect(self) -> Dict[int, control.Document]:
        """The answers that have come to requests that were begun."""
        try:
            self._live().stash()
            while self._receive(0.0):
                continue
        except link.Closed as error:
            self._lost()
            raise ActorSystemFailure("the connection to the node was lost") from error
        came, self._answers = self._answers, {}
        return came
