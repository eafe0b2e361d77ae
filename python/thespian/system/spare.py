"""One process forked ahead of its time: it waits for the specification of its actor.

The fork, and most of what a fresh process does before it can read, is over when an actor is asked
for. A spare costs memory, so that its forkserver keeps it for a short while only.
Not here: when there is one, and what becomes of it (``forkserver``).
"""

import os
import signal
import struct
from typing import Optional

# A pipe takes so much at once: who gives never waits.
GIVEN_BYTES_MAX = 60 << 10
_LENGTH = struct.Struct("<I")


class Spare:
    """A waiting child, seen from its forkserver."""

    def __init__(self, pid: int, write: int) -> None:
        self.pid = pid
        self.write = write

    def give(self, payload: bytes) -> bool:
        """Hands the specification over; whether there was somebody to take it."""
        if len(payload) > GIVEN_BYTES_MAX:
            return False
        try:
            os.write(self.write, _LENGTH.pack(len(payload)) + payload)
        except OSError:
            return False
        os.close(self.write)
        return True

    def end(self) -> None:
        """Ends the process, and waits until it has."""
        os.close(self.write)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def wait(read: int) -> Optional[bytes]:
    """In the child: the specification, or None when there will be none."""
    head = os.read(read, _LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    payload = os.read(read, size)
    os.close(read)
    return payload if len(payload) == size else None
