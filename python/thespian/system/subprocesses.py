"""One external command: its process, its pipes, and of its output the beginning and the end.

Nothing here waits: the owner calls when a descriptor is readable, or from time to time.
Not here: the actor that runs commands (``runcommand``).
"""

import os
import selectors
import signal
import subprocess
import time
from datetime import timedelta
from typing import Any, Dict, List, Optional, Tuple, Union

_READ_BYTES = 64 << 10
# Bytes taken from one output at a time, so that a flood leaves room for messages.
_TURN_BYTES = 1 << 20


class Run:
    """A command that has been started; raises OSError or ValueError if it cannot be."""

    def __init__(self, command: Any) -> None:
        self.command = command
        self._started = time.monotonic()
        words: Any = [command.exe, *command.args]
        if command.use_shell:
            words = " ".join(str(word) for word in words)
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=command.env,
            shell=command.use_shell,
            start_new_session=True,
        )
        self.pid: int = self._process.pid
        self._code: Optional[int] = None
        self._input = memoryview(_as_bytes(command.input_src))
        self._texts = (_Kept(command.max_bufsize), _Kept(command.max_bufsize))
        self._open: Dict[Any, bool] = {
            self._process.stdout: False,
            self._process.stderr: True,
        }
        for pipe in (self._process.stdin, *self._open):
            os.set_blocking(pipe.fileno(), False)
        self.feed()

    def descriptors(self) -> List[int]:
        """What to watch for output."""
        return [pipe.fileno() for pipe in self._open]

    def feed(self) -> None:
        """Writes what the command's input takes."""
        pipe = self._process.stdin
        if pipe is None or pipe.closed:
            return
        while self._input:
            try:
                count = os.write(pipe.fileno(), self._input[:_READ_BYTES])
            except BlockingIOError:
                return
            except OSError:
                break  # The command reads no more.
            self._input = self._input[count:]
        pipe.close()

    def is_fed(self) -> bool:
        """Whether the command has all its input."""
        return not self._input or self._process.stdin is None or self._process.stdin.closed

    def read(self) -> List[Tuple[bool, bytes]]:
        """Output that has come: whether it is error output, and the bytes."""
        found = []
        for pipe, is_error in list(self._open.items()):
            taken = 0
            while taken < _TURN_BYTES:
                try:
                    data = os.read(pipe.fileno(), _READ_BYTES)
                except BlockingIOError:
                    break
                except OSError:
                    data = b""
                if not data:
                    pipe.close()
                    del self._open[pipe]
                    break
                taken += len(data)
                self._texts[is_error].add(data)
                found.append((is_error, data))
        return found

    def ended(self) -> Optional[int]:
        """The exit code once the process has ended and its output has been read."""
        if self._code is None:
            self._code = self._process.poll()
            if self._code is None:
                return None
        if self._open and _readable(self._open):
            return None
        # What a child that was left behind still holds open is not waited for.
        self.close()
        return self._code

    def outputs(self) -> Tuple[Any, Any]:
        """Output and error output as text."""
        return self._texts[0].text(), self._texts[1].text()

    def duration(self) -> timedelta:
        """How long ago it was started."""
        return timedelta(seconds=time.monotonic() - self._started)

    def terminate(self) -> None:
        """Asks the command and its children to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the command and its children."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._code is None:
            try:
                os.killpg(self.pid, number)
            except (ProcessLookupError, PermissionError):
                self._process.send_signal(number)

    def close(self) -> None:
        """Closes the pipes."""
        for pipe in (self._process.stdin, *self._open):
            if pipe is not None:
                pipe.close()
        self._open.clear()


class _Kept:
    """Bytes up to a limit; beyond it their beginning and their end."""

    def __init__(self, limit: int) -> None:
        self._half = max(1, (limit or (1 << 20)) // 2)
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = False

    def add(self, data: bytes) -> None:
        """Takes more bytes in."""
        room = self._half - len(self._head)
        self._head += data[: max(0, room)]
        self._tail += data[max(0, room) :]
        if len(self._tail) > self._half:
            self._dropped = True
            del self._tail[: len(self._tail) - self._half]

    def text(self) -> Union[str, Tuple[str, str]]:
        """What is kept: one text, or beginning and end."""
        if self._dropped:
            return _as_text(self._head), _as_text(self._tail)
        return _as_text(self._head + self._tail)


def _as_bytes(value: Any) -> bytes:
    if value is None:
        return b""
    return value if isinstance(value, bytes) else str(value).encode()


def _as_text(data: bytearray) -> str:
    return data.decode("utf-8", "backslashreplace")


def _readable(pipes: Any) -> bool:
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        return bool(selector.select(0))
