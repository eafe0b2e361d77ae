"""One connection to the node: frames in from a buffer read in place, frames out in batches.

A write that finds the socket full also reads, so that two ends that both write never stop each
other. Frames that arrive meanwhile wait in an inbox. One thread reads and writes; another one may
only call ``flush_some``.
Not here: what frames mean (``worker``, ``client``).
"""

import collections
import mmap
import select
import socket
import threading
import time
from typing import Any, Callable, Deque, List, Optional, Tuple

from thespian.system import control, flow, wire

BUFFER_BYTES = 256 << 10
BATCH_BYTES = 64 << 10
# Header and payload up to this length are joined: cheaper than a write of its own.
JOIN_BYTES = 1 << 20
_HEADER_BYTES = wire.HEADER_BYTES
_unpack = wire.HEADER.unpack_from
_SEND_FLAGS = getattr(socket, "MSG_NOSIGNAL", 0)
# Header, payload, bytes to report once it is handled.
Frame = Tuple[wire.Header, Any, int]


class Closed(BaseException):
    """The node closed the connection; not for the ``except Exception`` of an application."""


class Link:
    """Framing, batching, credit and window over one socket."""

    def __init__(self, sock: socket.socket, on_control: Callable[[wire.Header, Any], None]) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.lanes = flow.Lanes()
        self.inbox: Deque[Frame] = collections.deque()
        self.inbox_bytes = 0
        self.owed = 0
        # Payload of the message being handled, kept readable for a return to its sender.
        self.held: Any = None
        self._on_control = on_control
        self._buffer = mmap.mmap(-1, BUFFER_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._large: Optional[bytearray] = None
        self._large_have = 0
        self._queue: Deque[Any] = collections.deque()
        self._rest: Any = None
        self._write_lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    # Reading

    def take(self) -> Optional[Frame]:
        """The next frame for the application, if one has arrived; control frames are handled."""
        if self.inbox:
            first = self.inbox.popleft()
            self.inbox_bytes -= _HEADER_BYTES + len(first[1])
            return first
        while True:
            frame = self._cut()
            if frame is None:
                return None
            header = frame[0]
            if header[2] == wire.MESSAGE_KIND or header[2] == wire.MARKER:
                return frame
            self._on_control(header, frame[1])

    def receive(self) -> bool:
        """Reads once without waiting; whether anything came. Raises Closed."""
        if type(self.held) is memoryview and self.held.obj is self._buffer:
            self.held = bytes(self.held)
        if self._large is not None:
            into: Any = memoryview(self._large)[self._large_have :]
        else:
            if self._start == self._end:
                self._start = self._end = 0
            elif self._start and (
                self._end == BUFFER_BYTES or self._missing() > BUFFER_BYTES - self._start
            ):
                self._buffer.move(0, self._start, self._end - self._start)
                self._end -= self._start
                self._start = 0
            if self._end == BUFFER_BYTES:
                return False
            into = self._view[self._end :]
        try:
            count = self.sock.recv_into(into)
        except BlockingIOError:
            return False
        except OSError as error:
            raise Closed(str(error)) from error
        if count == 0:
            raise Closed("the node has closed the connection")
        if self._large is not None:
            self._large_have += count
        else:
            self._end += count
        return True

    def watch(self, descriptor: int) -> None:
        """Lets ``wait`` return when this descriptor is readable, too."""
        self._poll.register(descriptor, select.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        """Ends ``watch``."""
        self._poll.unregister(descriptor)

    def wait(self, timeout: Optional[float]) -> List[Tuple[int, int]]:
        """Waits until something can be read, or for ``timeout`` seconds."""
        return self._poll.poll(None if timeout is None else max(0, int(timeout * 1000 + 0.999)))

    def pump(self) -> None:
        """Reads what has arrived into the inbox."""
        while self.receive():
            self.stash()

    def stash(self) -> None:
        """Moves the frames that were read into the inbox; reports them while it is not full."""
        while True:
            frame = self._cut()
            if frame is None:
                break
            header, payload, counted = frame
            if header[2] != wire.MESSAGE_KIND and header[2] != wire.MARKER:
                self._on_control(header, payload)
                continue
            if counted and self.inbox_bytes < flow.INBOX_BYTES_MAX:
                self.owed += counted
                counted = 0
            self.inbox.append((header, bytes(payload), counted))
            self.inbox_bytes += _HEADER_BYTES + len(payload)

    def handled(self, counted: int) -> None:
        """Notes that a frame with so many bytes has been handled."""
        self.owed += counted
        if self.owed >= flow.WINDOW_BYTES // 2:
            # At once: the node may be waiting for just this.
            self.report_window()
            self.flush()

    def report_window(self) -> None:
        """Tells the node what was taken; with the next write."""
        if self.owed:
            self._queue.append(control.window(self.owed))
            self.owed = 0

    def report_window_if(self, least: int) -> None:
        """``report_window`` when at least so many bytes are owed."""
        if self.owed >= least:
            self.report_window()

    def _missing(self) -> int:
        """Bytes of the frame at the start of the buffer, as far as known."""
        have = self._end - self._start
        return wire.check(_unpack(self._buffer, self._start)) if have >= _HEADER_BYTES else 0

    def _cut(self) -> Optional[Frame]:
        if self._large is not None:
            if self._large_have < len(self._large):
                return None
            whole, self._large = memoryview(self._large), None
            header = _unpack(whole, 0)
            return header, whole[_HEADER_BYTES:], self._counted(header)
        start = self._start
        have = self._end - start
        if have < _HEADER_BYTES:
            return None
        header = _unpack(self._buffer, start)
        size = wire.check(header)
        if have < size:
            if size > BUFFER_BYTES:
                self._large = bytearray(size)
                self._large[:have] = self._view[start : self._end]
                self._large_have = have
                self._start = self._end = 0
            return None
        self._start = start + size
        return header, self._view[start + _HEADER_BYTES : start + size], self._counted(header)

    @staticmethod
    def _counted(header: wire.Header) -> int:
        return header[0] + 4 if header[2] == wire.MESSAGE_KIND else 0

    # Writing

    def queue(self, frame: Any) -> None:
        """Puts bytes behind what waits to be written."""
        self._queue.append(frame)

    def send_now(self, frame: Any) -> None:
        """Writes bytes, and everything queued before them."""
        self._queue.append(frame)
        self.flush()

    def flush(self) -> None:
        """Writes all that is queued; reads into the inbox while the socket is full."""
        while not self.flush_some():
            poll = select.poll()
            poll.register(self.sock, select.POLLIN | select.POLLOUT)
            poll.poll()
            self.stash()
            self.pump()

    def flush_some(self) -> bool:
        """Writes what the socket takes; whether that was all."""
        with self._write_lock:
            while True:
                if self._rest is None:
                    if not self._queue:
                        return True
                    self._rest = self._batch()
                try:
                    count = self.sock.send(self._rest, _SEND_FLAGS)
                except BlockingIOError:
                    return False
                except OSError as error:
                    raise Closed(str(error)) from error
                if count == len(self._rest):
                    self._rest = None
                else:
                    self._rest = memoryview(self._rest)[count:]

    def _batch(self) -> Any:
        """Queued bytes for one write, joined where they are small."""
        first = self._queue.popleft()
        if not self._queue or len(first) >= BATCH_BYTES:
            return first
        parts, size = [first], len(first)
        while self._queue and size < BATCH_BYTES and len(self._queue[0]) < BATCH_BYTES:
            part = self._queue.popleft()
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    # Credit

    def await_credit(
        self,
        lane: flow.Lane,
        on_blocked: Optional[Callable[[bool], None]] = None,
        given_up: Optional[Callable[[], bool]] = None,
        deadline: Optional[float] = None,
    ) -> bool:
        """Waits until the lane has credit, receiving meanwhile; False when it was given up.

        ``on_blocked`` is told once the wait is long, and again when the inbox becomes full.
        """
        self.flush()
        told_at = time.monotonic() + (0.0 if lane.stuck else flow.BLOCKED_AFTER_S)
        told_full = False
        while not lane.may_send():
            self.stash()
            self.pump()
            self.report_window()
            self.flush()
            if lane.may_send():
                break
            now = time.monotonic()
            if (given_up is not None and given_up()) or (deadline is not None and now >= deadline):
                lane.stuck = True
                return False
            full = self.inbox_bytes >= flow.INBOX_BYTES_MAX
            if on_blocked is not None and now >= told_at and (told_at or full != told_full):
                on_blocked(full)
                told_full, told_at = full, 0.0
            limits = [told_at - now] if told_at and on_blocked else []
            limits += [deadline - now] if deadline is not None else []
            self.wait(max(0.0, min(limits)) if limits else None)
        return True

    def close(self) -> None:
        """Closes the connection."""
        self.sock.close()
